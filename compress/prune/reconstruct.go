package prune

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"whit/compress/fit"
	"whit/compress/method"
	"whit/graph"
	"whit/stat"
	"whit/tensor"
)

// Reconstruct removes channels and fits the weights of the layers that read them anew, by least
// squares, so that their outputs are those of the float model (Y. He, X. Zhang, J. Sun: Channel pruning for
// accelerating very deep neural networks, 2017, section 3.1): the first of the paper's two steps, the
// choice, is by a score or greedy; the second, the reconstruction, is its equation 3. Layers
// are fitted in the order of the network, each on inputs that what was done before it has
// changed, against the outputs of the float model, as the paper does for whole models (section 3.2).
//
// It deviates in that the choice is not by LASSO: greedy is the algorithm of [ThiNet], by
// the same outputs; that a bias is fitted too, and added to a convolution that has none;
// that a small ridge (1e-4 of the mean diagonal, more where rounding needs it) draws weights to what they were, so
// that directions in which the images say nothing stay; and that branches are handled by coupling
// channels rather than by sampling them (section 3.3).
var Reconstruct = &method.Method{
	Name: "reconstruct",
	Doc:  "removes channels and fits the layers that read them to give what they give in the float model",
	Params: append(append(append([]method.Param{
		{Name: "score", Kind: method.String, Default: "greedy", Choices: []string{"greedy", "l1", "l2", "median", "bn", "mean", "variance", "taylor"}, Doc: "what chooses the channels: greedy by what the next layer loses, or a score as for channels"},
	}, cutParams...), rowsParam), method.FitParams(0, 1e-3)...),
	Apply: reconstruct,
}

// ridge is the share of the diagonal's mean that holds weights to what they were.
const ridge = 1e-4

func reconstruct(ctx context.Context, s *method.State, a method.Args) error {
	f := fitter{s, a}
	if a.String("score") == "greedy" {
		err := greedy(ctx, s, a, func(sts []*stats) error {
			for _, st := range sts {
				if err := f.refit(ctx, st.l.Node); err != nil {
					return err
				}
			}
			return nil
		}, false)
		if err != nil {
			return err
		}
		return finish(ctx, s, a, "reconstructed")
	}
	c, err := newCutter(s, a)
	if err != nil {
		return err
	}
	src, err := c.scores(ctx, a.String("score"), a.Int("images"))
	if err != nil {
		return err
	}
	ks, err := c.pick(src)
	if err != nil {
		return err
	}
	gone := c.y.gone(ks)
	var nodes []*graph.Node
	for _, r := range readers(s.Graph, c.y.types) {
		if gone[r.w] != nil && (r.node.Op != "Conv" || r.node.Int("group", 1) == 1) {
			nodes = append(nodes, r.node)
		}
	}
	if err := cut(s, c.y, ks); err != nil {
		return err
	}
	for i, n := range nodes {
		s.Tell(method.Event{Stage: "reconstruct", Message: n.Name, Done: float64(i), Total: float64(len(nodes))})
		if err := f.refit(ctx, n); err != nil {
			return err
		}
	}
	return finish(ctx, s, a, "reconstructed")
}

// fitter fits layers of the state's graph to what they give in the float model.
type fitter struct {
	s *method.State
	a method.Args
}

// refit fits the layer of a node; what cannot be fitted is noted and stays.
func (f fitter) refit(ctx context.Context, n *graph.Node) error {
	for _, l := range f.s.Layers {
		if l.Node != n {
			continue
		}
		r, err := fit.RowsOf(l)
		if errors.Is(err, fit.ErrUnsuited) || err == nil && (r.Groups != 1 || r.K > stat.MaxColumns) {
			f.s.Refuse("fitting "+l.Name, fmt.Sprintf("%d columns in %d groups are not fitted", r.K, r.Groups))
			return nil
		} else if err != nil {
			return err
		}
		if b := n.Input(2); b != nil && !b.IsConst() {
			f.s.Refuse("fitting "+l.Name, "its bias is computed")
			return nil
		}
		if y := f.s.Float.Find(n.Out[0].Name); y == nil || y.Kind != graph.Computed {
			f.s.Refuse("fitting "+l.Name, "the float model has no such layer")
			return nil
		}
		p, err := f.against(ctx, l, r)
		if err != nil {
			return err
		}
		return refit(f.s, l, r, p)
	}
	return nil
}

// against collects the layer's inputs and its outputs in the float model.
func (f fitter) against(ctx context.Context, l *method.Layer, r fit.Rows) (*stat.Patches, error) {
	images := max(1, min(f.a.Int("images"), f.s.Train.Len()))
	p := &stat.Patches{Groups: r.Groups, PerSample: (rows(f.a, r.K) + images - 1) / images, Threads: f.s.Threads}
	var err error
	if l.Node.Op == "Conv" {
		if p.Window, err = stat.WindowOf(l.Node); err != nil {
			return nil, err
		}
	}
	axis := 1
	if l.Node.Op == "MatMul" {
		axis = -1
	}
	return p, stat.RunAll(ctx, f.s.Train, stat.Options{Batch: batch(f.s), Samples: images, Threads: f.s.Threads},
		stat.Probe{Graph: f.s.Float, Points: []stat.Point{{Value: l.Node.Out[0].Name, Observer: &channelsOf{f.s.Left[l.Weight.Value.Name], axis, p.Targets()}}}},
		stat.Probe{Graph: f.s.Graph, Points: []stat.Point{{Value: l.Node.In[0].Name, Observer: p}}})
}

