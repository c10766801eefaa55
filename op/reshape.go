package op

import (
	"slices"

	"whit/graph"
	"whit/tensor"
)

// The operators that give the same elements another shape. Any element type.
func init() {
	same := func(name string, infer func(*graph.Node) ([]tensor.Type, error), channels func(*graph.Node) []Coupling) {
		Register(Op{Name: name, Infer: infer, Ref: refCopy, VJP: vjpReshape, Channels: channels})
	}
	same("Identity", func(n *graph.Node) ([]tensor.Type, error) {
		if err := Want(n, 1, 1); err != nil {
			return nil, err
		}
		return []tensor.Type{n.In[0].Type}, nil
	}, passChannels)

	// Reshape: 0 copies a dimension of the input (with allowzero it is 0), one -1 is inferred.
	same("Reshape", inferReshape, reshapeChannels)

	// Flatten to [d0·…·d(axis-1), d(axis)·…].
	same("Flatten", func(n *graph.Node) ([]tensor.Type, error) {
		if err := Want(n, 1, 1); err != nil {
			return nil, err
		}
		x := n.In[0].Type
		a, r := n.Int("axis", 1), int64(len(x.Shape))
		if a < -r || a > r {
			return nil, Errorf(n, "axis %d is out of range for rank %d", a, r)
		}
		if a < 0 {
			a += r
		}
		return []tensor.Type{{DType: x.DType, Shape: tensor.Shape{x.Shape[:a].NumElements(), x.Shape[a:].NumElements()}}}, nil
	}, reshapeChannels)

	same("Squeeze", func(n *graph.Node) ([]tensor.Type, error) {
		if err := Want(n, 1, 2); err != nil {
			return nil, err
		}
		x := n.In[0].Type
		axes, err := vector(n, 1, "axes")
		if err != nil {
			return nil, err
		}
		ks, err := normAxes(n, axes, len(x.Shape))
		if err != nil {
			return nil, err
		}
		s := tensor.Shape{}
		for i, d := range x.Shape {
			drop := slices.Contains(ks, i)
			if drop && d != 1 {
				return nil, Errorf(n, "axis %d of %v is not 1", i, x.Shape)
			}
			if n.Input(1) == nil {
				drop = d == 1
			}
			if !drop {
				s = append(s, d)
			}
		}
		return []tensor.Type{{DType: x.DType, Shape: s}}, nil
	}, reshapeChannels)

	same("Unsqueeze", func(n *graph.Node) ([]tensor.Type, error) {
		if err := Want(n, 2, 2); err != nil {
			return nil, err
		}
		x := n.In[0].Type
		axes, err := vector(n, 1, "axes")
		if err != nil {
			return nil, err
		}
		rank := len(x.Shape) + len(axes)
		if rank > tensor.MaxRank {
			return nil, Unsupported(n, "rank %d", rank)
		}
		ks, err := normAxes(n, axes, rank)
		if err != nil {
			return nil, err
		}
		s, k := make(tensor.Shape, rank), 0
		for i := range s {
			if slices.Contains(ks, i) {
				s[i] = 1
			} else {
				s[i] = x.Shape[k]
				k++
			}
		}
		return []tensor.Type{{DType: x.DType, Shape: s}}, nil
	}, reshapeChannels)
}

func inferReshape(n *graph.Node) ([]tensor.Type, error) {
	if err := Want(n, 2, 2); err != nil {
		return nil, err
	}
	if d := n.In[1].Type.DType; d != tensor.Int64 {
		return nil, Unsupported(n, "shape is %v, want int64", d)
	}
	want, err := vector(n, 1, "shape")
	if err != nil {
		return nil, err
	}
	x := n.In[0].Type
	if len(want) > tensor.MaxRank {
		return nil, Unsupported(n, "rank %d", len(want))
	}
	allowZero := n.Int("allowzero", 0) != 0
	s, infer := make(tensor.Shape, len(want)), -1
	for i, d := range want {
		switch {
		case d == -1:
			if infer >= 0 {
				return nil, Errorf(n, "shape %v has two -1", want)
			}
			infer, d = i, 1
		case d == 0 && !allowZero:
			if i >= len(x.Shape) {
				return nil, Errorf(n, "shape %v copies dimension %d of %v", want, i, x.Shape)
			}
			d = int64(x.Shape[i])
		case d < 0:
			return nil, Errorf(n, "shape %v has a negative dimension", want)
		}
		s[i] = int(d)
	}
	if err := s.Check(); err != nil {
		return nil, Errorf(n, "%v", err)
	}
	if infer >= 0 {
		if allowZero && slices.Contains(want, 0) {
			return nil, Errorf(n, "shape %v has both 0 and -1 under allowzero", want)
		}
		if p := s.NumElements(); p == 0 {
			if x.Shape.NumElements() != 0 {
				return nil, Errorf(n, "%v does not reshape to %v", x.Shape, want)
			}
			// Any size fits; 0 is what other runtimes answer.
			s[infer] = 0
		} else {
			s[infer] = x.Shape.NumElements() / p
		}
	}
	if s.NumElements() != x.Shape.NumElements() {
		return nil, Errorf(n, "%v does not reshape to %v", x.Shape, want)
	}
	return []tensor.Type{{DType: x.DType, Shape: s}}, nil
}

