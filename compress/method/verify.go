package method

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
)

// Pair is two samples to be verified: of one identity, or of two.
type Pair struct {
	A, B int
	Same bool
}

// Accepted is the share of pairs of one identity that are accepted where FAR of those of two are.
type Accepted struct {
	FAR, Rate float64
	// Low and High are the 95% interval, by the jackknife over identities.
	Low, High float64
	Threshold float64 // cosine from which pairs are accepted
}

// Verified is how well embeddings tell identities apart.
type Verified struct {
	Same, Different int        // pairs
	Identities      int        // that have a pair of their own
	Rates           []Accepted // at the rates of FARs
	// EqualError is the rate at which as many pairs of one identity are refused as of two accepted, with its interval.
	EqualError, EqualLow, EqualHigh float64
	// Pseudo are the jackknife's pseudo-values of the rate that At gives, by identity.
	Pseudo []float64
}

// FARs are the rates of false acceptance at which verification is measured.
var FARs = []float64{1e-3, 1e-2}

// enough is how many false acceptances a rate is worth believing from.
const enough = 10

// At is the rate that the metric promises: that of the smallest FAR that the pairs of two identities resolve.
func (v *Verified) At() Accepted {
	for _, r := range v.Rates {
		if r.FAR*float64(v.Different) >= enough {
			return r
		}
	}
	return v.Rates[len(v.Rates)-1]
}

// ErrNoPairs means that there are no pairs of one identity, or of two.
var ErrNoPairs = errors.New("verification takes pairs of one identity and of two: folders of several pictures each")

// mostSame and mostDifferent bound the pairs; where there are more, they are drawn.
const (
	mostSame      = 50_000
	mostDifferent = 200_000
)

// Pairs makes pairs of samples by their classes, -1: none. Where there are too many, some are drawn, always the same.
func Pairs(y []int32) []Pair {
	of := map[int32][]int{}
	var ids []int32
	var all []int
	for i, c := range y {
		if c < 0 {
			continue
		}
		if of[c] == nil {
			ids = append(ids, c)
		}
		of[c] = append(of[c], i)
		all = append(all, i)
	}
	slices.Sort(ids)
	rng := rand.New(rand.NewPCG(0x70616972, 1))
	var ps []Pair
	total := 0
	for _, c := range ids {
		total += len(of[c]) * (len(of[c]) - 1) / 2
	}
	for _, c := range ids {
		k := of[c]
		n := len(k) * (len(k) - 1) / 2
		if total <= mostSame {
			for i := range k {
				for j := range i {
					ps = append(ps, Pair{k[j], k[i], true})
				}
			}
			continue
		}
		for range (n*mostSame + total - 1) / total {
			i := rng.IntN(len(k))
			j := rng.IntN(len(k) - 1)
			if j >= i {
				j++
			}
			ps = append(ps, Pair{min(k[i], k[j]), max(k[i], k[j]), true})
		}
	}
	different := len(all)*(len(all)-1)/2 - total
	if different <= mostDifferent {
		for i := range all {
			for j := range i {
				if y[all[i]] != y[all[j]] {
					ps = append(ps, Pair{all[j], all[i], false})
				}
			}
		}
		return ps
	}
	for n := 0; n < mostDifferent; {
		i, j := all[rng.IntN(len(all))], all[rng.IntN(len(all))]
		if y[i] != y[j] {
			ps = append(ps, Pair{min(i, j), max(i, j), false})
			n++
		}
	}
	return ps
}

