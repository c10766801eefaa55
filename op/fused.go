package op

import (
	"fmt"

	"whit/graph"
	"whit/tensor"
)

// Fused is a node that stands for a small graph, its body, so that one kernel can
// do it in one pass: attribute body, whose inputs are the node's inputs in order
// and whose outputs are the node's. The reference runs the body.
func init() {
	Register(Op{
		Domain: graph.Domain, Name: "Fused",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			b := n.Graph("body")
			if b == nil || len(b.Inputs) != len(n.In) {
				return nil, Errorf(n, "want a body of %d inputs", len(n.In))
			}
			for i, v := range b.Inputs {
				if n.In[i] == nil {
					return nil, Errorf(n, "input %d is missing", i)
				}
				v.Type = n.In[i].Type
			}
			for _, m := range b.Nodes {
				ts, err := Infer(m)
				if err != nil {
					return nil, err
				}
				for i, v := range m.Out {
					if v != nil {
						v.Type = ts[i]
					}
				}
			}
			var ts []tensor.Type
			for _, v := range b.Outputs {
				ts = append(ts, v.Type)
			}
			return ts, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error { return runBody(n.Graph("body"), in, out) },
		Cost: func(n *graph.Node) (macs, bytes int64) {
			for _, m := range n.Graph("body").Nodes {
				c, _ := Cost(m)
				macs += c
			}
			return macs, IOBytes(n)
		},
	})
}

// runBody runs a graph whose values are all typed on the references.
func runBody(b *graph.Graph, in, out []*tensor.Tensor) error {
	vals := map[*graph.Value]*tensor.Tensor{}
	for i, v := range b.Inputs {
		vals[v] = in[i]
	}
	for i, v := range b.Outputs {
		if out[i] != nil {
			vals[v] = out[i]
		}
	}
	for _, n := range b.Nodes {
		args, res := make([]*tensor.Tensor, len(n.In)), make([]*tensor.Tensor, len(n.Out))
		for i, v := range n.In {
			if v == nil {
				continue
			}
			if args[i] = vals[v]; args[i] == nil {
				args[i] = v.Tensor()
			}
			if args[i] == nil {
				return fmt.Errorf("body: value %q has no data", v.Name)
			}
		}
		for i, v := range n.Out {
			if v == nil {
				continue
			}
			if res[i] = vals[v]; res[i] == nil {
				res[i] = tensor.New(v.Type.DType, v.Type.Shape...)
				vals[v] = res[i]
			}
		}
		if err := Of(n).Ref(n, args, res); err != nil {
			return err
		}
	}
	return nil
}
