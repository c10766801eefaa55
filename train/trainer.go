package train

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"whit/graph"
	"whit/plan"
	"whit/tensor"
)

// Trainer trains a model step by step. It is not safe for concurrent use.
type Trainer struct {
	opt      Options
	model    *graph.Graph // what New was given
	built    *built
	prog     *plan.Program
	sessions map[int]*plan.Session
	data     *batches
	targets  *targets                  // nil: no teachers
	kept     map[string]*tensor.Tensor // see Keep
	id       [32]byte

	epoch, step int // finished epochs; finished steps of the current one
	sum         sums

	trained time.Duration // in steps of this process
	samples int64
	told    time.Time
}

// sums are an epoch's running totals.
type sums struct {
	Loss  float64 `json:"loss"`
	Seen  int     `json:"seen"`
	Wrong int     `json:"wrong"`
}

// Step is the result of one training step.
type Step struct {
	N     int       // labelled samples in the batch
	Wrong int       // of them, those whose largest logit is not the label's
	Loss  float64   // with label smoothing and what Options.Extra adds left out of it
	Each  []float32 // loss by sample of the batch, valid until the next step
	Index []int     // the samples' places in the dataset, valid until the next step
}

// New prepares training of the Params of g, a model graph with one input
// [N,...] and the logits [N,C] as output 0, on ds. g is not changed.
func New(g *graph.Graph, ds Dataset, o Options) (*Trainer, error) {
	o, err := o.WithDefaults()
	if err != nil {
		return nil, err
	}
	if ds.Len() == 0 {
		return nil, errors.New("train: the dataset is empty")
	}
	o.Batch = min(o.Batch, ds.Len())
	b, err := build(g, ds.Shape(), &o)
	if err != nil {
		return nil, err
	}
	m, _ := g.Clone()
	t := &Trainer{opt: o, model: m, built: b, sessions: map[int]*plan.Session{}, data: newBatches(ds, &o)}
	if t.id, err = identity(g, ds, &o); err != nil {
		return nil, err
	}
	if o.Distill > 0 {
		if t.targets, err = newTargets(ds.Shape(), ds.Len(), b.classes, &o); err != nil {
			return nil, err
		}
		if t.targets.soft != nil {
			t.targets.key = softKey(ds, &o)
		}
	}
	if t.prog, err = plan.NewProgram(b.g, plan.Options{Threads: o.Threads, CPU: o.CPU, Training: true}); err != nil {
		return nil, err
	}
	// Plan now: what cannot run is known before the first step.
	if _, err := t.session(o.Batch); err != nil {
		return nil, err
	}
	return t, nil
}

// session is the session for batches of n samples.
func (t *Trainer) session(n int) (*plan.Session, error) {
	if s := t.sessions[n]; s != nil {
		return s, nil
	}
	in := map[string]tensor.Type{
		t.built.input: {DType: tensor.Float32, Shape: append(tensor.Shape{n}, t.data.ds.Shape()...)},
		nameLabels:    {DType: tensor.Int32, Shape: tensor.Shape{n}},
		nameHyper:     {DType: tensor.Float32, Shape: tensor.Shape{4}},
	}
	if t.built.dropout {
		in[nameStep] = tensor.Type{DType: tensor.Int64}
	}
	if t.targets != nil {
		in[nameSoft] = tensor.Type{DType: tensor.Float32, Shape: tensor.Shape{n, t.built.classes}}
	}
	pl, err := t.prog.Plan(in)
	if err != nil {
		return nil, err
	}
	if !pl.Complete() {
		return nil, errors.New("train: the model has shapes that depend on data")
	}
	s, err := pl.NewSession()
	if err != nil {
		return nil, err
	}
	t.sessions[n] = s
	return s, nil
}

// Params are the names of the params that are trained.
func (t *Trainer) Params() []string { return append([]string{}, t.built.params...) }

// Var is the live memory of a Param or State of the model, of one of the
// optimiser's, or of what Keep added; nil if there is none. It may be read and written between steps.
func (t *Trainer) Var(name string) *tensor.Tensor {
	if x := t.kept[name]; x != nil {
		return x
	}
	return t.prog.Var(name)
}

// Moments are the names of the running means of a param's gradient and of its square under Adam.
func Moments(param string) (first, second string) { return preM + param, preV + param }

// Average is the name of the moving average of a param; see Options.EMA.
func Average(param string) string { return preEMA + param }

