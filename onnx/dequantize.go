package onnx

import (
	"whit/graph"
	"whit/tensor"
	"whit/weight"
)

// spelled is g with what ONNX calls them in the place of constants that are held as
// [weight.Int8]: DequantizeLinear of constants. It is g itself where there are none.
func spelled(g *graph.Graph) *graph.Graph {
	if !hasLevels(g) {
		return g
	}
	c, _ := g.Clone()
	spell(c)
	return c
}

func levelsOf(v *graph.Value) (w weight.Int8, ok bool) {
	if v.Kind == graph.Const {
		w, ok = v.Weight.(weight.Int8)
	}
	return w, ok
}

func hasLevels(g *graph.Graph) bool {
	for _, v := range g.Values() {
		if _, ok := levelsOf(v); ok {
			return true
		}
	}
	for _, n := range g.Nodes {
		for _, b := range n.Bodies() {
			if hasLevels(b) {
				return true
			}
		}
	}
	return false
}

func spell(g *graph.Graph) {
	var nodes []*graph.Node
	for _, v := range g.Values() {
		w, ok := levelsOf(v)
		if !ok {
			continue
		}
		s := w.ScaleShape()
		n := g.NewNode("", "DequantizeLinear", nil, 0, g.NewConst(g.NewName(v.Name+"_quantized"), w.Q),
			g.NewConst(g.NewName(v.Name+"_scale"), tensor.From(w.Scale, s...)))
		if w.Zero != nil {
			// The zero points passed the weight's check: they fit.
			if z, err := weight.PackLevels(w.Q.DType, w.Zero, s...); err == nil {
				n.In = append(n.In, g.NewConst(g.NewName(v.Name+"_zero_point"), z))
			}
		}
		if w.Axis != weight.PerTensor {
			n.Attrs = map[string]any{"axis": int64(w.Axis)}
		}
		if w.Group != 0 {
			n.Attrs["block_size"] = int64(w.Group)
		}
		v.Decl = graph.Decl{DType: v.Type.DType, Ranked: true}
		for _, d := range v.Type.Shape {
			v.Decl.Dims = append(v.Decl.Dims, graph.Dim{Size: d})
		}
		v.Kind, v.Type, v.Weight, v.Producer = graph.Computed, tensor.Type{}, nil, n
		n.Out = []*graph.Value{v}
		nodes = append(nodes, n)
	}
	g.Nodes = append(nodes, g.Nodes...)
	for _, n := range g.Nodes {
		for _, b := range n.Bodies() {
			spell(b)
		}
	}
}
