package prune

import (
	"context"
	"math"
	"strings"
	"testing"

	"whit/compress/method"
	"whit/graph"
	"whit/stat"
	"whit/tensor"
)

// like makes row to of a constant by times row from.
func like(g *graph.Graph, name string, from, to int, by float32) {
	v := g.Find(name)
	x := v.Tensor().Clone()
	n := x.Len() / x.Shape[0]
	for i := range n {
		tensor.Of[float32](x)[to*n+i] = by * tensor.Of[float32](x)[from*n+i]
	}
	v.Data = x
}

// Copies, and copies of another size where ReLU and pooling follow, merge without a change of the output.
func TestMerge(t *testing.T) {
	each := func(g *graph.Graph, from, to int, by float32, names ...string) {
		for _, n := range names {
			like(g, n, from, to, by)
		}
	}
	for _, tc := range []struct {
		name, net string
		edit      func(g *graph.Graph)
		layers    []string
		want      string
	}{
		{"copies", "tiny", func(g *graph.Graph) {
			each(g, 1, 3, 1, "stage1.1.a.conv.weight", "stage1.1.a.conv.bias")
			each(g, 1, 6, 1, "stage1.1.a.conv.weight", "stage1.1.a.conv.bias")
		}, []string{"stage1.1.a.conv", "stage1.2.a.conv"}, "6 8"},
		{"scaled", "tiny", func(g *graph.Graph) {
			each(g, 1, 3, 0.25, "stage1.1.a.conv.weight", "stage1.1.a.conv.bias")
			each(g, 0, 2, 3, "stage1.2.a.conv.weight", "stage1.2.a.conv.bias")
		}, []string{"stage1.1.a.conv", "stage1.2.a.conv"}, "7 7"},
		{"opposite", "tiny", func(g *graph.Graph) { each(g, 1, 3, -1, "stage1.1.a.conv.weight", "stage1.1.a.conv.bias") }, []string{"stage1.1.a.conv"}, "8"},
		{"through a residual stage", "tiny", func(g *graph.Graph) {
			for _, l := range []string{"conv1.conv", "stage1.1.b.conv", "stage1.2.b.conv"} {
				each(g, 7, 2, 0.5, l+".weight", l+".bias")
			}
		}, []string{"conv1.conv", "stage1.2.b.conv"}, "15 15"},
		{"not all of a residual stage", "tiny", func(g *graph.Graph) {
			each(g, 7, 2, 0.5, "conv1.conv.weight", "conv1.conv.bias", "stage1.1.b.conv.weight", "stage1.1.b.conv.bias")
		}, []string{"conv1.conv"}, "16"},
		{"normalised", "resnet20", func(g *graph.Graph) {
			each(g, 0, 9, 2, "stage1.1.a.conv.weight", "stage1.1.a.bn.mean")
			each(g, 0, 9, 1, "stage1.1.a.bn.scale", "stage1.1.a.bn.bias")
			each(g, 0, 9, 4, "stage1.1.a.bn.var")
		}, []string{"stage1.1.a.conv"}, "15"},
		{"depthwise", "mobilenet2", func(g *graph.Graph) {
			for _, l := range []string{"block3.expand", "block3.dw"} {
				each(g, 5, 40, 1, l+".conv.weight", l+".bn.scale", l+".bn.bias", l+".bn.mean", l+".bn.var")
			}
		}, []string{"block3.expand.conv", "block3.dw.conv"}, "47 47"},
		{"scaled under a clip", "mobilenet2", func(g *graph.Graph) {
			for _, l := range []string{"block3.expand", "block3.dw"} {
				each(g, 5, 40, 1, l+".conv.weight", l+".bn.scale", l+".bn.bias", l+".bn.mean", l+".bn.var")
			}
			each(g, 5, 40, 0.5, "block3.expand.bn.scale", "block3.expand.bn.bias")
		}, []string{"block3.expand.conv"}, "48"},
		{"flattened", "lenet5", func(g *graph.Graph) { each(g, 3, 30, 1.5, "conv2.weight", "conv2.bias") }, []string{"conv2"}, "49"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := small(t, tc.net)
			tc.edit(g)
			s := state(t, g, 4)
			do(t, s, Merge, map[string]any{"layers": strings.Join(tc.layers, ",")})
			if got := widths(s, tc.layers...); got != tc.want {
				t.Errorf("widths %s, want %s", got, tc.want)
			}
			if d := far(run(t, s.Graph, input(g, 3)), run(t, g, input(g, 3))); !(d < 2e-5) {
				t.Errorf("the output changes by %g", d)
			}
		})
	}
}

