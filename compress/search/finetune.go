package search

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"whit/compress/method"
	"whit/compress/quant"
	"whit/train"
)

// finetune looks for the smallest model with training: first what can be had without, in a part of the time, unless that is far from a size that is asked for, then levels that
// are trained from the model as it came, in fewer and fewer bytes.
func (r *runner) finetune(ctx context.Context) error {
	const untrained = 0.25 // share of the time that is not for training
	epoch, err := r.epoch(ctx, r.start, r.fit(r.start), r.slowest())
	if errors.Is(err, train.ErrNoGradient) || errors.Is(err, errSlow) {
		r.refuse("fine-tuning", err.Error())
		return r.mix(ctx)
	}
	if err != nil {
		return err
	}
	r.trains = true
	if !r.slims() { // else it leads nowhere near the size
		if err := r.part(ctx, untrained, r.mix); err != nil && !errors.Is(err, errLate) {
			return err
		}
	}
	return r.levels(ctx, epoch)
}

// slowest is the share of the time that an epoch may take.
func (r *runner) slowest() float64 {
	const (
		share   = 0.1
		slimmed = 0.4 // where it takes far less by the time that levels are trained
	)
	if r.slims() {
		return slimmed
	}
	return share
}

// slims reports whether a size is asked for that leaves a network room, so that it loses channels first.
func (r *runner) slims() bool {
	return r.sized() && !crowded(r.o.Target, r.start.Weights()) && r.may("channels")
}

// part does something in a share of the time that is left.
func (r *runner) part(ctx context.Context, share float64, do func(context.Context) error) error {
	began, all := r.began, r.o.Deadline
	if !all.IsZero() {
		r.began = time.Now()
		r.o.Deadline = r.began.Add(time.Duration(share * float64(time.Until(all))))
		r.limit = r.o.Deadline
	}
	err := do(ctx)
	r.began, r.o.Deadline, r.limit = began, all, all
	r.f.TimedOut = !all.IsZero() && !time.Now().Before(all)
	return err
}

// errSlow says that training takes too long.
var errSlow = errors.New("there is no time for training")

// epoch is what an epoch of training a state takes, judged by a part of one; 0 where nobody asks, since there is no deadline. It is an error where no
// gradient reaches a weight, and errSlow where it takes more than a share of the time.
func (r *runner) epoch(ctx context.Context, from *method.State, set map[string]any, share float64) (time.Duration, error) {
	const part = 4 // of an epoch, one
	s := from.Clone()
	s.Memo = nil
	set = maps.Clone(set)
	set["epochs"] = 1
	within, end := ctx, func() {}
	allowed := time.Duration(share * float64(time.Until(r.o.Deadline)))
	if r.o.Deadline.IsZero() { // whether it can be done at all
		s.Train = method.First(s.Train, 1)
	} else {
		s.Train = some(s.Train, max(1, s.Train.Len()/part))
		within, end = context.WithTimeout(ctx, allowed)
	}
	defer end()
	training := timed(s)
	err := s.Step(within, method.Step{Method: "trained", Set: set}, Methods)
	took := time.Duration(float64(training()) * float64(from.Train.Len()) / float64(s.Train.Len()))
	switch {
	case r.o.Deadline.IsZero():
		return 0, err
	case err != nil && within.Err() != nil && ctx.Err() == nil, err == nil && took > allowed:
		return 0, fmt.Errorf("%w: an epoch takes more than %.0f%% of what there is", errSlow, 100*share)
	}
	return took, err
}

// timed is how long levels of a state are trained from here on: what is done before and after is done once a fit, or, as a teacher is asked, once for all.
func timed(s *method.State) func() time.Duration {
	var began time.Time
	var took time.Duration
	tell := s.Progress
	s.Progress = func(e method.Event) {
		switch {
		case e.Stage == quant.StageTrained && e.Done == 0:
			began = time.Now()
		case e.Stage == quant.StageTrained:
			took = time.Since(began)
		}
		if tell != nil {
			tell(e)
		}
	}
	return func() time.Duration {
		s.Progress = tell
		return took
	}
}

// fit is the arguments of training levels.
func (r *runner) fit(s *method.State) map[string]any {
	const (
		steps   = 4000 // about, where the data are few
		most    = 40   // epochs
		each    = 7    // levels
		distill = 0.9
		soft    = 3.0
	)
	o := r.o.Fit
	set := map[string]any{"levels": method.Uniform(each), "lr": 1e-3, "batch": 128, "distill": distill, "temperature": soft}
	if o.Batch > 0 {
		set["batch"] = o.Batch
	}
	if o.Optimizer != "sgd" { // what goes first is a matter of Adam's mean of squared gradients
		if o.Optimizer != "" {
			set["optimizer"] = o.Optimizer
		}
		if o.LR > 0 {
			set["lr"] = o.LR
		}
	}
	if o.Augment != "" {
		set["augment"] = o.Augment
	}
	n := 10 * r.o.Steps
	if n == 0 {
		n = steps
	}
	batches := max(1, s.Train.Len()/set["batch"].(int))
	set["epochs"] = min(max(20, n/batches), most)
	return set
}

