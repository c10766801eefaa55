package op

import (
	"errors"
	"fmt"

	"whit/graph"
	"whit/tensor"
)

// If computes the outputs of attribute then_branch where its condition (a bool of
// one element) holds, else those of else_branch. The branches are graphs whose
// inputs are their captures, made explicit: the node's inputs are the condition,
// then the captures of then_branch in the order of its inputs, then those of
// else_branch ([graph.Lift]). The branches may disagree on shapes: then the node is
// planned when the condition is known.
func init() {
	Register(Op{
		Name: "If",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			then, els, err := branches(n)
			if err != nil {
				return nil, err
			}
			cond, err := Value(n, 0)
			if err == nil { // known
				b, in := chosen(n, cond, then, els)
				return branchTypes(n, b, in)
			}
			nt := len(then.Inputs)
			ts, err := branchTypes(n, then, n.In[1:1+nt])
			if err != nil {
				return nil, err
			}
			es, err := branchTypes(n, els, n.In[1+nt:])
			if err != nil {
				return nil, err
			}
			for i := range ts {
				if !ts[i].Equal(es[i]) {
					return nil, &NeedValue{n, 0}
				}
			}
			return ts, nil
		},
		Ref: refOfRun(runIf), Run: runIf,
	})
}

func runIf(c *Control, n *graph.Node, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	then, els, err := branches(n)
	if err != nil {
		return nil, err
	}
	b, args := then, in[1:1+len(then.Inputs)]
	if in[0].Bytes()[0] == 0 {
		b, args = els, in[1+len(then.Inputs):]
	}
	return c.Body(b, args)
}

// branches checks the node's form.
func branches(n *graph.Node) (then, els *graph.Graph, err error) {
	then, els = n.Graph("then_branch"), n.Graph("else_branch")
	if then == nil || els == nil {
		return nil, nil, Errorf(n, "then_branch or else_branch is missing")
	}
	if len(n.In) == 0 || n.In[0] == nil {
		return nil, nil, Errorf(n, "the condition is missing")
	}
	if c := n.In[0].Type; c.DType != tensor.Bool || c.Shape.NumElements() != 1 {
		return nil, nil, Errorf(n, "the condition is %v, want a bool of one element", c)
	}
	if len(n.In) != 1+len(then.Inputs)+len(els.Inputs) {
		return nil, nil, Errorf(n, "%d inputs, the branches capture %d", len(n.In), len(then.Inputs)+len(els.Inputs))
	}
	for i, v := range n.In {
		if v == nil {
			return nil, nil, Errorf(n, "capture %d is missing", i)
		}
	}
	if len(then.Outputs) != len(els.Outputs) || len(n.Out) > len(then.Outputs) {
		return nil, nil, Errorf(n, "%d outputs, the branches have %d and %d", len(n.Out), len(then.Outputs), len(els.Outputs))
	}
	return then, els, nil
}

func chosen(n *graph.Node, cond *tensor.Tensor, then, els *graph.Graph) (*graph.Graph, []*graph.Value) {
	if cond.Bytes()[0] != 0 {
		return then, n.In[1 : 1+len(then.Inputs)]
	}
	return els, n.In[1+len(then.Inputs):]
}

