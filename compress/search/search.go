package search

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"whit/compress/method"
	"whit/compress/prune"
	"whit/compress/quant"
	"whit/graph"
	"whit/train"
)

// Methods are the methods that searches and recipes use, in the order in which
// they are listed.
var Methods = []*method.Method{
	scanMethod,
	prune.Magnitude,
	prune.Rewind,
	prune.Fisher,
	prune.Movement,
	prune.Channels,
	prune.ThiNet,
	prune.Reconstruct,
	prune.Merge,
	prune.Blocks,
	prune.Recalibrate,
	prune.Order,
	quant.Codebook,
	quant.RDO,
	quant.Trained,
	quant.Coarse,
	quant.Descend,
	quant.Fold,
	quant.Equalise,
	quant.Round,
	quant.AdaRound,
	quant.Correct,
	quant.Activations,
	quant.OBS,
	quant.GPTQ,
	quant.Refit,
	quant.Blockwise,
	quant.Shorten,
}

// Options say what to look for.
type Options struct {
	// MaxDrop is the promise: how much the metric (1 - error on the choice split) may
	// fall, 0..1.
	MaxDrop float64
	// Target is the size in bytes at which the search may stop; 0: as small as it gets.
	Target int64
	// Fast: the fastest model is wanted, not the smallest. TargetMs is what one inference may take; 0:
	// anything.
	Fast     bool
	TargetMs float64
	// Millis times a model, Nodes its nodes; needed for the two above.
	Millis func(context.Context, *graph.Graph) (float64, error)
	Nodes  func(context.Context, *graph.Graph) (NodeTimes, error)
	// Deadline ends the search with the best so far; zero: none.
	Deadline time.Time
	// Methods are the names of those that may be used; nil: all.
	Methods []string
	// Steps is how many training steps a fit takes at least; 0: 400.
	Steps int
	// Fit is how fine-tuning trains; Epochs is set by the search.
	Fit train.Options
	// Bytes is the size of a frozen model's file, Constant what one constant of it takes.
	Bytes    func(*graph.Graph) (int64, error)
	Constant func(*method.Held) (int64, error)
}

// NodeTimes are what the nodes of a plan take, in ms.
type NodeTimes struct {
	Ms map[string]float64 // by node
	// Turn is what a node takes that turns floats into integers or back, on average.
	Turn float64
}

// Candidate is a model that was tried.
type Candidate struct {
	Name   string
	Bytes  int64
	Eval   method.Eval
	Drop   float64 // of the metric on the choice split
	Ms     float64 // of one inference; 0: not timed
	Chosen bool
	// Steps make it from the model as it came.
	Steps []method.Step
}

// Way is a way to hold one layer: the bytes it takes, and how far the model's outputs are then
// from the float model's (method.Eval.Far). Where times are looked for, Ms is what the layer then takes or, of channels that
// are removed, what all layers take less; else 0.
type Way struct {
	Layer, Name string
	Bytes       int64
	Far         float64
	Chosen      bool
	Ms          float64
}

// Refusal is what was not done, and why.
type Refusal = method.Refusal

// Found is the outcome of a search.
type Found struct {
	State *method.State
	// Steps replay the state from the model as it came.
	Steps      []method.Step
	Candidates []Candidate
	Refused    []Refusal
	// Table is what was tried layer by layer, nothing else changed.
	Table []Way
	// TimedOut: the deadline ended the search; Interrupted: the caller did.
	TimedOut, Interrupted bool
}

// slack is the part of the promise that the choice split may show: the test split
// will differ, and the best of many candidates looks better than it is.
const slack = 0.7

// foretold is the part of the promise that the margins of a small choice split may
// foretell: a test split of its size is off by as much again.
const foretold = 0.35

// rungs are the overall sparsities that are tried one after the other.
var rungs = []float64{0.5, 0.7, 0.8, 0.87, 0.91, 0.94, 0.955, 0.967, 0.976, 0.983, 0.988, 0.992}

