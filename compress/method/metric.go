package method

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"whit/data"
	"whit/graph"
	"whit/plan"
	"whit/tensor"
	"whit/train"
)

// Metric is what a promise is about; the higher, the better.
type Metric string

// The metrics. Top1 and Agreement are shares of decisions, the others means over samples.
const (
	// Top1 is the share of samples whose largest logit is the label's.
	Top1 Metric = "top1"
	// Top5 is the share of samples whose label's logit is among the five largest.
	Top5 Metric = "top5"
	// Agreement is the share that is decided as the float model decides.
	Agreement Metric = "agreement"
	// Cosine is the cosine between the outputs and the float model's.
	Cosine Metric = "cosine"
	// PSNR is the peak signal-to-noise ratio against the targets, in dB; the peak is 1, or 255
	// where targets are above 2. A smaller output is compared with the middle of its target.
	PSNR Metric = "psnr"
	// Recall is the share of what the float model detects in a sample that is detected still: where
	// an output of four offsets [N,4,...] comes with the first output of two classes [N,2,...], of the boxes that are
	// left when those of a better one that they overlap by half are gone, those that a box of the model overlaps by
	// half (see detections); else of the places where the second class wins.
	Recall Metric = "recall"
	// Verification is the share of pairs of one identity that are accepted at the threshold on the cosine of
	// embeddings at which a thousandth of the pairs of two identities is (see Verify). Identities are the labels.
	Verification Metric = "verification"
)

// Metrics lists them.
var Metrics = []Metric{Top1, Top5, Agreement, Cosine, PSNR, Recall, Verification}

// Decides reports whether samples are decided right or wrong.
func (m Metric) Decides() bool { return m == "" || m == Top1 || m == Top5 || m == Agreement }

// Labelled reports whether the metric asks for labels.
func (m Metric) Labelled() bool { return m == "" || m == Top1 || m == Top5 || m == Verification }

// Top is how many of the largest logits the label's may be among to be right.
func (m Metric) Top() int {
	if m == Top5 {
		return 5
	}
	return 1
}

// Text is a value of the metric in words.
func (m Metric) Text(v float64) string {
	switch m {
	case PSNR:
		return fmt.Sprintf("%.2f dB", v)
	case Cosine:
		return fmt.Sprintf("cosine %.5f", v)
	case Recall:
		return fmt.Sprintf("recall %.2f%%", 100*v)
	case Agreement:
		return fmt.Sprintf("%.2f%% decided as before", 100*v)
	case Verification:
		return fmt.Sprintf("%.2f%% of pairs verified", 100*v)
	case Top5:
		return fmt.Sprintf("top-5 error %.2f%%", 100*(1-v))
	}
	return fmt.Sprintf("error %.2f%%", 100*(1-v))
}

// Eval is a measurement of a model on a dataset.
type Eval struct {
	N int // samples
	// Value is the metric: a share or cosine 0..1, or dB.
	Value float64
	// Far is how far the outputs are from the float model's: the mean Kullback-Leibler divergence
	// of the decisions in nats, or the squared difference by the float outputs' squares.
	Far float64
	// MSE is the mean squared difference of the outputs (logits, where it decides) from the float model's.
	MSE float64
	// Score is each sample's metric, where the model makes no decisions; NaN: it says nothing of this sample.
	// Of Verification it is each identity's pseudo-value, whose mean and spread stand for Value's.
	Score []float64
	// Verified is what Verification measures.
	Verified *Verified

	Error float64 // share of wrong decisions, 0..1; else 1 - Value, in dB minus Value
	Loss  float64 // mean cross-entropy; else Far
	// Labels are the samples' classes, -1: none. Measure leaves them out.
	Labels []int32
	// Correct tells for every image whether the decision was right.
	Correct []bool
	// Margin is by how much each image's label beats the other classes, in logits; kept
	// where there are at most SmallSplit images.
	Margin []float32
}

