package pass

import (
	"errors"
	"fmt"

	"whit/graph"
	"whit/op"
	"whit/tensor"
)

// Bound is a graph whose input shapes are known, as far as they go.
type Bound struct {
	// Graph has a type for every value. Its outputs are those of the model that it
	// computes, then what Rest reads.
	Graph *graph.Graph
	// Rest, if not nil, holds the nodes whose shapes depend on data. Its inputs are
	// outputs of Graph by name, those of Needs to be given as constants, and outputs of
	// Runs.
	Rest  *graph.Graph
	Needs []string
	// Runs are the nodes between Graph and Rest whose outputs' types only running them
	// says ([op.Op].Run). They read constants and outputs of Graph, by name.
	Runs []*graph.Node
}

// foldLimit bounds what constant folding may produce, in bytes, beyond four times
// what it consumes: expansions such as ConstantOfShape stay nodes.
const foldLimit = 1 << 20

// Lowering says a node, whose inputs are bound, by other nodes, the last of which
// makes its outputs; nil: the node stays.
type Lowering func(*graph.Graph, *graph.Node) []*graph.Node

// Lowerings are those to operators that have kernels.
func Lowerings() []Lowering { return []Lowering{op.LowerEinsum, op.LowerDeformConv} }

func lowered(g *graph.Graph, n *graph.Node, lower []Lowering) []*graph.Node {
	for _, f := range lower {
		if low := f(g, n); low != nil {
			return low
		}
	}
	return nil
}

// Bind gives every value of g, which it edits, its type, from the types of the
// inputs (all must be given), and folds what is constant, Shape of bound values
// included. An If whose condition is known is replaced by the branch, and a node
// by what the first of lower makes of it that makes anything. known gives
// the data of inputs that are to be constants.
func Bind(g *graph.Graph, in map[string]tensor.Type, known map[string]*tensor.Tensor, lower ...Lowering) (*Bound, error) {
	for _, v := range g.Inputs {
		if t := known[v.Name]; t != nil {
			v.Type = t.Type
			continue
		}
		t, ok := in[v.Name]
		if !ok {
			return nil, fmt.Errorf("input %q: no shape given", v.Name)
		}
		if err := matches(v, t); err != nil {
			return nil, err
		}
		v.Type = t
	}
	// fold maps values to the constants that they turned into.
	fold := map[*graph.Value]*graph.Value{}
	for _, v := range g.Inputs {
		if t := known[v.Name]; t != nil {
			fold[v] = g.NewConst(v.Name+":known", t)
		}
	}
	blocked := map[*graph.Value]bool{}
	need := map[*graph.Value]bool{}
	var nodes, rest, runs []*graph.Node
	todo := append([]*graph.Node{}, g.Nodes...)
	var errs []error
	for len(todo) > 0 {
		n := todo[0]
		todo = todo[1:]
		wait := false
		for i, v := range n.In {
			if v == nil {
				continue
			}
			if c := fold[v]; c != nil {
				n.In[i] = c
			}
			wait = wait || blocked[v]
		}
		block := func() {
			for _, v := range n.Out {
				if v != nil {
					blocked[v] = true
				}
			}
			rest = append(rest, n)
		}
		if wait {
			block()
			continue
		}
		if n.Domain == "" && n.Op == "If" && len(n.In) > 0 && n.In[0] != nil && n.In[0].Bound() &&
			n.In[0].Type.DType == tensor.Bool && n.In[0].Type.Shape.NumElements() == 1 { // else the type rule refuses it
			if c := n.In[0]; c.IsConst() {
				branch, err := inline(n, c.Tensor())
				if err != nil {
					return nil, err
				}
				for i, v := range n.Out {
					if v == nil {
						continue
					}
					// The branch's result takes the If's place through an Identity, which
					// keeps the output's name.
					id := g.NewNode("", "Identity", nil, 0, branch.Outputs[i])
					id.Out = []*graph.Value{v}
					v.Producer = id
					branch.Nodes = append(branch.Nodes, id)
				}
				todo = append(append([]*graph.Node{}, branch.Nodes...), todo...)
			} else {
				need[n.In[0]] = true
				block()
			}
			continue
		}
		if low := lowered(g, n, lower); low != nil {
			todo = append(low, todo...)
			continue
		}
		ts, err := op.Infer(n)
		if nv := (*op.NeedValue)(nil); errors.As(err, &nv) {
			if op.Of(n).Run == nil {
				need[nv.Node.In[nv.Input]] = true
				block()
				continue
			}
			for _, v := range n.Out {
				if v != nil {
					blocked[v] = true
				}
			}
			runs = append(runs, n)
			continue
		}
		if err == nil {
			// A constant is shared and a computed value's memory too: only variables are written.
			for _, i := range op.Of(n).Writes {
				if v := n.Input(i); v != nil && (v.IsConst() || v.Kind == graph.Computed) {
					err = op.Errorf(n, "input %d (%q) is written and is a %v, not a variable", i, v.Name, v.Kind)
				}
			}
		}
		if err != nil {
			errs = append(errs, err)
			for _, v := range n.Out {
				if v != nil {
					blocked[v] = true
				}
			}
			continue
		}
		for i, v := range n.Out {
			if v != nil {
				v.Type = ts[i]
			}
		}
		if cs, err := constants(g, n); err != nil {
			return nil, err
		} else if cs != nil {
			for i, v := range n.Out {
				if v != nil {
					fold[v] = cs[i]
				}
			}
			continue
		}
		nodes = append(nodes, n)
	}
	if len(errs) > 0 {
		return nil, &op.CheckError{Errs: errs}
	}
	g.Nodes = nodes
	for i, v := range g.Outputs {
		if c := fold[v]; c != nil {
			if v.Kind == graph.Computed { // the output keeps its name: data come through an Identity
				id := g.NewNode("", "Identity", nil, 0, c)
				v.Producer, id.Out = id, []*graph.Value{v}
				g.Nodes = append(g.Nodes, id)
			} else {
				g.Outputs[i] = v
			}
		}
	}
	if len(rest)+len(runs) == 0 {
		DeadCode(g)
		return &Bound{Graph: g}, nil
	}
	return split(g, rest, runs, blocked, need), nil
}

