package op

import (
	"slices"

	"whit/graph"
	"whit/tensor"
)

// LowerEinsum says a bound Einsum of one or two float inputs, whose terms repeat no
// letter and stretch no axis, by nodes that have kernels: ReduceSum, Transpose, Reshape
// and MatMul. The last one makes n's output. nil: n stays.
func LowerEinsum(g *graph.Graph, n *graph.Node) []*graph.Node {
	if n.Domain != "" || n.Op != "Einsum" || len(n.In) > 2 || len(n.Out) != 1 || n.Out[0] == nil {
		return nil
	}
	if _, err := Infer(n); err != nil || !n.In[0].Type.DType.IsFloat() {
		return nil // the type rule speaks for itself
	}
	e, err := newEinsum(n)
	if err != nil {
		return nil
	}
	named := map[int]bool{}
	for i, axes := range e.in {
		for k, l := range axes {
			if slices.Contains(axes[:k], l) || e.dims[i][k] != e.size[l] || e.size[l] == 0 {
				return nil
			}
			named[l] = true
		}
	}
	for _, l := range e.out {
		if !named[l] {
			return nil
		}
	}
	w := &einsumLowering{e: e, g: g}
	if len(e.in) == 1 {
		v, axes := w.sumBut(n.In[0], e.in[0], e.out)
		w.end(n, w.ordered(v, axes, e.out))
		return w.nodes
	}
	all := append(slices.Clone(e.out), e.in[1]...)
	a, left := w.sumBut(n.In[0], e.in[0], all)
	b, right := w.sumBut(n.In[1], e.in[1], append(slices.Clone(e.out), left...))
	// The axes by where they come: batch in all, rows left, cols right, sums in both inputs.
	var batch, rows, cols, sums []int
	for _, l := range e.out {
		switch inLeft, inRight := slices.Contains(left, l), slices.Contains(right, l); {
		case inLeft && inRight:
			batch = append(batch, l)
		case inLeft:
			rows = append(rows, l)
		default:
			cols = append(cols, l)
		}
	}
	for _, l := range left {
		if !slices.Contains(e.out, l) {
			sums = append(sums, l)
		}
	}
	a = w.shaped(w.ordered(a, left, slices.Concat(batch, rows, sums)), batch, rows, sums)
	b = w.shaped(w.ordered(b, right, slices.Concat(batch, sums, cols)), batch, sums, cols)
	y := w.add("MatMul", nil, a, b)
	axes := slices.Concat(batch, rows, cols)
	y = w.reshape(y, w.shape(axes))
	w.end(n, w.ordered(y, axes, e.out))
	return w.nodes
}

type einsumLowering struct {
	e     *einsum
	g     *graph.Graph
	nodes []*graph.Node
}

func (w *einsumLowering) add(op string, attrs map[string]any, in ...*graph.Value) *graph.Value {
	n := w.g.NewNode("", op, attrs, 1, in...)
	w.nodes = append(w.nodes, n)
	return n.Out[0]
}

// sumBut sums over the axes of v that keep does not name.
func (w *einsumLowering) sumBut(v *graph.Value, axes, keep []int) (*graph.Value, []int) {
	var over []int64
	var left []int
	for k, l := range axes {
		if slices.Contains(keep, l) {
			left = append(left, l)
		} else {
			over = append(over, int64(k))
		}
	}
	if over == nil {
		return v, axes
	}
	return w.add("ReduceSum", map[string]any{"keepdims": int64(0)}, v, w.g.NewConst("", tensor.Ints(over...))), left
}

// ordered is v of axes with them in another order.
func (w *einsumLowering) ordered(v *graph.Value, axes, order []int) *graph.Value {
	if slices.Equal(axes, order) {
		return v
	}
	perm := make([]int64, len(order))
	for i, l := range order {
		perm[i] = int64(slices.Index(axes, l))
	}
	return w.add("Transpose", map[string]any{"perm": perm}, v)
}

func (w *einsumLowering) shape(axes []int) tensor.Shape {
	s := make(tensor.Shape, len(axes))
	for i, l := range axes {
		s[i] = w.e.size[l]
	}
	return s
}

// shaped joins the axes of each group, but leaves an empty batch out.
func (w *einsumLowering) shaped(v *graph.Value, batch, first, second []int) *graph.Value {
	s := tensor.Shape{w.shape(first).NumElements(), w.shape(second).NumElements()}
	if len(batch) > 0 {
		s = append(tensor.Shape{w.shape(batch).NumElements()}, s...)
	}
	return w.reshape(v, s)
}

func (w *einsumLowering) reshape(v *graph.Value, s tensor.Shape) *graph.Value {
	d := make([]int64, len(s))
	for i, x := range s {
		d[i] = int64(x)
	}
	return w.add("Reshape", nil, v, w.g.NewConst("", tensor.Ints(d...)))
}

// end makes v n's output.
func (w *einsumLowering) end(n *graph.Node, v *graph.Value) {
	if v.Producer == nil || !slices.Contains(w.nodes, v.Producer) {
		v = w.add("Identity", nil, v)
	}
	v.Producer.Out[0], n.Out[0].Producer = n.Out[0], v.Producer
}
