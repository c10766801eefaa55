package train

import (
	"context"
	"fmt"

	"whit/graph"
	"whit/plan"
	"whit/tensor"
)

// distillation is the loss against the teachers (G. Hinton, O. Vinyals, J. Dean:
// Distilling the knowledge in a neural network, 2015, section 2):
//
//	T² · Σ_i -Σ_c q_ic·log p_ic / N      p = softmax(logits / T)
//
// with q the mean of the teachers' softmax(logits / T). The teachers see the batch as it is
// augmented: within the same graph, or once for each version of an image (targets). It deviates
// from the paper in that several teachers' softened decisions are averaged arithmetically, as
// section 5 leaves open. soft is q, or nil: teachers are made part of c.
func distillation(c *graph.Graph, in, logits, labels, soft *graph.Value, o *Options) (*graph.Value, error) {
	if soft == nil {
		var err error
		if soft, err = softened(c, in, o); err != nil {
			return nil, err
		}
	}
	number := func(x float64) *graph.Value { return c.NewConst("", tensor.Scalar(float32(x))) }
	cool := c.Add("", "Mul", nil, logits, number(1/o.Temperature))
	loss := c.AddN(graph.Domain, "SoftmaxXent", map[string]any{"alpha": float32(1)}, 2, cool, labels, soft)[0]
	return c.Add("", "Mul", nil, loss, number(float64(o.Temperature*o.Temperature))), nil
}

// softened appends the teachers to c, reading in, and the mean of their softened decisions.
func softened(c *graph.Graph, in *graph.Value, o *Options) (*graph.Value, error) {
	number := func(x float64) *graph.Value { return c.NewConst("", tensor.Scalar(float32(x))) }
	cool := number(1 / o.Temperature)
	var soft *graph.Value
	for i, t := range o.Teachers {
		y, err := graft(c, t, in, fmt.Sprintf("teacher%d:", i))
		if err != nil {
			return nil, err
		}
		q := c.Add("", "Softmax", map[string]any{"axis": int64(1)}, c.Add("", "Mul", nil, y, cool))
		if soft == nil {
			soft = q
		} else {
			soft = c.Add("", "Add", nil, soft, q)
		}
	}
	if n := len(o.Teachers); n > 1 {
		soft = c.Add("", "Mul", nil, soft, number(1/float64(n)))
	}
	return soft, nil
}

// maxTargets is the most bytes of teachers' decisions that are kept.
const maxTargets = 256 << 20

// keepsTargets reports whether teachers' decisions on n samples are kept.
func (o *Options) keepsTargets(n, classes int) bool {
	views := o.Views
	if a, _ := parseAugment(o.Augment); a.none() {
		views = 1
	}
	return o.Distill > 0 && views > 0 && views*n <= maxTargets/4/max(1, classes)
}

// targets are the teachers' softened decisions, by version of the images and by sample.
type targets struct {
	prog    *plan.Program
	in, out string
	classes int
	soft    [][]float32 // by version, nil: not seen yet
}

func newTargets(shape []int, versions, classes int, o *Options) (*targets, error) {
	g := graph.New("teachers")
	in := g.AddInput("x", tensor.Float32, append([]int{-1}, shape...)...)
	soft, err := softened(g, in, o)
	if err != nil {
		return nil, err
	}
	g.Outputs = []*graph.Value{soft}
	in.Type = tensor.Type{DType: tensor.Float32, Shape: append(tensor.Shape{2}, shape...)}
	inferTypes(g)
	if want := (tensor.Type{DType: tensor.Float32, Shape: tensor.Shape{2, classes}}); !soft.Bound() || !soft.Type.Equal(want) {
		return nil, fmt.Errorf("train: a teacher decides by %v, want %v", soft.Type, want)
	}
	prog, err := plan.NewProgram(g, plan.Options{Threads: o.Threads, CPU: o.CPU})
	if err != nil {
		return nil, fmt.Errorf("train: a teacher: %w", err)
	}
	return &targets{prog: prog, in: in.Name, out: soft.Name, classes: classes, soft: make([][]float32, versions)}, nil
}

// of is the decisions on a version of all samples. They are made for all at once, in the
// order of the dataset: a run that is resumed finds the same.
func (t *targets) of(ctx context.Context, b *batches, version int) ([]float32, error) {
	if t.soft[version] != nil {
		return t.soft[version], nil
	}
	total := b.ds.Len()
	soft, y, tmp := make([]float32, total*t.classes), make([]int32, EvalBatch), make([]float32, len(b.tmp))
	idx := make([]int, 0, EvalBatch)
	var s *plan.Session
	for at := 0; at < total; at += EvalBatch {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := min(EvalBatch, total-at)
		if s == nil || n < len(idx) {
			pl, err := t.prog.Plan(map[string]tensor.Type{t.in: {DType: tensor.Float32, Shape: append(tensor.Shape{n}, b.ds.Shape()...)}})
			if err != nil {
				return nil, fmt.Errorf("train: a teacher: %w", err)
			}
			if s, err = pl.NewSession(); err != nil {
				return nil, err
			}
		}
		idx = idx[:0]
		for i := range n {
			idx = append(idx, at+i)
		}
		if err := b.load(ctx, idx, version, tensor.Of[float32](s.Input(t.in)), y, tmp); err != nil {
			return nil, err
		}
		if err := s.Run(ctx); err != nil {
			return nil, err
		}
		copy(soft[at*t.classes:], tensor.Of[float32](s.Output(t.out)))
	}
	t.soft[version] = soft
	return soft, nil
}

// graft appends the nodes of the model t, as constants, to c, reading in; it returns the first output.
func graft(c, t *graph.Graph, in *graph.Value, prefix string) (*graph.Value, error) {
	if len(t.Inputs) != 1 || len(t.Outputs) == 0 {
		return nil, fmt.Errorf("train: a teacher has %d inputs and %d outputs, want one input and logits", len(t.Inputs), len(t.Outputs))
	}
	k, _ := t.Clone()
	Demote(k)
	out := k.Outputs[0]
	if out == k.Inputs[0] {
		return nil, fmt.Errorf("train: a teacher computes nothing")
	}
	k.Replace(k.Inputs[0], in)
	for _, v := range k.Values() {
		if v != in {
			v.Name = prefix + v.Name
		}
	}
	for _, n := range k.Nodes {
		n.Name = prefix + n.Name
	}
	c.Nodes = append(c.Nodes, k.Nodes...)
	return out, nil
}
