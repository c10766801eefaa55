package kern

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"whit/internal/cpu"
)

func TestI8DotOffsets(t *testing.T) {
	var x I8Dot
	for i, c := range []struct{ got, want uintptr }{
		{unsafe.Offsetof(x.A), 0}, {unsafe.Offsetof(x.Rows), 24}, {unsafe.Offsetof(x.Off), 48}, {unsafe.Offsetof(x.K), 72}, {unsafe.Offsetof(x.B), 80},
		{unsafe.Offsetof(x.Panels), 104}, {unsafe.Offsetof(x.Bias), 112}, {unsafe.Offsetof(x.Mul), 136}, {unsafe.Offsetof(x.C), 160}, {unsafe.Offsetof(x.LDC), 184},
		{unsafe.Offsetof(x.Lo), 192}, {unsafe.Offsetof(x.Hi), 196}, {unsafe.Offsetof(x.Zero), 200},
	} {
		if c.got != c.want {
			t.Errorf("field %d is at %d, the assembly reads %d", i, c.got, c.want)
		}
	}
}

// TestI8Dot compares every variant with the plain sums: extreme and random bytes, all numbers
// of rows and panels, nothing written outside.
func TestI8Dot(t *testing.T) {
	for _, f := range cpu.Detect().Variants() {
		d, fast := DotsOf(f)
		if !fast && f != (cpu.Features{}) {
			continue
		}
		t.Run(d.Name(), func(t *testing.T) {
			for panels := 1; panels <= DotPanels; panels++ {
				for m := 1; m <= 13; m++ {
					for _, k := range []int{4, 12, 36} {
						testI8Dot(t, d, panels, m, k)
					}
				}
			}
		})
	}
}

func testI8Dot(t *testing.T, d Dots, panels, m, k int) {
	r := rand.New(rand.NewPCG(uint64(panels*1000+m), uint64(k)))
	some := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = []byte{0, 0x7f, 0x80, 0xff, byte(r.Uint32()), byte(r.Uint32())}[r.IntN(6)]
		}
		return b
	}
	n := 16 * panels
	x := &I8Dot{A: some(4000), Off: []int{0, 101, 150}[:1+m%3], K: k, Panels: panels, LDC: n + m%2, Lo: -100, Hi: 120, Zero: 7}
	x.B = Int8s(some(len(x.Off) * k * n))
	for range m {
		x.Rows = append(x.Rows, r.IntN(3000))
	}
	slices.Sort(x.Rows)
	for range n {
		x.Bias, x.Mul = append(x.Bias, r.Int32N(2000)-1000), append(x.Mul, float32(r.Float64()*1e-3))
	}
	start := some(m*x.LDC + 9)
	want := slices.Clone(start)
	for i, row := range x.Rows {
		for j := range n {
			acc := x.Bias[j]
			for s, off := range x.Off {
				for e := range k {
					a := int32(x.A[row+off+e])
					if d.Signed {
						a = int32(int8(a))
					}
					acc += a * int32(x.B[((s*k+e)/4*n+j)*4+e%4])
				}
			}
			want[i*x.LDC+j] = Quantise(acc, x.Mul[j], x.Lo, x.Hi, x.Zero)
		}
	}
	x.C = slices.Clone(start)
	out := x.C
	d.Run(x)
	if !bytes.Equal(out, want) {
		t.Error(fmt.Sprintf("%d panels, %d rows, k %d: ", panels, m, k), "differs from the plain sums")
	}
}

// TestDotSums compares the sums of every variant with plain ones.
func TestDotSums(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, f := range cpu.Detect().Variants() {
		d, _ := DotsOf(f)
		for panels := 1; panels <= DotPanels; panels++ {
			for _, quads := range []int{0, 1, 7} {
				b, want := make([]int8, 64*panels*quads), make([]int32, 16*panels)
				for i := range b {
					b[i] = []int8{-128, 127, int8(r.Uint32())}[r.IntN(3)]
					want[i/4%len(want)] += int32(b[i])
				}
				got := make([]int32, len(want)+1)
				got[0], got[len(want)] = 9, 9
				if d.Sums(got, b, panels); !slices.Equal(got, append(want, 9)) {
					t.Errorf("%s, %d panels, %d quads: found %v, want %v", d.Name(), panels, quads, got, want)
				}
			}
		}
	}
}
