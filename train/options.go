package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"whit/graph"
	"whit/internal/cpu"
)

// Dataset is what training needs of a dataset; package data's datasets have it.
type Dataset interface {
	// Len is the number of samples.
	Len() int
	// Shape is one sample's shape as the network's input has it, without N.
	Shape() []int
	// Read writes the samples idx into x and their classes into y (-1: none). It is
	// safe for concurrent use.
	Read(ctx context.Context, idx []int, x []float32, y []int32) error
	// Hash is the SHA-256 of the sample's raw content.
	Hash(i int) [32]byte
}

// ErrOptions is the root of errors about options.
var ErrOptions = errors.New("invalid training options")

// Options say how to train. The zero value trains 10 epochs with AdamW and a
// cosine schedule. The fields with JSON names decide the result; the others do
// not, and are not part of a checkpoint's identity.
type Options struct {
	Epochs int    `json:"epochs"` // 0: 10
	Batch  int    `json:"batch"`  // samples a step, 0: 128
	Seed   uint64 `json:"seed"`   // order, augmentation, dropout
	// DropLast leaves out an epoch's last batch where it is smaller than Batch.
	DropLast bool `json:"drop_last,omitempty"`

	Optimizer string  `json:"optimizer"`          // adamw (default), adam, sgd
	LR        float64 `json:"lr"`                 // 0: 0.001, for sgd 0.01
	Momentum  float64 `json:"momentum,omitempty"` // sgd: 0: 0.9, negative: none
	Nesterov  bool    `json:"nesterov,omitempty"`
	Beta1     float64 `json:"beta1,omitempty"`   // adam: 0: 0.9
	Beta2     float64 `json:"beta2,omitempty"`   // adam: 0: 0.999
	Epsilon   float64 `json:"epsilon,omitempty"` // adam: 0: 1e-8
	// LRMult multiplies the learning rate of the params named; 0 freezes one.
	LRMult map[string]float64 `json:"lr_mult,omitempty"`

	Schedule string    `json:"schedule"`         // cosine (default), step, constant
	Warmup   float64   `json:"warmup,omitempty"` // fraction of all steps with a rising rate
	LREnd    float64   `json:"lr_end,omitempty"` // cosine: the last rate as a fraction of LR
	Drops    []float64 `json:"drops,omitempty"`  // step: when, as fractions of all steps; nil: 0.5, 0.75
	Gamma    float64   `json:"gamma,omitempty"`  // step: the factor at each drop; 0: 0.1

	// WeightDecay acts on params of rank 2 and more: decoupled for adamw, else as L2.
	WeightDecay float64 `json:"weight_decay,omitempty"`
	L1          float64 `json:"l1,omitempty"` // adds L1·Σ|w| over params of rank 2 and more
	L2          float64 `json:"l2,omitempty"` // adds L2/2·Σw² over params of rank 2 and more

	LabelSmoothing float64 `json:"label_smoothing,omitempty"`
	// EMA is the decay of a moving average of the params, which then is the result
	// (B. T. Polyak, A. B. Juditsky: Acceleration of Stochastic Approximation by
	// Averaging, 1992; exponential as in deep learning). 0: none.
	EMA float64 `json:"ema,omitempty"`
	// Augment lists what is done to each image, for example "shift2,rotate10,scale10":
	// shiftP and cutoutP in pixels, rotateD and shearD in degrees, scaleP in percent,
	// flip. "" or "none": nothing.
	Augment string `json:"augment,omitempty"`
	// Views is how many augmented versions of each image there are, taken in turn epoch by
	// epoch; 0: a new one every epoch.
	Views int `json:"views,omitempty"`
	// Distill is the share of the loss that is taken against the softened decisions of
	// Teachers at Temperature (0: 1), and not against the labels: 0..1. Where images are not
	// augmented or their versions are counted (Views), teachers see each but once.
	Distill     float64 `json:"distill,omitempty"`
	Temperature float64 `json:"temperature,omitempty"`
	// Mimic adds how far values within the model are from another's; nil: nothing.
	Mimic *Mimic `json:"mimic,omitempty"`
	// ExtraID names what Extra adds, for the identity of checkpoints.
	ExtraID string `json:"extra,omitempty"`

	// Teachers are models of the same input and as many logits; they are not changed, and
	// part of a checkpoint's identity.
	Teachers []*graph.Graph `json:"-"`
	// Soft keeps their decisions for other runs; nil: they are asked anew.
	Soft *Soft `json:"-"`
	// Extra returns a scalar that is added to the loss; it appends nodes to l.Graph.
	Extra func(l Loss) (*graph.Value, error) `json:"-"`
	// Threads is the number of workers, 0: the physical cores.
	Threads int `json:"-"`
	// CPU masks the processor's features; nil: what it has. Vector instruction sets
	// do not show in the result, but that there are none does, within rounding.
	CPU *cpu.Features `json:"-"`
	// Validate, if not nil, is evaluated after each epoch, for Event only.
	Validate Dataset `json:"-"`
	// Progress is called after each epoch, and about once a second within one.
	Progress func(Event) `json:"-"`
	// Checkpoint is the file that the state is kept in: after each epoch, after every
	// CheckpointSteps steps where that is not 0, and when the context ends. "": none.
	Checkpoint      string `json:"-"`
	CheckpointSteps int    `json:"-"`
	// Resume continues from Checkpoint where the file exists.
	Resume bool `json:"-"`
}

