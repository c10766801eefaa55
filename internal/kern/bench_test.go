package kern

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// peaks measures each instruction set's FMA limit on one core once: the best of
// several short runs.
var peaks sync.Map

func peakGFLOPS(u *Micro) float64 {
	if v, ok := peaks.Load(u.isa); ok {
		return v.(float64)
	}
	best := 0.0
	for range 20 {
		const n = 200_000
		start := time.Now()
		f := u.peak(n)
		best = max(best, float64(f*n)/float64(time.Since(start).Nanoseconds()))
	}
	peaks.Store(u.isa, best)
	return best
}

// measure times rounds of f, of flops floating-point operations each, and reports
// the best round: what the core can do when nobody else uses it. The peak is the
// best of its rounds, too.
func measure(b *testing.B, u *Micro, flops float64, f func()) {
	f()
	rounds := max(1, int(2e6/flops)) // at least about 10 µs
	best := time.Duration(1 << 62)
	for b.Loop() {
		start := time.Now()
		for range rounds {
			f()
		}
		best = min(best, time.Since(start))
	}
	g := flops * float64(rounds) / float64(best.Nanoseconds())
	b.ReportMetric(g, "GFLOP/s")
	if p := peakGFLOPS(u); p > 0 {
		b.ReportMetric(100*g/p, "%peak")
	}
}

// each runs a sub-benchmark for every variant; flops is the work of one call of
// the function that f makes.
func each(b *testing.B, flops func(u *Micro) float64, f func(u *Micro) func()) {
	for _, i := range []isa{isaGo, isaAVX2, isaAVX512} {
		u := micros[i]
		if !canRun(u) {
			continue
		}
		b.Run(u.Name, func(b *testing.B) { measure(b, u, flops(u), f(u)) })
	}
}

func same(flops int) func(*Micro) float64 { return func(*Micro) float64 { return float64(flops) } }

func BenchmarkPeak(b *testing.B) {
	for _, i := range []isa{isaAVX2, isaAVX512} {
		u := micros[i]
		if !canRun(u) {
			continue
		}
		b.Run(u.Name, func(b *testing.B) {
			const n = 10_000
			measure(b, u, float64(n*u.peak(1)), func() { u.peak(n) })
		})
	}
}

func BenchmarkMicro(b *testing.B) {
	const k = 256
	for _, part := range []struct {
		name string
		m, n func(u *Micro) int
	}{
		{"full", func(u *Micro) int { return u.MR }, func(u *Micro) int { return u.NR }},
		{"half-rows", func(u *Micro) int { return u.MR / 2 }, func(u *Micro) int { return u.NR }},
		{"narrow", func(u *Micro) int { return u.MR }, func(u *Micro) int { return u.Width }},
	} {
		b.Run(part.name, func(b *testing.B) {
			each(b, func(u *Micro) float64 { return float64(2 * part.m(u) * part.n(u) * k) }, func(u *Micro) func() {
				m, n := part.m(u), part.n(u)
				t := &Tile{M: m, N: n, K: k, Off: Zero, A: random(1, k*m), RSA: k, CSA: 1, B: random(2, k*u.NR), LDB: u.NR, C: make([]float32, m*n), LDC: n}
				return func() { u.Run(t) }
			})
		})
	}
}

func BenchmarkGEMM(b *testing.B) {
	for _, s := range []struct {
		name           string
		m, n, k        int
		ta, tb, packed bool
	}{
		{"512", 512, 512, 512, false, false, false},
		{"1024", 1024, 1024, 1024, false, false, false},
		{"conv28x28x128", 784, 128, 1152, false, false, true},
		{"fc1", 128, 300, 784, false, false, false},
		{"fc1packed", 128, 300, 784, false, false, true},
		{"fc1transB", 128, 300, 784, false, true, false},
		{"fc1dW", 784, 300, 128, true, false, false},
		{"fc1dX", 128, 784, 300, false, true, false},
		{"fc3", 128, 10, 100, false, false, false},
	} {
		b.Run(s.name, func(b *testing.B) {
			each(b, same(2*s.m*s.n*s.k), func(u *Micro) func() {
				g := &GEMM{M: s.m, N: s.n, K: s.k, TransA: s.ta, TransB: s.tb, PackedB: s.packed}
				g.Init(u)
				a, w, c := random(1, s.m*s.k), random(2, s.n*s.k), make([]float32, s.m*s.n)
				if s.packed {
					w = make([]float32, u.PackedLen(s.k, s.n))
					u.PackB(w, random(2, s.n*s.k), false, s.n, s.k, s.n)
				}
				scratch := make([]float32, g.Scratch())
				return func() {
					for i := range g.Tiles() {
						g.Run(i, a, w, c, nil, nil, scratch)
					}
				}
			})
		})
	}
}

// BenchmarkConv is the direct convolution's inner loops: one image row by row, a
// 3x3 window as three segments, weights in panels.
func BenchmarkConv(b *testing.B) {
	for _, s := range []struct{ c, size int }{{64, 56}, {128, 28}, {256, 14}, {512, 7}} {
		b.Run(fmt.Sprintf("3x3x%d/%d", s.c, s.size), func(b *testing.B) {
			k, row := 9*s.c, (s.size+2)*s.c
			each(b, same(2*s.size*s.size*s.c*k), func(u *Micro) func() {
				x, w := random(1, (s.size+2)*row), random(2, u.PackedLen(k, s.c))
				y := make([]float32, s.size*s.size*s.c)
				t := &Tile{K: 3 * s.c, Off: []int{0, row, 2 * row}, RSA: s.c, CSA: 1, LDB: u.NR, LDC: s.c}
				calls := (s.size + u.MR - 1) / u.MR
				return func() {
					for n := 0; n < s.c; n += u.NR {
						t.B, t.N = w[n*k:], min(u.NR, s.c-n)
						for oy := range s.size {
							for i := range calls {
								from, to := part(i, calls, s.size)
								t.M, t.A, t.C = to-from, x[oy*row+from*s.c:], y[(oy*s.size+from)*s.c+n:]
								u.Run(t)
							}
						}
					}
				}
			})
		})
	}
}

