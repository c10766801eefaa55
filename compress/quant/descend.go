package quant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"whit/compress/method"
	"whit/entropy"
	"whit/internal/kern"
	"whit/train"
)

// Descend changes levels one by one as long as the loss on training images, and lambda times the bytes of the code, get
// less together: coordinate descent on what is written. Which changes are worth a trial is foretold,
//
//	g d + ½ h d² + lambda (bits(level + d) - bits(level))
//
// with the gradient g of that loss, its Fisher information h (Y. LeCun, J. S. Denker, S. A. Solla: Optimal brain damage, 1990, with the information
// in the Hessian's place) and the coder's prices; the best are made together and judged by the loss measured and the code's
// true length; where that is no gain, either half is tried alone.
//
// It needs levels: trained or rdo come before it.
var Descend = &method.Method{
	Name: "descend",
	Doc:  "changes single levels as long as the loss on training images and the bytes get less together",
	Params: append([]method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas; those without levels are left alone"},
		{Name: "lambda", Kind: method.Float, Default: 0.01, Min: 0, Max: 1e3, Doc: "nats of loss that a kilobyte is worth"},
		{Name: "images", Kind: method.Int, Default: 10000, Min: 1, Max: 1e6, Doc: "images of the training part that the loss is measured on"},
		{Name: "rounds", Kind: method.Int, Default: 4, Min: 1, Max: 1000, Doc: "rounds, each with gradients of its own"},
		{Name: "changes", Kind: method.Int, Default: 256, Min: 1, Max: 1 << 20, Doc: "changes that are tried in a round"},
	}, method.DistillParams...),
	Apply: descend,
}

func descend(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	d := &descending{s: s, lambda: a.Float("lambda") / 8000, set: method.First(s.Train, min(a.Int("images"), s.Train.Len()))}
	for _, l := range s.Layers {
		for _, h := range []*method.Held{&l.Weight, l.Bias} {
			if h != nil && h.Step != 0 {
				d.parts = append(d.parts, newStepped(h, slices.Contains(layers, l)))
			}
		}
	}
	method.Distilled(a, &d.opt)
	if err := s.Teach(&d.opt); err != nil {
		return err
	}
	if d.parts == nil {
		return errors.New("descend: no layer is held as levels with one step")
	}
	if err := d.learn(ctx); err != nil {
		return fmt.Errorf("descend: %w", err)
	}
	if err := d.measure(ctx); err != nil {
		return fmt.Errorf("descend: %w", err)
	}
	for round := range a.Int("rounds") {
		began := d.sum
		if err := d.gradients(ctx); err != nil {
			return fmt.Errorf("descend: %w", err)
		}
		cs := d.candidates()
		cs = cs[:min(len(cs), a.Int("changes"))]
		const at = 32 // changes that are tried together first
		for k := 0; k < len(cs); k += at {
			end := min(k+at, len(cs))
			if err := d.try(ctx, cs[k:end]); err != nil {
				return fmt.Errorf("descend: %w", err)
			}
			done := float64(round) + float64(end)/float64(len(cs))
			s.Tell(method.Event{Stage: "descend", Done: done, Total: float64(a.Int("rounds")), Message: fmt.Sprintf("loss %.4f, %.0f bytes", d.loss, d.bits/8)})
		}
		if d.sum >= began {
			break
		}
	}
	return s.StageShared(ctx)
}

// descending is a run of the method.
type descending struct {
	s      *method.State
	set    train.Dataset
	opt    train.Options // what the loss is
	soft   []float32     // the teacher's softened decisions on set
	lambda float64       // of a bit
	parts  []*stepped

	loss, bits, sum float64 // sum is what is minimised
}

// stepped is a constant of levels.
type stepped struct {
	h       *method.Held
	free    bool
	levels  []int8
	slope   []float32 // of the loss by the level
	squares []float32
}

func newStepped(h *method.Held, free bool) *stepped {
	p := &stepped{h: h, free: free, levels: make([]int8, h.Len())}
	for i, x := range h.Data() {
		p.levels[i] = int8(math.RoundToEven(float64(x) / float64(h.Step)))
	}
	return p
}

// change makes an element's level another.
type change struct {
	p     *stepped
	i     int
	to    int8
	value float64 // what it is foretold to add to the sum
}

// measure finds the loss and the bits of the levels as they are.
func (d *descending) measure(ctx context.Context) error {
	e, err := train.Evaluate(ctx, d.s.Graph, d.set, train.EvalOptions{Threads: d.s.Threads, Logits: d.soft != nil})
	if err != nil {
		return err
	}
	loss := e.Loss
	if d.soft != nil {
		taught, t := 0.0, d.opt.Temperature
		p := make([]float32, e.Classes)
		for at := 0; at < len(d.soft); at += len(p) {
			soften(p, e.Logits[at:], t)
			for k, q := range d.soft[at : at+len(p)] {
				taught -= float64(float64(q) * math.Log(max(float64(p[k]), 1e-30)))
			}
		}
		taught *= float64(t*t) / float64(d.set.Len())
		loss = float64((1-d.opt.Distill)*loss) + float64(d.opt.Distill*taught)
	}
	cost := entropy.NewCost()
	bits := 0.0
	for _, p := range d.parts {
		bits = p.h.Code(cost, p.symbols(), bits, nil)
	}
	d.loss, d.bits = loss, bits
	d.sum = loss + float64(d.lambda*bits)
	return nil
}

