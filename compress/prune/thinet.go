package prune

import (
	"context"
	"errors"
	"math"

	"whit/compress/fit"
	"whit/compress/method"
	"whit/internal/cpu"
	"whit/stat"
	"whit/tensor"
)

// ThiNet chooses the channels of a layer by what the layers that read them lose (J.-H. Luo, J. Wu,
// W. Lin: ThiNet: a filter level pruning method for deep neural network compression, 2017, section 3.2):
// greedily, the channel goes whose removal, with those that went before, changes the
// readers' outputs least (algorithm 1), and those that stay get one scale each, by least
// squares, which is folded into the readers' weights (section 3.2.3, equation 7). Layers are cut one
// after the other, each on inputs that the cuts before it have changed.
//
// It deviates in that the sums are over all output channels of the readers at sampled
// places, through the Gram matrix of their inputs, instead of over sampled entries of the output; that
// where several layers read the channels all count, each by its share of its own output's energy; that
// channels tied by additions, joins and shuffles go together; and that nothing is
// trained between the layers.
var ThiNet = &method.Method{
	Name:   "thinet",
	Doc:    "removes the channels that the next layer misses least, and fits one scale for each that stays",
	Params: append(append(append([]method.Param{}, cutParams...), rowsParam), method.FitParams(0, 1e-3)...),
	Apply: func(ctx context.Context, s *method.State, a method.Args) error {
		if err := greedy(ctx, s, a, nil, true); err != nil {
			return err
		}
		return finish(ctx, s, a, "thinet")
	},
}

var rowsParam = method.Param{Name: "rows", Kind: method.Int, Default: 0, Min: 0, Max: 1 << 24, Doc: "places of the images that a layer is looked at; 0: 8 for every column of its weight, but at least 8192"}

// rows is how many rows are looked at of a layer of k columns.
func rows(a method.Args, k int) int {
	if n := a.Int("rows"); n > 0 {
		return n
	}
	return max(8*k, 8192)
}

// stats is what a reader's output owes to each of the atoms that are considered.
type stats struct {
	l     *method.Layer
	atoms []int
	p     []float64 // [atoms,atoms]: Σ over rows and outputs of the product of two atoms' contributions
	rest  []float64 // [atoms]: with all of the output
}

