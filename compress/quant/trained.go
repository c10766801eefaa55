package quant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"whit/compress/method"
	"whit/entropy"
	"whit/tensor"
)

// Trained trains weights and biases as few uniform levels with learned steps, while the bytes that they take
// are part of what is minimised. The network computes with step · value; values are trained, and steps with a rate of their own (S. K. Esser, J. L. McKinstry,
// D. Bablani, R. Appuswamy, D. S. Modha: Learned step size quantization, 2020).
//
// First, weights go to zero that are not worth their bits,
//
//	½ h value² < lambda · (bits(level) - bits(0))
//
// with the curvature h from the optimiser's mean of squared gradients (Fisher information, times the batch) and the bits under the
// file's own coder, where the weight stands and with its level: entropy-constrained training (S. Wiedemann, A. Marban, K.-R. Müller, W. Samek: Entropy-constrained
// training of deep neural networks, 2019) with the coder's prices instead of a first-order entropy. lambda rises; where bytes are asked for, it is what
// meets a schedule of bytes that falls like a cubic.
//
// With coarse, steps follow the price of bytes too: whenever weights go, each layer takes the step at which
//
//	½ h (value - level step)² + lambda bits(level)
//
// is least over what is left of it. What is left of a layer of which a tenth is left is large: steps that were right for all of it
// would tell its large values apart at three bits each, while others go to zero for want of bytes. This is the entropy-constrained quantiser
// of P. A. Chou, T. Lookabaugh, R. M. Gray (Entropy-constrained vector quantization, 1989) in one dimension, and uniform, which loses little (G. J. Sullivan:
// Efficient scalar quantization of exponential and Laplacian random variables, 1996).
//
// Then more and more values are rounded for good, the most sensitive first, and the rest makes good what
// these are off by (A. Zhou, A. Yao, Y. Guo, L. Xu, Y. Chen: Incremental network quantization, 2017, section 2, where the largest are first). In the end
// steps alone are trained.
//
// It deviates from the first of these papers in that values are held in units of the step, so that the step's gradient is
// the sum of gradient · value, and in that nothing is rounded on the way forward before it is rounded for good. With all levels rounded and gradients straight
// through, weights between two levels go to and fro, which has to be stopped (M. Nagel, M. Fournarakis, Y. Bondarenko, T. Blankevoort: Overcoming
// oscillations in quantization-aware training, 2022), and those between zero and the first level cost bits some of the time.
var Trained = &method.Method{
	Name: "trained",
	Doc:  "trains few uniform levels and their steps, with the bytes they take as a part of the loss",
	Params: append([]method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "levels", Kind: method.PerLayer, Default: method.Uniform(5), Min: 1, Max: 127, Doc: "largest level of weights on both sides of zero, by layer or for all"},
		{Name: "coarse", Kind: method.Bool, Default: false, Doc: "let steps grow, by layer, to what is best at the price of bytes"},
		{Name: "bias_levels", Kind: method.Int, Default: 15, Min: 1, Max: 127, Doc: "largest level of biases"},
		{Name: "lambda", Kind: method.Float, Default: 0.003, Min: 0, Max: 1e3, Doc: "nats of loss that a kilobyte is worth"},
		{Name: "bytes", Kind: method.Int, Default: 0, Min: 0, Max: 1 << 40, Doc: "bytes that the layers' code is to take, about, instead of lambda; 0: lambda says"},
		{Name: "until", Kind: method.Float, Default: 0.5, Min: 0.01, Max: 1, Doc: "share of the training after which zeros are settled and rounding begins"},
		{Name: "freeze", Kind: method.Float, Default: 0.9, Min: 0.01, Max: 1, Doc: "share of the training after which all is rounded, and steps alone are trained"},
		{Name: "early", Kind: method.Float, Default: 1.0, Min: 0.1, Max: 10, Doc: "how early rounding comes between the two: what is left to round is the power of this of what is left of the time"},
		{Name: "every", Kind: method.Float, Default: 0.5, Min: 0.001, Max: 1, Doc: "epochs after which bits are looked up again, and weights go or are rounded"},
		{Name: "slow", Kind: method.Float, Default: 0.05, Min: 0, Max: 100, Doc: "learning rate of steps, as a share of that of weights"},
	}, method.FitParams(20, 5e-4)...),
	Apply: trained,
}