// sized reports whether the nearest to the model within a size is wanted.
func (r *runner) sized() bool { return r.o.Target > 0 && math.IsInf(r.o.MaxDrop, 1) }

// crowded reports whether a network whose weights take so many bytes has none to spare: it takes longer to give in, and in the end more.
func crowded(bytes int64, weights int) bool {
	const tight = 2 // bits a weight
	return 8*bytes >= tight*int64(weights)
}

// unpruned is how many bits a weight takes as one of few levels where none goes, about.
const unpruned = 3

// fitting looks for levels that are trained.
type fitting struct {
	r       *runner
	from    *method.State  // what fits begin with
	through []method.Step  // made it
	finish  []method.Step  // are done to what was fitted
	set     map[string]any // the arguments of training
	full    int            // epochs of a fit where there is no deadline
	epoch   time.Duration  // what one takes
	sized   bool           // what is nearest to the model within the size is wanted
	best    float64        // bytes of the smallest that holds
	crowded bool           // it has no weights to spare
	roomy   bool           // it has many
	beside  float64        // bytes that are no levels
}

// levels trains few levels, with the model as it came as the teacher where there is no other, in fewer and fewer bytes as long as the promise holds, then
// in numbers of bytes between. A fit goes on from the last that held, so that what it learned is not lost. Where there is a deadline, what is left of the
// time is divided among few fits, more where the model has weights to spare.
func (r *runner) levels(ctx context.Context, epoch time.Duration) error {
	f := &fitting{r: r, epoch: epoch, sized: r.sized()}
	err := f.begin(ctx)
	if err == nil {
		err = f.run(ctx)
	}
	if errors.Is(err, errLate) {
		return nil
	}
	return err
}

// begin makes what fits begin with.
func (f *fitting) begin(ctx context.Context) (err error) {
	const (
		deep  = 3 // convolutions; normalisations change nothing for LeNet-5, which never had any
		views = 8 // of images, to those of a network that has weights to spare
	)
	r := f.r
	if f.from, f.through, err = r.thin(ctx); err != nil {
		return err
	}
	smallest, all := r.f.Candidates[r.chosen].Bytes, f.from.Weights()
	f.best = float64(smallest)
	if r.chosen == 0 { // nothing holds yet: more than levels take
		f.best = min(f.best, float64(all)/2)
	}
	f.crowded = r.chosen > 0 && crowded(smallest, all)
	if f.roomy = r.chosen > 0 && !f.crowded; f.sized {
		f.roomy = !crowded(r.o.Target, all)
	}
	slim := false
	if f.roomy {
		if slim, err = f.slim(ctx); err != nil {
			return err
		}
		f.best = min(f.best, unpruned*float64(f.from.Weights())/8)
	}
	if f.beside, err = r.beside(f.from); err != nil {
		return err
	}
	if hasNorms(r.start.Graph) || count(f.from.Graph, "Conv") >= deep { // filters of one size, and what steadies training
		f.from = f.from.Clone()
		f.through, f.finish = append(f.through, unfolded), append(f.finish, fold)
		if err := r.apply(ctx, "levels", f.from, []method.Step{unfolded}); err != nil {
			return err
		}
	}
	f.finish = append(f.finish, r.last()...)
	f.set = r.fit(f.from)
	f.full = f.set["epochs"].(int)
	if r.o.Fit.Augment == "" {
		if f.set["augment"], err = r.augment(ctx); err != nil {
			return err
		}
	}
	if f.roomy {
		f.set["views"] = views                          // teachers would take most of the time
		if r.o.Fit.LR == 0 && r.o.Fit.Optimizer == "" { // it stands more
			f.set["lr"], f.set["early"] = 2e-3, 2.0
		}
	}
	if !slim {
		return nil
	}
	if f.epoch, err = r.epoch(ctx, f.from, f.set, 1); errors.Is(err, errSlow) {
		r.refuse("fine-tuning", err.Error())
		return errLate
	}
	return err
}

