package op

import (
	"math"
	"math/cmplx"
	"testing"
)

// TestFourier compares transforms of all kinds of lengths with the sum itself.
func TestFourier(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 5, 8, 10, 12, 31, 37, 41, 60, 64, 74, 97, 111, 37 * 41, 360} {
		x, want := make([]pair[float64], n), make([]complex128, n)
		for i := range x {
			x[i] = pair[float64]{math.Sin(float64(i * i)), math.Cos(3 * float64(i))}
		}
		for k := range want {
			for i, v := range x {
				want[k] += complex(v.re, v.im) * cmplx.Exp(complex(0, -2*math.Pi*float64(k*i%n)/float64(n)))
			}
		}
		y, small := append([]pair[float64](nil), x...), make([]pair[float32], n)
		for i, v := range x {
			small[i] = pair[float32]{float32(v.re), float32(v.im)}
		}
		newFourier[float64](n, false).transform(y)
		newFourier[float32](n, false).transform(small)
		for k, v := range y {
			if d := cmplx.Abs(complex(v.re, v.im) - want[k]); d > 1e-11*float64(n) {
				t.Fatalf("%d terms: term %d differs by %g", n, k, d)
			}
			if d := cmplx.Abs(complex(float64(small[k].re), float64(small[k].im)) - want[k]); d > 1e-5*float64(n) {
				t.Fatalf("%d terms in float32: term %d differs by %g", n, k, d)
			}
		}
		newFourier[float64](n, true).transform(y)
		for i, v := range y {
			if d := math.Hypot(v.re-x[i].re, v.im-x[i].im); d > 1e-12*float64(n) {
				t.Fatalf("%d terms and back: element %d differs by %g", n, i, d)
			}
		}
	}
}