// Keep adds a variable of the caller's to snapshots and checkpoints, for those who rewrite
// params between steps. Its name must be new. It is to be called before Load and Restore.
func (t *Trainer) Keep(name string, x *tensor.Tensor) {
	if t.Var(name) != nil {
		panic("train: " + name + " is kept twice")
	}
	if t.kept == nil {
		t.kept = map[string]*tensor.Tensor{}
	}
	t.kept[name] = x
}

// Options are the options with defaults filled in.
func (t *Trainer) Options() Options { return t.opt }

// Position is the number of finished epochs, of finished steps of the current
// epoch, and of steps an epoch.
func (t *Trainer) Position() (epoch, step, steps int) { return t.epoch, t.step, t.data.steps }

// Done reports whether all epochs are finished.
func (t *Trainer) Done() bool { return t.epoch >= t.opt.Epochs }

// Close waits for reads that are under way. The Trainer may be used further.
func (t *Trainer) Close() { t.data.stop() }

// Step trains on the next batch.
func (t *Trainer) Step(ctx context.Context) (Step, error) {
	if err := ctx.Err(); err != nil {
		return Step{}, err
	}
	start := time.Now()
	last := t.epoch+1 >= t.opt.Epochs && t.step+1 >= t.data.steps
	b, err := t.data.get(ctx, t.epoch, t.step, !last)
	if err != nil {
		return Step{}, err
	}
	defer t.data.put(b)
	s, err := t.session(b.n)
	if err != nil {
		return Step{}, err
	}
	copy(tensor.Of[float32](s.Input(t.built.input)), b.x)
	copy(tensor.Of[int32](s.Input(nameLabels)), b.y)
	if t.targets != nil {
		if err := t.targets.fill(ctx, tensor.Of[float32](s.Input(nameSoft)), t.data, b, t.data.version(t.epoch)); err != nil {
			return Step{}, err
		}
	}
	global := t.epoch*t.data.steps + t.step
	h := tensor.Of[float32](s.Input(nameHyper))
	t.opt.hyper(h, global, t.opt.Epochs*t.data.steps)
	if t.built.dropout {
		tensor.Of[int64](s.Input(nameStep))[0] = int64(global)
	}
	// A step runs to its end: a context that ends must not leave it half done.
	if err := s.Run(context.WithoutCancel(ctx)); err != nil {
		return Step{}, err
	}
	r := Step{Index: b.idx, Each: tensor.Of[float32](s.Output(nameEach))[:b.n]}
	r.Loss = float64(tensor.Of[float32](s.Output(nameLoss))[0])
	if math.IsNaN(r.Loss) || math.IsInf(r.Loss, 0) {
		return r, fmt.Errorf("train: epoch %d, step %d: the loss is %v: try a smaller learning rate than %g", t.epoch+1, t.step+1, r.Loss, t.opt.LR)
	}
	logits := tensor.Of[float32](s.Output(nameLogits))
	for i, y := range b.y[:b.n] {
		if y >= 0 {
			r.N++
			if Argmax(logits[i*t.built.classes:(i+1)*t.built.classes]) != int(y) {
				r.Wrong++
			}
		}
	}
	t.sum.Loss += r.Loss * float64(r.N)
	t.sum.Seen += r.N
	t.sum.Wrong += r.Wrong
	if t.step++; t.step == t.data.steps {
		t.epoch, t.step = t.epoch+1, 0
	}
	t.trained += time.Since(start)
	t.samples += int64(b.n)
	return r, nil
}

// Argmax is the index of the largest of x, the first of equal ones: the class that logits decide for.
func Argmax(x []float32) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

// hyper fills the optimisers' numbers for global step s of total.
func (o *Options) hyper(h []float32, s, total int) {
	h[0] = float32(o.lrAt(s, total))
	h[1], h[2] = 1, 1
	if o.Optimizer != "sgd" {
		h[1] = float32(1 / (1 - power(float64(float32(o.Beta1)), s+1)))
		h[2] = float32(1 / (1 - power(float64(float32(o.Beta2)), s+1)))
	}
	// The average forgets its start: its decay rises from 0.1 to EMA.
	h[3] = float32(1 - min(o.EMA, float64(1+s)/float64(10+s)))
}

