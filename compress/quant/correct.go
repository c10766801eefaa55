package quant

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"whit/compress/fit"
	"whit/compress/method"
	"whit/graph"
	"whit/stat"
	"whit/tensor"
	"whit/weight"
)

// Correct adds to each bias what rounding took from the mean of the layer's outputs (M. Nagel,
// M. van Baalen, T. Blankevoort, M. Welling: Data-free quantization through weight
// equalization and bias correction, 2019, section 4.2 and appendix D): the means of each channel, before
// and now, over images of the training part. Layers are corrected in order, each on inputs that have gone through
// all that was compressed before. It deviates in that the means are measured, never derived from
// normalisation layers; a MatMul has no bias and stays.
var Correct = &method.Method{
	Name: "correct",
	Doc:  "corrects biases for what rounding did to the mean of each channel",
	Params: []method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "images", Kind: method.Int, Default: 256, Min: 1, Max: 1e5, Doc: "images of the training part that are looked at, without their labels"},
	},
	Apply: correct,
}

func correct(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	if !hasImages(s) {
		return errors.New("correct: there are no images to measure means on")
	}
	foldNorms(s)
	var fixes []fix
	for _, l := range layers {
		b := l.Node.Input(2)
		if l.Node.Op == "MatMul" || b != nil && !b.IsConst() {
			continue
		}
		fixes = append(fixes, fix{l.Node, left(s, l), func(delta []float64) { addBias(s.Graph, l, delta) }})
	}
	if err := correctAll(ctx, s, fixes, a.Int("images")); err != nil {
		return fmt.Errorf("correct: %w", err)
	}
	return stage(ctx, s, "corrected")
}

// addBias adds to a layer's float bias.
func addBias(g *graph.Graph, l *method.Layer, delta []float64) {
	y := make([]float32, len(delta))
	for c, d := range delta {
		if b := l.Node.Input(2); b != nil {
			d += float64(tensor.Of[float32](b.Tensor())[c])
		}
		y[c] = float32(d)
	}
	setBias(g, l.Node, l, y)
}

// fix is a node whose mean can be corrected.
type fix struct {
	node *graph.Node
	left []int                 // of the units in the model that it is compared with; nil: all
	add  func(delta []float64) // to the bias, a number a channel
}

// correctAll corrects nodes in order. What Base does not compute, or in another number of
// channels, stays.
func correctAll(ctx context.Context, s *method.State, fixes []fix, images int) error {
	base := s.Base
	if base == nil {
		base = s.Float
	}
	known := map[string]bool{}
	for _, v := range base.Values() {
		known[v.Name] = v.Kind == graph.Computed
	}
	fixes = slices.DeleteFunc(fixes, func(f fix) bool { return !known[f.node.Out[0].Name] })
	images, err := fitting(s.Graph, s.Train, images)
	if err != nil {
		return err
	}
	want := make([]*means, len(fixes))
	var points []stat.Point
	for i, f := range fixes {
		want[i] = &means{}
		points = append(points, stat.Point{Value: f.node.Out[0].Name, Observer: &stat.Channels{Keep: f.left, Axis: 1, To: want[i]}})
	}
	if err := stat.Run(ctx, base, s.Train, points, runOptions(s, images)); err != nil {
		return err
	}
	w, err := newWalk(ctx, s.Graph, s.Train, images, s.Threads)
	if err != nil {
		return err
	}
	for i, f := range fixes {
		now := &means{}
		g, err := s.Freeze() // only levels run on integers
		if err != nil {
			return err
		}
		name := f.node.Out[0].Name
		if err := w.to(ctx, g, name, true, func(_ int, y *tensor.Tensor) error { return now.Observe(y) }); err != nil {
			return err
		}
		s.Tell(method.Event{Stage: "correct", Message: f.node.Name, Done: float64(i + 1), Total: float64(len(fixes))})
		if len(now.sum) != len(want[i].sum) || now.n == 0 {
			continue
		}
		delta := make([]float64, len(now.sum))
		for c := range delta {
			delta[c] = want[i].sum[c]/float64(want[i].n) - now.sum[c]/float64(now.n)
			if math.IsNaN(delta[c]) || math.IsInf(delta[c], 0) {
				return fmt.Errorf("the mean of %q is not finite", name)
			}
		}
		f.add(delta)
	}
	return nil
}

