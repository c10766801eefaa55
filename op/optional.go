package op

import (
	"whit/graph"
	"whit/tensor"
)

// Optional values are not held: what is left of them are tensors, which are there,
// and absent inputs.
func init() {
	// OptionalHasElement says whether its input is there.
	Register(Op{
		Name: "OptionalHasElement",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 0, 1); err != nil {
				return nil, err
			}
			return []tensor.Type{{DType: tensor.Bool, Shape: tensor.Shape{}}}, nil
		},
		Ref: func(n *graph.Node, _, out []*tensor.Tensor) error {
			vals[bool](out[0])[0] = n.Input(0) != nil
			return nil
		},
		VJP: func(_ *graph.Graph, n *graph.Node, _ []*graph.Value) ([]*graph.Value, error) {
			return make([]*graph.Value, len(n.In)), nil
		},
	})
	// OptionalGetElement gives its input on.
	Register(Op{
		Name: "OptionalGetElement",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, 1); err != nil {
				return nil, err
			}
			return []tensor.Type{n.In[0].Type}, nil
		},
		Ref: func(_ *graph.Node, in, out []*tensor.Tensor) error {
			copy(out[0].Bytes(), in[0].Bytes()[:in[0].NumBytes()])
			return nil
		},
		VJP: func(_ *graph.Graph, _ *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			return []*graph.Value{grads[0]}, nil
		},
	})
}
