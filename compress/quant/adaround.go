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
	"whit/weight"
)

// AdaRound chooses between the levels of rounded layers anew, so that each layer gives what the float
// model's gives, and not so that each weight is next to what it was (M. Nagel, R. A. Amjad, M. van
// Baalen, C. Louizos, T. Blankevoort: Up or down? Adaptive rounding for post-training quantization,
// 2020, sections 3 and 4). Layers are fitted in order, on inputs that went through all that was
// compressed before (the paper's asymmetric reconstruction). It deviates in that
//
//   - the error is a quadratic form in the levels, so nothing is relaxed and no gradient taken: Σ x xᵀ and
//     Σ y xᵀ are collected once, and coordinate descent moves one level at a time to its best while
//     that helps;
//   - a level may move further than to its other neighbour, since inputs differ from the float model's;
//   - weights that are pruned stay at zero;
//   - scales of a channel, and biases, are set to their best in between, in closed form;
//   - the activation behind the layer is not looked at;
//   - few images do not say all: how far weights are from what they were counts too, damp times the mean
//     of the diagonal of Σ x xᵀ, or 10 or 100 times that where a quarter of the images, which was not fitted to, is
//     nearer to the float model then.
var AdaRound = &method.Method{
	Name: "adaround",
	Doc:  "chooses the levels of rounded layers so that outputs stay, not weights",
	Params: []method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas; those that are not held as levels are left alone"},
		{Name: "images", Kind: method.Int, Default: 128, Min: 1, Max: 1e5, Doc: "images of the training part that are looked at, without their labels"},
		{Name: "passes", Kind: method.Int, Default: 20, Min: 1, Max: 1000, Doc: "passes over a layer's weights, at most"},
		{Name: "scales", Kind: method.Bool, Default: true, Doc: "fit the scales too"},
		{Name: "damp", Kind: method.Float, Default: 0.01, Min: 0, Max: 10, Doc: "share of the mean of the diagonal that is added to it, at least: 10 and 100 times as much are tried"},
	},
	Apply: adaround,
}

func adaround(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	if !hasImages(s) {
		return errors.New("adaround: there are no images to look at")
	}
	float := s.Base // as it was before it was rounded
	if float == nil {
		float = s.Float
	}
	var jobs []job
	for _, l := range layers {
		if _, ok := l.Weight.As.(weight.Int8); ok {
			_, err := fit.RowsOf(l)
			free := l.Node.Op != "MatMul" && (l.Node.Input(2) == nil || l.Node.Input(2).IsConst())
			if err == nil {
				jobs = append(jobs, job{l: l, centred: free, scales: a.Bool("scales"), bias: func(y []float32) { setBias(s.Graph, l.Node, l, y) }})
			}
		}
	}
	if len(jobs) == 0 {
		return fmt.Errorf("adaround: none of the layers %q is held as levels; round them first", a.String("layers"))
	}
	if err := refitAll(ctx, s, float, jobs, a.Int("images"), a.Int("passes"), a.Float("damp")); err != nil {
		return fmt.Errorf("adaround: %w", err)
	}
	return stage(ctx, s, "adaround")
}

// job is a layer whose levels are chosen.
type job struct {
	l       *method.Layer
	centred bool // the bias takes the mean
	scales  bool // scales of channels may change
	bias    func(y []float32)
}

