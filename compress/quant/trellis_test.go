package quant

import (
	"math"
	"testing"

	"whit/compress/method"
	"whit/entropy"
)

// paths is the size of the layers' levels under the coder, in bytes, those of a dependent quantiser as such, and the number of these.
func paths(t *testing.T, s *method.State) (bytes, n int) {
	t.Helper()
	var blocks []entropy.Block
	for _, l := range s.Layers {
		for _, h := range []*method.Held{&l.Weight, l.Bias} {
			b := entropy.Block{Dims: entropy.DimsOf(h.Value.Type.Shape), Dependent: true}
			plain := b
			plain.Dependent = false
			st, cols := 0, h.Len()/h.Value.Type.Shape[0]
			for i, x := range h.Data() {
				v := int32(math.Round(float64(x / h.Step)))
				if float32(v)*h.Step != x {
					t.Fatalf("%s: %v is no level of %v", l.Name, x, h.Step)
				}
				if i%cols == 0 {
					st = 0
				}
				k, ok := entropy.ValueLevel(st, v)
				b.Dependent = b.Dependent && ok
				st = entropy.NextState(st, k)
				b.Syms, plain.Syms = append(b.Syms, k), append(plain.Syms, v)
			}
			if b.Dependent {
				n++
			} else {
				b = plain
			}
			blocks = append(blocks, b)
		}
	}
	code, err := entropy.Context{}.Append(nil, blocks)
	if err != nil {
		t.Fatal(err)
	}
	return len(code), n
}

// The values of dependent levels are those of paths through the trellis, and cost less, bytes and errors together.
func TestDependent(t *testing.T) {
	for _, lambda := range []float64{1e-5, 1e-4} {
		var cost [2]float64
		for k, dependent := range []bool{false, true} {
			s := state(many(), 80)
			apply(t, s, map[string]any{"lambda": lambda, "dependent": dependent})
			bytes, n := paths(t, s)
			if dependent && n == 0 {
				t.Errorf("lambda %v: %d layers have dependent levels, want some", lambda, n)
			}
			cost[k] = off(t, s)/2 + lambda/1000*80*float64(bytes)
		}
		if cost[1] >= cost[0] {
			t.Errorf("lambda %v: the cost is %v, on one scale %v", lambda, cost[1], cost[0])
		}
	}
}

// A layer whose levels would not fit is held on one scale.
func TestDependentRange(t *testing.T) {
	s := state(small(), 40)
	apply(t, s, map[string]any{"lambda": 1e-9, "dependent": true, "passes": 1})
	if _, n := paths(t, s); n != 0 {
		t.Errorf("%d layers have dependent levels", n)
	}
}
