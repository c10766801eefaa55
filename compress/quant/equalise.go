package quant

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

// Equalise scales the channels between two layers so that the weights that make a channel and those that
// read it reach equally far (M. Nagel, M. van Baalen, T. Blankevoort, M. Welling: Data-free
// quantization through weight equalization and bias correction, 2019, section 4.1): row i of the first by
// 1/s, column i of the second by s, s = sqrt(r1/r2). The float model computes the same, to rounding;
// scales of whole tensors, and of activations, lose less. All pairs are gone through until nothing
// moves. It comes before rounding, needs no images, and folds batch normalisation first.
//
// Between the two may stand what commutes with positive factors: Relu, LeakyRelu, PRelu,
// pools, Flatten. The paper replaces Relu6 by Relu in models that bear it: clip: relu does that with every Clip
// from 0 on between layers, which changes the model where it clipped; by default a Clip stops. The paper's absorption
// of high biases is left out: calibration sees them.
//
// Weights that have a scale a channel anyway gain nothing by that, and activations, with one for all, little. by: activations
// takes for r1 how far the channel's values reach on images: weights then take over what activations
// cannot hold (G. Xiao et al.: SmoothQuant, 2023, section 4, with a migration strength of 0.5).
var Equalise = &method.Method{
	Name: "equalise",
	Doc:  "scales channels between layers so that weights reach equally far; the outputs stay",
	Params: []method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers may change: globs, joined by commas"},
		{Name: "by", Kind: method.String, Default: "weights", Choices: []string{"weights", "activations"}, Doc: "how far a channel reaches: its weights, or its values on images of the training part"},
		{Name: "images", Kind: method.Int, Default: 64, Min: 1, Max: 1e5, Doc: "images that are looked at then, without their labels"},
		{Name: "clip", Kind: method.String, Default: "stop", Choices: []string{"stop", "relu"}, Doc: "a Clip from 0 on (Relu6) stops, or becomes a Relu"},
		{Name: "passes", Kind: method.Int, Default: 20, Min: 1, Max: 1000, Doc: "passes over all pairs, at most"},
	},
	Apply: equalise,
}

func equalise(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	for _, l := range layers {
		if l.Weight.As != nil || l.Weight.Centroids != nil {
			return fmt.Errorf("equalise: layer %s is held as levels already; equalise comes before", l.Name)
		}
	}
	foldNorms(s)
	ps := pairs(s.Graph, layers, a.String("clip") == "relu")
	if len(ps) == 0 {
		return fmt.Errorf("equalise: between no two of the layers %q is there only what commutes with factors", a.String("layers"))
	}
	if a.String("by") == "activations" {
		if !hasImages(s) {
			return errors.New("equalise: there are no images to see how far values reach")
		}
		var points []stat.Point
		for i := range ps {
			ps[i].far = &farthest{}
			points = append(points, stat.Point{Value: ps[i].value.Name, Observer: ps[i].far})
		}
		if err := stat.Run(ctx, s.Graph, s.Train, points, runOptions(s, a.Int("images"))); err != nil {
			return fmt.Errorf("equalise: %w", err)
		}
	}
	for range a.Int("passes") {
		if err := ctx.Err(); err != nil {
			return err
		}
		most := 0.0
		for _, p := range ps {
			most = max(most, p.equalise(s))
		}
		if most < 1e-3 {
			break
		}
	}
	s.Base = nil
	s.KeepBase()
	return stage(ctx, s, "equalised")
}

// pair are two layers of which the second alone reads what the first makes.
type pair struct {
	a, b  *method.Layer
	each  int          // columns of b that read one channel of a: pixels that Flatten joined
	value *graph.Value // what b reads, before it was flattened
	far   *farthest    // how far its channels reach; nil: weights count
}

// farthest is the largest magnitude of each channel, which is axis 1.
type farthest struct{ far []float64 }

// Observe implements stat.Observer.
func (m *farthest) Observe(x *tensor.Tensor) error {
	if len(x.Shape) < 2 {
		return fmt.Errorf("shape %v, want at least two axes", x.Shape)
	}
	c, inner := x.Shape[1], x.Shape[2:].NumElements()
	if m.far == nil {
		m.far = make([]float64, c)
	}
	if len(m.far) != c {
		return fmt.Errorf("%d channels after %d", c, len(m.far))
	}
	for i, v := range tensor.Of[float32](x) {
		m.far[i/inner%c] = max(m.far[i/inner%c], math.Abs(float64(v)))
	}
	return nil
}

