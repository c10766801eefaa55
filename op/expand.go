package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

func init() {
	// Expand broadcasts x with the shape of input 1 (both may stretch the other).
	Register(Op{
		Name: "Expand",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 2); err != nil {
				return nil, err
			}
			if err := inputType(n, 0, wholeTypes); err != nil {
				return nil, err
			}
			to, err := shapeInput(n, 1)
			if err != nil {
				return nil, err
			}
			s, err := broadcastShapes(n, n.In[0].Type.Shape, to)
			if err != nil {
				return nil, err
			}
			return []tensor.Type{{DType: n.In[0].Type.DType, Shape: s}}, nil
		},
		Ref: moves(expand[uint8], expand[uint16], expand[uint32], expand[uint64]),
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			ds := make([]*graph.Value, 2)
			if wantsGrad(n.In[0]) {
				ds[0] = sumTo(g, grads[0], n.In[0], n.Out[0])
			}
			return ds, nil
		},
		Channels: func(n *graph.Node) []Coupling {
			return alignedChannels(0, n.In[0].Type.Shape, n.Out[0].Type.Shape)
		},
	})

	// Tile repeats x along axis i repeats[i] times.
	Register(Op{
		Name: "Tile",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 2); err != nil {
				return nil, err
			}
			if err := inputType(n, 0, wholeTypes); err != nil {
				return nil, err
			}
			reps, err := vector(n, 1, "repeats")
			if err != nil {
				return nil, err
			}
			s := n.In[0].Type.Shape.Clone()
			if len(reps) != len(s) {
				return nil, Errorf(n, "repeats %v for shape %v", reps, s)
			}
			for i, r := range reps {
				if r < 0 || s[i] > 0 && r > int64(math.MaxInt64/8/s[i]) {
					return nil, Errorf(n, "repeats %v for shape %v", reps, s)
				}
				s[i] *= int(r)
			}
			return []tensor.Type{{DType: n.In[0].Type.DType, Shape: s}}, nil
		},
		Ref: moves(tile[uint8], tile[uint16], tile[uint32], tile[uint64]),
		// dy is summed over the copies: seen as [r0,d0,r1,d1,...], over the axes r.
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			ds := make([]*graph.Value, 2)
			x := n.In[0]
			if !wantsGrad(x) {
				return ds, nil
			}
			if !x.Bound() && !x.Decl.Ranked {
				return nil, Unsupported(n, "gradient where the rank is not known")
			}
			rank := rankOf(x)
			if rank == 0 {
				ds[0] = grads[0]
				return ds, nil
			}
			if 2*rank > tensor.MaxRank {
				return nil, Unsupported(n, "gradient of rank %d", rank)
			}
			var axes []int64
			var perm []int64
			for i := range rank {
				axes = append(axes, int64(2*i))
				perm = append(perm, int64(i), int64(rank+i))
			}
			both := g.Add("", "Concat", map[string]any{"axis": int64(0)}, n.In[1], shapeOf(g, x))
			shape := g.Add("", "Gather", nil, both, g.NewConst("", tensor.Ints(perm...)))
			d := g.Add("", "Reshape", map[string]any{"allowzero": int64(1)}, grads[0], shape)
			ds[0] = g.Add("", "ReduceSum", map[string]any{"keepdims": int64(0)}, d, g.NewConst("", tensor.Ints(axes...)))
			return ds, nil
		},
	})
}

func expand[T word](_ *graph.Node, in, out []*tensor.Tensor) error {
	s := out[0].Shape
	stridedCopy(words[T](out[0]), s, words[T](in[0]), 0, broadcastStrides(in[0].Shape, s))
	return nil
}

func tile[T word](_ *graph.Node, in, out []*tensor.Tensor) error {
	// y has the elements of [r0,d0,r1,d1,...]; along the r axes x stands still.
	x, y := in[0].Shape, out[0].Shape
	if y.NumElements() == 0 {
		return nil
	}
	var s tensor.Shape
	var st []int
	for i, k := range x.Strides() {
		s, st = append(s, y[i]/x[i], x[i]), append(st, 0, k)
	}
	stridedCopy(words[T](out[0]), s, words[T](in[0]), 0, st)
	return nil
}
