package quant

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
)

// Init says where k-means starts (Deep Compression, section 3.2).
type Init string

// The initialisations.
const (
	Linear  Init = "linear"  // equally spaced between the smallest and the largest weight: keeps the large weights
	Density Init = "density" // equally spaced in the cumulative distribution
	Random  Init = "random"  // Forgy: k of the weights, drawn by the seed
)

// Inits lists the initialisations' names.
var Inits = []string{string(Linear), string(Density), string(Random)}

// KMeans clusters x in one dimension: it returns at most k ascending centroids,
// the cluster of each element, and the sum of squared distances. Where x has at
// most k distinct values these are the centroids. Elements must be finite.
//
// Lloyd's algorithm on sorted values: clusters are intervals between midpoints, so
// a round takes k binary searches on prefix sums. Sums are float64 over sorted
// values: the result does not depend on the order of x. Empty clusters are
// dropped. At most rounds rounds are made; 0 means 100.
func KMeans(x []float32, k int, init Init, seed uint64, rounds int) (centroids []float32, index []uint16, cost float64, err error) {
	if k < 1 || k > 1<<16 {
		return nil, nil, 0, fmt.Errorf("k-means: %d clusters, want 1 to 65536", k)
	}
	if len(x) == 0 {
		return []float32{0}, nil, 0, nil
	}
	if rounds == 0 {
		rounds = 100
	}
	s := slices.Clone(x)
	slices.Sort(s)
	if s[0] != s[0] || math.IsInf(float64(s[0]), 0) || math.IsInf(float64(s[len(s)-1]), 0) {
		return nil, nil, 0, fmt.Errorf("k-means: values are not finite")
	}
	c, err := start(s, k, init, seed)
	if err != nil {
		return nil, nil, 0, err
	}
	sum := make([]float64, len(s)+1)
	for i, v := range s {
		sum[i+1] = sum[i] + float64(v)
	}
	bound := make([]int, 0, len(c)+1)
	for range rounds {
		bound = bounds(s, c, bound[:0])
		changed, kept := false, c[:0]
		for j, old := range c {
			lo, hi := bound[j], bound[j+1]
			if lo == hi {
				changed = true
				continue
			}
			m := (sum[hi] - sum[lo]) / float64(hi-lo)
			// Rounding in the sums must not take the mean out of its cluster.
			m = min(max(m, float64(s[lo])), float64(s[hi-1]))
			changed = changed || m != old
			kept = append(kept, m)
		}
		c = slices.Compact(kept)
		if !changed {
			break
		}
	}
	for _, m := range c {
		if f := float32(m); len(centroids) == 0 || f != centroids[len(centroids)-1] {
			centroids = append(centroids, f)
		}
	}
	index = make([]uint16, len(x))
	for i, v := range x {
		j := nearest(centroids, v)
		index[i] = uint16(j)
		d := float64(v) - float64(centroids[j])
		cost += d * d
	}
	return centroids, index, cost, nil
}

// start is the ascending, distinct first centroids.
func start(s []float32, k int, init Init, seed uint64) ([]float64, error) {
	distinct := slices.Compact(slices.Clone(s))
	if len(distinct) <= k {
		c := make([]float64, len(distinct))
		for i, v := range distinct {
			c[i] = float64(v)
		}
		return c, nil
	}
	c := make([]float64, k)
	lo, hi := float64(s[0]), float64(s[len(s)-1])
	switch init {
	case Linear:
		for i := range c {
			c[i] = lo
			if k > 1 {
				c[i] = lo + (hi-lo)*float64(i)/float64(k-1)
			} else {
				c[i] = (lo + hi) / 2
			}
		}
	case Density:
		for i := range c {
			c[i] = float64(s[int((float64(i)+0.5)/float64(k)*float64(len(s)))])
		}
	case Random:
		r := rand.New(rand.NewPCG(seed, 0x6b6d65616e73))
		for i, j := range r.Perm(len(s))[:k] {
			c[i] = float64(s[j])
		}
		slices.Sort(c)
	default:
		return nil, fmt.Errorf("k-means: unknown initialisation %q, want linear, density or random", init)
	}
	return slices.Compact(c), nil
}

// bounds appends the ends of the clusters in the sorted s: cluster j is
// s[b[j]:b[j+1]]. A value midway goes to the larger centroid.
func bounds(s []float32, c []float64, b []int) []int {
	b = append(b, 0)
	for j := 1; j < len(c); j++ {
		mid := (c[j-1] + c[j]) / 2
		lo := b[j-1]
		b = append(b, lo+sort.Search(len(s)-lo, func(i int) bool { return float64(s[lo+i]) >= mid }))
	}
	return append(b, len(s))
}

// nearest is the index of the centroid nearest to v; midway, the larger one.
func nearest(c []float32, v float32) int {
	j := sort.Search(len(c), func(i int) bool { return c[i] > v })
	switch {
	case j == 0:
		return 0
	case j == len(c):
		return j - 1
	case float64(v)-float64(c[j-1]) < float64(c[j])-float64(v):
		return j - 1
	}
	return j
}
