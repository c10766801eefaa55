package kern

import (
	"unsafe"

	"whit/internal/cpu"
)

// Sparse is one call of the product kernel of sparse rows with dense planes: an
// output plane is the sum of those input planes that its row names. Rows come in
// blocks of Rows that share the positions of their non-zeros.
//
//	Y[(b*Rows+r)*LDY+j] = epilogue(Σ_k X[Idx[k]/4+j] * W[k*Rows+r])
//
// for the Cnt[b] steps k of block b, which follow those of the block before, and j
// < 8*Vecs*Strips: one accumulator an output, k ascending, one FMA a step. That is what
// kern's dense kernels compute where the weights left out are zero and X is
// finite. Flags are FlagCol (Bias, one for each row), FlagAdd (R, which lies as Y does),
// FlagPRelu (Slope, one for each row) and FlagClamp.
type Sparse struct {
	X      []float32
	Idx    []int32 // where each step's run begins in X, in bytes
	W      []float32
	Cnt    []int32 // steps of each block
	Y      []float32
	LDY    int
	Bias   []float32
	Flags  int
	Lo, Hi float32
	Rows   int // 1 to 4
	Vecs   int // how many times 8 floats: at most SparseMicro.Vecs
	Strips int // how many times these follow each other
	R      []float32
	LDR    int
	Slope  []float32
}

// SparseMicro is the family of kernels of sparse rows.
type SparseMicro struct {
	ISA  string // "avx512", "avx2", "go"
	asm  bool
	vecs [SparseRows + 1]int
}

// SparseRows is the most rows of a block.
const SparseRows = 4

var (
	sparseGo     = &SparseMicro{ISA: "go", vecs: [...]int{0, 8, 4, 3, 3}}
	sparseAVX2   = &SparseMicro{ISA: "avx2", asm: true, vecs: [...]int{0, 8, 4, 3, 3}}
	sparseAVX512 = &SparseMicro{ISA: "avx512", asm: true, vecs: [...]int{0, 12, 8, 8, 6}}
)

// SparseOf is the best family for a processor with features f.
func SparseOf(f cpu.Features) *SparseMicro {
	switch {
	case haveAsm && f.AVX512 && f.AVX2FMA:
		return sparseAVX512
	case haveAsm && f.AVX2FMA:
		return sparseAVX2
	}
	return sparseGo
}

// Vecs is the most Sparse.Vecs of a call for blocks of that many rows.
func (u *SparseMicro) Vecs(rows int) int { return u.vecs[rows] }

// Name is the name of the kernel for blocks of that many rows.
func (u *SparseMicro) Name(rows int) string {
	if rows == 1 {
		return "f32_sparse_" + u.ISA
	}
	return "f32_sparse" + string(rune('0'+rows)) + "x1_" + u.ISA
}

// Run computes the blocks. The steps' runs must lie within X and Idx and W must have
// as many steps as Cnt counts: what packed them is trusted. It panics where
// another slice is too short.
func (u *SparseMicro) Run(t *Sparse) {
	if len(t.Cnt) == 0 {
		return
	}
	if uint(t.Rows-1) >= SparseRows || uint(t.Vecs-1) >= uint(u.vecs[t.Rows]) || t.Strips < 1 {
		panic("kern: sparse call out of range")
	}
	rows := len(t.Cnt) * t.Rows
	_ = t.Y[(rows-1)*t.LDY+8*t.Vecs*t.Strips-1]
	if t.Flags&FlagCol != 0 {
		_ = t.Bias[rows-1]
	}
	if t.Flags&FlagAdd != 0 {
		_ = t.R[(rows-1)*t.LDR+8*t.Vecs*t.Strips-1]
	}
	if t.Flags&FlagPRelu != 0 {
		_ = t.Slope[rows-1]
	}
	u.run(t)
}

