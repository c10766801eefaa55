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
	"whit/train"
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
// that a ridge draws weights to what they were, so that directions in which the images say nothing stay: 1e-4 of the
// mean diagonal, and where there are fewer than 8 rows a column, what does best on images held out; and that branches are handled by coupling
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
		images := max(1, min(f.a.Int("images"), f.s.Train.Len()))
		p, err := f.against(ctx, l, r, f.s.Train, images)
		if err != nil {
			return err
		}
		share := ridge
		if images >= 8 && p.Rows < int64(8*r.K) {
			if share, err = f.holdOut(ctx, l, r, images); err != nil {
				return err
			}
		}
		return refit(f.s, l, r, p, share)
	}
	return nil
}

// against collects the layer's inputs and its outputs in the float model.
func (f fitter) against(ctx context.Context, l *method.Layer, r fit.Rows, ds stat.Dataset, images int) (*stat.Patches, error) {
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
	return p, stat.RunAll(ctx, ds, stat.Options{Batch: batch(f.s), Samples: images, Threads: f.s.Threads},
		stat.Probe{Graph: f.s.Float, Points: []stat.Point{{Value: l.Node.Out[0].Name, Observer: &stat.Channels{Keep: f.s.Left[l.Weight.Value.Name], Axis: axis, To: p.Targets()}}}},
		stat.Probe{Graph: f.s.Graph, Points: []stat.Point{{Value: l.Node.In[0].Name, Observer: p}}})
}

// batch is how many images run together: as many as the model was made for, where it says so.
func batch(s *method.State) int {
	if d := s.Float.Inputs[0].Decl; d.Ranked && len(d.Dims) > 0 && d.Dims[0].Size > 0 {
		return d.Dims[0].Size
	}
	return 16
}

// holdOut is the ridge that does best on a quarter of the images when the layer is fitted on the rest: where
// there are few rows for every column, the images would be learned by heart.
func (f fitter) holdOut(ctx context.Context, l *method.Layer, r fit.Rows, images int) (float64, error) {
	n := images * 3 / 4
	p, err := f.against(ctx, l, r, f.s.Train, n)
	if err != nil {
		return 0, err
	}
	q, err := f.against(ctx, l, r, rest{f.s.Train, n}, images-n)
	if err != nil {
		return 0, err
	}
	on, off := systemOf(l, r, p, f.s.Threads), systemOf(l, r, q, f.s.Threads)
	best, low := 10.0, 0.0
	for _, share := range []float64{10, 1, 1e-1, 1e-2, 1e-3, ridge} {
		d, err := on.solve(r, share, f.s.Threads)
		if err != nil {
			continue
		}
		errs := make([]float64, r.N) // by how much each output's squared error changes
		parallelRows(r.N, f.s.Threads, func(o int) {
			x := d[o*r.K:][:r.K]
			errs[o] = fit.Quadratic(off.g, r.K, x)
			for i, v := range x {
				errs[o] -= 2 * float64(v*off.e[o*r.K+i])
			}
		})
		sum := 0.0
		for _, e := range errs {
			sum += e
		}
		if sum < low {
			best, low = share, sum
		}
	}
	return best, nil
}

// rest is a dataset less its first samples.
type rest struct {
	train.Dataset
	from int
}

func (d rest) Len() int { return d.Dataset.Len() - d.from }
func (d rest) Read(ctx context.Context, idx []int, x []float32, y []int32) error {
	at := make([]int, len(idx))
	for k, i := range idx {
		at[k] = i + d.from
	}
	return d.Dataset.Read(ctx, at, x, y)
}

// system is the normal equations of a change d of the weights w: G d = E, with E = Σ (y - w x) xᵀ, x and y less their
// means where the layer can have a bias.
type system struct {
	g, e []float64 // [K,K], [N,K]
	w    []float64 // [N,K]
}

func systemOf(l *method.Layer, r fit.Rows, p *stat.Patches, threads int) system {
	m, n, k := p.Parts[0], centred(l, p), r.K
	y := system{g: m.G, e: make([]float64, r.N*k), w: make([]float64, r.N*k)}
	parallelRows(k, threads, func(i int) {
		for j := range k {
			y.g[i*k+j] -= float64(m.Sum[i] * (m.Sum[j] * n))
		}
	})
	parallelRows(r.N, threads, func(o int) {
		row, e := y.w[o*k:][:k], y.e[o*k:][:k]
		r.Get(row, l.Weight.Data(), o)
		for i := range e {
			e[i] = m.Cross[o*k+i] - float64(p.YSum[o]*(m.Sum[i]*n))
		}
		for j, v := range row {
			if v == 0 {
				continue
			}
			for i, g := range y.g[j*k:][:k] {
				e[i] -= float64(v * g)
			}
		}
	})
	return y
}

// centred is 1 over the number of rows; 0 where the layer has no bias, so that means stay.
func centred(l *method.Layer, p *stat.Patches) float64 {
	if l.Node.Op == "MatMul" {
		return 0
	}
	return 1 / float64(p.Rows)
}

// solve is d, drawn to 0 by a share of the mean diagonal.
func (y system) solve(r fit.Rows, share float64, threads int) ([]float64, error) {
	g, d := slices.Clone(y.g), slices.Clone(y.e)
	if err := factor(g, r.K, share, threads); err != nil {
		return nil, err
	}
	parallelRows(r.N, threads, func(o int) { fit.Solve(g, r.K, d[o*r.K:][:r.K]) })
	return d, nil
}

// refit gives the layer the weights, and the bias where it can have one, that make its outputs
// closest to the targets.
func refit(s *method.State, l *method.Layer, r fit.Rows, p *stat.Patches, share float64) error {
	if len(p.Parts) != 1 || p.Rows == 0 || p.Outs != r.N || p.Parts[0].K != r.K {
		return fmt.Errorf("layer %s: %d outputs of %d columns were seen, want %d of %d", l.Name, p.Outs, p.Columns(), r.N, r.K)
	}
	y := systemOf(l, r, p, s.Threads)
	d, err := y.solve(r, share, s.Threads)
	if err != nil {
		s.Refuse("fitting "+l.Name, err.Error())
		return nil
	}
	x := slices.Clone(l.Weight.Data())
	b := make([]float32, r.N)
	for o := range r.N {
		left := p.YSum[o]
		for i := range r.K {
			v := float32(y.w[o*r.K+i] + d[o*r.K+i])
			if v-v != 0 {
				s.Refuse("fitting "+l.Name, "its weights would not be finite")
				return nil
			}
			x[r.At(o, i)] = v
			left -= float64(v) * p.Parts[0].Sum[i]
		}
		b[o] = float32(left / float64(p.Rows))
	}
	set(&l.Weight, x)
	if centred(l, p) != 0 {
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
		if share *= 10; err == nil || share > 100 {
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
