package op_test

import (
	"fmt"

	"whit/graph"
	"whit/op"
	"whit/tensor"
)

func ExampleOp() {
	g := graph.New("")
	w := g.NewConst("w", tensor.From([]float32{1, 2, 3, 4, 5, 6}, 3, 2))
	x := g.NewConst("x", tensor.From([]float32{1, 0, -1}, 1, 3))
	n := g.Add("", "MatMul", nil, x, w).Producer

	types, err := op.Infer(n) // the type rule
	if err != nil {
		fmt.Println(err)
		return
	}
	n.Out[0].Type = types[0]
	macs, bytes := op.Cost(n)
	fmt.Println(types[0], macs, "MACs", bytes, "bytes")

	out := tensor.New(types[0].DType, types[0].Shape...)
	if err := op.Of(n).Ref(n, []*tensor.Tensor{x.Data, w.Data}, []*tensor.Tensor{out}); err != nil { // the specification
		fmt.Println(err)
		return
	}
	fmt.Println(tensor.Of[float32](out))
	// Output:
	// float32[1,2] 6 MACs 44 bytes
	// [-4 -4]
}
