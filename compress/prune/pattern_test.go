package prune

import (
	"math/rand/v2"
	"slices"
	"testing"

	"whit/compress/fit"
	"whit/compress/method"
	"whit/graph"
	"whit/tensor"
)

// layersOf are a Conv of two groups and a MatMul, whose weights are tenfold.
func layersOf() []*method.Layer {
	g := graph.New("g")
	x := g.AddInput("x", tensor.Float32, -1, 4, 5, 5)
	r := rand.New(rand.NewPCG(3, 1))
	c := func(name string, f float64, shape ...int) *graph.Value {
		t := tensor.New(tensor.Float32, shape...)
		for i := range tensor.Of[float32](t) {
			tensor.Of[float32](t)[i] = float32(f * r.NormFloat64())
		}
		return g.NewConst(name, t)
	}
	y := g.Add("", "Conv", map[string]any{"group": int64(2)}, x, c("a.weight", 1, 10, 2, 3, 3))
	y = g.Add("", "Flatten", nil, y)
	g.Outputs = []*graph.Value{g.Add("", "MatMul", nil, y, c("b.weight", 10, 90, 7))}
	return method.FindLayers(g, "")
}

func TestPattern(t *testing.T) {
	for _, name := range fit.Patterns {
		for _, global := range []bool{false, true} {
			ls := layersOf()
			pt := fit.PatternOf(name)
			of := []float64{0.3, 0.8}
			if err := Pattern(ls, pt, of, global); err != nil {
				t.Fatal(err)
			}
			total, stored := 0, 0
			for n, l := range ls {
				h := &l.Weight
				total, stored = total+h.Len(), stored+h.Stored()
				gone := 1 - float64(h.Stored())/float64(h.Len())
				if want := of[n]; pt.M == 0 && !global && (gone < want-0.01 || gone > want+0.05) {
					t.Errorf("%s: layer %s: %.3f are gone, want %v", name, l.Name, gone, want)
				}
				r, err := fit.RowsOf(l)
				if err != nil {
					t.Fatal(err)
				}
				kept := func(o, k int) bool { i := r.At(o, k); return h.Mask[i/64]>>(i%64)&1 == 1 }
				each := r.N / r.Groups
				for o := range r.N {
					for k := range r.K {
						if pt.Rows > 1 && kept(o, k) != kept(o-o%each%pt.Rows, k) {
							t.Fatalf("%s: rows of a block differ", name)
						}
						if v := h.Data()[r.At(o, k)]; !kept(o, k) && v != 0 {
							t.Fatalf("%s: what is gone is %v", name, v)
						}
						if pt.M == 0 || k%pt.M != 0 {
							continue
						}
						n, size := 0, min(pt.M, r.K-k)
						for j := range size {
							if kept(o, k+j) {
								n++
							}
						}
						if n != (size*pt.N+pt.M-1)/pt.M {
							t.Fatalf("%s: %d of %d stay", name, n, size)
						}
					}
				}
			}
			if gone := 1 - float64(stored)/float64(total); pt.M == 0 && global && (gone < 0.3 || gone > 0.31) {
				t.Errorf("%s: %.3f of all are gone, want %v", name, gone, of[0])
			}
			if pt.M == 0 && global && ls[1].Weight.Stored() < ls[1].Weight.Len()*8/10 {
				t.Errorf("%s: large weights went before small ones", name)
			}
			before := slices.Clone(ls[0].Weight.Mask)
			if err := Pattern(ls, pt, []float64{0.1, 0.1}, global); err != nil || !slices.Equal(before, ls[0].Weight.Mask) {
				t.Errorf("%s: what was gone came back, or more went: %v", name, err)
			}
		}
	}
	// Single weights by layer are what Smallest says.
	a, b := layersOf(), layersOf()
	if err := Pattern(a, fit.Pattern{Rows: 1}, []float64{0.6, 0.6}, false); err != nil {
		t.Fatal(err)
	}
	for i, l := range b {
		if !slices.Equal(a[i].Weight.Mask, Smallest(l.Weight.Data(), 0.6, nil)) {
			t.Errorf("layer %s differs from Smallest", l.Name)
		}
	}
}
