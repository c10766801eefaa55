package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"whit/graph"
	"whit/internal/cpu"
	"whit/internal/optest"
	"whit/tensor"
)

// TestParts runs random networks of convolutions, pools, residuals, joins, splits and
// shuffles: images that share memory must not disturb each other.
func TestParts(t *testing.T) {
	joined := 0
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			g, in := partsGraph(seed)
			want := run(t, g, Options{References: true}, in)
			for _, threads := range []int{1, 3} {
				got := run(t, g, Options{Threads: threads}, in)
				for i := range want {
					if d := optest.Diff(got[i], want[i]); !(d < 2e-5) {
						t.Fatalf("%d threads: output %d differs by %g\n%s", threads, i, d, g)
					}
				}
			}
			p, err := NewProgram(g, Options{})
			if err != nil {
				t.Fatal(err)
			}
			pl, err := p.Plan(map[string]tensor.Type{"x": in["x"].Type})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range pl.steps {
				if placed(s.node) {
					joined++
				}
			}
		})
	}
	if joined < 60 {
		t.Errorf("only %d joins and splits share memory", joined)
	}
}

// TestPartsOfBatch splits a batch of NHWC images: nothing lies within anything, for
// only channels are side by side there.
func TestPartsOfBatch(t *testing.T) {
	g := graph.New("batch")
	x := g.AddInput("x", tensor.Float32, 2, 5, 4, 3)
	up := g.Add("", "Resize", nil, x, nil, g.NewConst("", optest.F32([]float32{1, 1, 2, 2}, 4)))
	g.Outputs = append(g.AddN("", "Split", map[string]any{"axis": int64(0)}, 2, up, g.NewConst("", tensor.Ints(1, 1))), up)
	in := map[string]*tensor.Tensor{"x": optest.Rand(1, tensor.Float32, 2, 5, 4, 3)}
	want, got := run(t, g, Options{References: true}, in), run(t, g, Options{Threads: 2}, in)
	for i := range want {
		if d := optest.Diff(got[i], want[i]); d != 0 {
			t.Errorf("output %d differs by %g", i, d)
		}
	}
}

// TestPartsOfBytes joins quantised images: those of whole blocks of channels that nothing else reads lie within
// the whole, with the integers that they have apart.
func TestPartsOfBytes(t *testing.T) {
	for _, c := range []struct {
		name     string
		channels [3]int
		signed   bool
		joined   bool // nothing is copied
	}{
		{"blocks", [3]int{32, 16, 48}, false, true},
		{"signed", [3]int{16, 64, 32}, true, true},
		{"last", [3]int{32, 16, 24}, false, false},
		{"first", [3]int{24, 16, 32}, false, false},
	} {
		graphOf := func(apart bool) *graph.Graph {
			g, seed := graph.New("bytes"), uint64(3)
			zero := tensor.New(tensor.Uint8)
			if c.signed {
				zero = tensor.New(tensor.Int8)
			}
			q := func(x *graph.Value, s float32) *graph.Value {
				scale, z := g.NewConst("", tensor.Scalar(s)), g.NewConst("", zero)
				return g.Add("", "DequantizeLinear", nil, g.Add("", "QuantizeLinear", nil, x, scale, z), scale, z)
			}
			conv := func(x *graph.Value, cin, cout, k, group int, s float32) *graph.Value {
				seed++
				w := g.Add("", "DequantizeLinear", nil, g.NewConst("", optest.Rand(seed, tensor.Int8, cout, cin/group, k, k)), g.NewConst("", tensor.Scalar(float32(0.01))), g.NewConst("", tensor.New(tensor.Int8)))
				p := int64(k / 2)
				return q(g.Add("", "Relu", nil, g.Add("", "Conv", map[string]any{"pads": []int64{p, p, p, p}, "group": int64(group)}, x, w)), s)
			}
			x := q(g.AddInput("x", tensor.Float32, 2, 96, 9, 7), 0.02)
			a := conv(x, 96, c.channels[0], 1, 1, 1) // pairs
			b := conv(x, 96, c.channels[1], 3, 1, 1) // Winograd
			d := conv(x, 96, c.channels[2], 1, 1, 1)
			e := q(d, 2) // a table, because the scale is another
			// All parts have one scale, so that their bytes are joined.
			y := q(g.Add("", "Concat", map[string]any{"axis": int64(1)}, q(a, 2), q(b, 2), e), 2)
			n := c.channels[0] + c.channels[1] + c.channels[2]
			dw := conv(y, n, n, 3, n, 1)
			z := q(g.Add("", "Concat", map[string]any{"axis": int64(1)}, dw, conv(y, n, 16, 1, 2, 1)), 1)
			g.Outputs = []*graph.Value{conv(z, n+16, 40, 1, 1, 4)}
			if apart {
				g.Outputs = append(g.Outputs, a, b, e, dw)
			}
			return g
		}
		in := map[string]*tensor.Tensor{"x": optest.Rand(1, tensor.Float32, 2, 96, 9, 7)}
		types := map[string]tensor.Type{"x": in["x"].Type}
		for _, f := range cpu.Detect().Variants() {
			for _, direct := range []bool{false, true} {
				o := Options{Threads: 2, CPU: &f, Direct: direct}
				want, got := run(t, graphOf(true), o, in), run(t, graphOf(false), o, in)
				if d := optest.Diff(got[0], want[0]); d != 0 {
					t.Errorf("%s, %v, direct %v: differs by %g", c.name, f, direct, d)
				}
				pl, err := tunedPlan(graphOf(false), types, o)
				if err != nil {
					t.Fatal(err)
				}
				all, within := true, 0
				for _, s := range pl.steps {
					if s.node.Op == "Concat" {
						all = all && placed(s.node)
						for _, v := range s.node.In {
							if v.Within != nil {
								within++
							}
						}
					}
				}
				if all != c.joined || c.joined && within != 5 {
					t.Errorf("%s, %v, direct %v: nothing is copied: %v, %d parts lie within others", c.name, f, direct, all, within)
				}
			}
		}
	}
}