// StageTrained is what progress calls the training of Trained: from Done 0 on, epoch by epoch.
const StageTrained = "train levels"

func trained(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	o := method.FitOptions(a)
	if o.Epochs == 0 {
		return errors.New("trained: epochs is 0")
	}
	t := &training{layers: layers, levels: a.PerLayer("levels"), biasLevels: a.Int("bias_levels"), lambda: a.Float("lambda"), bytes: a.Int("bytes"),
		coarse: a.Bool("coarse"), until: a.Float("until"), freeze: a.Float("freeze"), early: a.Float("early"), every: a.Float("every")}
	if t.freeze < t.until {
		return fmt.Errorf("trained: all is rounded after %v of the training, and rounding begins after %v", t.freeze, t.until)
	}
	key := fmt.Sprintf("trained %q %v %v %d %v %d %v %v %v %v", a.String("layers"), t.levels, t.coarse, t.biasLevels, t.lambda, t.bytes, t.until, t.freeze, t.early, t.every)
	live, err := s.Live(ctx, StageTrained, o, method.Rewrite{Key: key, Slow: a.Float("slow"), Step: t.step, Begin: t.begin, After: t.after, Note: t.note})
	if err != nil {
		return fmt.Errorf("trained: %w", err)
	}
	live.Take()
	for _, c := range t.coded {
		step := c.p.Step[0]
		if c.p.StepAverage != nil {
			step = c.p.StepAverage[0]
		}
		step *= c.unit[0]
		levels := make([]int8, len(c.level))
		for i, q := range c.level {
			levels[i] = int8(q)
		}
		if step < 0 { // the coder does not mind, readers might
			step = -step
			for i := range levels {
				levels[i] = -levels[i]
			}
		}
		c.p.Held.Quantise(levels, step)
	}
	return s.StageShared(ctx)
}

// training is a run of the method.
type training struct {
	layers        []*method.Layer
	levels        method.LayerValues
	coarse        bool
	biasLevels    int
	lambda        float64
	bytes         int
	until, freeze float64
	early, every  float64

	coded []*trainedPart
	// now is [lambda, first bytes, latest bytes, phase]: kept with the weights.
	now []float64
}

// The phases of a run.
const (
	pruning = iota
	rounding
	done
)

// trainedPart is a constant while it is trained, in multiples of its step. level and fixed are kept with the checkpoint.
type trainedPart struct {
	p     *method.Part
	top   int       // the largest level
	unit  []float32 // one number: levels are its multiples, in steps as they were at first
	level []float32 // what the value is, or would be, rounded to
	fixed []uint8   // 1: the level is what it computes with
}

// most is the largest level of a constant, 0 where it is left alone.
func (t *training) most(l *method.Layer, h *method.Held) int {
	v, ok := t.levels.For(l.Name)
	switch {
	case !ok || !slices.Contains(t.layers, l):
		return 0
	case h == l.Bias:
		return t.biasLevels
	}
	return int(v)
}

// step is the first one: that at which the mean square error is least with the levels that there are.
func (t *training) step(l *method.Layer, h *method.Held) float32 {
	top := t.most(l, h)
	if top == 0 {
		return 0
	}
	if h.Step != 0 {
		return h.Step
	}
	most := 0.0
	for _, x := range h.Data() {
		most = max(most, math.Abs(float64(x)))
	}
	if most == 0 {
		return 1
	}
	best, least := most, math.Inf(1)
	for k := 1; k <= 40; k++ {
		step := most / float64(top) * float64(k) / 40
		sum := 0.0
		for _, x := range h.Data() {
			if x != 0 {
				q := min(max(math.RoundToEven(float64(x)/step), float64(-top)), float64(top))
				d := float64(x) - float64(q*step)
				sum += float64(d * d)
			}
		}
		if sum < least {
			best, least = step, sum
		}
	}
	return float32(best)
}

