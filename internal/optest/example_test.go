package optest_test

import (
	"fmt"

	"whit/graph"
	"whit/internal/optest"
	"whit/tensor"
)

func ExampleEval() {
	g := graph.New("")
	y := g.Add("", "Neg", nil, g.AddInput("x", tensor.Float32, 2))
	y.Name = "y"
	g.Outputs = append(g.Outputs, y)
	out, err := optest.Eval(g, map[string]*tensor.Tensor{"x": optest.F32([]float32{1, -2}, 2)}) // on references only
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tensor.Of[float32](out[0]))
	// Output: [-1 2]
}
