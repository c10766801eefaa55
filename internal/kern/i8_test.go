package kern

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"whit/internal/cpu"
)

func TestI8Offsets(t *testing.T) {
	var a I8Tile
	var d I8Depthwise
	var m I8Max
	var s I8Sum
	var p I8Product
	var q I8DWDot
	var v I8WinoIn
	var o I8WinoOut
	for i, c := range []struct{ got, want uintptr }{
		{unsafe.Offsetof(a.Rows), 24}, {unsafe.Offsetof(a.Off), 48}, {unsafe.Offsetof(a.K), 72}, {unsafe.Offsetof(a.B), 80},
		{unsafe.Offsetof(a.Bias), 104}, {unsafe.Offsetof(a.Mul), 128}, {unsafe.Offsetof(a.C), 152}, {unsafe.Offsetof(a.LDC), 176},
		{unsafe.Offsetof(a.Lo), 184}, {unsafe.Offsetof(a.Hi), 188}, {unsafe.Offsetof(a.Zero), 192}, {unsafe.Offsetof(a.B8), 200}, {unsafe.Offsetof(a.Sums), 224}, {unsafe.Offsetof(a.Slope), 248},
		{unsafe.Offsetof(d.Off), 24}, {unsafe.Offsetof(d.RSX), 48}, {unsafe.Offsetof(d.W), 56}, {unsafe.Offsetof(d.Bias), 80},
		{unsafe.Offsetof(d.Mul), 104}, {unsafe.Offsetof(d.Y), 128}, {unsafe.Offsetof(d.LDY), 152}, {unsafe.Offsetof(d.Pixels), 160},
		{unsafe.Offsetof(d.Lo), 168}, {unsafe.Offsetof(d.Hi), 172}, {unsafe.Offsetof(d.Zero), 176},
		{unsafe.Offsetof(m.Off), 24}, {unsafe.Offsetof(m.RSX), 48}, {unsafe.Offsetof(m.Y), 56}, {unsafe.Offsetof(m.LDY), 80},
		{unsafe.Offsetof(m.Pixels), 88}, {unsafe.Offsetof(m.Blocks), 96},
		{unsafe.Offsetof(s.B), 24}, {unsafe.Offsetof(s.Y), 48}, {unsafe.Offsetof(s.N), 72}, {unsafe.Offsetof(s.Flip), 80},
		{unsafe.Offsetof(s.ZA), 88}, {unsafe.Offsetof(s.ZB), 92}, {unsafe.Offsetof(s.MA), 96}, {unsafe.Offsetof(s.MB), 100},
		{unsafe.Offsetof(s.Lo), 104}, {unsafe.Offsetof(s.Hi), 108}, {unsafe.Offsetof(s.Zero), 112},
		{unsafe.Offsetof(q.Off), 24}, {unsafe.Offsetof(q.RSX), 48}, {unsafe.Offsetof(q.W), 56}, {unsafe.Offsetof(q.Bias), 80},
		{unsafe.Offsetof(q.Mul), 104}, {unsafe.Offsetof(q.Y), 128}, {unsafe.Offsetof(q.LDY), 152}, {unsafe.Offsetof(q.Pixels), 160},
		{unsafe.Offsetof(q.Row), 184}, {unsafe.Offsetof(q.Line), 192}, {unsafe.Offsetof(q.Rows), 200}, {unsafe.Offsetof(q.Lo), 168}, {unsafe.Offsetof(q.Hi), 172}, {unsafe.Offsetof(q.Zero), 176},
		{unsafe.Offsetof(p.B), 24}, {unsafe.Offsetof(p.Y), 48}, {unsafe.Offsetof(p.StepA), 72}, {unsafe.Offsetof(p.StepB), 80}, {unsafe.Offsetof(p.StepY), 88},
		{unsafe.Offsetof(p.Pixels), 96}, {unsafe.Offsetof(p.N), 104}, {unsafe.Offsetof(p.Flip), 112}, {unsafe.Offsetof(p.ZA), 120}, {unsafe.Offsetof(p.ZB), 124},
		{unsafe.Offsetof(p.Mul), 128}, {unsafe.Offsetof(p.Lo), 132}, {unsafe.Offsetof(p.Hi), 136}, {unsafe.Offsetof(p.Zero), 140},
		{unsafe.Offsetof(v.Row), 24}, {unsafe.Offsetof(v.Pixel), 32}, {unsafe.Offsetof(v.V), 40}, {unsafe.Offsetof(v.Pos), 64},
		{unsafe.Offsetof(v.Step), 72}, {unsafe.Offsetof(v.Blocks), 80}, {unsafe.Offsetof(v.Tiles), 88},
		{unsafe.Offsetof(o.Pos), 24}, {unsafe.Offsetof(o.Bias), 32}, {unsafe.Offsetof(o.Mul), 56}, {unsafe.Offsetof(o.Y), 80}, {unsafe.Offsetof(o.Row), 104},
		{unsafe.Offsetof(o.Pixel), 112}, {unsafe.Offsetof(o.Tiles), 120}, {unsafe.Offsetof(o.Lo), 128}, {unsafe.Offsetof(o.Hi), 132}, {unsafe.Offsetof(o.Zero), 136}, {unsafe.Offsetof(o.Tmp), 144},
	} {
		if c.got != c.want {
			t.Errorf("field %d is at %d, the assembly reads %d", i, c.got, c.want)
		}
	}
}

