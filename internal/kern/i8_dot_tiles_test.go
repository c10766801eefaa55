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

func TestDotWorkOffsets(t *testing.T) {
	var w dotWork
	var d dotTile
	for i, c := range []struct{ got, want uintptr }{
		{unsafe.Offsetof(w.sums), 0}, {unsafe.Offsetof(w.config), 4096}, {unsafe.Offsetof(w.step), 4160}, {unsafe.Offsetof(w.m), 4168},
		{unsafe.Offsetof(w.n), 4176}, {unsafe.Offsetof(w.add), 4192}, {unsafe.Offsetof(w.low), 4194}, {unsafe.Offsetof(w.flip), 4195},
		{unsafe.Offsetof(w.adv), 4200}, {unsafe.Offsetof(w.tiles), 4712},
		{unsafe.Offsetof(d.a), 0}, {unsafe.Offsetof(d.c), 8}, {unsafe.Offsetof(d.adv), 16}, {unsafe.Sizeof(d), 24},
	} {
		if c.got != c.want {
			t.Errorf("field %d is at %d, the assembly reads %d", i, c.got, c.want)
		}
	}
}

// runTilesGo is what i8Dot32x32AMX says.
func runTilesGo(t *I8Dot, w *dotWork) {
	n := 16 * t.Panels
	for _, d := range w.tiles[:w.n] {
		c, adv := d.c, w.adv[d.adv/8:]
		for i := range w.m {
			for j := range n {
				acc := t.Bias[j]
				for s, off := range t.Off {
					for k := range t.K {
						acc += int32(t.A[d.a+i*w.step+off+k]) * int32(t.B[((s*t.K+k)/4*n+j)*4+k%4])
					}
				}
				t.C[c+j] = Quantise(acc, t.Mul[j], t.Lo, t.Hi, t.Zero)
			}
			c += adv[i]
		}
	}
}

// lineDot is a call for lines of rows, a step and a jump apart, and what it shall compute.
func lineDot(d Dots, panels, lines, line, step, jump, k int) (x *I8Dot, want []byte) {
	r := rand.New(rand.NewPCG(uint64(panels*1000+lines), uint64(line*1000+step)))
	some := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = []byte{0, 0x7f, 0x80, 0xff, byte(r.Uint32()), byte(r.Uint32())}[r.IntN(6)]
		}
		return b
	}
	n := 16 * panels
	x = &I8Dot{Off: []int{0, 101, 150}[:1+(lines+line)%3], K: k, Panels: panels, LDC: n + lines%2*16, Lo: -100, Hi: 120, Zero: 7, Line: line}
	x.B = Int8s(some(len(x.Off) * k * n))
	for i := range lines * line {
		x.Rows = append(x.Rows, i/line*jump+i%line*step)
	}
	x.A = some(x.Rows[len(x.Rows)-1] + x.Off[len(x.Off)-1] + k)
	for range n {
		x.Bias, x.Mul = append(x.Bias, r.Int32N(2000)-1000), append(x.Mul, float32(r.Float64()*float64([]float32{1e-5, 1e-4, 1, 200}[r.IntN(4)])))
	}
	x.C = some((len(x.Rows)-1)*x.LDC + n + 9)
	x.Tmp = some(dotTmp)
	if line%2 == 1 {
		x.Lo, x.Hi, x.Zero = -30, 225, 30 // of unsigned bytes
	}
	y := *x
	y.C, y.Line = slices.Clone(x.C), 0
	Dots{Signed: d.Signed}.runGo(&y)
	return x, y.C
}

var lineDots = []struct{ lines, line, step, jump int }{
	{1, 4, 64, 0}, {1, 7, 96, 0}, {1, 16, 64, 0}, {1, 17, 24, 0}, {1, 49, 64, 0}, {1, 300, 8, 0},
	{7, 7, 64, 64 * 9}, {7, 7, 128, 64 * 15}, {7, 7, 16, 16 * 7}, {13, 13, 8, 8 * 15}, {3, 14, 64, 64 * 16}, {2, 56, 4, 4 * 58},
	{5, 2, 64, 64 * 4}, {9, 1, 64, 64 * 3}, {4, 4, 32, 32*6 + 1}, {3, 5, 4, 4 * 50}, {130, 5, 4, 4 * 60}, {60, 33, 4, 4 * 35},
}

