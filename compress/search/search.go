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
	prune.LowRank,
	prune.Blocks,
	prune.Recalibrate,
	prune.Order,
	quant.Codebook,
	quant.RDO,
	quant.Trained,
	quant.Coarse,
	quant.Descend,
	quant.Fold,
	prune.Unfold,
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
	trains := !r.start.NoFinetune && r.may("trained")
	if r.timed() {
		only := r.o.Fast || r.o.Target == 0 && math.IsInf(r.o.MaxDrop, 1) // no other bytes are asked for
		share := 1.0
		if trains && !only {
			share = 0.4
		}
		if err := r.part(ctx, share, r.fast); err != nil || only {
			return err
		}
	}
	if !trains {
		return r.mix(ctx)
	}
	return r.finetune(ctx)
}

type runner struct {
	o      Options
	base   method.Eval
	f      *Found
	chosen int // among the candidates
	began  time.Time
	limit  time.Time     // of what is done now
	start  *method.State // as it came
	// What makes models as fast as is asked for, where floats are not: channels that go, and integers, which come last.
	slim, ints []method.Step
	reserve    float64 // of the promise, for integers
	trains     bool    // levels are trained in the end
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
	if r.over() && !r.f.TimedOut {
		r.f.TimedOut = true
		r.refuse(what, "the time was over")
	}
	return true
}

// over reports whether all of the time is over.
func (r *runner) over() bool { return !r.o.Deadline.IsZero() && !time.Now().Before(r.o.Deadline) }

// until gives what follows the time up to a share of all of it, and a tenth of what is left where what came before took longer than it should.
func (r *runner) until(share float64) {
	if r.o.Deadline.IsZero() {
		return
	}
	r.limit = r.began.Add(time.Duration(share * float64(r.o.Deadline.Sub(r.began))))
	if least := time.Now().Add(time.Until(r.o.Deadline) / 10); r.limit.Before(least) {
		r.limit = least
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

// holds reports whether a candidate keeps the promise on the choice split with room.
func (r *runner) holds(c Candidate) bool { return r.strain(c) <= 1 }

// strain is what a candidate takes of what the promise allows on the choice split, 1: all of it. There is room left for the best of many looking
// better than it is, for half a standard error of the paired difference, and, where the split is small, for what its margins foretell.
func (r *runner) strain(c Candidate) float64 {
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
	of := func(x, allowed float64) float64 { return max(0, x-1e-12) / max(allowed, 1e-300) }
	most := r.o.MaxDrop
	return max(of(c.Drop, slack*most), of(c.Drop+se/2, most), of(expectedLoss(r.base, c.Eval), foretold*most))
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
