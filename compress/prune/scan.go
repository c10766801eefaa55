package prune

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sort"

	"whit/compress/method"
	"whit/graph"
	"whit/tensor"
)

// Scan measures how sensitive the model is to each layer (Han, Pool, Tran, Dally
// 2015, section 4.2 and figure 6): a part of one layer's weights is zeroed, all
// else stays, nothing is retrained, and the model is measured on the choice split.
// It does so by single weights (the smallest), by nodes (the output units with the
// smallest norm), and by the whole layer.
var Scan = &method.Method{
	Name: "scan",
	Doc:  "measures how sensitive the model is to each layer, one by one",
	Params: []method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "fractions", Kind: method.Floats, Default: []float64{0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98}, Min: 0, Max: 1, Doc: "shares of a layer that are zeroed"},
		{Name: "granularity", Kind: method.Strings, Default: []string{"weight", "node", "layer"}, Choices: []string{"weight", "node", "layer"}, Doc: "what is zeroed: single weights, output units, the layer"},
		{Name: "images", Kind: method.Int, Default: 0, Min: 0, Max: 1e6, Doc: "images of the choice split to measure on; 0: all"},
	},
	Apply: scan,
}

func scan(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	c := *s // measures on part of the choice split; nothing else of it changes
	if n := a.Int("images"); n > 0 && n < s.Choice.Len() {
		c.Choice = method.First(s.Choice, n)
	}
	base, err := c.Measure(ctx, s.Graph)
	if err != nil {
		return err
	}
	fractions := slices.Clone(a.Floats("fractions"))
	slices.Sort(fractions)
	fractions = slices.Compact(fractions)
	total := float64(len(layers) * len(a.Strings("granularity")))
	done := 0.0
	var curves []method.Curve
	for _, l := range layers {
		w := l.Weight.Data()
		for _, gr := range a.Strings("granularity") {
			cv := method.Curve{Layer: l.Name, Granularity: gr}
			at := fractions
			if gr == "layer" {
				at = []float64{1}
			} else {
				cv.Points = append(cv.Points, method.CurvePoint{Error: base.Error, Loss: base.Loss})
			}
			for _, f := range at {
				if f == 0 {
					continue
				}
				var mask []uint64
				if gr == "node" {
					mask = Nodes(w, l.Weight.Value.Type.Shape, l.OutAxis, f)
				} else {
					mask = Smallest(w, f, nil)
				}
				e, err := c.Measure(ctx, with(s.Graph, l.Weight.Value, apply(w, mask)))
				if err != nil {
					return err
				}
				cv.Points = append(cv.Points, method.CurvePoint{Fraction: f, Error: e.Error, Loss: e.Loss})
			}
			curves = append(curves, cv)
			done++
			s.Tell(method.Event{Stage: "scan", Done: done, Total: total, Message: l.Name + " by " + gr})
		}
	}
	s.Curves = curves
	return nil
}

// with is a copy of g whose constant v holds x.
func with(g *graph.Graph, v *graph.Value, x []float32) *graph.Graph {
	c, m := g.Clone()
	m[v].Data, m[v].Weight = tensor.From(x, v.Type.Shape...), nil
	return c
}

// Rank lists the layers of the curves of one granularity, the most sensitive
// first: by the loss with the given fraction gone, interpolated.
func Rank(curves []method.Curve, granularity string, fraction float64) []string {
	type item struct {
		layer string
		loss  float64
	}
	var items []item
	for _, c := range curves {
		if c.Granularity == granularity && len(c.Points) > 0 {
			items = append(items, item{c.Layer, lossAt(c.Points, fraction)})
		}
	}
	slices.SortStableFunc(items, func(a, b item) int { return cmp.Compare(b.loss, a.loss) })
	var out []string
	for _, i := range items {
		out = append(out, i.layer)
	}
	return out
}

// lossAt interpolates a curve's loss, made monotonic.
func lossAt(ps []method.CurvePoint, f float64) float64 {
	high := math.Inf(-1)
	prev := ps[0]
	for _, p := range ps {
		p.Loss = max(p.Loss, high)
		high = p.Loss
		if p.Fraction >= f {
			if p.Fraction == prev.Fraction {
				return p.Loss
			}
			return prev.Loss + (p.Loss-prev.Loss)*(f-prev.Fraction)/(p.Fraction-prev.Fraction)
		}
		prev = p
	}
	return high
}

// fractionAt is the largest fraction of the curve whose interpolated, monotonic
// loss is at most loss.
func fractionAt(ps []method.CurvePoint, loss float64) float64 {
	at, high := 0.0, math.Inf(-1)
	prev := ps[0]
	for _, p := range ps {
		p.Loss = max(p.Loss, high)
		high = p.Loss
		if p.Loss > loss {
			if p.Loss > prev.Loss {
				at = prev.Fraction + (p.Fraction-prev.Fraction)*max(0, loss-prev.Loss)/(p.Loss-prev.Loss)
			}
			return at
		}
		at, prev = p.Fraction, p
	}
	return at
}

// Share chooses each layer's sparsity from the curves by weight so that the
// layers together reach the target: every layer gives up as much as raises the
// model's loss by one and the same amount. Where even the curves' last fractions do
// not reach the target, what is kept shrinks evenly.
func Share(curves []method.Curve, layers []*method.Layer, target float64) (method.LayerValues, error) {
	var cs [][]method.CurvePoint
	total := 0.0
	for _, l := range layers {
		i := slices.IndexFunc(curves, func(c method.Curve) bool {
			return c.Granularity == "weight" && c.Layer == l.Name && len(c.Points) > 1
		})
		if i < 0 {
			return nil, fmt.Errorf("sparsity by scan: no scan of layer %s by weight came before", l.Name)
		}
		cs = append(cs, curves[i].Points)
		total += float64(l.Weight.Len())
	}
	sparsity := func(loss float64) float64 {
		n := 0.0
		for i, l := range layers {
			n += fractionAt(cs[i], loss) * float64(l.Weight.Len())
		}
		return n / total
	}
	// The losses between which the answer lies: all the points' own.
	var losses []float64
	for _, c := range cs {
		for _, p := range c {
			losses = append(losses, p.Loss)
		}
	}
	slices.Sort(losses)
	hi := sort.Search(len(losses), func(i int) bool { return sparsity(losses[i]) >= target })
	out := make(method.LayerValues, len(layers))
	if hi == len(losses) {
		most := sparsity(losses[len(losses)-1])
		for i, l := range layers {
			keep := 1 - fractionAt(cs[i], losses[len(losses)-1])
			out[i] = method.LayerValue{Glob: l.Name, Value: 1 - keep*(1-target)/(1-most)}
		}
		return out, nil
	}
	lo := losses[max(hi-1, 0)]
	up := losses[hi]
	for range 60 {
		mid := (lo + up) / 2
		if sparsity(mid) >= target {
			up = mid
		} else {
			lo = mid
		}
	}
	for i, l := range layers {
		out[i] = method.LayerValue{Glob: l.Name, Value: fractionAt(cs[i], up)}
	}
	return out, nil
}