// Run searches from the state s, which is not changed.
func Run(ctx context.Context, s *method.State, o Options) (*Found, error) {
	base, err := s.Measure(ctx, s.Graph)
	if err != nil {
		return nil, err
	}
	c := s.Clone()
	r := &runner{o: o, base: base, f: &Found{State: c}, start: c, began: time.Now(), limit: o.Deadline}
	if err := r.note(ctx, "as it came", r.f.State, nil); err != nil {
		return nil, err
	}
	if err := r.run(ctx); err != nil {
		if !errors.Is(err, context.Canceled) || r.chosen == 0 {
			return nil, err
		}
		// What holds is not lost.
		r.f.TimedOut, r.f.Interrupted = true, true
		r.refuse("the rest of the search", "it was interrupted")
	}
	for i := range r.f.Candidates {
		r.f.Candidates[i].Chosen = i == r.chosen
	}
	return r.f, nil
}

func (r *runner) run(ctx context.Context) error {
	if r.timed() {
		if err := r.fast(ctx); err != nil {
			return err
		}
		if r.o.Fast || r.o.Target == 0 && math.IsInf(r.o.MaxDrop, 1) { // then no other bytes are asked for
			return nil
		}
	}
	if !r.start.NoFinetune {
		for _, f := range []struct {
			method string
			run    func(context.Context) error
			until  float64 // share of the time
		}{{"magnitude", r.prune, 0.35}, {"codebook", r.shareAll, 0.5}, {"trained", r.levels, 1}} {
			if !r.may(f.method) || r.start.NoFinetune || len(r.ints) > 0 && f.method != "trained" && r.may("trained") { // those end in floats
				continue
			}
			if !r.may("trained") {
				f.until = 1
			}
			r.until(f.until)
			switch err := f.run(ctx); {
			case errors.Is(err, train.ErrNoGradient):
				r.refuse("fine-tuning", err.Error())
				r.start.NoFinetune = true
			case err != nil && !errors.Is(err, errLate):
				return err
			}
		}
	}
	if r.start.NoFinetune { // from the beginning, or since training turned out to be impossible
		return r.mix(ctx)
	}
	return nil
}

type runner struct {
	o      Options
	base   method.Eval
	f      *Found
	chosen int // among the candidates
	began  time.Time
	limit  time.Time     // of what is done now
	start  *method.State // as it came, with the scan
	held   []rung        // the sparsest last
	epoch  time.Duration // what an epoch of training takes; 0: not known yet
	// What makes models as fast as is asked for, where floats are not: channels that go, and integers, which come last.
	slim, ints []method.Step
	reserve    float64 // of the promise, for integers
}

// rung is a pruned model that keeps the promise.
type rung struct {
	name  string
	state *method.State
	steps []method.Step
}

func (r *runner) may(name string) bool {
	if r.o.Methods == nil {
		return true
	}
	for _, m := range r.o.Methods {
		if m == name {
			return true
		}
	}
	return false
}

// timed reports whether candidates are timed.
func (r *runner) timed() bool { return r.o.Fast || r.o.TargetMs > 0 }

// late reports, and remembers, that the time is over: all of it, or the share of what is done now.
func (r *runner) late(what string) bool {
	if r.o.Deadline.IsZero() || time.Now().Before(r.limit) {
		return false
	}
	if !time.Now().Before(r.o.Deadline) && !r.f.TimedOut {
		r.f.TimedOut = true
		r.refuse(what, "the time was over")
	}
	return true
}

// until gives what follows the time up to a share of all of it.
func (r *runner) until(share float64) {
	if !r.o.Deadline.IsZero() {
		r.limit = r.began.Add(time.Duration(share * float64(r.o.Deadline.Sub(r.began))))
	}
}

