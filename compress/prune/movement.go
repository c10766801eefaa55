package prune

import (
	"context"
	"fmt"
	"slices"

	"whit/compress/method"
	"whit/tensor"
)

// Movement prunes while it trains, the weights that training moves towards zero first: of all weights those stay whose scores
//
//	S = -Σ_steps w · ∂L/∂w
//
// are largest, with the gradient taken where the network is, pruned, and passed straight through to all weights, so
// that those that have gone are still trained, and come back where their scores grow (V. Sanh, T. Wolf, A. M. Rush: Movement pruning: adaptive sparsity by
// fine-tuning, 2020, section 4). It suits networks that are fine-tuned to other data than they were trained on.
//
// It deviates in that weights of all layers are ranked together and how many are left is given, where the paper has
// a threshold and a penalty, or a share by layer; in that the gradient is read off Adam's running mean; and in that what a unit that
// nothing feeds or nothing reads still has goes too.
var Movement = &method.Method{
	Name:   "movement",
	Doc:    "prunes while it trains, the weights first that training moves towards zero",
	Params: append(thinningParams(0.9, 0.1, 0.7, 0.1), method.FitParams(10, 1e-3)...),
	Apply:  movement,
}

func movement(ctx context.Context, s *method.State, a method.Args) error {
	t, o, err := newThinning(s, a)
	if err != nil {
		return fmt.Errorf("movement: %w", err)
	}
	m := &moving{thinning: t}
	live, err := s.Live(ctx, "prune", o, method.Rewrite{Key: "movement " + m.key(a), Begin: m.begin, After: m.after})
	if err != nil {
		return fmt.Errorf("movement: %w", err)
	}
	return m.finish(ctx, live)
}

// moving is a run of the method.
type moving struct {
	thinning
	moved []*scored // by weight, nil where it is not pruned
}

// scored is what is known of a weight that is pruned.
type scored struct {
	*method.Latent
	had   []uint8   // the mask that it came with
	score []float32 // in 1/(1 - beta1)
	mean  []float32 // Adam's running mean of the gradient before the step
}

func (m *moving) begin(l *method.Live) error {
	if err := m.thinning.begin(l); err != nil {
		return err
	}
	for _, w := range m.weights {
		var x *scored
		if m.pruned(w) {
			x = &scored{l.Latent(w.p), slices.Clone(w.mask), make([]float32, len(w.mask)), make([]float32, len(w.mask))}
			l.Keep("score:"+w.p.Held.Value.Name, tensor.From(x.score, len(x.score)))
			l.Keep("mean:"+w.p.Held.Value.Name, tensor.From(x.mean, len(x.mean)))
		}
		m.moved = append(m.moved, x)
	}
	return nil
}

func (m *moving) after(l *method.Live) error {
	share, steps := l.Progress()
	_, _, each := l.Position()
	last := share >= m.until && m.stored() > m.keep
	if share < m.until || last {
		beta := float32(l.Options().Beta1)
		for k, w := range m.weights {
			if x := m.moved[k]; x != nil {
				for i, now := range w.p.First {
					x.score[i] -= float32(x.Dense[i] * (now - float32(beta*x.mean[i])))
				}
				copy(x.mean, w.p.First)
				x.Step()
			}
		}
		if last || share >= m.from && steps%max(1, int(m.every*float64(each))) == 0 {
			m.choose(m.left(min(1, (share-m.from)/(m.until-m.from))))
		}
		for k, w := range m.weights {
			if x := m.moved[k]; x != nil {
				copy(w.p.Elems, x.Dense)
			}
		}
	}
	m.hold()
	for k, w := range m.weights {
		if x := m.moved[k]; x != nil {
			x.Show(w.p.Elems)
		}
	}
	return nil
}

// choose leaves the keep weights of largest score. What the model came without stays away.
func (m *moving) choose(keep int) {
	for k, w := range m.weights {
		if x := m.moved[k]; x != nil {
			copy(w.mask, x.had)
		}
	}
	all := m.ranked(1, func(w *thinned) func(i int) float64 {
		score := m.moved[slices.Index(m.weights, w)].score
		return func(i int) float64 { return float64(score[i]) }
	})
	for _, x := range all[:max(0, len(all)-keep)] {
		x.w.mask[x.i] = 0
	}
	m.bury()
}