// Reference keeps what the float model gives for the choice split, and what teachers say about the training part.
type Reference struct {
	mu     sync.Mutex
	n      int // samples
	logits []float32
	outs   [][]float32 // of every output, all samples
	soft   train.Soft
}

// maxReference is how many bytes of the float model's outputs are kept; where there are more
// it runs again each time.
const maxReference = 256 << 20

// Measure runs a model graph on the choice split.
func (s *State) Measure(ctx context.Context, g *graph.Graph) (Eval, error) {
	if s.Choice == nil || s.Choice.Len() == 0 {
		return Eval{}, nil // there is nothing to measure on
	}
	if s.Reference == nil {
		s.Reference = &Reference{}
	}
	k := s.Memo.Key("measure").Add(string(s.Metric), s.Choice.Len()).Graph(g)
	var e Eval
	if s.Memo.Get(k, &e) {
		return e, nil
	}
	e, err := Score(ctx, g, s.Float, s.Choice, s.Metric, s.Reference, s.Threads)
	if err != nil {
		return e, err
	}
	e.Labels = nil
	if s.Choice.Len() > SmallSplit {
		e.Margin = nil
	}
	return e, s.Memo.Put(k, e)
}

// Outputs are the shapes of what the model gives for a dataset's first sample.
func Outputs(ctx context.Context, g *graph.Graph, ds train.Dataset, threads int) ([]tensor.Shape, error) {
	r, err := newRunner(g, First(ds, min(1, ds.Len())), threads)
	if err != nil {
		return nil, err
	}
	x := r.x[:r.size]
	if err := ds.Read(ctx, []int{0}, x, nil); err != nil {
		return nil, err
	}
	outs, err := r.run(ctx, x, 1)
	var shapes []tensor.Shape
	for _, t := range outs {
		shapes = append(shapes, t.Shape.Clone())
	}
	return shapes, err
}

// Score measures g on ds against the float model. ref may be nil; else it keeps the float model's outputs, and every
// call that shares it gives the same dataset, or a beginning of it.
func Score(ctx context.Context, g, float *graph.Graph, ds train.Dataset, m Metric, ref *Reference, threads int) (Eval, error) {
	if m.Decides() {
		return decided(ctx, g, float, ds, m, ref, threads)
	}
	var t data.Targets
	if m == PSNR {
		var ok bool
		if t, ok = data.TargetsOf(ds); !ok {
			return Eval{}, fmt.Errorf("metric psnr needs targets: float arrays y beside x in an .npz")
		}
	}
	e := Eval{}
	var emb []float32 // of all samples
	var off, on, peak float64
	elements := 0
	var truth []float32
	err := sideBySide(ctx, g, float, ds, ref, threads, func(at int, y []int32, got, want []*tensor.Tensor) error {
		n := len(y)
		e.Labels = append(e.Labels, y...)
		for i, w := range want {
			a, b := tensor.Of[float32](got[i]), tensor.Of[float32](w)
			if len(a) != len(b) {
				return fmt.Errorf("output %d is %v, the float model's is %v", i, got[i].Shape, w.Shape)
			}
			elements += len(b)
			for k, x := range b {
				d := float64(a[k]) - float64(x)
				off, on = off+float64(d*d), on+float64(float64(x)*float64(x))
			}
		}
		switch m {
		case Cosine:
			for i := range n {
				e.Score = append(e.Score, cosine(row(got[0], i, n), row(want[0], i, n)))
			}
		case PSNR:
			shape := t.TargetShape()
			size := tensor.Shape(shape).NumElements()
			truth = append(truth[:0], make([]float32, n*size)...)
			if err := t.ReadTargets(ctx, span(at, n), truth); err != nil {
				return err
			}
			if peak == 0 {
				peak = 1
				for _, v := range truth {
					if v > 2 {
						peak = 255
					}
				}
			}
			for i := range n {
				v, err := psnr(row(got[0], i, n), got[0].Shape[1:], truth[i*size:(i+1)*size], shape, peak)
				if err != nil {
					return err
				}
				e.Score = append(e.Score, v)
			}
		case Verification:
			if len(got[0].Shape) != 2 {
				return fmt.Errorf("metric verification: the output is %v, want an embedding [N,K]", got[0].Shape)
			}
			emb = append(emb, tensor.Of[float32](got[0])...)
		case Recall:
			k, box := heads(want)
			if k < 0 {
				return fmt.Errorf("metric recall: no output is of two classes [N,2,...]")
			}
			for i := range n {
				if box < 0 {
					e.Score = append(e.Score, places(row(got[k], i, n), row(want[k], i, n)))
					continue
				}
				d := &detector{want[k].Shape[2:], ds.Shape(), strides(float.Outputs[k])}
				e.Score = append(e.Score, recalled(d.detections(row(got[k], i, n), row(got[box], i, n)), d.detections(row(want[k], i, n), row(want[box], i, n))))
			}
		default:
			return fmt.Errorf("unknown metric %q", m)
		}
		return nil
	})
	if err != nil {
		return e, err
	}
	if m == Verification {
		var ps []Pair
		if p, ok := ds.(interface{ Pairs() []Pair }); ok { // of a list
			ps = p.Pairs()
		}
		switch v, err := Verify(emb, e.Labels, ps); {
		case err == nil:
			e.Verified, e.Score = v, v.Pseudo
			v.Pseudo = nil
			e.N, e.Value = len(e.Score), v.At().Rate
		case !errors.Is(err, ErrNoPairs): // of few samples it says nothing
			return e, fmt.Errorf("metric verification: %w", err)
		}
	}
	for _, v := range e.Score {
		if m != Verification && !math.IsNaN(v) {
			e.N++
			e.Value += v
		}
	}
	if m != Verification && e.N > 0 {
		e.Value /= float64(e.N)
	}
	if on > 0 {
		e.Far = off / on
	} else {
		e.Far = off
	}
	e.Far, e.MSE = finite(e.Far), finite(off/float64(max(1, elements)))
	e.Error, e.Loss = 1-e.Value, e.Far
	if m == PSNR {
		e.Error = -e.Value
	}
	return e, nil
}

