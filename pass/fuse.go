package pass

import (
	"slices"

	"whit/graph"
	"whit/op"
)

// Fuse joins nodes that one kernel can do in one pass into a whit.Fused node whose
// body holds them, if accept says so of the fused node: a Conv with the depthwise Conv
// after it and their activations, a Conv with the Add after it (a residual) and the
// activation after that, a Conv or Gemm with an activation, functions of one value (of one
// node or more, see curve), and a Transpose with the
// Reshapes around it (channel shuffle). Nothing else may
// read what lies between. On a bound graph the fused node and its body are typed.
func Fuse(g *graph.Graph, accept func(*graph.Node) bool) {
	fuseShuffles(g, accept)
	if !slices.ContainsFunc(g.Nodes, func(n *graph.Node) bool { return n.Domain == "" && (n.Op == "Conv" || n.Op == "Gemm") }) {
		fuseCurves(g, accept)
		return
	}
	uses := g.Uses()
	// reader is the only node that reads n's only output, nil if there is none.
	reader := func(n *graph.Node, ops ...string) *graph.Node {
		if len(n.Out) != 1 || len(uses[n.Out[0]]) != 1 {
			return nil
		}
		r := uses[n.Out[0]][0].Node
		if r == nil || r.Domain != "" || !slices.Contains(ops, r.Op) || len(r.Out) != 1 || slices.Contains(r.In, nil) && r.Op == "Add" {
			return nil
		}
		return r
	}
	for _, n := range slices.Clone(g.Nodes) {
		if n.Domain != "" || n.Op != "Conv" && n.Op != "Gemm" || len(n.Out) != 1 || slices.Contains(n.In, nil) || !slices.Contains(g.Nodes, n) {
			continue
		}
		if n.Op == "Conv" && fuseDepthwise(g, accept, reader, n) {
			continue
		}
		if add := reader(n, "Add"); n.Op == "Conv" && add != nil && slices.Contains(g.Nodes, add) && residual(n, add) {
			if act := reader(add, activations...); act != nil && fuseChain(g, accept, n, add, act) ||
				fuseCurve(g, accept, uses, add.Out[0], n, add) || fuseChain(g, accept, n, add) {
				continue
			}
		}
		if act := reader(n, activations...); act != nil && fuseChain(g, accept, n, act) {
			continue
		}
		fuseCurve(g, accept, uses, n.Out[0], n)
	}
	fuseCurves(g, accept)
}

// fuseDepthwise joins a Conv and the depthwise Conv that reads it, each with the
// activation after it.
func fuseDepthwise(g *graph.Graph, accept func(*graph.Node) bool, reader func(*graph.Node, ...string) *graph.Node, n *graph.Node) bool {
	chain := []*graph.Node{n}
	if act := reader(n, activations...); act != nil {
		chain = append(chain, act)
	}
	mid := chain[len(chain)-1]
	dw := reader(mid, "Conv")
	if dw == nil || dw.In[0] != mid.Out[0] || slices.Contains(dw.In, nil) || dw.Int("group", 1) == 1 || !slices.Contains(g.Nodes, dw) {
		return false
	}
	chain = append(chain, dw)
	if act := reader(dw, activations...); act != nil && fuseChain(g, accept, append(slices.Clone(chain), act)...) {
		return true
	}
	return fuseChain(g, accept, chain...)
}

// activations are the operators that may follow a product in the same pass.
var activations = []string{"Relu", "Clip", "LeakyRelu", "PRelu"}

// residual reports whether add adds a value of the same shape that is computed elsewhere.
func residual(n, add *graph.Node) bool {
	other := add.In[0]
	if other == n.Out[0] {
		other = add.In[1]
	}
	return other != n.Out[0] && !other.IsConst() && other.Bound() && other.Type.Equal(n.Out[0].Type)
}

