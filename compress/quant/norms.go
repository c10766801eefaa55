package quant

import (
	"maps"
	"math"
	"slices"
	"strings"

	"whit/compress/method"
	"whit/graph"
	"whit/tensor"
)

// foldNorms folds each BatchNormalization of constants into the convolution before it, as
// pass.FoldBatchNorm does when a program is made, but in the model graph: weights keep
// their names, the output that of the normalisation. Weights that are shared, or
// already held as levels or a codebook, stay.
func foldNorms(s *method.State) {
	g := s.Graph
	held := map[*graph.Value]*method.Held{}
	layer := map[*graph.Node]*method.Layer{}
	for _, l := range s.Layers {
		layer[l.Node] = l
		held[l.Weight.Value] = &l.Weight
		if l.Bias != nil {
			held[l.Bias.Value] = l.Bias
		}
	}
	uses := g.Uses()
	free := func(v *graph.Value) bool { // may be given other data
		h := held[v]
		return floats(v) != nil && len(uses[v]) == 1 && (h == nil || h.As == nil && h.Centroids == nil)
	}
	for _, bn := range slices.Clone(g.Nodes) {
		if bn.Domain != "" || bn.Op != "BatchNormalization" || bn.Int("training_mode", 0) != 0 || len(bn.In) != 5 || bn.In[0] == nil || len(bn.Out) != 1 {
			continue
		}
		conv := bn.In[0].Producer
		if conv == nil || conv.Domain != "" || conv.Op != "Conv" || len(uses[bn.In[0]]) != 1 || !free(conv.Input(1)) {
			continue
		}
		w := conv.In[1]
		channels := w.Type.Shape[0]
		b := conv.Input(2)
		if b != nil && (!free(b) || b.Type.Shape.NumElements() != channels) {
			continue
		}
		var par [4][]float32
		ok := channels > 0
		for i := range par {
			par[i] = floats(bn.In[i+1])
			ok = ok && len(par[i]) == channels
		}
		if !ok {
			continue
		}
		eps := float64(bn.Float("epsilon", 1e-5))
		x, y := slices.Clone(floats(w)), make([]float32, channels)
		k := len(x) / channels
		for c := range channels {
			f := float64(par[0][c]) / math.Sqrt(float64(par[3][c])+eps)
			for i := c * k; i < (c+1)*k; i++ {
				x[i] = float32(float64(x[i]) * f)
			}
			b0 := 0.0
			if b != nil {
				b0 = float64(floats(b)[c])
			}
			y[c] = float32((b0-float64(par[2][c]))*f + float64(par[1][c]))
		}
		if h := held[w]; h != nil {
			h.Set(x)
		} else {
			w.Data = tensor.From(x, w.Type.Shape...)
		}
		setBias(g, conv, layer[conv], y)
		norm := method.Norm{Mean: make([]float64, channels), Std: make([]float64, channels)}
		for c := range channels {
			norm.Mean[c], norm.Std[c] = float64(par[1][c]), math.Abs(float64(par[0][c]))
		}
		conv.Out = bn.Out
		setNorm(s, bn.Out[0].Name, norm)
		conv.Out[0].Producer = conv
		g.Nodes = slices.DeleteFunc(g.Nodes, func(n *graph.Node) bool { return n == bn })
	}
}

// setNorm notes what a value's channels are.
func setNorm(s *method.State, name string, n method.Norm) {
	m := maps.Clone(s.Norms)
	if m == nil {
		m = map[string]method.Norm{}
	}
	m[name] = n
	s.Norms = m
}

// setBias gives a Conv or Gemm the bias y, a constant of its own.
func setBias(g *graph.Graph, n *graph.Node, l *method.Layer, y []float32) {
	if l != nil && l.Bias != nil {
		l.Bias.Mask, l.Bias.Centroids, l.Bias.Index, l.Bias.Step = nil, nil, nil, 0
		l.Bias.Set(y)
		return
	}
	name := strings.TrimSuffix(n.In[1].Name, ".weight") + ".bias"
	if g.Find(name) != nil {
		name = g.NewName(name)
	}
	b := g.NewConst(name, tensor.From(y, len(y)))
	n.In = append(slices.Clone(n.In[:2]), b)
	if l != nil {
		l.Bias = &method.Held{Value: b}
	}
}

// floats are the elements of a dense float32 constant, nil of other values.
func floats(v *graph.Value) []float32 {
	if !v.IsConst() || v.Data == nil || v.Data.DType != tensor.Float32 {
		return nil
	}
	return tensor.Of[float32](v.Data)
}