// Epoch trains to the end of the current epoch and returns its event. Where
// Options.Checkpoint is set, checkpoints are written as Options says; where the
// context ends, too, and its error is returned.
func (t *Trainer) Epoch(ctx context.Context) (Event, error) {
	for {
		if t.step == 0 {
			t.sum = sums{}
		}
		if _, err := t.Step(ctx); err != nil {
			if ctx.Err() != nil && t.opt.Checkpoint != "" {
				if e := t.Save(t.opt.Checkpoint); e != nil {
					return Event{}, e
				}
			}
			return Event{}, err
		}
		end := t.step == 0
		if t.opt.Checkpoint != "" && (end || t.opt.CheckpointSteps > 0 && t.step%t.opt.CheckpointSteps == 0) {
			if err := t.Save(t.opt.Checkpoint); err != nil {
				return Event{}, err
			}
		}
		if !end {
			if t.opt.Progress != nil && time.Since(t.told) > time.Second {
				t.told = time.Now()
				t.opt.Progress(t.event())
			}
			continue
		}
		e := t.event()
		e.EpochEnd = true
		if t.opt.Validate != nil {
			g, err := t.Model()
			if err != nil {
				return e, err
			}
			v, err := Evaluate(ctx, g, t.opt.Validate, EvalOptions{Threads: t.opt.Threads})
			if err != nil {
				return e, err
			}
			e.Val = &v
		}
		if t.opt.Progress != nil {
			t.told = time.Now()
			t.opt.Progress(e)
		}
		return e, nil
	}
}

func (t *Trainer) event() Event {
	e := Event{Epoch: t.epoch, Epochs: t.opt.Epochs, Step: t.epoch*t.data.steps + t.step, Steps: t.opt.Epochs * t.data.steps}
	e.Loss, e.Error = t.sum.Loss/float64(max(1, t.sum.Seen)), float64(t.sum.Wrong)/float64(max(1, t.sum.Seen))
	e.LR = t.opt.lrAt(max(0, e.Step-1), e.Steps)
	if t.trained > 0 {
		e.SamplesPerSecond = float64(t.samples) / t.trained.Seconds()
	}
	return e
}

// Model is a copy of the model graph with what has been trained so far, as Write
// would give it.
func (t *Trainer) Model() (*graph.Graph, error) {
	g, _ := t.model.Clone()
	return g, t.Write(g)
}

// Write replaces the Data of g's Params and States, found by name, by what has
// been trained: the moving average where Options.EMA is set. g is the graph that
// New was given, or a clone of it.
func (t *Trainer) Write(g *graph.Graph) error {
	type job struct {
		v *graph.Value
		t *tensor.Tensor
	}
	var jobs []job
	for _, v := range g.Values() {
		if v.Kind != graph.Param && v.Kind != graph.State {
			continue
		}
		x := t.prog.Var(preEMA + v.Name)
		if x == nil {
			x = t.prog.Var(v.Name)
		}
		if x == nil {
			continue // not reached: as it was
		}
		if !x.Type.Equal(v.Type) {
			return fmt.Errorf("train: %q is %v, the trained one %v", v.Name, v.Type, x.Type)
		}
		jobs = append(jobs, job{v, x})
	}
	for _, j := range jobs {
		j.v.Data = j.t.Clone()
	}
	return nil
}

// Result is what Run reports.
type Result struct {
	Epochs  int     `json:"epochs"`
	Steps   int     `json:"steps"`
	Loss    float64 `json:"loss"`  // of the last epoch, on its training batches
	Error   float64 `json:"error"` // likewise, 0..1
	Samples int64   `json:"samples"`
	// Seconds and SamplesPerSecond count the training steps of this process.
	Seconds          float64 `json:"seconds"`
	SamplesPerSecond float64 `json:"samples_per_second"`
}

// Run trains the Params of g on ds and, on success, replaces their Data, and that
// of the States, by the trained tensors; g is otherwise untouched. Where the
// context ends, its error is returned, and Options.Checkpoint, if set, holds what
// Options.Resume continues from.
func Run(ctx context.Context, g *graph.Graph, ds Dataset, o Options) (*Result, error) {
	t, err := New(g, ds, o)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	if o.Resume && o.Checkpoint != "" {
		if err := t.Load(o.Checkpoint); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	var e Event
	if t.Done() {
		e = t.event()
	}
	for !t.Done() {
		if e, err = t.Epoch(ctx); err != nil {
			return nil, err
		}
	}
	if err := t.Write(g); err != nil {
		return nil, err
	}
	return &Result{Epochs: t.epoch, Steps: e.Steps, Loss: e.Loss, Error: e.Error, Samples: t.samples,
		Seconds: t.trained.Seconds(), SamplesPerSecond: e.SamplesPerSecond}, nil
}
