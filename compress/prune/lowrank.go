package prune

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/lapack"
	lapackgo "gonum.org/v1/gonum/lapack/gonum"

	"whit/compress/fit"
	"whit/compress/method"
	"whit/graph"
	"whit/stat"
	"whit/tensor"
)

// LowRank splits a layer of N outputs into one of r outputs, over the same windows, and a product [N,r] of these, where that takes less: what a layer
// gives lies near a subspace of few dimensions (X. Zhang, J. Zou, K. He, J. Sun: Accelerating very deep convolutional networks for classification and
// detection, 2015, sections 3.1 and 3.3). The subspace is that of the r largest eigenvectors U of the responses' covariance over images,
// which misses them by the least squares:
//
//	y = W·x + b ≈ U·(Uᵀ·W)·x + b', b' = b + (1 - U·Uᵀ)·W·mean(x)
//
// Ranks are chosen for all layers together: the direction goes that costs the smallest share of its layer's variance for the work that it saves, until
// the layers take the share of their work that is asked for; a layer that would take more of it in two parts stays whole.
//
// It deviates from the paper in that shares are added where the paper multiplies what is left of them; in that the covariance comes from a layer's
// weights and the Gram matrix of its inputs, not from sampled responses; and in that activations are not part of what is solved (section 3.2), so that layers are split one by one on what
// they read in the model as it came to the step. Without images it is the singular value decomposition of the weights (E. Denton, W. Zaremba, J. Bruna, Y. LeCun,
// R. Fergus: Exploiting linear structure within convolutional networks for efficient evaluation, 2014, section 3.2).
//
// Both parts have a share of the singular values, so that either is fit to be rounded. Masks, codebooks and levels of a layer that is split are forgotten.
var LowRank = &method.Method{
	Name: "lowrank",
	Doc:  "splits layers in two of fewer weights, where what they give lies near a subspace",
	Params: append([]method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "keep", Kind: method.Float, Default: 0.5, Min: 0.01, Max: 1, Doc: "share of the layers' work that is left"},
		{Name: "by", Kind: method.String, Default: "macs", Choices: []string{"macs", "weights"}, Doc: "what counts as work"},
		{Name: "round_to", Kind: method.Int, Default: 8, Min: 1, Max: 4096, Doc: "ranks are multiples of it"},
		{Name: "images", Kind: method.Int, Default: 256, Min: 0, Max: 1e6, Doc: "images of the training part to look at, without their labels; 0: the weights alone"},
		fit.RowsParam,
	}, method.FitParams(0, 1e-3)...),
	Apply: lowRank,
}

// mostOutputs bounds the outputs of a layer that is split: eigenvectors take their number to the power of three.
const mostOutputs = 4096

func lowRank(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	if a.Int("images") > 0 && (s.Train == nil || s.Train.Len() == 0) {
		return errors.New("lowrank: there are no images; images: 0 splits by the weights alone")
	}
	work, err := workOf(s, a.String("by"))
	if err != nil {
		return err
	}
	var subs []*subspace
	var suited []*method.Layer
	uses := s.Graph.Uses()
	for _, l := range layers {
		d, err := newSubspace(l, work(l.Node), len(uses[l.Node.In[1]]))
		if err != nil {
			s.Refuse("splitting "+l.Name, err.Error())
			continue
		}
		subs, suited = append(subs, d), append(suited, l)
	}
	if len(subs) == 0 {
		return fmt.Errorf("lowrank: none of the %d layers can be split", len(layers))
	}
	if a.Int("images") == 0 {
		for _, d := range subs {
			if err := d.solve(nil, s.Threads); err != nil {
				return err
			}
		}
	} else {
		done := 0
		err := fit.Inputs(ctx, s, suited, fit.Options{Images: a.Int("images"), Rows: a.Int("rows")}, func(l *method.Layer, p *stat.Patches) error {
			s.Tell(method.Event{Stage: "lowrank", Message: l.Name, Done: float64(done), Total: float64(len(suited))})
			done++
			return subs[done-1].solve(p, s.Threads)
		})
		if err != nil {
			return fmt.Errorf("lowrank: %w", err)
		}
	}
	ranks(subs, a.Float("keep"), a.Int("round_to"))
	split := 0
	for _, d := range subs {
		if d.pays() {
			d.split(s)
			split++
		}
	}
	s.Refind()
	s.Tell(method.Event{Stage: "lowrank", Message: fmt.Sprintf("%d of %d layers split", split, len(layers))})
	return finish(ctx, s, a, "low rank")
}

