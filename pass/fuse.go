package pass

import (
	"slices"

	"whit/graph"
	"whit/op"
)

// Fuse joins nodes that one kernel can do in one pass into a whit.Fused node whose
// body holds them, if accept says so of the fused node: a Conv or Gemm with the Relu
// or Clip after it, and a Transpose with the Reshapes around it (channel shuffle).
// Nothing else may read what lies between. On a bound graph the fused node and its
// body are typed.
func Fuse(g *graph.Graph, accept func(*graph.Node) bool) {
	fuseShuffles(g, accept)
	uses := g.Uses()
	for _, act := range slices.Clone(g.Nodes) {
		if act.Domain != "" || act.Op != "Relu" && act.Op != "Clip" {
			continue
		}
		x := act.In[0]
		n := x.Producer
		if n == nil || n.Domain != "" || n.Op != "Conv" && n.Op != "Gemm" || len(uses[x]) != 1 || uses[x][0].Node != act {
			continue
		}
		known := true
		for _, v := range act.In[1:] {
			known = known && (v == nil || v.IsConst())
		}
		if !known || slices.Contains(n.In, nil) {
			continue
		}
		b := graph.New(n.Name)
		b.Nodes = []*graph.Node{{Name: g.NewName(n.Name), Op: n.Op, Attrs: n.Attrs},
			{Name: g.NewName(act.Name), Op: act.Op, Attrs: act.Attrs}}
		for range n.In {
			in := &graph.Value{Name: g.NewName("in"), Kind: graph.Input, Decl: graph.Decl{Ranked: false}}
			b.Inputs = append(b.Inputs, in)
		}
		b.Nodes[0].In = slices.Clone(b.Inputs)
		mid := &graph.Value{Name: g.NewName("mid"), Producer: b.Nodes[0]}
		b.Nodes[0].Out = []*graph.Value{mid}
		b.Nodes[1].In = []*graph.Value{mid}
		for _, v := range act.In[1:] {
			if v == nil {
				b.Nodes[1].In = append(b.Nodes[1].In, nil)
				continue
			}
			b.Nodes[1].In = append(b.Nodes[1].In, b.NewConst(g.NewName("bound"), v.Tensor()))
		}
		out := &graph.Value{Name: g.NewName("out"), Producer: b.Nodes[1]}
		b.Nodes[1].Out = []*graph.Value{out}
		b.Outputs = []*graph.Value{out}
		f := &graph.Node{Name: n.Name, Domain: graph.Domain, Op: "Fused", Attrs: map[string]any{"body": b},
			In: n.In, Out: []*graph.Value{act.Out[0]}}
		if act.Out[0].Bound() {
			if _, err := op.Infer(f); err != nil {
				continue
			}
		}
		if !accept(f) {
			continue
		}
		act.Out[0].Producer = f
		g.Before(act, f)
		g.Nodes = slices.DeleteFunc(g.Nodes, func(m *graph.Node) bool { return m == act || m == n })
	}
}

// fuseShuffles joins Reshape, Transpose, Reshape of constant shapes.
func fuseShuffles(g *graph.Graph, accept func(*graph.Node) bool) {
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
