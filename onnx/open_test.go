package onnx

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"whit/graph"
	"whit/tensor"
)

// TestOpenFile: large constants stay in the file, small ones do not, and both are what
// ReadFile gives; a file that is changed in place gives an error, one that is removed does not.
func TestOpenFile(t *testing.T) {
	g := graph.New("g")
	x := g.AddInput("x", tensor.Float32, 1, 128)
	big := tensor.New(tensor.Float32, 128, 64)
	for i := range tensor.Of[float32](big) {
		tensor.Of[float32](big)[i] = float32(i)
	}
	y := g.Add("", "MatMul", nil, x, g.NewConst("big", big))
	g.Outputs = []*graph.Value{g.Add("", "Add", nil, y, g.NewConst("small", tensor.From([]float32{1}, 1)))}
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := WriteFile(path, g); err != nil {
		t.Fatal(err)
	}
	open := func() (big, small *tensor.Tensor) {
		g, err := OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return g.Nodes[0].In[1].Data, g.Nodes[1].In[1].Data
	}
	stored, small := open()
	if !stored.IsStored() || small.IsStored() {
		t.Fatalf("stored: large %v, small %v", stored.IsStored(), small.IsStored())
	}
	part := stored.Part(make([]byte, 8), 400, 8)
	if !bytes.Equal(part, big.Bytes()[400:408]) || !bytes.Equal(stored.Bytes(), big.Bytes()) || stored.Err() != nil {
		t.Error("what is read differs from what was written")
	}

	removed, _ := open()
	if err := os.Remove(path); err != nil {
		t.Skip(err) // where open files cannot be removed
	}
	if removed.Bytes(); removed.Err() != nil {
		t.Error(removed.Err())
	}
	if err := WriteFile(path, g); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func() error{
		"cut":      func() error { return os.Truncate(path, 1000) },
		"appended": func() error { return os.Truncate(path, 1<<20) },
	} {
		changed, _ := open()
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if b := changed.Bytes(); len(b) != len(big.Bytes()) {
			t.Errorf("%s: %d bytes", name, len(b))
		}
		if err := changed.Err(); err == nil || !strings.Contains(err.Error(), "m.onnx has been changed") {
			t.Errorf("%s: %v", name, err)
		}
		if err := WriteFile(path, g); err != nil {
			t.Fatal(err)
		}
	}
}
