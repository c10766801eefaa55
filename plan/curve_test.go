package plan

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"whit/graph"
	"whit/internal/optest"
	"whit/tensor"
)

// curveGraph has a function of one value after each kind of product; apart: what lies
// between is an output too, so that nothing is fused.
func curveGraph(apart bool) *graph.Graph {
	weight := randomWeight()
	g := graph.New("curves")
	x := g.AddInput("x", tensor.Float32, 1, 96, 10, 9)
	x.Type = tensor.Type{DType: tensor.Float32, Shape: tensor.Shape{1, 96, 10, 9}}
	var between []*graph.Value
	product := func(op string, attrs map[string]any, in *graph.Value, w *tensor.Tensor, hard bool) *graph.Value {
		y := g.Add("", op, attrs, in, g.NewConst("", w), g.NewConst("", weight(w.Shape[0])))
		between = append(between, y)
		if hard {
			return g.Add("", "HardSwish", nil, y)
		}
		return g.Add("", "Mul", nil, y, g.Add("", "Sigmoid", nil, y))
	}
	conv := func(in *graph.Value, cin, cout, k, groups int, stride int64, hard bool) *graph.Value {
		p := int64(k / 2)
		return product("Conv", map[string]any{"pads": []int64{p, p, p, p}, "strides": []int64{stride, stride}, "group": int64(groups)},
			in, weight(cout, cin/groups, k, k), hard)
	}
	y := conv(x, 96, 600, 1, 1, 1, false) // weights beyond a near cache: channels in parts
	y = conv(y, 600, 600, 3, 600, 1, true)
	y = conv(y, 600, 72, 1, 1, 1, true)
	y = conv(y, 72, 72, 3, 1, 1, false) // Winograd
	y = conv(y, 72, 20, 3, 1, 2, false)
	y = g.Add("", "Flatten", nil, g.Add("", "GlobalAveragePool", nil, y))
	y = product("Gemm", map[string]any{"transB": int64(1)}, y, weight(1000, 20), false)
	g.Outputs = []*graph.Value{y}
	if apart {
		g.Outputs = append(g.Outputs, between...)
	}
	return g
}

// TestCurves: a function of one value in the same pass as the product before it has the bits of
// the nodes apart, at the first run, which packs nothing, and later, and runs allocate nothing.
func TestCurves(t *testing.T) {
	x := optest.Rand(4, tensor.Float32, 1, 96, 10, 9)
	var want []byte
	for _, threads := range []int{1, 3} {
		for _, apart := range []bool{true, false} {
			p, err := NewProgram(curveGraph(apart), Options{Threads: threads})
			if err != nil {
				t.Fatal(err)
			}
			pl, err := p.Plan(map[string]tensor.Type{"x": x.Type})
			if err != nil {
				t.Fatal(err)
			}
			fused := 0
			for _, n := range pl.Nodes() {
				if strings.HasSuffix(n.Kernel, "_curve") && n.Op != "HardSwish" && n.Op != "Mul" {
					fused++
				}
			}
			if apart == (fused >= 6) {
				t.Errorf("apart %v: %d fused nodes", apart, fused)
			}
			s, err := pl.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			copy(s.Input("x").Bytes(), x.Bytes())
			ctx := context.Background()
			run := func() {
				if err := s.Run(ctx); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 3 {
				run()
				b := s.Output(p.Outputs()[0].Name).Bytes()
				if want == nil {
					want = bytes.Clone(b)
				}
				if !bytes.Equal(b, want) {
					t.Fatalf("apart %v, %d threads: run %d differs", apart, threads, i)
				}
			}
			if n := testing.AllocsPerRun(5, run); n != 0 {
				t.Errorf("apart %v, %d threads: %v allocations a run", apart, threads, n)
			}
		}
	}
}
