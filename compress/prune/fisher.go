package prune

import (
	"context"
	"fmt"
	"math"

	"whit/compress/method"
	"whit/entropy"
)

// Fisher prunes while it trains: again and again the weights go, of all layers together, whose loss would
// cost least by the Fisher information, w² · E[g²], with the optimiser's own running mean of squared
// gradients (L. Theis, I. Korshunova, A. Tejani, F. Huszár: Faster gaze prediction with dense networks and Fisher
// pruning, 2018, section 3). The number that is left falls by a cubic schedule (M. Zhu, S. Gupta: To prune, or not to prune,
// 2017, section 3).
//
// It deviates and adds:
//
//   - the mean is of gradients of batches, and of the loss that is trained on, distillation included;
//   - price divides what a weight is worth by the bits that it takes where it stands, under the file's coder;
//   - grow lets weights come back where the running mean of the gradient is largest (U. Evci, T. Gale, J. Menick, P. S. Castro,
//     E. Elsen: Rigging the lottery, 2020, section 3), as many at each pruning, which go beyond what the schedule
//     says; the share falls to 0 with the schedule's end;
//   - what a unit that nothing feeds or nothing reads still has goes too, and the unit is cut from the graph.
var Fisher = &method.Method{
	Name: "fisher",
	Doc:  "prunes while it trains, where the Fisher information of all weights is least",
	Params: append(append(thinningParams(0.95, 0, 0.6, 0.5),
		method.Param{Name: "price", Kind: method.String, Default: "none", Choices: []string{"none", "bits"}, Doc: "bits: what a weight is worth counts by the bit that it costs in the file"},
		method.Param{Name: "grow", Kind: method.Float, Default: 0.0, Min: 0, Max: 0.9, Doc: "share of the weights left that come back at a pruning, at first"},
	), method.FitParams(20, 1e-3)...),
	Apply: fisher,
}

func fisher(ctx context.Context, s *method.State, a method.Args) error {
	t, o, err := newThinning(s, a)
	if err != nil {
		return fmt.Errorf("fisher: %w", err)
	}
	f := &fishing{t, a.String("price") == "bits", a.Float("grow")}
	key := fmt.Sprintf("fisher %s %v %v", f.key(a), f.price, f.grow)
	live, err := s.Live(ctx, "prune", o, method.Rewrite{Key: key, Begin: f.begin, After: f.after})
	if err != nil {
		return fmt.Errorf("fisher: %w", err)
	}
	return f.finish(ctx, live)
}

// fishing is a run of the method.
type fishing struct {
	thinning
	price bool
	grow  float64
}

func (f *fishing) after(l *method.Live) error {
	share, steps := l.Progress()
	_, _, each := l.Position()
	every := max(1, int(f.every*float64(each)))
	if all := steps * l.Options().Epochs * each; all > 0 && steps%every == 0 && share >= f.from && share < f.until {
		t := (share - f.from) / (f.until - f.from)
		f.prune(t)
	} else if share >= f.until {
		if now := f.stored(); now > f.keep {
			f.prune(1)
		}
	}
	f.hold()
	return nil
}

// prune brings the weights down to what the schedule says at t, 0..1.
func (f *fishing) prune(t float64) {
	left := 1 - t
	keep := f.left(t)
	if f.grow > 0 && t < 1 {
		f.regrow(int(f.grow * left * float64(min(keep, f.stored()))))
	}
	in := f.ranked(1, func(w *thinned) func(i int) float64 {
		var price []float64
		if f.price {
			price = prices(w)
		}
		return func(i int) float64 {
			x, g := float64(w.p.Elems[i]), float64(w.p.Second[i])
			if x == 0 { // it has just come back
				return math.Inf(1)
			}
			v := float64(x*x) * g
			if price != nil {
				v /= price[i]
			}
			return v
		}
	})
	for _, x := range in[:max(0, len(in)-keep)] {
		x.w.mask[x.i] = 0
	}
	f.bury()
}

// regrow lets n weights come back where the loss falls most steeply; they begin at 0.
func (f *fishing) regrow(n int) {
	out := f.ranked(0, func(w *thinned) func(i int) float64 {
		return func(i int) float64 { return -math.Abs(float64(w.p.First[i])) }
	})
	for _, x := range out[:min(n, len(out))] {
		if x.value < 0 {
			x.w.mask[x.i] = 1
		}
	}
}

// prices are the bits that each weight takes more than a zero in its place, at least a half, in levels of
// which five reach the layer's largest weights.
func prices(w *thinned) []float64 {
	const levels = 5
	top := float32(0)
	for _, x := range w.p.Elems {
		top = max(top, float32(math.Abs(float64(x))))
	}
	out := make([]float64, len(w.mask))
	syms := make([]int32, len(w.mask))
	for i, x := range w.p.Elems {
		if w.mask[i] == 0 {
			continue
		}
		if syms[i] = int32(math.RoundToEven(float64(x) * levels / float64(top))); syms[i] == 0 {
			if syms[i] = 1; x < 0 {
				syms[i] = -1
			}
		}
	}
	cost := entropy.NewCost()
	w.p.Held.Code(cost, syms, 0, func(i int) {
		if q := syms[i]; q != 0 {
			out[i] = max(0.5, cost.Bits(q)-cost.Bits(0))
		}
	})
	return out
}