// workOf is the places at which a node's weights work on one image, or 1 where weights are what counts.
func workOf(s *method.State, by string) (func(n *graph.Node) float64, error) {
	if by == "weights" || s.Train == nil {
		return func(*graph.Node) float64 { return 1 }, nil
	}
	types, err := typesOf(s.Graph, s.Train.Shape())
	if err != nil {
		return nil, err
	}
	return func(n *graph.Node) float64 {
		ty, ok := types[n.Out[0]]
		if !ok || len(ty.Shape) < 2 {
			return 1
		}
		axis := 1
		if n.Op != "Conv" {
			axis = len(ty.Shape) - 1
		}
		return float64(ty.Shape.NumElements()) / float64(max(1, ty.Shape[0]*ty.Shape[axis]))
	}, nil
}

// subspace is where the outputs of a layer lie.
type subspace struct {
	l      *method.Layer
	r      fit.Rows
	places float64
	w      []float64 // [N,K]
	mean   []float64 // of the inputs [K]; 0: responses keep theirs
	// values are the eigenvalues of the responses' covariance, least first, and vectors [N,N] has their vectors as columns.
	values, vectors []float64
	rank            int
}

// newSubspace says why a layer cannot be split, in an error.
func newSubspace(l *method.Layer, places float64, readers int) (*subspace, error) {
	r, err := fit.RowsOf(l)
	switch b := l.Node.Input(2); {
	case err != nil:
		return nil, err
	case readers != 1:
		return nil, errors.New("several nodes read its weights")
	case r.Groups != 1:
		return nil, fmt.Errorf("it has %d groups", r.Groups)
	case r.N > mostOutputs:
		return nil, fmt.Errorf("it has %d outputs, more than %d", r.N, mostOutputs)
	case b != nil && (!b.IsConst() || b.Type.DType != tensor.Float32 || b.Type.Shape.NumElements() != r.N):
		return nil, errors.New("its bias is not a constant for every output")
	}
	d := &subspace{l: l, r: r, places: places, w: make([]float64, r.N*r.K)}
	for o := range r.N {
		r.Get(d.w[o*r.K:][:r.K], l.Weight.Data(), o)
	}
	return d, nil
}

// solve finds the subspace by moments of the inputs, or, where there are none, by the weights.
func (d *subspace) solve(p *stat.Patches, threads int) error {
	N, k := d.r.N, d.r.K
	c := make([]float64, N*N)
	var parts []stat.Moments
	d.mean = make([]float64, k)
	if p != nil {
		parts = p.Parts
		n := centred(d.l, p)
		for _, m := range parts {
			for i, v := range m.Sum {
				d.mean[m.From+i] = v * n
			}
		}
	}
	parallelRows(N, threads, func(o int) {
		hw := d.w[o*k:][:k]
		if p != nil {
			hw = make([]float64, k)
		}
		for _, m := range parts {
			w, out, mean := d.w[o*k+m.From:][:m.K], hw[m.From:][:m.K], d.mean[m.From:][:m.K]
			offset := fit.Dot(w, mean)
			for i := range out {
				out[i] = fit.Dot(m.G[i*m.K:][:m.K], w)/float64(p.Rows) - float64(offset*mean[i])
			}
		}
		for q := range N {
			c[o*N+q] = fit.Dot(hw, d.w[q*k:][:k])
		}
	})
	d.values, d.vectors, d.rank = make([]float64, N), c, N
	solver, work := lapackgo.Implementation{}, make([]float64, 1)
	solver.Dsyev(lapack.EVCompute, blas.Upper, N, c, N, d.values, work, -1)
	work = make([]float64, int(work[0]))
	if !solver.Dsyev(lapack.EVCompute, blas.Upper, N, c, N, d.values, work, len(work)) {
		return fmt.Errorf("layer %s: the eigenvectors of what it gives were not found", d.l.Name)
	}
	for i, v := range d.values {
		d.values[i] = max(0, v) // all are, but for rounding
	}
	return nil
}

// whole is the work of the layer as it is.
func (d *subspace) whole() float64 { return d.places * float64(d.r.N*d.r.K) }

// cost is the work of the layer of so many directions, whole where that is less.
func (d *subspace) cost(rank int) float64 {
	return min(d.whole(), d.places*float64(rank*(d.r.N+d.r.K)))
}

// pays reports whether the layer takes less work in two parts.
func (d *subspace) pays() bool { return d.cost(d.rank) < d.whole() }

