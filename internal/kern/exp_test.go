package kern

import (
	"math"
	"testing"

	"whit/internal/cpu"
)

// TestVectorFunctions wants the bits of the scalar functions.
func TestVectorFunctions(t *testing.T) {
	x := random(1, 20011)
	for i := range x {
		x[i] *= float32(math.Exp(float64(i%20) - 12))
	}
	copy(x[100:], []float32{0, float32(math.Copysign(0, -1)), 88.72283, 88.72284, -87.33654, -87.33655, 0.625, -0.625, 1e30, -1e30,
		float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 1e-40, -1e-40})
	for _, features := range cpu.Detect().Variants() {
		v := FlatOf(features)
		if !v.asm {
			t.Logf("NOT RUN: %v or this build lacks the assembly", features)
		}
		for name, f := range map[string]struct {
			vector func(dst, x []float32)
			scalar func(float32) float32
		}{"exp": {v.Exp, Exp}, "erf": {v.Erf, Erf}, "sigmoid": {v.Sigmoid, Sigmoid}, "swish": {v.Swish, Swish}, "tanh": {v.Tanh, Tanh}} {
			y := make([]float32, len(x))
			f.vector(y, x)
			for i, a := range x {
				if w := f.scalar(a); math.Float32bits(y[i]) != math.Float32bits(w) && (w == w || y[i] == y[i]) {
					t.Fatalf("%v: %s(%g) = %g, want %g", features, name, a, y[i], w)
				}
			}
			// No more than what is asked for is written.
			for n := range 100 {
				copy(y, x[:110])
				f.vector(y[:n], y[:n])
				for i, a := range x[:110] {
					if w := a; i < n {
						w = f.scalar(a)
						if math.Float32bits(y[i]) != math.Float32bits(w) && (w == w || y[i] == y[i]) {
							t.Fatalf("%v: %s of %d: %g, want %g", features, name, n, y[i], w)
						}
					} else if y[i] != a && a == a {
						t.Fatalf("%v: %s of %d changed the one at %d", features, name, n, i)
					}
				}
			}
		}
	}
}
