package quant

import (
	"context"
	"fmt"
	"slices"

	"whit/compress/method"
	"whit/graph"
	"whit/pass"
	"whit/plan"
	"whit/stat"
	"whit/tensor"
	"whit/train"
)

// walk goes through a model node by node with all calibration images at once, so that
// a layer can be changed before what follows it runs, and nothing runs twice. It holds
// the values that are still to be read.
type walk struct {
	threads int
	nodes   map[string]int // of the graph, by the first output's name
	at      int            // nodes before have run
	live    []map[string]*tensor.Tensor
	read    map[string]int // the last node that reads a value
	first   string         // the graph's input
}

// walkMemory bounds what a walk holds, in bytes: fewer images are looked at where they do not fit.
const walkMemory = 512 << 20

// bound is g with the types that its values have for one image.
func bound(g *graph.Graph, ds train.Dataset) (*graph.Graph, error) {
	c, _ := g.Clone()
	if len(c.Inputs) != 1 {
		return nil, fmt.Errorf("the model has %d inputs, want one", len(c.Inputs))
	}
	t := tensor.Type{DType: tensor.Float32, Shape: append(tensor.Shape{1}, ds.Shape()...)}
	b, err := pass.Bind(c, map[string]tensor.Type{c.Inputs[0].Name: t}, nil, pass.Lowerings()...)
	if err != nil {
		return nil, err
	}
	return b.Graph, nil
}

// fitting is how many of the images a walk through g may hold.
func fitting(g *graph.Graph, ds train.Dataset, images int) (int, error) {
	b, err := bound(g, ds)
	if err != nil {
		return 0, err
	}
	last := map[*graph.Value]int{}
	for i, n := range b.Nodes {
		for _, v := range n.In {
			last[v] = i
		}
	}
	now := int64(b.Inputs[0].Type.NumBytes())
	most := now
	for i, n := range b.Nodes {
		for _, v := range n.Out {
			if v != nil {
				now += int64(max(0, v.Type.NumBytes()))
			}
		}
		most = max(most, now)
		for _, v := range n.In {
			if v != nil && !v.IsConst() && last[v] == i {
				last[v] = -1
				now -= int64(max(0, v.Type.NumBytes()))
			}
		}
	}
	return int(min(int64(min(images, ds.Len())), max(1, walkMemory/max(1, most)))), nil
}

// newWalk stands before the first node of g with so many images.
func newWalk(ctx context.Context, g *graph.Graph, ds train.Dataset, images, threads int) (*walk, error) {
	w := &walk{threads: threads, nodes: map[string]int{}, read: map[string]int{}, first: g.Inputs[0].Name}
	for i, n := range g.Nodes {
		if n.Out[0] != nil {
			w.nodes[n.Out[0].Name] = i
		}
		for _, v := range n.In {
			if v != nil {
				w.read[v.Name] = i
			}
		}
	}
	size := tensor.Shape(ds.Shape()).NumElements()
	batch := min(max(1, 1<<20/max(1, size)), 32, max(1, images/4))
	for at := 0; at < images; at += batch {
		n := min(batch, images-at)
		x := tensor.New(tensor.Float32, append(tensor.Shape{n}, ds.Shape()...)...)
		idx := make([]int, n)
		for i := range idx {
			idx[i] = at + i
		}
		if err := ds.Read(ctx, idx, tensor.Of[float32](x), nil); err != nil {
			return nil, err
		}
		w.live = append(w.live, map[string]*tensor.Tensor{w.first: x})
	}
	return w, nil
}

