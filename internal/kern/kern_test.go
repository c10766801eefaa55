package kern

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"whit/internal/cpu"
)

// variants calls f for every kernel variant; those that this CPU cannot run are
// skipped and say so.
func variants(t *testing.T, f func(t *testing.T, u *Micro)) {
	for _, i := range []isa{isaGo, isaAVX2, isaAVX512, isaNEON} {
		t.Run(micros[i].Name, func(t *testing.T) {
			if !canRun(micros[i]) {
				t.Skip("NOT RUN: this CPU or build lacks it")
			}
			f(t, micros[i])
		})
	}
}

// canRun reports whether this CPU and build have the variant.
func canRun(u *Micro) bool {
	for _, v := range cpu.Detect().Variants() {
		if isaOf(v) == u.isa {
			return true
		}
	}
	return false
}

func random(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 7))
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(r.NormFloat64())
	}
	return s
}

func TestTileOffsets(t *testing.T) {
	var x Tile
	for _, c := range []struct {
		name string
		got  uintptr
		want uintptr
	}{
		{"M", unsafe.Offsetof(x.M), 0}, {"N", unsafe.Offsetof(x.N), 8}, {"K", unsafe.Offsetof(x.K), 16},
		{"Off", unsafe.Offsetof(x.Off), 24}, {"A", unsafe.Offsetof(x.A), 48}, {"RSA", unsafe.Offsetof(x.RSA), 72},
		{"CSA", unsafe.Offsetof(x.CSA), 80}, {"B", unsafe.Offsetof(x.B), 88}, {"LDB", unsafe.Offsetof(x.LDB), 112},
		{"C", unsafe.Offsetof(x.C), 120}, {"LDC", unsafe.Offsetof(x.LDC), 144}, {"Flags", unsafe.Offsetof(x.Flags), 152},
		{"Col", unsafe.Offsetof(x.Col), 160}, {"Row", unsafe.Offsetof(x.Row), 184}, {"Alpha", unsafe.Offsetof(x.Alpha), 208},
		{"Lo", unsafe.Offsetof(x.Lo), 212}, {"Hi", unsafe.Offsetof(x.Hi), 216}, {"mask", unsafe.Offsetof(x.mask), 224},
		{"R", unsafe.Offsetof(x.R), 232}, {"LDR", unsafe.Offsetof(x.LDR), 256},
		{"blocks", unsafe.Offsetof(x.blocks), 264}, {"lines", unsafe.Offsetof(x.lines), 272}, {"aJump", unsafe.Offsetof(x.aJump), 280},
		{"cJump", unsafe.Offsetof(x.cJump), 288}, {"rJump", unsafe.Offsetof(x.rJump), 296}, {"left", unsafe.Offsetof(x.left), 304}, {"ahead", unsafe.Offsetof(x.ahead), 312}, {"Slope", unsafe.Offsetof(x.Slope), 320},
		{"quads", unsafe.Offsetof(x.quads), 344}, {"rest", unsafe.Offsetof(x.rest), 352}, {"step", unsafe.Offsetof(x.step), 360}, {"end", unsafe.Offsetof(x.end), 368},
	} {
		if c.got != c.want {
			t.Errorf("Tile.%s is at %d, the assembly reads %d", c.name, c.got, c.want)
		}
	}
}

// exact computes the tile in float64 and the bound on the error of any order of
// float32 sums: γ_k Σ|a||b| (Higham, Accuracy and Stability of Numerical
// Algorithms, 2nd ed. 2002, §3.1).
func exact(t *Tile, c []float32) (y, bound []float64) {
	for i := range t.M {
		for j := range t.N {
			var s, abs float64
			if t.Flags&FlagAcc != 0 {
				s = float64(c[i*t.LDC+j])
				abs = math.Abs(s)
			}
			row := 0
			for _, off := range t.Off {
				for k := range t.K {
					p := float64(t.A[off+i*t.RSA+k*t.CSA]) * float64(t.B[row*t.LDB+j])
					row++
					s += p
					abs += math.Abs(p)
				}
			}
			if t.Flags&FlagAlpha != 0 {
				s *= float64(t.Alpha)
				abs *= math.Abs(float64(t.Alpha))
			}
			if t.Flags&FlagCol != 0 {
				s += float64(t.Col[j])
				abs += math.Abs(float64(t.Col[j]))
			}
			if t.Flags&FlagRow != 0 {
				s += float64(t.Row[i])
				abs += math.Abs(float64(t.Row[i]))
			}
			if t.Flags&FlagAdd != 0 {
				s += float64(t.R[i*t.LDR+j])
				abs += math.Abs(float64(t.R[i*t.LDR+j]))
			}
			if t.Flags&FlagPRelu != 0 && s < 0 {
				s *= float64(t.Slope[j])
			}
			if t.Flags&FlagClamp != 0 {
				s = min(float64(t.Hi), max(float64(t.Lo), s))
			}
			y = append(y, s)
			bound = append(bound, float64(row+4)*0x1p-24*abs+1e-30)
		}
	}
	return y, bound
}