// means sums each channel, which is axis 1.
type means struct {
	sum []float64
	n   int64 // elements of a channel
}

// Observe implements stat.Observer.
func (m *means) Observe(x *tensor.Tensor) error {
	if len(x.Shape) < 2 {
		return fmt.Errorf("shape %v, want at least two axes", x.Shape)
	}
	c, inner := x.Shape[1], x.Shape[2:].NumElements()
	if m.sum == nil {
		m.sum = make([]float64, c)
	}
	if c != len(m.sum) {
		return fmt.Errorf("%d channels after %d", c, len(m.sum))
	}
	v := tensor.Of[float32](x)
	for n := range x.Shape[0] {
		for k := range c {
			sum := 0.0
			for _, f := range v[(n*c+k)*inner : (n*c+k+1)*inner] {
				sum += float64(f)
			}
			m.sum[k] += sum
		}
	}
	m.n += int64(x.Shape[0] * inner)
	return nil
}

// refit chooses the levels of products on inputs that are quantised, and their biases.
func (p *placement) refit(ctx context.Context, s *method.State, images int) error {
	var jobs []job
	for _, b := range p.biases {
		l := p.product(b.node)
		if _, err := fit.RowsOf(l); err != nil || l.Node != b.node {
			continue
		}
		j := job{l: l, centred: b.node.Op != "MatMul"}
		j.bias = func(y []float32) {
			if b.value == nil {
				setBias(p.g, b.node, l, y)
				return
			}
			q := tensor.New(tensor.Int32, len(y))
			for c, v := range y {
				x := math.RoundToEven(float64(v) / float64(b.scales[c]))
				tensor.Of[int32](q)[c] = int32(min(max(x, -maxBias), maxBias))
			}
			b.value.Data = q
		}
		jobs = append(jobs, j)
	}
	for _, n := range p.floats { // their weights are levels too
		l := p.suited(n)
		if _, err := fit.RowsOf(l); err != nil || l.Node != n {
			continue
		}
		if _, ok := l.Weight.As.(weight.Int8); ok {
			free := n.Op != "MatMul" && (n.Input(2) == nil || n.Input(2).IsConst())
			jobs = append(jobs, job{l: l, centred: free, scales: true, bias: func(y []float32) { setBias(p.g, n, l, y) }})
		}
	}
	slices.SortStableFunc(jobs, func(a, b job) int {
		return slices.Index(p.g.Nodes, a.l.Node) - slices.Index(p.g.Nodes, b.l.Node)
	})
	const passes, damp = 20, 0.01 // as adaround has them
	return refitAll(ctx, s, s.Base, jobs, images, passes, damp)
}

// correct corrects the biases of products whose inputs are quantised.
func (p *placement) correct(ctx context.Context, s *method.State, images int) error {
	var fixes []fix
	for _, b := range p.biases {
		n := b.node
		switch {
		case b.value != nil:
			fixes = append(fixes, fix{n, nil, func(delta []float64) {
				q := b.value.Data.Clone()
				for c, d := range delta {
					x := math.RoundToEven(d/float64(b.scales[c])) + float64(tensor.Of[int32](q)[c])
					tensor.Of[int32](q)[c] = int32(min(max(x, -maxBias), maxBias))
				}
				b.value.Data = q
			}})
		case n.Op != "MatMul":
			if l := p.product(n); l.Node == n {
				fixes = append(fixes, fix{n, nil, func(delta []float64) { addBias(p.g, l, delta) }})
			}
		}
	}
	return correctAll(ctx, s, fixes, images)
}
