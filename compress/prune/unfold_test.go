package prune

import (
	"context"
	"math"
	"slices"
	"testing"

	"whit/compress/method"
	"whit/compress/quant"
	"whit/stat"
	"whit/tensor"
	"whit/train"
	"whit/weight"
)

// Normalisations change nothing, have the moments of what they read, and filters before them are alike in size.
func TestUnfold(t *testing.T) {
	pruned := func(s *method.State) {
		do(t, s, Magnitude, map[string]any{"sparsity": method.Uniform(0.5)})
	}
	held := func(s *method.State) {
		h := &s.Layers[1].Weight
		q := make([]int32, h.Len())
		for i := range q {
			q[i] = int32(i%5) - 2
		}
		levels, err := weight.PackLevels(tensor.Int4, q, h.Value.Type.Shape...)
		if err != nil {
			t.Fatal(err)
		}
		w, err := weight.NewInt8(levels, 0, slices.Repeat([]float32{0.25, 0.5}, h.Value.Type.Shape[0]/2), nil)
		if err != nil {
			t.Fatal(err)
		}
		h.Hold(w)
	}
	for _, c := range []struct {
		name, net, layers string
		before            func(s *method.State)
		norms             int
	}{
		{"all", "tiny", "*", nil, 5},
		{"one", "tiny", "stage1.2.a.conv", nil, 1},
		{"pruned", "tiny", "*", pruned, 5},
		{"levels stay", "tiny", "*", held, 5},
		{"none: all have some", "resnet20", "*", nil, 0},
		{"products stay", "lenet300", "*", nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := state(t, small(t, c.net), 24)
			if c.before != nil {
				c.before(s)
			}
			x := images(t, s)
			as := s.Layers[1].Weight.As
			want, nodes := run(t, s.Graph, x), len(s.Graph.Nodes)
			zeros := 0
			for _, l := range s.Layers {
				zeros += l.Weight.Len() - l.Weight.Stored()
			}
			do(t, s, Unfold, map[string]any{"layers": c.layers})
			if err := s.Graph.Verify(); err != nil {
				t.Fatal(err)
			}
			if n := len(s.Graph.Nodes) - nodes; n != c.norms {
				t.Fatalf("%d normalisations, want %d", n, c.norms)
			}
			if d := far(run(t, s.Graph, x), want); d > 1e-4 {
				t.Errorf("outputs move by %g", d)
			}
			for _, l := range s.Layers {
				zeros -= l.Weight.Len() - l.Weight.Stored()
				bn := normOf(l.Node, s.Graph.Uses())
				if bn == nil || c.norms == 0 {
					continue
				}
				o := &spread{axis: 1}
				if err := stat.Run(context.Background(), s.Graph, s.Train, []stat.Point{{Value: l.Node.Out[0].Name, Observer: o}}, stat.Options{}); err != nil {
					t.Fatal(err)
				}
				mean, variance := o.moments()
				for i, m := range mean {
					if math.Abs(m-float64(tensor.Of[float32](bn.In[3].Data)[i])) > 1e-4 || math.Abs(variance[i]/float64(tensor.Of[float32](bn.In[4].Data)[i])-1) > 1e-3 {
						t.Errorf("%s, channel %d: moments %g and %g are not those of the normalisation", l.Name, i, m, variance[i])
					}
				}
				if l.Weight.As != nil {
					continue
				}
				w, first := l.Weight.Data(), 0.0
				each := len(w) / len(mean)
				for i := range mean {
					sum, n := 0.0, 0.0
					for _, v := range w[i*each : (i+1)*each] {
						if v != 0 {
							sum, n = sum+float64(v)*float64(v), n+1
						}
					}
					if r := sum / n; i == 0 {
						first = r
					} else if n > 0 && math.Abs(r/first-1) > 1e-3 {
						t.Errorf("%s, filter %d: a mean square of %g, the first has %g", l.Name, i, r, first)
					}
				}
			}
			if (s.Layers[1].Weight.As != nil) != (as != nil) {
				t.Error("levels are gone")
			}
			if zeros != 0 {
				t.Errorf("%d zeros more than before", -zeros)
			}
		})
	}
	t.Run("without images", func(t *testing.T) {
		s := state(t, tiny(), 4)
		s.Train = nil
		if err := try(s, Unfold, nil); err == nil {
			t.Error("no error")
		}
	})
}

// What a network mimics behind its normalisations, folded or put back, is what the float model's activations give.
func TestUnfoldMimics(t *testing.T) {
	g := small(t, "vgg-s")
	s := state(t, g, 24)
	hints := func(when string) {
		o := train.Options{Mimic: &train.Mimic{Weight: 1}}
		if err := s.Teach(&o); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if len(o.Mimic.Hints) != 6 {
			t.Errorf("%s: %d hints, want one for each convolution", when, len(o.Mimic.Hints))
		}
		for _, h := range o.Mimic.Hints {
			if n := g.Find(h.Value).Producer; n.Op != "Relu" {
				t.Errorf("%s: %s, an output of %s", when, h.Value, n.Op)
			}
		}
	}
	hints("as it came")
	do(t, s, quant.Fold, nil)
	hints("folded")
	do(t, s, Unfold, nil)
	hints("unfolded")
}
