package stat

import (
	"errors"
	"math"

	"whit/tensor"
)

// ErrNotFinite is returned by observers that meet a NaN or an infinity.
var ErrNotFinite = errors.New("value is not finite")

// bins is the number of bins on each side of zero.
const bins = 2048

// Histogram counts a value's elements in bins of equal width on both sides of
// zero. The width is a power of two: where an element lies outside, pairs of bins are
// merged and the width doubles, so that the counts do not depend on the order of
// the elements. The zero value is ready to use; it is not safe for concurrent use.
type Histogram struct {
	N        int64   // elements
	Min, Max float64 // 0 where N is 0
	Sum, Sq  float64 // of the elements and their squares

	exp   int // the width is 2^exp
	begun bool
	pos   [bins]int64 // elements in [i, i+1) widths, i >= 0
	neg   [bins]int64 // elements with -x in [i, i+1) widths, x < 0
}

// minExp is the narrowest width: elements below count as zero.
const minExp = -60

// Observe implements Observer.
func (h *Histogram) Observe(x *tensor.Tensor) error {
	v := tensor.Of[float32](x)
	top := float32(0)
	for _, f := range v {
		a := f
		if a < 0 {
			a = -a
		}
		if !(a <= math.MaxFloat32) {
			return ErrNotFinite
		}
		top = max(top, a)
	}
	h.fit(float64(top))
	scale := math.Ldexp(1, -h.exp)
	for _, f := range v {
		d := float64(f)
		if h.N == 0 {
			h.Min, h.Max = d, d
		}
		h.N++
		h.Min, h.Max = min(h.Min, d), max(h.Max, d)
		h.Sum += d
		h.Sq += d * d
		if d >= 0 {
			h.pos[int(d*scale)]++
		} else {
			h.neg[int(-d*scale)]++
		}
	}
	return nil
}

// fit widens the bins until a lies within.
func (h *Histogram) fit(a float64) {
	if !h.begun {
		h.exp, h.begun = minExp, true
	}
	for a >= math.Ldexp(bins, h.exp) {
		for _, b := range []*[bins]int64{&h.pos, &h.neg} {
			for i := range bins / 2 {
				b[i] = b[2*i] + b[2*i+1]
			}
			clear(b[bins/2:])
		}
		h.exp++
	}
}

// Width is the bins' width.
func (h *Histogram) Width() float64 { return math.Ldexp(1, h.exp) }

// Mean is the elements' mean, 0 where there is none.
func (h *Histogram) Mean() float64 {
	if h.N == 0 {
		return 0
	}
	return h.Sum / float64(h.N)
}

// Std is the elements' standard deviation.
func (h *Histogram) Std() float64 {
	if h.N == 0 {
		return 0
	}
	m := h.Mean()
	return math.Sqrt(max(0, h.Sq/float64(h.N)-m*m))
}

// Quantile is a value that a share q (0..1) of the elements does not exceed, to
// within a bin's width.
func (h *Histogram) Quantile(q float64) float64 {
	want := int64(math.Ceil(q * float64(h.N)))
	seen := int64(0)
	clamp := func(x float64) float64 { return min(max(x, h.Min), h.Max) }
	for i := bins - 1; i >= 0; i-- {
		if seen += h.neg[i]; h.neg[i] > 0 && seen >= want {
			return clamp(-float64(i) * h.Width())
		}
	}
	for i := range bins {
		if seen += h.pos[i]; h.pos[i] > 0 && seen >= want {
			return clamp(float64(i+1) * h.Width())
		}
	}
	return h.Max
}

// Each calls f for every bin that is not empty, ascending: elements of [lo, hi).
func (h *Histogram) Each(f func(lo, hi float64, n int64)) {
	w := h.Width()
	for i := bins - 1; i >= 0; i-- {
		if h.neg[i] > 0 {
			f(-float64(i+1)*w, -float64(i)*w, h.neg[i])
		}
	}
	for i := range bins {
		if h.pos[i] > 0 {
			f(float64(i)*w, float64(i+1)*w, h.pos[i])
		}
	}
}