// ranks takes directions from all layers until what is left takes no more than a share of the work. What a step of a layer costs grows from step to step, so that the
// cheapest step is a layer's next.
func ranks(subs []*subspace, keep float64, roundTo int) {
	all := 0.0
	shares := make([][]float64, len(subs)) // of the variance
	for i, d := range subs {
		all += d.whole()
		sum := 0.0
		for _, v := range d.values {
			sum += v
		}
		shares[i] = make([]float64, len(d.values))
		for j, v := range d.values {
			if sum > 0 {
				shares[i][j] = v / sum
			}
		}
	}
	next := func(d *subspace) int { return (d.rank - 1) / roundTo * roundTo }
	for left := all; left > keep*all; {
		var best *subspace
		least := math.Inf(1)
		for i, d := range subs {
			to := next(d)
			if to < 1 {
				continue
			}
			lost := 0.0
			for _, v := range shares[i][d.r.N-d.rank : d.r.N-to] {
				lost += v
			}
			if x := lost / (d.places * float64((d.rank-to)*(d.r.N+d.r.K))); x < least {
				best, least = d, x
			}
		}
		if best == nil {
			return
		}
		was := best.cost(best.rank)
		best.rank = next(best)
		left += best.cost(best.rank) - was
	}
}

// split puts two nodes in the place of the layer's.
func (d *subspace) split(s *method.State) {
	g, n, N, k, r := s.Graph, d.l.Node, d.r.N, d.r.K, d.rank
	in, out := make([]float64, r*k), make([]float64, N*r)
	off := make([]float64, N) // what is not in the subspace, of the mean response
	for o := range off {
		off[o] = fit.Dot(d.w[o*k:][:k], d.mean)
	}
	whole := slices.Clone(off)
	for j := range r {
		u := make([]float64, N)
		for o := range u {
			u[o] = d.vectors[o*N+N-1-j]
		}
		top := 0.0
		for _, v := range u {
			if math.Abs(v) > math.Abs(top) {
				top = v
			}
		}
		size := math.Sqrt(math.Sqrt(d.values[N-1-j])) // of both parts
		if top < 0 {
			size = -size
		}
		if size == 0 {
			continue
		}
		at := fit.Dot(u, whole)
		for o, v := range u {
			out[o*r+j] = v * size
			off[o] -= v * at
			for i, w := range d.w[o*k:][:k] {
				in[j*k+i] += float64(v * w / size)
			}
		}
	}
	name := func(of string) string {
		if of = d.l.Name + of; g.Find(of) != nil {
			return g.NewName(of)
		}
		return of
	}
	was := d.l.Weight.Value.Type.Shape
	part := func(k int, x []float64, attrs map[string]any, v *graph.Value, shape tensor.Shape) *graph.Node {
		if n.Op != "Conv" && d.l.OutAxis == 1 {
			x, shape = transposed(x, shape[0]), tensor.Shape{shape[1], shape[0]}
		}
		w := tensor.From(tensor.Of[float32](floats(x)), shape...)
		node := g.NewNode("", n.Op, attrs, 1, v, g.NewConst(name(fmt.Sprintf(".%d.weight", k)), w))
		node.Name = fmt.Sprintf("%s.%d", d.l.Name, k)
		return node
	}
	within, across, attrs := tensor.Shape{r, k}, tensor.Shape{N, r}, maps.Clone(n.Attrs)
	if n.Op == "Conv" {
		ones := slices.Repeat([]int{1}, len(was)-2)
		within, across = append(tensor.Shape{r}, was[1:]...), append(across, ones...)
		attrs = map[string]any{"kernel_shape": slices.Repeat([]int64{1}, len(ones))}
	}
	first := part(0, in, maps.Clone(n.Attrs), n.In[0], within)
	second := part(1, out, attrs, first.Out[0], across)
	b := n.Input(2)
	if b != nil {
		for o, v := range tensor.Of[float32](b.Tensor()) {
			off[o] += float64(v)
		}
	}
	if b != nil || slices.ContainsFunc(off, func(v float64) bool { return v != 0 }) {
		second.In = append(second.In, g.NewConst(name(".1.bias"), floats(off)))
	}
	second.Out = n.Out
	second.Out[0].Producer = second
	if left := s.Left[d.l.Weight.Value.Name]; left != nil {
		s.Left[second.In[1].Name] = left
	}
	at := slices.Index(g.Nodes, n)
	g.Nodes = slices.Replace(g.Nodes, at, at+1, first, second)
}

// transposed is x [rows,...] with its axes changed.
func transposed(x []float64, rows int) []float64 {
	y, columns := make([]float64, len(x)), len(x)/max(1, rows)
	for i := range rows {
		for j := range columns {
			y[j*rows+i] = x[i*columns+j]
		}
	}
	return y
}