// finite is x, or the largest number for what is none.
func finite(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return math.MaxFloat64
	}
	return x
}

func span(at, n int) []int {
	idx := make([]int, n)
	for i := range idx {
		idx[i] = at + i
	}
	return idx
}

// row is sample i of n.
func row(t *tensor.Tensor, i, n int) []float32 {
	x := tensor.Of[float32](t)
	k := len(x) / n
	return x[i*k : (i+1)*k]
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i, x := range a {
		y := float64(b[i])
		ab += float64(float64(x) * y)
		aa += float64(float64(x) * float64(x))
		bb += float64(y * y)
	}
	switch {
	case aa == bb && ab == aa:
		return 1
	case aa == 0 || bb == 0:
		return 0
	}
	if c := ab / math.Sqrt(aa*bb); !math.IsNaN(c) {
		return min(c, 1)
	}
	return -1
}

// psnr compares [C,H,W] with the middle of [C,H',W'].
func psnr(x []float32, xs tensor.Shape, t []float32, ts []int, peak float64) (float64, error) {
	if len(xs) != 3 || len(ts) != 3 || xs[0] != ts[0] || xs[1] > ts[1] || xs[2] > ts[2] {
		return 0, fmt.Errorf("metric psnr: the output is %v, the target %v", xs, ts)
	}
	top, left := (ts[1]-xs[1])/2, (ts[2]-xs[2])/2
	sum := 0.0
	for c := range xs[0] {
		for y := range xs[1] {
			a := x[(c*xs[1]+y)*xs[2]:][:xs[2]]
			b := t[(c*ts[1]+y+top)*ts[2]+left:][:xs[2]]
			for i, v := range a {
				d := min(max(float64(v), 0), peak) - float64(b[i])
				sum += float64(d * d)
			}
		}
	}
	mse := sum / float64(len(x))
	if math.IsNaN(mse) {
		return 0, nil
	}
	return min(10*math.Log10(peak*peak/mse), 100), nil
}

