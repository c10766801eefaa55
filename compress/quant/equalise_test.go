package quant

import (
	"math"
	"math/rand/v2"
	"testing"

	"whit/compress/method"
	"whit/graph"
	"whit/stat"
	"whit/tensor"
)

// chain is conv - norm - relu - depthwise - relu6 - conv - prelu - pool - flatten - gemm - relu - gemm,
// whose channels reach very differently far.
func chain(r *rand.Rand) *graph.Graph {
	g := graph.New("chain")
	random := func(name string, axis int, shape ...int) *graph.Value {
		x := tensor.New(tensor.Float32, shape...)
		for k := range shape[axis] {
			f := math.Exp(2 * r.NormFloat64())
			sets{shape: shape, axis: axis}.each(k, func(i int) { tensor.Of[float32](x)[i] = float32(r.NormFloat64() * f) })
		}
		return g.NewConst(name, x)
	}
	ones := func(name string, f float32, n ...int) *graph.Value {
		x := tensor.New(tensor.Float32, n...)
		for i := range tensor.Of[float32](x) {
			tensor.Of[float32](x)[i] = f
		}
		return g.NewConst(name, x)
	}
	kernel := func(extra ...any) map[string]any {
		m := map[string]any{"kernel_shape": []int64{3, 3}, "pads": []int64{1, 1, 1, 1}}
		for i := 0; i < len(extra); i += 2 {
			m[extra[i].(string)] = extra[i+1]
		}
		return m
	}
	x := g.AddInput("x", tensor.Float32, -1, 3, 8, 8)
	y := g.Add("", "Conv", kernel(), x, random("a.weight", 0, 8, 3, 3, 3))
	y = g.Add("", "BatchNormalization", nil, y, ones("n.g", 2, 8), ones("n.b", 0.5, 8), ones("n.m", 0.1, 8), ones("n.v", 3, 8))
	y = g.Add("", "Relu", nil, y)
	y = g.Add("", "Conv", kernel("group", int64(8)), y, random("b.weight", 0, 8, 1, 3, 3), random("b.bias", 0, 8))
	y = g.Add("", "Clip", nil, y, g.NewConst("zero", tensor.Scalar(float32(0))), g.NewConst("six", tensor.Scalar(float32(1e9))))
	y = g.Add("", "Conv", kernel(), y, random("c.weight", 0, 6, 8, 3, 3))
	y = g.Add("", "PRelu", nil, y, ones("slope", 0.2, 6, 1, 1))
	y = g.Add("", "MaxPool", map[string]any{"kernel_shape": []int64{2, 2}, "strides": []int64{2, 2}}, y)
	y = g.Add("", "Flatten", nil, y)
	y = g.Add("", "Gemm", map[string]any{"transB": int64(1)}, y, random("d.weight", 0, 7, 96), random("d.bias", 0, 7))
	y = g.Add("", "Relu", nil, y)
	y = g.Add("", "Gemm", nil, y, random("e.weight", 1, 7, 5))
	g.Outputs = []*graph.Value{y}
	return g
}