// TestI8 compares assembly with portable Go, bit for bit, on extreme and random integers.
func TestI8(t *testing.T) {
	asm := IntsOf(cpu.Detect())
	if !asm.asm {
		t.Skip("NOT RUN: this CPU or build has portable Go only")
	}
	r := rand.New(rand.NewPCG(1, 2))
	words := func(n, lo, hi int) []int16 {
		w := make([]int16, n)
		for i := range w {
			switch r.IntN(8) {
			case 0:
				w[i] = int16(lo)
			case 1:
				w[i] = int16(hi)
			default:
				w[i] = int16(lo + r.IntN(hi-lo+1))
			}
		}
		return w
	}
	b := func(n int) []byte {
		x := make([]byte, n)
		for i := range x {
			x[i] = byte(r.Uint32())
		}
		return x
	}
	bias, mul := make([]int32, 16), make([]float32, 16)
	for i := range bias {
		bias[i], mul[i] = r.Int32N(2000)-1000, float32(r.Float64()*1e-4)
	}
	slope := make([]float32, 16)
	for i := range slope {
		slope[i] = float32(r.NormFloat64())
	}
	// same runs f on portable Go and assembly and compares all of what it wrote.
	same := func(name string, size int, f func(v Ints, out []byte)) {
		t.Helper()
		start := b(size)
		x := slices.Clone(start)
		f(Ints{}, x)
		for _, v := range []Ints{{asm: true}, asm} {
			y := slices.Clone(start)
			if f(v, y); !bytes.Equal(x, y) {
				t.Errorf("%s: assembly differs from portable Go, %+v", name, v)
			}
		}
	}
	for m := 1; m <= 14; m++ {
		for _, k := range []int{4, 8, 36} {
			w, b8 := words(3*k*16, -255, 255), make([]int8, 3*k*16)
			for i := range b8 {
				b8[i] = int8(r.Uint32())
			}
			tile := I8Tile{A: words(4000, -255, 255), Off: []int{0, 100, 150}, K: k, Bias: bias, Mul: mul, LDC: 17, Lo: -100, Hi: 120, Zero: 7}
			for range m {
				tile.Rows = append(tile.Rows, r.IntN(3000))
			}
			slices.Sort(tile.Rows)
			for _, narrow := range []bool{false, true} {
				same("tile", 17*m, func(v Ints, out []byte) {
					t := tile
					t.C = out
					if t.B = w; narrow {
						t.B, t.B8 = nil, b8
					}
					v.Tile(&t)
				})
			}
			same("tile with slopes", 17*m, func(v Ints, out []byte) {
				t := tile
				t.C, t.B, t.Slope = out, w, slope
				v.Tile(&t)
			})
		}
		xw, sums := words(8000, -255, 255), make([]int32, 16*16*m)
		for i := range sums {
			sums[i] = r.Int32N(1<<24) - 1<<23
		}
		same("winograd in", 2*16*16*m*2, func(v Ints, out []byte) {
			d := make([]int16, len(out)/2)
			v.WinoIn(&I8WinoIn{X: xw, Row: 1900, Pixel: 33, V: d, Pos: 32 * m, Step: 32, Blocks: 2, Tiles: m})
			for i, w := range d {
				out[2*i], out[2*i+1] = byte(w), byte(w>>8)
			}
		})
		same("winograd out", 2*40*m+700, func(v Ints, out []byte) {
			v.WinoOut(&I8WinoOut{M: sums, Pos: 16 * m, Bias: bias, Mul: mul, Y: out, Row: 40*m + 16, Pixel: 20, Tiles: m, Lo: -100, Hi: 120, Zero: 7})
		})
		for i := range sums {
			sums[i] = int32(r.Uint32())
		}
		sums4 := append(slices.Clone(sums), make([]int32, 20*16*m)...)
		for i := range sums4[len(sums):] {
			sums4[len(sums)+i] = int32(r.Uint32())
		}
		same("winograd in, 4x4", 2*36*32*m, func(v Ints, out []byte) {
			d := make([]int16, len(out)/2)
			v.WinoIn4(&I8WinoIn{X: xw, Row: 1200, Pixel: 33, V: d, Pos: 32 * m, Step: 32, Blocks: 2, Tiles: m})
			for i, w := range d {
				out[2*i], out[2*i+1] = byte(w), byte(w>>8)
			}
		})
		same("winograd out, 4x4", 4*(80*m+16), func(v Ints, out []byte) {
			v.WinoOut4(&I8WinoOut{M: sums4, Pos: 16 * m, Bias: bias, Mul: mul, Y: out, Row: 80*m + 16, Pixel: 20, Tiles: m, Lo: -100, Hi: 120, Zero: 7, Tmp: make([]int32, 256)})
		})
		same("sums", 64*m, func(v Ints, out []byte) {
			t := I8Tile{A: xw, Off: []int{3}, K: 36, B: xw[:36*16]}
			for i := range m {
				t.Rows = append(t.Rows, 50*i)
			}
			sums := make([]int32, 16*m)
			t.Sums = sums
			v.Sum16(&t)
			for i, w := range sums {
				out[4*i], out[4*i+1], out[4*i+2], out[4*i+3] = byte(w), byte(w>>8), byte(w>>16), byte(w>>24)
			}
		})
		xb4, wb := b(64*(m+12)), make([]int8, 5*64)
		for i := range wb {
			wb[i] = int8(r.Uint32())
		}
		same("depthwise by fours", 2*19*m+20, func(v Ints, out []byte) {
			v.DWDot(&I8DWDot{X: xb4, Off: []int{0, 64, 3, 640, 128}, RSX: 64, W: wb, Bias: bias, Mul: mul, Y: out, LDY: 19, Pixels: m, Lo: -100, Hi: 120, Zero: 7, Row: 70, Line: 19*m + 1, Rows: 2})
		})
		same("transpose", 700+16*m, func(v Ints, out []byte) {
			v.Transpose(out, xb4, 40, 17, min(m, 3), 16, 160)
		})
		same("rows in fours", 64*m+3, func(v Ints, out []byte) {
			v.Quads(out, &[4][]byte{xb4, xb4[5:], xb4[40:56], xb4[100:]}, &[4]int{16, 17, 0, 32}, m, byte(m)&1<<7)
		})
		same("depthwise", 19*m, func(v Ints, out []byte) {
			v.Depthwise(&I8Depthwise{X: make([]int16, 4000), Off: []int{0, 5}, RSX: 16, W: make([]int16, 32), Bias: bias, Mul: mul, Y: out, LDY: 19, Pixels: m, Lo: -128, Hi: 127})
		})
		x, w := words(4000, -255, 255), words(10*16, -255, 255)
		same("depthwise", 19*m, func(v Ints, out []byte) {
			v.Depthwise(&I8Depthwise{X: x, Off: []int{0, 20, 40, 205, 225, 245, 300, 320, 340, 340}, RSX: 33, W: w, Bias: bias, Mul: mul, Y: out, LDY: 19, Pixels: m, Lo: -50, Hi: 90, Zero: 60})
		})
		xb := b(4000)
		tables := b(256 * (m + 5))
		for _, channels := range []int{1, 16, 31, 64, 100, 176} {
			lookup := LookupOf(tables)
			same("lookup", 180*m, func(v Ints, out []byte) { v.Lookup(out, xb, lookup, m, 180, channels+3, channels) })
			same("lookup in place", 180*m, func(v Ints, out []byte) {
				copy(out, xb)
				v.Lookup(out, out, lookup, m, 180, 180, channels)
			})
		}
		same("tables", 30*m, func(v Ints, out []byte) { v.Tables(out, xb, tables, m, 30, 37, m+5) })
		same("widen16", 32*m, func(v Ints, out []byte) {
			d := make([]int16, 16*m)
			v.Widen16(d, xb, m, 37, m%2 == 0, 9)
			for i, w := range d {
				out[2*i], out[2*i+1] = byte(w), byte(w>>8)
			}
		})
		for _, signed := range []bool{false, true} {
			same("max", 64*m, func(v Ints, out []byte) {
				v.Max(&I8Max{X: xb, Off: []int{3, 40, 99}, RSX: 64, Y: out, LDY: 64, Pixels: m, Blocks: 1 + m%3, Signed: signed})
			})
		}
	}
	for _, n := range []int{0, 1, 15, 16, 17, 63, 64, 200, 1000} {
		x, y := b(n), b(n)
		if n >= 16 {
			same("add pixels", 64, func(v Ints, out []byte) {
				sums := [16]int32{5: -7}
				v.AddPixels(&sums, x, (n-16)/19+1, 19, byte(n)&1<<7)
				for i, w := range sums {
					out[4*i], out[4*i+1], out[4*i+2], out[4*i+3] = byte(w), byte(w>>8), byte(w>>16), byte(w>>24)
				}
			})
		}
		for _, flip := range []int{0, 0x80, 0x8000, 0x8080} {
			same("sum", n+5, func(v Ints, out []byte) {
				v.Sum(&I8Sum{A: x, B: y, Y: out, N: n, Flip: flip, ZA: 131, ZB: 7, MA: 0.731, MB: 0.377, Lo: -90, Hi: 165, Zero: 90})
			})
			same("sum in place", n+5, func(v Ints, out []byte) {
				v.Sum(&I8Sum{A: out, B: y, Y: out, N: n, Flip: flip, ZA: 31, ZB: 7, MA: 0.25, MB: 1e6, Lo: -128, Hi: 127, Zero: 0})
			})
			same("product", n+5, func(v Ints, out []byte) {
				v.Product(&I8Product{A: x, B: y, Y: out, Pixels: 1, N: n, Flip: flip, ZA: 131, ZB: 7, Mul: 0.0131, Lo: -90, Hi: 165, Zero: 90})
			})
			same("product in place", n+5, func(v Ints, out []byte) {
				v.Product(&I8Product{A: out, B: y, Y: out, StepA: n, StepY: n, Pixels: 1, N: n, Flip: flip, ZA: 255, ZB: 255, Mul: 1e30, Lo: -128, Hi: 127})
			})
			same("product of pixels", n+5, func(v Ints, out []byte) {
				v.Product(&I8Product{A: x, B: y, Y: out, StepA: n / 4, StepY: n/4 + 1, Pixels: 3, N: n / 4, Flip: flip, ZA: 3, ZB: 255, Mul: 0.003, Lo: 0, Hi: 200})
			})
			same("sum beyond int32", n+5, func(v Ints, out []byte) {
				v.Sum(&I8Sum{A: x, B: y, Y: out, N: n, Flip: flip, ZA: 131, ZB: 7, MA: 0.5, MB: 1e9, Lo: -90, Hi: 165, Zero: 90})
			})
		}
		f := make([]float32, 3*n+4)
		for i := range f {
			f[i] = float32(r.NormFloat64() * 100)
			switch r.IntN(10) {
			case 0:
				f[i] = float32(math.NaN())
			case 1:
				f[i] = float32(math.Inf(1 - 2*r.IntN(2)))
			case 2:
				f[i] = 1e30
			case 3:
				f[i] = 0.25 * float32(r.IntN(100)) // ties
			}
		}
		same("quantize", n+5, func(v Ints, out []byte) { v.Quantize(out, f[:n], 0.5, -128, 127, 128) })
		for _, zero := range []int32{0, 128, 255} {
			same("quantize RGB", 3*n+7, func(v Ints, out []byte) {
				v.QuantizeRGB(out[:3*n], f, n+2, 0.5, float32(-zero), float32(255-zero), zero)
			})
		}
		same("quantize RGB", 3*n+7, func(v Ints, out []byte) { v.QuantizeRGB(out[:3*n], f, n+2, 0.3, -125, 130, -3) })
		same("lookup", n+5, func(v Ints, out []byte) { v.Lookup(out, x, LookupOf(b8table), 1, 0, 0, n) })
		for _, signed := range []bool{false, true} {
			same("widen", 2*n+6, func(v Ints, out []byte) {
				d := make([]int16, n)
				v.Widen(d, x, signed, 77)
				for i, w := range d {
					out[2*i], out[2*i+1] = byte(w), byte(w>>8)
				}
			})
			same("dequantize", 4*n, func(v Ints, out []byte) {
				d := make([]float32, n)
				v.Dequantize(d, x, signed, -3, 0.1)
				for i, w := range d {
					u := math.Float32bits(w)
					out[4*i], out[4*i+1], out[4*i+2], out[4*i+3] = byte(u), byte(u>>8), byte(u>>16), byte(u>>24)
				}
			})
		}
	}
}

