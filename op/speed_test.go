package op_test

import (
	"fmt"
	"testing"

	"whit/graph"
	"whit/internal/optest"
	"whit/op"
	"whit/tensor"
)

// BenchmarkReference times the references that run where no kernel does, on the
// sizes of LeNet's largest layer.
func BenchmarkReference(b *testing.B) {
	w := optest.Rand(1, tensor.Float32, 500, 800)
	ix := tensor.New(tensor.Int32, 500, 800)
	for i := range tensor.Of[int32](ix) {
		tensor.Of[int32](ix)[i] = int32(i * 7 % 32)
	}
	bias := optest.Rand(2, tensor.Float32, 800)
	code := optest.Rand(3, tensor.Float32, 32)
	for _, c := range []optest.Case{
		{Op: "Mul", In: []*tensor.Tensor{w, w}},
		{Op: "Add", In: []*tensor.Tensor{w, bias}},
		{Op: "Gather", In: []*tensor.Tensor{code, ix}},
		{Domain: graph.Domain, Op: "GatherGrad", In: []*tensor.Tensor{w, ix, tensor.Ints(32)}, ConstIn: []int{2}},
		{Domain: graph.Domain, Op: "SumTo", In: []*tensor.Tensor{w, tensor.Ints(800)}, ConstIn: []int{1}},
		{Op: "Transpose", In: []*tensor.Tensor{w}},
		{Op: "ReduceSum", In: []*tensor.Tensor{w, tensor.Ints(1)}, ConstIn: []int{1}},
		{Op: "Sigmoid", In: []*tensor.Tensor{w}},
		{Op: "Clip", In: []*tensor.Tensor{w, tensor.Scalar(float32(-1)), tensor.Scalar(float32(1))}},
	} {
		g, _ := c.Build()
		n := g.Nodes[0]
		ts, err := op.Infer(n)
		if err != nil {
			b.Fatal(err)
		}
		out := []*tensor.Tensor{tensor.New(ts[0].DType, ts[0].Shape...)}
		b.Run(fmt.Sprint(c.Op), func(b *testing.B) {
			for b.Loop() {
				if err := op.Of(n).Ref(n, c.In, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