// branchTypes runs the type rules of b for captures in; nodes whose inputs are all
// known, and Shape and Size, are computed so that shape arithmetic works. A value
// that is not known makes the If itself wait for the captures' data: the error
// then names the condition.
func branchTypes(n *graph.Node, b *graph.Graph, in []*graph.Value) ([]tensor.Type, error) {
	known := map[*graph.Value]*graph.Value{} // by value of b: a stand-in with type, and data where they are known
	for i, v := range b.Inputs {
		known[v] = in[i]
	}
	of := func(v *graph.Value) *graph.Value {
		if k := known[v]; k != nil {
			return k
		}
		return v
	}
	for _, m := range b.Nodes {
		c := *m
		c.In = make([]*graph.Value, len(m.In))
		args, all := make([]*tensor.Tensor, len(m.In)), true
		for i, v := range m.In {
			if v == nil {
				continue
			}
			c.In[i] = of(v)
			all = all && c.In[i].IsConst()
		}
		ts, err := Infer(&c)
		if nv := (*NeedValue)(nil); errors.As(err, &nv) {
			return nil, &NeedValue{n, 0}
		}
		if err != nil {
			return nil, err
		}
		o := Of(m)
		shapeOnly := m.Domain == "" && (m.Op == "Shape" || m.Op == "Size")
		bytes := 0
		for _, t := range ts {
			bytes += t.NumBytes()
		}
		// Loops are not run here: how much work they are is not known.
		compute := (all || shapeOnly) && !o.Random && len(o.Writes) == 0 && bytes <= 1<<16 && len(m.Bodies()) == 0
		if compute {
			for i, v := range c.In {
				switch {
				case v == nil:
				case v.IsConst():
					args[i] = v.Tensor()
				default:
					args[i] = &tensor.Tensor{Type: v.Type} // Shape reads no data
				}
			}
		}
		outs := make([]*tensor.Tensor, len(m.Out))
		for i, v := range m.Out {
			if v == nil {
				continue
			}
			k := &graph.Value{Name: v.Name, Type: ts[i]}
			if compute {
				outs[i] = tensor.New(ts[i].DType, ts[i].Shape...)
				k.Kind, k.Data = graph.Const, outs[i]
			}
			known[v] = k
		}
		if compute {
			if err := o.Ref(&c, args, outs); err != nil {
				return nil, err
			}
		}
	}
	ts := make([]tensor.Type, len(b.Outputs))
	for i, v := range b.Outputs {
		k := of(v)
		if !k.Bound() {
			return nil, Errorf(n, "output %q of branch %q has no type", v.Name, b.Name)
		}
		ts[i] = k.Type
	}
	return ts, nil
}

// runGraph runs a graph on the references, its type rules as it goes.
func runGraph(c *Control, b *graph.Graph, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	data := map[*graph.Value]*tensor.Tensor{}
	for i, v := range b.Inputs {
		data[v] = in[i]
	}
	get := func(v *graph.Value) *tensor.Tensor {
		if t := data[v]; t != nil {
			return t
		}
		return v.Tensor()
	}
	for _, m := range b.Nodes {
		args := make([]*tensor.Tensor, len(m.In))
		for i, v := range m.In {
			if v == nil {
				continue
			}
			if args[i] = get(v); args[i] == nil {
				return nil, Errorf(m, "input %q has no data", v.Name)
			}
		}
		outs, err := compute(c, m, args)
		if err != nil {
			return nil, err
		}
		for i, v := range m.Out {
			if v != nil {
				data[v] = outs[i]
			}
		}
	}
	res := make([]*tensor.Tensor, len(b.Outputs))
	for i, v := range b.Outputs {
		if res[i] = get(v); res[i] == nil {
			return nil, errors.New("branch output " + v.Name + " has no data")
		}
	}
	return res, nil
}

// Compute runs one node on its reference: its outputs (nil where nobody wants one)
// from its inputs, of which n need know nothing.
func Compute(n *graph.Node, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	return compute(onReferences(), n, in)
}

func compute(c *Control, n *graph.Node, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	m := withData(n, in)
	o := Of(m)
	if o == nil {
		return nil, fmt.Errorf("node %q: %w: operator %s", n.Name, ErrUnsupported, n.OpName())
	}
	if o.Run != nil {
		outs, err := o.Run(c, m, in)
		if err == nil && len(outs) < len(n.Out) {
			err = Errorf(n, "%d outputs, at most %d expected", len(n.Out), len(outs))
		}
		return outs, err
	}
	ts, err := Infer(m)
	if err != nil {
		return nil, err
	}
	outs := make([]*tensor.Tensor, len(n.Out))
	for i, v := range n.Out {
		if v != nil {
			outs[i] = tensor.New(ts[i].DType, ts[i].Shape...)
		}
	}
	return outs, o.Ref(m, in, outs)
}
