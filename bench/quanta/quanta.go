package main

import (
	"context"
	"fmt"

	"whit/graph"
	"whit/op"
	"whit/pass"
	"whit/plan"
	"whit/tensor"
)

// quanta is how far a node on integers is from its floats: DequantizeLinear, the operator, QuantizeLinear on the
// same integers.
type quanta struct {
	Node, Op string
	Elements int
	Differ   int // elements
	Most     int // quanta, of one element
}

// bytesOf runs a graph whose values are quantised, under opt, and returns the nodes of its bound form whose
// outputs are bytes, and those.
func bytesOf(g *graph.Graph, feeds map[string]*tensor.Tensor, opt plan.Options) ([]*graph.Node, map[*graph.Value]*tensor.Tensor, error) {
	types := map[string]tensor.Type{}
	for name, t := range feeds {
		types[name] = t.Type
	}
	c, _ := g.Clone()
	b, err := pass.Bind(c, types, nil)
	if err != nil {
		return nil, nil, err
	}
	if err := pass.Quantize(b.Graph, nil); err != nil {
		return nil, nil, err
	}
	var nodes []*graph.Node
	var outs []*graph.Value
	for _, n := range b.Graph.Nodes {
		all := len(n.Out) > 0
		for _, v := range n.Out {
			all = all && isByte(v)
		}
		if all {
			nodes, outs = append(nodes, n), append(outs, n.Out...)
		}
	}
	for i, v := range outs {
		v.Name = fmt.Sprintf("bytes%d", i)
	}
	b.Graph.Outputs = outs
	got, err := evaluate(b.Graph, feeds, opt)
	if err != nil {
		return nil, nil, err
	}
	values := map[*graph.Value]*tensor.Tensor{}
	for i, v := range outs {
		values[v] = got[i]
	}
	return nodes, values, nil
}

func isByte(v *graph.Value) bool {
	return v != nil && (v.Type.DType == tensor.Int8 || v.Type.DType == tensor.Uint8)
}

// evaluate runs a graph by a plan and copies its outputs.
func evaluate(g *graph.Graph, feeds map[string]*tensor.Tensor, opt plan.Options) ([]*tensor.Tensor, error) {
	p, err := plan.NewProgram(g, opt)
	if err != nil {
		return nil, err
	}
	types := map[string]tensor.Type{}
	for name, t := range feeds {
		types[name] = t.Type
	}
	pl, err := p.Plan(types)
	if err != nil {
		return nil, err
	}
	s, err := pl.NewSession()
	if err != nil {
		return nil, err
	}
	for name, t := range feeds {
		if in := s.Input(name); in != nil {
			copy(in.Bytes(), t.Bytes())
		}
	}
	if err := s.Run(context.Background()); err != nil {
		return nil, err
	}
	var out []*tensor.Tensor
	for _, v := range g.Outputs {
		out = append(out, s.Output(v.Name).Clone())
	}
	return out, nil
}

// compare compares the nodes on integers, with the values that bytesOf gives. Nodes that move bytes and tables, which are
// made of their floats, are left out.
func compare(nodes []*graph.Node, values map[*graph.Value]*tensor.Tensor) ([]quanta, error) {
	var qs []quanta
	for _, n := range nodes {
		want, err := literally(n, values)
		if err != nil {
			return nil, fmt.Errorf("node %q (%s): %w", n.Name, n.OpName(), err)
		}
		if want == nil {
			continue
		}
		got := values[n.Out[0]]
		q := quanta{Node: n.Name, Op: n.OpName(), Elements: got.Len()}
		for i := range got.Len() {
			if d := byteAt(got, i) - byteAt(want, i); d != 0 {
				q.Differ, q.Most = q.Differ+1, max(q.Most, d, -d)
			}
		}
		qs = append(qs, q)
	}
	return qs, nil
}

func byteAt(t *tensor.Tensor, i int) int {
	if t.DType == tensor.Int8 {
		return int(int8(t.Bytes()[i]))
	}
	return int(t.Bytes()[i])
}

