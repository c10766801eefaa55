package quant

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"whit/compress/method"
	"whit/format"
	"whit/graph"
	"whit/onnx"
	"whit/plan"
	"whit/stat"
	"whit/tensor"
	"whit/train"
	"whit/weight"
)

// ops are the operators that a model's nodes become.
func ops(t *testing.T, g *graph.Graph) string {
	t.Helper()
	p, err := plan.NewProgram(g, plan.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	pl, err := p.Plan(map[string]tensor.Type{"x": {DType: tensor.Float32, Shape: tensor.Shape{2, 3, 8, 8}}})
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, n := range pl.Graph().Nodes {
		name := n.OpName()
		if b := n.Graph("body"); n.Op == "Fused" && b != nil {
			name = b.Nodes[0].OpName()
		}
		s = append(s, name)
	}
	return strings.Join(s, " ")
}

func TestActivations(t *testing.T) {
	for _, c := range []struct {
		name  string
		set   map[string]any
		ops   string
		worst float64
	}{
		{"default", nil, "QuantizeLinear QLinearConv QLinearConv whit.QLinearAdd whit.QLinearGlobalAveragePool", 0.03},
		{"int8", map[string]any{"type": "int8", "range": "minmax", "outputs": true}, "QuantizeLinear QLinearConv QLinearConv whit.QLinearAdd whit.QLinearGlobalAveragePool", 0.04},
		{"entropy", map[string]any{"range": "entropy"}, "QuantizeLinear QLinearConv", 0.3},
		{"percentile", map[string]any{"range": "percentile", "correct": false}, "QuantizeLinear QLinearConv", 0.05},
		{"adaround", map[string]any{"adaround": true, "bits": method.Uniform(4)}, "QuantizeLinear QLinearConv QLinearConv whit.QLinearAdd", 0.1},
		{"by outputs", map[string]any{"range": "outputs"}, "QuantizeLinear QLinearConv QLinearConv whit.QLinearAdd whit.QLinearGlobalAveragePool", 0.03},
		{"within much", map[string]any{"budget": 1.0, "crossing": 0.0}, "QuantizeLinear QLinearConv QLinearConv whit.QLinearAdd whit.QLinearGlobalAveragePool", 0.03},
		{"within much, not worth it", map[string]any{"budget": 1.0, "crossing": 1e6}, "Conv", 0.03},
		{"within little", map[string]any{"budget": 1e-12, "range": "outputs"}, "Conv", 0.03},
		{"first skipped", map[string]any{"skip": "c1"}, "Conv QuantizeLinear QLinearConv whit.QLinearAdd", 0.03},
		{"last only", map[string]any{"layers": "fc"}, "Conv", 0.03},
		{"4 bits", map[string]any{"bits": method.LayerValues{{Glob: "c*", Value: 4}, {Glob: "*", Value: 8}}}, "QuantizeLinear QLinearConv", 0.3},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := net(rand.New(rand.NewPCG(3, 4)))
			before := run(t, g, 16)
			s := stateOf(t, g, 64)
			step(t, Activations, s, c.set)
			f, err := s.Freeze()
			if err != nil {
				t.Fatal(err)
			}
			got := ops(t, f)
			if !strings.HasPrefix(strings.ReplaceAll(got, "whit.Reorder ", ""), c.ops) {
				t.Errorf("nodes %s, want %s", got, c.ops)
			}
			after := run(t, f, 16)
			if d := apart(before, after); d > c.worst {
				t.Errorf("outputs are %v apart, want at most %v", d, c.worst)
			}
			// Files hold the same.
			var w, o bytes.Buffer
			if _, err := format.Write(&w, &format.File{Graph: f}, format.Options{}); err != nil {
				t.Fatal(err)
			}
			file, err := format.Read(bytes.NewReader(w.Bytes()), int64(w.Len()))
			if err != nil {
				t.Fatal(err)
			}
			if d := apart(after, run(t, file.Graph, 16)); d != 0 {
				t.Errorf("the .whit file is %v apart", d)
			}
			if err := onnx.Write(&o, f); err != nil {
				t.Fatal(err)
			}
			m, err := onnx.Read(bytes.NewReader(o.Bytes()), int64(o.Len()), onnx.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if d := apart(after, run(t, m, 16)); d != 0 {
				t.Errorf("the ONNX file is %v apart", d)
			}
		})
	}
}