// Normalisations get the statistics of the images; folded ones the float model's means.
func TestRecalibrate(t *testing.T) {
	t.Run("normalisation", func(t *testing.T) {
		s := state(t, small(t, "mobilenet1"), 20)
		do(t, s, Recalibrate, map[string]any{"layers": "conv1.conv,conv2*"})
		o := &spread{axis: 1}
		if err := stat.Run(context.Background(), s.Graph, s.Train, []stat.Point{{Value: "conv2.pw.bn", Observer: o}}, stat.Options{}); err != nil {
			t.Fatal(err)
		}
		mean, va := o.moments()
		gamma, beta := tensor.Of[float32](s.Graph.Find("conv2.pw.bn.scale").Tensor()), tensor.Of[float32](s.Graph.Find("conv2.pw.bn.bias").Tensor())
		for i := range mean {
			if math.Abs(mean[i]-float64(beta[i])) > 1e-3 || math.Abs(math.Sqrt(va[i])-float64(gamma[i])) > 2e-2 {
				t.Errorf("channel %d: mean %g, want %g, deviation %g, want %g", i, mean[i], beta[i], math.Sqrt(va[i]), gamma[i])
			}
		}
	})
	for _, match := range []string{"mean", "variance"} {
		t.Run(match, func(t *testing.T) {
			base := state(t, tiny(), 24)
			do(t, base, Channels, map[string]any{"sparsity": method.Uniform(0.3)})
			s := base.Clone()
			do(t, s, Recalibrate, map[string]any{"match": match})
			x := images(t, s)
			want := run(t, s.Float, x)
			was, now := mse(run(t, base.Graph, x), want), mse(run(t, s.Graph, x), want)
			t.Logf("%.4g, recalibrated %.4g", was, now)
			if now >= was {
				t.Errorf("%g, recalibrated %g", was, now)
			}
			a, b := &spread{axis: 1}, &spread{axis: 1}
			left := s.Left["stage1.2.a.conv.weight"]
			for _, p := range []struct {
				g *graph.Graph
				o stat.Observer
			}{{s.Float, &stat.Channels{Keep: left, Axis: 1, To: a}}, {s.Graph, b}} {
				if err := stat.Run(context.Background(), p.g, s.Train, []stat.Point{{Value: "stage1.2.a.conv", Observer: p.o}}, stat.Options{}); err != nil {
					t.Fatal(err)
				}
			}
			m0, _ := a.moments()
			m1, _ := b.moments()
			for i := range m0 {
				if len(m1) != len(m0) || math.Abs(m0[i]-m1[i]) > 1e-4 {
					t.Fatalf("means %v, want %v", m1, m0)
				}
			}
		})
	}
}

// What does least goes first, and nothing that would cost too much.
func TestBlocks(t *testing.T) {
	shrink := func(g *graph.Graph, by float32, names ...string) {
		for _, n := range names {
			v := g.Find(n)
			x := v.Tensor().Clone()
			for i := range tensor.Of[float32](x) {
				tensor.Of[float32](x)[i] *= by
			}
			v.Data = x
		}
	}
	t.Run("residual", func(t *testing.T) {
		g := tiny()
		shrink(g, 1e-3, "stage1.2.b.conv.weight", "stage1.2.b.conv.bias")
		s := state(t, g, 16)
		do(t, s, Blocks, map[string]any{"count": 2, "max_loss": 0.01})
		if got := widths(s, "conv1.conv", "stage1.1.a.conv", "stage1.2.a.conv", "stage1.2.b.conv", "fc"); got != "16 8 7" {
			t.Errorf("left %s", got)
		}
		if len(s.Refused) != 1 || !strings.HasPrefix(s.Refused[0].What, "block ") {
			t.Errorf("refused %v", s.Refused)
		}
		if d := far(run(t, s.Graph, input(g, 3)), run(t, g, input(g, 3))); !(d < 0.01) {
			t.Errorf("the output changes by %g", d)
		}
	})
	t.Run("layer", func(t *testing.T) {
		g := small(t, "resnet20")
		// A convolution of stage 1 that hands on what it gets.
		v := g.Find("stage1.2.a.conv.weight")
		x := tensor.New(tensor.Float32, v.Type.Shape...)
		for c := range 16 {
			tensor.Of[float32](x)[(c*16+c)*9+4] = 1
		}
		v.Data = x
		fill := func(n string, f float32) {
			y := tensor.New(tensor.Float32, 16)
			for i := range 16 {
				tensor.Of[float32](y)[i] = f
			}
			g.Find("stage1.2.a.bn." + n).Data = y
		}
		fill("scale", 1)
		fill("bias", 0)
		fill("mean", 0)
		fill("var", 1-1e-5)
		s := state(t, g, 4)
		do(t, s, Blocks, map[string]any{"kind": "layer"})
		if s.Graph.Find("stage1.2.a.conv.weight") != nil || s.Graph.Find("stage1.2.a.bn.var") != nil {
			t.Error("the layer is still there")
		}
		if d := far(run(t, s.Graph, input(g, 3)), run(t, g, input(g, 3))); !(d < 1e-4) {
			t.Errorf("the output changes by %g", d)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		s := state(t, small(t, "lenet5"), 4)
		if err := try(s, Blocks, nil); err == nil {
			t.Error("no error")
		}
	})
}
