package op

import (
	"whit/graph"
	"whit/tensor"
)

// MaxUnpool puts every x [N,C,in...] where the indices (of x's shape, as MaxPool gives
// them) say, into a y of zeros whose spatial shape is (in-1)·stride + kernel - pads. The
// optional third input is the whole shape of y, at least as large; the indices still
// count in the smaller shape, and the rest is zeros behind.
func init() {
	Register(Op{
		Name: "MaxUnpool",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 3); err != nil {
				return nil, err
			}
			x, at := n.In[0].Type, n.In[1].Type
			if !x.DType.IsFloat() || x.DType.Bits() < 16 || at.DType != tensor.Int64 || !at.Shape.Equal(x.Shape) {
				return nil, Errorf(n, "x is %v and the indices %v, want a float and int64 of one shape", x, at)
			}
			y, err := unpoolShape(n, x.Shape)
			if err != nil {
				return nil, err
			}
			if v := n.Input(2); v != nil {
				if !v.Type.Shape.Equal(tensor.Shape{len(y)}) {
					return nil, Errorf(n, "output_shape has shape %v, want [%d]", v.Type.Shape, len(y))
				}
				s, err := Ints(n, 2)
				if err != nil {
					return nil, err
				}
				for i, d := range s {
					if d < int64(y[i]) || d > 1<<40 || i < 2 && d != int64(y[i]) {
						return nil, Errorf(n, "output_shape %v is not at least %v", s, y)
					}
					y[i] = int(d)
				}
			}
			return []tensor.Type{{DType: x.DType, Shape: y}}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			s, err := unpoolShape(n, in[0].Shape)
			if err != nil {
				return err
			}
			y, total, to := make([]float64, out[0].Len()), s.NumElements(), out[0].Shape.Strides()
			x := wide(in[0])
			for i, k := range tensor.Of[int64](in[1]) {
				if k < 0 || k >= int64(total) {
					return Errorf(n, "index %d is %d, y has %d elements", i, k, total)
				}
				rest, o := int(k), 0
				for a := len(s) - 1; a >= 0; a-- {
					o += rest % s[a] * to[a]
					rest /= s[a]
				}
				y[o] = x[i]
			}
			narrow(out[0], y)
			return nil
		},
	})
}

func unpoolShape(n *graph.Node, x tensor.Shape) (tensor.Shape, error) {
	k, r := n.Ints("kernel_shape"), len(x)-2
	strides, pads := n.Ints("strides"), n.Ints("pads")
	if r < 1 || len(k) != r || strides != nil && len(strides) != r || pads != nil && len(pads) != 2*r {
		return nil, Errorf(n, "x has shape %v, kernel_shape is %v, strides %v, pads %v: lengths do not fit", x, k, strides, pads)
	}
	y := x.Clone()
	for a := range r {
		s, p := int64(1), int64(0)
		if strides != nil {
			s = strides[a]
		}
		if pads != nil {
			if pads[a] < 0 || pads[r+a] < 0 || pads[a] > maxWindow || pads[r+a] > maxWindow {
				return nil, Errorf(n, "pads %v are out of range", pads)
			}
			p = pads[a] + pads[r+a]
		}
		if s < 1 || s > maxWindow || k[a] < 1 || k[a] > maxWindow || x[2+a] > maxWindow {
			return nil, Errorf(n, "axis %d: kernel %d or stride %d is out of range", a+2, k[a], s)
		}
		d := (int64(x[2+a])-1)*s + k[a] - p
		if d < 0 {
			return nil, Errorf(n, "axis %d: the pads exceed the output", a+2)
		}
		y[2+a] = int(d)
	}
	return y, nil
}
