package kern

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"whit/internal/cpu"
)

// TestWinoWide compares what is wider where there is AVX-512 VNNI with portable Go, bit for bit.
func TestWinoWide(t *testing.T) {
	wide := IntsOf(cpu.Detect())
	if !wide.vnni {
		t.Skip("NOT RUN: this CPU or build lacks avx512vnni")
	}
	r := rand.New(rand.NewPCG(5, 6))
	t.Run("in", func(t *testing.T) {
		for _, tt := range []struct{ blocks, tiles, pixel, zero int }{{1, 1, 16, 0}, {1, 3, 19, 255}, {2, 2, 32, 128}, {3, 5, 48, 3}, {4, 1, 70, 255}} {
			row, step := (4*tt.tiles+2)*tt.pixel+5, 16*tt.blocks+tt.tiles
			in := I8WinoIn{Row: row, Pixel: tt.pixel, Pos: tt.tiles*step + 3, Step: step, Blocks: tt.blocks, Tiles: tt.tiles, Zero: int16(tt.zero),
				Bytes: make([]byte, 5*row+(4*tt.tiles+1)*tt.pixel+16*tt.blocks)}
			for i := range in.Bytes {
				if in.Bytes[i] = byte(r.Uint32()); i%5 == 0 {
					in.Bytes[i] = byte(-r.IntN(2))
				}
			}
			got, want := make([]int16, 36*in.Pos), make([]int16, 36*in.Pos)
			a, b := in, in
			a.V, b.V = got, want
			wide.WinoIn4(&a)
			Ints{}.WinoIn4(&b)
			if !slices.Equal(got, want) {
				t.Errorf("%+v: differ", tt)
			}
		}
	})
	t.Run("sums", func(t *testing.T) {
		const k, places = 12, 3
		for n := 1; n <= 46; n++ {
			for panels := 1; panels <= 2; panels++ {
				step := k + n%3
				s := I8WinoSums{Step: step, K: k, Panels: panels, Panel: places*16*k + 5, Out: places*16*n + 7, Places: places, APos: n*step + 1, BPos: 16 * k, Pos: 16 * n}
				for i := range n {
					s.Rows = append(s.Rows, i*step)
				}
				s.A, s.B = make([]int16, places*s.APos), make([]int16, 2*s.Panel)
				for _, w := range [][]int16{s.A, s.B} {
					for i := range w {
						w[i] = int16(r.IntN(51001) - 25500)
					}
				}
				got, want := make([]int32, 2*s.Out), make([]int32, 2*s.Out)
				a := s
				a.Sums = got
				wide.WinoSums(&a)
				for p := range panels {
					b := s
					b.Panels, b.B, b.Sums = 1, s.B[p*s.Panel:], want[p*s.Out:]
					Ints{}.WinoSums(&b)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%d rows, %d panels: differ", n, panels)
				}
			}
		}
	})
	t.Run("out", func(t *testing.T) {
		for _, tt := range []struct {
			lo, hi float32
			zero   int32
			mul    float32
		}{{0, 255, 0, 1e-3}, {-7, 248, 7, 1e-4}, {-128, 127, 0, 1e-3}, {-100, 120, 7, 1}, {0, 60, -128, 30}, {-130, 100, 130, 1e-42}, {-3, 4, 4, 1e-2}} {
			const tiles = 3
			o := I8WinoOut{M: make([]int32, 36*16*tiles), Pos: 16 * tiles, Bias: make([]int32, 16), Mul: make([]float32, 16), Row: 400, Pixel: 23, Tiles: tiles, Lo: tt.lo, Hi: tt.hi, Zero: tt.zero}
			for l := range 16 {
				o.Bias[l], o.Mul[l] = r.Int32N(1<<21)-1<<20, tt.mul*(1+r.Float32())
			}
			for i := range 16 * tiles { // of one channel, as large as those of hundreds
				var d [36]int16
				var g [9]int16
				for i := range d {
					d[i] = int16(r.IntN(511) - 255)
				}
				for i := range g {
					g[i] = int16(r.IntN(256) - 128)
				}
				in := I8WinoIn{X: make([]int16, 36*16), Row: 6 * 16, Pixel: 16, V: make([]int16, 36*16), Pos: 16, Blocks: 1, Tiles: 1}
				for i, x := range d {
					in.X[16*i] = x
				}
				Ints{}.WinoIn4(&in)
				by := r.Int32N(60) - 30
				for p, u := range WinoFilter4(&g) {
					o.M[p*o.Pos+i] = by * int32(u) * int32(in.V[16*p])
				}
			}
			got, want := make([]byte, 3*400+12*23), make([]byte, 3*400+12*23)
			a, b := o, o
			a.Y, a.Tmp, b.Y, b.Tmp = got, make([]int32, 256), want, make([]int32, 256)
			wide.WinoOut4(&a)
			Ints{}.WinoOut4(&b)
			if !slices.Equal(got, want) {
				t.Errorf("%+v: found %d, want %d", tt, got, want)
			}
		}
	})
}

