package quant

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"whit/compress/fit"
	"whit/compress/method"
	"whit/graph"
	"whit/stat"
	"whit/tensor"
	"whit/train"
	"whit/weight"
)

// dependent is a problem whose inputs depend on each other.
func dependent(seed uint64, n, k int) *block {
	r := rand.New(rand.NewPCG(seed, 5))
	h, x, w := make([]float64, k*k), make([]float64, k), make([]float64, n*k)
	for range 3 * k {
		common := r.NormFloat64()
		for i := range x {
			x[i] = common + r.NormFloat64()
		}
		for i, a := range x {
			for j, b := range x {
				h[i*k+j] += a * b
			}
		}
	}
	for i := range w {
		w[i] = float64(float32(r.NormFloat64()))
	}
	l := &method.Layer{Node: &graph.Node{Op: "Gemm", Attrs: map[string]any{"transB": int64(1)}}, Weight: method.Held{Value: &graph.Value{Type: tensor.Type{DType: tensor.Float32, Shape: tensor.Shape{n, k}}}}}

	rows, err := fit.RowsOf(l)
	if err != nil {
		panic(err)
	}
	return &block{p: fit.NewProblem(h, w, k, 0.01, 1), r: rows}
}

// Over a thousand problems GPTQ's error is far below that of rounding, with and without the
// polish, and no row's is above.
func TestGPTQ(t *testing.T) {
	total := map[string]float64{}
	for seed := range uint64(1000) {
		n, k := 2, 4+int(seed%13)
		b := dependent(seed, n, k)
		x := make([]float32, n*k)
		for i, v := range b.p.W {
			x[i] = float32(v)
		}
		bits := 2 + int(seed%4)
		var stay []bool
		if seed%3 == 0 {
			stay = make([]bool, n*k)
			for i := range stay {
				stay[i] = i%3 != 1
			}
		}
		for _, polish := range []int{0, 4} {
			z := newLeveller(Spec{Bits: bits, Symmetric: seed%2 == 0, Rule: MSE}, sets{shape: tensor.Shape{n, k}}, seed%5 > 0, polish, 1)
			z.fit(x)
			plain := make([]float64, n*k)
			for i, v := range x {
				if stay == nil || stay[i] {
					g := z.grids[z.set[i]]
					plain[i] = float64(g.Value(g.Level(v)))
				}
			}
			w, err := z.choose(b, b.p.W, stay)
			if err != nil {
				t.Fatal(err)
			}
			e, f := b.p.Errors(w), b.p.Errors(plain)
			for r := range e {
				if e[r] > f[r]*(1+1e-9) {
					t.Errorf("problem %d, row %d: error %v, rounding's is %v", seed, r, e[r], f[r])
				}
				total[[]string{"walk", "polished"}[polish/4]] += e[r] / f[r] / 2000
			}
			for i, v := range w {
				g := z.grids[z.set[i]]
				if got := float64(g.Value(g.Level(float32(v)))); got != v || stay != nil && !stay[i] && v != 0 {
					t.Fatalf("problem %d: element %d is %v, no level or not zero", seed, i, v)
				}
			}
		}
	}
	if total["walk"] > 0.9 || total["polished"] > 0.7 || total["polished"] > total["walk"] {
		t.Errorf("mean error over that of rounding: %v", total)
	}
}

// scenes are noise of which neighbours are alike.
type scenes struct{ n int }

func (d scenes) Len() int            { return d.n }
func (d scenes) Shape() []int        { return []int{2, 8, 8} }
func (d scenes) Hash(i int) [32]byte { return [32]byte{byte(i), 9} }
func (d scenes) Read(_ context.Context, idx []int, x []float32, y []int32) error {
	for k, i := range idx {
		r := rand.New(rand.NewPCG(11, uint64(i)))
		last := 0.0
		for e := range 128 {
			last = 0.8*last + r.NormFloat64()
			x[k*128+e] = float32(last)
		}
		if y != nil {
			y[k] = int32(i % 5)
		}
	}
	return nil
}

var _ train.Dataset = scenes{}

