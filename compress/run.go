package compress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"whit/card"
	"whit/compress/method"
	"whit/compress/search"
	"whit/data"
	"whit/format"
	"whit/graph"
	"whit/internal/cpu"
	"whit/internal/safefile"
	"whit/pass"
	"whit/plan"
	"whit/tensor"
	"whit/train"
)

// Run compresses the model graph g, which is not changed: by o.Recipe, or by a
// search within o.Budget. It writes o.Out and returns what was measured on that file.
// Where a budget is missed, the error is an *UnmetError, the result is returned with
// it, and the best candidate is written beside Out as NAME.unmet.whit.
func Run(ctx context.Context, g *graph.Graph, c card.Card, d Data, o Options) (*Result, error) {
	started := time.Now()
	r, err := newRun(ctx, g, c, d, o)
	if err != nil {
		return nil, err
	}
	if err := r.workDir(); err != nil {
		return nil, err
	}
	if r.o.Recipe != nil {
		err = r.recipe(ctx)
	} else {
		err = r.search(ctx, started)
	}
	if err != nil {
		return nil, err
	}
	if r.interrupted {
		ctx = context.WithoutCancel(ctx) // what was found is measured and written
	}
	if err := r.finish(ctx, started); err != nil {
		return nil, err
	}
	if o.WorkDir != "" && !r.interrupted {
		if err := clearWork(o.WorkDir); err != nil {
			return r.res, err
		}
	}
	if len(r.missed) > 0 {
		return r.res, &UnmetError{Missed: r.missed, Path: r.path}
	}
	return r.res, nil
}

type run struct {
	o      Options
	g      *graph.Graph
	card   []byte
	labels []string
	res    *Result
	state  *method.State
	// open gives the test part; it is called in finish and nowhere else.
	open     func(context.Context) (data.Dataset, error)
	labelled bool
	metric   method.Metric
	missed   []Budgeted
	// dense is the model as it came, ready to be timed, and denseMs its times so far.
	dense   *plan.Session
	denseMs []float64
	// interrupted: the search was stopped, and had something.
	interrupted bool
	path        string // the file that was written
}