// fuseChain replaces nodes of which each reads one before by a whit.Fused node
// in the place of the last. What a Conv or a Gemm reads beside the chain and what an Add adds
// are its inputs; other constants stay constants of the body.
func fuseChain(g *graph.Graph, accept func(*graph.Node) bool, chain ...*graph.Node) bool {
	b := graph.New(chain[0].Name)
	var in []*graph.Value
	var mid *graph.Value
	inner := map[*graph.Value]*graph.Value{}
	for i, n := range chain {
		product := n.Op == "Conv" || n.Op == "Gemm"
		m := &graph.Node{Name: g.NewName(n.Name), Op: n.Op, Attrs: n.Attrs}
		for _, v := range n.In {
			switch {
			case v != nil && inner[v] != nil:
				v = inner[v]
			case product || v != nil && !v.IsConst() && (i == 0 || n.Op == "Add"):
				x := &graph.Value{Name: g.NewName("in"), Kind: graph.Input, Decl: graph.Decl{Ranked: false}}
				in, b.Inputs = append(in, v), append(b.Inputs, x)
				if !product { // what a product reads may be added to it too
					inner[v] = x
				}
				v = x
			case v != nil && !v.IsConst():
				return false
			case v != nil:
				v = b.NewConst(g.NewName("bound"), v.Tensor())
			}
			m.In = append(m.In, v)
		}
		mid = &graph.Value{Name: g.NewName("mid"), Producer: m}
		m.Out, inner[n.Out[0]] = []*graph.Value{mid}, mid
		b.Nodes = append(b.Nodes, m)
	}
	b.Outputs = []*graph.Value{mid}
	last := chain[len(chain)-1]
	y := last.Out[0]
	f := &graph.Node{Name: chain[0].Name, Domain: graph.Domain, Op: "Fused", Attrs: map[string]any{"body": b}, In: in, Out: []*graph.Value{y}}
	if y.Bound() {
		if _, err := op.Infer(f); err != nil {
			return false
		}
	}
	if !accept(f) {
		return false
	}
	y.Producer = f
	g.Before(last, f)
	g.Nodes = slices.DeleteFunc(g.Nodes, func(m *graph.Node) bool { return slices.Contains(chain, m) })
	return true
}

// fuseShuffles joins Reshape, Transpose, Reshape of constant shapes.
func fuseShuffles(g *graph.Graph, accept func(*graph.Node) bool) {
	if !slices.ContainsFunc(g.Nodes, func(n *graph.Node) bool { return n.Domain == "" && n.Op == "Transpose" }) {
		return
	}
	uses := g.Uses()
	only := func(n *graph.Node, op string) bool {
		return n != nil && n.Domain == "" && n.Op == op && len(n.Out) == 1 && n.In[0] != nil &&
			(op == "Transpose" || len(n.In) == 2 && n.In[1].IsConst())
	}
	alone := func(n *graph.Node) bool { return len(uses[n.Out[0]]) == 1 }
	for _, last := range slices.Clone(g.Nodes) {
		if !only(last, "Reshape") {
			continue
		}
		t := last.In[0].Producer
		if !only(t, "Transpose") || !alone(t) {
			continue
		}
		first := t.In[0].Producer
		if !only(first, "Reshape") || !alone(first) {
			continue
		}
		b := graph.New(last.Name)
		x := &graph.Value{Name: g.NewName("in"), Kind: graph.Input}
		b.Inputs = []*graph.Value{x}
		for _, n := range []*graph.Node{first, t, last} {
			m := &graph.Node{Name: g.NewName(n.Name), Op: n.Op, Attrs: n.Attrs, In: []*graph.Value{x}}
			if len(n.In) == 2 {
				m.In = append(m.In, b.NewConst(g.NewName("shape"), n.In[1].Tensor()))
			}
			x = &graph.Value{Name: g.NewName("mid"), Producer: m}
			m.Out = []*graph.Value{x}
			b.Nodes = append(b.Nodes, m)
		}
		b.Outputs = []*graph.Value{x}
		y := last.Out[0]
		f := &graph.Node{Name: t.Name, Domain: graph.Domain, Op: "Fused", Attrs: map[string]any{"body": b},
			In: first.In[:1:1], Out: []*graph.Value{y}}
		if y.Bound() {
			if _, err := op.Infer(f); err != nil {
				continue
			}
		}
		if !accept(f) {
			continue
		}
		y.Producer = f
		g.Before(last, f)
		g.Nodes = slices.DeleteFunc(g.Nodes, func(m *graph.Node) bool { return m == first || m == t || m == last })
	}
}
