package plan

import (
	"slices"

	"whit/graph"
	"whit/kernel"
)

// assignLayouts chooses a kernel for every node of the bound graph, gives every
// value the layout that its producer writes, and inserts Reorder nodes where a
// reader wants another one. Halos grow to what all readers need. It returns the
// chosen kernels; nil means the reference.
func assignLayouts(g *graph.Graph, e *kernel.Env, references bool) map[*graph.Node]*kernel.Kernel {
	chosen := map[*graph.Node]*kernel.Kernel{}
	var nodes []*graph.Node
	copies := map[*graph.Value]*graph.Value{} // the same data in the other order
	reorder := func(v *graph.Value, want graph.Layout) *graph.Value {
		if c := copies[v]; c != nil {
			return c
		}
		n := g.NewNode(graph.Domain, "Reorder", nil, 1, v)
		n.Out[0].Type, n.Out[0].Layout = v.Type, want
		k := kernel.Select(n, e)
		if k == nil {
			return nil
		}
		chosen[n] = k
		nodes = append(nodes, n)
		copies[v], copies[n.Out[0]] = n.Out[0], v
		return n.Out[0]
	}
	rowMajor := func(n *graph.Node) {
		for i, v := range n.In {
			if v != nil && v.Layout.Order != graph.RowMajor {
				n.In[i] = reorder(v, graph.Layout{})
			}
		}
	}
	for _, n := range g.Nodes {
		var k *kernel.Kernel
		if !references {
			k = kernel.Select(n, e)
		}
		chosen[n] = k
		if k == nil || k.Layout == nil {
			rowMajor(n)
			nodes = append(nodes, n)
			continue
		}
		in := make([]graph.Layout, len(n.In))
		for i, v := range n.In {
			if v != nil {
				in[i] = v.Layout
			}
		}
		ls := k.Layout(n, in)
		for i, v := range n.In {
			if v == nil || v.IsConst() || i >= len(ls.In) {
				continue
			}
			want := ls.In[i]
			if want.Order == graph.NHWC && want.CStride == 0 {
				want.CStride = v.Type.Shape[1]
			}
			if want.Order != v.Layout.Order {
				if v = reorder(v, want); v == nil { // no kernel can reorder it: run as specified
					chosen[n], k = nil, nil
					break
				}
				n.In[i] = v
			}
			if want.Order == graph.NHWC {
				for h := range v.Layout.Halo {
					v.Layout.Halo[h] = max(v.Layout.Halo[h], want.Halo[h])
				}
			}
		}
		if k == nil {
			rowMajor(n)
			nodes = append(nodes, n)
			continue
		}
		for i, v := range n.Out {
			if v != nil && i < len(ls.Out) {
				v.Layout = ls.Out[i]
				if v.Layout.Order == graph.NHWC && v.Layout.CStride == 0 {
					v.Layout.CStride = v.Type.Shape[1]
				}
			}
		}
		nodes = append(nodes, n)
	}
	for i, v := range g.Outputs {
		if v.Layout.Order != graph.RowMajor {
			name := v.Name
			c := reorder(v, graph.Layout{})
			if slices.Contains(g.Outputs, c) {
				continue
			}
			v.Name, c.Name = c.Name, name
			g.Outputs[i] = c
		}
	}
	g.Nodes = nodes
	return chosen
}
