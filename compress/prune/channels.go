package prune

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"whit/compress/method"
	"whit/graph"
	"whit/stat"
	"whit/tensor"
)

// Channels removes whole channels from the graph: filters, their biases and statistics, and
// what reads them, so that a smaller dense model is left. Which channels go is
// decided by a score of each:
//
//   - l1, l2: the norm of its filter (H. Li, A. Kadav, I. Durdanovic, H. Samet, H. P. Graf: Pruning
//     filters for efficient ConvNets, 2017, section 3.1);
//   - median: the filter's distance to all others of its layer, small where they can stand in for it
//     (Y. He, P. Liu, Z. Wang, Z. Hu, Y. Yang: Filter pruning via geometric median, 2019, section 3.3);
//   - bn: the scale of the normalisation behind it (Z. Liu, J. Li, Z. Shen, G. Huang, S. Yan, C. Zhang:
//     Learning efficient convolutional networks through network slimming, 2017, section 3);
//   - mean, variance: of its activation, where the next layer reads it (P. Molchanov, S. Tyree, T. Karras,
//     T. Aila, J. Kautz: Pruning convolutional neural networks for resource efficient inference, 2017, section 2.2);
//   - taylor: the change of the loss to first order when it is zeroed (the same, equation 8).
//
// It deviates in that norms count the scale of a BatchNormalization behind the filter; that
// channels which additions, joins and shuffles tie together are one decision, by the mean of
// their scores, each as a multiple of its layer's mean (or, for all layers at once, a share of the
// layer's l2 norm, as Molchanov, section 2.2); that bn takes l2 where there is no
// normalisation; and that nothing is trained unless epochs says so.
var Channels = &method.Method{
	Name: "channels",
	Doc:  "removes whole channels and all that is coupled to them; the model left is dense and smaller",
	Params: append(append([]method.Param{
		{Name: "score", Kind: method.String, Default: "l2", Choices: []string{"l1", "l2", "median", "bn", "mean", "variance", "taylor"}, Doc: "what says how much a channel matters"},
	}, cutParams...), method.FitParams(0, 1e-3)...),
	Apply: channels,
}

// cutParams say which channels go.
var cutParams = []method.Param{
	{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
	{Name: "sparsity", Kind: method.PerLayer, Default: method.Uniform(0.3), Min: 0, Max: 0.99, Doc: "share of a layer's output channels that goes; of layers tied together, the least counts"},
	{Name: "by", Kind: method.String, Default: "layer", Choices: []string{"layer", "global"}, Doc: "layer: sparsity of each; global: of all, where the scores are lowest"},
	{Name: "round_to", Kind: method.Int, Default: 8, Min: 1, Max: 256, Doc: "channels that are left are a multiple of it, where couplings allow: kernels work on blocks of 8 and 16"},
	{Name: "least", Kind: method.Int, Default: 4, Min: 1, Max: 4096, Doc: "channels that every layer keeps"},
	{Name: "images", Kind: method.Int, Default: 256, Min: 1, Max: 1e6, Doc: "images of the training part to calibrate on"},
}

func channels(ctx context.Context, s *method.State, a method.Args) error {
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
	if err := cut(s, c.y, ks); err != nil {
		return err
	}
	return finish(ctx, s, a, "channels")
}

// finish trains, where the step says so, and notes the stage.
func finish(ctx context.Context, s *method.State, a method.Args, stage string) error {
	if o := method.FitOptions(a); o.Epochs > 0 && !s.NoFinetune {
		if err := s.Fit(ctx, stage, o); err != nil {
			return err
		}
	}
	pruned, _, _ := s.Bytes()
	_, err := s.Stage(ctx, stage, pruned)
	return err
}

// cutter chooses among a surgery's atoms.
type cutter struct {
	s       *method.State
	y       *Surgery
	all     []*method.Layer
	layers  []*method.Layer // that were asked for and can be cut
	quota   map[*method.Layer]int
	global  float64 // share of all channels; -1: by layer
	roundTo int
	least   int
	barred  []bool // atoms that touch a layer that is to be kept
}

// newCutter reads cutParams.
func newCutter(s *method.State, a method.Args) (*cutter, error) {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return nil, err
	}
	sparsity := a.PerLayer("sparsity")
	c := &cutter{s: s, all: s.Layers, quota: map[*method.Layer]int{}, global: -1, roundTo: a.Int("round_to"), least: a.Int("least")}
	if a.String("by") == "global" {
		if len(sparsity) != 1 || sparsity[0].Glob != "*" {
			return nil, fmt.Errorf("by global takes one sparsity for all layers")
		}
		c.global = sparsity[0].Value
	}
	if c.y, err = NewSurgery(s.Graph, s.Train.Shape()); err != nil {
		return nil, err
	}
	c.bar()
	for _, l := range layers {
		v, ok := sparsity.For(l.Name)
		if !ok || v == 0 {
			continue
		}
		p := outs(l)
		free := false
		for k, at := range c.y.Atoms {
			free = free || !c.barred[k] && at.In(p) != nil
		}
		if !free {
			why := c.y.Why(p)
			if why == "" {
				why = "they are coupled to a layer that is to be kept"
			}
			s.Refuse("channels of "+l.Name, why)
			continue
		}
		n := c.y.size(p)
		keep := n - int(math.Round(v*float64(n)))
		if r := c.roundTo; r > 1 {
			keep = max(r, (keep+r/2)/r*r)
		}
		c.layers = append(c.layers, l)
		c.quota[l] = n - min(n, max(keep, c.least))
	}
	if len(c.layers) == 0 {
		return nil, fmt.Errorf("no channel of the layers %q can be removed (%s)", a.String("layers"), refusals(s))
	}
	return c, nil
}