func BenchmarkDepthwise(b *testing.B) {
	const c, size = 96, 56
	for _, i := range []isa{isaGo, isaAVX2, isaAVX512} {
		u := dwMicros[i]
		if !canRun(micros[i]) {
			continue
		}
		b.Run(u.Name, func(b *testing.B) {
			row := (size + 2) * c
			x, w, y := random(1, (size+2)*row), random(2, 9*u.Width), make([]float32, size*size*c)
			d := &Depthwise{RSX: c, W: w, LDY: c, Pixels: size, N: u.Width}
			for t := range 9 {
				d.Off = append(d.Off, t/3*row+t%3*c)
			}
			measure(b, micros[i], 2*9*size*size*c, func() {
				for ch := 0; ch < c; ch += u.Width {
					for oy := range size {
						d.X, d.Y = x[oy*row+ch:], y[oy*size*c+ch:]
						u.Run(d)
					}
				}
			})
		})
	}
}

// BenchmarkWinograd is the transforms of tiles of 64 channels, in the operations that
// they do (Lavin, Gray 2016, section 4.3 counts them), and filters, in bytes written.
func BenchmarkWinograd(b *testing.B) {
	const c = 64
	for _, i := range []isa{isaGo, isaAVX2} {
		if !canRun(micros[i]) {
			continue
		}
		for _, m := range []int{2, 4} {
			w, a := Winograd{m, i}, m+2
			in := &WinogradIn{X: random(1, 36*c), SH: a * c, SW: c, V: make([]float32, 36*(c+16)), LDP: c + 16, N: c, Tmp: make([]float32, WinogradTmp)}
			out := &WinogradOut{M: random(2, 36*(c+16)), LDP: c + 16, Y: make([]float32, 16*c), SH: m * c, SW: c, N: c, NY: m, NX: m, Tmp: in.Tmp}
			line := map[int]int{2: 4, 4: 17}[m] // of Bᵀ, with two operations an FMA
			back := map[int]int{2: 4, 4: 14}[m] // of Aᵀ
			b.Run(fmt.Sprintf("in%d/%s", m, micros[i].Name), func(b *testing.B) {
				measure(b, micros[i], float64(2*a*line*c), func() { w.In(in) })
			})
			b.Run(fmt.Sprintf("out%d/%s", m, micros[i].Name), func(b *testing.B) {
				measure(b, micros[i], float64((a+m)*back*c), func() { w.Out(out) })
			})
			b.Run(fmt.Sprintf("filters%d/%s", m, micros[i].Name), func(b *testing.B) {
				d, g := make([]float32, 36*16), random(3, 9*16)
				b.SetBytes(int64(4 * a * a * 16))
				for b.Loop() {
					w.Filters(d, g, 16, 16, 16)
				}
			})
		}
	}
}

// BenchmarkPool is a row of 56 windows 3x3 of 64 channels, in operations.
func BenchmarkPool(b *testing.B) {
	const c, n = 64, 56
	t := &Pool{X: random(1, 3*2*(n+1)*c), RSX: 2 * c, Y: make([]float32, n*c), LDY: c, Pixels: n, N: c, Div: 9}
	for i := range 9 {
		t.Off = append(t.Off, i/3*2*n*c+i%3*c)
	}
	sums := make([]float64, c)
	for _, i := range []isa{isaGo, isaAVX2} {
		if !canRun(micros[i]) {
			continue
		}
		u := Pooler{i == isaAVX2}
		for name, f := range map[string]func(){"max": func() { u.Max(t) }, "mean": func() { u.Mean(t) }} {
			b.Run(name+"/"+micros[i].Name, func(b *testing.B) { measure(b, micros[i], 9*n*c, f) })
		}
		b.Run("sum/"+micros[i].Name, func(b *testing.B) { measure(b, micros[i], n*c, func() { u.Sum(sums, t.X, n, c) }) })
	}
}

func BenchmarkFlat(b *testing.B) {
	x, y, z := random(1, 8192), random(2, 8192), make([]float32, 8192)
	for _, v := range []struct {
		name string
		f    Flat
	}{{"go", Flat{}}, {"avx2", Flat{asm: true}}} {
		if v.f.asm && !canRun(micros[isaAVX2]) {
			continue
		}
		b.Run("add/"+v.name, func(b *testing.B) {
			b.SetBytes(3 * 4 * int64(len(x)))
			for b.Loop() {
				v.f.Binary(OpAdd, z, x, y, 1, 1)
			}
		})
		for name, f := range map[string]func(dst, x []float32){"exp": v.f.Exp, "sigmoid": v.f.Sigmoid, "tanh": v.f.Tanh} {
			b.Run(name+"/"+v.name, func(b *testing.B) {
				b.SetBytes(2 * 4 * int64(len(x)))
				for b.Loop() {
					f(z, x)
				}
			})
		}
		b.Run("clamp/"+v.name, func(b *testing.B) {
			b.SetBytes(2 * 4 * int64(len(x)))
			for b.Loop() {
				v.f.Clamp(z, x, 0, 1)
			}
		})
	}
}
