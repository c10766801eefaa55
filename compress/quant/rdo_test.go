package quant

import (
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"whit/compress/method"
	"whit/entropy"
	"whit/graph"
	"whit/tensor"
	"whit/weight"
	"whit/zoo"
)

// noise is images of noise without labels.
type noise struct {
	n     int
	shape []int
}

func (d noise) Len() int            { return d.n }
func (d noise) Shape() []int        { return d.shape }
func (d noise) Hash(i int) [32]byte { return [32]byte{byte(i), byte(i >> 8)} }
func (d noise) Read(_ context.Context, idx []int, x []float32, y []int32) error {
	size := tensor.Shape(d.shape).NumElements()
	for k, i := range idx {
		r := rand.New(rand.NewPCG(uint64(i), 9))
		level := r.Float64()
		for j := range size {
			x[k*size+j] = float32(max(0, r.NormFloat64()*level))
		}
		if y != nil {
			y[k] = int32(i % 3)
		}
	}
	return nil
}

// many is a network of more classes than all count of.
func many() *graph.Graph {
	r := rand.New(rand.NewPCG(8, 2))
	g := graph.New("small")
	w := make([]float32, 40*98)
	for i := range w {
		w[i] = float32(r.NormFloat64() * 0.2)
	}
	x := g.AddInput("x", tensor.Float32, -1, 2, 7, 7)
	f := g.Add("", "Flatten", nil, x)
	f.Name = "fy"
	y := g.Add("", "Gemm", map[string]any{"transB": int64(1)}, f, g.NewConst("w.weight", tensor.From(w, 40, 98)), g.NewConst("w.bias", tensor.New(tensor.Float32, 40)))
	y.Name = "y"
	g.Outputs = []*graph.Value{y}
	return g
}

// small is a network with what jacobians tell apart: a strided and padded convolution in
// groups, products with and without a transposed weight, and biases.
func small() *graph.Graph {
	r := rand.New(rand.NewPCG(1, 2))
	g := graph.New("small")
	param := func(name string, shape ...int) *graph.Value {
		x := make([]float32, tensor.Shape(shape).NumElements())
		for i := range x {
			if x[i] = float32(r.NormFloat64() * 0.4); i%3 == 1 && len(shape) > 1 {
				x[i] = 0
			}
		}
		v := g.NewConst(name, tensor.From(x, shape...))
		return v
	}
	x := g.AddInput("x", tensor.Float32, -1, 2, 7, 7)
	c := g.Add("", "Conv", map[string]any{"kernel_shape": []int64{3, 3}, "strides": []int64{2, 1}, "pads": []int64{1, 0, 1, 1}, "group": int64(2)}, x, param("c.weight", 4, 1, 3, 3), param("c.bias", 4))
	c.Name = "cy"
	f := g.Add("", "Flatten", nil, g.Add("", "Relu", nil, c))
	f.Name = "fy"
	a := g.Add("", "Gemm", map[string]any{"transB": int64(1)}, f, param("a.weight", 12, 4*4*6), param("a.bias", 12))
	a.Name = "ay"
	ra := g.Add("", "Relu", nil, a)
	ra.Name = "ray"
	b := g.Add("", "Gemm", nil, ra, param("b.weight", 12, 5), param("b.bias", 5))
	b.Name = "by"
	g.Outputs = []*graph.Value{b}
	return g
}

// restorer is a network that decides nothing: it makes an image and, beside it, few values.
func restorer(image bool) *graph.Graph {
	r := rand.New(rand.NewPCG(3, 2))
	g := graph.New("small")
	param := func(name string, shape ...int) *graph.Value {
		x := make([]float32, tensor.Shape(shape).NumElements())
		for i := range x {
			x[i] = float32(r.NormFloat64() * 0.3)
		}
		return g.NewConst(name, tensor.From(x, shape...))
	}
	x := g.AddInput("x", tensor.Float32, -1, 2, 7, 7)
	c := g.Add("", "Conv", map[string]any{"auto_pad": "SAME_UPPER"}, x, param("c.weight", 3, 2, 3, 3), param("c.bias", 3))
	c.Name = "cy"
	h := g.Add("", "PRelu", nil, c, g.NewConst("slope", tensor.From([]float32{0.7, 0.5, 0.8}, 3, 1, 1)))
	d := g.Add("", "Conv", map[string]any{"dilations": []int64{2, 2}}, h, param("d.weight", 2, 3, 3, 3), param("d.bias", 2))
	d.Name = "dy"
	f := g.Add("", "Flatten", nil, g.Add("", "GlobalAveragePool", nil, h))
	f.Name = "fy"
	e := g.Add("", "Gemm", map[string]any{"transB": int64(1)}, f, param("e.weight", 4, 3), param("e.bias", 4))
	e.Name = "ey"
	if !image {
		d = g.Add("", "GlobalAveragePool", nil, d)
	}
	g.Outputs = []*graph.Value{d, g.Add("", "Sigmoid", nil, e)}
	return g
}