// bar marks the atoms that touch a layer that is to be kept.
func (c *cutter) bar() {
	kept := map[*graph.Value]bool{}
	for _, l := range method.FindLayers(c.s.Graph, "") {
		kept[l.Weight.Value] = true
	}
	for _, l := range c.s.Layers {
		delete(kept, l.Weight.Value)
	}
	c.barred = make([]bool, len(c.y.Atoms))
	for k, at := range c.y.Atoms {
		for _, sp := range at {
			c.barred[k] = c.barred[k] || kept[sp.Value]
		}
	}
}

func refusals(s *method.State) string {
	if len(s.Refused) == 0 {
		return "sparsity names none of them"
	}
	r := s.Refused[len(s.Refused)-1]
	return r.What + ": " + r.Why
}

// Groups are the layers whose output channels can be removed, those together that are tied to each other, each group and
// all of them in the order of the state's layers.
func Groups(s *method.State) ([][]*method.Layer, error) {
	y, err := NewSurgery(s.Graph, s.Train.Shape())
	if err != nil {
		return nil, err
	}
	c := &cutter{s: s, y: y}
	c.bar()
	of := map[*method.Layer]int{}
	var groups [][]*method.Layer
	for k, at := range y.Atoms {
		if c.barred[k] {
			continue
		}
		tied := -1 // the group of the atom's layers
		for _, l := range s.Layers {
			if at.In(outs(l)) == nil {
				continue
			}
			g, ok := of[l]
			switch {
			case !ok && tied < 0:
				tied = len(groups)
				groups = append(groups, nil)
				fallthrough
			case !ok:
				of[l] = tied
				groups[tied] = append(groups[tied], l)
			case tied < 0:
				tied = g
			case g != tied:
				for _, l := range groups[g] {
					of[l] = tied
				}
				groups[tied], groups[g] = append(groups[tied], groups[g]...), nil
			}
		}
	}
	at := func(l *method.Layer) int { return slices.Index(s.Layers, l) }
	groups = slices.DeleteFunc(groups, func(g []*method.Layer) bool { return g == nil })
	for _, g := range groups {
		slices.SortFunc(g, func(a, b *method.Layer) int { return at(a) - at(b) })
	}
	slices.SortFunc(groups, func(a, b []*method.Layer) int { return at(a[0]) - at(b[0]) })
	return groups, nil
}

// outs is the place of a layer's output channels.
func outs(l *method.Layer) Place { return Place{l.Weight.Value, l.OutAxis} }