func newRun(ctx context.Context, g *graph.Graph, c card.Card, d Data, o Options) (*run, error) {
	if d.Set == nil {
		return nil, errors.New("compress: no data")
	}
	if err := g.Verify(); err != nil {
		return nil, err
	}
	if o.Minimize != "" && o.Minimize != "size" && o.Minimize != "latency" {
		return nil, fmt.Errorf("minimize %q, want size or latency", o.Minimize)
	}
	for _, m := range o.Methods {
		if method.Find(search.Methods, m) == nil {
			return nil, fmt.Errorf("unknown method %q, want one of %s", m, methodNames())
		}
	}
	if len(o.Teachers) > 0 && o.Recipe != nil && !slices.ContainsFunc(o.Recipe.Steps, distills) {
		return nil, errors.New("there are teachers, and no step of the recipe sets distill")
	}
	tr, choice, open, err := splits(d)
	if err != nil {
		return nil, err
	}
	decides := "every decision"
	if o.Whole {
		if o.Recipe == nil {
			return nil, errors.New("a search needs images to choose by: training on the whole is for recipes")
		}
		tr, decides = union(d.Set, tr, choice), "the figures of stages; trained on too"
	}
	r := &run{open: open, labels: c.Labels}
	r.g, _ = g.Clone()
	pass.FreeBatch(r.g, d.Set.Shape())
	if r.labels == nil {
		r.labels = d.Set.Labels()
	}
	if !c.IsZero() {
		if r.card, err = c.YAML(); err != nil {
			return nil, err
		}
	}
	if r.labelled, err = labelled(ctx, d.Set); err != nil {
		return nil, err
	}
	if r.metric, err = chooseMetric(ctx, o.Metric, c.Task, r.g, tr, r.labelled, o.Threads); err != nil {
		return nil, err
	}
	most := 1.0
	if r.metric == method.PSNR {
		most = 100
	}
	if p := o.Budget.MaxDrop; p != nil && !(*p >= 0 && *p <= most) {
		return nil, fmt.Errorf("max drop %v, want 0 to %v", *p, most)
	}
	if o.Recipe == nil && o.Budget == (Budget{}) {
		drop := defaultDrop(r.metric)
		o.Budget = Budget{MaxDrop: &drop, Time: 10 * time.Minute}
	}
	r.o = o
	r.res = &Result{Schema: Schema, Tool: o.Tool, Model: base(o.Model), Output: base(o.Out), Seed: o.Seed, Replay: o.Replay,
		Card: string(r.card), Machine: Machine{CPU: o.CPU, OS: runtime.GOOS, Arch: runtime.GOARCH, Threads: o.Threads},
		Budgets: []BudgetRow{}, Notes: []string{}, Refused: []Refusal{}, Stages: []Stage{}, Layers: []Layer{}, Curves: []Curve{}, Pareto: []Candidate{}, Table: []Way{}, Histograms: []Histogram{}, Flips: []Flip{}, Classes: []Part{}, Groups: []Part{}, Nodes: []NodeTime{}}
	r.res.Machine.Features = strings.Fields(cpu.Detect().String())
	if o.Threads == 0 {
		r.res.Machine.Threads = cpu.PhysicalCores()
	}
	if r.res.Tool.Go == "" {
		r.res.Tool.Go = runtime.Version()
	}
	if !o.NoFinetune && !r.metric.Decides() {
		o.NoFinetune, r.o.NoFinetune = true, true
		r.res.Refused = append(r.res.Refused, Refusal{"fine-tuning", fmt.Sprintf("only classifiers are trained, and the metric is %s", r.metric)})
	}
	if o.Recipe == nil && !o.NoFinetune && tr.Len() < minFinetune {
		o.NoFinetune, r.o.NoFinetune = true, true
		r.res.Refused = append(r.res.Refused, Refusal{"fine-tuning", fmt.Sprintf("%d images to train on would be learned by heart; it takes %d", tr.Len(), minFinetune)})
	}
	use := "pruning, training, codebooks"
	if o.NoFinetune {
		use = "codebooks; nothing was trained"
	}
	r.res.Splits = []Split{{"train", use, tr.Len(), splitHash(tr)}, {"choice", decides, choice.Len(), splitHash(choice)}}
	if r.metric == method.Agreement {
		if tr, choice, err = r.taught(ctx, tr, choice); err != nil {
			return nil, err
		}
	}
	sg, _ := r.g.Clone()
	r.state = &method.State{Graph: sg, Float: r.g, Layers: method.FindLayers(sg, o.Keep), Train: tr, Choice: choice, Metric: r.metric,
		Keep: o.Keep, NoFinetune: o.NoFinetune, Teachers: o.Teachers, Seed: o.Seed, Threads: o.Threads, Progress: o.Progress}
	r.refuse(method.FindLayers(r.g, ""))
	if o.Keep != "" {
		if err := keeps(o.Keep, method.FindLayers(sg, "")); err != nil {
			return nil, err
		}
	}
	if len(r.state.Layers) == 0 && slices.ContainsFunc(sg.Nodes, func(n *graph.Node) bool { return n.Domain == "" && n.Op == "DequantizeLinear" }) {
		return nil, errors.New("nothing to compress: the model is quantised already; give the float32 model that it was made from")
	}
	if len(r.state.Layers) == 0 {
		return nil, errors.New("nothing to compress: no Conv, Gemm or MatMul with a constant float32 weight")
	}
	return r, r.teachers(ctx)
}

// keeps checks that each pattern of keep is of one of the layers at least, and that one layer is of none.
func keeps(keep string, all []*method.Layer) error {
	if len(all) == 0 {
		return nil
	}
	is := func(glob string, l *method.Layer) bool {
		return method.Match(glob, l.Name) || method.Match(glob, l.Weight.Value.Name)
	}
	for g := range strings.SplitSeq(keep, ",") {
		if !slices.ContainsFunc(all, func(l *method.Layer) bool { return is(g, l) }) {
			var names []string
			for _, l := range all[:min(8, len(all))] {
				names = append(names, l.Name)
			}
			if len(all) > len(names) {
				names = append(names, "...")
			}
			return fmt.Errorf("keep %q: no layer has such a name; the layers are %s", g, strings.Join(names, ", "))
		}
	}
	if !slices.ContainsFunc(all, func(l *method.Layer) bool { return !is(keep, l) }) {
		return fmt.Errorf("nothing to compress: %q keeps every layer as it is", keep)
	}
	return nil
}

