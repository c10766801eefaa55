package prune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"whit/compress/method"
	"whit/tensor"
	"whit/train"
	"whit/weight"
)

// thinning is what methods share that prune while they train: when and how far, masks of weights that change between
// steps, and what becomes of units that have nothing left to do.
type thinning struct {
	s                  *method.State
	y                  *Surgery
	layers             []*method.Layer
	first, keep        int // weights at the start and at the end
	from, until, every float64
	weights            []*thinned
}

// thinningParams are the parameters that newThinning reads, with their defaults.
func thinningParams(sparsity, from, until, every float64) []method.Param {
	return []method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "keep", Kind: method.Int, Default: 0, Min: 0, Max: 1 << 40, Doc: "weights that are left in all; 0: as sparsity says"},
		{Name: "sparsity", Kind: method.Float, Default: sparsity, Min: 0, Max: 0.99999, Doc: "share of all weights to drop"},
		{Name: "from", Kind: method.Float, Default: from, Min: 0, Max: 1, Doc: "share of the training after which pruning begins"},
		{Name: "until", Kind: method.Float, Default: until, Min: 0, Max: 1, Doc: "share of the training after which it ends"},
		{Name: "every", Kind: method.Float, Default: every, Min: 0.001, Max: 1000, Doc: "epochs between two prunings"},
	}
}

// newThinning begins a run of a step, with the training that the step asks for.
func newThinning(s *method.State, a method.Args) (f thinning, o train.Options, err error) {
	f = thinning{s: s, keep: a.Int("keep"), from: a.Float("from"), until: a.Float("until"), every: a.Float("every")}
	if f.layers, err = s.Match(a.String("layers")); err != nil {
		return f, o, err
	}
	if o = method.FitOptions(a); o.Epochs == 0 {
		return f, o, errors.New("it prunes while it trains, and epochs is 0")
	}
	if f.until < f.from {
		return f, o, fmt.Errorf("pruning from %v until %v of the training", f.from, f.until)
	}
	total := 0
	for _, l := range f.layers {
		f.first += l.Weight.Stored()
		total += l.Weight.Len()
	}
	if f.keep == 0 {
		f.keep = total - int(math.RoundToEven(a.Float("sparsity")*float64(total)))
	}
	f.keep = min(f.keep, f.first)
	f.y, err = NewSurgery(s.Graph, s.Train.Shape())
	return f, o, err
}

// key is all that decides which weights go.
func (f *thinning) key(a method.Args) string {
	return fmt.Sprintf("%q %d %v %v %v", a.String("layers"), f.keep, f.from, f.until, f.every)
}

// left is how many weights are left at t, 0..1, of the time in which they go: a cubic schedule (M. Zhu, S. Gupta: To prune, or
// not to prune, 2017, section 3).
func (f *thinning) left(t float64) int {
	left := 1 - t
	return f.keep + int(float64(f.first-f.keep)*float64(left*left)*left)
}

// thinned is a layer's weight while it is pruned.
type thinned struct {
	p    *method.Part
	mask []uint8 // 1: it stays
}

func (w *thinned) bits() []uint64 {
	m := make([]uint64, weight.MaskWords(len(w.mask)))
	for i, k := range w.mask {
		m[i/64] |= uint64(k) << (i % 64)
	}
	return m
}

func (f *thinning) begin(l *method.Live) error {
	for _, p := range l.Parts {
		if p.Bias || !slices.Contains(f.layers, p.Layer) {
			if p.Bias || p.Held.Mask == nil {
				continue
			}
		}
		t := tensor.New(tensor.Uint8, len(p.Elems))
		w := &thinned{p, tensor.Of[uint8](t)}
		for i := range w.mask {
			if p.Held.Kept(i) {
				w.mask[i] = 1
			}
		}
		l.Keep("mask:"+p.Held.Value.Name, t)
		f.weights = append(f.weights, w)
	}
	return nil
}

// hold zeroes what the masks drop.
func (f *thinning) hold() {
	for _, w := range f.weights {
		for _, x := range [][]float32{w.p.Elems, w.p.Average} {
			for i := range x {
				if w.mask[i] == 0 {
					x[i] = 0
				}
			}
		}
	}
}

// finish writes what is left into the state.
func (f *thinning) finish(ctx context.Context, live *method.Live) error {
	live.Take()
	for _, w := range f.weights {
		w.p.Held.Prune(w.bits())
	}
	if ks := f.dead(); len(ks) > 0 {
		if err := cut(f.s, f.y, ks); err != nil {
			return err
		}
	}
	pruned, _, _ := f.s.Bytes()
	_, err := f.s.Stage(ctx, "pruned", pruned)
	return err
}

// pruned reports whether the schedule is about the weight, or its mask only holds.
func (f *thinning) pruned(w *thinned) bool { return slices.Contains(f.layers, w.p.Layer) }

func (f *thinning) stored() (n int) {
	for _, w := range f.weights {
		if f.pruned(w) {
			for _, k := range w.mask {
				n += int(k)
			}
		}
	}
	return n
}

// ranked is a weight among others.
type ranked struct {
	value float64
	w     *thinned
	i     int32
}

// ranked are the weights whose mask is so, the least value first, then in their order; value is made for each constant.
func (f *thinning) ranked(mask uint8, value func(w *thinned) func(i int) float64) (out []ranked) {
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

// bury drops what is left of units that nothing feeds or nothing reads.
func (f *thinning) bury() {
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
func (f *thinning) dead() (ks []int) {
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
			if sp.Value.IsConst() && len(sp.Value.Type.Shape) > 1 && !slices.ContainsFunc(f.weights, func(w *thinned) bool { return w.p.Held.Value == sp.Value }) {
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
func (f *thinning) spare(ks []int) []int {
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
func (w *thinned) along(sp Span, do func(i int)) {
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
