package quant

import (
	"fmt"
	"math"
	"slices"

	"whit/tensor"
	"whit/weight"
)

// Grid is a set of uniform levels: q stands for (q - Zero)·Scale, Lo <= q <= Hi.
type Grid struct {
	Scale  float32
	Zero   int32
	Lo, Hi int32
}

// Level is the level next to x, ties to even.
func (g Grid) Level(x float32) int32 {
	q := math.RoundToEven(float64(x)/float64(g.Scale)) + float64(g.Zero)
	return int32(min(max(q, float64(g.Lo)), float64(g.Hi)))
}

// Value is what level q stands for.
func (g Grid) Value(q int32) float32 { return float32(q-g.Zero) * g.Scale }

// Error is the sum of squares by which levels miss x.
func (g Grid) Error(x []float32) (e float64) {
	for _, v := range x {
		d := float64(v) - float64(g.Value(g.Level(v)))
		e += d * d
	}
	return e
}

// Rule says where a grid's ends lie.
type Rule string

// The rules: at the extremes; where the mean square error is least; where a share of
// the elements is outside.
const (
	Max        Rule = "max"
	MSE        Rule = "mse"
	Percentile Rule = "percentile"
)

// Rules are what the parameter scale may be.
var Rules = []string{string(Max), string(MSE), string(Percentile)}

// Kinds of levels.
const (
	uniform = "uniform"
	ternary = "ternary"
	binary  = "binary"
)

// Spec says how weights become levels.
type Spec struct {
	Bits      int  // 2..8
	Symmetric bool // levels ±(2^(bits-1) - 1) and zero point 0; else 0..2^bits-1
	Rule      Rule
	// Percentile is the share (0..100) of the elements that must lie within, for that rule.
	Percentile float64
}

// minScale keeps scales normal numbers, so that quotients are finite.
const minScale = 0x1p-100

// Grid is the grid of the elements x, which are finite.
func (s Spec) Grid(x []float32) Grid {
	lo, hi := 0.0, 0.0
	for _, v := range x {
		lo, hi = min(lo, float64(v)), max(hi, float64(v))
	}
	if s.Rule == Percentile {
		lo, hi = s.within(x)
	}
	g := s.grid(lo, hi)
	if s.Rule != MSE || lo == hi {
		return g
	}
	// The error has many small valleys: look along the whole way, then settle. Fewer levels
	// clip more.
	best, least := g, g.Error(x)
	take := func(c Grid) bool {
		e := c.Error(x)
		if e < least {
			best, least = c, e
			return true
		}
		return false
	}
	steps, end := 24, 0.4
	if s.Bits <= 4 {
		steps, end = 40, 0.2
	}
	for i := 1; i <= steps; i++ {
		f := 1 - (1-end)*float64(i)/float64(steps)
		take(s.grid(lo*f, hi*f))
	}
	for range 8 { // the best scale of the levels as they are, and again
		var xq, qq float64
		for _, v := range x {
			q := float64(best.Level(v) - best.Zero)
			xq += q * float64(v)
			qq += q * q
		}
		c := best
		if c.Scale = float32(xq / qq); !(c.Scale >= minScale) || !take(c) {
			break
		}
	}
	return best
}

// grid covers lo..hi, which includes 0.
func (s Spec) grid(lo, hi float64) Grid {
	n := int32(1)<<s.Bits - 1
	if s.Symmetric {
		top := n / 2
		return Grid{Scale: scale(max(-lo, hi) / float64(top)), Lo: -top, Hi: top}
	}
	g := Grid{Scale: scale((hi - lo) / float64(n)), Hi: n}
	g.Zero = int32(min(max(math.RoundToEven(-lo/float64(g.Scale)), 0), float64(n)))
	return g
}

func scale(s float64) float32 {
	if f := float32(s); f >= minScale {
		return min(f, math.MaxFloat32/512)
	}
	return 1 // nothing but zeros
}