// to runs the nodes of g, the same graph with other constants perhaps, before the one that computes the
// value name, and shows its input x or, with out, what it gives to f, batch by batch.
func (w *walk) to(ctx context.Context, g *graph.Graph, name string, out bool, f func(batch int, x *tensor.Tensor) error) error {
	k, ok := w.nodes[name]
	if !ok || k < w.at {
		return fmt.Errorf("value %q is not computed from there on", name)
	}
	if err := w.run(ctx, g, w.at, k, func(batch int, vs map[string]*tensor.Tensor) error {
		for n, t := range vs {
			w.live[batch][n] = t
		}
		for n := range w.live[batch] {
			if w.read[n] < k {
				delete(w.live[batch], n)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	w.at = k
	if !out {
		x := g.Nodes[k].In[0].Name
		for b := range w.live {
			if err := f(b, w.live[b][x]); err != nil {
				return err
			}
		}
		return nil
	}
	return w.run(ctx, g, k, k+1, func(batch int, vs map[string]*tensor.Tensor) error { return f(batch, vs[name]) })
}

// run runs nodes from..to-1 and hands over what later nodes read; of a single node all it computes.
func (w *walk) run(ctx context.Context, g *graph.Graph, from, to int, f func(batch int, vs map[string]*tensor.Tensor) error) error {
	if from == to {
		return nil
	}
	c, _ := g.Clone()
	sub := graph.New(c.Name)
	fixed := map[*graph.Value]bool{} // computed of constants alone
	had := map[*graph.Value]bool{}
	for i, n := range c.Nodes {
		if i >= to {
			break
		}
		known := true
		for _, v := range n.In {
			known = known && (v == nil || v.IsConst() || fixed[v])
		}
		if known {
			for _, v := range n.Out {
				fixed[v] = true
			}
		}
		if !known && i < from {
			continue
		}
		sub.Nodes = append(sub.Nodes, n)
		for _, v := range n.In {
			if v != nil && !v.IsConst() && !fixed[v] && !had[v] && (v.Kind == graph.Input || w.before(v, from)) {
				v.Kind, v.Producer, v.Decl = graph.Input, nil, graph.Decl{}
				sub.Inputs = append(sub.Inputs, v)
			}
			had[v] = true
		}
		for _, v := range n.Out {
			had[v] = true
			if v != nil && !fixed[v] && i >= from && (w.read[v.Name] >= to || to == from+1) {
				sub.Outputs = append(sub.Outputs, v)
			}
		}
	}
	if len(sub.Outputs) == 0 {
		return nil
	}
	for _, v := range sub.Inputs {
		t := w.live[0][v.Name]
		if t == nil {
			return fmt.Errorf("value %q is gone", v.Name)
		}
		v.Decl = graph.Decl{DType: t.DType, Ranked: true}
		for range t.Shape {
			v.Decl.Dims = append(v.Decl.Dims, graph.Dim{Size: -1})
		}
	}
	p, err := plan.NewProgram(sub, plan.Options{Threads: w.threads})
	if err != nil {
		return err
	}
	var s *plan.Session
	bound := map[string]tensor.Type{} // what s is for
	same := func(have map[string]*tensor.Tensor) bool {
		return s != nil && !slices.ContainsFunc(sub.Inputs, func(v *graph.Value) bool { return !have[v.Name].Type.Equal(bound[v.Name]) })
	}
	for b, have := range w.live {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !same(have) { // the last batch has fewer images
			s = nil
			for _, v := range sub.Inputs {
				bound[v.Name] = have[v.Name].Type
			}
			pl, err := p.Plan(bound)
			if err != nil {
				return err
			}
			if s, err = pl.NewSession(); err != nil {
				return err
			}
		}
		for _, v := range sub.Inputs {
			copy(s.Input(v.Name).Bytes(), have[v.Name].Bytes())
		}
		if err := s.Run(ctx); err != nil {
			return err
		}
		vs := map[string]*tensor.Tensor{}
		for _, v := range sub.Outputs {
			t := s.Output(v.Name)
			if t == nil {
				return fmt.Errorf("value %q was not computed", v.Name)
			}
			vs[v.Name] = t.Clone()
		}
		if err := f(b, vs); err != nil {
			return err
		}
	}
	return nil
}

// before reports whether a value was computed by a node before from.
func (w *walk) before(v *graph.Value, from int) bool {
	return v.Producer == nil || v.Producer.Out[0] == nil || w.nodes[v.Producer.Out[0].Name] < from
}

// against sums a layer's inputs in g, and its outputs in base, over the images; both walks stand at
// the layer then. Of the outputs in base those that keep names count, nil: all. Every fourth batch, where there are as many, is summed in the
// second of to.
func against(ctx context.Context, base, now *walk, baseGraph, g *graph.Graph, l *method.Layer, keep []int, to [2]*stat.Patches) error {
	name := l.Node.Out[0].Name
	axis := 1
	if l.Node.Op != "Conv" {
		axis = -1
	}
	ys := make([]*tensor.Tensor, len(now.live))
	if err := base.to(ctx, baseGraph, name, true, func(b int, y *tensor.Tensor) error { ys[b] = y; return nil }); err != nil {
		return err
	}
	want := [2]stat.Observer{}
	for i, p := range to {
		want[i] = &stat.Channels{Keep: keep, Axis: axis, To: p.Targets()}
	}
	if err := now.to(ctx, g, name, false, func(b int, x *tensor.Tensor) error {
		i := 0
		if b%4 == 3 {
			i = 1
		}
		if err := want[i].Observe(ys[b]); err != nil {
			return err
		}
		return to[i].Observe(x)
	}); err != nil {
		return err
	}
	for _, p := range to {
		if err := p.Done(); err != nil {
			return err
		}
	}
	return nil
}

// left are the output units of a layer that are left of those of the model that it is compared with; nil: all.
func left(s *method.State, l *method.Layer) []int {
	if s.Base != nil {
		return nil // it was kept after units were cut
	}
	return s.Left[l.Weight.Value.Name]
}
