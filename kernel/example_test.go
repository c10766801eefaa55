package kernel_test

import (
	"fmt"

	"whit/graph"
	"whit/kernel"
	"whit/tensor"
)

func ExampleReference() {
	g := graph.New("")
	n := g.Add("", "Relu", nil, g.AddInput("x", tensor.Float32, 3)).Producer
	n.In[0].Type = tensor.Type{DType: tensor.Float32, Shape: tensor.Shape{3}}
	n.Out[0].Type = n.In[0].Type

	fmt.Println(kernel.Select(n, &kernel.Env{}) != nil, "a kernel takes the node")

	p := kernel.Reference(n) // the operator's specification, on the caller's goroutine
	c := &kernel.Call{In: []*tensor.Tensor{tensor.From([]float32{-1, 0, 2}, 3)}, Out: []*tensor.Tensor{tensor.New(tensor.Float32, 3)}}
	for _, ph := range p.Phases {
		for tile := range ph.Tiles {
			ph.Run(c, tile, nil)
		}
	}
	if err := p.Err(c); err != nil { // references compute here, because they can fail on data
		fmt.Println(err)
		return
	}
	fmt.Println(tensor.Of[float32](c.Out[0]))
	// Output:
	// true a kernel takes the node
	// [0 0 2]
}
