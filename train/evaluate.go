package train

import (
	"context"
	"fmt"
	"slices"

	"whit/graph"
	"whit/pass"
	"whit/plan"
	"whit/tensor"
)

// evalBatch is how many samples of an evaluation run together, or as few as have evalValues elements: what a run
// takes in memory goes with its input.
const (
	evalBatch  = 256
	evalValues = 1 << 22
)

// EvalSamples is how many samples of a shape an evaluation runs together, where nothing else is said.
func EvalSamples(shape []int) int {
	size := 1
	for _, d := range shape {
		size *= d
	}
	return max(1, min(evalBatch, evalValues/max(1, size)))
}

// EvalOptions say how to evaluate.
type EvalOptions struct {
	Batch   int  // samples a run, 0: EvalSamples
	Threads int  // 0: the physical cores
	Logits  bool // keep the logits
	// Top is how many of the largest logits the label's may be among to be right, 0: 1.
	Top int
	// Plan, if not nil, is how the model is compiled; Threads above is put into it.
	Plan *plan.Options
}

// Eval is an evaluation.
type Eval struct {
	N     int     `json:"n"`     // samples with a label
	Error float64 `json:"error"` // of them, those whose largest logit is not the label's, 0..1; see EvalOptions.Top
	Loss  float64 `json:"loss"`  // mean cross-entropy over them
	// Labels are the samples' classes, -1: none.
	Labels []int32 `json:"-"`
	// Correct tells for every sample of the dataset whether it was right; false without a label.
	Correct []bool `json:"-"`
	// Margin is, for every sample, the label's logit less the largest other one (with Top k, the
	// k-th largest): above zero where Correct (but for ties); 0 without a label or with too few classes.
	Margin []float32 `json:"-"`
	// Logits, where wanted, are [samples, Classes] in row-major order.
	Logits  []float32 `json:"-"`
	Classes int       `json:"classes"`
}

// Evaluate runs the model graph g (one input [N,...], output 0 the logits [N,C])
// on all of ds, as inference: Params and States are constants. g is not changed.
func Evaluate(ctx context.Context, g *graph.Graph, ds Dataset, o EvalOptions) (Eval, error) {
	var e Eval
	if len(g.Inputs) != 1 || len(g.Outputs) == 0 {
		return e, fmt.Errorf("evaluate: the model has %d inputs and %d outputs, want one input and logits", len(g.Inputs), len(g.Outputs))
	}
	if o.Batch <= 0 {
		o.Batch = EvalSamples(ds.Shape())
	}
	o.Batch = max(1, min(o.Batch, ds.Len()))
	c, _ := g.Clone()
	Demote(c)
	in := c.Inputs[0]
	pass.FreeBatch(c, ds.Shape())
	single := false
	if d := in.Decl.Dims; in.Decl.Ranked && len(d) > 0 {
		single = d[0].Size == 1 // written for single samples: whether it takes more, only trying tells
		d[0].Size = -1
	}
	labels := c.AddInput(nameLabels, tensor.Int32, -1)
	logits := c.Outputs[0]
	outs := c.AddN(graph.Domain, "SoftmaxXent", nil, 2, logits, labels)
	outs[1].Name = nameEach
	if logits.Kind == graph.Computed {
		logits.Name = nameLogits
	}
	c.Outputs = []*graph.Value{outs[1], logits}
	po := plan.Options{}
	if o.Plan != nil {
		po = *o.Plan
	}
	po.Threads, po.Training = o.Threads, false
	prog, err := plan.NewProgram(c, po)
	if err != nil {
		return e, err
	}
	bind := func(n int) (*plan.Plan, error) {
		return prog.Plan(map[string]tensor.Type{
			in.Name:    {DType: tensor.Float32, Shape: append(tensor.Shape{n}, ds.Shape()...)},
			nameLabels: {DType: tensor.Int32, Shape: tensor.Shape{n}},
		})
	}
	if single && o.Batch > 1 {
		if _, err := bind(o.Batch); err != nil {
			o.Batch = 1
		}
	}
	sample := 1
	for _, d := range ds.Shape() {
		sample *= d
	}
	e.Labels, e.Correct, e.Margin = make([]int32, ds.Len()), make([]bool, ds.Len()), make([]float32, ds.Len())
	idx := make([]int, 0, o.Batch)
	var s *plan.Session
	size, wrong := 0, 0
	for at := 0; at < ds.Len(); at += o.Batch {
		if err := ctx.Err(); err != nil {
			return e, err
		}
		n := min(o.Batch, ds.Len()-at)
		if n != size {
			pl, err := bind(n)
			if err != nil {
				return e, err
			}
			if s, err = pl.NewSession(); err != nil {
				return e, err
			}
			size = n
		}
		idx = idx[:0]
		for i := range n {
			idx = append(idx, at+i)
		}
		y := e.Labels[at : at+n]
		if err := ds.Read(ctx, idx, tensor.Of[float32](s.Input(in.Name))[:n*sample], y); err != nil {
			return e, err
		}
		copy(tensor.Of[int32](s.Input(nameLabels)), y)
		if err := s.Run(ctx); err != nil {
			return e, err
		}
		lt := s.Output(logits.Name)
		if len(lt.Shape) != 2 || lt.Shape[0] != n || lt.DType != tensor.Float32 {
			return e, fmt.Errorf("evaluate: output %q is %v, want logits float32[%d,C]", g.Outputs[0].Name, lt.Type, n)
		}
		l, each := tensor.Of[float32](lt), tensor.Of[float32](s.Output(nameEach))
		e.Classes = lt.Shape[1]
		if o.Logits {
			e.Logits = append(e.Logits, l[:n*e.Classes]...)
		}
		for i := range n {
			if y[i] < 0 {
				continue
			}
			e.N++
			e.Loss += float64(each[i])
			e.Margin[at+i] = margin(l[i*e.Classes:(i+1)*e.Classes], int(y[i]), max(1, o.Top))
			if e.Correct[at+i] = among(l[i*e.Classes:(i+1)*e.Classes], int(y[i]), o.Top); !e.Correct[at+i] {
				wrong++
			}
		}
	}
	if e.N > 0 {
		e.Loss /= float64(e.N)
		e.Error = float64(wrong) / float64(e.N)
	}
	return e, nil
}

// among reports whether y is among the top largest logits; of equal ones the first comes first.
func among(l []float32, y, top int) bool {
	if top <= 1 {
		return Argmax(l) == y
	}
	if y >= len(l) || l[y] != l[y] {
		return false
	}
	before := 0
	for i, v := range l {
		if v > l[y] || v == l[y] && i < y {
			before++
		}
	}
	return before < top
}

// margin is logit y less the k-th largest other one.
func margin(l []float32, y, k int) float32 {
	if y >= len(l) || len(l) <= k {
		return 0
	}
	var few [8]float32
	best := few[:0] // the k largest, falling
	for i, v := range l {
		if i == y || len(best) == k && !(v > best[k-1]) {
			continue
		}
		at := len(best)
		for at > 0 && v > best[at-1] {
			at--
		}
		if best = slices.Insert(best, at, v); len(best) > k {
			best = best[:k]
		}
	}
	return l[y] - best[k-1]
}
