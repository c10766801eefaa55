package op

import (
	"whit/graph"
	"whit/tensor"
)

// Relu is y = max(x, 0), elementwise; NaN stays NaN. x has any shape.
func init() {
	Register(Op{
		Name:  "Relu",
		Infer: sameAsInput(1, append([]tensor.DType{tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64}, Floats...)),
		Ref: numbers{f32: relu[float32], f64: relu[float64], i8: relu[int8], i16: relu[int16],
			i32: relu[int32], i64: relu[int64]}.ref,
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			return []*graph.Value{g.Add(graph.Domain, "ReluGrad", nil, grads[0], n.Out[0])}, nil
		},
		Channels: passChannels,
	})
	// ReluGrad is dx = dy where y > 0, else 0: inputs dy and y (Relu's output), one shape.
	Register(Op{
		Domain: graph.Domain, Name: "ReluGrad",
		Infer: sameAsInput(2, Floats),
		Ref:   float(reluGrad[float32], reluGrad[float64]),
	})
}

func relu[T Number](_ *graph.Node, in, out []*tensor.Tensor) error {
	x, y := tensor.Of[T](in[0]), tensor.Of[T](out[0])
	for i, v := range x {
		if v < 0 {
			v = 0
		}
		y[i] = v
	}
	return nil
}

func reluGrad[T Float](_ *graph.Node, in, out []*tensor.Tensor) error {
	dy, y, dx := tensor.Of[T](in[0]), tensor.Of[T](in[1]), tensor.Of[T](out[0])
	for i, g := range dy {
		if y[i] > 0 {
			dx[i] = g
		} else {
			dx[i] = 0
		}
	}
	return nil
}

// sameAsInput is the type rule of elementwise operators of k inputs: all have the
// first one's type, and so has the output.
func sameAsInput(k int, allowed []tensor.DType) func(*graph.Node) ([]tensor.Type, error) {
	return func(n *graph.Node) ([]tensor.Type, error) {
		if err := Want(n, k, k, allowed...); err != nil {
			return nil, err
		}
		for i, v := range n.In {
			if v == nil || !v.Type.Equal(n.In[0].Type) {
				return nil, Errorf(n, "input %d differs in type from input 0 (%v)", i, n.In[0].Type)
			}
		}
		return []tensor.Type{n.In[0].Type}, nil
	}
}

// passChannels couples every axis of input 0 to the same axis of output 0.
func passChannels(n *graph.Node) []Coupling {
	var cs []Coupling
	for a := range n.In[0].Type.Shape {
		cs = append(cs, Coupling{From: Port{Axis: a}, To: Port{Out: true, Axis: a}})
	}
	return cs
}