func network(threads int) *method.State {
	r := rand.New(rand.NewPCG(1, 2))
	c := func(g *graph.Graph, name string, shape ...int) *graph.Value {
		t := tensor.New(tensor.Float32, shape...)
		for i := range tensor.Of[float32](t) {
			tensor.Of[float32](t)[i] = float32(r.NormFloat64()) / 3
		}
		if name == "n.var" {
			for i := range tensor.Of[float32](t) {
				tensor.Of[float32](t)[i] = 0.5 + float32(i)
			}
		}
		return g.NewConst(name, t)
	}
	g := graph.New("g")
	x := g.AddInput("x", tensor.Float32, -1, 2, 8, 8)
	y := g.Add("", "Conv", map[string]any{"pads": []int64{1, 1, 1, 1}}, x, c(g, "a.weight", 8, 2, 3, 3), c(g, "a.bias", 8))
	y = g.Add("", "Relu", nil, y)
	y = g.Add("", "Conv", map[string]any{"group": int64(2), "strides": []int64{2, 2}}, y, c(g, "b.weight", 8, 4, 3, 3))
	y = g.Add("", "BatchNormalization", nil, y, c(g, "n.scale", 8), c(g, "n.b", 8), c(g, "n.mean", 8), c(g, "n.var", 8))
	y = g.Add("", "Relu", nil, y)
	y = g.Add("", "Flatten", nil, y)
	y = g.Add("", "MatMul", nil, y, c(g, "c.weight", 72, 12))
	y = g.Add("", "Relu", nil, y)
	y = g.Add("", "Gemm", map[string]any{"transB": int64(1)}, y, c(g, "d.weight", 5, 12), c(g, "d.bias", 5))
	g.Outputs = []*graph.Value{y}
	f, _ := g.Clone()
	ds := scenes{120}
	return &method.State{Graph: g, Float: f, Layers: method.FindLayers(g, ""), Train: ds, Choice: ds, Threads: threads}
}

// missed is the mean square by which the state's outputs miss the float model's.
func missed(t *testing.T, s *method.State) float64 {
	t.Helper()
	z := func(g *graph.Graph) []float32 {
		e, err := train.Evaluate(context.Background(), g, s.Choice, train.EvalOptions{Logits: true})
		if err != nil {
			t.Fatal(err)
		}
		return e.Logits
	}
	g, err := s.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	a, b := z(s.Float), z(g)
	sum := 0.0
	for i, v := range a {
		sum += math.Pow(float64(v)-float64(b[i]), 2)
	}
	return sum / float64(len(a))
}

func take(t *testing.T, s *method.State, m *method.Method, set map[string]any) {
	t.Helper()
	if err := s.Step(context.Background(), method.Step{Method: m.Name, Set: set}, []*method.Method{m}); err != nil {
		t.Fatal(err)
	}
}

// The methods do to a network what they say, with the same bits for any number of workers,
// and less harm than plain rounding does.
func TestSecondOrder(t *testing.T) {
	plain := network(2)
	take(t, plain, Round, map[string]any{"bits": method.Uniform(3)})
	for _, c := range []struct {
		name     string
		m        *method.Method
		set      map[string]any
		sparsity float64
		kind     string // of the weights
		below    float64
	}{
		{"obs", OBS, map[string]any{"sparsity": method.Uniform(0.5)}, 0.5, "sparse", 0},
		{"pairs", OBS, map[string]any{"sparsity": method.Uniform(0.5), "pattern": "2x1"}, 0.5, "sparse", 0},
		{"2:4", OBS, map[string]any{"pattern": "2:4"}, 0.49, "sparse", 0},
		{"obs and levels", OBS, map[string]any{"sparsity": method.Uniform(0.3), "bits": method.Uniform(4)}, 0.3, "int4", 0},
		{"gptq", GPTQ, map[string]any{"bits": method.Uniform(3)}, 0, "int4", missed(t, plain)},
		{"gptq in groups", GPTQ, map[string]any{"bits": method.Uniform(3), "granularity": "group", "group": 8}, 0, "int4", missed(t, plain)},
		{"gptq of a tensor", GPTQ, map[string]any{"bits": method.Uniform(4), "granularity": "tensor", "symmetric": false, "order": "columns"}, 0, "int4", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := network(1)
			take(t, s, c.m, c.set)
			g, err := s.Freeze()
			if err != nil {
				t.Fatal(err)
			}
			zero, all := 0, 0
			for _, l := range s.Layers {
				for _, v := range l.Weight.Data() {
					if all++; v == 0 {
						zero++
					}
				}
				if w := g.Find(l.Weight.Value.Name).Weight; w == nil || w.Kind() != c.kind {
					t.Errorf("layer %s is held as %v, want %s", l.Name, w, c.kind)
				} else if err := weight.Check(w); err != nil {
					t.Error(err)
				}
			}
			if got := float64(zero) / float64(all); got < c.sparsity {
				t.Errorf("%.3f are zero, want %.3f", got, c.sparsity)
			}
			if e := missed(t, s); c.below > 0 && e > c.below/2 {
				t.Errorf("outputs are off by %v, of plain rounding by %v", e, c.below)
			}
			four := network(4)
			take(t, four, c.m, c.set)
			for i, l := range s.Layers {
				if !slices.Equal(l.Weight.Data(), four.Layers[i].Weight.Data()) || l.Bias != nil && !slices.Equal(l.Bias.Data(), four.Layers[i].Bias.Data()) {
					t.Errorf("layer %s: 4 workers give other bits than 1", l.Name)
				}
			}
			for _, v := range s.Float.Values() {
				if v.IsConst() && v.Weight != nil {
					t.Error("the float model was changed")
				}
			}
		})
	}
}

