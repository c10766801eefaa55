package plan_test

import (
	"context"
	"fmt"

	"whit/graph"
	"whit/plan"
	"whit/tensor"
)

func Example() {
	g := graph.New("")
	y := g.Add("", "Relu", nil, g.AddInput("x", tensor.Float32, -1, 3))
	y.Name = "y"
	g.Outputs = append(g.Outputs, y)

	p, err := plan.NewProgram(g, plan.Options{}) // once a model
	if err != nil {
		fmt.Println(err)
		return
	}
	pl, err := p.Plan(map[string]tensor.Type{"x": {DType: tensor.Float32, Shape: tensor.Shape{2, 3}}}) // once a shape
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := pl.NewSession() // once a goroutine
	if err != nil {
		fmt.Println(err)
		return
	}
	copy(tensor.Of[float32](s.Input("x")), []float32{-1, 2, -3, 4, -5, 6})
	if err := s.Run(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Output("y").Type, tensor.Of[float32](s.Output("y")))
	// Output: float32[2,3] [0 2 0 4 0 6]
}
