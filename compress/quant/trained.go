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
// are part of what is minimised.
//
// The network computes with step · level; gradients go straight through to a dense value in units of the step, and the step
// is trained with a rate of its own (S. K. Esser, J. L. McKinstry, D. Bablani, R. Appuswamy, D. S. Modha: Learned step size
// quantization, 2020). After each training step every weight gets the level that costs least,
//
//	½ h (value - level)² + lambda · bits(level)
//
// with the curvature h from the optimiser's mean of squared gradients (Fisher information, times the batch) and the bits under the
// file's own coder, where the weight stands, which are looked up again every now and then: entropy-constrained training
// (S. Wiedemann, A. Marban, K.-R. Müller, W. Samek: Entropy-constrained training of deep neural networks, 2019), with the coder's prices
// instead of a first-order entropy. Weights that are not worth their bits go to zero, and may come back.
// From settle on, zeros are those that were zero most of the time, and the others are trained as they are while more and more of them
// are rounded for good, the most sensitive first, so that the rest makes good what these are off by (A. Zhou, A. Yao, Y. Guo, L. Xu, Y. Chen: Incremental
// network quantization, 2017, section 2, where the largest are first).
//
// It deviates from these in that dense values are held in units of the step, so that the step's gradient is
// the sum of gradient · level; in that bytes may be asked for: lambda then follows a schedule of bytes that falls like a
// cubic; and in that steps alone are trained in the end. Incremental rounding does what freezing levels that oscillate is for (M. Nagel, M. Fournarakis,
// Y. Bondarenko, T. Blankevoort: Overcoming oscillations in quantization-aware training, 2022): with levels that go to and fro until
// they are frozen, a LeNet-300-100 of 3,600 bytes lost twice as much.
var Trained = &method.Method{
	Name: "trained",
	Doc:  "trains few uniform levels and their steps, with the bytes they take as a part of the loss",
	Params: append(append([]method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "levels", Kind: method.PerLayer, Default: method.Uniform(5), Min: 1, Max: 127, Doc: "largest level of weights on both sides of zero, by layer or for all"},
		{Name: "bias_levels", Kind: method.Int, Default: 15, Min: 1, Max: 127, Doc: "largest level of biases"},
		{Name: "lambda", Kind: method.Float, Default: 0.003, Min: 0, Max: 1e3, Doc: "nats of loss that a kilobyte is worth; the first one where bytes is set"},
		{Name: "bytes", Kind: method.Int, Default: 0, Min: 0, Max: 1 << 40, Doc: "bytes that the layers' code is to take: lambda follows; 0: lambda holds"},
		{Name: "until", Kind: method.Float, Default: 0.5, Min: 0.01, Max: 1, Doc: "share of the training after which lambda or the bytes are where they are to be"},
		{Name: "settle", Kind: method.Float, Default: 0.5, Min: 0, Max: 1, Doc: "share of the training after which zeros stay, and levels are rounded for good little by little"},
		{Name: "every", Kind: method.Float, Default: 0.5, Min: 0.001, Max: 1, Doc: "epochs after which bits are looked up again"},
		{Name: "slow", Kind: method.Float, Default: 0.05, Min: 0, Max: 100, Doc: "learning rate of steps, as a share of that of weights"},
		{Name: "freeze", Kind: method.Float, Default: 0.9, Min: 0, Max: 1, Doc: "share of the training after which all levels are, and steps alone are trained"},
		{Name: "revive", Kind: method.Bool, Default: false, Doc: "weights that were zero may become others"},
	}, method.FitParams(20, 5e-4)...), method.DistillParams...),
	Apply: trained,
}