func refCopy(_ *graph.Node, in, out []*tensor.Tensor) error {
	copy(out[0].Bytes(), in[0].Bytes()[:in[0].NumBytes()])
	return nil
}

// vjpReshape gives the gradient x's shape.
func vjpReshape(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
	ds := make([]*graph.Value, len(n.In))
	switch {
	case !wantsGrad(n.In[0]):
	case n.Op == "Identity":
		ds[0] = grads[0]
	default:
		ds[0] = g.Add("", "Reshape", map[string]any{"allowzero": int64(1)}, grads[0], shapeOf(g, n.In[0]))
	}
	return ds, nil
}

// reshapeChannels pairs the axes of input and output whose elements are laid out
// alike. Both shapes are cut into the shortest stretches of equal products. Where
// a stretch is one axis (beside axes of 1) on both sides, they are the same
// channels. Where it is several axes on one side only, as [c,h,w] to [c·h·w], a
// channel of each of them is a set of indices of the joined axis; the coupling
// leads from the side with more axes.
func reshapeChannels(n *graph.Node) []Coupling {
	in, out := n.In[0].Type.Shape, n.Out[0].Type.Shape
	if in.NumElements() == 0 {
		return []Coupling{}
	}
	cs := []Coupling{}
	i, o := 0, 0
	for i < len(in) || o < len(out) {
		// The next stretch: in[i:i2] and out[o:o2] with equal products.
		i2, o2, pi, po := i, o, 1, 1
		if i < len(in) && o < len(out) && in[i] == out[o] {
			i2, o2 = i+1, o+1
		}
		for i2 == i && o2 == o || pi != po {
			if pi <= po && i2 < len(in) {
				pi *= in[i2]
				i2++
			} else if o2 < len(out) {
				po *= out[o2]
				o2++
			} else {
				pi *= in[i2]
				i2++
			}
		}
		cs = append(cs, stretchChannels(in[i:i2], out[o:o2], i, o)...)
		i, o = i2, o2
	}
	return cs
}

// stretchChannels couples one stretch of reshapeChannels, whose first axes are i0 and o0.
func stretchChannels(in, out tensor.Shape, i0, o0 int) []Coupling {
	bigs := func(s tensor.Shape) (ks []int) {
		for k, d := range s {
			if d != 1 {
				ks = append(ks, k)
			}
		}
		return ks
	}
	bi, bo := bigs(in), bigs(out)
	port := func(isOut bool, axis int) Port { return Port{Out: isOut, Axis: axis} }
	switch {
	case len(bi) == 0 && len(bo) == 0:
		if len(in) > 0 && len(out) > 0 {
			return []Coupling{{From: port(false, i0), To: port(true, o0)}}
		}
		return nil
	case len(bi) == 1 && len(bo) == 1:
		return []Coupling{{From: port(false, i0+bi[0]), To: port(true, o0+bo[0])}}
	case len(bo) == 1: // axes joined: every one of them has its indices in the product
		cs := make([]Coupling, 0, len(bi))
		for _, k := range bi {
			inner, size, outer := in[k+1:].NumElements(), in[k], in[:k].NumElements()
			cs = append(cs, Coupling{From: port(false, i0+k), To: port(true, o0+bo[0]), Map: func(c int) []int {
				ix := make([]int, 0, inner*outer)
				for b := range outer {
					for j := range inner {
						ix = append(ix, (b*size+c)*inner+j)
					}
				}
				return ix
			}})
		}
		return cs
	case len(bi) == 1: // an axis parted: the output's axes are what joins again
		cs := make([]Coupling, 0, len(bo))
		for _, k := range bo {
			inner, size, outer := out[k+1:].NumElements(), out[k], out[:k].NumElements()
			cs = append(cs, Coupling{From: port(true, o0+k), To: port(false, i0+bi[0]), Map: func(c int) []int {
				ix := make([]int, 0, inner*outer)
				for b := range outer {
					for j := range inner {
						ix = append(ix, (b*size+c)*inner+j)
					}
				}
				return ix
			}})
		}
		return cs
	}
	return nil
}
