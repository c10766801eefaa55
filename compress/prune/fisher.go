package prune

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"whit/compress/method"
	"whit/entropy"
	"whit/tensor"
	"whit/weight"
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
	Params: append(append([]method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "keep", Kind: method.Int, Default: 0, Min: 0, Max: 1 << 40, Doc: "weights that are left in all; 0: as sparsity says"},
		{Name: "sparsity", Kind: method.Float, Default: 0.95, Min: 0, Max: 0.99999, Doc: "share of all weights to drop"},
		{Name: "from", Kind: method.Float, Default: 0.0, Min: 0, Max: 1, Doc: "share of the training after which pruning begins"},
		{Name: "until", Kind: method.Float, Default: 0.6, Min: 0, Max: 1, Doc: "share of the training after which it ends"},
		{Name: "every", Kind: method.Float, Default: 0.5, Min: 0.001, Max: 1000, Doc: "epochs between two prunings"},
		{Name: "price", Kind: method.String, Default: "none", Choices: []string{"none", "bits"}, Doc: "bits: what a weight is worth counts by the bit that it costs in the file"},
		{Name: "grow", Kind: method.Float, Default: 0.0, Min: 0, Max: 0.9, Doc: "share of the weights left that come back at a pruning, at first"},
	}, method.FitParams(20, 1e-3)...), method.DistillParams...),
	Apply: fisher,
}

func fisher(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	o := method.FitOptions(a)
	method.Distilled(a, &o)
	if o.Epochs == 0 {
		return fmt.Errorf("fisher: it prunes while it trains, and epochs is 0")
	}
	f := &fishing{s: s, layers: layers, keep: a.Int("keep"), from: a.Float("from"), until: a.Float("until"), every: a.Float("every"),
		price: a.String("price") == "bits", grow: a.Float("grow")}
	total := 0
	for _, l := range layers {
		f.first += l.Weight.Stored()
		total += l.Weight.Len()
	}
	if f.keep == 0 {
		f.keep = total - int(math.RoundToEven(a.Float("sparsity")*float64(total)))
	}
	f.keep = min(f.keep, f.first)
	if f.until < f.from {
		return fmt.Errorf("fisher: pruning from %v until %v of the training", f.from, f.until)
	}
	if f.y, err = NewSurgery(s.Graph, s.Train.Shape()); err != nil {
		return fmt.Errorf("fisher: %w", err)
	}
	key := fmt.Sprintf("fisher %q %d %v %v %v %v %v", a.String("layers"), f.keep, f.from, f.until, f.every, f.price, f.grow)
	live, err := s.Live(ctx, "prune", o, method.Rewrite{Key: key, Begin: f.begin, After: f.after})
	if err != nil {
		return fmt.Errorf("fisher: %w", err)
	}
	for _, p := range live.Parts {
		x := p.Elems
		if p.Average != nil {
			x = p.Average
		}
		p.Held.Set(slices.Clone(x))
	}
	for _, w := range f.weights {
		w.p.Held.Prune(w.bits())
	}
	if ks := f.dead(); len(ks) > 0 {
		if err := cut(s, f.y, ks); err != nil {
			return fmt.Errorf("fisher: %w", err)
		}
	}
	pruned, _, _ := s.Bytes()
	_, err = s.Stage(ctx, "pruned", pruned)
	return err
}

// fishing is a run of the method.
type fishing struct {
	s                  *method.State
	y                  *Surgery
	layers             []*method.Layer
	first, keep        int // weights at the start and at the end
	from, until, every float64
	price              bool
	grow               float64
	weights            []*fished
}

// fished is a layer's weight while it is pruned.
type fished struct {
	p    *method.Part
	mask []uint8 // 1: it stays
}

func (w *fished) bits() []uint64 {
	m := make([]uint64, weight.MaskWords(len(w.mask)))
	for i, k := range w.mask {
		m[i/64] |= uint64(k) << (i % 64)
	}
	return m
}

func (f *fishing) begin(l *method.Live) error {
	for _, p := range l.Parts {
		if p.Bias || !slices.Contains(f.layers, p.Layer) {
			if p.Bias || p.Held.Mask == nil {
				continue
			}
		}
		t := tensor.New(tensor.Uint8, len(p.Elems))
		w := &fished{p, tensor.Of[uint8](t)}
		for i := range w.mask {
			if w.mask[i] = 1; p.Held.Mask != nil {
				w.mask[i] = uint8(p.Held.Mask[i/64] >> (i % 64) & 1)
			}
		}
		l.Keep("mask:"+p.Held.Value.Name, t)
		f.weights = append(f.weights, w)
	}
	return nil
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
	for _, w := range f.weights {
		for _, x := range [][]float32{w.p.Elems, w.p.Average} {
			for i := range x {
				if w.mask[i] == 0 {
					x[i] = 0
				}
			}
		}
	}
	return nil
}