// pairs lists them in order.
func pairs(g *graph.Graph, layers []*method.Layer, clips bool) (ps []pair) {
	uses := g.Uses()
	of := map[*graph.Node]*method.Layer{}
	for _, l := range layers {
		if len(uses[l.Weight.Value]) == 1 && (l.Node.Input(2) == nil || l.Bias != nil) {
			of[l.Node] = l
		}
	}
	for _, l := range layers {
		if of[l.Node] == nil {
			continue
		}
		v, flat := l.Node.Out[0], false
		last := v
		var clip []*graph.Node
		for {
			u := uses[v]
			if len(u) != 1 || u[0].Node == nil || u[0].Index != 0 {
				break
			}
			n := u[0].Node
			if b := of[n]; b != nil {
				if p, ok := match(l, b, flat); ok {
					p.value = last
					ps = append(ps, p)
					for _, c := range clip {
						c.Op, c.Attrs, c.In = "Relu", nil, c.In[:1]
					}
				}
				break
			}
			if n.Domain != "" || len(n.Out) != 1 {
				break
			}
			switch n.Op {
			case "Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Identity":
			case "PRelu":
				if !n.In[1].IsConst() {
					n = nil
				}
			case "Flatten":
				if flat = true; n.Int("axis", 1) != 1 {
					n = nil
				}
			case "Clip":
				if lo := n.Input(1); !clips || floats(lo) == nil || len(floats(lo)) != 1 || floats(lo)[0] != 0 {
					n = nil
				}
				clip = append(clip, n)
			default:
				n = nil
			}
			if n == nil {
				break
			}
			if v = n.Out[0]; !flat {
				last = v
			}
		}
	}
	return ps
}

// match reports whether b has columns for the channels of a.
func match(a, b *method.Layer, flat bool) (pair, bool) {
	c, s := a.Weight.Value.Type.Shape[a.OutAxis], b.Weight.Value.Type.Shape
	p := pair{a: a, b: b, each: 1}
	if a.Node.Op == "MatMul" && len(a.Weight.Value.Type.Shape) != 2 || a.Bias != nil && a.Bias.Len() != c {
		return p, false
	}
	if b.Node.Op == "Conv" {
		g := int(b.Node.Int("group", 1))
		return p, !flat && a.Node.Op == "Conv" && s[1]*g == c && (g == 1 || s[1] == 1 && s[0]%c == 0)
	}
	in := s[1-b.OutAxis]
	if len(s) != 2 || c == 0 || in%c != 0 || b.Node.Int("transA", 0) != 0 {
		return p, false
	}
	p.each = in / c
	return p, flat || p.each == 1 && a.Node.Op != "Conv"
}

// rows calls f for the elements of b's weight that read channel i.
func (p pair) columns(i int, f func(k int)) {
	s := p.b.Weight.Value.Type.Shape
	if p.b.Node.Op == "Conv" {
		inner := s[2:].NumElements()
		if p.b.Node.Int("group", 1) > 1 { // one input an output; several outputs a channel, perhaps
			per := s[0] / p.a.Weight.Value.Type.Shape[0]
			for k := i * per * inner; k < (i+1)*per*inner; k++ {
				f(k)
			}
			return
		}
		for o := range s[0] {
			for k := (o*s[1] + i) * inner; k < (o*s[1]+i+1)*inner; k++ {
				f(k)
			}
		}
		return
	}
	for o := range s[p.b.OutAxis] {
		for j := i * p.each; j < (i+1)*p.each; j++ {
			if p.b.OutAxis == 0 {
				f(o*s[1] + j)
			} else {
				f(j*s[1] + o)
			}
		}
	}
}

// equalise scales every channel and returns by how much the most, as a logarithm.
func (p pair) equalise(s *method.State) (most float64) {
	wa, wb := slices.Clone(p.a.Weight.Data()), slices.Clone(p.b.Weight.Data())
	var bias []float32
	if p.a.Bias != nil {
		bias = slices.Clone(p.a.Bias.Data())
	}
	norm, known := s.Norms[p.a.Node.Out[0].Name]
	if known {
		norm = method.Norm{Mean: slices.Clone(norm.Mean), Std: slices.Clone(norm.Std)}
	}
	at := sets{shape: p.a.Weight.Value.Type.Shape, axis: p.a.OutAxis}
	for i := range at.count() {
		var r1, r2 float64
		at.each(i, func(k int) { r1 = max(r1, math.Abs(float64(wa[k]))) })
		p.columns(i, func(k int) { r2 = max(r2, math.Abs(float64(wb[k]))) })
		if p.far != nil && i < len(p.far.far) {
			r1 = p.far.far[i]
		}
		f := math.Sqrt(r1 / r2)
		if !(f > 1e-6 && f < 1e6) { // one of them does nothing, or is not finite
			continue
		}
		// Powers of two would be exact, but half as equal.
		most = max(most, math.Abs(math.Log(f)))
		at.each(i, func(k int) { wa[k] = float32(float64(wa[k]) / f) })
		p.columns(i, func(k int) { wb[k] = float32(float64(wb[k]) * f) })
		if bias != nil {
			bias[i] = float32(float64(bias[i]) / f)
		}
		if p.far != nil && i < len(p.far.far) {
			p.far.far[i] /= f
		}
		if known {
			norm.Mean[i], norm.Std[i] = norm.Mean[i]/f, norm.Std[i]/f
		}
	}
	if known {
		setNorm(s, p.a.Node.Out[0].Name, norm)
	}
	p.a.Weight.Set(wa)
	p.b.Weight.Set(wb)
	if bias != nil {
		p.a.Bias.Value.Data = tensor.From(bias, p.a.Bias.Value.Type.Shape...)
	}
	return most
}