// Levels that are there already stay, with a scale for all too; what a normalisation multiplies them by is part of the scales.
func TestActivationsLevels(t *testing.T) {
	s := stateOf(t, net(rand.New(rand.NewPCG(3, 4))), 64)
	var want [][]int8
	for _, l := range s.Layers {
		levels := make([]int8, l.Weight.Len())
		for i := range levels {
			levels[i] = int8(i%9 - 4)
		}
		l.Weight.Quantise(levels, 0.05)
		want = append(want, levels)
	}
	step(t, Activations, s, nil)
	for k, l := range s.Layers {
		w, ok := l.Weight.As.(weight.Int8)
		if !ok {
			t.Fatalf("%s is held as %T", l.Name, l.Weight.As)
		}
		for i, q := range want[k] {
			if v := w.Level(i); v != int32(q) && v != -int32(q) && v != 0 {
				t.Fatalf("%s: level %d became %d", l.Name, q, v)
			}
		}
	}
	f, err := s.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	if got := ops(t, f); strings.Contains(got, "BatchNormalization") {
		t.Errorf("nodes %s", got)
	}
}

func TestTrainOnIntegers(t *testing.T) {
	s := stateOf(t, net(rand.New(rand.NewPCG(3, 4))), 64)
	step(t, Activations, s, nil)
	if err := s.Fit(t.Context(), "fit", train.Options{Epochs: 1}); !errors.Is(err, train.ErrNoGradient) || !strings.Contains(err.Error(), "before the step activations") {
		t.Errorf("error %v", err)
	}
}

// Correction takes away the error of the mean: of the last layer, which is the output.
func TestCorrect(t *testing.T) {
	g := net(rand.New(rand.NewPCG(3, 4)))
	mean := func(x []float32) (m [4]float64) {
		for i, v := range x {
			m[i%4] += float64(v) / float64(len(x)/4)
		}
		return m
	}
	before := mean(run(t, g, 64))
	s := stateOf(t, g, 64)
	step(t, Round, s, map[string]any{"bits": method.Uniform(3)})
	off := 0.0
	for i, m := range mean(run(t, s.Graph, 64)) {
		off = max(off, math.Abs(m-before[i]))
	}
	if off < 1e-2 {
		t.Fatalf("rounding does not show: %v", off)
	}
	step(t, Correct, s, nil)
	for i, m := range mean(run(t, s.Graph, 64)) {
		if math.Abs(m-before[i]) > 1e-5 {
			t.Errorf("output %d: mean %v, was %v", i, m, before[i])
		}
	}
}

func TestCalibration(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	normal := make([]float32, 1<<17)
	for i := range normal {
		normal[i] = float32(r.NormFloat64())
	}
	outlier := append([]float32{50}, normal...)
	h := func(x []float32) *stat.Histogram {
		h := &stat.Histogram{}
		if err := h.Observe(tensor.From(x, len(x))); err != nil {
			t.Fatal(err)
		}
		return h
	}
	for _, c := range []struct {
		name   string
		c      Calibration
		x      []float32
		lo, hi [2]float64 // where they may lie
	}{
		{"extremes", MinMax, outlier, [2]float64{-6, -3.5}, [2]float64{50, 50}},
		{"percentile", Share, outlier, [2]float64{-3.4, -3.15}, [2]float64{3.15, 3.4}}, // 99.9%: 3.29 sigma
		{"entropy", Entropy, outlier, [2]float64{-6, -3}, [2]float64{3, 12}},
		{"mse", LeastMiss, outlier, [2]float64{-6, -3}, [2]float64{20, 50}}, // the outlier alone misses more than all levels
		{"mse of a normal distribution", LeastMiss, normal, [2]float64{-4.8, -3.4}, [2]float64{3.4, 4.8}},
		{"positive", LeastMiss, []float32{1, 2, 3}, [2]float64{0, 0}, [2]float64{2.9, 3.1}},
		{"zeros", Entropy, []float32{0, 0}, [2]float64{0, 0}, [2]float64{0, 0}},
	} {
		lo, hi := c.c.Range(h(c.x), 99.9, 256)
		if lo < c.lo[0] || lo > c.lo[1] || hi < c.hi[0] || hi > c.hi[1] {
			t.Errorf("%s: %v..%v, want %v, %v", c.name, lo, hi, c.lo, c.hi)
		}
	}
	// The four uniform levels of least error for a normal distribution are a sigma apart (J. Max:
	// Quantizing for minimum distortion, 1960, table II: 0.9957).
	if lo, hi := LeastMiss.Range(h(normal), 0, 4); hi-lo < 2.5 || hi-lo > 3.5 {
		t.Errorf("2 bits reach from %v to %v", lo, hi)
	}
}

