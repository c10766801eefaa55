package op

import (
	"whit/graph"
	"whit/tensor"
)

// Split cuts the input along attribute axis (default 0) into parts as long as
// input 1 says, or into num_outputs equal parts of which the last may be shorter.
// With neither, there are as many parts as the node has outputs.
func init() {
	Register(Op{
		Name: "Split",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, 2); err != nil {
				return nil, err
			}
			if err := inputType(n, 0, wholeTypes); err != nil {
				return nil, err
			}
			a, parts, err := splitParts(n)
			if err != nil {
				return nil, err
			}
			x := n.In[0].Type
			ts := make([]tensor.Type, len(parts))
			for i, p := range parts {
				s := x.Shape.Clone()
				s[a] = p
				ts[i] = tensor.Type{DType: x.DType, Shape: s}
			}
			return ts, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			a, parts, err := splitParts(n)
			if err != nil {
				return err
			}
			x := in[0]
			outer := x.Shape[:a].NumElements()
			if x.Len() == 0 {
				return nil
			}
			row, at := x.NumBytes()/outer, 0
			for i, p := range parts {
				w := row / x.Shape[a] * p
				if i < len(out) && out[i] != nil {
					for o := range outer {
						copy(out[i].Bytes()[o*w:(o+1)*w], x.Bytes()[o*row+at:])
					}
				}
				at += w
			}
			return nil
		},
		// The gradient joins those of the parts; a part without one counts as zero.
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			ds := make([]*graph.Value, len(n.In))
			if !wantsGrad(n.In[0]) {
				return ds, nil
			}
			parts := make([]*graph.Value, 0, len(n.Out))
			for i, v := range n.Out {
				switch {
				case i < len(grads) && grads[i] != nil:
					parts = append(parts, grads[i])
				case v != nil:
					parts = append(parts, g.Add("", "Mul", nil, v, scalar(g, 0, v)))
				default:
					return nil, Unsupported(n, "gradient of a split with an output left out")
				}
			}
			ds[0] = g.Add("", "Concat", map[string]any{"axis": n.Int("axis", 0)}, parts...)
			return ds, nil
		},
		Channels: func(n *graph.Node) []Coupling {
			a, parts, err := splitParts(n)
			if err != nil {
				return nil
			}
			cs, at := []Coupling{}, 0
			for i, v := range n.Out {
				if v != nil {
					for k := range v.Type.Shape {
						c := Coupling{From: Port{Out: true, Index: i, Axis: k}, To: Port{Axis: k}}
						if k == a {
							c.Map = shifted(at)
						}
						cs = append(cs, c)
					}
				}
				at += parts[i]
			}
			return cs
		},
	})
}

// splitParts is the axis and the length of every part.
func splitParts(n *graph.Node) (int, []int, error) {
	s := n.In[0].Type.Shape
	a, err := normAxis(n, n.Int("axis", 0), len(s))
	if err != nil {
		return 0, nil, err
	}
	if n.Input(1) == nil {
		k := n.Int("num_outputs", int64(len(n.Out)))
		if k <= 0 || k > 1<<16 {
			return 0, nil, Errorf(n, "num_outputs is %d", k)
		}
		each := ceilDiv(s[a], int(k))
		parts, left := make([]int, k), s[a]
		for i := range parts {
			parts[i] = min(each, left)
			left -= parts[i]
		}
		return a, parts, nil
	}
	if _, ok := n.Attrs["num_outputs"]; ok {
		return 0, nil, Errorf(n, "both split and num_outputs are given")
	}
	lens, err := vector(n, 1, "split")
	if err != nil {
		return 0, nil, err
	}
	parts, sum := make([]int, len(lens)), int64(0)
	for i, l := range lens {
		if l < 0 || l > int64(s[a]) {
			return 0, nil, Errorf(n, "split %v of a dimension of %d", lens, s[a])
		}
		parts[i] = int(l)
		sum += l
	}
	if sum != int64(s[a]) {
		return 0, nil, Errorf(n, "split %v of a dimension of %d", lens, s[a])
	}
	return a, parts, nil
}
