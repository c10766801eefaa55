package prune

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"whit/compress/method"
	"whit/graph"
	"whit/tensor"
)

// images are the samples that a state is calibrated on.
func images(t testing.TB, s *method.State) *tensor.Tensor {
	n := s.Train.Len()
	x := tensor.New(tensor.Float32, append([]int{n}, s.Train.Shape()...)...)
	idx := make([]int, n)
	for i := range idx {
		idx[i] = i
	}
	if err := s.Train.Read(context.Background(), idx, tensor.Of[float32](x), nil); err != nil {
		t.Fatal(err)
	}
	return x
}

// inner runs g up to a value.
func inner(t testing.TB, g *graph.Graph, name string, x *tensor.Tensor) *tensor.Tensor {
	c, _ := g.Clone()
	c.Outputs = []*graph.Value{c.Find(name)}
	return run(t, c, x)
}

func mse(a, b *tensor.Tensor) float64 {
	s := 0.0
	for i, v := range tensor.Of[float32](a) {
		d := float64(v - tensor.Of[float32](b)[i])
		s += d * d
	}
	return s / float64(a.Len())
}

// The greedy choice is the best single channel, and the best pair, that brute force finds.
func TestThiNetGreedy(t *testing.T) {
	s := state(t, tiny(), 12)
	const layer, reader = "stage1.1.a.conv", "stage1.1.b.conv"
	x := images(t, s)
	want := inner(t, s.Graph, reader, x)
	loss := func(chs ...int) float64 {
		g, _ := s.Graph.Clone()
		y, err := NewSurgery(g, sample(g))
		if err != nil {
			t.Fatal(err)
		}
		var ks []int
		for k, a := range y.Atoms {
			if ix := a.In(Place{g.Find(layer + ".weight"), 0}); ix != nil && slices.Contains(chs, ix[0]) {
				ks = append(ks, k)
			}
		}
		if err := y.Cut(ks); err != nil {
			t.Fatal(err)
		}
		return mse(inner(t, g, reader, x), want)
	}
	best := map[int][]int{}
	low := map[int]float64{1: math.Inf(1), 2: math.Inf(1)}
	for a := range 8 {
		if l := loss(a); l < low[1] {
			low[1], best[1] = l, []int{a}
		}
		for b := range a {
			if l := loss(b, a); l < low[2] {
				low[2], best[2] = l, []int{b, a}
			}
		}
	}
	for n := 1; n <= 2; n++ {
		a, err := ThiNet.Args(map[string]any{"layers": layer, "sparsity": method.Uniform(float64(n) / 8), "round_to": 1})
		if err != nil {
			t.Fatal(err)
		}
		c, err := newCutter(s, a)
		if err != nil {
			t.Fatal(err)
		}
		sts, err := c.readStats(context.Background(), a)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, k := range c.choose(sts) {
			got = append(got, c.y.Atoms[k].In(outs(c.layers[0]))...)
		}
		slices.Sort(got)
		if !slices.Equal(got, best[n]) {
			t.Errorf("%d channels: chose %v, brute force %v", n, got, best[n])
		}
	}
}

// On the images that they are fitted on, scales are not worse than plain removal, and least
// squares not worse than scales.
func TestReconstruct(t *testing.T) {
	for _, tc := range []struct{ net, layer, reader string }{
		{"tiny", "stage1.1.a.conv", "stage1.1.b.conv"},
		{"lenet5", "conv1", "conv2"},
		{"lenet5", "conv2", "fc1"},
		{"mobilenet2", "block3.expand.conv", "block3.project.conv"}, // without a bias, past a depthwise convolution
		{"squeezenet1.1", "fire2.expand3x3", "fire3.squeeze"},
	} {
		t.Run(tc.net+"/"+tc.layer, func(t *testing.T) {
			g := small(t, tc.net)
			base := state(t, g, 24)
			x := images(t, base)
			want := inner(t, g, tc.reader, x)
			loss := func(m *method.Method, set map[string]any) float64 {
				s := base.Clone()
				set["layers"], set["sparsity"] = tc.layer, method.Uniform(0.4)
				if m != Channels {
					set["rows"] = 1 << 20
				}
				do(t, s, m, set)
				return mse(inner(t, s.Graph, tc.reader, x), want)
			}
			plain, refit := loss(Channels, map[string]any{"score": "l1"}), loss(Reconstruct, map[string]any{"score": "l1"})
			scaled, best := loss(ThiNet, map[string]any{}), loss(Reconstruct, map[string]any{})
			t.Logf("plain %.4g, fitted %.4g; greedy and scaled %.4g, and fitted %.4g", plain, refit, scaled, best)
			if refit > plain*(1+1e-5) || best > scaled*(1+1e-5) || scaled > plain {
				t.Errorf("plain %g, fitted %g; greedy and scaled %g, and fitted %g", plain, refit, scaled, best)
			}
		})
	}
}

// Whole networks: layers one after the other, residual sums too; the same for any number of threads.
func TestReconstructNet(t *testing.T) {
	base := state(t, tiny(), 24)
	x := images(t, base)
	want := run(t, base.Graph, x)
	loss := map[string]float64{}
	for _, tc := range []struct {
		name string
		m    *method.Method
		set  map[string]any
	}{
		{"plain", Channels, map[string]any{}},
		{"thinet", ThiNet, map[string]any{}},
		{"greedy", Reconstruct, map[string]any{}},
		{"l2", Reconstruct, map[string]any{"score": "l2", "by": "global"}},
	} {
		tc.set["sparsity"] = method.Uniform(0.3)
		s := base.Clone()
		do(t, s, tc.m, tc.set)
		loss[tc.name] = mse(run(t, s.Graph, x), want)
		if got := widths(s, "conv1.conv", "stage1.1.a.conv", "stage1.2.b.conv"); tc.set["by"] == nil && got != "11 6 11" {
			t.Errorf("%s: widths %s", tc.name, got)
		}
		p := base.Clone()
		p.Threads = 2
		do(t, p, tc.m, tc.set)
		if p.Graph.String() != s.Graph.String() || !slices.Equal(run(t, p.Graph, x).Bytes(), run(t, s.Graph, x).Bytes()) {
			t.Errorf("%s: two threads give another network", tc.name)
		}
		if len(s.Stages) != 1 {
			t.Errorf("%s: %d stages", tc.name, len(s.Stages))
		}
	}
	t.Log(fmt.Sprint(loss))
	if loss["greedy"] > loss["thinet"] || loss["thinet"] > loss["plain"] {
		t.Errorf("losses %v", loss)
	}
}
