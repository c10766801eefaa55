package op

import (
	"whit/graph"
	"whit/tensor"
)

// ArgMax and ArgMin give the int64 index of the extreme along attribute axis: the
// first one, or with select_last_index the last. A NaN is more extreme than any number.
func init() {
	reg := func(name string, isMax bool) {
		Register(Op{
			Name: name,
			Infer: func(n *graph.Node) ([]tensor.Type, error) {
				if err := Want(n, 1, 1, Numbers...); err != nil {
					return nil, err
				}
				x := n.In[0].Type.Shape
				a, err := normAxis(n, n.Int("axis", 0), len(x))
				if err != nil {
					return nil, err
				}
				s := append(tensor.Shape{}, x[:a]...)
				if n.Int("keepdims", 1) != 0 {
					s = append(s, 1)
				}
				s = append(s, x[a+1:]...)
				if x[a] == 0 && s.NumElements() > 0 {
					return nil, Errorf(n, "axis %d of %v is empty", a, x)
				}
				return []tensor.Type{{DType: tensor.Int64, Shape: s}}, nil
			},
			Ref: numbers{f32: arg[float32](isMax), f64: arg[float64](isMax),
				i8: arg[int8](isMax), i16: arg[int16](isMax), i32: arg[int32](isMax), i64: arg[int64](isMax),
				u8: arg[uint8](isMax), u16: arg[uint16](isMax), u32: arg[uint32](isMax), u64: arg[uint64](isMax)}.ref,
			VJP: func(*graph.Graph, *graph.Node, []*graph.Value) ([]*graph.Value, error) {
				return make([]*graph.Value, 1), nil
			},
			Channels: func(n *graph.Node) []Coupling {
				x := n.In[0].Type.Shape
				a, err := normAxis(n, n.Int("axis", 0), len(x))
				if err != nil {
					return nil
				}
				cs := []Coupling{}
				for k := range x {
					o := k
					if k > a && n.Int("keepdims", 1) == 0 {
						o--
					}
					if k != a {
						cs = append(cs, Coupling{From: Port{Axis: k}, To: Port{Out: true, Axis: o}})
					}
				}
				return cs
			},
		})
	}
	reg("ArgMax", true)
	reg("ArgMin", false)
}

func arg[T Number](isMax bool) ref {
	return func(n *graph.Node, in, out []*tensor.Tensor) error {
		s := in[0].Shape
		a, err := normAxis(n, n.Int("axis", 0), len(s))
		if err != nil {
			return err
		}
		last := n.Int("select_last_index", 0) != 0
		x, y := vals[T](in[0]), vals[int64](out[0])
		inner := s[a+1:].NumElements()
		for i := range y {
			base := i/inner*s[a]*inner + i%inner
			best, at := x[base], 0
			for k := 1; k < s[a]; k++ {
				v := x[base+k*inner]
				better := v > best
				if !isMax {
					better = v < best
				}
				tie := v == best || v != v && best != best
				if best == best && (better || v != v) || last && tie {
					best, at = v, k
				}
			}
			y[i] = int64(at)
		}
		return nil
	}
}
