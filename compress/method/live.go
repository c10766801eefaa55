package method

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"whit/graph"
	"whit/tensor"
	"whit/train"
)

// Live is a training run whose weights a method looks at and rewrites between steps: what it
// writes is what the next step computes with, so that gradients are those of a pruned or
// rounded weight and still reach the dense one (straight through: Y. Bengio, N. Léonard, A. Courville:
// Estimating or propagating gradients through stochastic neurons for conditional computation, 2013).
type Live struct {
	*train.Trainer
	// Parts are the weights and biases of the layers, in their order.
	Parts []*Part
	s     *State
	g     *graph.Graph
}

// Part is a constant of a layer as it is being trained. The slices are the trainer's memory.
type Part struct {
	Layer *Layer
	Held  *Held
	Bias  bool
	// Elems are the elements, in multiples of Step where that is not nil.
	Elems []float32
	// Average is the moving average of Elems, nil without.
	Average []float32
	// First and Second are the running means of the gradient and of its square.
	First, Second []float32
	// Step is one number that all elements are multiplied by, trained with them; nil: none.
	Step, StepAverage []float32
}

// Rewrite is what a method does within a training run.
type Rewrite struct {
	// Key is all that decides the result beside the state and the training options.
	Key string
	// Step, if not nil, gives the first step that a constant is held in multiples of; 0: none.
	Step func(l *Layer, h *Held) float32
	// Slow multiplies the learning rate of steps.
	Slow float64
	// Begin is called once; what After remembers between steps it adds by Keep.
	Begin func(l *Live) error
	// After is called after each training step.
	After func(l *Live) error
	// Note, if not nil, is what progress says beside the loss, after each epoch.
	Note func() string
}

