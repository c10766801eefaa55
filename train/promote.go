package train

import (
	"whit/graph"
	"whit/op"
	"whit/tensor"
)

// Promote makes every float32 constant of the model graph that a gradient of the
// first output reaches a Param, and the running statistics of BatchNormalization
// States. Single numbers are left alone unless they are weights of Conv, Gemm,
// MatMul, BatchNormalization or PRelu; so are constants that a node without a
// gradient stands before, and the bounds, sizes and scales that operators give no
// gradient for. Encoded weights are expanded. Masks that are added afterwards stay
// constants.
func Promote(g *graph.Graph) {
	stats := map[*graph.Value]bool{}
	weights := map[*graph.Value]bool{}
	for _, n := range g.Nodes {
		if n.Domain != "" {
			continue
		}
		switch n.Op {
		case "BatchNormalization":
			for i := 3; i < len(n.In); i++ {
				stats[n.In[i]] = true
			}
			weights[n.Input(1)], weights[n.Input(2)] = true, true
		case "Conv", "Gemm", "MatMul", "PRelu":
			for i := range n.In {
				weights[n.In[i]] = true
			}
		}
	}
	var cand []*graph.Value
	for _, v := range g.Values() {
		if v.Kind != graph.Const || v.Type.DType != tensor.Float32 {
			continue
		}
		if stats[v] {
			v.Kind, v.Data, v.Weight = graph.State, v.Tensor(), nil
			continue
		}
		if v.Type.Shape.NumElements() > 1 || weights[v] {
			cand = append(cand, v)
		}
	}
	for _, v := range reached(g, cand) {
		v.Kind, v.Data, v.Weight = graph.Param, v.Tensor(), nil
	}
}

// reached lists the values of cand for which operators give a gradient of g's
// first output. Where an operator has none, what stands before it is not reached.
func reached(g *graph.Graph, cand []*graph.Value) []*graph.Value {
	if len(g.Outputs) == 0 {
		return nil
	}
	c, m := g.Clone()
	isCand := map[*graph.Value]*graph.Value{}
	for _, v := range cand {
		m[v].Kind = graph.Param
		isCand[m[v]] = v
	}
	live := map[*graph.Value]*graph.Value{c.Outputs[0]: c.Outputs[0]}
	nodes := c.Nodes
	hit := map[*graph.Value]bool{}
	for i := len(nodes) - 1; i >= 0; i-- {
		n := nodes[i]
		grads, any := make([]*graph.Value, len(n.Out)), false
		for k, v := range n.Out {
			if v != nil && live[v] != nil {
				grads[k], any = live[v], true
			}
		}
		o := op.Of(n)
		if !any || o == nil || o.VJP == nil {
			continue
		}
		din, err := o.VJP(c, n, grads)
		if err != nil {
			continue
		}
		for k, d := range din {
			if d != nil && n.In[k] != nil {
				live[n.In[k]] = d
				if v := isCand[n.In[k]]; v != nil {
					hit[v] = true
				}
			}
		}
	}
	var out []*graph.Value
	for _, v := range cand {
		if hit[v] {
			out = append(out, v)
		}
	}
	return out
}

// Demote makes constants of all Params and States.
func Demote(g *graph.Graph) {
	for _, v := range g.Values() {
		if v.Kind == graph.Param || v.Kind == graph.State {
			v.Kind = graph.Const
		}
	}
}
