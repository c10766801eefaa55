package kern

import (
	"math"
	"testing"
)

func TestMath(t *testing.T) {
	for _, c := range []struct {
		name string
		f    func(float32) float32
		want func(float64) float64
		tol  float64 // relative
	}{
		{"exp", Exp, math.Exp, 2.5e-7},
		{"sigmoid", Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, 4e-7},
		{"tanh", Tanh, math.Tanh, 3e-7},
		{"erf", Erf, math.Erf, 5e-7},
	} {
		t.Run(c.name, func(t *testing.T) {
			worst := 0.0
			for i := -30000; i <= 30000; i++ {
				x := float32(i) * 0.003
				got, want := float64(c.f(x)), c.want(float64(x))
				if math.Abs(want) < 0x1p-126 || want > math.MaxFloat32 {
					if want < 1 && got > 0x1p-125 || want > 1 && !math.IsInf(got, 1) {
						t.Fatalf("f(%g) = %g, want %g", x, got, want)
					}
					continue
				}
				if want == 0 && got == 0 {
					continue
				}
				worst = max(worst, math.Abs(got-want)/math.Abs(want))
			}
			if worst > c.tol {
				t.Errorf("relative error %g, want at most %g", worst, c.tol)
			}
			if v := c.f(float32(math.NaN())); v == v {
				t.Errorf("f(NaN) = %g", v)
			}
			for _, s := range []int{-1, 1} {
				x := math.Inf(s)
				if got, want := float64(c.f(float32(x))), c.want(x); got != want {
					t.Errorf("f(%g) = %g, want %g", x, got, want)
				}
			}
		})
	}
}