// learn runs the teachers, if there are any.
func (d *descending) learn(ctx context.Context) error {
	if d.opt.Distill == 0 {
		return nil
	}
	for i, t := range d.opt.Teachers {
		e, err := train.Evaluate(ctx, t, d.set, train.EvalOptions{Threads: d.s.Threads, Logits: true})
		if err != nil {
			return err
		}
		for at := 0; at < len(e.Logits); at += e.Classes {
			soften(e.Logits[at:at+e.Classes], e.Logits[at:at+e.Classes], d.opt.Temperature)
		}
		if i == 0 {
			d.soft = e.Logits
			continue
		}
		if len(e.Logits) != len(d.soft) {
			return fmt.Errorf("teachers of %d and %d classes", len(d.soft)/d.set.Len(), e.Classes)
		}
		for k, q := range e.Logits {
			d.soft[k] += (q - d.soft[k]) / float32(i+1)
		}
	}
	return nil
}

// soften is softmax(z / t).
func soften(p, z []float32, t float64) {
	top := slices.Max(z[:len(p)])
	sum := float32(0)
	for k := range p {
		p[k] = kern.Exp((z[k] - top) / float32(t))
		sum += p[k]
	}
	for k := range p {
		p[k] /= sum
	}
}

func (p *stepped) symbols() []int32 {
	syms := make([]int32, len(p.levels))
	for i, q := range p.levels {
		syms[i] = int32(q)
	}
	return syms
}

// memory is how much of the means of gradients stays at a step: all of a pass counts about alike.
const memory = 0.9999

// gradients looks up the mean gradient by every level, and the Fisher information: a pass of training that stands still.
func (d *descending) gradients(ctx context.Context) error {
	t := *d.s
	t.Train, t.Memo = d.set, nil
	t.Progress = nil
	of := map[*method.Held]*stepped{}
	for _, p := range d.parts {
		of[p.h] = p
	}
	o := d.opt
	o.Epochs, o.LR, o.Schedule, o.Beta1, o.Beta2 = 1, 1e-12, "constant", memory, memory
	back := func(l *method.Live) error {
		for _, y := range l.Parts {
			if p := of[y.Held]; p != nil {
				for i, q := range p.levels {
					y.Elems[i] = float32(q)
				}
				y.Step[0] = p.h.Step
			}
		}
		return nil
	}
	// Live writes back what is not among the layers: a copy takes it.
	c := t.Clone()
	for i, l := range c.Layers {
		for k, h := range []*method.Held{&l.Weight, l.Bias} {
			if h != nil {
				if p := of[[]*method.Held{&d.s.Layers[i].Weight, d.s.Layers[i].Bias}[k]]; p != nil {
					of[h] = p
				}
			}
		}
	}
	l, err := c.Live(ctx, "gradients", o, method.Rewrite{Key: "descend", Begin: back, After: back, Step: func(_ *method.Layer, h *method.Held) float32 {
		if of[h] != nil {
			return h.Step
		}
		return 0
	}})
	if err != nil {
		return err
	}
	_, steps := l.Progress()
	seen := 1.0
	for range steps {
		seen *= memory
	}
	seen = 1 - seen
	for _, y := range l.Parts {
		p := of[y.Held]
		if p == nil {
			continue
		}
		p.slope, p.squares = make([]float32, len(p.levels)), make([]float32, len(p.levels))
		for i := range p.levels {
			p.slope[i] = float32(float64(y.First[i]) / seen)
			p.squares[i] = float32(float64(y.Second[i]) / seen * float64(l.Options().Batch))
		}
	}
	return nil
}

// candidates are the changes that are foretold to be worth it, the best first.
func (d *descending) candidates() (cs []change) {
	cost := entropy.NewCost()
	for _, p := range d.parts {
		syms := p.symbols()
		p.h.Code(cost, syms, 0, func(i int) {
			if !p.free || p.slope == nil {
				return
			}
			q := syms[i]
			now := cost.Bits(q)
			best := change{p: p, i: i}
			for _, to := range [...]int32{0, q - 1, q + 1} {
				by := float64(to - q)
				if by == 0 || to < -127 || to > 127 {
					continue
				}
				h := float64(p.squares[i])
				v := float64(float64(p.slope[i])*by) + float64(h*by*by)/2
				if q == 0 && v >= 0 {
					continue // bits that buy nothing need no price
				}
				if v += float64(d.lambda * (cost.Bits(to) - now)); v < best.value {
					best.to, best.value = int8(to), v
				}
			}
			if best.value < 0 {
				cs = append(cs, best)
			}
		})
	}
	slices.SortStableFunc(cs, func(a, b change) int { return cmp.Compare(a.value, b.value) })
	return cs
}

// try makes the changes if the sum gets less, else tries halves of them.
func (d *descending) try(ctx context.Context, cs []change) error {
	if len(cs) == 0 {
		return nil
	}
	loss, bits, sum := d.loss, d.bits, d.sum
	was := make([]int8, len(cs))
	touched := map[*stepped]bool{}
	set := func(to func(k int) int8) {
		for k, c := range cs {
			c.p.levels[c.i] = to(k)
			touched[c.p] = true
		}
		for _, p := range d.parts {
			if touched[p] {
				p.h.Quantise(p.levels, p.h.Step)
			}
		}
	}
	for k, c := range cs {
		was[k] = c.p.levels[c.i]
	}
	set(func(k int) int8 { return cs[k].to })
	if err := d.measure(ctx); err != nil {
		return err
	}
	if d.sum < sum {
		return nil
	}
	set(func(k int) int8 { return was[k] })
	d.loss, d.bits, d.sum = loss, bits, sum
	const least = 4 // of fewer changes the gain is not worth the measuring
	if len(cs) < 2*least {
		return nil
	}
	if err := d.try(ctx, cs[:len(cs)/2]); err != nil {
		return err
	}
	return d.try(ctx, cs[len(cs)/2:])
}
