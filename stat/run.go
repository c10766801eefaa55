package stat

import (
	"context"
	"fmt"

	"whit/graph"
	"whit/plan"
	"whit/tensor"
)

// Observer looks at one value. x is float32, its first axis counts samples; it is
// valid during the call only.
type Observer interface {
	Observe(x *tensor.Tensor) error
}

// Point says who looks at which value: an input of the graph or a node's output, by name.
type Point struct {
	Value    string
	Observer Observer
}

// Dataset is what is run over: as [whit/data.Dataset], without labels.
type Dataset interface {
	Len() int
	Shape() []int // of a sample
	Read(ctx context.Context, idx []int, x []float32, y []int32) error
}

// Options say how to run. The zero value is the default.
type Options struct {
	Batch   int // samples a run, 0: 64
	Samples int // at most so many of the dataset, from its beginning; 0: all
	Threads int // 0: the physical cores
}

// Finisher is an Observer with something left to do after the last batch; [Run] calls it.
type Finisher interface {
	Observer
	Done() error
}

// Probe is a graph with one input [N,...] and who looks at its values.
type Probe struct {
	Graph  *graph.Graph
	Points []Point
}

// Run runs the model graph g (one input [N,...]) over the dataset and shows every
// point's value of every batch to its observer, in the order of points. g is not
// changed. A value that is not there, or is not float32, is an error.
func Run(ctx context.Context, g *graph.Graph, ds Dataset, points []Point, o Options) error {
	return RunAll(ctx, ds, o, Probe{g, points})
}

// RunAll is Run for several graphs: every batch goes through one after the other.
func RunAll(ctx context.Context, ds Dataset, o Options, probes ...Probe) error {
	if o.Batch <= 0 {
		o.Batch = 64
	}
	total := ds.Len()
	if o.Samples > 0 {
		total = min(total, o.Samples)
	}
	size := 1
	for _, d := range ds.Shape() {
		size *= d
	}
	rs := make([]*runner, len(probes))
	for i, p := range probes {
		var err error
		if rs[i], err = newRunner(p, o.Threads); err != nil {
			return err
		}
	}
	if n, err := fixed(rs, ds.Shape(), min(o.Batch, total)); err != nil {
		return err
	} else if n > 0 {
		o.Batch = n
		if total -= total % n; total == 0 { // it takes whole batches only
			return fmt.Errorf("observe: the model takes batches of %d, and there are fewer samples", n)
		}
	}
	var x *tensor.Tensor
	idx := make([]int, 0, o.Batch)
	for at := 0; at < total; at += len(idx) {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(o.Batch, total-at)
		if n != len(idx) {
			x = tensor.New(tensor.Float32, append(tensor.Shape{n}, ds.Shape()...)...)
			for _, r := range rs {
				if err := r.bind(x.Type); err != nil {
					return err
				}
			}
		}
		idx = idx[:0]
		for i := range n {
			idx = append(idx, at+i)
		}
		if err := ds.Read(ctx, idx, tensor.Of[float32](x)[:n*size], nil); err != nil {
			return err
		}
		for _, r := range rs {
			if err := r.run(ctx, x); err != nil {
				return err
			}
		}
	}
	for _, p := range probes {
		for _, pt := range p.Points {
			if f, ok := pt.Observer.(Finisher); ok {
				if err := f.Done(); err != nil {
					return fmt.Errorf("observe %q: %w", pt.Value, err)
				}
			}
		}
	}
	return nil
}

// fixed is the batch that graphs insist on, of those that declare one: whether they take others, such as batch, only trying
// tells. 0: none.
func fixed(rs []*runner, shape []int, batch int) (int, error) {
	n := 0
	for _, r := range rs {
		if r.declared == 0 || r.declared == batch || batch == 0 {
			continue
		}
		if r.bind(tensor.Type{DType: tensor.Float32, Shape: append(tensor.Shape{batch}, shape...)}) == nil {
			continue
		}
		if n != 0 && n != r.declared {
			return 0, fmt.Errorf("observe: one model takes batches of %d, another of %d", n, r.declared)
		}
		n = r.declared
	}
	return n, nil
}

// runner runs one probe.
type runner struct {
	declared int // batch; 0: open
	points   []Point
	in       string
	prog     *plan.Program // nil: only the input is looked at
	s        *plan.Session
}

func newRunner(p Probe, threads int) (*runner, error) {
	if len(p.Graph.Inputs) != 1 {
		return nil, fmt.Errorf("observe: the model has %d inputs, want one", len(p.Graph.Inputs))
	}
	c, _ := p.Graph.Clone()
	r := &runner{points: p.Points, in: c.Inputs[0].Name}
	if d := c.Inputs[0].Decl; d.Ranked && len(d.Dims) > 0 && d.Dims[0].Size > 0 {
		r.declared, d.Dims[0].Size = d.Dims[0].Size, -1
	}
	c.Outputs = nil
	taken := map[string]bool{}
	for _, pt := range p.Points {
		v := c.Find(pt.Value)
		if v == nil || v.Kind != graph.Computed && v.Kind != graph.Input {
			return nil, fmt.Errorf("observe: the model computes no value %q", pt.Value)
		}
		if v.Kind == graph.Computed && !taken[pt.Value] {
			c.Outputs = append(c.Outputs, v)
		}
		taken[pt.Value] = true
	}
	var err error
	if len(c.Outputs) > 0 {
		r.prog, err = plan.NewProgram(c, plan.Options{Threads: threads})
	}
	return r, err
}

// bind makes the session for inputs of type t.
func (r *runner) bind(t tensor.Type) error {
	if r.prog == nil {
		return nil
	}
	pl, err := r.prog.Plan(map[string]tensor.Type{r.in: t})
	if err != nil {
		return err
	}
	r.s, err = pl.NewSession()
	return err
}

func (r *runner) run(ctx context.Context, x *tensor.Tensor) error {
	if r.s != nil {
		copy(r.s.Input(r.in).Bytes(), x.Bytes())
		if err := r.s.Run(ctx); err != nil {
			return err
		}
	}
	for _, p := range r.points {
		t := x
		if p.Value != r.in {
			t = r.s.Output(p.Value)
		}
		if t == nil || t.DType != tensor.Float32 {
			return fmt.Errorf("observe: value %q is not float32", p.Value)
		}
		if err := p.Observer.Observe(t); err != nil {
			return fmt.Errorf("observe %q: %w", p.Value, err)
		}
	}
	return nil
}
