package kern

import (
	"slices"
	"testing"
	"unsafe"

	"whit/internal/cpu"
)

// TestCodes compares the assembly of every form with portable Go on small integers, whose
// sums are exact.
func TestCodes(t *testing.T) {
	var x Codes
	for i, c := range []struct{ got, want uintptr }{
		{unsafe.Offsetof(x.X), 0}, {unsafe.Offsetof(x.LDX), 24}, {unsafe.Offsetof(x.M), 32}, {unsafe.Offsetof(x.K), 40},
		{unsafe.Offsetof(x.W), 48}, {unsafe.Offsetof(x.Table), 72}, {unsafe.Offsetof(x.Scale), 96}, {unsafe.Offsetof(x.Zero), 120}, {unsafe.Offsetof(x.Y), 144},
		{unsafe.Offsetof(x.Acc), 169},
	} {
		if c.got != c.want {
			t.Errorf("field %d is at %d, the assembly reads %d", i, c.got, c.want)
		}
	}
	ints := func(seed uint64, n int) []float32 {
		x := random(seed, n)
		for i := range x {
			x[i] = float32(int(4 * x[i]))
		}
		return x
	}
	for form := Codes4; form <= CodesU4; form++ {
		for m := 1; m <= 4; m++ {
			for _, k := range []int{8, 16, 40} {
				c := Codes{X: ints(1, m*(k+3)), LDX: k + 3, M: m, K: k, W: make([]byte, form.PanelBytes(k)), Table: ints(2, form.Table()),
					Scale: ints(3, 16), Zero: make([]int32, 16), Form: form, Acc: k > 8}
				for i := range c.W {
					c.W[i] = byte(i * 37)
				}
				for i := range c.Zero {
					c.Zero[i] = int32(i - 5)
				}
				var got [2][]float32
				for i, u := range []Coded{{}, CodedOf(cpu.Detect())} {
					c.Y = ints(4, 16*m)
					u.Run(&c)
					got[i] = c.Y
				}
				if !slices.Equal(got[0], got[1]) {
					t.Fatalf("form %d, %d rows, k %d: %v, portable Go %v", form, m, k, got[1], got[0])
				}
			}
		}
	}
}