// Loss is what Options.Extra may build on.
type Loss struct {
	Graph  *graph.Graph
	Input  *graph.Value            // the model's input
	Labels *graph.Value            // int32 [N]
	Logits *graph.Value            // [N,C]
	Params map[string]*graph.Value // by name
}

// Event is progress.
type Event struct {
	Epoch  int     `json:"epoch"` // finished ones; within an epoch the ones before it
	Epochs int     `json:"epochs"`
	Step   int     `json:"step"` // finished ones of all epochs
	Steps  int     `json:"steps"`
	Loss   float64 `json:"loss"`  // mean of the epoch so far, on the training batches
	Error  float64 `json:"error"` // likewise, 0..1
	LR     float64 `json:"lr"`
	// SamplesPerSecond counts training alone, evaluation and checkpoints not.
	SamplesPerSecond float64 `json:"samples_per_second"`
	// Val is the evaluation on Options.Validate after an epoch, nil without.
	Val *Eval `json:"val,omitempty"`
	// EpochEnd is true after an epoch.
	EpochEnd bool `json:"epoch_end"`
}

// Aims are the models that training aims at: the teachers, and the one that is mimicked.
func (o *Options) Aims() []*graph.Graph {
	if o.Mimic == nil {
		return o.Teachers
	}
	return append(slices.Clip(o.Teachers), o.Mimic.Of)
}

// WithDefaults are the options with defaults filled in, checked.
func (o Options) WithDefaults() (Options, error) {
	bad := func(format string, args ...any) (Options, error) {
		return o, fmt.Errorf("%w: %s", ErrOptions, fmt.Sprintf(format, args...))
	}
	setInt := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	set := func(p *float64, v float64) {
		if *p == 0 {
			*p = v
		}
	}
	setInt(&o.Epochs, 10)
	setInt(&o.Batch, 128)
	if o.Epochs < 0 || o.Epochs > 1e6 || o.Batch < 0 || o.Batch > 1<<20 {
		return bad("%d epochs of batches of %d", o.Epochs, o.Batch)
	}
	switch o.Optimizer {
	case "":
		o.Optimizer = "adamw"
	case "adamw", "adam", "sgd":
	default:
		return bad("optimizer %q, want adamw, adam or sgd", o.Optimizer)
	}
	if o.Optimizer == "sgd" {
		set(&o.LR, 0.01)
		set(&o.Momentum, 0.9)
		if o.Nesterov && o.Momentum < 0 {
			return bad("nesterov needs momentum")
		}
	} else {
		set(&o.LR, 0.001)
		set(&o.Beta1, 0.9)
		set(&o.Beta2, 0.999)
		set(&o.Epsilon, 1e-8)
	}
	switch o.Schedule {
	case "":
		o.Schedule = "cosine"
	case "cosine", "step", "constant":
	default:
		return bad("schedule %q, want cosine, step or constant", o.Schedule)
	}
	if o.Schedule == "step" {
		set(&o.Gamma, 0.1)
		if o.Drops == nil {
			o.Drops = []float64{0.5, 0.75}
		}
	}
	for _, c := range []struct {
		name      string
		v, lo, hi float64
	}{
		{"lr", o.LR, 0, 1e3}, {"momentum", o.Momentum, -1, 1}, {"beta1", o.Beta1, 0, 1}, {"beta2", o.Beta2, 0, 1},
		{"epsilon", o.Epsilon, 0, 1}, {"warmup", o.Warmup, 0, 1}, {"lr_end", o.LREnd, 0, 1}, {"gamma", o.Gamma, 0, 1},
		{"weight_decay", o.WeightDecay, 0, 1e3}, {"l1", o.L1, 0, 1e3}, {"l2", o.L2, 0, 1e3},
		{"label_smoothing", o.LabelSmoothing, 0, 1}, {"distill", o.Distill, 0, 1}, {"temperature", o.Temperature, 0, 1e3}, {"ema", o.EMA, 0, 1},
	} {
		if !(c.v >= c.lo && c.v <= c.hi) {
			return bad("%s %v, want %v to %v", c.name, c.v, c.lo, c.hi)
		}
	}
	if o.Beta1 == 1 || o.Beta2 == 1 || o.EMA == 1 {
		return bad("beta1, beta2 and ema are below 1")
	}
	if o.Distill > 0 {
		if set(&o.Temperature, 1); len(o.Teachers) == 0 {
			return bad("distill %v without a teacher", o.Distill)
		}
	}
	if m := o.Mimic; m != nil && (m.Of == nil || len(m.Hints) == 0 || !(m.Weight > 0 && m.Weight <= 1e6)) {
		return bad("mimic needs a model, values of it, and a weight above 0")
	}
	for _, d := range o.Drops {
		if !(d >= 0 && d <= 1) {
			return bad("drop at %v, want a fraction of all steps", d)
		}
	}
	for name, m := range o.LRMult {
		if !(m >= 0) || math.IsInf(m, 0) {
			return bad("learning rate factor %v of %q", m, name)
		}
	}
	if o.Views < 0 || o.Views > 1e6 {
		return bad("%d views", o.Views)
	}
	if _, err := parseAugment(o.Augment); err != nil {
		return o, err
	}
	return o, nil
}