// source is the scores of the channels of one place.
type source struct {
	Place
	score []float64
}

// rate gives every atom the mean of its scores.
func (c *cutter) rate(src []source) []float64 {
	scores := make([]float64, len(c.y.Atoms))
	hits := make([]float64, len(c.y.Atoms))
	for _, sc := range src {
		var sum, sq float64
		for _, v := range sc.score {
			sum, sq = sum+v, sq+float64(v*v)
		}
		norm := sum / float64(len(sc.score))
		if c.global >= 0 {
			norm = math.Sqrt(sq)
		}
		if norm == 0 {
			norm = 1
		}
		for k, a := range c.y.Atoms {
			ix := a.In(sc.Place)
			if ix == nil {
				continue
			}
			m := 0.0
			for _, i := range ix {
				m += sc.score[i]
			}
			scores[k] += m / float64(len(ix)) / norm
			hits[k]++
		}
	}
	for k := range scores {
		if hits[k] > 0 {
			scores[k] /= hits[k]
		}
	}
	return scores
}

// pick chooses the atoms that go: by rising score, as long as every layer stays within its
// quota and keeps enough.
func (c *cutter) pick(src []source) ([]int, error) {
	score := c.rate(src)
	b := c.budget()
	var order []int
	for k, at := range c.y.Atoms {
		if math.IsNaN(score[k]) || math.IsInf(score[k], 0) {
			return nil, fmt.Errorf("a channel's score is not finite")
		}
		if c.wanted(at) && !c.barred[k] {
			order = append(order, k)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(score[a], score[b]) })
	var ks []int
	for _, k := range order {
		if b.take(k) {
			ks = append(ks, k)
		}
	}
	return b.round(ks), nil
}

// wanted reports that an atom has output channels of a layer that was asked for.
func (c *cutter) wanted(a Atom) bool {
	for _, l := range c.layers {
		if a.In(outs(l)) != nil {
			return true
		}
	}
	return false
}

// budget counts what is left while atoms are taken.
type budget struct {
	c    *cutter
	left map[Place]int
	goes map[*method.Layer]int
	all  int // channels that may still go, by global; -1: no limit
}

func (c *cutter) budget() *budget {
	b := &budget{c: c, left: map[Place]int{}, goes: map[*method.Layer]int{}, all: -1}
	for _, a := range c.y.Atoms {
		for _, sp := range a {
			b.left[sp.Place] = c.y.size(sp.Place)
		}
	}
	if c.global >= 0 {
		n := 0
		for _, l := range c.layers {
			n += c.y.size(outs(l))
		}
		b.all = int(math.Round(c.global * float64(n)))
	}
	return b
}

// take removes atom k if that keeps every promise.
func (b *budget) take(k int) bool {
	at := b.c.y.Atoms[k]
	for _, sp := range at {
		if b.left[sp.Place] <= len(sp.Index) {
			return false
		}
	}
	n := 0
	for _, l := range b.c.all {
		p := outs(l)
		ix := len(at.In(p))
		if ix == 0 {
			continue
		}
		if b.left[p]-ix < min(b.c.least, b.c.y.size(p)) {
			return false
		}
		q, asked := b.c.quota[l]
		if asked && b.all < 0 && b.goes[l]+ix > q {
			return false
		}
		if asked {
			n += ix
		}
	}
	if b.all >= 0 {
		if n > b.all {
			return false
		}
		b.all -= n
	}
	b.move(k, 1)
	return true
}

func (b *budget) move(k, by int) {
	at := b.c.y.Atoms[k]
	for _, sp := range at {
		b.left[sp.Place] -= by * len(sp.Index)
	}
	for _, l := range b.c.all {
		b.goes[l] += by * len(at.In(outs(l)))
	}
}

