package quant

import (
	"context"
	"fmt"
	"math"
	"slices"

	"whit/compress/method"
	"whit/entropy"
	"whit/tensor"
	"whit/weight"
)

// RDO chooses uniform levels weight by weight, in the order in which the file holds them,
// each as the one that costs least: lambda times the bits that the context coder would
// take for it now, plus what it adds to the divergence of the decisions from the float model's, or of
// the outputs where the model decides nothing.
// The weights may be pruned; zeros stay zeros.
//
// The rate is that of S. Wiedemann et al.: DeepCABAC (2020, section IV), except that the
// prices are the coder's own, with all that it has learned up to there. The error is of second
// order, with compensation by the weights that follow, as in E. Frantar, S. P. Singh, D. Alistarh: Optimal
// Brain Compression (2022, section 4) and E. Frantar et al.: GPTQ (2022, section 3), except that
//
//   - the error is that of the decisions, not of the layer's output: it is carried along as the
//     vector of what all images' decisions are off by, which every choice moves (see response);
//   - so a weight makes good what any weight before it did, in its row or another's, and
//     no inverse of a Hessian is needed. Several passes let the first ones answer the last ones;
//   - few images say less about pairs of weights than about single ones: the Hessian is shrunk
//     towards its diagonal (O. Ledoit, M. Wolf: A well-conditioned estimator for
//     large-dimensional covariance matrices, 2004), the more the fewer sums of large outputs are drawn;
//   - decisions are softened by a temperature (G. Hinton, O. Vinyals, J. Dean: Distilling the knowledge in a
//     neural network, 2015, section 2): images of which the model is certain would say nothing.
//
// With dependent, levels are those of a dependent quantiser (see trellis). With codebook, a weight that shares values is
// given another entry, or none where it is sparse, and what it is compared with is the model with its codebooks.
var RDO = &method.Method{
	Name: "rdo",
	Doc:  "chooses each weight's level by the bytes it costs and what it does to the decisions or outputs",
	Params: []method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "lambda", Kind: method.Float, Default: 3e-4, Min: 1e-9, Max: 1e3, Doc: "nats of divergence of the softened decisions that a kilobyte is worth, or half the mean square of outputs, in their variance; more gives smaller files"},
		{Name: "bytes", Kind: method.Int, Default: 0, Min: 0, Max: 1 << 40, Doc: "bytes that the layers' code may take: lambda is searched, from its value on; 0: lambda holds"},
		{Name: "images", Kind: method.Int, Default: 500, Min: 1, Max: 1e5, Doc: "images of the training part that are looked at, without their labels"},
		{Name: "passes", Kind: method.Int, Default: 4, Min: 1, Max: 100, Doc: "passes over the weights"},
		{Name: "step", Kind: method.Float, Default: 2.0, Min: 0.01, Max: 100, Doc: "first step between levels, of the one that would be best at a high rate without compensation"},
		{Name: "granularity", Kind: method.String, Default: "tensor", Choices: []string{"tensor", "channel"}, Doc: "what shares a step: the tensor, or an output channel where that takes fewer bytes at the same error"},
		{Name: "shrink", Kind: method.Float, Default: 0.8, Min: 0, Max: 1, Doc: "how much less is believed of pairs of weights than of single ones; more where few sums of large outputs are drawn"},
		{Name: "codebook", Kind: method.Bool, Default: false, Doc: "chooses among the entries of the codebook where a layer has one, instead of levels a step apart"},
		{Name: "dependent", Kind: method.Bool, Default: false, Doc: "weights' levels on two scales of which those before say which one counts (trellis-coded quantisation): fewer bytes, and several times slower to choose"},
		{Name: "temperature", Kind: method.Float, Default: 8.0, Min: 0.1, Max: 100, Doc: "temperature of the decisions that are compared"},
	},
	Apply: rdo,
}