func partsGraph(seed uint64) (*graph.Graph, map[string]*tensor.Tensor) {
	r := rand.New(rand.NewPCG(seed, 3))
	g := graph.New("parts")
	vs := []*graph.Value{g.AddInput("x", tensor.Float32, 2, 8, 7, 6)}
	chans := map[*graph.Value]int{vs[0]: 8}
	add := func(v *graph.Value, c int) *graph.Value {
		vs = append(vs, v)
		chans[v] = c
		return v
	}
	pick := func() *graph.Value { return vs[max(0, len(vs)-1-r.IntN(4))] }
	conv := func(x *graph.Value, c int) *graph.Value {
		k := []int{1, 3}[r.IntN(2)]
		w := optest.Rand(r.Uint64(), tensor.Float32, c, chans[x], k, k)
		f := tensor.Of[float32](w)
		for i := range f {
			f[i] /= float32(chans[x])
		}
		p := int64(k / 2)
		return g.Add("", "Conv", map[string]any{"pads": []int64{p, p, p, p}}, x, g.NewConst("", w))
	}
	for range 14 {
		x := pick()
		switch r.IntN(6) {
		case 0, 1:
			c := []int{8, 16, 5}[r.IntN(3)]
			add(conv(x, c), c)
		case 2:
			act, attrs := "Relu", map[string]any(nil)
			if r.IntN(2) == 0 {
				act, attrs = "LeakyRelu", map[string]any{"alpha": float32(-0.3)}
			}
			add(g.Add("", act, attrs, g.Add("", "Add", nil, conv(x, chans[x]), x)), chans[x])
		case 3:
			y := pick()
			if chans[x]+chans[y] <= 64 {
				add(g.Add("", "Concat", map[string]any{"axis": int64(1)}, x, y), chans[x]+chans[y])
			}
		case 4:
			if c := chans[x]; c%2 == 0 {
				for _, v := range g.AddN("", "Split", map[string]any{"axis": int64(1), "num_outputs": int64(2)}, 2, x) {
					add(v, c/2)
				}
			}
		case 5:
			add(g.Add("", "MaxPool", map[string]any{"kernel_shape": []int64{3, 3}, "pads": []int64{1, 1, 1, 1}}, x), chans[x])
		}
	}
	g.Outputs = slices.Clone(vs[len(vs)-3:])
	return g, map[string]*tensor.Tensor{"x": optest.Rand(seed, tensor.Float32, 2, 8, 7, 6)}
}

// TestLongSums runs convolutions whose sums over k are taken in blocks, with a
// residual and limits after the last.
func TestLongSums(t *testing.T) {
	for _, c := range []struct{ cin, k, stride int }{{1000, 1, 1}, {130, 3, 1}, {450, 3, 2}, {70, 5, 1}} {
		g := graph.New("sums")
		x := g.AddInput("x", tensor.Float32, 1, c.cin, 9, 8)
		w := optest.Rand(1, tensor.Float32, 24, c.cin, c.k, c.k)
		p := int64(c.k / 2)
		attrs := map[string]any{"pads": []int64{p, p, p, p}, "strides": []int64{int64(c.stride), int64(c.stride)}}
		y := g.Add("", "Conv", attrs, x, g.NewConst("", w), g.NewConst("", optest.Rand(2, tensor.Float32, 24)))
		z := g.Add("", "Conv", attrs, x, g.NewConst("", optest.Rand(3, tensor.Float32, 24, c.cin, c.k, c.k)))
		g.Outputs = []*graph.Value{g.Add("", "Relu", nil, g.Add("", "Add", nil, y, z))}
		in := map[string]*tensor.Tensor{"x": optest.Rand(4, tensor.Float32, 1, c.cin, 9, 8)}
		want := run(t, g, Options{References: true}, in)
		for _, direct := range []bool{false, true} {
			got := run(t, g, Options{Direct: direct}, in)
			if d := optest.Diff(got[0], want[0]); !(d < 1e-3) {
				t.Errorf("%+v: differs by %g", c, d)
			}
		}
	}
}

// TestConstantImage convolves an image that is a constant, with a bias that is not.
func TestConstantImage(t *testing.T) {
	for _, cin := range []int{3, 8} {
		g := graph.New("constant")
		b := g.AddInput("b", tensor.Float32, 8)
		x := g.NewConst("", optest.Rand(1, tensor.Float32, 1, cin, 6, 7))
		y := g.Add("", "Conv", map[string]any{"pads": []int64{1, 1, 1, 1}}, x, g.NewConst("", optest.Rand(2, tensor.Float32, 8, cin, 3, 3)), b)
		g.Outputs = []*graph.Value{g.Add("", "Relu", nil, y)}
		in := map[string]*tensor.Tensor{"b": optest.Rand(3, tensor.Float32, 8)}
		if d := optest.Diff(run(t, g, Options{}, in)[0], run(t, g, Options{References: true}, in)[0]); !(d < 1e-5) {
			t.Errorf("%d channels: differs by %g", cin, d)
		}
	}
}
