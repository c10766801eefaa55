package graph

import (
	"slices"
	"strconv"
	"strings"
)

// CapturesAttr is the attribute, known only inside whit, by which a Loop or Scan
// says how many of its last inputs are captures: the operator's own inputs are as
// many as it likes, so that the number cannot be told from the bodies.
const CapturesAttr = "whit_captures"

// Bodies lists the node's subgraphs: an If's then_branch before its else_branch,
// else in the order of the attributes' names.
func (n *Node) Bodies() []*Graph {
	if n.Op == "If" && n.Domain == "" {
		var bs []*Graph
		for _, name := range []string{"then_branch", "else_branch"} {
			if b := n.Graph(name); b != nil {
				bs = append(bs, b)
			}
		}
		return bs
	}
	var names []string
	for name, a := range n.Attrs {
		switch a.(type) {
		case *Graph, []*Graph:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var bs []*Graph
	for _, name := range names {
		switch a := n.Attrs[name].(type) {
		case *Graph:
			bs = append(bs, a)
		case []*Graph:
			bs = append(bs, a...)
		}
	}
	return bs
}

// Captures is how many of the node's last inputs are values that its bodies
// capture.
func (n *Node) Captures() int {
	if n.Op == "If" && n.Domain == "" {
		return max(0, len(n.In)-1)
	}
	return int(max(0, min(n.Int(CapturesAttr, 0), int64(len(n.In)))))
}

// Lift makes the captures of n's bodies explicit. Before it the bodies may read
// computed values, inputs and variables of the graph that n stands in (call it for
// inner nodes first, so that what they capture is among their inputs). After it
// each body takes what it captured as further inputs, and n lists the captured
// values at the end of its inputs: the captures of the first body, then of the
// second, in the order of [Node.Bodies]. Constants are not lifted: a body has its
// own, which may share their data. name makes the names of the new inputs from
// those of the captured values.
func Lift(n *Node, name func(string) string) {
	count := 0
	for _, b := range n.Bodies() {
		own := map[*Value]bool{}
		for _, v := range b.Inputs {
			own[v] = true
		}
		for _, m := range b.Nodes {
			for _, v := range m.Out {
				own[v] = true
			}
		}
		lifted := map[*Value]*Value{}
		take := func(vs []*Value) {
			for i, v := range vs {
				if v == nil || v.Kind == Const || own[v] {
					continue
				}
				c := lifted[v]
				if c == nil {
					c = &Value{Name: name(v.Name), Kind: Input, Decl: v.Decl, Type: v.Type}
					c.Decl.Dims = slices.Clone(v.Decl.Dims)
					lifted[v] = c
					b.Inputs = append(b.Inputs, c)
					n.In = append(n.In, v)
					count++
				}
				vs[i] = c
			}
		}
		for _, m := range b.Nodes {
			take(m.In)
		}
		take(b.Outputs)
	}
	if count > 0 && !(n.Op == "If" && n.Domain == "") {
		if n.Attrs == nil {
			n.Attrs = map[string]any{}
		}
		n.Attrs[CapturesAttr] = int64(count)
	}
}

// Reserve keeps NewName from making name, which came from outside.
func (g *Graph) Reserve(name string) {
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		if k, err := strconv.Atoi(name[i+1:]); err == nil && k > g.fresh && k < 1<<40 {
			g.fresh = k
		}
	}
}
