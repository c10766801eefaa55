package op

import (
	"sort"

	"whit/graph"
	"whit/tensor"
)

func init() {
	// TopK gives the K (input 1) largest elements along attribute axis (smallest with
	// largest 0) and their int64 indices, in order; equal elements by rising index.
	// Where sorted is 0 ONNX leaves the order open, and it is the same. NaN counts as
	// greater than every number.
	Register(Op{
		Name: "TopK",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 2); err != nil {
				return nil, err
			}
			if err := inputType(n, 0, Numbers); err != nil {
				return nil, err
			}
			x := n.In[0].Type
			a, err := normAxis(n, n.Int("axis", -1), len(x.Shape))
			if err != nil {
				return nil, err
			}
			k, err := vector(n, 1, "K")
			if err != nil {
				return nil, err
			}
			if len(k) != 1 || k[0] < 0 || k[0] > int64(x.Shape[a]) {
				return nil, Errorf(n, "K is %v of a dimension of %d", k, x.Shape[a])
			}
			s := x.Shape.Clone()
			s[a] = int(k[0])
			return []tensor.Type{{DType: x.DType, Shape: s}, {DType: tensor.Int64, Shape: s}}, nil
		},
		Ref: numbers{f32: topK[float32], f64: topK[float64],
			i8: topK[int8], i16: topK[int16], i32: topK[int32], i64: topK[int64],
			u8: topK[uint8], u16: topK[uint16], u32: topK[uint32], u64: topK[uint64]}.ref,
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			ds := make([]*graph.Value, 2)
			if x := n.In[0]; wantsGrad(x) && grads[0] != nil {
				if len(n.Out) < 2 || n.Out[1] == nil {
					return nil, Unsupported(n, "gradient without the indices")
				}
				zero := g.Add("", "Expand", nil, scalar(g, 0, x), shapeOf(g, x))
				ds[0] = g.Add("", "ScatterElements", map[string]any{"axis": n.Int("axis", -1), "reduction": "add"}, zero, n.Out[1], grads[0])
			}
			return ds, nil
		},
	})

	// NonZero lists the positions of the elements that are not zero, row-major: an
	// int64 matrix [rank, count].
	Register(dynamic(Op{
		Name: "NonZero",
		VJP: func(*graph.Graph, *graph.Node, []*graph.Value) ([]*graph.Value, error) {
			return make([]*graph.Value, 1), nil
		},
	}, func(n *graph.Node) error {
		return Want(n, 1, 1, AnyType...)
	}, func(_ *Control, _ *graph.Node, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
		at, st := nonZero(in[0]), in[0].Shape.Strides()
		y := make([]int64, len(st)*len(at))
		for k, s := range st {
			for j, i := range at {
				y[k*len(at)+j] = int64(i / s % in[0].Shape[k])
			}
		}
		return []*tensor.Tensor{tensor.From(y, len(st), len(at))}, nil
	}))
}

func topK[T Number](n *graph.Node, in, out []*tensor.Tensor) error {
	s := in[0].Shape
	a, err := normAxis(n, n.Int("axis", -1), len(s))
	if err != nil {
		return err
	}
	largest := n.Int("largest", 1) != 0
	k := 0
	for _, t := range out {
		if t != nil {
			k = t.Shape[a]
		}
	}
	x, inner := vals[T](in[0]), s[a+1:].NumElements()
	greater := func(a, b T) bool { return a > b || a != a && b == b }
	idx := make([]int, s[a])
	for o := range s[:a].NumElements() {
		for j := range inner {
			at := func(i int) T { return x[(o*s[a]+i)*inner+j] }
			for i := range idx {
				idx[i] = i
			}
			sort.SliceStable(idx, func(p, q int) bool {
				u, v := at(idx[p]), at(idx[q])
				if largest {
					return greater(u, v)
				}
				return greater(v, u)
			})
			for i, p := range idx[:k] {
				w := (o*k+i)*inner + j
				if out[0] != nil {
					vals[T](out[0])[w] = at(p)
				}
				if len(out) > 1 && out[1] != nil {
					vals[int64](out[1])[w] = int64(p)
				}
			}
		}
	}
	return nil
}

// nonZero lists the positions of elements that are not zero.
func nonZero(t *tensor.Tensor) []int {
	var at []int
	if t.DType.IsFloat() {
		for i, v := range wide(t) {
			if v != 0 {
				at = append(at, i)
			}
		}
		return at
	}
	for i, v := range ints64(t) {
		if v != 0 {
			at = append(at, i)
		}
	}
	return at
}
