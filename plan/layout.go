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
	chosen := make(map[*graph.Node]*kernel.Kernel, len(g.Nodes))
	nodes := make([]*graph.Node, 0, len(g.Nodes))
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
			if v == nil || i >= len(ls.In) {
				continue
			}
			want := ls.In[i]
			if v.IsConst() {
				if want.Order == graph.NHWC { // constants are row-major: run as specified
					chosen[n], k = nil, nil
					break
				}
				continue
			}
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
	if !references {
		placeParts(g, chosen)
	}
	return chosen
}

// placeParts lets NHWC images that are joined or split along their channels share memory: an
// input of Concat lies within its output, where its kernel can write it there, and the outputs
// of Split lie within its input. Images of bytes are joined only, of whole blocks of 16 channels that nothing
// else reads: kernels of bytes widen whole lines of pixels.
func placeParts(g *graph.Graph, chosen map[*graph.Node]*kernel.Kernel) {
	var uses map[*graph.Value][]graph.Use
	for _, n := range slices.Backward(g.Nodes) {
		if n.Domain != "" || chosen[n] == nil {
			continue
		}
		bytes := false
		switch n.In[0].Type.DType.Bits() {
		case 32:
		case 8:
			if bytes = true; n.Op != "Concat" {
				continue
			}
			if uses == nil {
				uses = g.Uses()
			}
		default:
			continue
		}
		switch {
		case n.Op == "Concat" && n.Out[0].Layout.Order == graph.NHWC:
			at := 0
			for _, v := range n.In {
				p := v.Producer
				once := 0
				for _, w := range n.In {
					if w == v {
						once++
					}
				}
				fits := !bytes || at%16 == 0 && v.Type.Shape[1]%16 == 0 && len(uses[v]) == 1
				if once == 1 && fits && v.Within == nil && v.Layout.Order == graph.NHWC && p != nil && len(p.Out) == 1 && chosen[p] != nil && chosen[p].Parts {
					v.Within, v.At = n.Out[0], at
				}
				at += v.Type.Shape[1]
			}
		case n.Op == "Split" && n.In[0].Layout.Order == graph.NHWC && kernel.PartsAxis(n) == 1:
			at := 0
			for _, v := range n.Out {
				if v.Within == nil {
					v.Within, v.At = n.In[0], at
				}
				at += v.Type.Shape[1]
			}
		}
	}
	// All parts of an image have its layout, with the halo that any of them needs.
	for v := range mentions(g) {
		if r, _ := whole(v); r != v {
			for i, h := range v.Layout.Halo {
				r.Layout.Halo[i] = max(r.Layout.Halo[i], h)
			}
		}
	}
	for v := range mentions(g) {
		if r, _ := whole(v); r != v {
			v.Layout = r.Layout
		}
	}
}

// whole is the value in whose memory v lies, v itself if it has its own, and the first
// channel of v there.
func whole(v *graph.Value) (r *graph.Value, at int) {
	for r = v; r.Within != nil; r = r.Within {
		at += r.At
	}
	return r, at
}

// placed reports Concat and Split nodes that have nothing to do, because all
// parts share the memory of the whole.
func placed(n *graph.Node) bool {
	all := func(vs []*graph.Value, in *graph.Value) bool {
		return !slices.ContainsFunc(vs, func(v *graph.Value) bool { return v.Within != in })
	}
	return n.Domain == "" && (n.Op == "Concat" && all(n.In, n.Out[0]) || n.Op == "Split" && all(n.Out, n.In[0]))
}
