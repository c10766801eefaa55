package optest

import (
	"whit/graph"
	"whit/tensor"
)

func init() {
	x := Rand(3, tensor.Float32, 1, 2, 3, 4)
	Add(Case{Name: "reorder", Domain: graph.Domain, Op: "Reorder", In: []*tensor.Tensor{x}, Want: []*tensor.Tensor{x}})

	b := graph.New("body")
	v := b.AddInput("body_x", tensor.Invalid, 3)
	b.Outputs = []*graph.Value{b.Add("", "Relu", nil, v)}
	Add(Case{Name: "fused/relu", Domain: graph.Domain, Op: "Fused", Attrs: map[string]any{"body": b},
		In:   []*tensor.Tensor{F32([]float32{1, -2, 3}, 3)},
		Want: []*tensor.Tensor{F32([]float32{1, 0, 3}, 3)}})
}
