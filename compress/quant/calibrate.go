package quant

import (
	"math"

	"whit/stat"
)

// Calibration says how far a quantised value reaches.
type Calibration string

// The calibrations: the extremes seen; a share of the elements; the threshold of least
// divergence between the distributions before and after (S. Migacz: 8-bit inference with
// TensorRT, 2017); the least mean square error.
const (
	MinMax    Calibration = "minmax"
	Share     Calibration = "percentile"
	Entropy   Calibration = "entropy"
	LeastMiss Calibration = "mse"
)

// Calibrations are what the parameter range may be.
var Calibrations = []string{string(MinMax), string(Share), string(Entropy), string(LeastMiss)}

// Range is the range lo <= 0 <= hi of the elements that h counted which levels should
// cover. percentile (0..100) is for Share. All work on the histogram's bins: the divergence is that of magnitudes.
func (c Calibration) Range(h *stat.Histogram, percentile float64, levels int) (lo, hi float64) {
	lo, hi = min(0, h.Min), max(0, h.Max)
	if h.N == 0 || lo == hi {
		return lo, hi
	}
	switch c {
	case Share:
		out := 1 - percentile/100
		if lo < 0 && hi > 0 {
			out /= 2
		}
		if hi > 0 {
			hi = max(0, h.Quantile(1-out))
		}
		if lo < 0 {
			lo = min(0, h.Quantile(out))
		}
	case Entropy:
		n := levels
		if lo < 0 && hi > 0 {
			n /= 2
		}
		t := threshold(magnitudes(h), h.Width(), n)
		lo, hi = max(lo, -t), min(hi, t)
	case LeastMiss:
		for range 2 { // one end, then the other, and again
			top, bottom := hi, lo
			hi = least(top, func(x float64) float64 { return miss(h, bottom, x, levels) })
			end := hi
			lo = least(bottom, func(x float64) float64 { return miss(h, x, end, levels) })
		}
	}
	return lo, hi
}

// least is the share of x, from all of it down, of least cost.
func least(x float64, cost func(float64) float64) float64 {
	if x == 0 {
		return 0
	}
	best, at := cost(x), x
	for i := 1; i < 40; i++ {
		y := x * (1 - float64(i)/50)
		if c := cost(y); c < best {
			best, at = c, y
		}
	}
	return at
}

// miss is the sum of squares by which levels between lo and hi miss the bins' middles.
func miss(h *stat.Histogram, lo, hi float64, levels int) (sum float64) {
	step := (hi - lo) / float64(levels-1)
	if step <= 0 {
		return math.Inf(1)
	}
	h.Each(func(a, b float64, n int64) {
		x := (a + b) / 2
		q := min(max(x, lo), hi)
		// Zero is a level.
		d := x - math.RoundToEven(q/step)*step
		sum += d * d * float64(n)
	})
	return sum
}

// magnitudes are the counts of |x| in bins of equal width, from 0 on.
func magnitudes(h *stat.Histogram) []float64 {
	var m []float64
	w := h.Width()
	h.Each(func(a, b float64, n int64) {
		if b <= 0 {
			a = -b
		}
		i := int(math.Round(a / w))
		for len(m) <= i {
			m = append(m, 0)
		}
		m[i] += float64(n)
	})
	return m
}

// threshold is the magnitude at which cutting off, and n levels up to there, diverge least
// from the distribution in bins m. Every level spreads over the bins that it stands for and
// that are not empty. Bins are tried in steps of a 64th of them, not one by one.
func threshold(m []float64, width float64, n int) float64 {
	if len(m) <= n {
		return float64(len(m)) * width
	}
	best, at := math.Inf(1), len(m)
	step := max(1, len(m)/64)
	for i := len(m); i >= n; i -= step {
		p := append([]float64{}, m[:i]...)
		for _, v := range m[i:] {
			p[i-1] += v
		}
		q := make([]float64, i)
		for k := range n {
			a, b := k*i/n, (k+1)*i/n
			sum, used := 0.0, 0.0
			for j := a; j < b; j++ {
				sum += m[j]
				if m[j] > 0 {
					used++
				}
			}
			for j := a; j < b; j++ {
				if m[j] > 0 {
					q[j] = sum / used
				}
			}
		}
		if d := divergence(p, q); d < best {
			best, at = d, i
		}
	}
	return float64(at) * width
}

// divergence is Kullback's and Leibler's of p and q, which need not sum to 1. Where q is
// 0 and p is not, q counts as a ten-thousandth of all.
func divergence(p, q []float64) (d float64) {
	var sp, sq float64
	for i := range p {
		sp += p[i]
		sq += q[i]
	}
	if sp == 0 || sq == 0 {
		return math.Inf(1)
	}
	for i := range p {
		if p[i] > 0 {
			d += p[i] / sp * math.Log(p[i]/sp/max(q[i]/sq, 1e-4/float64(len(p))))
		}
	}
	return d
}
