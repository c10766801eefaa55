package compress

import (
	"math"
	"testing"
)

func near(a, b, tol float64) bool { return math.Abs(a-b) <= tol }

func TestWilson(t *testing.T) {
	// Newcombe: Two-sided confidence intervals for the single proportion, 1998, table I, method 3.
	for _, tc := range []struct {
		k, n   int
		lo, hi float64
	}{{81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718}} {
		lo, hi := wilson(tc.k, tc.n, z95)
		if !near(lo, tc.lo, 5e-5) || !near(hi, tc.hi, 5e-5) {
			t.Errorf("%d of %d: %.4f to %.4f, want %.4f to %.4f", tc.k, tc.n, lo, hi, tc.lo, tc.hi)
		}
	}
}

func TestPaired(t *testing.T) {
	// Newcombe 1998 (paired data), table I, method 10.
	for _, tc := range []struct {
		a, b, c, d int
		lo, hi     float64
	}{{36, 12, 2, 0, 0.0569, 0.3404}, {54, 0, 0, 0, -0.0664, 0.0664}} {
		i := paired(tc.a, tc.b, tc.c, tc.d, z95)
		if !near(i.Low, tc.lo, 5e-4) || !near(i.High, tc.hi, 5e-4) {
			t.Errorf("%v: %.4f to %.4f, want %.4f to %.4f", tc, i.Low, i.High, tc.lo, tc.hi)
		}
		j := paired(tc.a, tc.c, tc.b, tc.d, z95)
		if !near(i.Low, -j.High, 1e-12) || !near(i.High, -j.Low, 1e-12) {
			t.Errorf("%v: not symmetric", tc)
		}
	}
}

func TestNeeded(t *testing.T) {
	for _, tc := range []struct {
		drop, changed, promise float64
		want                   int
	}{{0, 0.02, 0.005, 2200}, {0.005, 0.02, 0.005, 0}, {0, 0, 0.005, 540}} {
		if n := needed(tc.drop, tc.changed, tc.promise); n != tc.want {
			t.Errorf("%+v: %d", tc, n)
		}
	}
}
