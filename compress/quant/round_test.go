package quant

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"whit/compress/method"
	"whit/graph"
	"whit/tensor"
	"whit/weight"
)

// The rule of the mean square error misses no more than the ends at the extremes do.
func TestGrid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Float32Range(-100, 100), 1, 60).Draw(t, "x")
		s := Spec{Bits: rapid.IntRange(2, 8).Draw(t, "bits"), Symmetric: rapid.Bool().Draw(t, "symmetric"), Rule: Max, Percentile: 90}
		g := s.Grid(x)
		for _, v := range x {
			if d := math.Abs(float64(v) - float64(g.Value(g.Level(v)))); d > float64(g.Scale)*0.5001+1e-5 {
				// A zero point is a whole number: one end may be half a step away.
				if s.Symmetric || d > float64(g.Scale)*1.01 {
					t.Fatalf("%v is missed by %v of a step %v", v, d, g.Scale)
				}
			}
		}
		if g.Value(g.Level(0)) != 0 {
			t.Fatal("zero does not stay zero")
		}
		top := g.Error(x)
		s.Rule = MSE
		if e := s.Grid(x).Error(x); e > top {
			t.Fatalf("error %v, with the extremes %v", e, top)
		}
		s.Rule = Percentile
		if p := s.Grid(x); p.Scale > g.Scale && p.Scale != 1 {
			t.Fatalf("scale %v at a percentile, %v at the extremes", p.Scale, g.Scale)
		}
	})
}

// Ternary and binary levels are the best ones: compared with all.
func TestFewLevels(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		x := make([]float32, 6)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		miss := func(q []int32, s float64) (e float64) {
			for i, v := range x {
				d := float64(v) - s*float64(q[i])
				e += d * d
			}
			return e
		}
		for name, f := range map[string]func([]float32) ([]int32, float32){ternary: Ternary, binary: Binary} {
			best := math.Inf(1)
			for k := range 729 {
				q, ok := make([]int32, 6), true
				xq, qq := 0.0, 0.0
				for i := range q {
					q[i] = int32(k%3) - 1
					k /= 3
					ok = ok && (name == ternary || q[i] != 0)
					xq += float64(x[i]) * float64(q[i])
					qq += float64(q[i] * q[i])
				}
				if ok && qq > 0 {
					best = min(best, miss(q, xq/qq))
				}
			}
			q, s := f(x)
			if e := miss(q, float64(s)); e > best+1e-6 {
				t.Errorf("%s %v: %v at %v misses by %v, %v is possible", name, x, q, s, e, best)
			}
		}
	}
	if q, s := Binary([]float32{3, -1, 0, -2}); s != 1.5 || q[0] != 1 || q[1] != -1 || q[2] != 1 || q[3] != -1 {
		t.Error(q, s)
	}
	if q, s := Ternary([]float32{4, -4, 0.1, 0}); s != 4 || q[0] != 1 || q[1] != -1 || q[2] != 0 || q[3] != 0 {
		t.Error(q, s)
	}
	if q, s := Ternary(make([]float32, 3)); s <= 0 || q[0] != 0 {
		t.Error(q, s)
	}
}

func TestSets(t *testing.T) {
	shape := tensor.Shape{3, 5, 2}
	for _, c := range []struct {
		sets
		n int
	}{
		{sets{shape, weight.PerTensor, 0}, 1}, {sets{shape, 0, 0}, 3}, {sets{shape, 2, 0}, 2}, {sets{shape, 1, 2}, 18}, {sets{shape, 1, 8}, 6},
	} {
		seen := map[int]bool{}
		if c.count() != c.n {
			t.Errorf("%+v: %d sets, want %d", c.sets, c.count(), c.n)
		}
		for k := range c.count() {
			c.each(k, func(i int) {
				if seen[i] {
					t.Errorf("%+v: %d twice", c.sets, i)
				}
				seen[i] = true
			})
		}
		if len(seen) != 30 {
			t.Errorf("%+v: %d elements", c.sets, len(seen))
		}
	}
}