func rdo(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	users := s.Graph.Uses()
	z := &rounder{step: a.Float("step"), shrink: a.Float("shrink"), passes: a.Int("passes"), dependent: a.Bool("dependent"), codebook: a.Bool("codebook"),
		channels: a.String("granularity") == "channel"}
	for _, l := range layers {
		if suited(l, users) {
			z.layers = append(z.layers, l)
		}
	}
	if z.layers == nil {
		return fmt.Errorf("rdo: none of the layers %q is one that it knows: Conv, Gemm or MatMul of plain matrices, whose weight is read once", a.String("layers"))
	}
	if err := z.prepare(); err != nil {
		return fmt.Errorf("rdo: %w", err)
	}
	if z.m, err = newResponse(ctx, s, a.Int("images"), a.Float("temperature"), z.columns()); err != nil {
		return fmt.Errorf("rdo: %w", err)
	}
	if z.m.drawn() {
		z.shrink = shrunk(z.shrink, len(z.m.rest))
	}
	lambda := a.Float("lambda")
	run := func(lambda float64) (float64, error) {
		bits, err := z.run(ctx, lambda/8000*float64(z.m.n)) // of a bit, for the sum over images
		if err == nil {
			s.Tell(method.Event{Stage: "levels", Message: fmt.Sprintf("lambda %.3g: %.0f bytes", lambda, bits/8)})
		}
		return bits / 8, err
	}
	bytes, err := run(lambda)
	if want := float64(a.Int("bytes")); err == nil && want > 0 {
		bytes, err = seek(lambda, bytes, want, run)
		if err == nil && bytes > want {
			err = fmt.Errorf("%.0f bytes are the fewest that were found, want %.0f", bytes, want)
		}
	}
	if err != nil {
		return fmt.Errorf("rdo: %w", err)
	}
	return s.StageShared(ctx)
}

// shrunk is shrink where n sums are drawn, if it is right for as many as usual: what is seen of a pair has
// an error whose variance goes with 1/n, beside the square of what is to be seen. With 192 sums of demosaicnet's
// outputs 0.8 gave some hundred times the squared error of 1 on other pictures, and 0.99 less than half of that of 1.
func shrunk(shrink float64, n int) float64 {
	const usual = 5000
	return shrink / (shrink + float64((1-shrink)*float64(n)/usual))
}

// seek looks for the least lambda that gives at most the wanted bytes, by bisection of its
// logarithm, and ends with a run of it.
func seek(lambda, bytes, want float64, run func(float64) (float64, error)) (float64, error) {
	const factor, rounds = 4, 6
	var err error
	lo, hi := lambda, lambda
	for k := 0; bytes > want && k < rounds; k++ {
		lo, hi = hi, hi*factor
		if bytes, err = run(hi); err != nil {
			return 0, err
		}
	}
	for k := 0; lo == hi && k < rounds; k++ { // the first was small enough
		lo /= factor
		b, err := run(lo)
		if err != nil {
			return 0, err
		}
		if b > want {
			break
		}
		hi = lo
	}
	last := lo
	for range rounds {
		if last = math.Sqrt(lo * hi); lo == hi {
			break
		}
		b, err := run(last)
		if err != nil {
			return 0, err
		}
		if b > want {
			lo = last
		} else {
			hi, bytes = last, b
		}
	}
	if last != hi {
		bytes, err = run(hi)
	}
	return bytes, err
}

// rounder holds what all runs of one step share.
type rounder struct {
	m            *response
	layers       []*method.Layer
	step, shrink float64
	passes       int
	dependent    bool
	codebook     bool
	channels     bool
	held         [][]*rounded // of each layer: the weight, and the bias if there is one
	of           map[*method.Held]*rounded
}