func state(g *graph.Graph, images int) *method.State {
	c, _ := g.Clone()
	d := noise{images, []int{2, 7, 7}}
	if g.Name != "small" {
		d.shape = []int{1, 28, 28}
	}
	s := &method.State{Graph: c, Float: g, Layers: method.FindLayers(c, ""), Train: d, Choice: d, Seed: 1}
	if len(g.Outputs) > 1 {
		s.Metric = method.Cosine
	}
	return s
}

// What an element moves is what the network's decisions move by, float or quantised.
func TestJacobians(t *testing.T) {
	ctx := context.Background()
	lenet, err := zoo.Build("lenet300", 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range []*graph.Graph{small(), many(), lenet, restorer(true), restorer(false)} {
		for _, changed := range []bool{false, true} {
			s := state(g, 61)
			m, err := newResponse(ctx, s, 61, 3, 1)
			if err != nil {
				t.Fatal(err)
			}
			if changed { // the weights are no longer those of the float model
				for _, l := range s.Layers {
					x := append([]float32{}, l.Weight.Data()...)
					for i := range x {
						x[i] *= 1 + float32(i%5-2)*0.05
					}
					l.Weight.Set(x)
				}
			}
			r := rand.New(rand.NewPCG(4, 4))
			for _, l := range s.Layers {
				js, err := m.jacobians(ctx, []*method.Layer{l}, func(h *method.Held, i int) bool { return h.Data()[i] == 0 })
				if err != nil {
					t.Fatal(err)
				}
				for n, h := range []*method.Held{&l.Weight, l.Bias} {
					j := js[0][n]
					cols := h.Len() / h.Value.Type.Shape[0]
					for range 12 {
						i := r.IntN(h.Len())
						x := h.Data()
						if x[i] == 0 {
							continue
						}
						if err := m.measure(ctx); err != nil {
							t.Fatal(err)
						}
						before := append([]float32{}, m.rest...)
						const by = 1e-3
						j.begin(i / cols)
						grad, norm := j.grad(i), j.norm(i)
						j.move(i, by)
						j.end(i / cols)
						told := append([]float32{}, m.rest...)
						y := append([]float32{}, x...)
						y[i] += by
						h.Set(y)
						if err := m.measure(ctx); err != nil {
							t.Fatal(err)
						}
						var off, size, dir, own float64
						for e, v := range m.rest {
							d := float64(v - before[e])
							off += math.Pow(float64(v-told[e]), 2)
							size += d * d
							dir += d / by * float64(before[e])
							own += d / by * d / by
						}
						if off > 0.02*size+1e-11 || math.Abs(norm-own) > 0.1*own+1e-5 || math.Abs(grad-dir) > 0.1*math.Abs(dir)+0.02*math.Sqrt(own)+1e-5 {
							t.Errorf("%s, changed %v: %s[%d]: off by %.3g of %.3g; gradient %v, want %v; norm %v, want %v", g.Name, changed, h.Value.Name, i, off, size, grad, dir, norm, own)
						}
						h.Set(x)
					}
				}
			}
		}
	}
}

func apply(t *testing.T, s *method.State, set map[string]any) {
	t.Helper()
	a, err := RDO.Args(set)
	if err != nil {
		t.Fatal(err)
	}
	if err := RDO.Apply(context.Background(), s, a); err != nil {
		t.Fatal(err)
	}
}

// coded is the size of the layers' levels under the coder, in bytes.
func coded(t *testing.T, s *method.State) int {
	t.Helper()
	var blocks []entropy.Block
	for _, l := range s.Layers {
		for _, h := range []*method.Held{&l.Weight, l.Bias} {
			if h.Step == 0 {
				t.Fatalf("%s has no levels", h.Value.Name)
			}
			b := entropy.Block{Dims: entropy.DimsOf(h.Value.Type.Shape)}
			for _, x := range h.Data() {
				b.Syms = append(b.Syms, int32(math.Round(float64(x/h.Step))))
			}
			blocks = append(blocks, b)
		}
	}
	b, err := entropy.Context{}.Append(nil, blocks)
	if err != nil {
		t.Fatal(err)
	}
	return len(b)
}

// off is the sum of squares that the state's weights give against the float model.
func off(t *testing.T, s *method.State) float64 {
	t.Helper()
	ctx := context.Background()
	f := *s
	f.Graph = s.Float
	m, err := newResponse(ctx, &f, s.Train.Len(), 8, 1)
	if err != nil {
		t.Fatal(err)
	}
	m.s = s
	if err := m.measure(ctx); err != nil {
		t.Fatal(err)
	}
	return dot(m.rest, m.rest)
}

func TestShrunk(t *testing.T) {
	for _, tc := range []struct {
		shrink float64
		n      int
		want   float64
	}{{0.8, 5000, 0.8}, {1, 1, 1}, {0, 1, 0}, {0.8, 50000, 0.8 / 2.8}, {0.8, 1, 0.8 / 0.80004}} {
		if got := shrunk(tc.shrink, tc.n); math.Abs(got-tc.want) > 1e-12 {
			t.Errorf("shrink %v with %d sums: %v, want %v", tc.shrink, tc.n, got, tc.want)
		}
	}
}

func TestRDO(t *testing.T) {
	t.Run("rate falls with lambda", func(t *testing.T) {
		last := math.MaxInt
		for _, lambda := range []float64{1e-4, 1e-2, 1} {
			s := state(small(), 80)
			apply(t, s, map[string]any{"lambda": lambda})
			n := coded(t, s)
			if n >= last {
				t.Errorf("lambda %v: %d bytes after %d", lambda, n, last)
			}
			last = n
		}
	})
	t.Run("better than rounding", func(t *testing.T) {
		s := state(small(), 80)
		apply(t, s, map[string]any{"lambda": 1e-3, "shrink": 0.2}) // pairs count: the same images tell
		// The same steps, each weight to the nearest level.
		r := state(small(), 80)
		for k, l := range s.Layers {
			for i, h := range []*method.Held{&l.Weight, l.Bias} {
				to := []*method.Held{&r.Layers[k].Weight, r.Layers[k].Bias}[i]
				levels := make([]int8, to.Len())
				for e, x := range to.Data() {
					levels[e] = int8(math.RoundToEven(min(max(float64(x/h.Step), -127), 127)))
				}
				to.Quantise(levels, h.Step)
			}
		}
		if a, b := coded(t, s), coded(t, r); a >= b {
			t.Errorf("%d bytes, rounding takes %d", a, b)
		}
		if a, b := off(t, s), off(t, r); a >= b/2 {
			t.Errorf("off by %v, rounding by %v", a, b)
		}
	})
	t.Run("a model that decides nothing", func(t *testing.T) {
		for _, image := range []bool{true, false} {
			var last float64
			for _, lambda := range []float64{1e-1, 1e-3} {
				s := state(restorer(image), 80)
				apply(t, s, map[string]any{"lambda": lambda})
				e, err := s.Measure(context.Background(), s.Graph)
				if err != nil {
					t.Fatal(err)
				}
				if last > 0 && !(e.Far < last/4) || !(e.Far < 0.5) {
					t.Errorf("image %v, lambda %v: off by %v of the outputs' squares, by %v before", image, lambda, e.Far, last)
				}
				last = e.Far
			}
		}
	})
	t.Run("zeros stay", func(t *testing.T) {
		s := state(small(), 40)
		apply(t, s, nil)
		for k, l := range method.FindLayers(small(), "") {
			for i, x := range l.Weight.Data() {
				if x == 0 && s.Layers[k].Weight.Data()[i] != 0 {
					t.Fatalf("layer %s: element %d was zero", l.Name, i)
				}
			}
		}
		g, err := s.Freeze()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range s.Layers {
			v := g.Find(l.Weight.Value.Name)
			if v.Weight == nil || v.Weight.Kind() != "int8" || !slices.Equal(tensor.Of[float32](v.Tensor()), l.Weight.Data()) {
				t.Errorf("layer %s is frozen as another weight", l.Name)
			}
		}
	})
	t.Run("bytes", func(t *testing.T) {
		for _, want := range []int{150, 300, 600} {
			s := state(small(), 40)
			apply(t, s, map[string]any{"bytes": want, "passes": 2})
			if n := coded(t, s); n > want+8 || n < want/2 {
				t.Errorf("%d bytes, want %d", n, want)
			}
		}
	})
	t.Run("the same for any number of workers", func(t *testing.T) {
		var first [][]float32
		for _, threads := range []int{1, 2, 5} {
			s := state(small(), 77)
			s.Threads = threads
			apply(t, s, map[string]any{"passes": 2})
			for k, l := range s.Layers {
				if threads == 1 {
					first = append(first, l.Weight.Data())
				} else if !slices.Equal(first[k], l.Weight.Data()) {
					t.Errorf("%d workers: layer %s differs", threads, l.Name)
				}
			}
		}
	})
	t.Run("errors", func(t *testing.T) {
		bad := small()
		tensor.Of[float32](bad.Find("a.weight").Data)[7] = float32(math.Inf(1))
		odd := small()
		for _, n := range odd.Nodes {
			n.Attrs = maps.Clone(n.Attrs)
			if n.Attrs == nil {
				n.Attrs = map[string]any{}
			}
			n.Attrs["alpha"] = float32(2)
		}
		for _, tc := range []struct {
			name string
			g    *graph.Graph
			set  map[string]any
		}{
			{"not finite", bad, nil},
			{"no such layer", small(), map[string]any{"layers": "zz*"}},
			{"no layer that suits", odd, map[string]any{"layers": "a,b"}},
			{"too few bytes", small(), map[string]any{"bytes": 1, "passes": 1}},
		} {
			a, err := RDO.Args(tc.set)
			if err != nil {
				t.Fatal(err)
			}
			if err := RDO.Apply(context.Background(), state(tc.g, 10), a); err == nil {
				t.Errorf("%s: no error", tc.name)
			}
		}
	})
}

// Weights that share values are given other entries of their codebooks: the rate falls with lambda, nothing else is left out or
// made up, and the file holds codebooks.
func TestRDOCodebook(t *testing.T) {
	for _, sparse := range []bool{true, false} {
		last := math.MaxInt
		for _, lambda := range []float64{1e-6, 1e-3, 1e-1} {
			s := state(small(), 80)
			books := map[*method.Held]map[float32]bool{}
			for _, l := range s.Layers {
				for i, h := range []*method.Held{&l.Weight, l.Bias} {
					if sparse && i == 0 {
						mask := make([]uint64, (h.Len()+63)/64)
						for e, x := range h.Data() {
							if x != 0 {
								mask[e/64] |= 1 << (e % 64)
							}
						}
						h.Prune(mask)
					}
					x := h.Data()
					c, index, _, err := KMeans(x, 8, Linear, 1, 0)
					if err != nil {
						t.Fatal(err)
					}
					h.Share(c, index)
					books[h] = map[float32]bool{}
					for _, v := range h.Data() {
						books[h][v] = true
					}
				}
			}
			before, _ := s.Freeze()
			apply(t, s, map[string]any{"lambda": lambda, "codebook": true})
			g, err := s.Freeze()
			if err != nil {
				t.Fatal(err)
			}
			var blocks []entropy.Block
			for _, l := range s.Layers {
				for i, h := range []*method.Held{&l.Weight, l.Bias} {
					v := g.Find(h.Value.Name)
					want := "codebook"
					if sparse && i == 0 {
						want = "sparse"
					}
					if p, ok := v.Weight.(weight.Sparse); ok && p.Values.Kind() != "codebook" || v.Weight == nil || v.Weight.Kind() != want || !slices.Equal(tensor.Of[float32](v.Tensor()), h.Data()) {
						t.Errorf("sparse %v: %s is frozen as another weight, %v", sparse, h.Value.Name, v.Weight.Kind())
					}
					b := entropy.Block{Dims: entropy.DimsOf(h.Value.Type.Shape)}
					var sorted []float32
					for x := range books[h] {
						sorted = append(sorted, x)
					}
					slices.Sort(sorted)
					was := tensor.Of[float32](before.Find(h.Value.Name).Tensor())
					for e, x := range h.Data() {
						if !books[h][x] && !(x == 0 && sparse && i == 0) || was[e] == 0 && x != 0 {
							t.Fatalf("%s[%d] was %v and is %v", h.Value.Name, e, was[e], x)
						}
						k, _ := slices.BinarySearch(sorted, x)
						zero, _ := slices.BinarySearch(sorted, 0)
						b.Syms = append(b.Syms, int32(k-zero))
					}
					blocks = append(blocks, b)
				}
			}
			code, err := entropy.Context{}.Append(nil, blocks)
			if err != nil {
				t.Fatal(err)
			}
			if len(code) >= last {
				t.Errorf("sparse %v, lambda %v: %d bytes after %d", sparse, lambda, len(code), last)
			}
			last = len(code)
		}
	}
}
