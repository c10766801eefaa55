package op

import (
	"whit/graph"
	"whit/tensor"
)

// Reorder changes the physical layout of its input in a compiled graph and is
// the identity on values. Both layouts stand in the values themselves.
func init() {
	Register(Op{
		Domain: graph.Domain, Name: "Reorder",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, 1); err != nil {
				return nil, err
			}
			return []tensor.Type{n.In[0].Type}, nil
		},
		Ref: func(_ *graph.Node, in, out []*tensor.Tensor) error {
			copy(out[0].Bytes(), in[0].Bytes())
			return nil
		},
		Channels: passChannels,
	})
}