// The float model gives what it gave, and rounding with one scale a tensor takes less.
func TestEqualise(t *testing.T) {
	build := func() *graph.Graph { return chain(rand.New(rand.NewPCG(5, 6))) }
	before := run(t, build(), 8)
	tensorwise := map[string]any{"granularity": "tensor", "scale": "max"}
	s := stateOf(t, build(), 0)
	step(t, Round, s, tensorwise)
	plain := apart(before, run(t, s.Graph, 8))
	for clip, pairs := range map[string]int{"stop": 3, "relu": 4} {
		g := build()
		s := stateOf(t, g, 0)
		step(t, Equalise, s, map[string]any{"clip": clip})
		if d := apart(before, run(t, g, 8)); d > 1e-5 {
			t.Errorf("%s: outputs are %v apart", clip, d)
		}
		n := 0
		for _, l := range s.Layers[:len(s.Layers)-1] {
			for _, m := range s.Layers {
				if p, ok := match(l, m, l.Name == "c"); ok && m != l && reaches(p) {
					n++
				}
			}
		}
		if n < pairs {
			t.Errorf("%s: %d pairs reach equally far, want %d", clip, n, pairs)
		}
		step(t, Round, s, tensorwise)
		if d := apart(before, run(t, s.Graph, 8)); d > plain/2 {
			t.Errorf("%s: rounded outputs are %v apart, %v without", clip, d, plain)
		}
	}
	// By activations channels' values reach as far as the weights that read them.
	g := build()
	s = stateOf(t, g, 16)
	step(t, Equalise, s, map[string]any{"by": "activations", "clip": "relu", "images": 16})
	if d := apart(before, run(t, g, 8)); d > 1e-5 {
		t.Errorf("by activations: outputs are %v apart", d)
	}
	for _, p := range pairs(g, s.Layers, true) {
		m := &farthest{}
		if err := stat.Run(t.Context(), g, s.Train, []stat.Point{{Value: p.value.Name, Observer: m}}, stat.Options{}); err != nil {
			t.Fatal(err)
		}
		for i, far := range m.far {
			r2 := 0.0
			p.columns(i, func(k int) { r2 = max(r2, math.Abs(float64(p.b.Weight.Data()[k]))) })
			if far > 0 && math.Abs(far/r2-1) > 0.01 {
				t.Errorf("%s to %s: channel %d reaches %v, its weights %v", p.a.Name, p.b.Name, i, far, r2)
			}
		}
	}
	step(t, Round, s, nil)
	a, err := Equalise.Args(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := Equalise.Apply(t.Context(), s, a); err == nil {
		t.Error("levels were equalised")
	}
}

// reaches reports whether all channels reach equally far on both sides.
func reaches(p pair) bool {
	at := sets{shape: p.a.Weight.Value.Type.Shape, axis: p.a.OutAxis}
	for i := range at.count() {
		var r1, r2 float64
		at.each(i, func(k int) { r1 = max(r1, math.Abs(float64(p.a.Weight.Data()[k]))) })
		p.columns(i, func(k int) { r2 = max(r2, math.Abs(float64(p.b.Weight.Data()[k]))) })
		if math.Abs(r1/r2-1) > 0.01 {
			return false
		}
	}
	return true
}

// Chosen levels miss the layer's outputs less than the next ones do.
func TestAdaRound(t *testing.T) {
	for _, bits := range []float64{2, 3, 4} {
		for _, granularity := range []string{"channel", "tensor", "group"} {
			g := net(rand.New(rand.NewPCG(3, 4)))
			before := run(t, g, 64)
			s := stateOf(t, g, 64)
			step(t, Round, s, map[string]any{"bits": method.Uniform(bits), "granularity": granularity, "group": 4})
			nearest := apart(before, run(t, s.Graph, 64))
			step(t, AdaRound, s, nil)
			if d := apart(before, run(t, s.Graph, 64)); d > nearest*0.7 {
				t.Errorf("%v bits a %s: outputs are %v apart, %v with the next levels", bits, granularity, d, nearest)
			}
			for _, l := range s.Layers {
				if l.Weight.As == nil {
					t.Errorf("layer %s is no longer held as levels", l.Name)
				}
			}
		}
	}
	// What is pruned stays so, and counts for something.
	g := net(rand.New(rand.NewPCG(3, 4)))
	before := run(t, g, 64)
	s := stateOf(t, g, 64)
	step(t, OBS, s, map[string]any{"sparsity": method.Uniform(0.5), "bits": method.Uniform(4)})
	coarse := apart(before, run(t, s.Graph, 64))
	dropped := map[string]int{}
	zeros := func(l *method.Layer) (n int) {
		for i, x := range l.Weight.Data() {
			if x == 0 && !l.Weight.Kept(i) {
				n++
			}
		}
		return n
	}
	for _, l := range s.Layers {
		dropped[l.Name] = l.Weight.Len() - l.Weight.Stored()
		if n := zeros(l); n == 0 || n != dropped[l.Name] {
			t.Fatalf("layer %s: %d weights are pruned, %d of them zero", l.Name, dropped[l.Name], n)
		}
	}
	step(t, AdaRound, s, nil)
	if d := apart(before, run(t, s.Graph, 64)); d >= coarse {
		t.Errorf("pruned: outputs are %v apart, %v before", d, coarse)
	}
	for _, l := range s.Layers {
		if n := zeros(l); n != dropped[l.Name] {
			t.Errorf("layer %s: %d of %d pruned weights are still zero", l.Name, n, dropped[l.Name])
		}
	}
	// The same bits whatever the workers.
	var out [2][]float32
	for i := range out {
		g := net(rand.New(rand.NewPCG(3, 4)))
		s := stateOf(t, g, 32)
		s.Threads = 1 + 2*i
		step(t, Round, s, map[string]any{"bits": method.Uniform(3)})
		step(t, AdaRound, s, nil)
		out[i] = run(t, g, 8)
	}
	if apart(out[0], out[1]) != 0 {
		t.Error("workers show")
	}
}

// Coordinate descent ends where no move of one level helps: compared with all levels of a small problem.
func TestDescent(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	worse := 0
	for range 20 {
		const k = 5
		a := make([]float64, k*k)
		for i := range a {
			a[i] = r.NormFloat64()
		}
		d := &descent{h: make([]float64, k*k), k: k, x: make([]float64, k), w0: make([]float64, k), zero: make([]float64, k), pruned: make([]bool, k), lo: -2, hi: 2}
		for i := range k {
			for j := range k {
				for l := range k {
					d.h[i*k+j] += a[l*k+i] * a[l*k+j]
				}
			}
			d.q, d.s = append(d.q, 0), append(d.s, 0.5)
		}
		w := make([]float64, k)
		for i := range w {
			w[i] = r.NormFloat64() * 0.5
		}
		for i := range k {
			sum := 0.0
			for j := range k {
				sum += d.h[i*k+j] * w[j]
			}
			d.c = append(d.c, sum)
		}
		for i := range k {
			d.q[i] = min(max(math.RoundToEven(w[i]/0.5), -2), 2)
		}
		d.begin()
		start := d.error()
		d.descend(50)
		got := d.error()
		if got > start+1e-9 {
			t.Fatalf("it became worse: %v after %v", got, start)
		}
		best := math.Inf(1)
		e := *d
		e.x = make([]float64, k)
		e.q = make([]float64, k)
		for n := range 3125 {
			for i := range k {
				e.q[i] = float64(n%5) - 2
				n /= 5
			}
			e.begin()
			best = min(best, e.error())
		}
		if got > best+1e-9 {
			worse++
		}
		if one := best - start; got > start+one*0.3+1e-9 && one < -1e-6 {
			t.Logf("%v, the best is %v, from %v", got, best, start)
		}
	}
	if worse > 15 {
		t.Errorf("%d of 20 did not reach the best levels", worse)
	}
}