// slim removes the channels that matter least of a model that has weights to spare, as many as leave it most of what it knows before anything is
// trained: what is left trains sooner, and has fewer places to tell the coder. Of one that has seen the images to choose by, as few as leave it what it knows
// by heart. It reports whether it did.
func (f *fitting) slim(ctx context.Context) (bool, error) {
	const (
		images = 512
		much   = 0.1 // of the metric
		little = 0.01
	)
	r, most := f.r, much
	if !r.may("channels") {
		return false, nil
	}
	switch seen, err := r.seen(ctx); {
	case err != nil:
		return false, err
	case seen:
		most = little
	}
	for _, share := range []float64{0.75, 0.5, 0.25} {
		st := method.Step{Method: "channels", Set: map[string]any{"score": "taylor", "by": "global", "sparsity": method.Uniform(share), "images": images}}
		s := f.from.Clone()
		if err := r.apply(ctx, "fewer channels", s, []method.Step{st}); err != nil {
			if ctx.Err() == nil && !errors.Is(err, errLate) {
				r.refuse("removing channels before training", err.Error())
				return false, nil
			}
			return false, err
		}
		if f.sized && unpruned*int64(s.Weights())/8 < r.o.Target { // which all of it may be used for
			continue
		}
		if e := s.Stages[len(s.Stages)-1].Choice; r.base.Value-e.Value <= most && s.Weights() < f.from.Weights() {
			f.from, f.through = s, append(f.through, st)
			return true, nil
		}
	}
	return false, nil
}

// seen reports whether the model is as often wrong about images to train on as about those to choose by: as far as one can tell it has seen both.
func (r *runner) seen(ctx context.Context) (bool, error) {
	const sure = 2 // standard errors
	s := r.start.Clone()
	s.Choice, s.Reference, s.Memo = some(s.Train, s.Choice.Len()), &method.Reference{}, nil
	e, err := s.Measure(ctx, s.Graph)
	if err != nil {
		return false, err
	}
	return r.base.Error-e.Error <= sure*math.Sqrt((r.base.Error+e.Error)/float64(max(1, e.N))), nil
}

// run trains levels in one number of bytes after another.
func (f *fitting) run(ctx context.Context) error {
	const (
		near    = 1.1  // bytes that hold, of those that fail, at which it ends
		least   = 4    // epochs
		longest = 6    // epochs where there is time, of what they are without a deadline
		within  = 0.95 // of the size, what is trained first, so that it is within
	)
	r := f.r
	fails := 0.0
	planned, each, first := fits(f.full, f.left(), f.crowded, f.sized)
	bytes := first * f.best
	for k := 0; k < planned && (f.sized || !r.reached()); k++ {
		limited := !r.o.Deadline.IsZero()
		short := f.sized && limited && k == 0 // tells what is beside levels
		if f.sized {
			bytes = float64(r.o.Target)
		}
		if short {
			bytes *= within
		}
		epochs := f.full
		if limited {
			share, left := 1/float64(planned-k), f.left()
			if f.sized {
				share = 0.75
			}
			if epochs = min(longest*f.full, max(int(share*float64(left)), min(least, left))); short {
				epochs = min(epochs, least)
			}
		}
		c, ok, err := f.once(ctx, k, bytes, epochs, least)
		if err != nil {
			return err
		}
		switch {
		case f.sized && !short && c.Bytes <= r.o.Target:
			return nil
		case f.sized: // once more, now that the bytes beside levels are known
			continue
		case ok:
			f.best = min(f.best, float64(c.Bytes))
		default:
			fails = max(fails, float64(c.Bytes))
		}
		if f.best < near*fails {
			return nil
		}
		bytes = r.promising(c, f.roomy)
		if bytes <= fails || bytes >= f.best {
			bytes = math.Sqrt(fails * f.best)
		}
		if !r.o.Deadline.IsZero() && k+1 == planned && planned < mostFits && f.left() >= max(least, each/2) { // an epoch took less than it was thought to
			planned++
		}
	}
	return nil
}

// left is how many epochs there is time for.
func (f *fitting) left() int {
	const spare = 0.8 // of the time is planned
	if f.r.o.Deadline.IsZero() {
		return math.MaxInt
	}
	return max(0, int(spare*float64(time.Until(f.r.o.Deadline))/float64(max(1, f.epoch))))
}

