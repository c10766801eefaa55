package compress

import "math"

// The quantiles of the normal distribution: two-sided 95%, one-sided 95%.
const (
	z95  = 1.959963984540054
	z95u = 1.6448536269514722
)

// wilson is the score interval of k successes in n (E. B. Wilson: Probable
// inference, the law of succession, and statistical inference, 1927).
func wilson(k, n int, z float64) (lo, hi float64) {
	if n == 0 {
		return 0, 1
	}
	p, m := float64(k)/float64(n), float64(n)
	mid := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return math.Min(math.Max(0, mid-half), p), math.Max(math.Min(1, mid+half), p)
}

// rate is k of n with its 95% interval.
func rate(k, n int) Interval {
	if n == 0 {
		return Interval{}
	}
	lo, hi := wilson(k, n, z95)
	return Interval{float64(k) / float64(n), lo, hi}
}

// paired is the interval of the difference of two proportions measured on the
// same n samples: both, lost (first only), gained (second only), neither. It is
// method 10 of R. G. Newcombe: Improved confidence intervals for the difference
// between binomial proportions based on paired data, 1998.
func paired(both, lost, gained, neither int, z float64) Interval {
	a, b, c, d := float64(both), float64(lost), float64(gained), float64(neither)
	n := a + b + c + d
	if n == 0 {
		return Interval{}
	}
	p1, p2 := (a+b)/n, (a+c)/n
	l1, u1 := wilson(both+lost, int(n), z)
	l2, u2 := wilson(both+gained, int(n), z)
	phi := 0.0
	if m := (a + b) * (c + d) * (a + c) * (b + d); m > 0 {
		phi = a*d - b*c
		if phi > 0 {
			phi = math.Max(phi-n/2, 0)
		}
		phi /= math.Sqrt(m)
	}
	half := func(x, y float64) float64 { return math.Sqrt(math.Max(0, x*x-2*phi*x*y+y*y)) }
	t := (b - c) / n
	return Interval{t, t - half(p1-l1, u2-p2), t + half(p2-l2, u1-p1)}
}

// needed is about how many samples would put the one-sided 95% bound of a drop
// within promise, at this drop and share of samples whose outcome changed; 0: no
// number would. Where nothing changed at all, the bound is that of no event seen.
func needed(drop, changed, promise float64) int {
	if drop >= promise {
		return 0
	}
	d := promise - drop
	n := math.Max(z95u*z95u*(changed-drop*drop)/(d*d), z95u*z95u*(1/d-1))
	unit := math.Pow(10, math.Max(0, math.Floor(math.Log10(n))-1)) // two digits
	return int(math.Ceil(n/unit) * unit)
}
