package quant

import (
	"context"
	"math"
	"testing"

	"whit/graph"
	"whit/plan"
	"whit/tensor"
)

// run is the model's output 0 of n images of pictures.
func run(t *testing.T, g *graph.Graph, n int) []float32 {
	t.Helper()
	p, err := plan.NewProgram(g, plan.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	pl, err := p.Plan(map[string]tensor.Type{"x": {DType: tensor.Float32, Shape: tensor.Shape{n, 3, 8, 8}}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := pl.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	idx := make([]int, n)
	for i := range idx {
		idx[i] = i
	}
	if err := (pictures{n}).Read(context.Background(), idx, tensor.Of[float32](s.Input("x")), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	return append([]float32{}, tensor.Of[float32](s.Output(g.Outputs[0].Name))...)
}

// apart is the norm of the difference by that of a.
func apart(a, b []float32) float64 {
	var d, n float64
	for i := range a {
		d += float64(a[i]-b[i]) * float64(a[i]-b[i])
		n += float64(a[i]) * float64(a[i])
	}
	return math.Sqrt(d / n)
}