// Live trains the state with Adam, while the method rewrites its weights, to the end or to where a run
// that was interrupted had come. Masks and codebooks are the method's own business: all elements are trained. What is trained and not in
// Parts is written back into the state.
func (s *State) Live(ctx context.Context, name string, o train.Options, w Rewrite) (*Live, error) {
	if s.NoFinetune {
		return nil, ErrNoFinetune
	}
	if o.Optimizer == "sgd" {
		return nil, errors.New("optimizer sgd keeps no mean of squared gradients: want adamw or adam")
	}
	s.fits++
	o.Seed = s.Seed + o.Seed + uint64(s.fits)*0x9e3779b97f4a7c15
	o.Threads = s.Threads
	if err := s.Teach(&o); err != nil {
		return nil, err
	}
	l := &Live{s: s}
	c, m := s.Graph.Clone()
	train.Promote(c)
	l.g = c
	o.LRMult = map[string]float64{}
	for _, y := range s.Layers {
		for _, h := range y.held() {
			v := m[h.Value]
			if v.Kind != graph.Param {
				continue // no gradient reaches it
			}
			if h.As != nil {
				v.Kind = graph.Const // its levels stay
				continue
			}
			p := &Part{Layer: y, Held: h, Bias: h == y.Bias}
			if w.Step != nil {
				if step := w.Step(y, h); step > 0 {
					p.Step = []float32{step}
					if err := l.scale(v, step); err != nil {
						return nil, err
					}
					o.LRMult[v.Name] = 1 / float64(step)
					o.LRMult[stepName(v.Name)] = w.Slow
				}
			}
			l.Parts = append(l.Parts, p)
		}
	}
	if err := c.Verify(); err != nil {
		return nil, err
	}
	full, err := o.WithDefaults()
	if err != nil {
		return nil, err
	}
	if s.Memo != nil {
		key, err := taught(s.Memo.Key("live"), full)
		if err != nil {
			return nil, err
		}
		key.Add(w.Key, w.Slow).Graph(c)
		for _, p := range l.Parts {
			key.Held(p.Held)
		}
		o.Checkpoint = s.Memo.Path(key, ".ckpt")
	}
	if l.Trainer, err = train.New(c, s.Train, o); err != nil {
		return nil, err
	}
	defer l.Close()
	of := func(name string) []float32 {
		if t := l.Var(name); t != nil {
			return tensor.Of[float32](t)
		}
		return nil
	}
	l.Parts = slices.DeleteFunc(l.Parts, func(p *Part) bool { return of(p.Held.Value.Name) == nil })
	for _, p := range l.Parts {
		n := p.Held.Value.Name
		first, second := train.Moments(n)
		p.Elems, p.Average, p.First, p.Second = of(n), of(train.Average(n)), of(first), of(second)
		if p.Step != nil {
			p.Step, p.StepAverage = of(stepName(n)), of(train.Average(stepName(n)))
		}
	}
	if err := w.Begin(l); err != nil {
		return nil, err
	}
	if o.Checkpoint != "" {
		if err := l.Load(o.Checkpoint); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if err := l.train(ctx, name, o, w); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return l, l.write()
}

func (l *Live) train(ctx context.Context, name string, o train.Options, w Rewrite) error {
	epoch, _, _ := l.Position()
	l.s.Tell(Event{Stage: name, Done: float64(epoch), Total: float64(l.Options().Epochs)})
	sum, n := 0.0, 0
	for !l.Done() {
		r, err := l.Step(ctx)
		if err != nil {
			return err
		}
		if err := w.After(l); err != nil {
			return err
		}
		sum, n = sum+float64(r.Loss), n+1
		if epoch, step, _ := l.Position(); step == 0 {
			if o.Checkpoint != "" {
				if err := l.Save(o.Checkpoint); err != nil {
					return err
				}
			}
			m := fmt.Sprintf("loss %.4f", sum/float64(n))
			if w.Note != nil {
				m += ", " + w.Note()
			}
			l.s.Tell(Event{Stage: name, Done: float64(epoch), Total: float64(l.Options().Epochs), Message: m})
			sum, n = 0, 0
		}
	}
	return nil
}

// Take gives the constants of the parts without a step what was trained, their moving averages where there are any.
func (l *Live) Take() {
	for _, p := range l.Parts {
		if p.Step != nil {
			continue
		}
		x := p.Elems
		if p.Average != nil {
			x = p.Average
		}
		p.Held.Set(slices.Clone(x))
	}
}

// Progress is the share of the steps that are finished, 0..1, and their number.
func (l *Live) Progress() (share float64, steps int) {
	epoch, step, each := l.Position()
	steps = epoch*each + step
	return float64(steps) / float64(l.Options().Epochs*each), steps
}

func stepName(name string) string { return name + ":step" }

// scale puts a product with a trained step between a param and what reads it.
func (l *Live) scale(v *graph.Value, step float32) error {
	var n *graph.Node
	for i := 0; i < len(l.g.Nodes); i++ {
		u := l.g.Nodes[i]
		for k, in := range u.In {
			if in != v || u == n {
				continue
			}
			if n == nil {
				n = l.g.NewNode("", "Mul", nil, 1, v, l.g.NewVar(graph.Param, stepName(v.Name), tensor.From([]float32{step}, 1)))
				l.g.Before(u, n)
				i++
			}
			u.In[k] = n.Out[0]
		}
	}
	if n == nil {
		return fmt.Errorf("nothing reads %q", v.Name)
	}
	x := slices.Clone(tensor.Of[float32](v.Data))
	for i := range x {
		x[i] /= step
	}
	v.Data = tensor.From(x, v.Type.Shape...)
	return nil
}

// write puts what is trained and not in Parts into the state's graph.
func (l *Live) write() error {
	if err := l.Write(l.g); err != nil {
		return err
	}
	mine := map[string]bool{}
	for _, p := range l.Parts {
		mine[p.Held.Value.Name] = true
	}
	got := map[string]*tensor.Tensor{}
	for _, v := range l.g.Values() {
		if v.Kind != graph.Param && v.Kind != graph.State {
			continue
		}
		if err := diverged(v); err != nil {
			return err
		}
		got[v.Name] = v.Data
	}
	for _, v := range l.s.Graph.Values() {
		if t := got[v.Name]; t != nil && v.Kind == graph.Const && !mine[v.Name] {
			v.Data, v.Weight = t, nil
		}
	}
	return nil
}
