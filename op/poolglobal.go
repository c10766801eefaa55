package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// The global pools reduce x [N,C,...] over all but the first two axes, which stay as ones.
func init() {
	// GlobalAveragePool is the mean.
	Register(Op{
		Name: "GlobalAveragePool", Infer: inferGlobalPool(1), Channels: passLeading,
		Ref: globalPool(func(n *graph.Node, x []float64) float64 {
			var sum float64
			for _, v := range x {
				sum += v
			}
			return sum / float64(len(x))
		}),
		VJP: vjpGlobalPool,
	})
	// GlobalAveragePoolGrad is dy divided by the size of the channel: inputs dy and x
	// (of which only the type is used).
	Register(Op{
		Domain: graph.Domain, Name: "GlobalAveragePoolGrad", Infer: inferGlobalPool(2),
		Ref: globalPoolGrad(func(dy float64, _, dx []float64) {
			for i := range dx {
				dx[i] = dy / float64(len(dx))
			}
		}),
	})
	// GlobalMaxPool is the largest element; NaN wins.
	Register(Op{
		Name: "GlobalMaxPool", Infer: inferGlobalPool(1), Channels: passLeading,
		Ref: globalPool(func(_ *graph.Node, x []float64) float64 { return x[argMax(x)] }),
		VJP: vjpGlobalPool,
	})
	// GlobalMaxPoolGrad gives dy to the first largest element: inputs dy and x.
	Register(Op{
		Domain: graph.Domain, Name: "GlobalMaxPoolGrad", Infer: inferGlobalPool(2),
		Ref: globalPoolGrad(func(dy float64, x, dx []float64) { dx[argMax(x)] = dy }),
	})
	// GlobalLpPool is (Σ |x|^p)^(1/p).
	Register(Op{
		Name: "GlobalLpPool", Channels: passLeading,
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if n.Int("p", 2) < 1 {
				return nil, Errorf(n, "p is %d, want at least 1", n.Int("p", 2))
			}
			return inferGlobalPool(1)(n)
		},
		Ref: globalPool(func(n *graph.Node, x []float64) float64 {
			p, sum := float64(n.Int("p", 2)), 0.0
			for _, v := range x {
				sum += math.Pow(math.Abs(v), p)
			}
			return math.Pow(sum, 1/p)
		}),
	})
}

// argMax is the index of the first largest element, or of the first NaN.
func argMax(x []float64) int {
	best := 0
	for i, v := range x {
		if v > x[best] || v != v && x[best] == x[best] {
			best = i
		}
	}
	return best
}

// inferGlobalPool is the rule of the pools (one input) and their gradients (dy and x).
func inferGlobalPool(inputs int) func(*graph.Node) ([]tensor.Type, error) {
	return func(n *graph.Node) ([]tensor.Type, error) {
		if err := Want(n, inputs, inputs, Floats...); err != nil {
			return nil, err
		}
		if err := oneType(n, 0, 1); err != nil {
			return nil, err
		}
		x := n.In[inputs-1].Type
		if len(x.Shape) < 2 {
			return nil, Errorf(n, "x has shape %v, want at least two axes", x.Shape)
		}
		if x.Shape[2:].NumElements() == 0 {
			return nil, Errorf(n, "x %v has nothing to pool", x.Shape)
		}
		y := tensor.Type{DType: x.DType, Shape: x.Shape.Clone()}
		for i := range y.Shape[2:] {
			y.Shape[2+i] = 1
		}
		if inputs == 1 {
			return []tensor.Type{y}, nil
		}
		if !n.In[0].Type.Shape.Equal(y.Shape) {
			return nil, Errorf(n, "dy has shape %v, want %v", n.In[0].Type.Shape, y.Shape)
		}
		return []tensor.Type{x}, nil
	}
}

func globalPool(f func(n *graph.Node, x []float64) float64) ref {
	return func(n *graph.Node, in, out []*tensor.Tensor) error {
		x, y, inner := wide(in[0]), make([]float64, out[0].Len()), in[0].Shape[2:].NumElements()
		for i := range y {
			y[i] = f(n, x[i*inner:(i+1)*inner])
		}
		narrow(out[0], y)
		return nil
	}
}

func globalPoolGrad(f func(dy float64, x, dx []float64)) ref {
	return func(n *graph.Node, in, out []*tensor.Tensor) error {
		dy, x, dx, inner := wide(in[0]), wide(in[1]), make([]float64, in[1].Len()), in[1].Shape[2:].NumElements()
		for i, v := range dy {
			f(v, x[i*inner:(i+1)*inner], dx[i*inner:(i+1)*inner])
		}
		narrow(out[0], dx)
		return nil
	}
}

func vjpGlobalPool(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
	return []*graph.Value{g.Add(graph.Domain, n.Op+"Grad", nil, grads[0], n.In[0])}, nil
}