// pruned reports whether the schedule is about the weight, or its mask only holds.
func (f *fishing) pruned(w *fished) bool { return slices.Contains(f.layers, w.p.Layer) }

func (f *fishing) stored() (n int) {
	for _, w := range f.weights {
		if f.pruned(w) {
			for _, k := range w.mask {
				n += int(k)
			}
		}
	}
	return n
}

// prune brings the weights down to what the schedule says at t, 0..1.
func (f *fishing) prune(t float64) {
	left := 1 - t
	keep := f.keep + int(float64(f.first-f.keep)*float64(left*left)*left)
	if f.grow > 0 && t < 1 {
		f.regrow(int(f.grow * left * float64(min(keep, f.stored()))))
	}
	in := f.ranked(1, func(w *fished) func(i int) float64 {
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

// ranked is a weight among others.
type ranked struct {
	value float64
	w     *fished
	i     int32
}

// ranked are the weights whose mask is so, the least value first, then in their order; value is made for each constant.
func (f *fishing) ranked(mask uint8, value func(w *fished) func(i int) float64) (out []ranked) {
	for _, w := range f.weights {
		if !f.pruned(w) {
			continue
		}
		of := value(w)
		for i, m := range w.mask {
			if m == mask {
				out = append(out, ranked{of(i), w, int32(i)})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b ranked) int { return cmp.Compare(a.value, b.value) })
	return out
}

// regrow lets n weights come back where the loss falls most steeply; they begin at 0.
func (f *fishing) regrow(n int) {
	out := f.ranked(0, func(w *fished) func(i int) float64 {
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
func prices(w *fished) []float64 {
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

// bury drops what is left of units that nothing feeds or nothing reads.
func (f *fishing) bury() {
	for again := true; again; {
		again = false
		for _, k := range f.dead() {
			for _, sp := range f.y.Atoms[k] {
				for _, w := range f.weights {
					if w.p.Held.Value != sp.Value {
						continue
					}
					w.along(sp, func(i int) {
						if w.mask[i] == 1 {
							w.mask[i], again = 0, true
						}
					})
				}
			}
		}
	}
}

// dead are the atoms that no weight feeds, or that none reads. A unit that only its bias feeds is
// a constant, and what reads it has a bias of its own.
func (f *fishing) dead() (ks []int) {
	for k, a := range f.y.Atoms {
		feeds, reads, known := 0, 0, true
		anyFeeds, anyReads := false, false
		for _, sp := range a {
			for _, w := range f.weights {
				if w.p.Held.Value != sp.Value {
					continue
				}
				n := 0
				w.along(sp, func(i int) { n += int(w.mask[i]) })
				if sp.Axis == w.p.Layer.OutAxis {
					feeds, anyFeeds = feeds+n, true
				} else {
					reads, anyReads = reads+n, true
				}
			}
			if sp.Value.IsConst() && len(sp.Value.Type.Shape) > 1 && !slices.ContainsFunc(f.weights, func(w *fished) bool { return w.p.Held.Value == sp.Value }) {
				known = false // a weight that is not looked at
			}
		}
		if known && anyFeeds && anyReads && (feeds == 0 || reads == 0) {
			ks = append(ks, k)
		}
	}
	return f.spare(ks)
}

// spare leaves one channel where all of a place would go.
func (f *fishing) spare(ks []int) []int {
	gone := map[Place]int{}
	for _, k := range ks {
		for _, sp := range f.y.Atoms[k] {
			gone[sp.Place] += len(sp.Index)
		}
	}
	return slices.DeleteFunc(ks, func(k int) bool {
		for _, sp := range f.y.Atoms[k] {
			if gone[sp.Place] >= f.y.size(sp.Place) {
				for _, sp := range f.y.Atoms[k] {
					gone[sp.Place] -= len(sp.Index)
				}
				return true
			}
		}
		return false
	})
}

// along calls do with the elements of a span.
func (w *fished) along(sp Span, do func(i int)) {
	shape := w.p.Held.Value.Type.Shape
	inner := 1
	for _, d := range shape[sp.Axis+1:] {
		inner *= d
	}
	n := shape[sp.Axis]
	for at := 0; at < len(w.mask); at += n * inner {
		for _, c := range sp.Index {
			for i := range inner {
				do(at + c*inner + i)
			}
		}
	}
}