// constants folds the node if all its inputs are known: one constant an output.
// nil: not foldable. DequantizeLinear of a constant of several elements waits for
// Quantize and FoldConstants: kernels on integers want the integers.
func constants(g *graph.Graph, n *graph.Node) ([]*graph.Value, error) {
	if isConstDequantize(n) {
		return nil, nil
	}
	return foldNode(g, n)
}

// foldNode is constants without the exception of DequantizeLinear.
func foldNode(g *graph.Graph, n *graph.Node) ([]*graph.Value, error) {
	o := op.Of(n)
	if o.Random || len(o.Writes) > 0 || len(n.Out) == 0 || len(n.Bodies()) > 0 {
		return nil, nil
	}
	shapeOnly := n.Domain == "" && (n.Op == "Shape" || n.Op == "Size")
	in := make([]*tensor.Tensor, len(n.In))
	inBytes, outBytes := 0, 0
	for _, v := range n.In {
		switch {
		case v == nil:
		case v.IsConst():
			inBytes += v.Type.NumBytes()
		case shapeOnly:
		default:
			return nil, nil
		}
	}
	for _, v := range n.Out {
		if v != nil {
			outBytes += v.Type.NumBytes()
		}
	}
	if outBytes < 0 || outBytes > 4*inBytes+foldLimit {
		return nil, nil
	}
	for i, v := range n.In {
		switch {
		case v.IsConst():
			in[i] = v.Tensor()
		case v != nil: // Shape reads no data
			t, err := tensor.View(tensor.Type{DType: tensor.Uint8, Shape: tensor.Shape{0}}, nil)
			if err != nil {
				return nil, err
			}
			t.Type = v.Type
			in[i] = t
		}
	}
	out := make([]*tensor.Tensor, len(n.Out))
	for i, v := range n.Out {
		if v != nil {
			out[i] = tensor.New(v.Type.DType, v.Type.Shape...)
		}
	}
	if err := o.Ref(n, in, out); err != nil {
		return nil, fmt.Errorf("node %q (%s): folding: %w", n.Name, n.OpName(), err)
	}
	cs := make([]*graph.Value, len(n.Out))
	for i, v := range n.Out {
		if v != nil {
			cs[i] = g.NewConst(g.NewName(v.Name), out[i])
		}
	}
	return cs, nil
}

