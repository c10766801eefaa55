package pass

import (
	"slices"

	"whit/graph"
	"whit/op"
	"whit/tensor"
)

// DeadCode removes the nodes whose outputs nobody reads, and sets outputs that
// nobody reads of the others to nil where the operator has later ones or none.
// Nodes that write variables stay.
func DeadCode(g *graph.Graph) {
	live := make(map[*graph.Value]bool, 2*len(g.Nodes))
	for _, v := range g.Outputs {
		live[v] = true
	}
	keep := make([]*graph.Node, 0, len(g.Nodes))
	for _, n := range slices.Backward(g.Nodes) {
		used := false
		for _, v := range n.Out {
			used = used || v != nil && live[v]
		}
		if o := op.Of(n); o != nil && len(o.Writes) > 0 {
			used = true
		}
		if !used {
			continue
		}
		for _, v := range n.In {
			if v != nil {
				live[v] = true
			}
		}
		for i, v := range n.Out {
			if i > 0 && v != nil && !live[v] {
				n.Out[i] = nil
			}
		}
		for len(n.Out) > 1 && n.Out[len(n.Out)-1] == nil {
			n.Out = n.Out[:len(n.Out)-1]
		}
		keep = append(keep, n)
	}
	slices.Reverse(keep)
	g.Nodes = keep
}

// Simplify turns Constant nodes into constants, removes Identity nodes and
// Dropout that does nothing, and dead code. It needs no shapes.
func Simplify(g *graph.Graph) {
	for _, n := range slices.Clone(g.Nodes) {
		if n.Domain != "" || len(n.Out) == 0 || n.Out[0] == nil {
			continue
		}
		if n.Op != "Constant" && n.Input(0) == nil {
			continue // damaged: the type rule says so
		}
		switch n.Op {
		case "Constant":
			if t, ok := n.Attrs["value"].(*tensor.Tensor); ok {
				g.Replace(n.Out[0], g.NewConst(n.Out[0].Name+":value", t))
			}
		case "Identity":
			if !slices.Contains(g.Outputs, n.Out[0]) {
				g.Replace(n.Out[0], n.In[0])
			}
		case "Dropout":
			train := n.Input(2)
			off := train == nil || train.IsConst() && train.Type.DType == tensor.Bool && train.Type.Shape.NumElements() == 1 && train.Tensor().Bytes()[0] == 0
			unusedMask := len(n.Out) < 2 || n.Out[1] == nil
			if off && n.Int("training_mode", 0) == 0 && !unusedMask {
				uses := g.Uses()
				unusedMask = len(uses[n.Out[1]]) == 0
			}
			if off && n.Int("training_mode", 0) == 0 && unusedMask && !slices.Contains(g.Outputs, n.Out[0]) {
				g.Replace(n.Out[0], n.In[0])
			}
		}
	}
	DeadCode(g)
}
