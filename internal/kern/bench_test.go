package kern

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"whit/internal/cpu"
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

// BenchmarkSparse is 64 output planes of 128 inputs each, one weight in ten, on planes of 3136 pixels in pieces that
// stay in the first-level cache; operations count the weights that are there.
func BenchmarkSparse(b *testing.B) {
	for _, u := range []*SparseMicro{sparseGo, sparseAVX2, sparseAVX512} {
		m := map[string]*Micro{"go": micros[isaGo], "avx2": micros[isaAVX2], "avx512": micros[isaAVX512]}[u.ISA]
		if !canRun(m) {
			continue
		}
		for rows := 1; rows <= SparseRows; rows++ {
			const planes, out, steps = 128, 64, 13
			vecs := u.Vecs(rows)
			n := 8 * vecs
			t := &Sparse{X: random(1, planes*(n+16)), Y: make([]float32, (out+rows)*n), LDY: n, Rows: rows, Vecs: vecs, Strips: 1}
			for o := 0; o < out; o += rows {
				t.Cnt = append(t.Cnt, steps)
				for s := range steps {
					t.Idx = append(t.Idx, int32(4*(n+16)*((o*7+s*planes/steps)%planes)))
				}
			}
			t.W = random(2, len(t.Idx)*rows)
			b.Run(u.Name(rows), func(b *testing.B) { measure(b, m, 2*float64(len(t.W)*n), func() { u.Run(t) }) })
		}
	}
}

// BenchmarkCodes is a panel of 16 outputs of a product of one row with 2048 coded weights each.
func BenchmarkCodes(b *testing.B) {
	const k = 2048
	for _, u := range []Coded{{}, CodedOf(cpu.Detect())} {
		m := micros[isaGo]
		if u.asm {
			m = micros[isaAVX2]
		}
		for form := Codes4; form <= CodesU4; form++ {
			t := &Codes{X: random(1, k), LDX: k, M: 1, K: k, W: make([]byte, form.PanelBytes(k)), Table: random(2, form.Table()), Scale: random(3, 16),
				Zero: make([]int32, 16), Y: make([]float32, 16), Form: form}
			b.Run(u.Name(form), func(b *testing.B) { measure(b, m, 2*16*k, func() { u.Run(t) }) })
		}
		if !u.asm && !CodedOf(cpu.Detect()).asm {
			return
		}
	}
}

// BenchmarkDWPlanes is a depthwise convolution 3x3 of 16 planes of 28x28.
func BenchmarkDWPlanes(b *testing.B) {
	if !HaveDWPlanes(cpu.Detect()) {
		b.Skip("NOT RUN: this CPU or build lacks it")
	}
	const planes, size = 16, 28
	for _, stride := range []int{1, 2} {
		out := size / stride
		t := &DWPlanes{X: random(1, 2*DWPlanesSlack+planes*size*size), At: DWPlanesSlack, SPlane: size * size, W: random(2, 9*planes),
			Y: make([]float32, planes*out*out+8), DPlane: out * out, DRow: out, Planes: planes, H: size, Width: size, Rows: out, Cols: out, PH: 1, PW: 1, Stride: stride}
		t.Init()
		b.Run(map[int]string{1: "stride1", 2: "stride2"}[stride], func(b *testing.B) {
			measure(b, micros[isaAVX2], 2*9*float64(planes*out*out), func() { t.Run() })
		})
	}
}

// BenchmarkBytes is elementwise work on 16 KiB of quantised values, in bytes that are written.
func BenchmarkBytes(b *testing.B) {
	const n = 16 << 10
	x, y, z, f := make([]byte, n), make([]byte, n), make([]byte, n), random(1, n)
	for i := range x {
		x[i], y[i] = byte(37*i), byte(91*i)
	}
	lookup := LookupOf(y[:256])
	best := IntsOf(cpu.Detect())
	for _, w := range []struct {
		name string
		has  bool
		v    Ints
	}{{"go", true, Ints{}}, {"avx2", best.asm, Ints{asm: true}}, {"avx512", best.vbmi, best}} {
		if !w.has {
			continue
		}
		v := w.v
		sum := &I8Sum{A: x, B: y, Y: z, N: n, ZA: 3, ZB: 5, MA: 0.5, MB: 0.25, Hi: 255}
		product := &I8Product{A: x, B: y, Y: z, StepA: 64, StepB: 64, StepY: 64, Pixels: n / 64, N: 64, ZA: 3, ZB: 5, Mul: 0.01, Hi: 255}
		gate := *product
		gate.StepB = 0
		for _, c := range []struct {
			name string
			f    func()
		}{
			{"quantize", func() { v.Quantize(z, f, 0.01, 0, 255, 7) }},
			{"dequantize", func() { v.Dequantize(f, x, false, 7, 0.01) }},
			{"lookup", func() { v.Lookup(z, x, lookup, n/64, 64, 64, 64) }},
			{"sum", func() { v.Sum(sum) }},
			{"product", func() { v.Product(product) }},
			{"gate", func() { v.Product(&gate) }},
			{"transpose", func() { v.Transpose(z, x, 16, n/16, n/256, 256, 16) }},
		} {
			b.Run(c.name+"/"+w.name, func(b *testing.B) {
				b.SetBytes(n)
				for b.Loop() {
					c.f()
				}
			})
		}
	}
}

// BenchmarkI8Depthwise is a depthwise convolution of bytes of 16 channels of 28x28, 3x3 and 5x5: the kernel of words,
// and that of four bytes at a time.
func BenchmarkI8Depthwise(b *testing.B) {
	const size = 28
	v := IntsOf(cpu.Detect())
	for _, k := range []int{3, 5} {
		wide, fours := size+k-1, (k+3)/4
		ops := 2 * float64(k*k*16*size*size)
		w := &I8Depthwise{X: make([]int16, wide*wide*16), RSX: 16, W: make([]int16, (k*k+1)*16), Bias: make([]int32, 16), Mul: make([]float32, 16),
			Y: make([]byte, size*16), LDY: 16, Pixels: size, Hi: 255}
		d := &I8DWDot{X: make([]byte, (size+k)*wide*64*fours), RSX: 64, W: make([]int8, fours*k*64), Bias: w.Bias, Mul: w.Mul, Y: make([]byte, size*size*16),
			LDY: 16, Pixels: size, Hi: 255, Row: wide * 64, Line: 16 * size, Rows: size}
		for i := range k {
			for j := range k {
				w.Off = append(w.Off, (i*wide+j)*16)
				if i%4 == 0 {
					d.Off = append(d.Off, (i*wide+j)*64)
				}
			}
		}
		w.Off = append(w.Off, 0) // taps come in pairs
		name := map[int]string{3: "3x3", 5: "5x5"}[k]
		b.Run(name+"/"+v.Name(), func(b *testing.B) {
			for b.Loop() {
				for range size {
					row := *w
					v.Depthwise(&row)
				}
			}
			b.ReportMetric(float64(b.N)*ops/b.Elapsed().Seconds()/1e9, "GOP/s")
		})
		if v.DWDots() {
			b.Run(name+"/vnni", func(b *testing.B) {
				for b.Loop() {
					call := *d
					v.DWDot(&call)
				}
				b.ReportMetric(float64(b.N)*ops/b.Elapsed().Seconds()/1e9, "GOP/s")
			})
		}
	}
}
