package train

import (
	"context"
	"math"
	"strings"
	"testing"

	"whit/graph"
	"whit/plan"
	"whit/tensor"
)

// TestResponse holds the gradients of a small network to those by hand, sample by sample.
func TestResponse(t *testing.T) {
	g := graph.New("g")
	x := g.AddInput("x", tensor.Float32, -1, 2)
	h := g.Add("", "Gemm", nil, x, g.NewConst("w", tensor.From([]float32{1, -1, 2, 1}, 2, 2)))
	h.Name = "h"
	r := g.Add("", "Relu", nil, h)
	r.Name = "r"
	y := g.Add("", "Gemm", nil, r, g.NewConst("v", tensor.From([]float32{1, 2, 3, 4}, 2, 2)))
	y.Name = "y"
	g.Outputs = []*graph.Value{y}

	c, err := Response(g, []int{2}, 3, []int{0}, []string{"h"}, []string{"x", "r"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.NewProgram(c, plan.Options{Threads: 1, Training: true})
	if err != nil {
		t.Fatal(err)
	}
	pl, err := p.Plan(map[string]tensor.Type{"x": {DType: tensor.Float32, Shape: tensor.Shape{3, 2}}, SeedName(0): {DType: tensor.Float32, Shape: tensor.Shape{3, 2}}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := pl.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	copy(tensor.Of[float32](s.Input("x")), []float32{1, 1, 1, -1, -1, 1})
	copy(tensor.Of[float32](s.Input(SeedName(0))), []float32{1, 0, 0, 1, 1, 1})
	if err := s.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	// h is (3,0), (-1,-2), (1,2): the gradient of seed·y passes where h is positive.
	want := []float32{1, 0, 0, 0, 3, 7}
	for i, v := range tensor.Of[float32](s.Output("h:response")) {
		if math.Abs(float64(v-want[i])) > 1e-6 {
			t.Errorf("gradient %d is %v, want %v", i, v, want[i])
		}
	}
	for i, v := range tensor.Of[float32](s.Output("r")) {
		if want := []float32{3, 0, 0, 0, 1, 2}[i]; v != want {
			t.Errorf("r %d is %v, want %v", i, v, want)
		}
	}

	side := g.Add("", "Neg", nil, x)
	side.Name = "side"
	for _, tc := range []struct{ by, show, want string }{
		{"zz", "x", "no value"},
		{"h", "zz", "no value"},
		{"side", "x", "does not depend"},
	} {
		if _, err := Response(g, []int{2}, 3, []int{0}, []string{tc.by}, []string{tc.show}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("by %s, show %s: %v", tc.by, tc.show, err)
		}
	}
}
