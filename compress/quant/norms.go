package quant

import (
	"maps"
	"math"
	"slices"
	"strings"

	"whit/compress/method"
	"whit/graph"
	"whit/tensor"
	"whit/weight"
)

// foldNorms folds each BatchNormalization of constants into the convolution before it, as
// pass.FoldBatchNorm does when a program is made, but in the model graph: weights keep
// their names, the output that of the normalisation. Levels stay, and have a scale for each channel then. Weights that are
// shared, or held as a codebook or otherwise, stay.
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
		return floats(v) != nil && len(uses[v]) == 1 && (h == nil || h.As == nil && h.Centroids == nil || signed(h) != nil)
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
		f, y := make([]float64, channels), make([]float32, channels)
		for c := range channels {
			f[c] = float64(par[0][c]) / math.Sqrt(float64(par[3][c])+eps)
			b0 := 0.0
			if b != nil {
				b0 = float64(floats(b)[c])
			}
			y[c] = float32((b0-float64(par[2][c]))*f[c] + float64(par[1][c]))
		}
		h := held[w]
		if q := signed(h); q != nil {
			if !rescale(h, *q, f) {
				continue
			}
		} else {
			x := slices.Clone(floats(w))
			k := len(x) / channels
			for i := range x {
				x[i] = float32(float64(x[i]) * f[i/k])
			}
			if h != nil {
				h.Set(x)
			} else {
				w.Data = tensor.From(x, w.Type.Shape...)
			}
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

// signed is a constant as levels on both sides of zero with a scale for all or for each index of the first axis; nil where
// it is not held so.
func signed(h *method.Held) *weight.Int8 {
	if h == nil || h.As == nil && h.Step == 0 {
		return nil
	}
	w, err := h.Weight()
	q, ok := w.(weight.Int8)
	if err != nil || !ok || q.Zero != nil || q.Group != 0 || q.Axis > 0 || !q.Q.DType.IsSigned() {
		return nil
	}
	return &q
}

// rescale multiplies levels by a factor for each index of the first axis, which becomes a part of its scale; false: they
// stay, since no levels are the same with the other sign, or no scale is left.
func rescale(h *method.Held, q weight.Int8, f []float64) bool {
	levels, scale := make([]int32, q.Q.Len()), make([]float32, len(f))
	k := len(levels) / len(f)
	for c := range f {
		s := q.Scale[c%len(q.Scale)]
		scale[c] = float32(float64(s) * math.Abs(f[c]))
		if scale[c]-scale[c] != 0 {
			return false
		}
		sign := int32(1)
		switch {
		case scale[c] == 0:
			sign, scale[c] = 0, s
		case f[c] < 0:
			sign = -1
		}
		for i := c * k; i < (c+1)*k; i++ {
			levels[i] = sign * q.Level(i)
		}
	}
	t, err := weight.PackLevels(q.Q.DType, levels, q.Q.Shape...)
	if err != nil {
		return false
	}
	w, err := weight.NewInt8(t, 0, scale, nil)
	if err != nil {
		return false
	}
	h.Hold(w)
	return true
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
