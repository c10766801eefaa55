package pass

import (
	"slices"

	"whit/graph"
	"whit/tensor"
)

// maxCurve is how many nodes a function of one value may have.
const maxCurve = 16

// curve collects the nodes that read v, or each other, and compute one function of v, element
// by element, with constants of one element: Sigmoid and the Mul of it and v, for example. It
// returns the numbers of nodes, ascending, after which only the last node's output is read by
// others; whole: and v is not. at numbers the nodes of the graph.
func curve(uses map[*graph.Value][]graph.Use, at map[*graph.Node]int, v *graph.Value, whole bool) (nodes []*graph.Node, ends []int) {
	if !v.Bound() || v.Type.DType != tensor.Float32 || len(v.Type.Shape) == 0 {
		return nil, nil
	}
	known := []*graph.Value{v}
	for len(nodes) < maxCurve {
		var next *graph.Node
		for _, k := range known {
			for _, u := range uses[k] {
				if n := u.Node; n != nil && !slices.Contains(nodes, n) && (next == nil || at[n] < at[next]) && pointwise(at, n, v, known) {
					next = n
				}
			}
		}
		if next == nil {
			break
		}
		nodes, known = append(nodes, next), append(known, next.Out[0])
		inside := func(k *graph.Value) bool {
			return !slices.ContainsFunc(uses[k], func(u graph.Use) bool { return u.Node == nil || !slices.Contains(nodes, u.Node) })
		}
		between := known[1 : len(known)-1]
		if whole {
			between = known[:len(known)-1]
		}
		if !slices.ContainsFunc(between, func(k *graph.Value) bool { return !inside(k) }) {
			ends = append(ends, len(nodes))
		}
	}
	return nodes, ends
}

// inCurves reports the operators that functions of one value are made of.
func inCurves(n *graph.Node) bool {
	if n.Domain != "" {
		return false
	}
	switch n.Op {
	case "Add", "Sub", "Mul", "Div", "Pow", "Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Erf", "Exp", "Neg",
		"Gelu", "Swish", "Mish":
		return true
	}
	return false
}

// pointwise reports whether n computes each element from those of known values, of v's type,
// and constants of one element. Which functions it may be is the kernels' matter.
func pointwise(at map[*graph.Node]int, n *graph.Node, v *graph.Value, known []*graph.Value) bool {
	if _, there := at[n]; !there || len(n.Out) != 1 || n.Out[0] == nil || !n.Out[0].Type.Equal(v.Type) || len(n.Bodies()) > 0 {
		return false
	}
	if !inCurves(n) {
		return false
	}
	for _, x := range n.In {
		if x != nil && !slices.Contains(known, x) && (!x.IsConst() || x.Type.DType != tensor.Float32 || x.Type.Shape.NumElements() != 1) {
			return false
		}
	}
	return true
}

// order numbers the nodes of g.
func order(g *graph.Graph) map[*graph.Node]int {
	at := make(map[*graph.Node]int, len(g.Nodes))
	for i, n := range g.Nodes {
		at[n] = i
	}
	return at
}

// fuseCurve joins the nodes first, the last of which makes v, and the longest function of v
// that is accepted.
func fuseCurve(g *graph.Graph, accept func(*graph.Node) bool, uses map[*graph.Value][]graph.Use, v *graph.Value, first ...*graph.Node) bool {
	nodes, ends := curve(uses, order(g), v, true)
	for _, k := range slices.Backward(ends) {
		if fuseChain(g, accept, append(slices.Clone(first), nodes[:k]...)...) {
			return true
		}
	}
	return false
}

// fuseCurves joins the functions of two nodes and more that are left.
func fuseCurves(g *graph.Graph, accept func(*graph.Node) bool) {
	if !slices.ContainsFunc(g.Nodes, inCurves) {
		return
	}
	uses, at := g.Uses(), order(g)
	for _, v := range g.Values() {
		nodes, ends := curve(uses, at, v, false)
		for _, k := range slices.Backward(ends) {
			if k > 1 && fuseChain(g, accept, nodes[:k]...) {
				uses, at = g.Uses(), order(g)
				break
			}
		}
	}
}