// note measures a state's file and adds it to the candidates.
func (r *runner) note(ctx context.Context, name string, s *method.State, steps []method.Step) error {
	g, err := s.Freeze()
	if err != nil {
		return err
	}
	n := method.DenseBytes(g)
	if steps != nil || !r.timed() { // coding floats that are not looked for takes its time
		if n, err = r.o.Bytes(g); err != nil {
			return err
		}
	}
	e := r.base
	if len(s.Stages) > 0 {
		e = s.Stages[len(s.Stages)-1].Choice
	}
	ms := 0.0
	if r.timed() {
		if ms, err = r.o.Millis(ctx, g); err != nil {
			return err
		}
	}
	r.f.Candidates = append(r.f.Candidates, Candidate{Ms: ms, Name: name, Bytes: n, Eval: e, Drop: r.base.Value - e.Value, Steps: steps})
	return nil
}

// settle notes what steps made as a candidate, which becomes the best where it is better. ok: it keeps the promise.
func (r *runner) settle(ctx context.Context, name string, next *method.State, steps []method.Step) (c Candidate, ok bool, err error) {
	if err := r.note(ctx, name, next, steps); err != nil {
		return c, false, err
	}
	c = r.f.Candidates[len(r.f.Candidates)-1]
	if r.better(c, r.f.Candidates[r.chosen]) {
		r.chosen = len(r.f.Candidates) - 1
		r.f.State, r.f.Steps = next, steps
	}
	return c, r.holds(c), nil
}

// errLate says that the time was over in the middle of a step.
var errLate = errors.New("the time was over")

// apply applies steps to a state. Where something is held already, the time ends it, with errLate.
func (r *runner) apply(ctx context.Context, name string, s *method.State, steps []method.Step) error {
	within, end := ctx, func() {}
	if r.chosen != 0 && !r.o.Deadline.IsZero() {
		within, end = context.WithDeadline(ctx, r.o.Deadline)
	}
	defer end()
	for _, st := range steps {
		if err := s.Step(within, st, Methods); err != nil {
			if within.Err() != nil && ctx.Err() == nil {
				r.late(name)
				return errLate
			}
			return fmt.Errorf("%s: %w", st.Method, err)
		}
	}
	return nil
}

// try applies more to a copy of a state, which has been through steps.
func (r *runner) try(ctx context.Context, name string, from *method.State, steps []method.Step, more ...method.Step) (c Candidate, next *method.State, ok bool, err error) {
	next = from.Clone()
	if err := r.apply(ctx, name, next, more); err != nil {
		return c, nil, false, err
	}
	c, ok, err = r.settle(ctx, name, next, slices.Concat(steps, more))
	return c, next, ok, err
}

