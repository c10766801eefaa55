package plan

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"whit/graph"
	"whit/op"
	"whit/tensor"
)

// control runs a node through its operator's Run: one that has bodies, which are
// programs of their own, or whose output types only running it says. It is shared by
// sessions.
type control struct {
	node   *graph.Node
	limit  int64 // of Control.MaxBytes
	bodies map[*graph.Graph]*Program
	mu     sync.Mutex
	idle   []bodySessions
}

// control compiles the bodies of n.
func (p *Program) control(n *graph.Node) (*control, error) {
	c := &control{node: n, limit: p.opt.MaxMemory, bodies: map[*graph.Graph]*Program{}}
	for _, b := range n.Bodies() {
		g, _ := b.Clone()
		for _, v := range g.Inputs {
			v.Decl = graph.Decl{} // what is declared need not hold in every iteration
		}
		sub, err := NewProgram(g, p.opt)
		if err != nil {
			return nil, fmt.Errorf("node %q (%s): body %q: %w", n.Name, n.OpName(), b.Name, err)
		}
		if sub.root = p.root; sub.root == nil {
			sub.root = p
		}
		c.bodies[b] = sub
	}
	return c, nil
}

// bodySessions are the sessions of one user of a control, by body, last used first.
type bodySessions map[*graph.Graph][]bodySession

type bodySession struct {
	types []tensor.Type
	s     *Session
	out   []*tensor.Tensor
}

// maxBodySessions is how many bindings of a body a user keeps, where their arenas
// together are within a quarter of the limit.
const maxBodySessions = 4

// run computes the node's outputs from in. left counts iterations down.
func (c *control) run(ctx context.Context, left *int, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	var sessions bodySessions
	if len(c.bodies) > 0 {
		sessions = c.take()
		defer c.give(sessions)
	}
	ctl := &op.Control{Left: left, MaxBytes: c.limit, Body: func(b *graph.Graph, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return c.body(ctx, left, sessions, b, in)
	}}
	out, err := op.Of(c.node).Run(ctl, c.node, in)
	if err == nil && len(out) < len(c.node.Out) {
		err = op.Errorf(c.node, "%d outputs, at most %d expected", len(c.node.Out), len(out))
	}
	return out, err
}

// take gets sessions that nobody uses.
func (c *control) take() bodySessions {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := len(c.idle) - 1
	if k < 0 {
		return bodySessions{}
	}
	s := c.idle[k]
	c.idle = c.idle[:k]
	return s
}

// give brings them back; more than a few are dropped.
func (c *control) give(s bodySessions) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.idle) < 8 {
		c.idle = append(c.idle, s)
	}
}

// body runs one body in a session of in's types.
func (c *control) body(ctx context.Context, left *int, sessions bodySessions, b *graph.Graph, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	p := c.bodies[b]
	if len(in) != len(p.g.Inputs) {
		return nil, op.Errorf(c.node, "body %q takes %d inputs, found %d", b.Name, len(p.g.Inputs), len(in))
	}
	list := sessions[b]
	at := slices.IndexFunc(list, func(e bodySession) bool {
		for i, t := range in {
			if !e.types[i].Equal(t.Type) {
				return false
			}
		}
		return true
	})
	if at < 0 {
		e := bodySession{}
		types := map[string]tensor.Type{}
		for i, v := range p.g.Inputs {
			t := tensor.Type{DType: in[i].DType, Shape: in[i].Shape.Clone()}
			types[v.Name], e.types = t, append(e.types, t)
		}
		pl, err := p.Plan(types)
		if err != nil {
			return nil, err
		}
		if e.s, err = pl.NewSession(); err != nil {
			return nil, err
		}
		e.out = make([]*tensor.Tensor, len(p.g.Outputs))
		total := int64(pl.arena)
		for i, o := range list {
			if total += int64(o.s.plan.arena); i == maxBodySessions-1 || total > c.limit/4 {
				clear(list[i:])
				list = list[:i]
				break
			}
		}
		list, at = append(list, e), len(list)
	}
	if at > 0 {
		e := list[at]
		copy(list[1:], list[:at])
		list[0] = e
	}
	sessions[b] = list
	e := &list[0]
	for i, v := range p.g.Inputs {
		copy(e.s.Input(v.Name).Bytes(), in[i].Bytes()[:in[i].NumBytes()])
	}
	e.s.left = left
	if err := e.s.run(ctx, nil); err != nil {
		return nil, err
	}
	for i, v := range p.g.Outputs {
		if e.out[i] = e.s.Output(v.Name); e.out[i] == nil {
			return nil, fmt.Errorf("body %q: output %q has no value", b.Name, v.Name)
		}
	}
	return e.out, nil
}