// literally is DequantizeLinear → operator → QuantizeLinear of a node on integers; nil where there is none.
func literally(n *graph.Node, values map[*graph.Value]*tensor.Tensor) (*tensor.Tensor, error) {
	m, clip := n, (*graph.Node)(nil)
	if b := n.Graph("body"); n.Op == "Fused" && b != nil && len(b.Nodes) == 2 && b.Nodes[1].Op == "Clip" {
		m, clip = b.Nodes[0], b.Nodes[1]
	}
	g := graph.New("literal")
	feeds := map[string]*tensor.Tensor{}
	data := func(i int) *graph.Value { // constants keep their kinds, what is computed becomes an input
		if i >= len(n.In) || n.In[i] == nil {
			return nil
		}
		if n.In[i].IsConst() {
			return g.NewConst("", n.In[i].Tensor())
		}
		t := values[n.In[i]]
		if t == nil {
			return nil
		}
		name := fmt.Sprint("x", i)
		feeds[name] = t
		return g.AddInput(name, t.DType, t.Shape...)
	}
	real := func(x, s, z int, attrs map[string]any) *graph.Value {
		return g.Add("", "DequantizeLinear", attrs, data(x), data(s), data(z))
	}
	if !n.In[0].IsConst() && values[n.In[0]] == nil {
		return nil, nil // of floats
	}
	var y *graph.Value
	var scale, zero int
	switch m.Op {
	case "QLinearConv", "QLinearConvPRelu":
		w, z := n.In[3].Tensor(), n.In[5].Tensor()
		axis := map[string]any{}
		if n.In[4].Type.Shape.NumElements() > 1 {
			axis["axis"] = int64(0)
		}
		sw := n.In[4].Tensor()
		if len(axis) > 0 && z.Len() == 1 {
			z0 := z
			z = tensor.New(z0.DType, sw.Len())
			for i := range z.Bytes() {
				z.Bytes()[i] = z0.Bytes()[0]
			}
		}
		if len(axis) == 0 { // of one element
			sw, z = sw.Reshape(), z.Reshape()
		}
		wf := g.Add("", "DequantizeLinear", axis, g.NewConst("", w), g.NewConst("", sw), g.NewConst("", z))
		ins := []*graph.Value{real(0, 1, 2, nil), wf}
		if b := n.Input(8); b != nil {
			bias := tensor.New(tensor.Float32, b.Type.Shape...)
			sx := tensor.Of[float32](n.In[1].Tensor())[0]
			s := tensor.Of[float32](sw)
			for i, v := range tensor.Of[int32](b.Tensor()) {
				tensor.Of[float32](bias)[i] = float32(v) * float32(sx*s[i%len(s)])
			}
			ins = append(ins, g.NewConst("", bias))
		}
		y, scale, zero = g.Add("", "Conv", m.Attrs, ins...), 6, 7
		if m.Op == "QLinearConvPRelu" {
			s := n.In[9].Tensor()
			for range n.Out[0].Type.Shape[2:] {
				s = s.Reshape(append(s.Shape.Clone(), 1)...)
			}
			y = g.Add("", "PRelu", nil, y, g.NewConst("", s))
		}
	case "QLinearAdd", "QLinearMul":
		y, scale, zero = g.Add("", m.Op[len("QLinear"):], nil, real(0, 1, 2, nil), real(3, 4, 5, nil)), 6, 7
	case "QLinearAveragePool", "QLinearGlobalAveragePool":
		y, scale, zero = g.Add("", m.Op[len("QLinear"):], m.Attrs, real(0, 1, 2, nil)), 3, 4
	default:
		return nil, nil
	}
	y.Name = "y"
	g.Outputs = []*graph.Value{y}
	out, err := evaluate(g, feeds, plan.Options{Direct: true})
	if err != nil {
		return nil, err
	}
	// The program never saw the quantisation, so that it ran floats.
	q := &graph.Node{Op: "QuantizeLinear", In: []*graph.Value{{Type: out[0].Type}, n.In[scale], n.In[zero]}, Out: []*graph.Value{{}}}
	if out, err = op.Compute(q, []*tensor.Tensor{out[0], n.In[scale].Tensor(), n.In[zero].Tensor()}); err != nil || clip == nil {
		return out[0], err
	}
	ins := out[:1:1]
	for _, v := range clip.In[1:] {
		if v == nil {
			ins = append(ins, nil)
		} else {
			ins = append(ins, v.Tensor())
		}
	}
	if out, err = op.Compute(&graph.Node{Op: "Clip", In: clip.In, Out: []*graph.Value{{}}}, ins); err != nil {
		return nil, err
	}
	return out[0], nil
}