// What was pruned and fitted again misses the float model less on the images that it was
// fitted on; a network that was not changed stays; bits do not depend on the workers.
func TestRefit(t *testing.T) {
	for _, c := range []struct {
		name   string
		m      *method.Method
		set    map[string]any
		better float64 // the error must fall to this share
	}{
		{"nothing", nil, nil, 1},
		{"pruned", OBS, map[string]any{"sparsity": method.Uniform(0.6)}, 0.97},
		{"rounded", Round, map[string]any{"bits": method.Uniform(3)}, 0.99},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ws [2][]float32
			for i, threads := range []int{1, 4} {
				s := network(threads)
				if c.m != nil {
					take(t, s, c.m, c.set)
				}
				before := missed(t, s)
				var masks [][]uint64
				for _, l := range s.Layers {
					masks = append(masks, slices.Clone(l.Weight.Mask))
				}
				take(t, s, Refit, nil)
				after := missed(t, s)
				if after > before*c.better && after > 1e-6 {
					t.Errorf("outputs were off by %v, are by %v", before, after)
				}
				for k, l := range s.Layers {
					if !slices.Equal(l.Weight.Mask, masks[k]) {
						t.Errorf("layer %s: the mask was changed", l.Name)
					}
					ws[i] = append(ws[i], l.Weight.Data()...)
				}
			}
			if !slices.Equal(ws[0], ws[1]) {
				t.Error("4 workers give other bits than 1")
			}
		})
	}
}

// No row that is fitted is worse on the calibration images than it was.
func TestSquares(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 8))
		n, k := 3, 2+int(seed%9)
		q := &squares{n: n, k: k, bias: seed%2 == 0, cur: make([]float64, n*k), b: make([]float64, n), stay: make([]bool, n*k)}
		for i := range q.cur {
			if q.stay[i] = r.IntN(3) > 0; q.stay[i] {
				q.cur[i] = float64(float32(r.NormFloat64()))
			}
		}
		for i := range 2 {
			p := &stat.Patches{}
			x, y := tensor.New(tensor.Float32, 40, k), tensor.New(tensor.Float32, 40, n)
			for _, t := range []*tensor.Tensor{x, y} {
				for e := range tensor.Of[float32](t) {
					tensor.Of[float32](t)[e] = float32(r.NormFloat64() + 0.5)
				}
			}
			if err := p.Targets().Observe(y); err != nil {
				t.Fatal(err)
			}
			if err := p.Observe(x); err != nil {
				t.Fatal(err)
			}
			if err := p.Done(); err != nil {
				t.Fatal(err)
			}
			q.add(i, p, 0, n)
		}
		w, b, err := q.solve(true, 1)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range q.stay {
			if !s && w[i] != 0 {
				t.Fatalf("problem %d: what is gone is %v", seed, w[i])
			}
		}
		was, now := make([]float64, n), make([]float64, n)
		for i := range 2 {
			for o, e := range q.errors(i, q.cur, q.b, 1) {
				was[o] += e
			}
			for o, e := range q.errors(i, w, b, 1) {
				now[o] += e
			}
		}
		for o := range n {
			if now[o] > was[o] {
				t.Errorf("problem %d, row %d: error %v, was %v", seed, o, now[o], was[o])
			}
		}
	}
}

// A channel that outshines all others does not make an error of what is rounding.
func TestDominated(t *testing.T) {
	s := network(1)
	in := s.Layers[0].Weight.Data()
	x := slices.Clone(in)
	for i := range x[:18] {
		x[i] *= 1e6 // what comes out of channel 0
	}
	s.Layers[0].Weight.Set(x)
	for _, m := range []*method.Method{OBS, GPTQ} {
		take(t, s, m, map[string]any{"damp": 1e-9, "layers": "b"})
	}
	take(t, s, Refit, nil)
}