func (t *training) begin(l *method.Live) error {
	state := tensor.New(tensor.Float64, 4)
	t.now = tensor.Of[float64](state)
	l.Keep("trained", state)
	for _, p := range l.Parts {
		if p.Step == nil {
			continue
		}
		level, fixed, unit := tensor.New(tensor.Float32, len(p.Elems)), tensor.New(tensor.Uint8, len(p.Elems)), tensor.From([]float32{1}, 1)
		l.Keep("unit:"+p.Held.Value.Name, unit)
		l.Keep("level:"+p.Held.Value.Name, level)
		l.Keep("fixed:"+p.Held.Value.Name, fixed)
		c := &trainedPart{p, t.most(p.Layer, p.Held), tensor.Of[float32](unit), tensor.Of[float32](level), tensor.Of[uint8](fixed)}
		for i, x := range p.Elems {
			if x == 0 && !p.Bias {
				c.fixed[i] = 1
			}
		}
		c.hold()
		c.nearest()
		t.coded = append(t.coded, c)
	}
	if len(t.coded) == 0 {
		return errors.New("levels names none of the layers")
	}
	return nil
}

func (t *training) after(l *method.Live) error {
	share, steps := l.Progress()
	_, step, each := l.Position()
	for _, c := range t.coded {
		c.hold()
	}
	due := step%max(1, int(t.every*float64(each))) == 0
	if t.now[3] == pruning && (due || share >= t.until) {
		// Means of squares begin at 0 and rise by 1 - beta2 a step.
		full := 1 - l.Options().Beta2
		t.prune(min(1, share/t.until), float64(l.Options().Batch)/min(1, float64(full*float64(steps))))
		if share >= t.until {
			t.now[3] = rounding
		}
	}
	if t.now[3] == rounding && (due || share >= t.freeze) {
		for _, c := range t.coded {
			c.round(t.left(share))
		}
		if share >= t.freeze {
			t.now[3] = done
		}
		t.now[2] = t.walk(nil) / 8
	}
	return nil
}

// left is the share of values that are still to be rounded after a share of the training, from until on.
func (t *training) left(share float64) float64 {
	if share >= t.freeze {
		return 0
	}
	return math.Pow((t.freeze-share)/(t.freeze-t.until), t.early)
}

func (t *training) note() string { return fmt.Sprintf("%.0f bytes, lambda %.3g", t.now[2], t.now[0]) }

// walk codes all levels and returns their bits; ask, if not nil, may ask for prices before each.
func (t *training) walk(ask func(c *trainedPart, i int, cost *entropy.Cost)) (bits float64) {
	cost := entropy.NewCost()
	for _, c := range t.coded {
		syms := make([]int32, len(c.level))
		for i, q := range c.level {
			syms[i] = int32(q)
		}
		var each func(i int)
		if ask != nil {
			each = func(i int) { ask(c, i, cost) }
		}
		bits = c.p.Held.Code(cost, syms, bits, each)
	}
	return bits
}

// prune makes zeros of weights that are not worth their bits at x, 0..1, of the schedule. scale makes
// curvatures of means of squared gradients.
func (t *training) prune(x, scale float64) {
	type item struct {
		c     *trainedPart
		i     int
		worth float64 // nats of loss a bit
		bits  float64
	}
	const rounds = 4 // prices change as neighbours go
	for _, c := range t.coded {
		if t.coarse && !c.p.Bias && t.now[0] > 0 {
			c.choose(t.now[0]/8000, scale)
		}
		c.nearest()
	}
	for round, far := 0, 0; round < rounds; {
		var items []item
		bits := t.walk(func(c *trainedPart, i int, cost *entropy.Cost) {
			if c.p.Bias || c.fixed[i] != 0 {
				return
			}
			q := int32(c.level[i])
			more := max(0.5, cost.Bits(q)-cost.Bits(0))
			v := float64(c.p.Elems[i])
			items = append(items, item{c, i, float64(v*v) * scale * float64(c.p.Second[i]) / 2 / more, more})
		})
		t.now[2] = bits / 8
		over, lambda := math.Inf(1), float64(t.lambda*x)/8000
		if t.bytes > 0 {
			if t.now[1] == 0 {
				t.now[1] = max(bits/8, float64(t.bytes))
			}
			left := 1 - x
			over, lambda = bits-8*(float64(t.bytes)+(t.now[1]-float64(t.bytes))*float64(left*left)*left), math.Inf(1)
		}
		most := len(items)
		if t.bytes > 0 && over > bits/20 && far < 16 { // zeros make others cheaper than they are now: half of the way, or a quarter of what is left, then prices anew
			over, most = over/2, 1+most/4
			far++
		} else {
			round++
		}
		slices.SortStableFunc(items, func(a, b item) int { return cmp.Compare(a.worth, b.worth) })
		gone := 0
		for _, e := range items {
			if over <= 0 || gone == most || e.worth >= lambda {
				break
			}
			e.c.fixed[e.i], e.c.level[e.i], e.c.p.Elems[e.i] = 1, 0, 0
			over -= e.bits
			t.now[0] = 8000 * e.worth
			gone++
		}
		if gone == 0 {
			break
		}
	}
}