// batch is how many images run together: as many as the model was made for, where it says so.
func batch(s *method.State) int {
	if d := s.Float.Inputs[0].Decl; d.Ranked && len(d.Dims) > 0 && d.Dims[0].Size > 0 {
		return d.Dims[0].Size
	}
	return 16
}

// channelsOf shows an observer some channels only.
type channelsOf struct {
	kept []int // nil: all
	axis int
	to   stat.Observer
}

// Observe implements stat.Observer.
func (o *channelsOf) Observe(x *tensor.Tensor) error {
	if o.kept == nil {
		return o.to.Observe(x)
	}
	axis := o.axis
	if axis < 0 {
		axis += len(x.Shape)
	}
	gone := make([]bool, x.Shape[axis])
	for i := range gone {
		_, keep := slices.BinarySearch(o.kept, i)
		gone[i] = !keep
	}
	return o.to.Observe(without(x, axis, gone))
}

// refit gives the layer the weights, and the bias where it can have one, that make its outputs
// closest to the targets. With x and y less their means, w is w0 + d where (Σ xxᵀ + ridge) d = Σ x (y - w0 x).
func refit(s *method.State, l *method.Layer, r fit.Rows, p *stat.Patches) error {
	if len(p.Parts) != 1 || p.Rows == 0 || p.Outs != r.N || p.Parts[0].K != r.K {
		return fmt.Errorf("layer %s: %d outputs of %d columns were seen, want %d of %d", l.Name, p.Outs, p.Columns(), r.N, r.K)
	}
	m, n, k := p.Parts[0], float64(p.Rows), r.K
	center := l.Node.Op != "MatMul"
	if !center { // no bias: the mean stays
		n = 0
	}
	w := make([]float64, r.N*k)
	d := make([]float64, r.N*k)
	mean := func(v float64) float64 {
		if n == 0 {
			return 0
		}
		return v / n
	}
	for i := range k {
		for j := range k {
			m.G[i*k+j] -= float64(m.Sum[i] * mean(m.Sum[j]))
		}
	}
	parallelRows(r.N, s.Threads, func(o int) {
		row, e := w[o*k:][:k], d[o*k:][:k]
		r.Get(row, l.Weight.Data(), o)
		for i := range e {
			e[i] = m.Cross[o*k+i] - float64(p.YSum[o]*mean(m.Sum[i]))
		}
		for j, v := range row {
			if v == 0 {
				continue
			}
			for i, g := range m.G[j*k:][:k] {
				e[i] -= float64(v * g)
			}
		}
	})
	if err := factor(m.G, k, ridge, s.Threads); err != nil {
		s.Refuse("fitting "+l.Name, err.Error())
		return nil
	}
	parallelRows(r.N, s.Threads, func(o int) { fit.Solve(m.G, k, d[o*k:][:k]) })
	x := slices.Clone(l.Weight.Data())
	b := make([]float32, r.N)
	for o := range r.N {
		left := p.YSum[o]
		for i := range k {
			v := float32(w[o*k+i] + d[o*k+i])
			if v-v != 0 {
				s.Refuse("fitting "+l.Name, "its weights would not be finite")
				return nil
			}
			x[r.At(o, i)] = v
			left -= float64(v) * m.Sum[i]
		}
		b[o] = float32(mean(left))
	}
	set(&l.Weight, x)
	if center {
		return setBias(s, l, b)
	}
	return nil
}

// factor is the Cholesky factor, in the lower half, of h [k,k] with a share of its mean diagonal added, ten times as
// much at a time while rounding, of sums in float32, leaves it indefinite.
func factor(h []float64, k int, share float64, threads int) error {
	diagonal := make([]float64, k)
	for i := range k {
		diagonal[i] = h[i*k+i]
	}
	for {
		fit.Damp(h, k, share)
		err := fit.Cholesky(h, k, threads)
		if share *= 10; err == nil || share > 1 {
			return err
		}
		for i := range k {
			for j := range i {
				h[i*k+j] = h[j*k+i]
			}
			h[i*k+i] = diagonal[i]
		}
	}
}

func parallelRows(n, threads int, f func(i int)) {
	parallel(n, threads, func(i int, _ []float64) { f(i) }, func(int, []float64) {})
}

// setBias gives a Conv or Gemm the bias b, of its own.
func setBias(s *method.State, l *method.Layer, b []float32) error {
	if l.Bias != nil && l.Bias.Len() == len(b) {
		set(l.Bias, b)
		return nil
	}
	v := s.Graph.NewConst("", tensor.From(b, len(b)))
	l.Node.In = append(slices.Clone(l.Node.In[:2]), v)
	l.Bias = &method.Held{Value: v}
	return nil
}
