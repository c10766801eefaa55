package kern

import (
	"math"
	"testing"
	"unsafe"

	"whit/internal/cpu"
)

func TestPoolOffsets(t *testing.T) {
	var x Pool
	for i, c := range []struct{ got, want uintptr }{
		{unsafe.Offsetof(x.X), 0}, {unsafe.Offsetof(x.Off), 24}, {unsafe.Offsetof(x.RSX), 48}, {unsafe.Offsetof(x.Y), 56},
		{unsafe.Offsetof(x.LDY), 80}, {unsafe.Offsetof(x.Pixels), 88}, {unsafe.Offsetof(x.N), 96}, {unsafe.Offsetof(x.Div), 104},
	} {
		if c.got != c.want {
			t.Errorf("field %d is at %d, the assembly reads %d", i, c.got, c.want)
		}
	}
}

// TestPool compares the assembly with portable Go bit for bit, NaN and infinities
// among the numbers, and looks at what lies around.
func TestPool(t *testing.T) {
	fast, plain := PoolerOf(cpu.Detect()), Pooler{}
	if !fast.asm {
		t.Skip("NOT RUN: this CPU or build lacks it")
	}
	x := random(1, 3000)
	for i := 3; i < len(x); i += 41 {
		x[i] = []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 0}[i%4]
	}
	for n := 1; n < 80; n++ {
		for pixels := range 5 {
			a := Pool{X: x, Off: []int{3, 100, 230, 9}, RSX: n + 2, LDY: n + 1, Pixels: pixels, N: n, Div: 3}
			a.Y = random(2, pixels*(n+1)+1)
			b := a
			b.Y = append([]float32{}, a.Y...)
			s, r := make([]float64, n), make([]float64, n)
			for k, f := range []func(){
				func() { fast.Max(&a); plain.Max(&b) },
				func() { fast.Mean(&a); plain.Mean(&b) },
				func() { fast.Sum(s, x, pixels, n+3); plain.Sum(r, x, pixels, n+3) },
			} {
				f()
				for i := range a.Y {
					if a.Y[i] != b.Y[i] && (a.Y[i] == a.Y[i] || b.Y[i] == b.Y[i]) {
						t.Fatalf("function %d, %d pixels of %d: element %d is %g, want %g", k, pixels, n, i, a.Y[i], b.Y[i])
					}
				}
			}
			for i := range s {
				if s[i] != r[i] && (s[i] == s[i] || r[i] == r[i]) {
					t.Fatalf("%d pixels of %d: sum %d is %g, want %g", pixels, n, i, s[i], r[i])
				}
			}
		}
	}
}
