package op

import (
	"errors"
	"strings"
	"testing"

	"whit/graph"
	"whit/tensor"
)

// What an error quotes of a file is cut: here a window's size of ten thousand numbers.
func TestErrorsAreBrief(t *testing.T) {
	g := graph.New("long")
	size := g.NewConst("size", tensor.New(tensor.Int64, 10_000))
	_, err := Infer(g.NewNode("", "BlackmanWindow", nil, 1, size))
	if !errors.Is(err, ErrType) || len(err.Error()) > 1200 || !strings.HasSuffix(err.Error(), "...") {
		t.Errorf("%v", err)
	}
}
