package graph_test

import (
	"fmt"

	"whit/graph"
	"whit/tensor"
)

func Example() {
	g := graph.New("tiny")
	x := g.AddInput("x", tensor.Float32, -1, 2) // the batch is symbolic
	w := g.NewConst("w", tensor.From([]float32{1, 0, 0, 1}, 2, 2))
	y := g.Add("", "MatMul", nil, x, w)
	y = g.Add("", "Relu", nil, y)
	y.Name = "y"
	g.Outputs = append(g.Outputs, y)
	if err := g.Verify(); err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range g.Nodes {
		fmt.Println(n.OpName(), len(n.In), "inputs")
	}
	fmt.Println(g.Inputs[0].Decl, len(g.Uses()[x]), "use")
	// Output:
	// MatMul 2 inputs
	// Relu 1 inputs
	// float32[?,2] 1 use
}