// Without images ranges come from normalisations, and where there is none it is said.
func TestNoImages(t *testing.T) {
	build := func() *graph.Graph {
		g := net(rand.New(rand.NewPCG(3, 4)))
		// The normalisation says what its inputs are like on the data: make it true.
		s := stateOf(t, g, 64)
		m := &means{}
		conv := g.Nodes[0].Out[0].Name
		h := &stat.Histogram{}
		if err := stat.Run(t.Context(), g, s.Train, []stat.Point{{Value: conv, Observer: m}, {Value: conv, Observer: h}}, stat.Options{}); err != nil {
			t.Fatal(err)
		}
		for c := range m.sum {
			tensor.Of[float32](g.Find("n.m").Data)[c] = float32(m.sum[c] / float64(m.n))
			tensor.Of[float32](g.Find("n.v").Data)[c] = float32(h.Std() * h.Std())
		}
		return g
	}
	g := build()
	before := run(t, g, 16)
	s := stateOf(t, g, 0)
	step(t, Activations, s, map[string]any{"input": []float64{-4, 5}})
	f, err := s.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	if d := apart(before, run(t, f, 16)); d > 0.1 {
		t.Errorf("outputs are %v apart", d)
	}
	for name, m := range map[string]*method.Method{"correct": Correct, "adaround": AdaRound, "activations": Activations} {
		a, err := m.Args(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Apply(t.Context(), stateOf(t, build(), 0), a); err == nil || !strings.Contains(err.Error(), "no images") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Slopes below zero join the product before: what is between is not rounded.
func TestSlopes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	g := graph.New("slopes")
	random := func(name string, shape ...int) *graph.Value {
		x := tensor.New(tensor.Float32, shape...)
		for i := range tensor.Of[float32](x) {
			tensor.Of[float32](x)[i] = float32(r.NormFloat64()) / 4
		}
		return g.NewConst(name, x)
	}
	x := g.AddInput("x", tensor.Float32, -1, 3, 8, 8)
	y := g.Add("", "Conv", nil, x, random("c1.w", 8, 3, 3, 3), random("c1.b", 8))
	y = g.Add("", "PRelu", nil, y, random("p1.slope", 8, 1, 1))
	y = g.Add("", "Conv", nil, y, random("c2.w", 6, 8, 3, 3), random("c2.b", 6))
	y = g.Add("", "LeakyRelu", map[string]any{"alpha": float32(0.2)}, y)
	y = g.Add("", "Flatten", nil, y)
	y = g.Add("", "Gemm", map[string]any{"transB": int64(1)}, y, random("fc.w", 5, 96), random("fc.b", 5))
	y = g.Add("", "PRelu", nil, y, random("p3.slope", 5))
	y = g.Add("", "Gemm", map[string]any{"transB": int64(1)}, y, random("out.w", 4, 5), random("out.b", 4))
	g.Outputs = []*graph.Value{y}
	before := run(t, g, 16)
	s := stateOf(t, g, 64)
	step(t, Activations, s, nil)
	f, err := s.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	const want = "QuantizeLinear whit.QLinearConvPRelu whit.QLinearConvPRelu Flatten Reshape whit.QLinearConvPRelu Reshape DequantizeLinear Gemm"
	if got := strings.ReplaceAll(ops(t, f), "whit.Reorder ", ""); got != want {
		t.Errorf("nodes %s, want %s", got, want)
	}
	if d := apart(before, run(t, f, 16)); d > 0.03 {
		t.Errorf("outputs are %v apart", d)
	}
}