// Verify compares embeddings [N,K] by their cosines. y are the identities, of which pairs nil makes pairs. Intervals are by the
// delete-one jackknife over identities (B. Efron, C. Stein: The jackknife estimate of variance, 1981), thresholds
// found anew each time, since pairs that share an identity are not independent; where identities are not
// known, each sample counts as one.
func Verify(emb []float32, y []int32, pairs []Pair) (*Verified, error) {
	n := len(y)
	if n == 0 || len(emb)%n != 0 {
		return nil, fmt.Errorf("%d elements of %d samples", len(emb), n)
	}
	k := len(emb) / n
	if pairs == nil {
		pairs = Pairs(y)
	}
	norm := make([]float64, n)
	for i := range n {
		for _, v := range emb[i*k : (i+1)*k] {
			norm[i] += float64(v) * float64(v)
		}
		norm[i] = math.Sqrt(norm[i])
	}
	id := func(i int) int {
		if y[i] < 0 {
			return -1 - i
		}
		return int(y[i])
	}
	type scored struct {
		s    float64
		a, b int // identities
	}
	var same, diff []scored
	for _, p := range pairs {
		if p.A < 0 || p.B < 0 || p.A >= n || p.B >= n {
			return nil, fmt.Errorf("pair of samples %d and %d, there are %d", p.A, p.B, n)
		}
		s := 0.0
		a, b := emb[p.A*k:(p.A+1)*k], emb[p.B*k:(p.B+1)*k]
		for i, v := range a {
			s += float64(float64(v) * float64(b[i]))
		}
		if s /= norm[p.A] * norm[p.B]; math.IsNaN(s) {
			s = -1
		}
		x := scored{s, id(p.A), id(p.B)}
		if p.Same {
			same = append(same, x)
		} else {
			diff = append(diff, x)
		}
	}
	if len(same) == 0 || len(diff) == 0 {
		return nil, ErrNoPairs
	}
	falling := func(a, b scored) int {
		switch {
		case a.s > b.s:
			return -1
		case a.s < b.s:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(same, falling)
	slices.SortStableFunc(diff, falling)
	v := &Verified{Same: len(same), Different: len(diff)}
	mine, theirs := map[int][]scored{}, map[int][]scored{} // falling
	for _, x := range same {
		mine[x.a] = append(mine[x.a], x)
		if x.a != x.b {
			mine[x.b] = append(mine[x.b], x)
		}
	}
	for _, x := range diff {
		theirs[x.a] = append(theirs[x.a], x)
		if x.a != x.b {
			theirs[x.b] = append(theirs[x.b], x)
		}
	}
	var ids []int
	for i := range mine {
		ids = append(ids, i)
	}
	slices.Sort(ids)
	v.Identities = len(ids)
	const none = math.MinInt
	above := func(xs []scored, t float64) int {
		return sort.Search(len(xs), func(i int) bool { return xs[i].s <= t })
	}
	// threshold is the score above which far of the pairs of two identities lie, those of out left out.
	threshold := func(far float64, out int) float64 {
		left := int(far * float64(len(diff)-len(theirs[out])))
		for _, x := range diff {
			if x.a == out || x.b == out {
				continue
			}
			if left == 0 {
				return x.s
			}
			left--
		}
		return -2
	}
	rate := func(far float64, out int) (r, t float64) {
		t = threshold(far, out)
		hit, of := above(same, t), len(same)
		if m := mine[out]; out != none {
			hit, of = hit-above(m, t), of-len(m)
		}
		if of == 0 {
			return 0, t
		}
		return float64(hit) / float64(of), t
	}
	// jack are the pseudo-values of f.
	jack := func(all float64, f func(out int) float64) (pseudo []float64, half float64) {
		m := float64(len(ids))
		if len(ids) < 2 {
			return []float64{all}, 0
		}
		mean := 0.0
		for _, i := range ids {
			p := m*all - (m-1)*f(i)
			pseudo, mean = append(pseudo, p), mean+p/m
		}
		ss := 0.0
		for _, p := range pseudo {
			ss += (p - mean) * (p - mean)
		}
		return pseudo, 1.959963984540054 * math.Sqrt(ss/(m-1)/m)
	}
	var pseudo [][]float64
	for _, far := range FARs {
		r, t := rate(far, none)
		p, half := jack(r, func(out int) float64 { x, _ := rate(far, out); return x })
		v.Rates = append(v.Rates, Accepted{FAR: far, Rate: r, Low: max(0, r-half), High: min(1, r+half), Threshold: t})
		pseudo = append(pseudo, p)
	}
	equal := func(out int) float64 {
		a, b := len(same), len(diff)
		m := mine[out]
		if out != none {
			a, b = a-len(m), b-len(theirs[out])
		}
		if a == 0 || b == 0 {
			return 0
		}
		// Where the share refused meets the share accepted, by bisection on the threshold; both jump.
		lo, hi, apart, at := -1.0, 1.0, math.Inf(1), 0.0
		for range 40 {
			t := (lo + hi) / 2
			hit := above(same, t)
			accepted := above(diff, t)
			if out != none {
				hit, accepted = hit-above(m, t), accepted-above(theirs[out], t)
			}
			miss, wrong := 1-float64(hit)/float64(a), float64(accepted)/float64(b)
			if d := math.Abs(miss - wrong); d < apart {
				apart, at = d, (miss+wrong)/2
			}
			if miss < wrong {
				lo = t
			} else {
				hi = t
			}
		}
		return at
	}
	v.EqualError = equal(none)
	_, half := jack(v.EqualError, equal)
	v.EqualLow, v.EqualHigh = max(0, v.EqualError-half), min(1, v.EqualError+half)
	at := v.At()
	for i, far := range FARs {
		if far == at.FAR {
			v.Pseudo = pseudo[i]
		}
	}
	return v, nil
}
