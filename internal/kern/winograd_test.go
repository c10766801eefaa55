package kern

import (
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"testing"
	"unsafe"
)

func TestWinogradOffsets(t *testing.T) {
	var x WinogradIn
	var y WinogradOut
	for i, c := range []struct{ got, want uintptr }{
		{unsafe.Offsetof(x.X), 0}, {unsafe.Offsetof(x.SH), 24}, {unsafe.Offsetof(x.SW), 32}, {unsafe.Offsetof(x.V), 40},
		{unsafe.Offsetof(x.LDP), 64}, {unsafe.Offsetof(x.N), 72}, {unsafe.Offsetof(x.Tmp), 80},
		{unsafe.Offsetof(y.M), 0}, {unsafe.Offsetof(y.LDP), 24}, {unsafe.Offsetof(y.Y), 32}, {unsafe.Offsetof(y.SH), 56},
		{unsafe.Offsetof(y.SW), 64}, {unsafe.Offsetof(y.N), 72}, {unsafe.Offsetof(y.NY), 80}, {unsafe.Offsetof(y.NX), 88},
		{unsafe.Offsetof(y.Flags), 96}, {unsafe.Offsetof(y.Bias), 104}, {unsafe.Offsetof(y.R), 128}, {unsafe.Offsetof(y.RSH), 152},
		{unsafe.Offsetof(y.RSW), 160}, {unsafe.Offsetof(y.Tmp), 168}, {unsafe.Offsetof(y.Lo), 192}, {unsafe.Offsetof(y.Hi), 196}, {unsafe.Offsetof(y.Slope), 200},
	} {
		if c.got != c.want {
			t.Errorf("field %d is at %d, the assembly reads %d", i, c.got, c.want)
		}
	}
}

// TestWinograd filters one tile of every size, epilogue and variant, and compares
// it with a direct convolution in float64.
func TestWinograd(t *testing.T) {
	for _, m := range []int{2, 4} {
		sums := map[int]uint32{} // of the bits that assembly gave, by flags
		for _, i := range []isa{isaGo, isaAVX2, isaAVX512, isaNEON} {
			w := Winograd{m, i}
			t.Run(fmt.Sprintf("%d/%s", m, micros[i].Name), func(t *testing.T) {
				if !canRun(micros[i]) {
					t.Skip("NOT RUN: this CPU or build lacks it")
				}
				for flags := range 128 {
					bits := winogradCase(t, w, flags&(FlagCol|FlagAdd|FlagPRelu|FlagClamp), 1+flags%m, 1+flags/2%m, 8*(1+flags%5))
					if i == isaGo {
						continue
					}
					if want, ok := sums[flags]; ok && want != bits {
						t.Errorf("flags %d: bits differ between variants", flags)
					}
					sums[flags] = bits
				}
			})
		}
	}
}

