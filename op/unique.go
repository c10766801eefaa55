package op

import (
	"slices"

	"whit/graph"
	"whit/tensor"
)

// Unique gives the different elements of x, or with attribute axis its different
// slices along that axis, rising (slices by their elements, row-major), or with
// sorted 0 as they come first; then the place where each comes first, for every
// element or slice of x which one it is, and how often each comes. NaNs are not
// equal to each other and sort last.
func init() {
	Register(dynamic(Op{
		Name: "Unique",
		VJP: func(*graph.Graph, *graph.Node, []*graph.Value) ([]*graph.Value, error) {
			return make([]*graph.Value, 1), nil
		},
	}, func(n *graph.Node) error {
		if err := Want(n, 1, 1, AnyType...); err != nil {
			return err
		}
		if n.Attrs["axis"] != nil {
			_, err := normAxis(n, n.Int("axis", 0), len(n.In[0].Type.Shape))
			return err
		}
		return nil
	}, func(_ *Control, n *graph.Node, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
		if in[0].DType.IsFloat() {
			return unique(n, in[0], wide(in[0]))
		}
		x := ints64(in[0])
		if in[0].DType == tensor.Uint64 {
			u := make([]uint64, len(x))
			for i, v := range x {
				u[i] = uint64(v)
			}
			return unique(n, in[0], u)
		}
		return unique(n, in[0], x)
	}))
}

// unique works on v, x's elements.
func unique[T int64 | uint64 | float64](n *graph.Node, x *tensor.Tensor, v []T) ([]*tensor.Tensor, error) {
	shape, axis := tensor.Shape{len(v)}, 0
	if n.Attrs["axis"] != nil {
		a, err := normAxis(n, n.Int("axis", 0), len(x.Shape))
		if err != nil {
			return nil, err
		}
		shape, axis = x.Shape, a
	}
	count, outer, inner := shape[axis], shape[:axis].NumElements(), shape[axis+1:].NumElements()
	compare := func(a, b int) int {
		for o := range outer {
			p, q := (o*count+a)*inner, (o*count+b)*inner
			for k := range inner {
				switch u, w := v[p+k], v[q+k]; {
				case u < w || u == u && w != w:
					return -1
				case u > w || u != u && w == w:
					return 1
				case u != u: // two NaNs differ
					return a - b
				}
			}
		}
		return 0
	}
	order := make([]int, count)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, compare)
	var first []int // the first slice of each kind, kinds rising
	kind, counts := make([]int64, count), []int64{}
	for i, k := range order {
		if i == 0 || compare(order[i-1], k) != 0 {
			first, counts = append(first, k), append(counts, 0)
		}
		kind[k] = int64(len(first) - 1)
		counts[len(first)-1]++
	}
	if n.Int("sorted", 1) == 0 {
		by := make([]int, len(first))
		for i := range by {
			by[i] = i
		}
		slices.SortFunc(by, func(a, b int) int { return first[a] - first[b] })
		f, c, to := make([]int, len(first)), make([]int64, len(first)), make([]int64, len(first))
		for i, k := range by {
			f[i], c[i], to[k] = first[k], counts[k], int64(i)
		}
		first, counts = f, c
		for i, k := range kind {
			kind[i] = to[k]
		}
	}
	s := shape.Clone()
	s[axis] = len(first)
	y, at := tensor.New(x.DType, s...), make([]int64, len(first))
	w := inner * x.DType.Bits() / 8
	for i, k := range first {
		at[i] = int64(k)
		for o := range outer {
			copy(y.Bytes()[(o*len(first)+i)*w:][:w], x.Bytes()[(o*count+k)*w:][:w])
		}
	}
	return []*tensor.Tensor{y, tensor.From(at, len(at)), tensor.From(kind, len(kind)), tensor.From(counts, len(counts))}, nil
}
