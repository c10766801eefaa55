package kern

import (
	"math"

	"whit/internal/cpu"
)

// Flags of Tile.
const (
	FlagAcc   = 1 << iota // start from C instead of 0
	FlagAlpha             // multiply by Alpha
	FlagCol               // then add Col[j], one for each column
	FlagRow               // then add Row[i], one for each row
	FlagClamp             // then limit to [Lo, Hi]; NaN stays NaN
	FlagAdd               // before the limits, add R
	FlagPRelu             // after FlagAdd, multiply by Slope[j] where the sign is negative
)

// Tile is one call of a product micro-kernel:
//
//	C[i*LDC+j] = epilogue(Σ_s Σ_k A[Off[s]+i*RSA+k*CSA] * B[(s*K+k)*LDB+j])
//
// for i < M, j < N, with one accumulator an output, s and k ascending, one FMA a
// step. All strides are in elements. M is 1..MR and N is 1..NR of the Micro, K
// and len(Off) at least 1.
//
// Off lists where each of the segments of k begins in A: a matrix has the one
// segment {0}; a convolution has one for each row of its window, whose pixels
// are contiguous. B is read NR floats a row whatever N is (Micro.Width of them
// where N ≤ Width), so its last row must have that many.
type Tile struct {
	M, N   int
	K      int
	Off    []int
	A      []float32
	RSA    int // from row to row of A
	CSA    int // from k to k within a segment
	B      []float32
	LDB    int // from k to k of B: NR in a packed panel
	C      []float32
	LDC    int
	Flags  int
	Col    []float32 // at least N
	Row    []float32 // at least M
	Alpha  float32
	Lo, Hi float32
	// mask says which lanes of the last register of a row are columns: bits for
	// AVX-512, the address of 16 words for AVX2.
	mask uintptr
	R    []float32 // row i begins at i*LDR
	LDR  int
	// What Image adds: lines of blocks of M rows.
	blocks, lines       int
	aJump, cJump, rJump int
	left                int
	// What is prefetched: where it begins, how far it goes with every four steps of k, and
	// where it ends, in bytes from B.
	ahead     int
	Slope     []float32 // at least N
	quads     int       // of a segment's k, how many fours, where A and B are dense
	rest      int       // and what is left
	step, end int
	// Ahead is where, in floats from the start of B, the next call's B begins, which is
	// prefetched a little with every block; 0: nowhere.
	Ahead int
}

// Zero is Tile.Off of a plain matrix product.
var Zero = []int{0}

// Micro is a product micro-kernel.
type Micro struct {
	Name   string // "f32_gemm_6x16_avx2"
	MR, NR int    // the largest tile
	Width  int    // N up to Width costs half of NR
	isa    isa
}

type isa uint8

const (
	isaGo isa = iota
	isaAVX2
	isaAVX512
	isaNEON
	isaAMX
)

var micros = map[isa]*Micro{
	isaGo:     {Name: "f32_gemm_4x8_go", MR: 4, NR: 8, Width: 8, isa: isaGo},
	isaAVX2:   {Name: "f32_gemm_6x16_avx2", MR: 6, NR: 16, Width: 8, isa: isaAVX2},
	isaAVX512: {Name: "f32_gemm_12x32_avx512", MR: 12, NR: 32, Width: 16, isa: isaAVX512},
	isaNEON:   {Name: "f32_gemm_6x16_neon", MR: 6, NR: 16, Width: 8, isa: isaNEON},
}

func isaOf(f cpu.Features) isa {
	switch {
	case !haveAsm:
		return isaGo
	case f.AVX512:
		return isaAVX512
	case f.AVX2FMA:
		return isaAVX2
	case f.NEON:
		return isaNEON
	}
	return isaGo
}

// F32 is the best float32 product kernel for a processor with features f.
func F32(f cpu.Features) *Micro { return micros[isaOf(f)] }

// Run computes the tile. It panics where a slice is too short.
func (u *Micro) Run(t *Tile) { u.Image(t, t.M, 1, 0, 0, 0) }

// Rows computes rows of A, as many as there are, by blocks of nearly equal size. M
// is set by it. With FlagRow there may be one block only.
func (u *Micro) Rows(t *Tile, rows int) { u.Image(t, rows, 1, 0, 0, 0) }