// round gives atoms back, the last taken first, where all their layers are not left with a multiple of
// roundTo.
func (b *budget) round(ks []int) []int {
	r := b.c.roundTo
	if r < 2 {
		return ks
	}
	out := slices.Clone(ks)
	for i := len(out) - 1; i >= 0; i-- {
		odd := true
		for _, l := range b.c.all {
			if p := outs(l); b.c.y.Atoms[out[i]].In(p) != nil {
				odd = odd && b.left[p]%r != 0
			}
		}
		if odd {
			b.move(out[i], -1)
			out = slices.Delete(out, i, i+1)
		}
	}
	return out
}

// scores are the sources of a criterion.
func (c *cutter) scores(ctx context.Context, by string, images int) ([]source, error) {
	switch by {
	case "mean", "variance":
		return c.activations(ctx, by, images)
	case "taylor":
		return c.taylor(ctx, images)
	}
	uses := c.s.Graph.Uses()
	var src []source
	for _, l := range c.all {
		sc := source{outs(l), nil}
		w := filters(l.Weight.Value, l.OutAxis)
		gain := normScale(l, uses)
		switch {
		case by == "bn" && gain.scale != nil:
			for _, v := range gain.scale {
				sc.score = append(sc.score, math.Abs(float64(v)))
			}
		case by == "median":
			sc.score = median(w, gain.by)
		default:
			for o, f := range w {
				n := 0.0
				for _, v := range f {
					if by == "l1" {
						n += math.Abs(float64(v))
					} else {
						n += float64(v) * float64(v)
					}
				}
				if by != "l1" {
					n = math.Sqrt(n)
				}
				sc.score = append(sc.score, n*gain.at(o))
			}
		}
		src = append(src, sc)
	}
	return src, nil
}

// filters are the weights of each output unit, in the order of the other axes.
func filters(v *graph.Value, axis int) [][]float32 {
	x, s := tensor.Of[float32](v.Tensor()), v.Type.Shape
	outer, units, inner := s[:axis].NumElements(), s[axis], s[axis+1:].NumElements()
	out := make([][]float32, units)
	for u := range out {
		f := make([]float32, 0, outer*inner)
		for o := range outer {
			f = append(f, x[(o*units+u)*inner:][:inner]...)
		}
		out[u] = f
	}
	return out
}

// gain is what a BatchNormalization multiplies each filter by.
type gain struct {
	scale []float32
	by    []float64
}

func (g gain) at(o int) float64 {
	if g.by == nil {
		return 1
	}
	return g.by[o]
}

// normScale finds the normalisation that alone reads the layer.
func normScale(l *method.Layer, uses map[*graph.Value][]graph.Use) (g gain) {
	bn := normOf(l.Node, uses)
	if bn == nil {
		return g
	}
	g.scale = tensor.Of[float32](bn.In[1].Tensor())
	va := tensor.Of[float32](bn.In[4].Tensor())
	for i, v := range g.scale {
		g.by = append(g.by, math.Abs(float64(v))/math.Sqrt(float64(va[i])+float64(bn.Float("epsilon", 1e-5))))
	}
	return g
}

// normOf is the BatchNormalization in inference mode, with constant float32 parameters, that alone reads n; nil: none.
func normOf(n *graph.Node, uses map[*graph.Value][]graph.Use) *graph.Node {
	if n.Op != "Conv" || n.Out[0] == nil || len(uses[n.Out[0]]) != 1 {
		return nil
	}
	bn := uses[n.Out[0]][0].Node
	if bn == nil || bn.Domain != "" || bn.Op != "BatchNormalization" || bn.In[0] != n.Out[0] || len(bn.In) != 5 || bn.Int("training_mode", 0) != 0 {
		return nil
	}
	for _, v := range bn.In[1:] {
		if !v.IsConst() || v.Type.DType != tensor.Float32 || len(v.Type.Shape) != 1 || v.Type.Shape[0] != n.In[1].Type.Shape[0] {
			return nil
		}
	}
	return bn
}

// median is each filter's distance to all others.
func median(w [][]float32, by []float64) []float64 {
	g := gain{by: by}
	d := make([]float64, len(w))
	for a := range w {
		for b := range a {
			s := 0.0
			for i, v := range w[a] {
				x := float64(float64(v)*g.at(a)) - float64(float64(w[b][i])*g.at(b))
				s += float64(x * x)
			}
			s = math.Sqrt(s)
			d[a], d[b] = d[a]+s, d[b]+s
		}
	}
	return d
}