// rounded is a constant in the order of the file, with its levels so far.
type rounded struct {
	h      *method.Held
	rows   int
	cols   int
	float  []float32 // as it came
	fixed  []bool    // zero, and stays so
	levels []int32
	step   float64
	j      jacobian

	// Of a weight whose output channels, along axis, have steps of their own: √2 to their powers times step, rounded, and the bits
	// that they take in the file. nil: all have step.
	axis   int
	powers []int
	steps  []float64
	extra  float64

	// A codebook's entries, ascending, and 0 where elements may be left out: level l is book[zero+l]. nil: levels are
	// multiples of step.
	book   []float32
	zero   int
	sparse bool

	dependent bool // levels are what those of a dependent quantiser stand for
}

// value is what level l of element i stands for.
func (q *rounded) value(i int, l int32) float32 {
	if q.book != nil {
		return q.book[q.zero+int(l)]
	}
	return float32(l) * float32(q.unit(i))
}

// share makes levels the entries of the codebook as it stands, numbered as the file numbers them.
func (q *rounded) share() {
	h := q.h
	h.Share(h.Centroids, h.Index) // which rounds them
	q.book = slices.Clone(h.Centroids)
	if q.sparse = h.Mask != nil; q.sparse {
		q.book = append(q.book, 0)
	}
	slices.Sort(q.book)
	q.book = slices.Compact(q.book)
	for i, v := range q.book {
		if math.Abs(float64(v)) < math.Abs(float64(q.book[q.zero])) {
			q.zero = i
		}
	}
	q.float = h.Data()
}

// hold holds the constant by its levels.
func (q *rounded) hold() {
	h := q.h
	if q.book == nil {
		levels := make([]int8, len(q.levels))
		for i, l := range q.levels {
			levels[i] = int8(l)
		}
		if q.powers == nil {
			h.Quantise(levels, float32(q.step))
			return
		}
		w := weight.Int8{Q: tensor.From(levels, h.Value.Type.Shape...), Axis: q.axis}
		for _, step := range q.steps {
			w.Scale = append(w.Scale, float32(step))
		}
		h.Hold(w)
		return
	}
	index := make([]uint16, len(q.levels))
	h.Mask = nil
	if q.sparse {
		h.Mask = make([]uint64, (len(index)+63)/64)
	}
	for i, l := range q.levels {
		index[i] = uint16(q.zero + int(l))
		if q.sparse && q.value(i, l) != 0 {
			h.Mask[i/64] |= 1 << (i % 64)
		}
	}
	h.Share(q.book, index)
}

// near is the levels that an element may take whose best value is at in steps, or v: 0, the two around it, and one further
// towards zero.
func (q *rounded) near(at, v float64) [4]int32 {
	if q.book != nil {
		k, _ := slices.BinarySearch(q.book, float32(v))
		lo := k - 1
		inner := max(lo-1, q.zero)
		if lo < q.zero {
			inner = min(lo+2, q.zero)
		}
		c := [4]int32{}
		for i, k := range [...]int{lo, lo + 1, inner} {
			c[i+1] = int32(min(max(k, 0), len(q.book)-1) - q.zero)
		}
		return c
	}
	lo := math.Floor(at)
	inner := max(lo-1, 0)
	if lo < 0 {
		inner = min(lo+2, 0)
	}
	c := [4]int32{}
	for i, x := range [...]float64{lo, lo + 1, inner} {
		c[i+1] = int32(min(max(x, -127), 127))
	}
	return c
}

func (z *rounder) prepare() error {
	z.of = map[*method.Held]*rounded{}
	for _, l := range z.layers {
		var pair []*rounded
		for i, h := range []*method.Held{&l.Weight, l.Bias} {
			if h == nil {
				continue
			}
			q := &rounded{h: h, rows: h.Value.Type.Shape[0], float: h.Data(), fixed: make([]bool, h.Len()), levels: make([]int32, h.Len())}
			if i == 0 {
				q.axis = l.OutAxis
			}
			if z.codebook && h.Centroids != nil && h.Step == 0 {
				q.share()
			}
			q.cols = len(q.float) / q.rows
			for e, v := range q.float {
				if v != v || math.IsInf(float64(v), 0) {
					return fmt.Errorf("layer %s: element %d of %q is not finite", l.Name, e, h.Value.Name)
				}
				q.fixed[e] = v == 0 && i == 0
			}
			pair = append(pair, q)
			z.of[h] = q
		}
		z.held = append(z.held, pair)
	}
	return nil
}

