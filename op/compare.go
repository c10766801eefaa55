package op

import (
	"cmp"

	"whit/graph"
	"whit/tensor"
)

// Comparisons and logic, elementwise with broadcasting, to bool. NaN compares false.
func init() {
	noGrad := func(_ *graph.Graph, n *graph.Node, _ []*graph.Value) ([]*graph.Value, error) {
		return make([]*graph.Value, len(n.In)), nil
	}
	reg := func(name string, allowed []tensor.DType, p predicate) {
		Register(Op{Name: name, Infer: inferBroadcast(2, 2, allowed, tensor.Bool), Ref: p.ref, VJP: noGrad, Channels: broadcastChannels})
	}
	reg("Equal", AnyType, predicate{eq[float64], eq[int64], eq[uint64], eq[bool]})
	reg("Less", Numbers, predicate{lt[float64], lt[int64], lt[uint64], nil})
	reg("LessOrEqual", Numbers, predicate{le[float64], le[int64], le[uint64], nil})
	reg("Greater", Numbers, predicate{gt[float64], gt[int64], gt[uint64], nil})
	reg("GreaterOrEqual", Numbers, predicate{ge[float64], ge[int64], ge[uint64], nil})

	bools := []tensor.DType{tensor.Bool}
	reg("And", bools, predicate{b: func(a, b bool) bool { return a && b }})
	reg("Or", bools, predicate{b: func(a, b bool) bool { return a || b }})
	reg("Xor", bools, predicate{b: func(a, b bool) bool { return a != b }})
	Register(Op{Name: "Not", Infer: sameAsOne(bools), Ref: mapped(func(x bool) bool { return !x }), VJP: noGrad, Channels: passChannels})

	// Where is x where the condition holds, else y, all three broadcast.
	Register(Op{
		Name: "Where",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 3, 3); err != nil {
				return nil, err
			}
			if err := inputType(n, 0, bools); err != nil {
				return nil, err
			}
			if err := inputType(n, 1, wholeTypes); err != nil {
				return nil, err
			}
			if err := oneType(n, 1, 2); err != nil {
				return nil, err
			}
			s, err := broadcastShapes(n, n.In[0].Type.Shape, n.In[1].Type.Shape, n.In[2].Type.Shape)
			if err != nil {
				return nil, err
			}
			return []tensor.Type{{DType: n.In[1].Type.DType, Shape: s}}, nil
		},
		Ref: moves(where[uint8], where[uint16], where[uint32], where[uint64]),
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			ds, zero := make([]*graph.Value, 3), scalar(g, 0, grads[0])
			if wantsGrad(n.In[1]) {
				ds[1] = sumTo(g, g.Add("", "Where", nil, n.In[0], grads[0], zero), n.In[1], n.Out[0])
			}
			if wantsGrad(n.In[2]) {
				ds[2] = sumTo(g, g.Add("", "Where", nil, n.In[0], zero, grads[0]), n.In[2], n.Out[0])
			}
			return ds, nil
		},
		Channels: broadcastChannels,
	})
}

func eq[T comparable](a, b T) bool  { return a == b }
func lt[T cmp.Ordered](a, b T) bool { return a < b }
func le[T cmp.Ordered](a, b T) bool { return a <= b }
func gt[T cmp.Ordered](a, b T) bool { return a > b }
func ge[T cmp.Ordered](a, b T) bool { return a >= b }

func where[T word](_ *graph.Node, in, out []*tensor.Tensor) error {
	c, x, y, z := vals[bool](in[0]), words[T](in[1]), words[T](in[2]), words[T](out[0])
	s := out[0].Shape
	st := [][]int{broadcastStrides(in[0].Shape, s), broadcastStrides(in[1].Shape, s), broadcastStrides(in[2].Shape, s)}
	walk(s, st, func(pos int, off []int, n int, step []int) {
		a, b, d := off[0], off[1], off[2]
		for k := pos; k < pos+n; k++ {
			if c[a] {
				z[k] = x[b]
			} else {
				z[k] = y[d]
			}
			a, b, d = a+step[0], b+step[1], d+step[2]
		}
	})
	return nil
}

// sameAsOne is sameAsInput for exactly one input.
func sameAsOne(allowed []tensor.DType) func(*graph.Node) ([]tensor.Type, error) {
	return func(n *graph.Node) ([]tensor.Type, error) {
		if err := Want(n, 1, 1, allowed...); err != nil {
			return nil, err
		}
		return []tensor.Type{n.In[0].Type}, nil
	}
}