func TestSumAbs(t *testing.T) {
	v, r := IntsOf(cpu.Detect()), rand.New(rand.NewPCG(7, 8))
	for _, n := range []int{0, 1, 31, 32, 33, 96, 1000} {
		for _, flip := range []byte{0, 0x80} {
			src := make([]byte, n)
			for i := range src {
				if src[i] = byte(r.Uint32()); i%3 == 0 {
					src[i] = 0x80 ^ flip // the largest
				}
			}
			sum, abs := v.SumAbs(src, flip)
			wantSum, wantAbs := Ints{}.SumAbs(src, flip)
			if sum != wantSum || abs != wantAbs {
				t.Errorf("%d bytes, flip %#x: found %d and %d, want %d and %d", n, flip, sum, abs, wantSum, wantAbs)
			}
		}
	}
}

// BenchmarkI8Winograd is a convolution 3x3 of 64 channels of 24x24 pixels by tiles of either size, four panels: both
// transforms and the products between, in the operations of the direct convolution.
func BenchmarkI8Winograd(b *testing.B) {
	const c, side = 64, 24
	for _, m := range []int{2, 4} {
		b.Run(fmt.Sprintf("F(%dx%d)", m, m), func(b *testing.B) {
			v := IntsOf(cpu.Detect())
			places, n := (m+2)*(m+2), side/m
			few, asBytes := v.WinoPanels(), m == 4 && v.WinoBytes()
			vpos, spos := n*n*c+32, 16*(n*n|1)
			x, raw, y, d := make([]int16, (side+2)*(side+2)*c), make([]byte, (side+2)*(side+2)*c), make([]byte, side*side*c), make([]int16, places*vpos)
			w, sums, rows := make([]int16, places*c*c), make([]int32, few*places*spos), make([]int, n*n)
			bias, mul, tmp := make([]int32, 16), make([]float32, 16), make([]int32, 256)
			for i := range rows {
				rows[i] = i * c
			}
			b.ReportAllocs()
			for b.Loop() {
				for r := range n {
					in := I8WinoIn{X: x[m*r*(side+2)*c:], Row: (side + 2) * c, Pixel: c, V: d[r*n*c:], Pos: vpos, Step: c, Blocks: c / 16, Tiles: n}
					if asBytes {
						in.Bytes = raw[m*r*(side+2)*c:]
					}
					if m == 4 {
						v.WinoIn4(&in)
					} else {
						v.WinoIn(&in)
					}
				}
				for p := range c / 16 {
					if p%few == 0 {
						v.WinoSums(&I8WinoSums{A: d, Step: c, Rows: rows, K: c, B: w[p*places*c*16:], Panels: few, Panel: places * c * 16,
							Sums: sums, Out: places * spos, Places: places, APos: vpos, BPos: 16 * c, Pos: spos})
					}
					for r := range n {
						out := I8WinoOut{M: sums[p%few*places*spos+r*n*16:], Pos: spos, Bias: bias, Mul: mul, Y: y[m*r*side*c+16*p:], Row: side * c, Pixel: c, Tiles: n, Hi: 255, Tmp: tmp}
						if m == 4 {
							v.WinoOut4(&out)
						} else {
							v.WinoOut(&out)
						}
					}
				}
			}
			b.ReportMetric(float64(2*9*c*c*side*side)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GOP/s")
		})
	}
}

// BenchmarkI8Sum is the sum of two values of 16 KiB.
func BenchmarkI8Sum(b *testing.B) {
	v := IntsOf(cpu.Detect())
	s := I8Sum{A: make([]byte, 16<<10), B: make([]byte, 16<<10), Y: make([]byte, 16<<10), N: 16 << 10, ZA: 3, MA: 0.5, MB: 0.75, Hi: 255}
	b.SetBytes(int64(s.N))
	for b.Loop() {
		v.Sum(&s)
	}
}
