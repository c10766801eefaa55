package compress

import (
	"context"
	"errors"
	"fmt"
	"time"

	"whit/compress/method"
	"whit/compress/search"
	"whit/graph"
)

// Budget is what is promised. Nil and zero fields promise nothing.
type Budget struct {
	// MaxDrop is how much the metric may fall: 0..1 (0.005: half a point), of PSNR dB. nil with no
	// other budget set: 0.005, of a cosine 0.001, of PSNR 0.05, with ten minutes.
	MaxDrop *float64
	// TargetSize is the size that the written file may have, in bytes.
	TargetSize int64
	// TargetLatency is the median that one inference may take.
	TargetLatency time.Duration
	// Time is how long the search may take.
	Time time.Duration
}

// Event is progress; see method.Event.
type Event = method.Event

// Recipe is a list of steps; see ParseRecipe.
type Recipe = method.Recipe

// Measured is what Options.Measure answers.
type Measured struct {
	Latency *Latency
	Memory  *Memory
	Nodes   []NodeTime
}

// Options say how to compress. The zero value searches for the smallest model
// within half a point, in ten minutes, and writes nothing.
type Options struct {
	Budget Budget
	// Metric is "top1" or "top5" (decisions against labels), "agreement" (decisions against the float model's),
	// "cosine" (outputs against the float model's), "psnr" (outputs against targets, in dB),
	// "recall" (detections against the float model's, boxes by their overlap) or "verification" (the share of pairs of
	// one identity that embeddings accept where a thousandth of those of two are; labels are the identities).
	// "": what the card's task, the model's outputs and the data call for.
	Metric string
	// Minimize is "size", the default, or "latency".
	Minimize string
	// Methods are the names of those that a search may use; nil: all.
	Methods []string
	// Keep is a glob of layers that stay as they are.
	Keep string
	// NoFinetune: nothing is trained.
	NoFinetune bool
	// Teachers are models of the same input and as many logits whose decisions training aims at: half of the loss in a search, in a
	// recipe the share that its steps say in distill. None: the float model, where steps ask for one.
	Teachers []*graph.Graph
	Seed     uint64
	Threads  int // 0: the physical cores
	// Batch, Optimizer, Augment and LR are how a search's fine-tuning trains; zero: its defaults.
	Batch     int
	Optimizer string
	Augment   string
	LR        float64
	// Steps is how many training steps each of a search's fits takes at least; 0: 400.
	Steps int
	// Recipe, if set, is followed instead of searching.
	Recipe *Recipe

	// Whole lets a recipe, all of whose choices are made, train on the choice part too; the
	// figures of stages are then of images that were trained on. The test part stays closed as ever.
	Whole bool

	// Out is the .whit file to write; "": none, the result is measured on a file in
	// WorkDir or in memory.
	Out string
	// Strip leaves names, metadata, and of the card all but preprocessing and licence out
	// of the file.
	Strip bool
	// WorkDir keeps finished work, so that a run that was killed goes on where it was;
	// it is made where it is missing, emptied unless Resume, and removed on success. "": none.
	WorkDir string
	Resume  bool
	// Progress, if set, hears what happens.
	Progress func(Event)

	// Measure, if set, times the model before and the written file (path) after.
	Measure func(ctx context.Context, before *graph.Graph, path string) (*Measured, error)
	// Image, if set, is the i-th test image as PNG, and Images how many of those whose
	// decision flipped go into the result.
	Image  func(i int) ([]byte, error)
	Images int

	// Model is the model's file name, for the result, and Replay the command that
	// repeats the run; $RECIPE in it is left to the reader.
	Model, Replay string
	Tool          Tool
	// CPU is the processor's name, for the result.
	CPU string
}

// ErrUnmet is the root of errors about budgets that were missed.
var ErrUnmet = errors.New("budget missed")

// ErrBaseline is returned where a labelled float model is no better than chance:
// then card, labels or data are wrong.
var ErrBaseline = errors.New("the float model is near chance on these data")

// UnmetError says which budgets were missed. The result, with the best candidate in
// Path, comes with it.
type UnmetError struct {
	Missed []Budgeted
	Path   string
}

// Budgeted is a missed budget.
type Budgeted struct {
	Name string
	By   string
}

// Error implements error.
func (e *UnmetError) Error() string {
	s := ErrUnmet.Error()
	for i, b := range e.Missed {
		sep := ": "
		if i > 0 {
			sep = "; "
		}
		s += fmt.Sprintf("%s%s by %s", sep, b.Name, b.By)
	}
	if e.Path != "" {
		s += fmt.Sprintf("; the best candidate is %s", e.Path)
	}
	return s
}

// Unwrap gives ErrUnmet.
func (e *UnmetError) Unwrap() error { return ErrUnmet }

// ParseRecipe reads a recipe; errors name the line.
func ParseRecipe(src []byte) (*Recipe, error) { return method.ParseRecipe(src, search.Methods) }

// FormatRecipe writes a recipe as YAML; with all, the defaults of each step too.
func FormatRecipe(r *Recipe, all bool) string { return r.YAML(search.Methods, all) }

// DefaultRecipe is every method once with its defaults, in the order in which they
// are used: what --print-recipe writes.
func DefaultRecipe() *Recipe {
	r := &Recipe{Name: "default"}
	for _, m := range search.Methods {
		r.Steps = append(r.Steps, method.Step{Method: m.Name, Set: map[string]any{}})
	}
	return r
}

// Method is a method's name and its one line.
type Method struct{ Name, Doc string }

// Methods lists the methods that recipes and searches know.
func Methods() []Method {
	var out []Method
	for _, m := range search.Methods {
		out = append(out, Method{m.Name, m.Doc})
	}
	return out
}