// columns is the number of those of the largest table that a layer takes.
func (z *rounder) columns() (most int) {
	for k, pair := range z.held {
		for i, q := range pair {
			n := 0
			for _, f := range q.fixed {
				if !f {
					n++
				}
			}
			if i > 0 || !rows(z.layers[k]) {
				most = max(most, n)
			}
		}
	}
	return most
}

// groups cuts the layers into those whose jacobians are held at a time.
func (z *rounder) groups() (cuts []int) {
	left := 0
	for k, l := range z.layers {
		need := 0
		for i, q := range z.held[k] {
			switch {
			case i == 0 && rows(l):
				need += z.m.n * (q.cols + q.rows*z.m.dirs)
			default:
				for _, f := range q.fixed {
					if !f {
						need += len(z.m.rest)
					}
				}
			}
		}
		if left -= need; left < 0 || k == 0 {
			cuts = append(cuts, k)
			left = maxTable/4 - need
		}
	}
	return append(cuts, len(z.layers))
}

// run chooses all levels, starting from the floats, and returns the bits of their code. Of its passes
// the one counts whose sum of error and rate is least.
func (z *rounder) run(ctx context.Context, lambda float64) (bits float64, err error) {
	for _, pair := range z.held {
		for _, q := range pair {
			q.h.Mask, q.h.Centroids, q.h.Index, q.h.Step = nil, nil, nil, 0
			q.h.Set(slices.Clone(q.float))
		}
	}
	fixed := func(h *method.Held, i int) bool { return z.of[h].fixed[i] }
	type saved struct {
		levels []int32
		step   float64
	}
	best, kept := math.Inf(1), map[*rounded]saved{}
	for pass := range z.passes {
		cost := entropy.NewCost()
		sum := 0.0
		cuts := z.groups()
		for c, from := range cuts[:len(cuts)-1] {
			js, err := z.m.jacobians(ctx, z.layers[from:cuts[c+1]], fixed)
			if err != nil {
				return 0, err
			}
			for k := range js {
				if err := z.m.measure(ctx); err != nil {
					return 0, err
				}
				for i, q := range z.held[from+k] {
					q.j = js[k][i]
					if pass == 0 {
						q.begin(lambda, z.step, z.dependent && i == 0 && q.cols >= minTrellis, z.channels && i == 0)
					}
					sum += q.extra + q.walk(cost, lambda, z.shrink)
					if pass < z.passes-1 && q.book == nil {
						q.rescale(z.m)
					}
					q.hold()
					q.j = nil
				}
			}
		}
		if err := z.m.measure(ctx); err != nil {
			return 0, err
		}
		if all := dot(z.m.rest, z.m.rest)/2 + float64(lambda*sum); all < best {
			best, bits = all, sum
			for _, q := range z.of {
				kept[q] = saved{slices.Clone(q.levels), q.step}
			}
		}
	}
	if len(kept) == 0 {
		return 0, fmt.Errorf("the decisions are not finite")
	}
	for _, pair := range z.held {
		for _, q := range pair {
			q.levels, q.step = kept[q].levels, kept[q].step
			q.spread()
			q.hold()
		}
	}
	return bits, nil
}

// each calls f with all elements between begin and end of their rows.
func (q *rounded) each(f func(i int)) {
	for r := range q.rows {
		q.j.begin(r)
		for i := r * q.cols; i < (r+1)*q.cols; i++ {
			f(i)
		}
		q.j.end(r)
	}
}

