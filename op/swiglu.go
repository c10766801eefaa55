package op

import (
	"whit/graph"
	"whit/tensor"
)

// SwiGLU is swish(a)·b (Shazeer: GLU Variants Improve Transformer, 2020, equation 6),
// a·sigmoid(alpha·a) the swish, on a and b of one type and shape.
func init() {
	Register(Op{
		Name: "SwiGLU", Infer: sameAsInput(2, Floats), Channels: broadcastChannels,
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			alpha, a, b := float64(n.Float("alpha", 1)), wide(in[0]), wide(in[1])
			y := make([]float64, len(a))
			for i, x := range a {
				y[i] = x * sigmoid(alpha*x) * b[i]
			}
			narrow(out[0], y)
			return nil
		},
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			a, b, attrs := n.In[0], n.In[1], map[string]any{"alpha": n.Float("alpha", 1)}
			return eachWanted(n, func(i int) *graph.Value {
				if i == 0 {
					return g.Add(graph.Domain, "SwishGrad", attrs, g.Add("", "Mul", nil, grads[0], b), a)
				}
				return g.Add("", "Mul", nil, grads[0], g.Add("", "Swish", attrs, a))
			}), nil
		},
	})
}
