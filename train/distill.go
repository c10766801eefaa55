package train

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"

	"whit/graph"
	"whit/plan"
	"whit/tensor"
)

// distillation is the loss against the teachers (G. Hinton, O. Vinyals, J. Dean:
// Distilling the knowledge in a neural network, 2015, section 2):
//
//	T² · Σ_i -Σ_c q_ic·log p_ic / N      p = softmax(logits / T)
//
// with q the mean of the teachers' softmax(logits / T), which is soft. The teachers see the batch as it is
// augmented (targets). It deviates from the paper in that several teachers' softened decisions are averaged
// arithmetically, as section 5 leaves open.
func distillation(c *graph.Graph, logits, labels, soft *graph.Value, o *Options) *graph.Value {
	number := func(x float64) *graph.Value { return c.NewConst("", tensor.Scalar(float32(x))) }
	cool := c.Add("", "Mul", nil, logits, number(1/o.Temperature))
	loss := c.AddN(graph.Domain, "SoftmaxXent", map[string]any{"alpha": float32(1)}, 2, cool, labels, soft)[0]
	return c.Add("", "Mul", nil, loss, number(float64(o.Temperature*o.Temperature)))
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

// targets are the teachers' softened decisions. Teachers are inference, with all that makes it fast: they are not part of the graph of
// a step. What they say about a version of an image is kept where there are few of those.
type targets struct {
	g        *graph.Graph
	opt      EvalOptions
	soft     *Soft                 // nil: nothing is kept
	key      [32]byte              // of what is kept
	prog     *plan.Program         // where nothing is kept
	sessions map[int]*plan.Session // by the samples of a batch
	classes  int
}

// Soft keeps what teachers say about the versions of images that are counted (Options.Views), from one run to the next with the same teachers, images and
// versions. Several runs may share it at the same time. The zero value is empty.
type Soft struct {
	mu  sync.Mutex
	key [32]byte
	by  [][]float32 // by version, nil: not seen yet
}

// of is what is kept of a version, of so many as the key says, or what ask says about it.
func (s *Soft) of(key [32]byte, version, versions int, ask func() ([]float32, error)) (soft []float32, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key != key {
		s.key, s.by = key, make([][]float32, versions)
	}
	if s.by[version] == nil {
		s.by[version], err = ask()
	}
	return s.by[version], err
}

// softKey is what teachers' decisions on a dataset hang on.
func softKey(ds Dataset, o *Options) (key [32]byte) {
	h := sha256.New()
	hashModels(h, o.Teachers)
	_, views := o.augmented()
	fmt.Fprintf(h, "%q %d %d %v\n", o.Augment, views, o.Seed, o.Temperature)
	hashData(h, ds)
	h.Sum(key[:0])
	return key
}

// newTargets prepares the decisions of o's teachers among classes on n samples of a shape.
func newTargets(shape []int, n, classes int, o *Options) (*targets, error) {
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
	soft.Name = "soft"
	t := &targets{g: g, opt: EvalOptions{Threads: o.Threads, Logits: true, Plan: &plan.Options{CPU: o.CPU}}, classes: classes}
	if _, views := o.augmented(); views > 0 && views*n <= maxTargets/4/max(1, classes) {
		if t.soft = o.Soft; t.soft == nil {
			t.soft = &Soft{}
		}
		return t, nil
	}
	t.sessions = map[int]*plan.Session{}
	if t.prog, err = plan.NewProgram(g, plan.Options{Threads: o.Threads, CPU: o.CPU}); err != nil {
		return nil, err
	}
	_, err = t.session(o.Batch) // what cannot run is known before the first step
	return t, err
}

// session is the session for batches of n samples, where nothing is kept.
func (t *targets) session(n int) (*plan.Session, error) {
	if s := t.sessions[n]; s != nil {
		return s, nil
	}
	in := t.g.Inputs[0]
	pl, err := t.prog.Plan(map[string]tensor.Type{in.Name: {DType: tensor.Float32, Shape: append(tensor.Shape{n}, in.Type.Shape[1:]...)}})
	if err != nil {
		return nil, fmt.Errorf("train: a teacher: %w", err)
	}
	s, err := pl.NewSession()
	if err != nil {
		return nil, fmt.Errorf("train: a teacher: %w", err)
	}
	t.sessions[n] = s
	return s, nil
}

// fill puts the decisions on a batch, of a version of the images, into q.
func (t *targets) fill(ctx context.Context, q []float32, b *batches, x *batch, version int) error {
	if t.prog == nil {
		soft, err := t.of(ctx, b, version)
		if err != nil {
			return err
		}
		for i, k := range x.idx {
			copy(q[i*t.classes:(i+1)*t.classes], soft[k*t.classes:])
		}
		return nil
	}
	s, err := t.session(x.n)
	if err != nil {
		return err
	}
	copy(tensor.Of[float32](s.Input("x")), x.x)
	if err := s.Run(ctx); err != nil {
		return fmt.Errorf("train: a teacher: %w", err)
	}
	copy(q, tensor.Of[float32](s.Output("soft")))
	return nil
}

// of is the decisions on a version of all samples. They are made for all at once, in the
// order of the dataset: a run that is resumed finds the same.
func (t *targets) of(ctx context.Context, b *batches, version int) ([]float32, error) {
	return t.soft.of(t.key, version, b.views, func() ([]float32, error) {
		e, err := Evaluate(ctx, t.g, &view{b.ds, b, version, make([]float32, len(b.tmp))}, t.opt)
		if err != nil {
			return nil, fmt.Errorf("train: a teacher: %w", err)
		}
		return e.Logits, nil
	})
}

// view is a version of a dataset's samples, read by one at a time.
type view struct {
	Dataset
	b       *batches
	version int
	tmp     []float32
}

func (v *view) Read(ctx context.Context, idx []int, x []float32, y []int32) error {
	return v.b.load(ctx, idx, v.version, x, y, v.tmp)
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