func trained(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	o := method.FitOptions(a)
	method.Distilled(a, &o)
	if o.Epochs == 0 {
		return errors.New("trained: epochs is 0")
	}
	t := &training{layers: layers, levels: a.PerLayer("levels"), biasLevels: a.Int("bias_levels"), lambda: a.Float("lambda"), bytes: a.Int("bytes"),
		until: a.Float("until"), settle: a.Float("settle"), every: a.Float("every"), freeze: a.Float("freeze"), revive: a.Bool("revive")}
	key := fmt.Sprintf("trained %q %v %d %v %d %v %v %v %v %v", a.String("layers"), t.levels, t.biasLevels, t.lambda, t.bytes, t.until, t.settle, t.every, t.freeze, t.revive)
	live, err := s.Live(ctx, "train levels", o, method.Rewrite{Key: key, Slow: a.Float("slow"), Step: t.step, Begin: t.begin, After: t.after, Note: t.note})
	if err != nil {
		return fmt.Errorf("trained: %w", err)
	}
	for _, p := range live.Parts {
		if p.Step == nil {
			x := p.Elems
			if p.Average != nil {
				x = p.Average
			}
			p.Held.Set(slices.Clone(x))
		}
	}
	for _, c := range t.coded {
		step := c.p.Step[0]
		if c.p.StepAverage != nil {
			step = c.p.StepAverage[0]
		}
		levels := make([]int8, len(c.p.Elems))
		for i, x := range c.p.Elems {
			levels[i] = int8(x)
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
	layers     []*method.Layer
	levels     method.LayerValues
	biasLevels int
	lambda     float64
	bytes      int
	until      float64
	settle     float64
	every      float64
	freeze     float64
	revive     bool

	coded  []*trainedPart
	looked bool
	// now is [lambda, first bytes, latest bytes, phase: 0, 1 where zeros are settled, 2 where all levels are]: what is adjusted on the way, kept with the weights.
	now []float64
}

// trainedPart is a constant while it is trained. All slices but free and price are kept with the checkpoint.
type trainedPart struct {
	p     *method.Part
	top   int       // the largest level
	value []float32 // dense, in steps
	level []float32
	mean  []float32 // mean level
	fixed []uint8   // 1: the level is frozen, or has to be zero
	free  []int32   // the elements that are not fixed, when prices were looked up
	price []float32 // bits of each level of these, -top..top
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
	t.now[0] = t.lambda
	for _, p := range l.Parts {
		if p.Step == nil {
			continue
		}
		c := &trainedPart{p: p, top: t.most(p.Layer, p.Held)}
		keep := func(what string) []float32 {
			x := tensor.New(tensor.Float32, len(p.Elems))
			l.Keep(what+":"+p.Held.Value.Name, x)
			return tensor.Of[float32](x)
		}
		c.value, c.level, c.mean = keep("value"), keep("level"), keep("mean")
		f := tensor.New(tensor.Uint8, len(p.Elems))
		l.Keep("fixed:"+p.Held.Value.Name, f)
		c.fixed = tensor.Of[uint8](f)
		for i, x := range p.Elems {
			c.value[i] = x
			c.level[i] = float32(math.RoundToEven(float64(c.clamp(x))))
			c.mean[i] = c.level[i]
			if x == 0 && !p.Bias && !t.revive {
				c.fixed[i] = 1
			}
			p.Elems[i] = c.level[i]
		}
		t.coded = append(t.coded, c)
	}
	if len(t.coded) == 0 {
		return errors.New("levels names none of the layers")
	}
	return nil
}

// clamp keeps a value within reach of the levels.
func (c *trainedPart) clamp(x float32) float32 {
	edge := float32(c.top) + 0.49
	return min(max(x, -edge), edge)
}

func (t *training) after(l *method.Live) error {
	share, steps := l.Progress()
	_, step, each := l.Position()
	if !t.looked { // the first step of this process
		t.look()
	}
	lambda := t.now[0] / 8000
	if t.bytes == 0 {
		lambda *= min(1, share/t.until)
	}
	// Means of squares begin at 0 and rise by 1 - beta2 a step.
	full := 1 - l.Options().Beta2
	scale := float64(l.Options().Batch) / min(1, float64(full*float64(steps)))
	settles := share >= t.settle && t.now[3] == 0
	due := step%max(1, int(t.every*float64(each))) == 0 // at the end of each epoch in any case, so that a run that is resumed there sees the same
	switch {
	case t.now[3] == 0:
		for _, c := range t.coded {
			c.choose(lambda, scale)
		}
		if settles {
			t.settleAll()
			t.now[3] = 1
		}
		if due || settles {
			t.now[2] = t.look() / 8
		}
		if due && !settles {
			t.steer(t.now[2], min(1, share/t.until))
		}
	default:
		all := share >= t.freeze
		if (due || all) && t.now[3] < 2 {
			left := 0.0
			if t.freeze > t.settle && !all {
				left = (t.freeze - share) / (t.freeze - t.settle)
			}
			for _, c := range t.coded {
				c.round(left)
			}
			t.now[2] = t.look() / 8
			if all {
				t.now[3] = 2
			}
		}
		for _, c := range t.coded {
			c.hold()
		}
	}
	return nil
}

func (t *training) note() string { return fmt.Sprintf("%.0f bytes, lambda %.3g", t.now[2], t.now[0]) }

// look looks up what every level of every element that may change would cost; it returns the bits of
// the code as it is.
func (t *training) look() (bits float64) {
	t.looked = true
	for _, c := range t.coded {
		c.free, c.price = c.free[:0], c.price[:0]
	}
	return t.walk(func(c *trainedPart, i int) int32 { return int32(c.level[i]) }, func(c *trainedPart, i int, cost *entropy.Cost) {
		if c.fixed[i] == 0 {
			c.free = append(c.free, int32(i))
			for q := -c.top; q <= c.top; q++ {
				c.price = append(c.price, float32(cost.Bits(int32(q))))
			}
		}
	})
}

// code is the bits of other levels.
func (t *training) code(level func(c *trainedPart, i int) int32) float64 { return t.walk(level, nil) }

// walk codes levels and returns their bits; ask, if not nil, may ask for prices before each.
func (t *training) walk(level func(c *trainedPart, i int) int32, ask func(c *trainedPart, i int, cost *entropy.Cost)) (bits float64) {
	cost := entropy.NewCost()
	for _, c := range t.coded {
		syms := make([]int32, len(c.level))
		for i := range syms {
			syms[i] = level(c, i)
		}
		bits += cost.Start(entropy.Block{Dims: entropy.DimsOf(c.p.Held.Value.Type.Shape), Syms: syms})
		for i, q := range syms {
			if ask != nil {
				ask(c, i, cost)
			}
			bits += cost.Take(q)
		}
	}
	return bits
}

// steer moves lambda towards where the bytes meet their schedule at x, 0..1.
func (t *training) steer(bytes, x float64) {
	if t.bytes == 0 {
		return
	}
	if t.now[1] == 0 {
		t.now[1] = max(bytes, float64(t.bytes))
	}
	left := 1 - x
	want := float64(t.bytes) + (t.now[1]-float64(t.bytes))*float64(left*left)*left
	const gain = 2
	t.now[0] *= min(max(1+float64(gain*(bytes/want-1)), 0.8), 1.25)
}

// choose takes the optimiser's step over to the dense values, and gives each element its level. scale makes
// curvatures of means of squared gradients.
func (c *trainedPart) choose(lambda, scale float64) {
	const rate = 0.01
	for k, i := range c.free {
		c.value[i] = c.clamp(c.value[i] + (c.p.Elems[i] - c.level[i]))
		c.level[i] = c.best(k, lambda, scale)
		c.mean[i] += float32(rate * (c.level[i] - c.mean[i]))
	}
	copy(c.p.Elems, c.level)
}

// best is the level of the k-th free element that costs least.
func (c *trainedPart) best(k int, lambda, scale float64) float32 {
	i := c.free[k]
	wide := 2*c.top + 1
	price := c.price[k*wide : (k+1)*wide]
	v := float64(c.value[i])
	h := scale * float64(c.p.Second[i]) / 2
	lo := int(math.Floor(v))
	inner := max(lo-1, 0) // one further towards zero
	if lo < 0 {
		inner = min(lo+2, 0)
	}
	best, least := 0, math.Inf(1)
	for k, q := range [...]int{0, lo, lo + 1, inner} {
		if k > 0 && q == 0 || q < -c.top || q > c.top {
			continue
		}
		d := v - float64(q)
		if x := float64(h*d*d) + float64(lambda*float64(price[q+c.top])); x < least {
			best, least = q, x
		}
	}
	return float32(best)
}

// settleAll settles zeros: weights whose mean level is small, at most 0.5, or where bytes are asked for such that these are met.
func (t *training) settleAll() {
	below := float32(0.5)
	if t.bytes > 0 {
		const first, rounds = 0.02, 10
		lo, hi := first, 2.0
		for range rounds {
			mid := math.Sqrt(lo * hi)
			if t.code(func(c *trainedPart, i int) int32 { return int32(c.settled(i, float32(mid))) })/8 > float64(t.bytes) {
				lo = mid
			} else {
				hi = mid
			}
		}
		below = float32(hi)
	}
	for _, c := range t.coded {
		c.settle(below)
	}
}

// settled is the level of an element if those with a mean level below that become zeros.
func (c *trainedPart) settled(i int, below float32) float32 {
	q := c.mean[i]
	switch {
	case c.p.Bias || c.fixed[i] != 0:
		return c.level[i]
	case q >= below:
		return max(float32(math.RoundToEven(float64(q))), 1)
	case q <= -below:
		return min(float32(math.RoundToEven(float64(q))), -1)
	}
	return 0
}

// settle makes zeros of weights whose mean level is below that for good. From then on what is free is trained as it is.
func (c *trainedPart) settle(below float32) {
	for _, i := range c.free {
		q := c.settled(int(i), below)
		switch {
		case c.p.Bias:
		case q == 0:
			c.fixed[i], c.value[i] = 1, 0
		case c.level[i] == 0 || c.level[i] < 0 != (q < 0):
			c.value[i] = c.mean[i]
		}
		c.level[i], c.p.Elems[i] = q, c.value[i]
	}
}

// round gives levels for good to free elements, the most sensitive first, until a share of those that were
// settled is left.
func (c *trainedPart) round(left float64) {
	c.follow()
	total := 0
	for i := range c.fixed {
		if c.p.Bias || c.level[i] != 0 {
			total++
		}
	}
	order := make([]int, 0, len(c.free)) // places in free
	for k, i := range c.free {
		if c.fixed[i] == 0 {
			order = append(order, k)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(c.p.Second[c.free[b]], c.p.Second[c.free[a]]) })
	for _, k := range order[:max(0, len(order)-int(left*float64(total)))] {
		i := c.free[k]
		c.fixed[i] = 1
	}
	for _, i := range c.free { // of what is still free, the level that it would get
		c.level[i] = c.nearest(i)
		if c.fixed[i] == 1 {
			c.value[i] = c.level[i]
		}
	}
}

// nearest is the level next to a settled element, not zero but for biases. Prices do not count any more: levels that are all
// rounded towards zero are off in the same direction, which curvatures one by one do not show.
func (c *trainedPart) nearest(i int32) float32 {
	q := float32(math.RoundToEven(float64(c.value[i])))
	if q == 0 && !c.p.Bias {
		if q = 1; c.level[i] < 0 {
			q = -1
		}
	}
	return q
}

// follow takes the optimiser's step over to what is still trained.
func (c *trainedPart) follow() {
	for _, i := range c.free {
		if c.fixed[i] == 0 {
			v := c.clamp(c.p.Elems[i])
			if !c.p.Bias && v < 0 != (c.level[i] < 0) { // it stays on its side
				v = 0
			}
			c.value[i] = v
		}
	}
}

// hold lets what is free be what it has become, and all else its level.
func (c *trainedPart) hold() {
	c.follow()
	copy(c.p.Elems, c.level)
	for _, i := range c.free {
		if c.fixed[i] == 0 {
			c.p.Elems[i] = c.value[i]
		}
	}
}
