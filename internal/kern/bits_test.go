package kern

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// TestBitsOnEveryCPU holds the assembly's results on seeded numbers to what AVX2 gave: AVX2,
// AVX-512 and NEON agree bit for bit. Portable Go rounds products and is not asked.
func TestBitsOnEveryCPU(t *testing.T) {
	some := func(seed uint64, n int) []float32 {
		r := rand.New(rand.NewPCG(seed, 3)) // no math functions: they may differ between CPUs
		s := make([]float32, n)
		for i := range s {
			s[i] = 2*r.Float32() - 1
		}
		return s
	}
	check := func(t *testing.T, y []float32, want uint32) {
		t.Helper()
		if got := crc32.ChecksumIEEE(Bytes(y)); got != want {
			t.Errorf("checksum %#x, want %#x", got, want)
		}
	}
	variants(t, func(t *testing.T, u *Micro) {
		if u.isa == isaGo {
			t.Skip("portable Go")
		}
		for i, want := range []uint32{0xbd02c138, 0xdeaaf1f0} {
			n := 70 + 13*i
			g := &GEMM{M: 29, N: n, K: 300, Flags: FlagCol | FlagClamp, Lo: -4, Hi: 4}
			g.Init(u)
			c, scratch := make([]float32, 29*n), make([]float32, g.Scratch())
			for i := range g.Tiles() {
				g.Run(i, some(1, 29*300), some(2, 300*n), c, some(3, n), nil, scratch)
			}
			check(t, c, want)
		}
		for _, win := range []struct {
			off         []int
			rsx, pixels int
			want        uint32
		}{
			{[]int{0, 50, 100, 500, 550, 600}, 50, 7, 0x6378366f},
			{[]int{0, 50, 100, 700, 750, 800, 1400, 1450, 1500}, 50, 12, 0x73824bea},
			{[]int{0, 50, 100, 900, 950, 1000, 1800, 1850, 1900}, 100, 8, 0x4bae39c7},
		} {
			taps := len(win.off)
			d := &Depthwise{X: some(4, 3000), Off: win.off, RSX: win.rsx, Pixels: win.pixels, LDY: 48, N: 48, Y: make([]float32, win.pixels*48),
				W: make([]float32, taps*48), Bias: some(5, 48), Flags: FlagCol | FlagClamp, Lo: -1, Hi: 1}
			w := some(6, taps*48)
			dw := dwMicros[u.isa]
			for c := range 48 {
				for i := range taps {
					d.W[(c/dw.Width*taps+i)*dw.Width+c%dw.Width] = w[i*48+c]
				}
			}
			dw.Run(d)
			check(t, d.Y, win.want)
		}
		for i, want := range []uint32{0x7f1d95e6, 0x66bda7ea} {
			m := 2 + 2*i
			a, wino := m+2, Winograd{M: m, isa: u.isa}
			in := &WinogradIn{X: some(7, a*a*40), SH: a * 40, SW: 40, V: make([]float32, a*a*40), LDP: 40, N: 40, Tmp: make([]float32, WinogradTmp)}
			wino.In(in)
			out := &WinogradOut{M: in.V, LDP: 40, Y: make([]float32, m*m*40), SH: m * 40, SW: 40, N: 40, NY: m, NX: m,
				Flags: FlagCol | FlagPRelu, Bias: some(8, 40), Slope: some(9, 40), Tmp: in.Tmp}
			wino.Out(out)
			check(t, append(in.V, out.Y...), want)
		}
	})
}
