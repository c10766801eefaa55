package method

import (
	"slices"
	"testing"

	"whit/graph"
	"whit/tensor"
	"whit/weight"
)

func TestQuantise(t *testing.T) {
	for _, tc := range []struct {
		name   string
		levels []int8
		step   float32
		mask   []uint64 // nil: none
		books  int
	}{
		{"zeros", []int8{0, 3, -2, 0, 3, 0}, 0.3, mask(6, 1, 2, 4), 2},
		{"no zero", []int8{1, 3, -2, 127, -127, 1}, 1e-3, nil, 5},
		{"nothing else", []int8{0, 0, 0, 0, 0, 0}, 0.5, mask(6), 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := graph.New("g")
			x := g.AddInput("x", tensor.Float32, -1, 2)
			w := g.NewConst("w", tensor.New(tensor.Float32, 2, 3))
			g.Outputs = []*graph.Value{g.Add("", "Gemm", nil, x, w)}
			s := &State{Graph: g, Layers: FindLayers(g, "")}
			h := &s.Layers[0].Weight
			h.Quantise(tc.levels, tc.step)
			if !slices.Equal(h.Mask, tc.mask) || len(h.Centroids) != tc.books {
				t.Errorf("mask %v, centroids %v", h.Mask, h.Centroids)
			}
			for i, v := range h.Data() {
				if want := float32(tc.levels[i]) * tc.step; v != want {
					t.Errorf("element %d is %v, want %v", i, v, want)
				}
			}
			f, err := s.Freeze()
			if err != nil {
				t.Fatal(err)
			}
			v := f.Find("w")
			if v.Weight.Kind() != "int8" || !slices.Equal(tensor.Of[float32](v.Tensor()), h.Data()) {
				t.Errorf("frozen as %v: %v", v.Weight.Kind(), tensor.Of[float32](v.Tensor()))
			}
			// Trained centroids are no longer multiples of the step.
			h.Share(slices.Clone(h.Centroids), h.Index)
			if f, err = s.Freeze(); err != nil || f.Find("w").Weight.Kind() == "int8" {
				t.Errorf("shared: %v, %v", f.Find("w").Weight.Kind(), err)
			}
		})
	}
}

// A constant held under another encoding is frozen as that, is dense again when it is set, and
// is found again after the graph was edited.
func TestHold(t *testing.T) {
	g := graph.New("g")
	x := g.AddInput("x", tensor.Float32, -1, 2)
	w := g.NewConst("fc.weight", tensor.From([]float32{1, 0, -2, 0.5}, 2, 2))
	g.Outputs = []*graph.Value{g.Add("", "MatMul", nil, x, w)}
	s := &State{Graph: g, Layers: FindLayers(g, "")}
	q, err := weight.NewInt8(tensor.From([]int8{1, 0, -2, 1}, 2, 2), weight.PerTensor, []float32{1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &s.Layers[0].Weight
	h.Hold(q)
	if want := []float32{1, 0, -2, 1}; !slices.Equal(h.Data(), want) {
		t.Errorf("data %v, want %v", h.Data(), want)
	}
	g.Outputs[0] = g.Add("", "Relu", nil, g.Outputs[0])
	s.Refind()
	c, err := s.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	if k := c.Find("fc.weight").Weight; k == nil || k.Kind() != "int8" {
		t.Errorf("frozen as %v", k)
	}
	s.Layers[0].Weight.Set([]float32{1, 2, 3, 4})
	if c, err = s.Freeze(); err != nil || c.Find("fc.weight").Weight != nil {
		t.Errorf("still encoded (%v)", err)
	}
}
