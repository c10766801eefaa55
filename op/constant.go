package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

func init() {
	// Constant is the tensor of attribute value, or of value_int, value_ints,
	// value_float or value_floats.
	Register(Op{
		Name: "Constant",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if len(n.In) != 0 {
				return nil, Errorf(n, "%d inputs, want none", len(n.In))
			}
			t, err := constantOf(n)
			if err != nil {
				return nil, err
			}
			return []tensor.Type{t.Type}, nil
		},
		Ref: func(n *graph.Node, _, out []*tensor.Tensor) error {
			t, err := constantOf(n)
			if err != nil {
				return err
			}
			copy(out[0].Bytes(), t.Bytes()[:t.NumBytes()])
			return nil
		},
		VJP: func(*graph.Graph, *graph.Node, []*graph.Value) ([]*graph.Value, error) { return nil, nil },
	})

	// ConstantOfShape fills the shape of its input with attribute value, a tensor of
	// one element (default float32 0).
	Register(Op{
		Name: "ConstantOfShape",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, 1, tensor.Int64); err != nil {
				return nil, err
			}
			d := tensor.Float32
			if a, ok := n.Attrs["value"]; ok {
				t, ok := a.(*tensor.Tensor)
				if !ok || t.Len() != 1 {
					return nil, Errorf(n, "value is not a tensor of one element")
				}
				if d = t.DType; d.Packed() {
					return nil, Unsupported(n, "value of %v", d)
				}
			}
			s, err := shapeInput(n, 0)
			if err != nil {
				return nil, err
			}
			return []tensor.Type{{DType: d, Shape: s}}, nil
		},
		Ref: func(n *graph.Node, _, out []*tensor.Tensor) error {
			t, _ := n.Attrs["value"].(*tensor.Tensor)
			if t == nil {
				t = tensor.Scalar(float32(0))
			}
			y, w := out[0].Bytes()[:out[0].NumBytes()], t.NumBytes()
			if len(y) == 0 {
				return nil
			}
			for k := copy(y, t.Bytes()[:w]); k < len(y); k *= 2 {
				copy(y[k:], y[:k])
			}
			return nil
		},
	})

	// Shape is the input's dimensions from attribute start to end as int64.
	Register(Op{
		Name: "Shape",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, 1); err != nil {
				return nil, err
			}
			from, to := shapeRange(n)
			return []tensor.Type{{DType: tensor.Int64, Shape: tensor.Shape{to - from}}}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			from, to := shapeRange(n)
			y := vals[int64](out[0])
			for i, d := range in[0].Shape[from:to] {
				y[i] = int64(d)
			}
			return nil
		},
		VJP: func(*graph.Graph, *graph.Node, []*graph.Value) ([]*graph.Value, error) {
			return make([]*graph.Value, 1), nil
		},
		Cost: func(n *graph.Node) (int64, int64) { return 0, int64(n.Out[0].Type.NumBytes()) },
	})

	// Size is the input's number of elements as an int64 scalar.
	Register(Op{
		Name: "Size",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, 1); err != nil {
				return nil, err
			}
			return []tensor.Type{{DType: tensor.Int64, Shape: tensor.Shape{}}}, nil
		},
		Ref: func(_ *graph.Node, in, out []*tensor.Tensor) error {
			vals[int64](out[0])[0] = int64(in[0].Len())
			return nil
		},
		VJP: func(*graph.Graph, *graph.Node, []*graph.Value) ([]*graph.Value, error) {
			return make([]*graph.Value, 1), nil
		},
		Cost: func(*graph.Node) (int64, int64) { return 0, 8 },
	})
}

func constantOf(n *graph.Node) (*tensor.Tensor, error) {
	var t *tensor.Tensor
	found := 0
	for _, name := range []string{"value", "value_int", "value_ints", "value_float", "value_floats", "value_string", "value_strings", "sparse_value"} {
		a, ok := n.Attrs[name]
		if !ok {
			continue
		}
		found++
		switch v := a.(type) {
		case *tensor.Tensor:
			t = v
		case int64:
			t = tensor.Scalar(v)
		case []int64:
			t = tensor.Ints(v...)
		case float32:
			t = tensor.Scalar(v)
		case []float32:
			t = tensor.From(append([]float32{}, v...), len(v))
		}
		if t == nil || name == "sparse_value" {
			return nil, Unsupported(n, "attribute %s", name)
		}
	}
	if found != 1 {
		return nil, Errorf(n, "%d values given, want one", found)
	}
	return t, nil
}

// shapeInput is the shape that the data of int64 input i give.
func shapeInput(n *graph.Node, i int) (tensor.Shape, error) {
	dims, err := vector(n, i, "shape")
	if err != nil {
		return nil, err
	}
	if len(dims) > tensor.MaxRank {
		return nil, Unsupported(n, "rank %d", len(dims))
	}
	s := make(tensor.Shape, len(dims))
	for k, d := range dims {
		if d < 0 || d > math.MaxInt {
			return nil, Errorf(n, "shape %v has a negative dimension", dims)
		}
		s[k] = int(d)
	}
	if err := s.Check(); err != nil {
		return nil, Errorf(n, "%v", err)
	}
	return s, nil
}

// shapeRange is Shape's range of axes, clamped as ONNX says.
func shapeRange(n *graph.Node) (from, to int) {
	r := int64(len(n.In[0].Type.Shape))
	clamp := func(a int64) int64 {
		if a < 0 {
			a += r
		}
		return min(max(a, 0), r)
	}
	a, b := clamp(n.Int("start", 0)), clamp(n.Int("end", r))
	return int(a), int(max(a, b))
}