// once is fit k, in so many bytes and epochs, or in those that it had before the search was stopped. errLate where there is no time for least epochs.
// What holds is what the next begins with.
func (f *fitting) once(ctx context.Context, k int, bytes float64, epochs, least int) (c Candidate, ok bool, err error) {
	r := f.r
	was := r.start.Memo.Key("levels").Add(k, r.o.MaxDrop, r.o.Target, r.o.TargetMs, fmt.Sprint(f.set))
	begun := struct {
		Bytes  float64
		Epochs int
	}{bytes, epochs}
	again := r.start.Memo.Get(was, &begun)
	bytes, epochs = begun.Bytes, begun.Epochs
	what := fmt.Sprintf("levels trained for %.0f bytes", bytes)
	if r.late(what) {
		return c, false, errLate
	}
	if epochs < least {
		r.refuse(what, fmt.Sprintf("the time that is left is that of %d epochs, of which %d are the least", f.left(), least))
		return c, false, errLate
	}
	if err := r.start.Memo.Put(was, begun); err != nil {
		return c, false, err
	}
	set := maps.Clone(f.set)
	set["epochs"], set["bytes"] = epochs, int(math.Ceil(max(bytes/4, bytes-f.beside)))
	fit := []method.Step{{Method: "trained", Set: set}}
	fitted, through := f.from.Clone(), slices.Concat(f.through, fit)
	training := timed(fitted)
	err = r.apply(ctx, what, fitted, fit)
	took := training() / time.Duration(epochs)
	if err == nil {
		c, _, ok, err = r.try(ctx, what, fitted, through, f.finish...)
	}
	if err != nil {
		return c, false, err
	}
	if !again || took > f.epoch { // what was done before takes no time
		f.epoch = took
	}
	f.beside = max(0, f.beside+float64(c.Bytes)-bytes)
	switch {
	case f.sized:
	case ok:
		f.from, f.through = fitted, through
	default:
		r.refuse(what, r.why(c))
	}
	return c, ok, nil
}

// mostFits is how many fits of levels there are at most.
const mostFits = 6

// fits is how many fits of levels are planned for the epochs that are left (math.MaxInt: no deadline), how many epochs one has at least where there is time,
// and in what share of the bytes of the smallest that holds the first is. A network that is crowded has fits of full epochs, in more bytes, and in the fewer
// the longer the first is; one that is not has more of them that are shorter, each of which begins with what the one before learned.
// Where it is sized a crowded one has as many fits as others, since the first only tells what is beside levels.
func fits(full, left int, crowded, sized bool) (planned, each int, first float64) {
	const (
		few   = 2 // where there is no time for more; of a network that is crowded, one
		brief = 2 // of full epochs, one
		less  = 0.5
		most  = 0.85 // of a network that is crowded; the fourth root of its epochs counts
		edge  = 0.9
	)
	least := few
	if each = max(1, full/brief); crowded {
		each = full
		if !sized {
			least = 1
		}
	}
	planned = min(max(left/each, least), mostFits)
	if !crowded {
		return planned, each, less
	}
	long := full
	if left < math.MaxInt {
		long = left / planned
	}
	return planned, each, min(most*math.Pow(float64(full)/float64(max(1, long)), 0.25), edge)
}

// promising is in how many bytes a model is likely to keep the promise, just, as one in some bytes strains it.
func (r *runner) promising(c Candidate, roomy bool) float64 {
	const (
		fewest = 0.4
		most   = 1.8
	)
	aim, power := 0.85, 1.5 // what is lost falls with bytes to the power of this, about
	if roomy {              // most of what is lost is lost by few epochs
		aim, power = 0.95, 0.5
	}
	x := math.Pow(r.strain(c)/aim, 1/power)
	if r.holds(c) {
		return float64(c.Bytes) * min(max(x, fewest), 0.92)
	}
	return float64(c.Bytes) * min(max(x, 1.08), most)
}

// augment is what may be done to images without the model minding much: its loss hardly grows.
// What a model was not trained on it need not learn while it is made small.
func (r *runner) augment(ctx context.Context) (string, error) {
	const (
		little = 0.2   // of the loss
		least  = 0.005 // nats, where that is nearly nothing
		images = 2048
		eighth = 8 // of the width
	)
	s := r.start.Clone()
	s.Memo = nil
	shape := s.Choice.Shape()
	if len(shape) != 3 || shape[0] != 1 && shape[0] != 3 {
		return "none", nil
	}
	ds := some(s.Choice, images)
	loss := func(augment string) (float64, error) {
		a, err := train.Augmented(ds, train.Options{Augment: augment, Seed: s.Seed})
		if err != nil {
			return 0, err
		}
		s.Choice = a
		e, err := s.Measure(ctx, s.Graph)
		return e.Loss, err
	}
	plain, err := loss("none")
	if err != nil {
		return "", err
	}
	var out []string
	tried := []string{"flip"}
	for p := shape[2] / eighth; p > 0; p /= 2 {
		tried = append(tried, fmt.Sprintf("shift%d", p))
	}
	for _, a := range tried {
		x, err := loss(a)
		if err != nil {
			return "", err
		}
		if x > plain*(1+little)+least {
			continue
		}
		if out = append(out, a); a != "flip" {
			break
		}
	}
	if out == nil {
		return "none", nil
	}
	return strings.Join(out, ","), nil
}

// beside are the bytes of a state's file that are no layer's weights or bias.
func (r *runner) beside(s *method.State) (float64, error) {
	g, err := s.Freeze()
	if err != nil {
		return 0, err
	}
	n, err := r.o.Bytes(g)
	if err != nil {
		return 0, err
	}
	for _, l := range s.Layers {
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