// decided measures a classifier.
func decided(ctx context.Context, g, float *graph.Graph, ds train.Dataset, m Metric, ref *Reference, threads int) (Eval, error) {
	o := train.EvalOptions{Threads: threads, Logits: true, Top: m.Top()}
	r, err := train.Evaluate(ctx, g, ds, o)
	if err != nil {
		return Eval{}, err
	}
	e := Eval{N: r.N, Value: 1 - r.Error, Error: r.Error, Loss: r.Loss, Labels: r.Labels, Correct: r.Correct, Margin: r.Margin}
	var want []float32
	if float != nil {
		if ref == nil {
			ref = &Reference{}
		}
		ref.mu.Lock()
		defer ref.mu.Unlock()
		if ref.n < ds.Len() {
			f, err := train.Evaluate(ctx, float, ds, o)
			if err != nil {
				return Eval{}, err
			}
			ref.n, ref.logits = ds.Len(), f.Logits
		}
		want = ref.logits
	}
	if len(want) >= len(r.Logits) && r.Classes > 0 {
		wrong := 0
		for i := 0; m == Agreement && i < len(r.Logits); i += r.Classes {
			e.Correct[i/r.Classes] = train.Argmax(want[i:i+r.Classes]) == train.Argmax(r.Logits[i:i+r.Classes])
			if !e.Correct[i/r.Classes] {
				wrong++
			}
		}
		if m == Agreement {
			e.N = ds.Len()
			e.Error = float64(wrong) / float64(max(1, e.N))
			e.Value = 1 - e.Error
		}
		for i := 0; i < len(r.Logits); i += r.Classes {
			e.Far += divergence(want[i:i+r.Classes], r.Logits[i:i+r.Classes])
		}
		e.Far /= float64(max(1, ds.Len()))
		for i, v := range r.Logits {
			d := float64(v) - float64(want[i])
			e.MSE += float64(d * d)
		}
		e.MSE /= float64(max(1, len(r.Logits)))
	}
	e.Far, e.MSE = finite(e.Far), finite(e.MSE)
	return e, nil
}

// divergence is the Kullback-Leibler divergence, in nats, of softmax(b) from softmax(a).
func divergence(a, b []float32) float64 {
	la, lb := logSum(a), logSum(b)
	d := 0.0
	for i := range a {
		p := float64(a[i]) - la
		d += float64(math.Exp(p) * (p - (float64(b[i]) - lb)))
	}
	return max(0, d)
}

func logSum(x []float32) float64 {
	top := math.Inf(-1)
	for _, v := range x {
		top = max(top, float64(v))
	}
	s := 0.0
	for _, v := range x {
		s += math.Exp(float64(v) - top)
	}
	return top + math.Log(s)
}

// sideBySide shows f the outputs of g and of the float model, batch by batch: of ds's samples at..at+n.
func sideBySide(ctx context.Context, g, float *graph.Graph, ds train.Dataset, ref *Reference, threads int, f func(at int, y []int32, got, want []*tensor.Tensor) error) error {
	if ref == nil {
		ref = &Reference{}
	}
	ref.mu.Lock()
	defer ref.mu.Unlock()
	a, err := newRunner(g, ds, threads)
	if err != nil {
		return err
	}
	b, err := newRunner(float, ds, threads)
	if err != nil {
		return err
	}
	a.batch = min(a.batch, b.batch)
	fresh := ref.n < ds.Len()
	keep := fresh
	if fresh {
		ref.outs = nil
	}
	for at := 0; at < ds.Len(); at += a.batch {
		n := min(a.batch, ds.Len()-at)
		x, labels := a.x[:n*a.size], make([]int32, n)
		if err := ds.Read(ctx, span(at, n), x, labels); err != nil {
			return err
		}
		got, err := a.run(ctx, x, n)
		if err != nil {
			return err
		}
		var want []*tensor.Tensor
		if !fresh {
			for i, y := range got {
				k := y.Len() / n
				if i >= len(ref.outs) || len(ref.outs[i]) < (at+n)*k {
					return fmt.Errorf("the model gives %v, the float model something else", y.Shape)
				}
				want = append(want, tensor.From(ref.outs[i][at*k:(at+n)*k], y.Shape...))
			}
		} else {
			if want, err = b.run(ctx, x, n); err != nil {
				return err
			}
			if len(want) != len(got) {
				return fmt.Errorf("%d outputs, the float model has %d", len(got), len(want))
			}
			size := 0
			for i, w := range want {
				if len(ref.outs) <= i {
					ref.outs = append(ref.outs, nil)
				}
				if keep {
					ref.outs[i] = append(ref.outs[i], tensor.Of[float32](w)...)
					size += 4 * len(ref.outs[i])
				}
			}
			if size > maxReference {
				keep, ref.outs = false, make([][]float32, len(want))
			}
		}
		if err := f(at, labels, got, want); err != nil {
			return err
		}
	}
	if keep {
		ref.n = ds.Len()
	}
	return nil
}

