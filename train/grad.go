package train

import (
	"errors"
	"fmt"

	"whit/graph"
	"whit/op"
	"whit/tensor"
)

// ErrNoGradient is the root of errors about operators that a gradient would have
// to pass and cannot.
var ErrNoGradient = errors.New("not differentiable")

// Gradients appends the backward pass of the scalar y to g, in reverse order of
// the nodes, and returns the gradient of y with respect to each value of wrt: nil
// where y does not depend on it. Gradients of a value that several nodes read are
// summed in a fixed order, the last reader's first. The error lists every node on
// the way from wrt to y whose operator has no gradient. Nodes that turn out to be
// of no use stay: compiling removes them.
func Gradients(g *graph.Graph, y *graph.Value, wrt []*graph.Value) ([]*graph.Value, error) {
	// Only values that depend on wrt and that y depends on take part.
	active := map[*graph.Value]bool{}
	for _, v := range wrt {
		active[v] = true
	}
	for _, n := range g.Nodes {
		for _, v := range n.In {
			if active[v] {
				for _, o := range n.Out {
					if o != nil {
						active[o] = true
					}
				}
				break
			}
		}
	}
	out := make([]*graph.Value, len(wrt))
	if !active[y] {
		return out, nil
	}
	one := tensor.New(elemType(y))
	tensor.Convert(one, tensor.Scalar(1.0))
	pending := map[*graph.Value][]*graph.Value{y: {g.NewConst("", one)}}
	sum := func(v *graph.Value) *graph.Value {
		p := pending[v]
		switch len(p) {
		case 0:
			return nil
		case 1:
			return p[0]
		}
		s := g.Add(graph.Domain, "GradSum", nil, p...)
		pending[v] = []*graph.Value{s}
		return s
	}
	var errs []error
	nodes := g.Nodes
	for i := len(nodes) - 1; i >= 0; i-- {
		n := nodes[i]
		grads, any := make([]*graph.Value, len(n.Out)), false
		for k, v := range n.Out {
			if v != nil && active[v] {
				grads[k] = sum(v)
				any = any || grads[k] != nil
			}
		}
		if !any {
			continue
		}
		o := op.Of(n)
		if o == nil || o.VJP == nil {
			errs = append(errs, fmt.Errorf("node %q (%s): %w", n.Name, n.OpName(), ErrNoGradient))
			continue
		}
		din, err := o.VJP(g, n, grads)
		if err != nil {
			errs = append(errs, fmt.Errorf("node %q (%s): gradient: %w", n.Name, n.OpName(), err))
			continue
		}
		for k, d := range din {
			if d != nil && active[n.In[k]] {
				pending[n.In[k]] = append(pending[n.In[k]], d)
			}
		}
	}
	if len(errs) > 0 {
		return nil, &op.CheckError{Errs: errs}
	}
	for i, v := range wrt {
		out[i] = sum(v)
	}
	return out, nil
}

// elemType is a value's element type where it is known, else float32.
func elemType(v *graph.Value) tensor.DType {
	if v.Bound() {
		return v.Type.DType
	}
	if v.Decl.DType != tensor.Invalid {
		return v.Decl.DType
	}
	return tensor.Float32
}

// inferTypes sets the types of g's values for the given input types as far as they
// are known without data: gradients of broadcasting operators are simpler then.
// They stay right for other batch sizes of at least two.
func inferTypes(g *graph.Graph) {
	known := map[*graph.Value]bool{}
	for _, n := range g.Nodes {
		ok := true
		for _, v := range n.In {
			ok = ok && (v == nil || v.Kind != graph.Computed || known[v])
		}
		if !ok {
			continue
		}
		ts, err := op.Infer(n)
		if err != nil {
			continue // compiling reports it
		}
		for i, v := range n.Out {
			if v != nil {
				v.Type, known[v] = ts[i], true
			}
		}
	}
}
