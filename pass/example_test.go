package pass_test

import (
	"fmt"

	"whit/graph"
	"whit/pass"
	"whit/tensor"
)

func Example() {
	g := graph.New("")
	x := g.AddInput("x", tensor.Float32, -1, 3, 4)
	flat := g.Add("", "Concat", map[string]any{"axis": int64(0)}, // [N, -1], from the shape of x
		g.Add("", "Shape", map[string]any{"start": int64(0), "end": int64(1)}, x),
		g.NewConst("rest", tensor.Ints(-1)))
	y := g.Add("", "Reshape", nil, g.Add("", "Identity", nil, x), flat)
	y.Name = "y"
	g.Outputs = append(g.Outputs, y)
	fmt.Println(len(g.Nodes), "nodes")

	pass.Simplify(g) // Identity goes
	fmt.Println(len(g.Nodes), "nodes")

	b, err := pass.Bind(g, map[string]tensor.Type{"x": {DType: tensor.Float32, Shape: tensor.Shape{2, 3, 4}}}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(b.Graph.Nodes), "node:", b.Graph.Nodes[0].Op, b.Graph.Outputs[0].Type)
	// Output:
	// 4 nodes
	// 3 nodes
	// 1 node: Reshape float32[2,12]
}
