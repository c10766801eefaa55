package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// OneHot puts a new axis of depth (input 1) elements into indices: values[1] where
// its position is the index (negative ones count from the end), else values[0].
func init() {
	Register(Op{
		Name: "OneHot",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 3, 3); err != nil {
				return nil, err
			}
			if err := inputType(n, 0, Numbers); err != nil {
				return nil, err
			}
			if err := inputType(n, 1, Numbers); err != nil {
				return nil, err
			}
			if err := inputType(n, 2, wholeTypes); err != nil {
				return nil, err
			}
			x, v := n.In[0].Type.Shape, n.In[2].Type
			if !v.Shape.Equal(tensor.Shape{2}) || n.In[1].Type.Shape.NumElements() != 1 {
				return nil, Errorf(n, "depth %v and values %v, want one and two elements", n.In[1].Type.Shape, v.Shape)
			}
			a, err := normAxis(n, n.Int("axis", -1), len(x)+1)
			if err != nil {
				return nil, err
			}
			t, err := Value(n, 1)
			if err != nil {
				return nil, err
			}
			d := numbersOf(t)[0]
			if !(d >= 1 && d <= math.MaxInt32) {
				return nil, Errorf(n, "depth %v", d)
			}
			s := append(append(x[:a].Clone(), int(d)), x[a:]...)
			return []tensor.Type{{DType: v.DType, Shape: s}}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			a, err := normAxis(n, n.Int("axis", -1), len(in[0].Shape)+1)
			if err != nil {
				return err
			}
			depth, inner := out[0].Shape[a], in[0].Shape[a:].NumElements()
			w := out[0].DType.Bits() / 8
			y, v := out[0].Bytes(), in[2].Bytes()
			for i := range out[0].Len() {
				copy(y[i*w:(i+1)*w], v[:w])
			}
			for i, k := range numbersOf(in[0]) {
				if k < 0 {
					k += float64(depth)
				}
				if !(k >= 0 && k < float64(depth)) || k != math.Trunc(k) {
					continue
				}
				at := (i/inner*depth+int(k))*inner + i%inner
				copy(y[at*w:(at+1)*w], v[w:2*w])
			}
			return nil
		},
	})
	// Compress keeps the slices along attribute axis (of the flattened input without
	// it) whose condition (input 1, bools, perhaps fewer) holds. The shape of the
	// result depends on the condition.
	Register(dynamic(Op{Name: "Compress"}, func(n *graph.Node) error {
		if err := Want(n, 2, 2); err != nil {
			return err
		}
		if err := inputType(n, 0, wholeTypes); err != nil {
			return err
		}
		x, c := n.In[0].Type, n.In[1].Type
		if c.DType != tensor.Bool || len(c.Shape) != 1 {
			return Errorf(n, "the condition is %v, want a vector of bools", c)
		}
		s, a, err := compressed(n, x.Shape)
		if err != nil {
			return err
		}
		if c.Shape[0] > s[a] {
			return Errorf(n, "%d conditions for %d slices", c.Shape[0], s[a])
		}
		return nil
	}, func(_ *Control, n *graph.Node, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
		s, a, err := compressed(n, in[0].Shape)
		if err != nil {
			return nil, err
		}
		keep, run := nonZero(in[1]), s[a+1:].NumElements()*in[0].DType.Bits()/8
		to := s.Clone()
		to[a] = len(keep)
		y := tensor.New(in[0].DType, to...)
		src, dst := in[0].Bytes(), y.Bytes()
		for p := range s[:a].NumElements() {
			for _, k := range keep {
				copy(dst[:run], src[(p*s[a]+k)*run:])
				dst = dst[run:]
			}
		}
		return []*tensor.Tensor{y}, nil
	}))
}

// compressed is the shape that Compress works on and the axis in it.
func compressed(n *graph.Node, x tensor.Shape) (tensor.Shape, int, error) {
	if n.Attrs["axis"] == nil {
		return tensor.Shape{x.NumElements()}, 0, nil
	}
	a, err := normAxis(n, n.Int("axis", 0), len(x))
	return x, a, err
}