// hold makes what is fixed its level, and keeps the rest within reach of the levels.
func (c *trainedPart) hold() {
	edge := (float32(c.top) + 0.49) * c.unit[0]
	for i, f := range c.fixed {
		if f != 0 {
			c.p.Elems[i] = c.level[i] * c.unit[0]
		} else {
			c.p.Elems[i] = min(max(c.p.Elems[i], -edge), edge)
		}
	}
}

// to is the level next to a value, in units; not 0 for a weight, which would be rounded to zero.
func (c *trainedPart) to(x, unit float32) float32 {
	q := float32(math.RoundToEven(float64(x / unit)))
	if q == 0 && !c.p.Bias {
		if q = 1; x < 0 {
			q = -1
		}
	}
	return min(max(q, float32(-c.top)), float32(c.top))
}

// nearest finds the levels next to the values that are still trained.
func (c *trainedPart) nearest() {
	for i, f := range c.fixed {
		if f == 0 {
			c.level[i] = c.to(c.p.Elems[i], c.unit[0])
		}
	}
}

// choose sets the unit to what is best for the values that are left where a bit is worth lambda nats. scale makes
// curvatures of means of squared gradients.
func (c *trainedPart) choose(lambda, scale float64) {
	const ways, finer = 33, -2 // a quarter of an octave apart, from two octaves below on
	quarters := [4]float64{1, 1.189207115002721, 1.4142135623730951, 1.681792830507429}
	least, best := math.Inf(1), c.unit[0]
	count := make([]int, 2*c.top+1)
	for k := range ways {
		unit := float32(math.Ldexp(quarters[k%4], k/4+finer))
		clear(count)
		off, n := 0.0, 0
		for i, f := range c.fixed {
			if f != 0 {
				continue
			}
			q := c.to(c.p.Elems[i], unit)
			d := float64(c.p.Elems[i] - float32(q*unit))
			off += float64(float64(d*d) * float64(c.p.Second[i]))
			count[int(q)+c.top]++
			n++
		}
		bits := 0.0
		for _, m := range count {
			if m > 0 {
				bits += float64(m) * math.Log2(float64(n)/float64(m))
			}
		}
		if cost := scale*off/2 + lambda*bits; cost < least {
			least, best = cost, unit
		}
	}
	c.unit[0] = best
}

// round rounds values for good, the most sensitive first, until a share of those that are not zero is left.
func (c *trainedPart) round(left float64) {
	c.nearest()
	var free []int
	total := 0
	for i, f := range c.fixed {
		if f == 0 {
			free = append(free, i)
		}
		if f == 0 || c.p.Bias || c.level[i] != 0 {
			total++
		}
	}
	slices.SortStableFunc(free, func(a, b int) int { return cmp.Compare(c.p.Second[b], c.p.Second[a]) })
	for _, i := range free[:max(0, len(free)-int(left*float64(total)))] {
		c.fixed[i], c.p.Elems[i] = 1, c.level[i]*c.unit[0]
	}
}