// Image computes lines of rows each: line i begins at i*al in A, i*cl in C and i*rl
// in R. It panics where a slice is too short, or for FlagRow and more than one block.
func (u *Micro) Image(t *Tile, rows, lines, al, cl, rl int) {
	if rows < 1 || lines < 1 || uint(t.N-1) >= uint(u.NR) || t.K < 1 || len(t.Off) == 0 {
		panic("kern: tile out of range")
	}
	w := u.NR
	if t.N <= u.Width {
		w = u.Width
	}
	// The kernels do not check: what they touch last must exist.
	_ = t.A[t.Off[len(t.Off)-1]+(lines-1)*al+(rows-1)*t.RSA+(t.K-1)*t.CSA]
	_ = t.B[(len(t.Off)*t.K-1)*t.LDB+w-1]
	_ = t.C[(lines-1)*cl+(rows-1)*t.LDC+t.N-1]
	if t.Flags&FlagCol != 0 {
		_ = t.Col[t.N-1]
	}
	if t.Flags&FlagRow != 0 {
		if rows > u.MR || lines > 1 {
			panic("kern: FlagRow and more than one block")
		}
		_ = t.Row[rows-1]
	}
	if t.Flags&FlagPRelu != 0 {
		_ = t.Slope[t.N-1]
	}
	if t.Flags&FlagAdd != 0 {
		_ = t.R[(lines-1)*rl+(rows-1)*t.LDR+t.N-1]
	}
	// 14 rows are blocks of 5, 5 and 4, not 6, 6 and 2: first the larger ones of
	// all lines, then the others.
	calls := (rows + u.MR - 1) / u.MR
	t.quads, t.rest, t.step, t.end = 0, t.K, 0, 0
	if t.CSA == 1 && t.LDB == u.NR {
		t.quads, t.rest = t.K/4, t.K%4
	}
	if n := calls * lines * len(t.Off) * t.quads; t.Ahead > 0 && n > 0 {
		size := 4 * len(t.Off) * t.K * u.NR
		t.step, t.end = (size+n-1)/n, 4*t.Ahead+size
	}
	ahead := 4 * t.Ahead
	a, c, r, ldr := t.A, t.C, t.R, t.LDR
	small, large := calls-rows%calls, rows%calls
	for _, b := range [2]struct{ first, n, m int }{{0, large, rows/calls + 1}, {large * (rows/calls + 1), small, rows / calls}} {
		if b.n == 0 {
			continue
		}
		t.M, t.blocks, t.lines, t.ahead = b.m, b.n, lines, ahead
		ahead += b.n * lines * len(t.Off) * t.quads * t.step
		t.A, t.C = a[b.first*t.RSA:], c[b.first*t.LDC:]
		t.aJump, t.cJump = al-(b.n-1)*b.m*t.RSA, cl-(b.n-1)*b.m*t.LDC
		if t.Flags&FlagAdd != 0 {
			t.R, t.rJump = r[b.first*t.LDR:], rl-(b.n-1)*b.m*t.LDR
		} else {
			t.LDR, t.rJump = 0, 0 // the kernel moves R whether it is there or not
		}
		u.run(t)
	}
	t.A, t.C, t.R, t.LDR = a, c, r, ldr
}

// blocks runs a block after the other.
func (u *Micro) blocks(t *Tile) {
	a, c, r := t.A, t.C, t.R
	for line := range t.lines {
		for b := range t.blocks {
			t.A = a[line*(t.aJump+(t.blocks-1)*t.M*t.RSA)+b*t.M*t.RSA:]
			t.C = c[line*(t.cJump+(t.blocks-1)*t.M*t.LDC)+b*t.M*t.LDC:]
			if t.Flags&FlagAdd != 0 {
				t.R = r[line*(t.rJump+(t.blocks-1)*t.M*t.LDR)+b*t.M*t.LDR:]
			}
			u.block(t)
		}
	}
}

// tileGo is the specification of the kernels, within the rounding of FMA.
func tileGo(t *Tile) {
	const mr, nr = 4, 8
	var acc [mr][nr]float32
	m, n := t.M, t.N
	if t.Flags&FlagAcc != 0 {
		for i := range m {
			copy(acc[i][:n], t.C[i*t.LDC:])
		}
	}
	row := 0
	for _, off := range t.Off {
		a := t.A[off:]
		for k := range t.K {
			b := (*[nr]float32)(t.B[row*t.LDB:])
			row++
			for i := range m {
				x, c := a[i*t.RSA+k*t.CSA], &acc[i]
				for j := range c {
					c[j] += float32(x * b[j])
				}
			}
		}
	}
	for i := range m {
		c := t.C[i*t.LDC:][:n]
		for j, v := range acc[i][:n] {
			if t.Flags&FlagAlpha != 0 {
				v *= t.Alpha
			}
			if t.Flags&FlagCol != 0 {
				v = float32(v) + t.Col[j]
			}
			if t.Flags&FlagRow != 0 {
				v += t.Row[i]
			}
			if t.Flags&FlagAdd != 0 {
				v = float32(v) + t.R[i*t.LDR+j]
			}
			if t.Flags&FlagPRelu != 0 {
				v = prelu(v, t.Slope[j])
			}
			if t.Flags&FlagClamp != 0 {
				v = clamp(v, t.Lo, t.Hi)
			}
			c[j] = v
		}
	}
}

// prelu is v, or v·slope where v's sign bit is set.
func prelu(v, slope float32) float32 {
	if math.Signbit(float64(v)) {
		v *= slope
	}
	return v
}

func clamp(v, lo, hi float32) float32 {
	if v < lo {
		v = lo
	}
	if v > hi {
		v = hi
	}
	return v
}
