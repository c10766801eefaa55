package op

import (
	"whit/graph"
	"whit/tensor"
)

// TensorScatter writes update into past_cache [N,...] along attribute axis from the
// place that write_indices (input 2, [N], zeros without it) names for each batch
// element; with mode "circular" what would go over the end goes on at the beginning.
func init() {
	Register(Op{
		Name: "TensorScatter",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 3); err != nil {
				return nil, err
			}
			if err := inputType(n, 0, wholeTypes); err != nil {
				return nil, err
			}
			if err := oneType(n, 0, 1); err != nil {
				return nil, err
			}
			x, u := n.In[0].Type, n.In[1].Type.Shape
			a, err := normAxis(n, n.Int("axis", -2), len(x.Shape))
			if err != nil {
				return nil, err
			}
			if a == 0 || len(u) != len(x.Shape) || u[a] > x.Shape[a] {
				return nil, Errorf(n, "update %v along axis %d of %v", u, a, x.Shape)
			}
			for k, d := range u {
				if k != a && d != x.Shape[k] {
					return nil, Errorf(n, "update %v along axis %d of %v", u, a, x.Shape)
				}
			}
			switch m := n.Str("mode", "linear"); m {
			case "linear", "circular":
			default:
				return nil, Errorf(n, "mode %q, want linear or circular", m)
			}
			if w := n.Input(2); w != nil && (w.Type.DType != tensor.Int64 || !w.Type.Shape.Equal(x.Shape[:1])) {
				return nil, Errorf(n, "write_indices are %v, want int64[%d]", w.Type, x.Shape[0])
			}
			return []tensor.Type{x}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			x, u, y := in[0], in[1], out[0]
			copy(y.Bytes(), x.Bytes()[:x.NumBytes()])
			if u.Len() == 0 {
				return nil
			}
			a, err := normAxis(n, n.Int("axis", -2), len(x.Shape))
			if err != nil {
				return err
			}
			size, count := int64(x.Shape[a]), u.Shape[a]
			start := make([]int64, x.Shape[0])
			if len(in) > 2 && in[2] != nil {
				start = ints64(in[2])
			}
			circular := n.Str("mode", "linear") == "circular"
			w := x.Shape[a+1:].NumElements() * x.DType.Bits() / 8
			rows := x.Shape[:a].NumElements()
			for r := range rows {
				at := start[r/(rows/x.Shape[0])]
				if !circular && (at < 0 || at > size-int64(count)) {
					return Errorf(n, "%d slices at %d of %d", count, at, size)
				}
				at = (at%size + size) % size
				for i := range count {
					to := (at + int64(i)) % size
					copy(y.Bytes()[(r*int(size)+int(to))*w:][:w], u.Bytes()[(r*count+i)*w:][:w])
				}
			}
			return nil
		},
	})
}