// net is conv - norm - relu - conv - add, and a Gemm.
func net(r *rand.Rand) *graph.Graph {
	g := graph.New("net")
	random := func(name string, scale float64, shape ...int) *graph.Value {
		x := tensor.New(tensor.Float32, shape...)
		for i := range tensor.Of[float32](x) {
			tensor.Of[float32](x)[i] = float32(r.NormFloat64() * scale)
		}
		return g.NewConst(name, x)
	}
	positive := func(name string, n int) *graph.Value {
		v := random(name, 1, n)
		for i, f := range tensor.Of[float32](v.Data) {
			tensor.Of[float32](v.Data)[i] = f*f + 0.1
		}
		return v
	}
	x := g.AddInput("x", tensor.Float32, -1, 3, 8, 8)
	pads := map[string]any{"kernel_shape": []int64{3, 3}, "pads": []int64{1, 1, 1, 1}}
	y := g.Add("", "Conv", pads, x, random("c1.weight", 0.4, 8, 3, 3, 3))
	y = g.Add("", "BatchNormalization", nil, y, positive("n.g", 8), random("n.b", 1, 8), random("n.m", 1, 8), positive("n.v", 8))
	y = g.Add("", "Relu", nil, y)
	z := g.Add("", "Conv", pads, y, random("c2.weight", 0.2, 8, 8, 3, 3), random("c2.bias", 0.5, 8))
	y = g.Add("", "Relu", nil, g.Add("", "Add", nil, y, z))
	y = g.Add("", "GlobalAveragePool", nil, y)
	y = g.Add("", "Flatten", nil, y)
	y = g.Add("", "Gemm", nil, y, random("fc.weight", 0.5, 8, 4), random("fc.bias", 0.5, 4))
	g.Outputs = []*graph.Value{y}
	return g
}

func stateOf(t *testing.T, g *graph.Graph, n int) *method.State {
	t.Helper()
	f, _ := g.Clone()
	s := &method.State{Graph: g, Float: f, Layers: method.FindLayers(g, ""), Threads: 1}
	if n > 0 {
		s.Train = fixtures{n}
	}
	return s
}

// fixtures is n images of seeded fixtures with a mean.
type fixtures struct{ n int }

func (d fixtures) Len() int          { return d.n }
func (fixtures) Shape() []int        { return []int{3, 8, 8} }
func (fixtures) Labels() []string    { return nil }
func (fixtures) Hash(i int) [32]byte { return [32]byte{byte(i), byte(i >> 8)} }
func (fixtures) Read(_ context.Context, idx []int, x []float32, y []int32) error {
	for k, i := range idx {
		r := rand.New(rand.NewPCG(7, uint64(i)))
		for j := range 192 {
			x[k*192+j] = float32(r.NormFloat64() + 0.5)
		}
		if y != nil {
			y[k] = int32(i % 4)
		}
	}
	return nil
}

func step(t *testing.T, m *method.Method, s *method.State, set map[string]any) {
	t.Helper()
	a, err := m.Args(set)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Apply(context.Background(), s, a); err != nil {
		t.Fatal(err)
	}
	if err := s.Graph.Verify(); err != nil {
		t.Fatal(err)
	}
}