// TestImage runs lines of many blocks and compares them with one call a row.
func TestImage(t *testing.T) {
	a, b, col := random(1, 4000), random(2, 64*40), random(3, 32)
	variants(t, func(t *testing.T, u *Micro) {
		for rows := 1; rows <= 2*u.MR+3; rows++ {
			for lines := 1; lines <= 3; lines++ {
				flags := []int{FlagCol, FlagAdd | FlagClamp, FlagAcc}[(rows+lines)%3]
				n := 1 + (7*rows+lines)%u.NR
				x := &Tile{N: n, K: 3, Off: []int{0, 20}, A: a, RSA: 5, CSA: 1, B: b, LDB: u.NR, LDC: n + 1, Flags: flags, Col: col,
					R: a[9:], LDR: 3, Lo: -1, Hi: 1}
				cl := rows*x.LDC + 7
				start := random(4, lines*cl)
				x.C = append([]float32{}, start...)
				u.Image(x, rows, lines, 333, cl, 50)
				want := append([]float32{}, start...)
				for i := range lines {
					for j := range rows {
						y := *x
						y.M, y.A, y.C, y.R = 1, a[i*333+j*5:], want[i*cl+j*x.LDC:], a[9+i*50+j*3:]
						u.Run(&y)
					}
				}
				for i := range want {
					if x.C[i] != want[i] {
						t.Fatalf("%d rows, %d lines, flags %d: element %d is %g, want %g", rows, lines, flags, i, x.C[i], want[i])
					}
				}
			}
		}
	})
}

func TestTile(t *testing.T) {
	a, b, col, row := random(1, 4000), random(2, 64*40), random(3, 32), random(4, 12)
	slope := random(9, 32)
	for i := range slope {
		slope[i] = float32(math.Abs(float64(slope[i]))) / 4 // a bound on the sum bounds the result
	}
	variants(t, func(t *testing.T, u *Micro) {
		for m := 1; m <= u.MR; m++ {
			for n := 1; n <= u.NR; n++ {
				for flags := range 128 {
					if flags != 127 && (m+n+flags)%13 != 0 {
						continue // every combination still meets every tail
					}
					x := &Tile{M: m, N: n, K: 1 + (m+n)%9, Off: [][]int{{0}, {5, 0, 300}}[n%2], A: a, RSA: 37, CSA: 1,
						B: b, LDB: u.NR + n%3, LDC: n + m%2, Flags: flags, Col: col[:n], Row: row[:m], R: a[7:], LDR: n + m%3, Slope: slope[:n], Alpha: 0.75, Lo: -1, Hi: 1.5}
					if m%2 == 1 {
						x.RSA, x.CSA = 1, 41
					}
					start := random(5, m*x.LDC+5)
					x.C = append([]float32{}, start...)
					want, bound := exact(x, start)
					u.Run(x)
					for i := range start {
						r, c := i/x.LDC, i%x.LDC
						if r >= m || c >= n {
							if x.C[i] != start[i] {
								t.Fatalf("%dx%d flags %d: wrote outside of the tile", m, n, flags)
							}
							continue
						}
						if d := math.Abs(float64(x.C[i]) - want[r*n+c]); d > bound[r*n+c] {
							t.Fatalf("%dx%dx%d flags %d: [%d,%d] = %g, want %g, bound %g", m, n, x.K, flags, r, c, x.C[i], want[r*n+c], bound[r*n+c])
						}
					}
				}
			}
		}
	})
}

func TestClampKeepsNaN(t *testing.T) {
	nan := float32(math.NaN())
	variants(t, func(t *testing.T, u *Micro) {
		c := make([]float32, u.NR)
		b := make([]float32, u.NR)
		b[0], b[1] = nan, 5
		u.Run(&Tile{M: 1, N: u.NR, K: 1, Off: Zero, A: []float32{1}, RSA: 1, CSA: 1, B: b, LDB: u.NR, C: c, LDC: u.NR, Flags: FlagClamp, Lo: 0, Hi: 1})
		if c[0] == c[0] || c[1] != 1 || c[2] != 0 {
			t.Errorf("clamp of NaN, 5, 0 to [0,1]: %v", c[:3])
		}
	})
}

var gemmShapes = [][3]int{{1, 1, 1}, {1, 10, 784}, {2, 300, 7}, {7, 33, 100}, {12, 32, 256}, {13, 31, 257}, {128, 300, 300}, {200, 70, 128},
	{50, 200, 600}, {128, 10, 100}, {30, 130, 800}, {5, 3, 0}, {0, 4, 3}, {4, 0, 3}, {1, 70, 600}, {25, 64, 513}}

