package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

func init() {
	// Range counts from start to limit (exclusive) by delta, all scalars: element i is
	// start + i·delta, small floats through float32.
	Register(Op{
		Name: "Range",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			allowed := append([]tensor.DType{tensor.Int16, tensor.Int32, tensor.Int64}, Floats...)
			if err := Want(n, 3, 3, allowed...); err != nil {
				return nil, err
			}
			if err := oneType(n, 0, 1, 2); err != nil {
				return nil, err
			}
			var v [3]*tensor.Tensor
			for i := range v {
				if s := n.In[i].Type.Shape; s.NumElements() != 1 {
					return nil, Errorf(n, "input %d has shape %v, want a scalar", i, s)
				}
				t, err := Value(n, i)
				if err != nil {
					return nil, err
				}
				v[i] = t
			}
			count, ok := rangeLen(v)
			if !ok {
				return nil, Errorf(n, "delta is 0, or the range is not finite")
			}
			return []tensor.Type{{DType: n.In[0].Type.DType, Shape: tensor.Shape{count}}}, nil
		},
		Ref: numbers{f32: ranged[float32], f64: ranged[float64], i16: ranged[int16], i32: ranged[int32], i64: ranged[int64]}.ref,
		VJP: func(*graph.Graph, *graph.Node, []*graph.Value) ([]*graph.Value, error) {
			return make([]*graph.Value, 3), nil
		},
	})

	// EyeLike has ones on diagonal k of a matrix of its input's shape; attribute dtype
	// is the element type, the input's without it.
	Register(Op{
		Name: "EyeLike",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, 1, AnyType...); err != nil {
				return nil, err
			}
			x := n.In[0].Type
			if len(x.Shape) != 2 {
				return nil, Errorf(n, "input has shape %v, want a matrix", x.Shape)
			}
			d := x.DType
			if _, ok := n.Attrs["dtype"]; ok {
				d = tensor.FromONNX(n.Int("dtype", 0))
			}
			if d < tensor.Bool || d > tensor.Float64 {
				return nil, Unsupported(n, "dtype %d", n.Int("dtype", 0))
			}
			return []tensor.Type{{DType: d, Shape: x.Shape}}, nil
		},
		Ref: func(n *graph.Node, _, out []*tensor.Tensor) error {
			y := out[0]
			rows, cols, k := int64(y.Shape[0]), int64(y.Shape[1]), n.Int("k", 0)
			ones := make([]uint8, y.Len())
			for r := range rows {
				if k >= -rows && k <= cols && r+k >= 0 && r+k < cols {
					ones[r*cols+r+k] = 1
				}
			}
			castTo(y, tensor.From(ones, y.Shape...), castOptions{})
			return nil
		},
		VJP: func(*graph.Graph, *graph.Node, []*graph.Value) ([]*graph.Value, error) {
			return make([]*graph.Value, 1), nil
		},
	})

	// Trilu keeps the upper (attribute upper 1) or lower triangle of the last two axes
	// from diagonal k (input 1, default 0) and zeroes the rest.
	Register(Op{
		Name: "Trilu",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, 2); err != nil {
				return nil, err
			}
			if err := inputType(n, 0, wholeTypes); err != nil {
				return nil, err
			}
			if len(n.In[0].Type.Shape) < 2 {
				return nil, Errorf(n, "input has shape %v, want a matrix", n.In[0].Type.Shape)
			}
			if k := n.Input(1); k != nil && (k.Type.DType != tensor.Int64 || k.Type.Shape.NumElements() != 1) {
				return nil, Errorf(n, "k is %v, want an int64 scalar", k.Type)
			}
			return []tensor.Type{n.In[0].Type}, nil
		},
		Ref: moves(trilu[uint8], trilu[uint16], trilu[uint32], trilu[uint64]),
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			ds := make([]*graph.Value, len(n.In))
			if wantsGrad(n.In[0]) {
				ds[0] = g.Add("", "Trilu", n.Attrs, append([]*graph.Value{grads[0]}, n.In[1:]...)...)
			}
			return ds, nil
		},
	})
}

// rangeLen is the number of elements of a Range.
func rangeLen(v [3]*tensor.Tensor) (int, bool) {
	const most = math.MaxInt32
	if v[0].DType.IsInt() {
		s, l, d := ints64(v[0])[0], ints64(v[1])[0], ints64(v[2])[0]
		if d == 0 {
			return 0, false
		}
		if d > 0 && l <= s || d < 0 && l >= s {
			return 0, true
		}
		gap, by := uint64(l)-uint64(s), uint64(d)
		if d < 0 {
			gap, by = -gap, -by
		}
		c := (gap-1)/by + 1
		return int(min(c, most)), c <= most
	}
	// Small floats are widened, and float32 stays: its own rounding decides.
	s, l, d := wide(v[0])[0], wide(v[1])[0], wide(v[2])[0]
	c := math.Ceil((l - s) / d)
	if v[0].DType != tensor.Float64 {
		c = math.Ceil(float64(float32(float32(l)-float32(s)) / float32(d)))
	}
	if d == 0 || c != c || c > most {
		return 0, false
	}
	return int(max(c, 0)), true
}

func ranged[T Number](_ *graph.Node, in, out []*tensor.Tensor) error {
	s, d, y := vals[T](in[0])[0], vals[T](in[2])[0], vals[T](out[0])
	for i := range y {
		y[i] = s + T(T(i)*d)
	}
	return nil
}

func trilu[T word](n *graph.Node, in, out []*tensor.Tensor) error {
	k := int64(0)
	if len(in) > 1 && in[1] != nil {
		k = vals[int64](in[1])[0]
	}
	s, upper := in[0].Shape, n.Int("upper", 1) != 0
	rows, cols := s[len(s)-2], s[len(s)-1]
	k = min(max(k, -int64(rows)-1), int64(cols)+1)
	x, y := words[T](in[0]), words[T](out[0])
	for i, v := range x {
		r, c := int64(i/cols%rows), int64(i%cols)
		if upper && c-r >= k || !upper && c-r <= k {
			y[i] = v
		} else {
			y[i] = 0
		}
	}
	return nil
}
