package prune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"whit/compress/method"
	"whit/graph"
	"whit/stat"
	"whit/tensor"
)

// Unfold puts a BatchNormalization (S. Ioffe, C. Szegedy: Batch normalization: accelerating deep network training by
// reducing internal covariate shift, 2015, section 3) behind each convolution that has none, with
// the moments that its outputs have over images of the training part, so that nothing changes:
//
//	y = w·x + b = scale·(w'·x - mean)/sqrt(var + epsilon) + bias, w' = w·r/rms(w)
//
// where rms(w) is of a filter's weights that are not zero, and r is sqrt(2/fan in), as weights begin (K. He, X. Zhang, S. Ren, J. Sun: Delving deep into
// rectifiers, 2015, section 2.2), so that one learning rate suits all layers, and one step the levels of all filters of a layer. Exporters fold
// normalisations, and what is folded is hard to train. Nor are filters of one size before the normalisations that a network was trained with; fold and unfold
// make them so. The step fold takes normalisations away again, and levels then have a scale for each channel.
//
// Filters that are held as levels stay as they are, r/rms(w) is 1; codebooks are forgotten. Zeros stay.
var Unfold = &method.Method{
	Name: "unfold",
	Doc:  "puts batch normalisation behind convolutions that have none, for what trains after it; nothing changes by itself",
	Params: []method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "images", Kind: method.Int, Default: 512, Min: 1, Max: 1e6, Doc: "images of the training part to take moments of, without their labels"},
	},
	Apply: unfold,
}

func unfold(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	if s.Train == nil || s.Train.Len() == 0 {
		return errors.New("unfold: there are no images to take moments of")
	}
	uses := s.Graph.Uses()
	var found []*method.Layer
	var seen []*spread
	var points []stat.Point
	for _, l := range layers {
		n := l.Node
		if n.Op != "Conv" || n.Domain != "" || normOf(n, uses) != nil || len(uses[n.In[1]]) != 1 {
			continue
		}
		if b := n.Input(2); b != nil && (!b.IsConst() || b.Type.DType != tensor.Float32) {
			continue
		}
		o := &spread{axis: 1}
		found, seen, points = append(found, l), append(seen, o), append(points, stat.Point{Value: n.Out[0].Name, Observer: o})
	}
	if len(found) == 0 {
		return nil
	}
	if err := stat.Run(ctx, s.Graph, s.Train, points, stat.Options{Batch: batch(s), Samples: a.Int("images"), Threads: s.Threads}); err != nil {
		return fmt.Errorf("unfold: %w", err)
	}
	for i, l := range found {
		if err := unfoldLayer(s, l, seen[i]); err != nil {
			s.Refuse("a normalisation of "+l.Name, err.Error())
		}
	}
	return nil
}

func unfoldLayer(s *method.State, l *method.Layer, o *spread) error {
	const epsilon = 1e-5
	n := l.Node
	mean, variance := o.moments()
	x := slices.Clone(l.Weight.Data())
	c := n.In[1].Type.Shape[0]
	each := len(x) / max(1, c)
	if len(mean) != c || each == 0 {
		return fmt.Errorf("it has %d channels, and outputs of %d", c, len(mean))
	}
	rms := func(x []float32) float64 {
		sum, k := 0.0, 0
		for _, v := range x {
			if v != 0 {
				sum += float64(v) * float64(v)
				k++
			}
		}
		return math.Sqrt(sum / float64(max(1, k)))
	}
	size, kept := math.Sqrt(2/float64(each)), l.Weight.As != nil
	b := make([]float32, c)
	if v := n.Input(2); v != nil {
		copy(b, tensor.Of[float32](v.Tensor()))
	}
	var par [4][]float64
	for k := range par {
		par[k] = make([]float64, c)
	}
	for k := range c {
		w, by := x[k*each:(k+1)*each], 1.0
		if r := rms(w); r > 0 && !kept {
			by = size / r
		}
		for i, v := range w {
			w[i] = float32(float64(v) * by)
		}
		m, v := (mean[k]-float64(b[k]))*by, float64(float32(variance[k]*by*by))
		par[0][k], par[1][k], par[2][k], par[3][k] = math.Sqrt(v+epsilon)/by, mean[k], m, v
		for i := range par {
			if y := float32(par[i][k]); y-y != 0 {
				return fmt.Errorf("the moments of channel %d are not finite", k)
			}
		}
	}
	g := s.Graph
	in := []*graph.Value{nil}
	for i, name := range []string{"scale", "bias", "mean", "var"} {
		in = append(in, g.NewConst(g.NewName(l.Name+":"+name), floats(par[i])))
	}
	bn := g.NewNode("", "BatchNormalization", map[string]any{"epsilon": float32(epsilon)}, 1, in...)
	bn.Out, n.Out, bn.In[0] = n.Out, bn.Out, bn.Out[0]
	bn.Out[0].Producer, n.Out[0].Producer = bn, n
	g.Nodes = slices.Insert(g.Nodes, slices.Index(g.Nodes, n)+1, bn)
	n.In, l.Bias = slices.Clone(n.In[:2]), nil
	if h := &l.Weight; !kept {
		h.Centroids, h.Index, h.Step = nil, nil, 0
		h.Set(x)
	}
	return nil
}
