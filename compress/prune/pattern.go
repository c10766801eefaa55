package prune

import (
	"cmp"
	"math"
	"slices"

	"whit/compress/fit"
	"whit/compress/method"
	"whit/weight"
)

// unit is what goes together: elements of a layer, and the mean of their squares.
type unit struct {
	layer int
	mag   float64
	at    []int32
}

// units are the parts of a layer's weight that the pattern prunes as one, without those that
// are gone already; of n:m, what goes whatever the others are.
func units(l *method.Layer, layer int, pt fit.Pattern) ([]unit, error) {
	w := l.Weight.Data()
	var us []unit
	if pt.M == 0 && pt.Rows <= 1 {
		at := make([]int32, len(w))
		for i, v := range w {
			if at[i] = int32(i); l.Weight.Kept(i) {
				us = append(us, unit{layer, float64(v) * float64(v), at[i : i+1]})
			}
		}
		return us, nil
	}
	r, err := fit.RowsOf(l)
	if err != nil {
		return nil, err
	}
	if pt.M > 0 {
		for o := range r.N {
			for k := 0; k < r.K; k += pt.M {
				size := min(pt.M, r.K-k)
				var in []unit
				for j := range size {
					if i := r.At(o, k+j); l.Weight.Kept(i) {
						in = append(in, unit{layer, float64(w[i]) * float64(w[i]), []int32{int32(i)}})
					}
				}
				slices.SortStableFunc(in, func(a, b unit) int { return cmp.Compare(a.mag, b.mag) })
				if n := len(in) - (size*pt.N+pt.M-1)/pt.M; n > 0 {
					us = append(us, in[:n]...)
				}
			}
		}
		return us, nil
	}
	each := r.N / r.Groups
	for g := range r.Groups {
		for o := 0; o < each; o += pt.Rows {
			for k := range r.K {
				u, any := unit{layer: layer}, false
				for j := o; j < min(each, o+pt.Rows); j++ {
					i := r.At(g*each+j, k)
					u.at = append(u.at, int32(i))
					u.mag += float64(w[i]) * float64(w[i])
					any = any || l.Weight.Kept(i)
				}
				if u.mag /= float64(len(u.at)); any {
					us = append(us, u)
				}
			}
		}
	}
	return us, nil
}

// Pattern prunes layers by magnitude, to a sparsity each, or to one of all layers together where
// global is set (of each then has one value). Of n:m the pattern says how many go.
func Pattern(layers []*method.Layer, pt fit.Pattern, of []float64, global bool) error {
	masks := make([][]uint64, len(layers))
	var all []unit
	total := 0
	for i, l := range layers {
		us, err := units(l, i, pt)
		if err != nil {
			return err
		}
		if masks[i] = slices.Clone(l.Weight.Mask); masks[i] == nil {
			masks[i] = full(l.Weight.Len())
		}
		total += l.Weight.Len()
		if global {
			all = append(all, us...)
			continue
		}
		drop(us, masks[i:i+1], pt, i, int(math.RoundToEven(of[i]*float64(l.Weight.Len())))-l.Weight.Len()+l.Weight.Stored())
	}
	if global {
		gone := total
		for _, l := range layers {
			gone -= l.Weight.Stored()
		}
		drop(all, masks, pt, 0, int(math.RoundToEven(of[0]*float64(total)))-gone)
	}
	for i, l := range layers {
		l.Weight.Prune(masks[i])
	}
	return nil
}

// drop clears the smallest units, so that n elements or more go; of n:m all. masks are
// those of the layers from first on.
func drop(us []unit, masks [][]uint64, pt fit.Pattern, first, n int) {
	slices.SortStableFunc(us, func(a, b unit) int { return cmp.Compare(a.mag, b.mag) })
	for _, u := range us {
		if n <= 0 && pt.M == 0 {
			return
		}
		m := masks[u.layer-first]
		for _, i := range u.at {
			if bit := uint64(1) << (i % 64); m[i/64]&bit != 0 {
				m[i/64] &^= bit
				n--
			}
		}
	}
}

// full is the mask of all of n elements.
func full(n int) []uint64 {
	m := make([]uint64, weight.MaskWords(n))
	for i := range n {
		m[i/64] |= 1 << (i % 64)
	}
	return m
}