func TestRound(t *testing.T) {
	for _, c := range []struct {
		name  string
		set   map[string]any
		worst float64 // relative error of the outputs
	}{
		{"8 bits", nil, 0.02},
		{"8 bits a tensor", map[string]any{"granularity": "tensor"}, 0.03},
		{"8 bits, zero points", map[string]any{"symmetric": false, "scale": "max"}, 0.02},
		{"4 bits", map[string]any{"bits": method.Uniform(4)}, 0.3},
		{"4 bits, groups", map[string]any{"bits": method.Uniform(4), "granularity": "group", "group": 4, "symmetric": false}, 0.3},
		{"percentile", map[string]any{"scale": "percentile"}, 0.1},
		{"ternary", map[string]any{"levels": ternary}, 1},
		{"binary", map[string]any{"levels": binary}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := net(rand.New(rand.NewPCG(3, 4)))
			before := run(t, g, 16)
			s := stateOf(t, g, 0)
			step(t, Round, s, c.set)
			for _, l := range s.Layers {
				w := l.Weight.As.(weight.Int8)
				for i := range w.Q.Len() {
					if q := w.Level(i); c.set["levels"] == ternary && q*q > 1 || c.set["levels"] == binary && q*q != 1 {
						t.Fatalf("level %d", q)
					}
				}
			}
			f, err := s.Freeze()
			if err != nil {
				t.Fatal(err)
			}
			if d := apart(before, run(t, f, 16)); d > c.worst {
				t.Errorf("outputs are %v apart, want at most %v", d, c.worst)
			}
			if len(s.Stages) != 1 || s.Stages[0].Bytes <= 0 || s.Base == nil {
				t.Errorf("stages %v", s.Stages)
			}
		})
	}
	s := stateOf(t, net(rand.New(rand.NewPCG(3, 4))), 0)
	step(t, Round, s, map[string]any{"bits": method.LayerValues{{Glob: "c2", Value: 3}}})
	if s.Layers[0].Weight.As != nil || s.Layers[1].Weight.As == nil {
		t.Error("the wrong layers were rounded")
	}
}

// Folding a normalisation leaves the outputs as they are, the names, and levels.
func TestFoldNorms(t *testing.T) {
	quantise := func(s *method.State) {
		h := &s.Layers[0].Weight
		levels := make([]int8, h.Len())
		for i := range levels {
			levels[i] = int8(i%9 - 4)
		}
		h.Quantise(levels, 0.05)
	}
	for _, c := range []struct {
		name  string
		hold  func(s *method.State)
		kind  string
		stays bool
	}{
		{"float", func(*method.State) {}, "dense", false},
		{"levels of one step", quantise, "int8", false},
		{"levels of a scale a channel", func(s *method.State) {
			quantise(s)
			h := &s.Layers[0].Weight
			if !rescale(h, *signed(h), []float64{1, 2, 3, -4, 5, 6, 7, 8}[:h.Value.Type.Shape[0]]) {
				t.Fatal("not rescaled")
			}
		}, "int8", false},
		{"codebook", func(s *method.State) {
			h := &s.Layers[0].Weight
			h.Share([]float32{0.1, -0.2}, make([]uint16, h.Len()))
		}, "codebook", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := net(rand.New(rand.NewPCG(3, 4)))
			s := stateOf(t, g, 0)
			for _, n := range g.Nodes { // one channel changes its sign, one is off
				if n.Op == "BatchNormalization" {
					x := slices.Clone(floats(n.In[1]))
					x[0], x[1] = -x[0], 0
					n.In[1].Data = tensor.From(x, len(x))
				}
			}
			c.hold(s)
			before := run(t, g, 8)
			foldNorms(s)
			if err := g.Verify(); err != nil {
				t.Fatal(err)
			}
			if d := apart(before, run(t, g, 8)); d > 1e-5 {
				t.Errorf("outputs are %v apart", d)
			}
			l := s.Layers[0]
			if l.Name != "c1" || !c.stays && (l.Bias == nil || l.Bias.Value.Name != "c1.bias") {
				t.Errorf("layer %+v", l)
			}
			if w, err := l.Weight.Weight(); err != nil || w.Kind() != c.kind {
				t.Errorf("held as %v, %v, want %s", w.Kind(), err, c.kind)
			}
			norms := 0
			for _, n := range g.Nodes {
				if n.Op == "BatchNormalization" {
					norms++
				}
			}
			if (norms > 0) != c.stays {
				t.Errorf("%d normalisations are left", norms)
			}
			f, err := s.Freeze()
			if err != nil {
				t.Fatal(err)
			}
			if d := apart(before, run(t, f, 8)); d > 1e-5 {
				t.Errorf("frozen, outputs are %v apart", d)
			}
		})
	}
}
