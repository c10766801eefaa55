package prune

import (
	"cmp"
	"math"
	"slices"

	"whit/weight"
)

// Smallest is the mask, as in weight.Sparse, that keeps the weights of largest
// magnitude and drops round(fraction * len(w)) of the smallest; of equal ones the
// earlier is dropped first. Where keep is given, weights outside it are dropped
// already: they are counted, so that a mask only shrinks.
func Smallest(w []float32, fraction float64, keep []uint64) []uint64 {
	drop := int(math.RoundToEven(fraction * float64(len(w))))
	type item struct {
		mag float32
		i   int32
	}
	var left []item
	for i, v := range w {
		if keep == nil || keep[i/64]>>(i%64)&1 == 1 {
			left = append(left, item{float32(math.Abs(float64(v))), int32(i)})
		}
	}
	drop -= len(w) - len(left)
	drop = min(max(drop, 0), len(left))
	slices.SortFunc(left, func(a, b item) int {
		if c := cmp.Compare(a.mag, b.mag); c != 0 {
			return c
		}
		return cmp.Compare(a.i, b.i)
	})
	m := make([]uint64, weight.MaskWords(len(w)))
	for _, x := range left[drop:] {
		m[x.i/64] |= 1 << (x.i % 64)
	}
	return m
}

// Nodes is the mask that drops the round(fraction * units) output units with the
// smallest L2 norm of their weights. The units lie along axis axis of a weight of
// that shape.
func Nodes(w []float32, shape []int, axis int, fraction float64) []uint64 {
	outer, units, inner := 1, shape[axis], 1
	for _, d := range shape[:axis] {
		outer *= d
	}
	for _, d := range shape[axis+1:] {
		inner *= d
	}
	norm := make([]float64, units)
	order := make([]int, units)
	for u := range units {
		order[u] = u
		for o := range outer {
			for _, v := range w[(o*units+u)*inner:][:inner] {
				norm[u] += float64(v) * float64(v)
			}
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(norm[a], norm[b]) })
	dropped := make([]bool, units)
	for _, u := range order[:min(int(math.RoundToEven(fraction*float64(units))), units)] {
		dropped[u] = true
	}
	m := make([]uint64, weight.MaskWords(len(w)))
	for i := range w {
		if !dropped[i/inner%units] {
			m[i/64] |= 1 << (i % 64)
		}
	}
	return m
}

// Schedule is the sparsity after round r (1..rounds) on the way from one sparsity
// to another: cubic, much at first while there is much that matters little (Zhu,
// Gupta: To prune, or not to prune, 2017, section 3).
func Schedule(from, to float64, r, rounds int) float64 {
	if r >= rounds {
		return to
	}
	x := 1 - float64(r)/float64(rounds)
	return to + float64((from-to)*x)*float64(x*x)
}
