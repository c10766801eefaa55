package op

import (
	"whit/graph"
	"whit/tensor"
)

// CumSum is the running sum along the axis of input 1 and CumProd the running
// product; attribute exclusive leaves the element itself out, reverse runs from
// the end. Floats accumulate in float64, integers wrap.
func init() {
	allowed := append([]tensor.DType{tensor.Int32, tensor.Int64, tensor.Uint32, tensor.Uint64}, Floats...)
	reg := func(name string, product bool, vjp func(*graph.Graph, *graph.Node, []*graph.Value) ([]*graph.Value, error)) {
		Register(Op{
			Name: name,
			Infer: func(n *graph.Node) ([]tensor.Type, error) {
				if err := Want(n, 2, 2); err != nil {
					return nil, err
				}
				if err := inputType(n, 0, allowed); err != nil {
					return nil, err
				}
				if _, err := axisInput(n, 1, len(n.In[0].Type.Shape)); err != nil {
					return nil, err
				}
				return []tensor.Type{n.In[0].Type}, nil
			},
			Ref: numbers{f32: cumulate[float32, float64](product), f64: cumulate[float64, float64](product),
				i32: cumulate[int32, int32](product), i64: cumulate[int64, int64](product),
				u32: cumulate[uint32, uint32](product), u64: cumulate[uint64, uint64](product)}.ref,
			VJP: vjp,
			Channels: func(n *graph.Node) []Coupling {
				a, err := axisInput(n, 1, len(n.In[0].Type.Shape))
				if err != nil {
					return nil
				}
				cs := []Coupling{}
				for k := range n.In[0].Type.Shape {
					if k != a {
						cs = append(cs, Coupling{From: Port{Axis: k}, To: Port{Out: true, Axis: k}})
					}
				}
				return cs
			},
		})
	}
	// The gradient is the running sum the other way.
	reg("CumSum", false, func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
		ds := make([]*graph.Value, 2)
		if wantsGrad(n.In[0]) {
			attrs := map[string]any{"exclusive": n.Int("exclusive", 0), "reverse": 1 - min(1, n.Int("reverse", 0))}
			ds[0] = g.Add("", "CumSum", attrs, grads[0], n.In[1])
		}
		return ds, nil
	})
	reg("CumProd", true, nil)
}

// axisInput is the axis that the data of scalar input i give.
func axisInput(n *graph.Node, i, rank int) (int, error) {
	if s := n.In[i].Type.Shape; s.NumElements() != 1 {
		return 0, Errorf(n, "axis has shape %v, want a scalar", s)
	}
	if err := inputType(n, i, indexTypes); err != nil {
		return 0, err
	}
	a, err := Ints(n, i)
	if err != nil {
		return 0, err
	}
	return normAxis(n, a[0], rank)
}

func cumulate[T, A Number](product bool) ref {
	return func(n *graph.Node, in, out []*tensor.Tensor) error {
		s := in[0].Shape
		a, err := axisInput(n, 1, len(s))
		if err != nil {
			return err
		}
		exclusive, reverse := n.Int("exclusive", 0) != 0, n.Int("reverse", 0) != 0
		x, y := vals[T](in[0]), vals[T](out[0])
		inner := s[a+1:].NumElements()
		for o := range s[:a].NumElements() {
			for j := range inner {
				var acc A
				if product {
					acc = 1
				}
				for k := range s[a] {
					if reverse {
						k = s[a] - 1 - k
					}
					i := (o*s[a]+k)*inner + j
					before := acc
					if product {
						acc *= A(x[i])
					} else {
						acc += A(x[i])
					}
					if exclusive {
						y[i] = T(before)
					} else {
						y[i] = T(acc)
					}
				}
			}
		}
		return nil
	}
}