// tryAll applies all steps but the first done, which base has been through, to a copy of it, next; nil where
// the time was over first.
func (r *runner) tryAll(ctx context.Context, name string, base *method.State, done int, steps []method.Step) (next *method.State, ok bool, err error) {
	next = base.Clone()
	switch err := r.apply(ctx, name, next, steps[done:]); {
	case errors.Is(err, errLate):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	_, _, bytes := next.Bytes()
	if _, err := next.Stage(ctx, "mix", bytes); err != nil {
		return nil, false, err
	}
	_, ok, err = r.settle(ctx, name, next, steps)
	return next, ok, err
}

// better reports whether a is to be preferred to b: what keeps the promise; of these what is small and fast
// enough; of these the smaller one, the faster one where speed is what is wanted, or, where
// nothing is promised, the one nearer to the float model.
func (r *runner) better(a, b Candidate) bool {
	ha, hb := r.holds(a), r.holds(b)
	if ha != hb {
		return ha
	}
	over := func(c Candidate) float64 {
		x := 0.0
		if t := r.o.TargetMs; t > 0 {
			x += max(0, c.Ms/t-1)
		}
		if t := r.o.Target; t > 0 {
			x += max(0, float64(c.Bytes)/float64(t)-1)
		}
		return x
	}
	if x, y := over(a), over(b); x != y {
		return x < y
	}
	switch {
	case math.IsInf(r.o.MaxDrop, 1) && (r.o.TargetMs > 0 || r.o.Target > 0):
		return a.Eval.Far < b.Eval.Far
	case r.o.Fast:
		return a.Ms < b.Ms
	}
	return a.Bytes < b.Bytes
}

// holds reports whether a candidate keeps the promise on the choice split with
// room: for the best of many looking better than it is, for half a standard error of
// the paired difference, and, where the split is small, for what its margins foretell.
func (r *runner) holds(c Candidate) bool {
	flips := 0
	for i, ok := range c.Eval.Correct {
		if ok != r.base.Correct[i] {
			flips++
		}
	}
	se := math.Sqrt(float64(flips)) / float64(max(1, c.Eval.N))
	if n := len(c.Eval.Score); n > 1 && n == len(r.base.Score) {
		ss := 0.0
		for i, v := range c.Eval.Score {
			if d := r.base.Score[i] - v - c.Drop; !math.IsNaN(d) {
				ss += d * d
			}
		}
		se = math.Sqrt(ss/float64(n-1)) / math.Sqrt(float64(n))
	}
	return c.Drop <= slack*r.o.MaxDrop+1e-12 && c.Drop+se/2 <= r.o.MaxDrop+1e-12 &&
		expectedLoss(r.base, c.Eval) <= foretold*r.o.MaxDrop+1e-12
}

// expectedLoss is the share of images, 0..1, that a candidate is expected to get wrong
// of those that the model before gets right, from how much it moves the margins: the
// margin after is taken as a multiple of the one before and noise, both fitted to all
// images; the noise as Laplace's, whose tails are as long as networks' are. It sees trouble long before a decision flips, which a hundred images
// may not show once. 0 where margins are not kept.
func expectedLoss(before, after method.Eval) float64 {
	n := len(before.Margin)
	if n < 2 || n != len(after.Margin) {
		return 0
	}
	var bb, bc float64
	for i, b := range before.Margin {
		bb += float64(b) * float64(b)
		bc += float64(b) * float64(after.Margin[i])
	}
	if bb == 0 {
		return 0
	}
	slope, ss := bc/bb, 0.0
	for i, b := range before.Margin {
		d := float64(after.Margin[i]) - slope*float64(b)
		ss += d * d
	}
	noise := math.Sqrt(ss / float64(n-1))
	lost := 0.0
	for _, b := range before.Margin {
		if b > 0 {
			lost += math.Exp(-math.Sqrt2*max(0, slope*float64(b))/noise) / 2
		}
	}
	if math.IsNaN(lost) { // no noise at all
		return 0
	}
	return lost / float64(n)
}

// why says how a candidate broke the promise.
func (r *runner) why(c Candidate) string {
	if e := expectedLoss(r.base, c.Eval); c.Drop <= slack*r.o.MaxDrop && e > foretold*r.o.MaxDrop {
		return fmt.Sprintf("the choice split is small; by how its margins move, %.2f points are expected to be lost, %.2f are allowed there", 100*e, 100*foretold*r.o.MaxDrop)
	}
	if c.Drop <= slack*r.o.MaxDrop {
		return fmt.Sprintf("on %d images of the choice split too many decisions change to trust a fall of %.2f points", c.Eval.N, 100*c.Drop)
	}
	return fmt.Sprintf("the choice split falls by %.2f points; of the promised %.2f, %.2f are allowed there", 100*c.Drop, 100*r.o.MaxDrop, 100*slack*r.o.MaxDrop)
}

func (r *runner) reached() bool {
	return r.o.Target > 0 && r.f.Candidates[r.chosen].Bytes <= r.o.Target
}

// fit is the arguments of training for a step.
func (r *runner) fit(s *method.State, set map[string]any, epochs string, scale float64) map[string]any {
	o := r.o.Fit
	batch := o.Batch
	if batch == 0 {
		batch = 128
	}
	steps := r.o.Steps
	if steps == 0 {
		steps = 400
	}
	perEpoch := max(1, (s.Train.Len()+batch-1)/batch)
	set[epochs] = min(max(2, (steps+perEpoch-1)/perEpoch), 40)
	set["lr"] = 1e-3 * scale
	if o.LR > 0 {
		set["lr"] = o.LR * scale
	}
	set["batch"] = batch
	if o.Optimizer != "" {
		set["optimizer"] = o.Optimizer
	}
	if o.Augment != "" {
		set["augment"] = o.Augment
	}
	if len(s.Teachers) > 0 {
		set["distill"] = 0.5
	}
	return set
}

// prune climbs the rungs.
func (r *runner) prune(ctx context.Context) error {
	s := r.f.State
	scan := method.Step{Method: "scan", Set: map[string]any{"granularity": []string{"weight"}, "images": 2000}}
	if err := s.Step(ctx, scan, Methods); err != nil {
		return err
	}
	at, steps := s, []method.Step(nil)
	for _, target := range rungs {
		what := fmt.Sprintf("%.1f%% sparsity", 100*target)
		if r.late("pruning to "+what) || r.reached() {
			return nil
		}
		share, err := prune.Share(s.Curves, s.Layers, target)
		if err != nil {
			return err
		}
		for k := range share { // short numbers: they end up in a recipe
			share[k].Value = math.Round(share[k].Value*1e4) / 1e4
		}
		set := r.fit(s, map[string]any{"sparsity": share, "rounds": 1}, "final", 1)
		st := method.Step{Method: "magnitude", Set: set}
		began := time.Now()
		c, next, ok, err := r.try(ctx, what, at, steps, st)
		if err != nil {
			return err
		}
		r.epoch = time.Since(began) / time.Duration(set["final"].(int))
		if !ok { // once more, longer
			longer := map[string]any{}
			for k, v := range set {
				longer[k] = v
			}
			longer["final"] = 3 * set["final"].(int)
			st.Set = longer
			if c, next, ok, err = r.try(ctx, what+", trained longer", at, steps, st); err != nil {
				return err
			}
		}
		if !ok {
			r.refuse("pruning to "+what, r.why(c))
			return nil
		}
		steps = append(append([]method.Step{}, steps...), st)
		at = next
		r.held = append(r.held, rung{r.f.Candidates[len(r.f.Candidates)-1].Name, next, steps})
	}
	return nil
}

// shareAll shares the weights of the sparsest model that keeps the promise, and
// where that leaves no room for codebooks, of the ones before it.
func (r *runner) shareAll(ctx context.Context) error {
	from := append([]rung{{state: r.start}}, r.held...)
	if r.f.State != from[len(from)-1].state { // found between rungs
		from = append(from, rung{r.f.Candidates[r.chosen].Name, r.f.State, r.f.Steps})
	}
	for i := len(from) - 1; i >= 0; i-- {
		n, err := r.share(ctx, from[i])
		if err != nil {
			return err
		}
		// The next sparser model can be smaller with more bits; two that allow codebooks are enough.
		if n > 0 && i < len(from)-1 || n > 2 {
			return nil
		}
	}
	return nil
}

// share takes bits away while the promise holds, and returns how often it did.
func (r *runner) share(ctx context.Context, base rung) (held int, err error) {
	from, steps, pruned := base.state, base.steps, base.name
	failed := 0
	for _, bits := range []int{8, 6, 5, 4, 3, 2} {
		what := fmt.Sprintf("codebooks of %d bits", bits)
		if r.late(what) || r.reached() {
			return held, nil
		}
		set := r.fit(from, map[string]any{"bits": method.Uniform(float64(bits)), "bias_bits": max(bits, 4)}, "epochs", 0.5)
		name := what
		if len(steps) > 0 {
			name = pruned + ", " + what
		}
		st := method.Step{Method: "codebook", Set: set}
		c, _, ok, err := r.try(ctx, name, from, steps, st)
		if err != nil {
			return held, err
		}
		if ok {
			held++
		} else {
			r.refuse(what, r.why(c))
			if failed++; failed > 1 || bits < 5 {
				return held, nil
			}
		}
	}
	return held, nil
}

// levels trains few levels from the model as it came, with itself as the teacher where there is no other, in fewer and fewer bytes as long as the
// promise holds, then in numbers of bytes between. Where there is a deadline, a fit gets a part of the time that is left.
func (r *runner) levels(ctx context.Context) error {
	const (
		fits       = 6
		first      = 0.4 // bytes of the first fit, of the smallest that hold
		less       = 0.6 // of the next
		near       = 1.1 // bytes that hold, of those that fail, at which it ends
		longer     = 10  // epochs, of those of other fits
		least      = 4
		most       = 40
		ofTheTime  = 0.4
		distill    = 0.9
		soft       = 3.0
		levelsEach = 7
	)
	best := float64(r.f.Candidates[r.chosen].Bytes)
	bytes, fails := first*best, 0.0
	sized := r.o.Target > 0 && math.IsInf(r.o.MaxDrop, 1) // then what is nearest to the model within the size is wanted
	if sized {
		bytes = float64(r.o.Target)
	}
	beside, err := r.beside()
	if err != nil {
		return err
	}
	for k := 0; k < fits && (sized || !r.reached()); k++ {
		what := fmt.Sprintf("levels trained for %.0f bytes", bytes)
		if r.late(what) {
			return nil
		}
		set := r.fit(r.start, map[string]any{"bytes": int(math.Ceil(max(bytes/4, bytes-beside))), "levels": method.Uniform(levelsEach)}, "epochs", 1)
		set["distill"], set["temperature"] = distill, soft
		if set["optimizer"] == "sgd" { // what goes first is a matter of Adam's mean of squared gradients
			delete(set, "optimizer")
			set["lr"] = 1e-3
		}
		epochs, short := min(longer*set["epochs"].(int), most), false
		switch {
		case r.o.Deadline.IsZero():
		case r.epoch == 0: // a short fit tells
			epochs, short = least, epochs > least
		default:
			left := ofTheTime * float64(time.Until(r.o.Deadline))
			epochs = max(least, min(epochs, int(left/float64(r.epoch))))
		}
		set["epochs"] = epochs
		steps := []method.Step{{Method: "trained", Set: set}}
		if hasNorms(r.start.Graph) {
			steps = append(steps, r.fixes([]string{"fold"})...)
		}
		if len(r.slim) == 0 {
			steps = append(steps, r.last()...)
		}
		began := time.Now()
		c, _, ok, err := r.try(ctx, what, r.start, nil, steps...)
		if err != nil {
			return err
		}
		if r.epoch == 0 {
			r.epoch = time.Since(began) / time.Duration(epochs)
		}
		beside = max(0, beside+float64(c.Bytes)-bytes)
		switch {
		case sized && !short && c.Bytes <= r.o.Target:
			return nil
		case sized: // once more, now that the bytes beside levels are known
			continue
		case ok:
			best = min(best, float64(c.Bytes))
			bytes = less * best
		case short: // once more, longer
			r.refuse(what, r.why(c))
			continue
		default:
			r.refuse(what, r.why(c))
			fails = max(fails, bytes)
		}
		if fails > 0 {
			if bytes = math.Sqrt(fails * best); best < near*fails {
				return nil
			}
		}
	}
	return nil
}

// beside are the bytes of the file of the model as it came that are no layer's weights or bias.
func (r *runner) beside() (float64, error) {
	g, err := r.start.Freeze()
	if err != nil {
		return 0, err
	}
	n, err := r.o.Bytes(g)
	if err != nil {
		return 0, err
	}
	for _, l := range r.start.Layers {
		for _, h := range []*method.Held{&l.Weight, l.Bias} {
			if h == nil {
				continue
			}
			b, err := r.o.Constant(h)
			if err != nil {
				return 0, err
			}
			n -= b
		}
	}
	return float64(max(0, n)), nil
}