// distills reports whether a step trains against teachers.
func distills(st method.Step) bool {
	m := method.Find(search.Methods, st.Method)
	if m == nil || m.Param("distill") == nil {
		return false
	}
	a, err := m.Args(st.Set)
	return err == nil && a.Float("distill") > 0
}

// refuse notes the layers that stay as they are.
func (r *run) refuse(all []*method.Layer) {
	in := map[string]bool{}
	for _, l := range r.state.Layers {
		in[l.Weight.Value.Name] = true
	}
	known := map[*graph.Node]bool{}
	for _, l := range all {
		known[l.Node] = true
		if !in[l.Weight.Value.Name] {
			r.res.Refused = append(r.res.Refused, Refusal{"layer " + l.Name, "it was to be kept as it is"})
		}
	}
	for _, n := range r.g.Nodes {
		if n.Domain != "" || known[n] {
			continue
		}
		switch w := n.Input(1); {
		case n.Op != "Conv" && n.Op != "Gemm" && n.Op != "MatMul" && n.Op != "ConvTranspose" || w == nil:
		case w.Kind != graph.Const:
			r.res.Refused = append(r.res.Refused, Refusal{"node " + n.Name, n.Op + " of a weight that is computed, not constant"})
		case n.Op == "ConvTranspose":
			r.res.Refused = append(r.res.Refused, Refusal{"node " + n.Name, "ConvTranspose is not compressed yet"})
		case w.Type.DType != tensor.Float32:
			r.res.Refused = append(r.res.Refused, Refusal{"node " + n.Name, fmt.Sprintf("its weight is %v, not float32", w.Type.DType)})
		}
	}
}

// minFinetune is how many images a search wants before it trains: with 120 of
// MNIST's it lost more by learning them than it won by repairing the network.
const minFinetune = 500

// taught gives the splits the float model's decisions as labels.
func (r *run) taught(ctx context.Context, tr, choice data.Dataset) (a, b data.Dataset, err error) {
	out := []data.Dataset{tr, choice}
	for i, ds := range out {
		d, err := decisions(ctx, r.g, ds, r.o.Threads, 1)
		if err != nil {
			return nil, nil, err
		}
		out[i] = relabelled{ds, d.class}
	}
	return out[0], out[1], nil
}