// refitAll goes through both models and chooses the levels of layers, in order.
func refitAll(ctx context.Context, s *method.State, float *graph.Graph, jobs []job, images, passes int, damp float64) error {
	images, err := fitting(s.Graph, s.Train, images)
	if err != nil {
		return err
	}
	var walks [2]*walk
	for i, g := range []*graph.Graph{float, s.Graph} {
		if walks[i], err = newWalk(ctx, g, s.Train, images, s.Threads); err != nil {
			return err
		}
	}
	for _, j := range jobs {
		l := j.l
		r, err := fit.RowsOf(l)
		if _, both := walks[0].nodes[l.Node.Out[0].Name]; err != nil || !both || r.K > stat.MaxColumns {
			continue
		}
		both := [2]*stat.Patches{} // of the images that are fitted to, and of those that judge
		for i := range both {
			if both[i], err = patches(l, r, max(16*r.K, 16384), images, s.Threads); err != nil {
				return err
			}
		}
		g, err := s.Freeze()
		if err != nil {
			return err
		}
		if err := against(ctx, walks[0], walks[1], float, g, l, left(s, l), both); err != nil {
			return fmt.Errorf("layer %s: %w", l.Name, err)
		}
		if both[0].Outs != r.N || both[0].Columns() != r.K {
			continue // another number of channels than in the float model
		}
		before, after, err := reround(s, float, j, r, both, passes, damp)
		if err != nil {
			return fmt.Errorf("layer %s: %w", l.Name, err)
		}
		s.Tell(method.Event{Stage: "adaround", Message: fmt.Sprintf("%s: error %.3g of the outputs' variance, was %.3g", l.Name, after, before)})
	}
	return nil
}

// normal are the sums of one group of rows that their squared error is made of.
type normal struct {
	k       int
	h       []float64 // Σ x xᵀ [k,k]
	x       []float64 // Σ x
	cross   []float64 // Σ y xᵀ [rows,k]
	y, yy   []float64 // Σ y, Σ y² [rows]
	n       float64
	centred bool
}

// normalOf are the sums of group g; with centred those about the means.
func normalOf(p *stat.Patches, g, rows int, centred bool) *normal {
	m := &p.Parts[g]
	a := &normal{k: m.K, h: slices.Clone(m.G), x: m.Sum, cross: slices.Clone(m.Cross), y: p.YSum[g*rows:][:rows], yy: slices.Clone(p.YSq[g*rows:][:rows]), n: float64(p.Rows), centred: centred}
	if centred && a.n > 0 {
		for i, v := range a.x {
			for j, u := range a.x {
				a.h[i*a.k+j] -= v * u / a.n
			}
			for o := range rows {
				a.cross[o*a.k+i] -= a.y[o] * v / a.n
			}
		}
		for o, v := range a.y {
			a.yy[o] -= v * v / a.n
		}
	}
	fit.Damp(a.h, a.k, 0) // columns of zeros only
	return a
}

// error is the squared error of row o, held as w.
func (a *normal) error(o int, w []float64) float64 {
	return a.yy[o] + fit.Quadratic(a.h, a.k, w) - 2*dot64(a.cross[o*a.k:][:a.k], w)
}

func dot64(a, b []float64) (sum float64) {
	for i, v := range a {
		sum += float64(v * b[i])
	}
	return sum
}

// judging is how many rows of a group say what damping is best.
const judging = 32