// TestGEMM compares every variant, packed and not, with float64, and AVX2 with
// AVX-512 bit for bit.
func TestGEMM(t *testing.T) {
	for _, s := range gemmShapes {
		m, n, k := s[0], s[1], s[2]
		if testing.Short() && m*n*k > 1<<20 {
			continue
		}
		for mode := range 6 {
			if m*n*k > 1<<20 && mode != 0 && mode != 3 {
				continue
			}
			t.Run(fmt.Sprintf("%dx%dx%d/%d", m, n, k, mode), func(t *testing.T) { testGEMM(t, m, n, k, mode) })
		}
	}
}

func testGEMM(t *testing.T, m, n, k, mode int) {
	ta, tb, packed := mode&1 != 0, mode&2 != 0, mode >= 4
	flags := []int{FlagCol | FlagClamp, FlagAcc, FlagRow, 0, FlagAlpha | FlagCol, FlagAcc | FlagClamp}[mode]
	lda, ldb, ldc := k+mode, n+mode, n+mode%2
	if ta {
		lda = m + mode
	}
	if tb {
		ldb = k + mode
	}
	a, b := random(1, max(m, k)*lda+lda), random(2, max(n, k)*ldb+ldb)
	col, row, start := random(3, n), random(4, m), random(5, m*ldc)
	// The exact result, as one big tile in float64.
	big := &Tile{M: m, N: n, K: k, Off: Zero, A: a, RSA: lda, CSA: 1, B: b, LDB: ldb, LDC: ldc, Flags: flags, Col: col, Row: row, Alpha: 1.5, Lo: -2, Hi: 3}
	if ta {
		big.RSA, big.CSA = 1, lda
	}
	if tb {
		big.B = make([]float32, k*n)
		for i := range k {
			for j := range n {
				big.B[i*n+j] = b[j*ldb+i]
			}
		}
		big.LDB = n
	}
	want, bound := exact(big, start)
	var bits []float32
	variants(t, func(t *testing.T, u *Micro) {
		g := &GEMM{M: m, N: n, K: k, TransA: ta, TransB: tb, LDA: lda, LDB: ldb, LDC: ldc, PackedB: packed, Flags: flags, Alpha: 1.5, Lo: -2, Hi: 3}
		g.Init(u)
		bb := b
		if packed {
			bb = make([]float32, u.PackedLen(k, n))
			u.PackB(bb, b, tb, ldb, k, n)
		}
		scratch := make([]float32, g.Scratch())
		c := append([]float32{}, start...)
		for i := g.Tiles() - 1; i >= 0; i-- {
			for j := range scratch {
				scratch[j] = float32(math.NaN())
			}
			g.Run(i, a, bb, c, col, row, scratch)
		}
		for i := range m {
			for j := range n {
				if d := math.Abs(float64(c[i*ldc+j]) - want[i*n+j]); !(d <= bound[i*n+j]) {
					t.Fatalf("[%d,%d] = %g, want %g", i, j, c[i*ldc+j], want[i*n+j])
				}
			}
			for j := n; j < ldc; j++ {
				if c[i*ldc+j] != start[i*ldc+j] {
					t.Fatalf("wrote between the rows")
				}
			}
		}
		if u.isa == isaGo {
			return
		}
		if bits == nil {
			bits = c
		}
		for i := range bits {
			if math.Float32bits(bits[i]) != math.Float32bits(c[i]) {
				t.Fatalf("element %d: bits differ between assembly variants: %g, %g", i, bits[i], c[i])
			}
		}
	})
}

func TestGEMMTiles(t *testing.T) {
	for _, s := range gemmShapes {
		for _, u := range micros {
			g := &GEMM{M: s[0], N: s[1], K: s[2]}
			g.Init(u)
			work := s[0] * s[1] * s[2]
			if g.Tiles() < wantTiles && work > wantTiles*splitWork*2 && s[0] > 8*u.MR && s[1] > 8*u.NR {
				t.Errorf("%v %s: %d tiles", s, u.Name, g.Tiles())
			}
		}
	}
}

func TestRunAllocates(t *testing.T) {
	variants(t, func(t *testing.T, u *Micro) {
		g := &GEMM{M: 20, N: 70, K: 30, TransB: true}
		g.Init(u)
		a, b, c, s := random(1, 600), random(2, 2100), make([]float32, 1400), make([]float32, g.Scratch())
		if n := testing.AllocsPerRun(10, func() {
			for i := range g.Tiles() {
				g.Run(i, a, b, c, nil, nil, s)
			}
		}); n != 0 {
			t.Errorf("%v allocations a run", n)
		}
	})
}