func winogradCase(t *testing.T, w Winograd, flags, ny, nx, n int) (bits uint32) {
	a := w.M + 2
	sw, sh := n+3, (n+3)*(a+1)
	x, g, bias := random(1, sh*a), random(2, 9*n), random(3, n)
	ldp := n + 5
	in := &WinogradIn{X: x, SH: sh, SW: sw, V: make([]float32, a*a*ldp), LDP: ldp, N: n, Tmp: make([]float32, WinogradTmp)}
	w.In(in)
	u, side := make([]float32, a*a*n), make([]float32, 9*n)
	for c := range n {
		for k := range 9 {
			side[k*n+c] = g[9*c+k]
		}
	}
	w.Filters(u, side, n, n, n)
	plain := make([]float32, len(u))
	WinogradGo(w.M).Filters(plain, side, n, n, n)
	if !slices.Equal(u, plain) {
		t.Fatal("transformed filters differ from portable Go's")
	}
	w.FilterRows(u, g, n, 9, n)
	if !slices.Equal(u, plain) {
		t.Fatal("transformed rows of filters differ from portable Go's")
	}
	for p := range a * a {
		for c := range n {
			in.V[p*ldp+c] *= u[p*n+c]
		}
	}
	y, r := random(4, sh*a), random(5, 3*sh*a)
	start := append([]float32{}, y...)
	w.Out(&WinogradOut{M: in.V, LDP: ldp, Y: y, SH: sh, SW: sw, N: n, NY: ny, NX: nx, Flags: flags, Bias: bias,
		R: r, RSH: 2 * sh, RSW: sw + 1, Tmp: in.Tmp, Lo: -0.5, Hi: 1, Slope: g})
	for at := range y {
		i, j, c := at/sh, at%sh/sw, at%sw
		if i >= ny || j >= nx || c >= n || at%sh >= nx*sw {
			if y[at] != start[at] {
				t.Fatalf("flags %d, %dx%d: wrote outside", flags, ny, nx)
			}
			continue
		}
		var s float64
		for k := range 9 {
			s += float64(x[(i+k/3)*sh+(j+k%3)*sw+c]) * float64(g[9*c+k])
		}
		if flags&FlagCol != 0 {
			s += float64(bias[c])
		}
		if flags&FlagAdd != 0 {
			s += float64(r[i*2*sh+j*(sw+1)+c])
		}
		if flags&FlagPRelu != 0 && s < 0 {
			s *= float64(g[c])
		}
		if flags&FlagClamp != 0 {
			s = min(1, max(-0.5, s))
		}
		if math.Abs(float64(y[at])-s) > 2e-5*max(1, math.Abs(s)) {
			t.Fatalf("flags %d, %dx%d: [%d,%d,%d] = %g, want %g", flags, ny, nx, i, j, c, y[at], s)
		}
	}
	return crc32.ChecksumIEEE(Bytes(y))
}

// TestWinogradGrad checks the adjoints: <Out(m), d> = <m, Grad(d)> and <Filters(g), u> =
// <g, FilterGrad(u)>, and that every variant of Grad gives portable Go's bits.
func TestWinogradGrad(t *testing.T) {
	const n, sw, ldp = 40, 43, 45
	sh := 5 * sw
	d := random(1, 4*sh)
	grad := func(w Winograd) []float32 {
		v := random(9, 36*ldp)
		w.Grad(&WinogradIn{X: d, SH: sh, SW: sw, V: v, LDP: ldp, N: n, Tmp: make([]float32, WinogradTmp)})
		return v
	}
	want := grad(WinogradGo(4))
	for _, i := range []isa{isaAVX2, isaAVX512, isaNEON} {
		t.Run(micros[i].Name, func(t *testing.T) {
			if !canRun(micros[i]) {
				t.Skip("NOT RUN: this CPU or build lacks it")
			}
			if !slices.Equal(Bytes(grad(Winograd{4, i})), Bytes(want)) {
				t.Error("bits differ from portable Go's")
			}
		})
	}
	m, y := random(2, 36*ldp), make([]float32, 16*n)
	WinogradGo(4).Out(&WinogradOut{M: m, LDP: ldp, Y: y, SH: 4 * n, SW: n, N: n, NY: 4, NX: 4, Tmp: make([]float32, WinogradTmp)})
	g, u := random(3, 9*n), make([]float32, 36*n)
	WinogradGo(4).Filters(u, g, n, n, n)
	for c := range n {
		var a, b float64
		for i := range 16 {
			a += float64(y[i*n+c]) * float64(d[i/4*sh+i%4*sw+c])
		}
		var p [36]float32
		for q := range p {
			p[q] = m[q*ldp+c]
			b += float64(p[q]) * float64(want[q*ldp+c])
		}
		if math.Abs(a-b) > 1e-4*max(1, math.Abs(a)) {
			t.Errorf("channel %d: <Out(m), d> = %g, <m, Grad(d)> = %g", c, a, b)
		}
		a, b = 0, 0
		for q, v := range p {
			a += float64(v) * float64(u[q*n+c])
		}
		for k, v := range FilterGrad(&p) {
			b += float64(v) * float64(g[k*n+c])
		}
		if math.Abs(a-b) > 1e-5*max(1, math.Abs(a)) {
			t.Errorf("channel %d: <Filters(g), u> = %g, <g, FilterGrad(u)> = %g", c, a, b)
		}
	}
}
