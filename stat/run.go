package stat

import (
	"context"
	"fmt"

	"whit/data"
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

// Options say how to run. The zero value is the default.
type Options struct {
	Batch   int // samples a run, 0: 64
	Samples int // at most so many of the dataset, from its beginning; 0: all
	Threads int // 0: the physical cores
}

// Run runs the model graph g (one input [N,...]) over the dataset and shows every
// point's value of every batch to its observer, in the order of points. g is not
// changed. A value that is not there, or is not float32, is an error.
func Run(ctx context.Context, g *graph.Graph, ds data.Dataset, points []Point, o Options) error {
	if len(g.Inputs) != 1 {
		return fmt.Errorf("observe: the model has %d inputs, want one", len(g.Inputs))
	}
	if o.Batch <= 0 {
		o.Batch = 64
	}
	total := ds.Len()
	if o.Samples > 0 {
		total = min(total, o.Samples)
	}
	c, _ := g.Clone()
	in := c.Inputs[0]
	c.Outputs = nil
	taken := map[string]bool{}
	for _, p := range points {
		v := c.Find(p.Value)
		if v == nil || v.Kind != graph.Computed && v.Kind != graph.Input {
			return fmt.Errorf("observe: the model computes no value %q", p.Value)
		}
		if v.Kind == graph.Computed && !taken[p.Value] {
			c.Outputs = append(c.Outputs, v)
		}
		taken[p.Value] = true
	}
	var prog *plan.Program
	var err error
	if len(c.Outputs) > 0 {
		if prog, err = plan.NewProgram(c, plan.Options{Threads: o.Threads}); err != nil {
			return err
		}
	}
	size := 1
	for _, d := range ds.Shape() {
		size *= d
	}
	var s *plan.Session
	var x *tensor.Tensor
	idx := make([]int, 0, o.Batch)
	for at := 0; at < total; at += len(idx) {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(o.Batch, total-at)
		if n != len(idx) {
			t := tensor.Type{DType: tensor.Float32, Shape: append(tensor.Shape{n}, ds.Shape()...)}
			x = tensor.New(t.DType, t.Shape...)
			if prog != nil {
				pl, err := prog.Plan(map[string]tensor.Type{in.Name: t})
				if err != nil {
					return err
				}
				if s, err = pl.NewSession(); err != nil {
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
		if s != nil {
			copy(s.Input(in.Name).Bytes(), x.Bytes())
			if err := s.Run(ctx); err != nil {
				return err
			}
		}
		for _, p := range points {
			t := x
			if p.Value != in.Name {
				t = s.Output(p.Value)
			}
			if t == nil || t.DType != tensor.Float32 {
				return fmt.Errorf("observe: value %q is not float32", p.Value)
			}
			if err := p.Observer.Observe(t); err != nil {
				return fmt.Errorf("observe %q: %w", p.Value, err)
			}
		}
	}
	return nil
}