// Vector is Run for a vector: Y[b*Rows+r] = Σ_k X[Idx[k]/4] * W[k*Rows+r]. len(Cnt)
// is a multiple of 4, and Rows 1, 2 or 4; of t only X, Idx, W, Cnt, Y and Rows count.
func (u *SparseMicro) Vector(t *Sparse) {
	if len(t.Cnt) == 0 {
		return
	}
	if t.Rows != 1 && t.Rows != 2 && t.Rows != 4 || len(t.Cnt)%4 != 0 {
		panic("kern: sparse call out of range")
	}
	_ = t.Y[len(t.Cnt)*t.Rows-1]
	if u.asm {
		u.vector(t)
		return
	}
	k := 0
	for b, n := range t.Cnt {
		for r := range t.Rows {
			var acc float32
			for i := k; i < k+int(n); i++ {
				acc += float32(t.X[t.Idx[i]/4] * t.W[i*t.Rows+r])
			}
			t.Y[b*t.Rows+r] = acc
		}
		k += int(n)
	}
}

// sparseGoRun is the specification of the kernel, within the rounding of FMA.
func sparseGoRun(t *Sparse) {
	k, width := 0, 8*t.Vecs*t.Strips
	for b, n := range t.Cnt {
		for r := range t.Rows {
			row := b*t.Rows + r
			y := t.Y[row*t.LDY:][:width]
			clear(y)
			for i := k; i < k+int(n); i++ {
				w := t.W[i*t.Rows+r]
				for j, v := range t.X[t.Idx[i]/4:][:width] {
					y[j] += float32(v * w)
				}
			}
			for j, v := range y {
				if t.Flags&FlagCol != 0 {
					v += t.Bias[row]
				}
				if t.Flags&FlagAdd != 0 {
					v += t.R[row*t.LDR+j]
				}
				if t.Flags&FlagPRelu != 0 {
					v = prelu(v, t.Slope[row])
				}
				if t.Flags&FlagClamp != 0 {
					v = clamp(v, t.Lo, t.Hi)
				}
				y[j] = v
			}
		}
		k += int(n)
	}
}

// Planes is one call of the kernels that bring pixels, whose channels are side by
// side, into planes of one channel each, and back:
//
//	Planes[c*LD+i] == Pixels[Off[i]+c]
//
// for i < len(Off), a multiple of 8, and c < C. From planes to pixels an offset
// below zero says that nobody wants the pixel; Dummy, of C floats at least, takes it.
type Planes struct {
	Pixels []float32
	Off    []int
	Planes []float32
	LD     int
	C      int
	Dummy  []float32
}

// To brings pixels into planes. It panics where a slice is too short for the last
// pixel or plane; the other offsets are trusted to lie before the last one.
func (u *SparseMicro) To(t *Planes) {
	if !t.check() {
		return
	}
	if u.asm && t.C >= 8 {
		u.to(t)
		if t.C%8 > 0 {
			l := t.lastChannels()
			u.to(&l)
		}
		return
	}
	for i, off := range t.Off {
		for k, v := range t.Pixels[off : off+t.C] {
			t.Planes[k*t.LD+i] = v
		}
	}
}

// From brings planes into pixels; it checks as To does.
func (u *SparseMicro) From(t *Planes) {
	if !t.check() {
		return
	}
	_ = t.Dummy[t.C-1]
	if u.asm && t.C >= 8 {
		u.from(t)
		if t.C%8 > 0 {
			l := t.lastChannels()
			u.from(&l)
		}
		return
	}
	for i, off := range t.Off {
		if off < 0 {
			continue
		}
		for k := range t.Pixels[off : off+t.C] {
			t.Pixels[off+k] = t.Planes[k*t.LD+i]
		}
	}
}

// lastChannels are the last eight.
func (t *Planes) lastChannels() Planes {
	l, c := *t, t.C-8
	l.Pixels, l.Planes, l.C = t.Pixels[c:], t.Planes[c*t.LD:], 8
	return l
}

func (t *Planes) check() bool {
	n := len(t.Off)
	if n == 0 || t.C == 0 {
		return false
	}
	if n%8 != 0 {
		panic("kern: planes of a number of pixels that is no multiple of 8")
	}
	if last := t.Off[n-1]; last >= 0 {
		_ = t.Pixels[last+t.C-1]
	}
	_ = t.Planes[(t.C-1)*t.LD+n-1]
	return true
}

// Int32s views b, whose first byte must be 4-byte aligned, as int32s.
func Int32s(b []byte) []int32 {
	f := Floats(b)
	// Invariant: the two types have the same size and alignment.
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(f))), len(f))
}