// within are the ends that leave as much outside as Percentile says.
func (s Spec) within(x []float32) (lo, hi float64) {
	v := slices.Clone(x)
	if s.Symmetric {
		for i, f := range v {
			v[i] = float32(math.Abs(float64(f)))
		}
	}
	slices.Sort(v)
	at := func(share float64) float64 {
		return float64(v[min(max(int(math.Ceil(share*float64(len(v))))-1, 0), len(v)-1)])
	}
	if s.Symmetric {
		hi = at(s.Percentile / 100)
		return -hi, hi
	}
	out := (1 - s.Percentile/100) / 2
	return min(0, at(out)), max(0, at(1-out))
}

// Ternary are the levels -1, 0, 1 and their scale that miss x least (F. Li, B. Zhang, B. Liu:
// Ternary weight networks, 2016, section 2.2). The k largest magnitudes count, k where
// (their sum)²/k is most; the paper estimates that by a threshold of 0.7 E|x|.
func Ternary(x []float32) (levels []int32, scale float32) {
	a := make([]float64, len(x))
	for i, v := range x {
		a[i] = -math.Abs(float64(v))
	}
	slices.Sort(a)
	sum, best, limit := 0.0, -1.0, math.Inf(1)
	scale = 1
	for k, v := range a {
		sum -= v
		if gain := sum * sum / float64(k+1); v < 0 && gain > best && (k+1 == len(a) || a[k+1] > v) {
			best, limit, scale = gain, -v, float32(sum/float64(k+1))
		}
	}
	levels = make([]int32, len(x))
	for i, v := range x {
		switch m := math.Abs(float64(v)); {
		case m < limit:
		case v < 0:
			levels[i] = -1
		default:
			levels[i] = 1
		}
	}
	return levels, max(scale, minScale)
}

// Binary are the levels -1 and 1 and their scale that miss x least: the signs and the
// mean magnitude (M. Rastegari, V. Ordonez, J. Redmon, A. Farhadi: XNOR-Net, 2016, section 3.1).
func Binary(x []float32) (levels []int32, scale float32) {
	levels = make([]int32, len(x))
	sum := 0.0
	for i, v := range x {
		sum += math.Abs(float64(v))
		levels[i] = 1
		if v < 0 {
			levels[i] = -1
		}
	}
	if s := float32(sum / float64(max(1, len(x)))); s >= minScale {
		return levels, s
	}
	return levels, minScale
}

// sets are the elements of a tensor that share a scale: all, the indices of an axis, or
// groups of them (see weight.Int8).
type sets struct {
	shape tensor.Shape
	axis  int // weight.PerTensor: one set
	group int // indices of the axis in a set, of one index of the other axes; 0: no groups
}

// count is how many sets there are.
func (s sets) count() int {
	switch {
	case s.axis == weight.PerTensor:
		return 1
	case s.group == 0:
		return s.shape[s.axis]
	}
	c := s.shape[s.axis]
	return s.shape.NumElements() / c * ((c + s.group - 1) / s.group)
}

// each calls f for the elements of set k, ascending.
func (s sets) each(k int, f func(i int)) {
	if s.axis == weight.PerTensor {
		for i := range s.shape.NumElements() {
			f(i)
		}
		return
	}
	c, inner := s.shape[s.axis], s.shape[s.axis+1:].NumElements()
	if s.group == 0 {
		for o := range s.shape[:s.axis].NumElements() {
			for i := (o*c + k) * inner; i < (o*c+k+1)*inner; i++ {
				f(i)
			}
		}
		return
	}
	groups := (c + s.group - 1) / s.group
	o, g, t := k/inner/groups, k/inner%groups, k%inner
	for j := g * s.group; j < min(c, (g+1)*s.group); j++ {
		f((o*c+j)*inner + t)
	}
}

// gather appends the elements of set k to dst.
func (s sets) gather(dst, x []float32, k int) []float32 {
	s.each(k, func(i int) { dst = append(dst, x[i]) })
	return dst
}

// finite is an error about the first element that is not.
func finite(x []float32) error {
	for i, v := range x {
		if v-v != 0 {
			return fmt.Errorf("element %d is %v", i, v)
		}
	}
	return nil
}