// inline is the chosen branch of an If with its inputs replaced by the captures.
// The captures of then_branch stand in the node's inputs first, then those of
// else_branch.
func inline(n *graph.Node, cond *tensor.Tensor) (*graph.Graph, error) {
	th, el := n.Graph("then_branch"), n.Graph("else_branch")
	if th == nil || el == nil || cond.Len() != 1 || cond.DType != tensor.Bool {
		return nil, op.Errorf(n, "want a bool condition of one element and two branches")
	}
	if len(n.In) != 1+len(th.Inputs)+len(el.Inputs) {
		return nil, op.Errorf(n, "%d inputs, the branches capture %d", len(n.In), len(th.Inputs)+len(el.Inputs))
	}
	b, caps := th, n.In[1:1+len(th.Inputs)]
	if cond.Bytes()[0] == 0 {
		b, caps = el, n.In[1+len(th.Inputs):]
	}
	if len(b.Outputs) < len(n.Out) {
		return nil, op.Errorf(n, "branch %q has %d outputs, want %d", b.Name, len(b.Outputs), len(n.Out))
	}
	c, _ := b.Clone()
	sub := map[*graph.Value]*graph.Value{}
	for i, v := range c.Inputs {
		sub[v] = caps[i]
	}
	swap := func(vs []*graph.Value) {
		for i, v := range vs {
			if s := sub[v]; s != nil {
				vs[i] = s
			}
		}
	}
	for _, m := range c.Nodes {
		swap(m.In)
	}
	swap(c.Outputs)
	return c, nil
}

// split parts g into what is bound, the nodes that are run to know their types, and
// the rest, which reads the others' values as inputs.
func split(g *graph.Graph, rest, runs []*graph.Node, blocked, need map[*graph.Value]bool) *Bound {
	r := graph.New(g.Name)
	r.Nodes = rest
	b := &Bound{Rest: r, Runs: runs}
	var outs []*graph.Value
	isOut := map[*graph.Value]bool{}
	emit := func(v *graph.Value) {
		if !isOut[v] {
			isOut[v] = true
			outs = append(outs, v)
		}
	}
	for _, v := range g.Outputs {
		if !blocked[v] {
			emit(v)
		}
	}
	// in gives the value that stands for v of the bound part.
	stand := map[*graph.Value]*graph.Value{}
	in := func(v *graph.Value) *graph.Value {
		if v == nil || v.Kind != graph.Computed && v.Kind != graph.Input {
			return v
		}
		if stand[v] == nil {
			stand[v] = &graph.Value{Name: v.Name, Kind: graph.Input}
			emit(v)
		}
		return stand[v]
	}
	ran := map[*graph.Value]*graph.Value{} // outputs of runs to inputs of the rest
	for _, n := range runs {
		for i, v := range n.In {
			n.In[i] = in(v)
		}
		for _, v := range n.Out {
			if v != nil {
				ran[v] = &graph.Value{Name: v.Name, Kind: graph.Input}
			}
		}
	}
	made, taken := map[*graph.Value]bool{}, map[*graph.Value]bool{}
	take := func(w *graph.Value) *graph.Value {
		if !taken[w] {
			taken[w] = true
			r.Inputs = append(r.Inputs, w)
		}
		return w
	}
	for _, n := range rest {
		for i, v := range n.In {
			if v == nil || made[v] || v.Kind != graph.Computed && v.Kind != graph.Input {
				continue
			}
			if w := ran[v]; w != nil {
				n.In[i] = take(w)
				continue
			}
			if n.In[i] = in(v); !taken[n.In[i]] && need[v] {
				b.Needs = append(b.Needs, v.Name)
			}
			take(n.In[i])
		}
		for _, v := range n.Out {
			if v != nil {
				made[v] = true
			}
		}
	}
	for _, v := range g.Outputs {
		if w := ran[v]; w != nil {
			v = take(w)
		} else if !blocked[v] {
			continue
		}
		r.Outputs = append(r.Outputs, v)
	}
	g.Outputs = outs
	DeadCode(g)
	b.Graph = g
	return b
}

// matches checks a given input type against the declared one.
func matches(v *graph.Value, t tensor.Type) error {
	d := v.Decl
	bad := d.DType != tensor.Invalid && d.DType != t.DType || d.Ranked && len(d.Dims) != len(t.Shape)
	for i := 0; d.Ranked && !bad && i < len(d.Dims); i++ {
		bad = d.Dims[i].Size >= 0 && d.Dims[i].Size != t.Shape[i]
	}
	if bad {
		return fmt.Errorf("input %q: want %v, found %v", v.Name, d, t)
	}
	return t.Shape.Check()
}