// reround chooses the levels of a layer. before and after are the errors of its outputs, as
// shares of their variance (of their squares, where there is no bias to take the mean).
func reround(s *method.State, base *graph.Graph, j job, r fit.Rows, both [2]*stat.Patches, passes int, damp float64) (before, after float64, err error) {
	l, centred := j.l, j.centred
	w := l.Weight.As.(weight.Int8)
	lo, hi := levelRange(w)
	perRow := w.Group == 0 && w.Axis == l.OutAxis && w.Zero == nil && j.scales
	levels, scales := make([]int32, w.Q.Len()), append([]float32{}, w.Scale...)
	float := l.Weight.Data() // as it was; as it is, if that is not known
	if v := base.Find(l.Weight.Value.Name); floats(v) != nil && v.Type.Shape.Equal(w.Q.Shape) {
		float = floats(v)
	}
	set := make([]int32, len(levels))
	at := sets{w.Q.Shape, w.Axis, w.Group}
	for k := range at.count() {
		at.each(k, func(i int) { set[i] = int32(k) })
	}
	zero := func(i int) int32 {
		if w.Zero == nil {
			return 0
		}
		return w.Zero[set[i]]
	}
	for i := range levels {
		levels[i] = w.Level(i)
	}
	mean := make([]float64, r.N) // of what the bias must be
	type errs struct{ before, after, all float64 }
	sums := make([]errs, r.N)
	rows := r.N / r.Groups
	// descended is row o of a group after the descent on some images, and its error there before.
	descended := func(a *normal, g, k int, damp float64) (d *descent, was float64) {
		trace := 0.0
		for i := range a.k {
			trace += a.h[i*a.k+i]
		}
		o := g*rows + k
		d = &descent{h: a.h, k: a.k, c: a.cross[k*a.k:][:a.k], x: make([]float64, a.k), w0: make([]float64, a.k), lo: float64(lo), hi: float64(hi), raise: damp * trace / float64(a.k)}
		for j := range a.k {
			i := r.At(o, j)
			d.q = append(d.q, float64(levels[i]-zero(i)))
			d.zero = append(d.zero, float64(zero(i)))
			d.s = append(d.s, float64(scales[set[i]]))
			d.pruned = append(d.pruned, !l.Weight.Kept(i))
		}
		r.Get(d.w0, float, o)
		d.begin()
		was = a.yy[k] + d.error()
		rounds := 1
		if perRow {
			rounds = 4
		}
		for range rounds {
			d.descend(passes)
			if perRow && !d.rescale() {
				break
			}
		}
		return d, was
	}
	var group [][2]*normal
	for g := range r.Groups {
		two := [2]*normal{normalOf(both[0], g, rows, centred)}
		if both[1].Rows > 0 {
			two[1] = normalOf(both[1], g, rows, centred)
		}
		group = append(group, two)
	}
	if both[1].Rows > 0 && damp > 0 {
		least := math.Inf(1)
		best := damp
		for _, f := range []float64{1, 10, 100} {
			miss := make([]float64, r.N)
			parallel(r.N, s.Threads, func(o int) {
				if g, k := o/rows, o%rows; k%((rows+judging-1)/judging) == 0 {
					d, _ := descended(group[g][0], g, k, f*damp)
					miss[o] = group[g][1].error(k, d.weights())
				}
			})
			if e := total(miss); e < least {
				least, best = e, f*damp
			}
		}
		damp = best
	}
	all := joined(both)
	for g := range r.Groups {
		a := group[g][0]
		if both[1].Rows > 0 {
			a = normalOf(all, g, rows, centred)
		}
		parallel(rows, s.Threads, func(k int) {
			o := g*rows + k
			d, was := descended(a, g, k, damp)
			sums[o] = errs{before: was, after: a.yy[k] + d.error(), all: a.yy[k]}
			mean[o] = a.y[k] / a.n
			for j := range a.k {
				i := r.At(o, j)
				levels[i] = int32(d.q[j]) + zero(i)
				if perRow {
					scales[set[i]] = float32(d.s[j])
				}
				mean[o] -= d.s[j] * d.q[j] * a.x[j] / a.n
			}
		})
	}
	q, err := weight.PackLevels(w.Q.DType, levels, w.Q.Shape...)
	if err != nil {
		return 0, 0, err
	}
	made, err := weight.NewGrouped(q, w.Axis, w.Group, scales, w.Zero)
	if err != nil {
		return 0, 0, err
	}
	l.Weight.Hold(made)
	if centred {
		y := make([]float32, r.N)
		for o, v := range mean {
			if y[o] = float32(v); y[o]-y[o] != 0 {
				return 0, 0, fmt.Errorf("the mean of output %d is not finite", o)
			}
		}
		j.bias(y)
	}
	sum := 0.0
	for _, e := range sums {
		before, after, sum = before+e.before, after+e.after, sum+e.all
	}
	sum = max(sum, 1e-30)
	return max(0, before/sum), max(0, after/sum), nil
}