// reader is a node that reads channels: a convolution or a matrix product with a constant weight.
type reader struct {
	node *graph.Node
	x    Place // the channels that it reads
	w    Place // and those of its weight that they meet
}

// readers lists them in node order.
func readers(g *graph.Graph, types map[*graph.Value]tensor.Type) (rs []reader) {
	for _, n := range g.Nodes {
		w := n.Input(1)
		if n.Domain != "" || !w.IsConst() || w.Type.DType != tensor.Float32 || n.In[0] == nil || len(w.Type.Shape) < 2 {
			continue
		}
		r := reader{node: n, x: Place{n.In[0], 1}, w: Place{w, 1}}
		switch n.Op {
		case "Conv":
			if n.Int("group", 1) != 1 {
				r.w = Place{w, 0} // depthwise: every filter meets its own channel
				if n.Int("group", 1) != int64(w.Type.Shape[0]) {
					continue
				}
			}
		case "Gemm":
			if n.Int("transA", 0) != 0 {
				continue
			}
			if n.Int("transB", 0) == 0 {
				r.w.Axis = 0
			}
		case "MatMul":
			if len(w.Type.Shape) != 2 || len(types[n.In[0]].Shape) < 2 {
				continue
			}
			r.x.Axis, r.w.Axis = len(types[n.In[0]].Shape)-1, 0
		default:
			continue
		}
		rs = append(rs, r)
	}
	return rs
}

// activations are the mean magnitude or the variance of channels where they are read.
func (c *cutter) activations(ctx context.Context, by string, images int) ([]source, error) {
	var src []source
	var pts []stat.Point
	seen := map[Place]bool{}
	for _, r := range readers(c.s.Graph, c.y.types) {
		if seen[r.x] || c.y.types[r.x.Value].DType != tensor.Float32 || r.x.Value.Kind != graph.Computed {
			continue
		}
		seen[r.x] = true
		pts = append(pts, stat.Point{Value: r.x.Value.Name, Observer: &spread{axis: r.x.Axis}})
		src = append(src, source{r.x, nil})
	}
	if err := stat.Run(ctx, c.s.Graph, c.s.Train, pts, stat.Options{Batch: batch(c.s), Samples: images, Threads: c.s.Threads}); err != nil {
		return nil, err
	}
	for i := range src {
		o := pts[i].Observer.(*spread)
		src[i].score = make([]float64, len(o.sum))
		for k := range o.sum {
			n := float64(o.n)
			if by == "mean" {
				src[i].score[k] = o.abs[k] / n
			} else {
				src[i].score[k] = max(0, o.sq[k]/n-float64(o.sum[k]/n*o.sum[k]/n))
			}
		}
	}
	return src, nil
}

// spread sums channels along an axis, their magnitudes and squares.
type spread struct {
	axis         int
	n            int64 // values a channel
	sum, abs, sq []float64
}

// Observe implements stat.Observer.
func (o *spread) Observe(x *tensor.Tensor) error {
	if o.axis >= len(x.Shape) {
		return fmt.Errorf("shape %v has no axis %d", x.Shape, o.axis)
	}
	c, inner := x.Shape[o.axis], x.Shape[o.axis+1:].NumElements()
	if o.sum == nil {
		o.sum, o.abs, o.sq = make([]float64, c), make([]float64, c), make([]float64, c)
	}
	if c != len(o.sum) {
		return fmt.Errorf("%d channels after %d", c, len(o.sum))
	}
	v := tensor.Of[float32](x)
	for i := 0; i*inner < len(v); i++ {
		var s, a, q float64
		for _, e := range v[i*inner:][:inner] {
			f := float64(e)
			s, a, q = s+f, a+math.Abs(f), q+float64(f*f)
		}
		k := i % c
		o.sum[k], o.abs[k], o.sq[k] = o.sum[k]+s, o.abs[k]+a, o.sq[k]+q
	}
	if c > 0 {
		o.n += int64(len(v) / c)
	}
	return nil
}
