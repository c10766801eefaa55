package search

import (
	"math"
	"math/rand/v2"
	"testing"

	"whit/compress/method"
)

// A chain of layers, each as floats or integers and with or without half of its channels: what a layer takes falls with its
// own channels and with those that it reads, turning costs, and the knapsack finds what going through all choices finds.
func TestShapes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const half = 4 // of cuts
	for n := range 50 {
		s := &shaper{turn: 2000}
		s.kept = [][][]float64{{4: {0.5, 0.5, 1}, 6: nil}, {4: {1, 0.5, 0.5}, 6: nil}, nil}
		for i := range 3 {
			s.ns = append(s.ns, []int64{20000 + r.Int64N(80000), 10000 + r.Int64N(80000)})
			far := []float64{0, r.Float64(), r.Float64()} // integers, channels
			var row []shape
			for h := range 2 {
				for _, v := range []int{0, half} {
					if i == 2 && v > 0 {
						continue // the outputs stay
					}
					x := shape{hold: h, level: v, option: option{far: far[h] + far[2]*float64(v/half), kind: h + 2*v}}
					row = append(row, x)
				}
			}
			s.rows = append(s.rows, row)
		}
		if x, y := s.cost(1, 0, 1), s.ns[1][0]/2; x != y {
			t.Fatalf("half of the channels: %d, want %d", x, y)
		}
		if x, y := s.cost(1, 2*half, 1), s.ns[1][0]/4; x < y-1 || x > y+1 {
			t.Fatalf("half of the channels of half of the inputs: %d, want %d", x, y)
		}
		if x, y := s.cost(1, 1, 0), s.ns[1][0]+s.turn; x != y {
			t.Fatalf("after integers: %d, want %d", x, y)
		}
		var rows [][]option
		for _, row := range s.rows {
			var os []option
			for _, x := range row {
				os = append(os, x.option)
			}
			rows = append(rows, os)
		}
		for _, p := range [][]int{{0, 0, 0}, {1, 3, 1}, {2, 2, 0}} {
			if x, y := s.takes(p), float64(allocate(rows, 400000, s.cost).cost(p)); math.Abs(x-y) > 3 {
				t.Fatalf("layers of %v take %v, the knapsack says %v", p, x, y)
			}
		}
		f := allocate(rows, 400000, s.cost)
		budget := 60000 + r.Int64N(200000)
		best := math.Inf(1)
		for a := range rows[0] {
			for b := range rows[1] {
				for c := range rows[2] {
					p := []int{a, b, c}
					if d := total(rows, p); f.cost(p) <= budget-8*f.unit && d < best {
						best = d
					}
				}
			}
		}
		if b, p := f.cheapest(); p == nil || f.cost(p) > b || b > f.least && f.within(b-1) != nil {
			t.Fatalf("problem %d: the cheapest is %v within %d", n, p, b)
		}
		p := f.within(budget)
		if p == nil {
			if !math.IsInf(best, 1) {
				t.Fatalf("problem %d: nothing within %d", n, budget)
			}
			continue
		}
		if c := f.cost(p); c > budget || total(rows, p) > best+1e-12 {
			t.Fatalf("problem %d: %d of %d, distance %v, the best is %v", n, c, budget, total(rows, p), best)
		}
	}
}

// The step that removes channels names all layers of a group.
func TestRemoval(t *testing.T) {
	s := &thinning{images: 9, base: &method.State{Layers: []*method.Layer{{Name: "a"}, {Name: "b"}, {Name: "c"}}}, group: map[int][]int{0: {0, 2}, 1: {1}}}
	st := s.removal("reconstruct", map[int]int{0: 2, 1: 0})
	if st.Set["layers"] != "a,c" {
		t.Errorf("layers %v", st.Set["layers"])
	}
	if v, _ := st.Set["sparsity"].(method.LayerValues).For("c"); v != cuts[2] {
		t.Errorf("sparsity %v", st.Set["sparsity"])
	}
	if _, err := find("reconstruct").Args(st.Set); err != nil {
		t.Error(err)
	}
}
