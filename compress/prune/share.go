package prune

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"

	"whit/compress/method"
)

// Rank lists the layers of the curves of one granularity with parts zeroed, the most sensitive
// first: by the loss with the given fraction gone, interpolated.
func Rank(curves []method.Curve, granularity string, fraction float64) []string {
	type item struct {
		layer string
		loss  float64
	}
	var items []item
	for _, c := range curves {
		if c.Method == method.Zeroed && c.Granularity == granularity && len(c.Points) > 0 {
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

// share chooses each layer's sparsity from the curves by weight so that the
// layers together reach the target: every layer gives up as much as raises the
// model's loss by one and the same amount. Where even the curves' last fractions do
// not reach the target, what is kept shrinks evenly.
func share(curves []method.Curve, layers []*method.Layer, target float64) (method.LayerValues, error) {
	var cs [][]method.CurvePoint
	total := 0.0
	for _, l := range layers {
		i := slices.IndexFunc(curves, func(c method.Curve) bool {
			return c.Method == method.Zeroed && c.Granularity == "weight" && c.Layer == l.Name && len(c.Points) > 1
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
