package op

import (
	"math"
	"testing"

	"whit/graph"
	"whit/tensor"
)

// TestRandom looks at mean and deviation of many draws, and that nodes draw their own.
func TestRandom(t *testing.T) {
	const n = 40000
	draw := func(name, op string, attrs map[string]any, in ...*tensor.Tensor) []float64 {
		t.Helper()
		m := &graph.Node{Name: name, Op: op, Attrs: attrs, Out: []*graph.Value{{Name: "y"}}}
		for _, x := range in {
			m.In = append(m.In, &graph.Value{Name: "x", Type: x.Type})
		}
		out, err := Compute(m, in)
		if err != nil {
			t.Fatal(err)
		}
		return numbersOf(out[0])
	}
	shape := map[string]any{"shape": []int64{n}, "low": float32(1), "high": float32(3), "mean": float32(2), "scale": float32(.5)}
	p := tensor.New(tensor.Float32, n)
	for i := range p.Len() {
		tensor.Of[float32](p)[i] = .25
	}
	logs := tensor.From([]float32{0, float32(math.Log(3))}, 1, 2)
	for _, c := range []struct {
		name      string
		y         []float64
		mean, dev float64
	}{
		{"uniform", draw("a", "RandomUniform", shape), 2, 1 / math.Sqrt(3)},
		{"normal", draw("a", "RandomNormal", shape), 2, .5},
		{"bernoulli", draw("a", "Bernoulli", nil, p), .25, math.Sqrt(3) / 4},
		{"multinomial", draw("a", "Multinomial", map[string]any{"sample_size": int64(n)}, logs), .75, math.Sqrt(3) / 4},
	} {
		var sum, squares float64
		for _, v := range c.y {
			sum += v
			squares += (v - c.mean) * (v - c.mean)
		}
		// Five deviations of the mean of n draws; the same for the deviation, about.
		if m, d := sum/n, math.Sqrt(squares/n); math.Abs(m-c.mean) > 5*c.dev/math.Sqrt(n) || math.Abs(d-c.dev) > 5*c.dev/math.Sqrt(n) {
			t.Errorf("%s: mean %g and deviation %g, want %g and %g", c.name, m, d, c.mean, c.dev)
		}
	}
	a, b, again := draw("a", "RandomNormal", shape), draw("b", "RandomNormal", shape), draw("a", "RandomNormal", shape)
	if a[0] == b[0] || a[0] != again[0] {
		t.Errorf("draws of a: %g and %g, of b: %g", a[0], again[0], b[0])
	}
}