// begin sets the first step: levels Δ apart are off by Δ²/12 in the mean square, which costs
// h Δ²/24 at a curvature h, and Δ twice as large saves a bit: their sum is least at
// Δ² = 12 lambda / (h ln 2). Compensation and zeros lower the error: the best is factor times that.
//
// With channels each output channel may get its own (see stepsOfChannels). A dependent quantiser is not used where its levels would
// leave the 8 bits that hold them.
func (q *rounded) begin(lambda, factor float64, dependent, channels bool) {
	sum, n, top := 0.0, 0, 0.0
	q.each(func(i int) {
		if !q.fixed[i] {
			sum += q.j.norm(i)
			n++
			top = max(top, math.Abs(float64(q.float[i])))
		}
	})
	if q.dependent, q.powers, q.extra = false, nil, 0; top == 0 || q.book != nil {
		q.step = 1
		return
	}
	q.step = top
	if sum > 0 {
		q.step = factor * math.Sqrt(12*lambda*float64(n)/(math.Ln2*sum))
		if channels {
			least := 1. / 127
			if dependent {
				least /= dependentStep
			}
			q.extra = q.stepsOfChannels(q.step, least)
		}
	}
	if q.powers != nil {
		if q.dependent = dependent; dependent {
			q.step *= dependentStep
		}
		q.spread()
		return
	}
	if q.dependent = dependent && dependentStep*q.step >= top/127; q.dependent {
		q.step *= dependentStep
	}
	q.step = min(max(q.step, top/127), top)
}

// walk chooses the levels in coding order and returns their bits. What is off from the float
// weight by d costs h d²/2 + g d, with the curvature h and the gradient g that everything else that is off leaves.
func (q *rounded) walk(cost *entropy.Cost, lambda, shrink float64) (bits float64) {
	x := q.h.Data()
	syms := make([]int32, len(x))
	scales := 1.
	if q.dependent {
		scales = 2
	}
	for i, v := range x {
		if q.book != nil {
			syms[i] = q.near(0, float64(v))[2]
			continue
		}
		syms[i] = int32(math.RoundToEven(float64(v) / (scales * q.unit(i))))
	}
	bits = cost.Start(entropy.Block{Dims: entropy.DimsOf(q.h.Value.Type.Shape), Syms: syms, Dependent: q.dependent})
	if q.dependent {
		return bits + q.trellis(cost, lambda, shrink)
	}
	q.each(func(i int) {
		if q.fixed[i] {
			bits += cost.Take(0)
			return
		}
		w := float64(q.float[i])
		h, now := q.j.norm(i), float64(x[i])-w
		g := (1 - shrink) * (q.j.grad(i) - float64(h*now))
		step := q.unit(i)
		at := w / step
		if h > 0 {
			at -= g / h / step
		}
		best, least := int32(0), math.Inf(1)
		for k, l := range q.near(at, at*step) {
			if k > 0 && l == 0 {
				continue // that was the first
			}
			d := float64(q.value(i, l)) - w
			if v := float64(h*d*d)/2 + float64(g*d) + float64(lambda*cost.Bits(l)); v < least {
				best, least = l, v
			}
		}
		q.levels[i] = best
		bits += cost.Take(best)
		if v := q.value(i, best); v != x[i] {
			q.j.move(i, v-x[i])
		}
	})
	return bits
}

// rescale moves the step to where the error is least for the levels as they are.
func (q *rounded) rescale(m *response) {
	const try, most = 0.01, 0.1
	before := slices.Clone(m.rest)
	q.each(func(i int) {
		if q.levels[i] != 0 {
			q.j.move(i, float32(try*q.unit(i)*float64(q.levels[i])))
		}
	})
	along := make([]float32, len(before))
	for i, v := range m.rest {
		along[i] = (v - before[i]) / try
	}
	copy(m.rest, before)
	t := 0.0
	if h := dot(along, along); h > 0 {
		t = min(max(-dot(along, before)/h, -most), most)
	}
	q.step *= 1 + t
	q.spread()
	for i, v := range along {
		m.rest[i] += float32(float32(t) * v)
	}
}