// joined are the sums of both together; those of the first where there are no others.
func joined(both [2]*stat.Patches) *stat.Patches {
	a, b := both[0], both[1]
	if b.Rows == 0 {
		return a
	}
	add := func(x, y []float64) []float64 {
		z := slices.Clone(x)
		for i, v := range y {
			z[i] += v
		}
		return z
	}
	c := &stat.Patches{Rows: a.Rows + b.Rows, YSum: add(a.YSum, b.YSum), YSq: add(a.YSq, b.YSq)}
	for i, m := range a.Parts {
		n := b.Parts[i]
		c.Parts = append(c.Parts, stat.Moments{From: m.From, K: m.K, G: add(m.G, n.G), Sum: add(m.Sum, n.Sum), Cross: add(m.Cross, n.Cross)})
	}
	return c
}

// levelRange is the range that levels of few bits keep to: on both sides of zero, as far as
// any of them reaches.
func levelRange(w weight.Int8) (lo, hi int32) {
	for i := range w.Q.Len() {
		lo, hi = min(lo, w.Level(i)), max(hi, w.Level(i))
	}
	if w.Q.DType.IsSigned() {
		hi = max(hi, -lo)
		if top := int32(1)<<(w.Q.DType.Bits()-1) - 1; hi > top {
			hi = top
		}
		lo = max(-hi, -int32(1)<<(w.Q.DType.Bits()-1))
	}
	return lo, hi
}

// descent minimises (w-v)ᵀ H (w-v) for one row w = s·q in whole numbers q: up to a constant
// wᵀ H w - 2 cᵀ w, and raise |w-w0|², w0 being the row before it was rounded.
type descent struct {
	h      []float64 // [k,k]
	k      int
	c      []float64
	q, s   []float64 // levels less zero point, scales
	zero   []float64
	pruned []bool    // what stays at zero
	x      []float64 // c - H w: half the negative gradient
	w0     []float64
	lo, hi float64
	raise  float64
}

// begin computes the gradient.
func (d *descent) begin() {
	for i := range d.k {
		row, sum := d.h[i*d.k:(i+1)*d.k], 0.0
		for j, v := range row {
			sum += v * d.s[j] * d.q[j]
		}
		d.x[i] = d.c[i] - sum
	}
}

// weights are what the levels stand for.
func (d *descent) weights() []float64 {
	w := make([]float64, d.k)
	for j, q := range d.q {
		w[j] = d.s[j] * q
	}
	return w
}

// error is wᵀ H w - 2 cᵀ w = -(x + c)ᵀ w.
func (d *descent) error() (e float64) {
	for j := range d.k {
		e -= (d.x[j] + d.c[j]) * d.s[j] * d.q[j]
	}
	return e
}

// descend moves one level after the other to where the error is least, while that helps.
func (d *descent) descend(passes int) {
	for range passes {
		moved := false
		for j := range d.k {
			h := d.h[j*d.k+j] + d.raise
			if h <= 0 || d.pruned[j] {
				continue
			}
			w := d.s[j] * d.q[j]
			to := w + (d.x[j]+d.raise*(d.w0[j]-w))/h
			q := min(max(math.RoundToEven(to/d.s[j]), d.lo-d.zero[j]), d.hi-d.zero[j])
			// What a move of less than half a step gains is lost in rounding.
			if q == d.q[j] || math.Abs(to-d.s[j]*q) >= math.Abs(to-w)*(1-1e-9) {
				continue
			}
			step := d.s[j] * (q - d.q[j])
			d.q[j], moved = q, true
			for i, v := range d.h[j*d.k : (j+1)*d.k] { // H is symmetric
				d.x[i] -= step * v
			}
		}
		if !moved {
			return
		}
	}
}

// rescale sets the scale of a row that has one to its best: q c / q H q. It reports whether it moved.
func (d *descent) rescale() bool {
	var qc, qhq float64
	for j, q := range d.q {
		qc += q * d.c[j]
		qhq += q * (d.c[j] - d.x[j]) / d.s[j]
	}
	s := qc / qhq
	if old := d.s[0]; !(s >= old/2 && s <= old*2) || math.Abs(s-old) < 1e-4*old {
		return false
	}
	s = float64(float32(s))
	for j := range d.s {
		d.s[j] = s
	}
	d.begin()
	return true
}