// TestI8DotLines compares every variant with the portable sums where rows lie in lines:
// extreme and random bytes, nothing written outside.
func TestI8DotLines(t *testing.T) {
	for _, f := range cpu.Detect().Variants() {
		d, fast := DotsOf(f)
		if !fast && f != (cpu.Features{}) {
			continue
		}
		t.Run(d.Name(), func(t *testing.T) {
			for _, l := range lineDots {
				for panels := 1; panels <= d.Panels(); panels++ {
					for _, k := range []int{64, 192} {
						x, want := lineDot(d, panels, l.lines, l.line, l.step, l.jump, k)
						out := x.C // variants may move x.C on
						if d.Run(x); !bytes.Equal(out, want) {
							t.Error(fmt.Sprintf("%+v, %d panels, k %d: ", l, panels, k), "differs from the portable sums")
						}
					}
				}
			}
		})
	}
}

// TestDotPlans runs the tiles of a plan in Go.
func TestDotPlans(t *testing.T) {
	joined := 0
	for _, l := range lineDots {
		x, want := lineDot(Dots{}, 1, l.lines, l.line, l.step, l.jump, 64)
		p, ok := x.plan()
		if !ok {
			t.Errorf("%+v: no plan", l)
			continue
		}
		if p.joined {
			joined++
		}
		calls := 0
		for w := x.work(p); x.tiles(w, p); calls++ {
			if w.m < 1 || w.m > tileRows {
				t.Fatalf("%+v: tiles of %d rows", l, w.m)
			}
			runTilesGo(x, w)
		}
		if !bytes.Equal(x.C, want) {
			t.Errorf("%+v in plan %+v: differs from the portable sums", l, p)
		}
		if all := p.runs * p.count; calls != (all+workTiles-1)/workTiles {
			t.Errorf("%+v: %d calls for %d tiles", l, calls, all)
		}
	}
	if joined < 3 {
		t.Errorf("%d plans join lines", joined)
	}
	for i, c := range []func(x *I8Dot){
		func(x *I8Dot) { x.Line = 0 }, func(x *I8Dot) { x.Line = 5 }, func(x *I8Dot) { x.K = 36 }, func(x *I8Dot) { x.Panels = 3 },
		func(x *I8Dot) { x.Tmp = nil }, func(x *I8Dot) { x.Rows = x.Rows[:3] },
	} {
		x, _ := lineDot(Dots{}, 1, 7, 7, 64, 64*9, 64)
		c(x)
		if p, ok := x.plan(); ok {
			t.Errorf("case %d has plan %+v", i, p)
		}
	}
}

// BenchmarkI8Dot is convolutions of a block of an image, in columns of a call: lines of rows
// of channels, with the pixels that a window of so many lines and columns adds.
func BenchmarkI8Dot(b *testing.B) {
	for _, f := range cpu.Detect().Variants() {
		d, fast := DotsOf(f)
		if !fast {
			continue
		}
		for _, s := range []struct{ lines, line, channels, window int }{
			{16, 128, 64, 3}, {28, 56, 64, 3}, {28, 28, 128, 3}, {14, 14, 256, 3}, {7, 7, 512, 3},
			{1, 784, 64, 1}, {1, 196, 576, 1}, {1, 49, 512, 1}, {1, 49, 2048, 1},
		} {
			b.Run(fmt.Sprintf("%s/%dx%dx%d/%d", d.Name(), s.lines, s.line, s.channels, s.window), func(b *testing.B) {
				wide := (s.line + s.window - 1) * s.channels
				rows, k, n := s.lines*s.line, s.window*s.channels, 16*d.Panels()
				x := &I8Dot{K: k, Panels: d.Panels(), LDC: n, Line: s.line, Lo: -128, Hi: 127, Bias: make([]int32, n), Mul: make([]float32, n)}
				for i := range s.window {
					x.Off = append(x.Off, i*wide)
				}
				for i := range rows {
					x.Rows = append(x.Rows, i/s.line*wide+i%s.line*s.channels)
				}
				x.A, x.C = make([]byte, (s.lines+s.window-1)*wide), make([]byte, rows*n)
				x.B = make([]int8, 256/n*s.window*k*n) // of 256 columns: calls of a block follow each other
				out := x.C
				x.Tmp = make([]byte, d.Tmp())
				all, size, calls := x.B, s.window*s.window*s.channels*n, 0
				for b.Loop() {
					x.B, x.C = all[calls%(256/n)*size:], out
					d.Run(x)
					calls++
				}
				b.ReportMetric(float64(calls)*2*float64(rows*s.window*k*n)/b.Elapsed().Seconds()/1e9, "GOP/s")
			})
		}
	}
}
