package quant

import (
	"context"
	"fmt"
	"math"
	"slices"

	"whit/compress/method"
	"whit/graph"
	"whit/tensor"
	"whit/weight"
)

// Shorten rounds what is left in float32 beside weights to few bits of mantissa: scales of levels, biases, slopes, factors
// and terms. At 8 bits (bfloat16's) they are off by a five-hundredth of themselves at most, far less than levels are, and
// the file holds each in a byte or so instead of four: in small networks of few bits they are a quarter of it. It needs no images.
//
// What integers are computed with stays: after the step activations these are the scales of all that it quantised.
var Shorten = &method.Method{
	Name: "shorten",
	Doc:  "rounds scales, biases and slopes to few bits of mantissa",
	Params: []method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "whose scales and biases: globs, joined by commas; slopes, factors and terms between layers are rounded by *"},
		{Name: "bits", Kind: method.Int, Default: 8, Min: 2, Max: 24, Doc: "bits of mantissa, the first one counted; from 8 on down a file takes the fewer the less"},
	},
	Apply: shorten,
}

func shorten(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	bits := a.Int("bits")
	uses := s.Graph.Uses()
	for _, l := range layers {
		if integer(l.Node, uses) {
			continue
		}
		h := &l.Weight
		switch w := h.As.(type) {
		case weight.Int8:
			if w.Scale, err = shortened(w.Scale, bits); err == nil {
				h.Hold(w)
			}
		case nil:
			if h.Centroids != nil && h.Step == 0 {
				var c []float32
				if c, err = shortened(h.Centroids, bits); err == nil {
					h.Share(c, h.Index)
				}
			}
		}
		if err != nil {
			return fmt.Errorf("shorten: layer %s: %w", l.Name, err)
		}
		if b := l.Node.Input(2); b != nil && floats(b) != nil && (l.Bias == nil || l.Bias.As == nil && l.Bias.Centroids == nil) && len(uses[b]) == 1 {
			y, err := shortened(floats(b), bits)
			if err != nil {
				return fmt.Errorf("shorten: layer %s: %w", l.Name, err)
			}
			setBias(s.Graph, l.Node, l, y)
		}
	}
	if a.String("layers") != "*" {
		return stage(ctx, s, "shortened")
	}
	weights := map[*graph.Value]bool{}
	for _, l := range s.Layers {
		weights[l.Weight.Value] = true
	}
	done := map[*graph.Value]bool{}
	for _, n := range s.Graph.Nodes {
		if n.Domain != "" || !slices.Contains([]string{"PRelu", "BatchNormalization", "InstanceNormalization", "LayerNormalization", "Add", "Sub", "Mul", "Div"}, n.Op) {
			continue
		}
		for _, v := range n.In {
			if v == nil || floats(v) == nil || weights[v] || done[v] {
				continue
			}
			done[v] = true
			y, err := shortened(floats(v), bits)
			if err != nil {
				return fmt.Errorf("shorten: %q: %w", v.Name, err)
			}
			v.Data = tensor.From(y, v.Type.Shape...)
		}
	}
	return stage(ctx, s, "shortened")
}

// integer reports a product whose weight's scales are tied to others: it reads or gives what is quantised.
func integer(n *graph.Node, uses map[*graph.Value][]graph.Use) bool {
	for _, v := range n.In {
		if v != nil && v.Producer != nil && v.Producer.Op == "DequantizeLinear" {
			return true
		}
	}
	return slices.ContainsFunc(uses[n.Out[0]], func(u graph.Use) bool { return u.Node != nil && u.Node.Op == "QuantizeLinear" })
}

// shortened are x with so many bits of mantissa, ties to even. What would become infinite stays.
func shortened(x []float32, bits int) ([]float32, error) {
	if err := finite(x); err != nil {
		return nil, err
	}
	y := make([]float32, len(x))
	drop := uint(24 - bits)
	for i, v := range x {
		u := math.Float32bits(v)
		if drop > 0 {
			u += 1<<(drop-1) - 1 + u>>drop&1
			u &^= 1<<drop - 1
		}
		if y[i] = math.Float32frombits(u); y[i]-y[i] != 0 {
			y[i] = v
		}
	}
	return y, nil
}
