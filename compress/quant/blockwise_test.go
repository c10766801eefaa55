package quant

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"whit/compress/method"
	"whit/weight"
)

// Outputs come nearer to the float model's, levels stay levels of as many bits, and what was pruned stays zero.
func TestBlockwise(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []method.Step
		set   map[string]any
		gain  float64 // what is left of the distance, at most
	}{
		{"levels", []method.Step{{Method: "round", Set: map[string]any{"bits": method.Uniform(3)}}}, map[string]any{"block": 0}, 0.75},
		{"blocks", []method.Step{{Method: "round", Set: map[string]any{"bits": method.Uniform(3)}}}, map[string]any{"block": 1}, 0.8},
		{"pruned", []method.Step{{Method: "obs", Set: map[string]any{"sparsity": method.Uniform(0.5)}}}, map[string]any{"block": 0}, 1},
		{"one scale", []method.Step{{Method: "round", Set: map[string]any{"bits": method.Uniform(4), "granularity": "tensor"}}}, map[string]any{"block": 0}, 0.9},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := net(rand.New(rand.NewPCG(3, 4)))
			before := run(t, g, 16)
			s := stateOf(t, g, 128)
			for _, st := range c.steps {
				step(t, map[string]*method.Method{"round": Round, "obs": OBS}[st.Method], s, st.Set)
			}
			was := apart(before, run(t, s.Graph, 16))
			stored := make([]int, len(s.Layers))
			for i, l := range s.Layers {
				stored[i] = l.Weight.Stored()
			}
			c.set["batch"], c.set["steps"] = 16, 240
			step(t, Blockwise, s, c.set)
			f, err := s.Freeze()
			if err != nil {
				t.Fatal(err)
			}
			if now := apart(before, run(t, f, 16)); !(now <= c.gain*was) {
				t.Errorf("outputs are %.4f apart, were %.4f; want at most %v of that", now, was, c.gain)
			}
			for i, l := range s.Layers {
				if l.Weight.Stored() > stored[i] {
					t.Errorf("layer %s: %d weights, there were %d", l.Name, l.Weight.Stored(), stored[i])
				}
				if q, ok := l.Weight.As.(weight.Int8); c.name != "pruned" && (!ok || q.Q.DType.Bits() > 4) {
					t.Errorf("layer %s is held as %T", l.Name, l.Weight.As)
				}
			}
		})
	}
	t.Run("on integers", func(t *testing.T) {
		s := stateOf(t, net(rand.New(rand.NewPCG(3, 4))), 64)
		step(t, Activations, s, nil)
		a, err := Blockwise.Args(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := Blockwise.Apply(context.Background(), s, a); err == nil || !strings.Contains(err.Error(), "integers") {
			t.Errorf("error %v", err)
		}
	})
}