// readStats collects what the layers that read a wanted atom owe to them.
func (c *cutter) readStats(ctx context.Context, a method.Args) ([]*stats, error) {
	var layers []*method.Layer
	at := map[*method.Layer]reader{}
	for _, r := range readers(c.s.Graph, c.y.types) {
		if r.node.Op == "Conv" && r.node.Int("group", 1) != 1 {
			continue
		}
		hit := false
		for k, atom := range c.y.Atoms {
			hit = hit || !c.barred[k] && c.wanted(atom) && atom.In(r.w) != nil
		}
		for _, l := range c.all {
			if l.Node != r.node || !hit {
				continue
			}
			if _, err := fit.RowsOf(l); errors.Is(err, fit.ErrUnsuited) {
				continue
			}
			layers, at[l] = append(layers, l), r
		}
	}
	var out []*stats
	for _, l := range layers { // one by one: a Gram matrix takes up to 170 MB
		r, err := fit.RowsOf(l)
		if err != nil {
			return nil, err
		}
		o := fit.Options{Images: a.Int("images"), Rows: rows(a, r.K)}
		err = fit.Inputs(ctx, c.s, []*method.Layer{l}, o, func(l *method.Layer, p *stat.Patches) error {
			out = append(out, c.contributions(l, at[l].w, r, p))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// contributions sums, for each two atoms, the products of what they add to the outputs of the layer:
// Σ_o w_a[o]ᵀ G[a,b] w_b[o], with w_a[o] the part of filter o that meets atom a.
func (c *cutter) contributions(l *method.Layer, w Place, r fit.Rows, p *stat.Patches) *stats {
	st := &stats{l: l}
	owner := make([]int, r.K) // of each column, in st.atoms; -1: stays whatever happens
	for i := range owner {
		owner[i] = -1
	}
	per := r.K / l.Weight.Value.Type.Shape[w.Axis] // columns of a channel
	for k, atom := range c.y.Atoms {
		if c.barred[k] || !c.wanted(atom) {
			continue
		}
		ix := atom.In(w)
		if ix == nil {
			continue
		}
		for _, i := range ix {
			for j := range per {
				owner[i*per+j] = len(st.atoms)
			}
		}
		st.atoms = append(st.atoms, k)
	}
	n := len(st.atoms)
	st.p, st.rest = make([]float64, n*n), make([]float64, n)
	rowsOf := make([]float64, r.N*r.K)
	for o := range r.N {
		r.Get(rowsOf[o*r.K:][:r.K], l.Weight.Data(), o)
	}
	for _, m := range p.Parts {
		// h = WᵀW of the part's columns, row by row; what is below the diagonal is the same.
		parallel(m.K, c.s.Threads, func(i int, h []float64) {
			a := owner[m.From+i]
			if a < 0 {
				return
			}
			clear(h)
			for o := range r.N {
				row := rowsOf[o*r.K+m.From:][:m.K]
				if f := row[i]; f != 0 {
					for j, v := range row {
						h[j] += float64(f * v)
					}
				}
			}
			for j := range h {
				h[j] *= m.G[i*m.K+j]
			}
		}, func(i int, h []float64) {
			a := owner[m.From+i]
			if a < 0 {
				return
			}
			for j, v := range h {
				st.rest[a] += v
				if b := owner[m.From+j]; b >= 0 {
					st.p[a*n+b] += v
				}
			}
		})
	}
	return st
}

// parallel runs work(i, scratch [n]) for all i, on up to threads goroutines, and takes the results in
// the order of i.
func parallel(n, threads int, work, take func(i int, h []float64)) {
	const some = 32
	if threads <= 0 {
		threads = cpu.PhysicalCores()
	}
	bufs := make([][]float64, some)
	for i := range bufs {
		bufs[i] = make([]float64, n)
	}
	for from := 0; from < n; from += some {
		m := min(some, n-from)
		done := make(chan struct{}, m)
		gate := make(chan struct{}, threads)
		for i := range m {
			gate <- struct{}{}
			go func() {
				work(from+i, bufs[i])
				<-gate
				done <- struct{}{}
			}()
		}
		for range m {
			<-done
		}
		for i := range m {
			take(from+i, bufs[i])
		}
	}
}

// choose picks atoms greedily: the one that, with those taken before, costs the readers' outputs least.
func (c *cutter) choose(sts []*stats) []int {
	var all []int // atoms, and how they are numbered here
	num := map[int]int{}
	for _, st := range sts {
		for _, k := range st.atoms {
			if _, ok := num[k]; !ok {
				num[k] = len(all)
				all = append(all, k)
			}
		}
	}
	n := len(all)
	p := make([]float64, n*n)
	for _, st := range sts {
		energy := 0.0
		for i := range st.atoms {
			energy += st.p[i*len(st.atoms)+i]
		}
		if energy <= 0 {
			continue
		}
		for i, a := range st.atoms {
			for j, b := range st.atoms {
				p[num[a]*n+num[b]] += st.p[i*len(st.atoms)+j] / energy
			}
		}
	}
	b := c.budget()
	cost := make([]float64, n)
	out := make([]bool, n) // taken, or not possible
	for i := range cost {
		cost[i] = p[i*n+i]
	}
	var ks []int
	for range n {
		best := -1
		for i := range all {
			if !out[i] && (best < 0 || cost[i] < cost[best]) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		out[best] = true
		if !b.take(all[best]) {
			continue
		}
		ks = append(ks, all[best])
		for i := range cost {
			cost[i] += p[best*n+i] + p[i*n+best]
		}
	}
	return b.round(ks)
}

// greedy cuts the layers that cutParams name one after the other, by choose. Where scale is set, what stays is
// scaled; after, if not nil, hears of every cut and the layers that read it.
func greedy(ctx context.Context, s *method.State, a method.Args, after func([]*stats) error, scale bool) error {
	c, err := newCutter(s, a)
	if err != nil {
		return err
	}
	if c.global >= 0 {
		return errors.New("greedy choice goes layer by layer; by must be layer")
	}
	type goal struct {
		name string
		keep int
	}
	var goals []goal
	for _, l := range c.layers {
		goals = append(goals, goal{l.Name, c.y.size(outs(l)) - c.quota[l]})
	}
	for i, g := range goals {
		s.Tell(method.Event{Stage: "channels", Message: g.name, Done: float64(i), Total: float64(len(goals))})
		c := &cutter{s: s, all: s.Layers, quota: map[*method.Layer]int{}, global: -1, roundTo: c.roundTo, least: c.least}
		if c.y, err = NewSurgery(s.Graph, s.Train.Shape()); err != nil {
			return err
		}
		c.bar()
		for _, h := range goals {
			for _, l := range s.Layers {
				if l.Name == h.name {
					c.quota[l] = max(0, c.y.size(outs(l))-h.keep)
					if h == g {
						c.layers = []*method.Layer{l}
					}
				}
			}
		}
		if len(c.layers) == 0 || c.quota[c.layers[0]] == 0 {
			continue
		}
		sts, err := c.readStats(ctx, a)
		if err != nil {
			return err
		}
		var ks []int
		if len(sts) > 0 {
			ks = c.choose(sts)
		} else { // nothing but depthwise convolutions reads them
			src, err := c.scores(ctx, "l2", 0)
			if err != nil {
				return err
			}
			if ks, err = c.pick(src); err != nil {
				return err
			}
		}
		if len(ks) == 0 {
			continue
		}
		gone := map[int]bool{}
		for _, k := range ks {
			gone[k] = true
		}
		if scale {
			for _, st := range sts {
				c.rescale(st, gone)
			}
		}
		if err := cut(s, c.y, ks); err != nil {
			return err
		}
		if after != nil {
			if err := after(sts); err != nil {
				return err
			}
		}
	}
	return nil
}

// rescale multiplies what the layer reads of the atoms that stay by the scales that make its
// outputs closest to what they were: P[S,S] (scale - 1) = P[S,T] 1, T being what goes.
func (c *cutter) rescale(st *stats, gone map[int]bool) {
	var stay []int
	for i, k := range st.atoms {
		if !gone[k] {
			stay = append(stay, i)
		}
	}
	n, m := len(st.atoms), len(stay)
	p, b := make([]float64, m*m), make([]float64, m)
	hit := false
	for i, si := range stay {
		for j, sj := range stay {
			p[i*m+j] = st.p[si*n+sj]
		}
		for j, k := range st.atoms {
			if gone[k] {
				b[i] += st.p[si*n+j]
				hit = true
			}
		}
	}
	if !hit || m == 0 {
		return
	}
	if factor(p, m, 1e-6, c.s.Threads) != nil {
		return // nothing to learn from these inputs
	}
	fit.Solve(p, m, b)
	w := st.l.Weight.Value
	var axis int
	for _, r := range readers(c.s.Graph, c.y.types) {
		if r.node == st.l.Node {
			axis = r.w.Axis
		}
	}
	x := tensor.Of[float32](w.Data.Clone())
	stride := w.Type.Shape.Strides()[axis]
	by := make([]float64, w.Type.Shape[axis])
	for i := range by {
		by[i] = 1
	}
	for i, si := range stay {
		if f := 1 + b[i]; !math.IsNaN(f) && !math.IsInf(f, 0) {
			for _, ch := range c.y.Atoms[st.atoms[si]].In(Place{w, axis}) {
				by[ch] = f
			}
		}
	}
	for i := range x {
		x[i] = float32(float64(x[i]) * by[i/stride%len(by)])
	}
	set(&st.l.Weight, x)
}

// set replaces the elements of a constant; a codebook does not hold them any more.
func set(h *method.Held, x []float32) {
	h.Centroids, h.Index, h.Step = nil, nil, 0
	h.Set(x)
}