// runner runs a model of one input on samples of a dataset.
type runner struct {
	prog  *plan.Program
	in    string
	outs  []string
	ds    train.Dataset
	batch int
	size  int
	s     *plan.Session
	x     []float32 // room for a batch of samples
	n     int       // batch of s
}

// maxBatch bounds the samples and the floats of input of one run.
const (
	maxBatch       = 64
	maxBatchValues = 1 << 20
)

func newRunner(g *graph.Graph, ds train.Dataset, threads int) (*runner, error) {
	if len(g.Inputs) != 1 || len(g.Outputs) == 0 {
		return nil, fmt.Errorf("the model has %d inputs and %d outputs, want one input", len(g.Inputs), len(g.Outputs))
	}
	c, _ := g.Clone()
	train.Demote(c)
	in := c.Inputs[0]
	r := &runner{in: in.Name, ds: ds, size: tensor.Shape(ds.Shape()).NumElements()}
	r.batch = max(1, min(maxBatch, maxBatchValues/max(1, r.size), ds.Len()))
	if d := in.Decl.Dims; in.Decl.Ranked && len(d) > 0 {
		if d[0].Size == 1 { // written for single images: whether it takes more, only trying tells
			d[0].Size = -1
		} else if d[0].Size > 1 {
			r.batch = d[0].Size
		}
	}
	for _, o := range c.Outputs {
		r.outs = append(r.outs, o.Name)
	}
	var err error
	if r.prog, err = plan.NewProgram(c, plan.Options{Threads: threads}); err != nil {
		return nil, err
	}
	if r.batch > 1 {
		if err := r.bind(r.batch); err != nil {
			r.batch = 1
		}
	}
	r.x = make([]float32, r.batch*r.size)
	return r, nil
}

func (r *runner) bind(n int) error {
	if r.n == n {
		return nil
	}
	p, err := r.prog.Plan(map[string]tensor.Type{r.in: {DType: tensor.Float32, Shape: append(tensor.Shape{n}, r.ds.Shape()...)}})
	if err != nil {
		return err
	}
	r.s, err = p.NewSession()
	r.n = n
	return err
}

// run gives the outputs for n samples x; they are valid until the next run.
func (r *runner) run(ctx context.Context, x []float32, n int) ([]*tensor.Tensor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := r.bind(n); err != nil {
		return nil, err
	}
	copy(tensor.Of[float32](r.s.Input(r.in)), x)
	if err := r.s.Run(ctx); err != nil {
		return nil, err
	}
	var out []*tensor.Tensor
	for _, name := range r.outs {
		t := r.s.Output(name)
		if t == nil || t.DType != tensor.Float32 || len(t.Shape) == 0 || t.Shape[0] != n {
			return nil, fmt.Errorf("output %q is not float32 [%d,...]", name, n)
		}
		out = append(out, t)
	}
	return out, nil
}
