package op

import (
	"whit/graph"
	"whit/tensor"
)

// CenterCropPad cuts or pads with zeros, half on each side, to the sizes of input 1
// along attribute axes (all axes without it). Where the difference is odd, one
// element more goes at the end.
func init() {
	Register(Op{
		Name: "CenterCropPad",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 2); err != nil {
				return nil, err
			}
			if err := inputType(n, 0, wholeTypes); err != nil {
				return nil, err
			}
			x := n.In[0].Type
			to, err := shapeInput(n, 1)
			if err != nil {
				return nil, err
			}
			axes, err := cropAxes(n, len(x.Shape))
			if err != nil {
				return nil, err
			}
			if len(axes) != len(to) {
				return nil, Errorf(n, "%d sizes for %d axes", len(to), len(axes))
			}
			s := x.Shape.Clone()
			for i, a := range axes {
				s[a] = to[i]
			}
			return []tensor.Type{{DType: x.DType, Shape: s}}, nil
		},
		Ref: moves(centerCropPad[uint8], centerCropPad[uint16], centerCropPad[uint32], centerCropPad[uint64]),
		// What was cut comes back as zeros, what was padded goes.
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			ds := make([]*graph.Value, 2)
			if wantsGrad(n.In[0]) {
				ds[0] = g.Add("", "CenterCropPad", nil, grads[0], shapeOf(g, n.In[0]))
			}
			return ds, nil
		},
		Channels: func(n *graph.Node) []Coupling {
			axes, err := cropAxes(n, len(n.In[0].Type.Shape))
			if err != nil {
				return nil
			}
			cut := map[int]bool{}
			for _, a := range axes {
				cut[a] = true
			}
			cs := []Coupling{}
			for a := range n.In[0].Type.Shape {
				if !cut[a] {
					cs = append(cs, Coupling{From: Port{Axis: a}, To: Port{Out: true, Axis: a}})
				}
			}
			return cs
		},
	})
}

func cropAxes(n *graph.Node, rank int) ([]int, error) {
	if n.Ints("axes") != nil {
		return normAxes(n, n.Ints("axes"), rank)
	}
	axes := make([]int, rank)
	for i := range axes {
		axes[i] = i
	}
	return axes, nil
}

func centerCropPad[T word](_ *graph.Node, in, out []*tensor.Tensor) error {
	x, y := words[T](in[0]), words[T](out[0])
	clear(y)
	xs, ys := in[0].Shape, out[0].Shape
	xst, yst := xs.Strides(), ys.Strides()
	both, from, to := make(tensor.Shape, len(xs)), 0, 0
	for a := range xs {
		both[a] = min(xs[a], ys[a])
		from += (xs[a] - both[a]) / 2 * xst[a]
		to += (ys[a] - both[a]) / 2 * yst[a]
	}
	walk(both, [][]int{xst, yst}, func(_ int, off []int, n int, step []int) {
		i, o := from+off[0], to+off[1]
		for range n {
			y[o] = x[i]
			i += step[0]
			o += step[1]
		}
	})
	return nil
}
