package op

import (
	"whit/graph"
	"whit/tensor"
)

// Concat joins its inputs along attribute axis; they agree in all other dimensions.
func init() {
	Register(Op{
		Name: "Concat", Infer: inferConcat,
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			a, err := normAxis(n, n.Int("axis", 0), len(out[0].Shape))
			if err != nil {
				return err
			}
			outer := out[0].Shape[:a].NumElements()
			if outer == 0 || out[0].Len() == 0 {
				return nil
			}
			row, at := out[0].NumBytes()/outer, 0
			for _, t := range in {
				w := t.NumBytes() / outer
				for o := range outer {
					copy(out[0].Bytes()[o*row+at:], t.Bytes()[o*w:(o+1)*w])
				}
				at += w
			}
			return nil
		},
		// The gradient of input i is the slice of dy that it fills.
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			axis := n.Int("axis", 0)
			in := []*graph.Value{grads[0]}
			var lens []*graph.Value
			for _, v := range n.In {
				if axis < 0 && !v.Bound() && !v.Decl.Ranked {
					return nil, Unsupported(n, "gradient of a negative axis where the rank is not known")
				}
				a := axis
				if a < 0 {
					a += int64(rankOf(v))
				}
				lens = append(lens, dimOf(g, v, a))
			}
			if len(n.In) == 1 {
				return grads, nil
			}
			in = append(in, g.Add("", "Concat", map[string]any{"axis": int64(0)}, lens...))
			parts := g.AddN("", "Split", map[string]any{"axis": axis}, len(n.In), in...)
			return eachWanted(n, func(i int) *graph.Value { return parts[i] }), nil
		},
		Channels: func(n *graph.Node) []Coupling {
			s := n.Out[0].Type.Shape
			a, err := normAxis(n, n.Int("axis", 0), len(s))
			if err != nil {
				return nil
			}
			cs, at := []Coupling{}, 0
			for i, v := range n.In {
				for k := range s {
					c := Coupling{From: Port{Index: i, Axis: k}, To: Port{Out: true, Axis: k}}
					if k == a {
						c.Map = shifted(at)
					}
					cs = append(cs, c)
				}
				at += v.Type.Shape[a]
			}
			return cs
		},
	})
}

// shifted maps channel c to c+at.
func shifted(at int) func(int) []int {
	if at == 0 {
		return nil
	}
	return func(c int) []int { return []int{c + at} }
}

// rankOf is the rank of a value whose type is bound or declared.
func rankOf(v *graph.Value) int {
	if v.Bound() {
		return len(v.Type.Shape)
	}
	return len(v.Decl.Dims)
}

// dimOf is dimension axis (not negative) of v as an int64 vector of one element.
func dimOf(g *graph.Graph, v *graph.Value, axis int64) *graph.Value {
	if v.Kind != graph.Computed && v.Kind != graph.Input {
		return g.NewConst("", tensor.Ints(int64(v.Type.Shape[axis])))
	}
	return g.Add("", "Shape", map[string]any{"start": axis, "end": axis + 1}, v)
}

func inferConcat(n *graph.Node) ([]tensor.Type, error) {
	if len(n.In) == 0 {
		return nil, Errorf(n, "no inputs")
	}
	if err := Want(n, len(n.In), len(n.In), wholeTypes...); err != nil {
		return nil, err
	}
	if _, ok := n.Attrs["axis"].(int64); !ok {
		return nil, Errorf(n, "attribute axis is missing")
	}
	x := n.In[0].Type
	a, err := normAxis(n, n.Int("axis", 0), len(x.Shape))
	if err != nil {
		return nil, err
	}
	s := x.Shape.Clone()
	for i, v := range n.In[1:] {
		t := v.Type
		bad := t.DType != x.DType || len(t.Shape) != len(s)
		for k := 0; !bad && k < len(s); k++ {
			bad = k != a && t.Shape[k] != s[k]
		}
		if bad {
			return nil, Errorf(n, "input %d is %v, input 0 %v: they do not join along axis %d", i+1, t, x, a)
		}
		s[a] += t.Shape[a]
	}
	return []tensor.Type{{DType: x.DType, Shape: s}}, nil
}
