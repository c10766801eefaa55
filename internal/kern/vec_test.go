package kern

import (
	"fmt"
	"math"
	"testing"
	"unsafe"

	"whit/internal/cpu"
)

func TestFlatNEONOffsets(t *testing.T) {
	var x flatNEON
	for i, c := range []struct{ got, want uintptr }{
		{unsafe.Offsetof(x.dst), 0}, {unsafe.Offsetof(x.a), 8}, {unsafe.Offsetof(x.b), 16}, {unsafe.Offsetof(x.sa), 24},
		{unsafe.Offsetof(x.sb), 32}, {unsafe.Offsetof(x.n), 40},
	} {
		if c.got != c.want {
			t.Errorf("field %d is at %d, the assembly reads %d", i, c.got, c.want)
		}
	}
}

// TestFlat compares assembly with portable Go bit for bit, at every tail.
func TestFlat(t *testing.T) {
	v := FlatOf(cpu.Detect())
	if !v.asm {
		t.Skip("NOT RUN: this CPU or build lacks it")
	}
	special := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 0, float32(math.Copysign(0, -1)), -1e-40}
	a, b := random(1, 100), random(2, 100)
	for i, x := range special {
		a[3+5*i], b[50+i] = x, x
	}
	same := func(t *testing.T, got, want []float32) {
		t.Helper()
		for i := range want {
			// The sign and payload of a NaN are no part of the promise.
			if g, w := got[i], want[i]; math.Float32bits(g) != math.Float32bits(w) && (g == g || w == w) {
				t.Fatalf("element %d of %d: %g, want %g", i, len(want), got[i], want[i])
			}
		}
	}
	for op := OpAdd; op <= OpMax; op++ {
		for _, s := range [][2]int{{1, 1}, {1, 0}, {0, 1}, {0, 0}} {
			t.Run(fmt.Sprint(op, s), func(t *testing.T) {
				for n := range 80 {
					got, want := make([]float32, n), make([]float32, n)
					v.Binary(op, got, a[1:], b[1:], s[0], s[1])
					Flat{}.Binary(op, want, a[1:], b[1:], s[0], s[1])
					same(t, got, want)
				}
			})
		}
	}
	t.Run("clamp", func(t *testing.T) {
		for n := range 80 {
			got, want := make([]float32, n), make([]float32, n)
			v.Clamp(got, a[1:], -0.5, 1)
			Flat{}.Clamp(want, a[1:], -0.5, 1)
			same(t, got, want)
		}
	})
}