// workDir makes the folder of finished work.
func (r *run) workDir() error {
	if r.o.WorkDir == "" {
		return nil
	}
	if !r.o.Resume {
		if err := clearWork(r.o.WorkDir); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(r.o.WorkDir, 0o755); err != nil {
		return err
	}
	salt := []string{"2", r.o.Tool.Version, fmt.Sprint(r.o.Seed), string(r.metric)}
	for _, s := range r.res.Splits {
		salt = append(salt, s.Hash)
	}
	r.state.Memo = &method.Memo{Dir: r.o.WorkDir, Salt: strings.Join(salt, " ")}
	return nil
}

// clearWork removes what a run keeps in its work folder, and the folder where
// nothing else is in it.
func clearWork(dir string) error {
	for _, pattern := range []string{"*.memo", "*.ckpt", "candidate.whit", ".*.tmp*"} {
		names, err := filepath.Glob(filepath.Join(globQuote(dir), pattern))
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := os.Remove(n); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if es, err := os.ReadDir(dir); err != nil || len(es) > 0 {
		return nil // not there, or not only ours
	}
	return os.Remove(dir)
}

// globQuote makes a path a pattern that matches itself.
func globQuote(s string) string {
	return strings.NewReplacer(`*`, `[*]`, `?`, `[?]`, `[`, `[[]`).Replace(s)
}

// start measures the model as it came.
func (r *run) start(ctx context.Context) error {
	st, err := r.state.Stage(ctx, "dense", method.DenseBytes(r.g))
	if err != nil {
		return err
	}
	if st.Choice.N == 0 {
		return fmt.Errorf("metric %s says nothing of any of %d samples of the choice split", r.metric, r.state.Choice.Len())
	}
	if r.metric != method.Top1 || st.Choice.N < 50 {
		return nil
	}
	classes, err := r.classes(ctx, r.g)
	if err != nil {
		return err
	}
	if classes > 1 && 1-st.Choice.Error < 1.5/float64(classes) {
		return fmt.Errorf("%w: %.1f%% of %d images are right, with %d classes; see what fits with 'whit check MODEL --data DATA'",
			ErrBaseline, 100*(1-st.Choice.Error), st.Choice.N, classes)
	}
	return nil
}

// classes is the number of logits.
func (r *run) classes(ctx context.Context, g *graph.Graph) (int, error) {
	e, err := train.Evaluate(ctx, g, method.First(r.state.Choice, 1), train.EvalOptions{Threads: r.o.Threads, Logits: true})
	return e.Classes, err
}

// teachers checks that they decide about the same.
func (r *run) teachers(ctx context.Context) error {
	if len(r.o.Teachers) == 0 {
		return nil
	}
	want, err := r.classes(ctx, r.g)
	if err != nil {
		return err
	}
	for _, t := range r.o.Teachers {
		if n, err := r.classes(ctx, t); err != nil {
			return fmt.Errorf("a teacher: %w", err)
		} else if n != want {
			return fmt.Errorf("a teacher of %d logits, want %d", n, want)
		}
	}
	return nil
}

func (r *run) recipe(ctx context.Context) error {
	if err := r.start(ctx); err != nil {
		return err
	}
	r.res.Title = r.o.Recipe.Name
	r.res.Recipe = FormatRecipe(r.o.Recipe, false)
	for i, st := range r.o.Recipe.Steps {
		if err := r.state.Step(ctx, st, search.Methods); err != nil {
			return fmt.Errorf("step %d (%s): %w", i+1, st.Method, err)
		}
	}
	last := r.state.Stages[0].Bytes
	for i, s := range r.state.Stages {
		n, err := r.fileBytes(s.Graph)
		if err != nil {
			return err
		}
		c := Candidate{Name: s.Name, Bytes: n, Metric: s.Choice.Value, Chosen: i == len(r.state.Stages)-1}
		if n != last || c.Chosen { // stages that differ in counting only are one file
			if k := len(r.res.Pareto); k > 0 && r.res.Pareto[k-1].Bytes == n {
				r.res.Pareto = r.res.Pareto[:k-1]
			}
			r.res.Pareto = append(r.res.Pareto, c)
		}
		last = n
	}
	return nil
}

func (r *run) search(ctx context.Context, started time.Time) error {
	if err := r.start(ctx); err != nil {
		return err
	}
	so := search.Options{MaxDrop: math.Inf(1), Target: r.o.Budget.TargetSize, Methods: r.o.Methods, Bytes: r.fileBytes, Constant: func(h *method.Held) (int64, error) { return h.FileBytes(r.o.Threads) }, Steps: r.o.Steps,
		Fit: train.Options{Batch: r.o.Batch, Optimizer: r.o.Optimizer, Augment: r.o.Augment, LR: r.o.LR}}
	so.Fast = r.o.Minimize == "latency"
	so.TargetMs = room * float64(r.o.Budget.TargetLatency) / float64(time.Millisecond)
	timed := so.Fast || so.TargetMs > 0
	if timed {
		so.Millis, so.Nodes = r.millis, r.nodes
	}
	if p := r.o.Budget.MaxDrop; p != nil {
		so.MaxDrop = *p
		if !timed { // the smallest model within the promise meets both or neither
			so.Target = 0
		}
	}
	if r.o.Budget.Time > 0 {
		so.Deadline = started.Add(r.o.Budget.Time)
	}
	f, err := search.Run(ctx, r.state, so)
	for range retimed {
		if err != nil || so.TargetMs == 0 || r.o.Measure == nil || f.Interrupted || !so.Deadline.IsZero() && time.Now().After(so.Deadline) {
			break
		}
		over, e := r.over(ctx, f.State)
		if e != nil {
			return e
		}
		if over <= 1 || over > hopeless {
			break
		}
		so.TargetMs *= room / over
		r.tell("search", fmt.Sprintf("fresh processes take %.2f times what is asked for: it goes on for %.4g ms", over, so.TargetMs))
		f, err = search.Run(ctx, r.state, so)
	}
	if err != nil {
		return err
	}
	r.state, r.interrupted = f.State, f.Interrupted
	r.res.Title = "search"
	rec := &Recipe{Name: "found", Steps: f.Steps}
	if len(f.Steps) > 0 {
		r.res.Recipe = FormatRecipe(rec, false)
	}
	for _, c := range f.Candidates {
		k := Candidate{Name: c.Name, Bytes: c.Bytes, Ms: c.Ms, Metric: c.Eval.Value, Chosen: c.Chosen}
		if len(c.Steps) > 0 {
			k.Recipe = FormatRecipe(&Recipe{Name: "candidate", Steps: c.Steps}, false)
		}
		r.res.Pareto = append(r.res.Pareto, k)
	}
	for _, w := range f.Table {
		r.res.Table = append(r.res.Table, Way(w))
	}
	for _, x := range f.Refused {
		r.res.Refused = append(r.res.Refused, Refusal{x.What, x.Why})
	}
	if r.o.Budget.Time > 0 {
		took := time.Since(started)
		b := BudgetRow{Name: "time", Unit: "s", Promise: r.o.Budget.Time.Seconds(), Measured: took.Seconds(), Met: true}
		if f.TimedOut {
			b.Note = "it ended the search"
		}
		r.res.Budgets = append(r.res.Budgets, b)
	}
	return nil
}

const (
	// room is the share of the latency asked for that a search aims at: the file is timed in fresh processes, which differ.
	room = 0.94
	// Where these take longer than is asked for all the same, it searches again, retimed times at most, unless they take
	// more than hopeless times as long.
	retimed, hopeless = 2, 1.5
)

// over is what the file of a state takes in fresh processes, as a multiple of what is asked for.
func (r *run) over(ctx context.Context, s *method.State) (float64, error) {
	b, _, err := r.encode(s)
	if err != nil {
		return 0, err
	}
	path, remove, err := r.place()
	if err != nil {
		return 0, err
	}
	defer remove()
	if err := safefile.WriteBytes(path, b); err != nil {
		return 0, err
	}
	m, err := r.o.Measure(ctx, r.g, path)
	if m == nil || m.Latency == nil || err != nil {
		return 0, err
	}
	return m.Latency.After.Value * float64(time.Millisecond) / float64(r.o.Budget.TargetLatency), nil
}

// place is where a file is measured until the verdict is known: in the folder of finished work, or in one of its own.
func (r *run) place() (path string, remove func(), err error) {
	const name = "candidate.whit"
	if r.o.WorkDir != "" {
		return filepath.Join(r.o.WorkDir, name), func() {}, nil
	}
	dir, err := os.MkdirTemp("", "whit-*")
	return filepath.Join(dir, name), func() { os.RemoveAll(dir) }, err
}

// file is what is written of g: its card is the file's, not metadata.
func (r *run) file(g *graph.Graph) *format.File {
	if r.card != nil && g.Meta[card.MetaKey] != "" {
		h := *g
		h.Meta = maps.Clone(g.Meta)
		delete(h.Meta, card.MetaKey)
		g = &h
	}
	return &format.File{Graph: g, Card: r.card}
}

// encode is the file of a state, and what its parts take.
func (r *run) encode(s *method.State) ([]byte, format.Sizes, error) {
	g, err := s.Freeze()
	if err != nil {
		return nil, format.Sizes{}, err
	}
	var b bytes.Buffer
	sizes, err := format.Write(&b, r.file(g), format.Options{Strip: r.o.Strip, Threads: r.o.Threads})
	return b.Bytes(), sizes, err
}

// fileBytes is the size of the file that g would make.
func (r *run) fileBytes(g *graph.Graph) (int64, error) {
	var n counter
	_, err := format.Write(&n, r.file(g), format.Options{Strip: r.o.Strip, Threads: r.o.Threads})
	return int64(n), err
}

type counter int64

func (c *counter) Write(b []byte) (int, error) { *c += counter(len(b)); return len(b), nil }

func (r *run) tell(stage, msg string) {
	if r.o.Progress != nil {
		r.o.Progress(Event{Stage: stage, Message: msg})
	}
}

func base(name string) string {
	if name == "" {
		return ""
	}
	return filepath.Base(name)
}

func methodNames() string {
	var s []string
	for _, m := range search.Methods {
		s = append(s, m.Name)
	}
	return strings.Join(s, ", ")
}