var b8table = func() []byte {
	t := make([]byte, 256)
	for i := range t {
		t[i] = byte(i*i + 7)
	}
	return t
}()

func BenchmarkI8Tile(b *testing.B) {
	v := IntsOf(cpu.Detect())
	bias, mul := make([]int32, 16), make([]float32, 16)
	for _, k := range []int{64, 576, 4608} {
		for _, narrow := range []bool{false, true} {
			name := "wide"
			t := I8Tile{A: make([]int16, 48*k), Off: []int{0}, K: k, Bias: bias, Mul: mul, C: make([]byte, 48*16), LDC: 16, B: make([]int16, 16*k)}
			if narrow {
				name = "narrow"
				t.B, t.B8 = nil, make([]int8, 16*k)
			}
			for i := range 48 {
				t.Rows = append(t.Rows, i*k)
			}
			b.Run(name+"/"+string(rune('0'+k%7)), func(b *testing.B) {
				for range b.N {
					u := t
					v.Tile(&u)
				}
				b.ReportMetric(float64(b.N)*2*48*16*float64(k)/b.Elapsed().Seconds()/1e9, "GOP/s")
			})
		}
	}
}

// TestWino4 holds that both transforms and the products between give a direct convolution, at the
// largest numbers too.
func TestWino4(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const cin = 64
	for _, tt := range []struct {
		name string
		x, w func() int
	}{
		{"random", func() int { return r.IntN(511) - 255 }, func() int { return r.IntN(256) - 128 }},
		{"largest", func() int { return 255 }, func() int { return -128 }},
		{"extremes", func() int { return 255 - 510*r.IntN(2) }, func() int { return 127 - 255*r.IntN(2) }},
	} {
		for _, v := range []Ints{{}, IntsOf(cpu.Detect())} {
			t.Run(tt.name+"/"+v.Name(), func(t *testing.T) {
				x := make([]int16, 6*6*cin)
				for i := range x {
					x[i] = int16(tt.x())
				}
				b := make([]int16, 36*cin*16) // [place][c/2][lane][2]
				want := [16][16]int32{}
				for l, j := range I8Lanes {
					for c := range cin {
						var g [9]int16
						for i := range g {
							g[i] = int16(tt.w())
						}
						for i, u := range WinoFilter4(&g) {
							b[i*cin*16+(c/2*16+l)*2+c%2] = u
						}
						for p := range want {
							for i, w := range g {
								want[p][j] += int32(w) * int32(x[((p/4+i/3)*6+p%4+i%3)*cin+c])
							}
						}
					}
				}
				d, sums, y := make([]int16, 36*cin), make([]int32, 36*16), make([]byte, 16*16)
				v.WinoIn4(&I8WinoIn{X: x, Row: 6 * cin, Pixel: cin, V: d, Pos: cin, Step: cin, Blocks: cin / 16, Tiles: 1})
				for i := range 36 {
					v.Sum16(&I8Tile{A: d[i*cin:], Rows: Zero, Off: Zero, K: cin, B: b[i*cin*16:][:cin*16], Sums: sums[16*i:]})
				}
				mul := make([]float32, 16)
				for i := range mul {
					mul[i] = 1
				}
				for p := range want { // a bias leaves 3 of what is right
					bias := make([]int32, 16)
					for l, j := range I8Lanes {
						bias[l] = 3 - want[p][j]
					}
					v.WinoOut4(&I8WinoOut{M: sums, Pos: 16, Bias: bias, Mul: mul, Y: y, Row: 64, Pixel: 16, Tiles: 1, Lo: -100, Hi: 100, Tmp: make([]int32, 256)})
					for j, got := range y[16*p:][:16] {
						if got != 3 {
							t.Fatalf("pixel %d, channel %d: %d more than %d", p, j, int8(got)-3, want[p][j])
						}
					}
				}
			})
		}
	}
}
