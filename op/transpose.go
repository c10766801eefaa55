package op

import (
	"whit/graph"
	"whit/tensor"
)

// Transpose is y's axis i = x's axis perm[i]; without perm the axes are reversed.
func init() {
	Register(Op{
		Name: "Transpose",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, 1, wholeTypes...); err != nil {
				return nil, err
			}
			x := n.In[0].Type
			perm, err := permOf(n, len(x.Shape))
			if err != nil {
				return nil, err
			}
			s := make(tensor.Shape, len(perm))
			for i, p := range perm {
				s[i] = x.Shape[p]
			}
			return []tensor.Type{{DType: x.DType, Shape: s}}, nil
		},
		Ref: moves(transpose[uint8], transpose[uint16], transpose[uint32], transpose[uint64]),
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			if !wantsGrad(n.In[0]) {
				return []*graph.Value{nil}, nil
			}
			perm := n.Ints("perm")
			if perm == nil {
				return []*graph.Value{g.Add("", "Transpose", nil, grads[0])}, nil
			}
			inv := make([]int64, len(perm))
			for i, p := range perm {
				inv[p] = int64(i)
			}
			return []*graph.Value{g.Add("", "Transpose", map[string]any{"perm": inv}, grads[0])}, nil
		},
		Channels: func(n *graph.Node) []Coupling {
			perm, err := permOf(n, len(n.In[0].Type.Shape))
			if err != nil {
				return nil
			}
			cs := []Coupling{}
			for i, p := range perm {
				cs = append(cs, Coupling{From: Port{Axis: p}, To: Port{Out: true, Axis: i}})
			}
			return cs
		},
	})
}

// permOf is the node's permutation, checked.
func permOf(n *graph.Node, rank int) ([]int, error) {
	perm := n.Ints("perm")
	if _, ok := n.Attrs["perm"]; !ok {
		p := make([]int, rank)
		for i := range p {
			p[i] = rank - 1 - i
		}
		return p, nil
	}
	if len(perm) != rank {
		return nil, Errorf(n, "perm %v for rank %d", perm, rank)
	}
	for _, p := range perm {
		if p < 0 {
			return nil, Errorf(n, "perm %v has a negative axis", perm)
		}
	}
	return normAxes(n, perm, rank)
}

func transpose[T word](n *graph.Node, in, out []*tensor.Tensor) error {
	perm, err := permOf(n, len(in[0].Shape))
	if err != nil {
		return err
	}
	st, is := make([]int, len(perm)), in[0].Shape.Strides()
	for i, p := range perm {
		st[i] = is[p]
	}
	stridedCopy(words[T](out[0]), out[0].Shape, words[T](in[0]), 0, st)
	return nil
}
