package kern

import "whit/internal/cpu"

// CodeForm is how the weights of [Codes] are held.
type CodeForm uint8

// The forms, in panels of 16 columns. Indices of 4 bits: a word of 8 ascending k for each
// column, K a multiple of 8; so levels of 4 bits. The others: a byte for each column and k.
const (
	Codes4  CodeForm = iota // indices into a table of 16
	CodesI8                 // int8 levels
	CodesU8                 // uint8 levels
	CodesI4                 // int4 levels
	CodesU4                 // uint4 levels
)

// Nibbles reports a form of 4 bits.
func (f CodeForm) Nibbles() bool { return f == Codes4 || f >= CodesI4 }

// PanelBytes is the size of a panel of k weights a column.
func (f CodeForm) PanelBytes(k int) int {
	if f.Nibbles() {
		return 8 * k
	}
	return 16 * k
}

// Table is the number of floats of the form's table, 0 for levels.
func (f CodeForm) Table() int { return [...]int{16, 0, 0, 0, 0}[f] }

// Codes is one call of the product of M rows, 1 to 4, with a panel of 16 columns of weights:
//
//	Y[m*16+n] = Σ_k X[m*LDX+k] * w(k, n)
//
// added to what Y holds if Acc is set, with one accumulator an output, k ascending, one FMA a step: what kern's dense
// kernels compute with the weights expanded.
type Codes struct {
	X     []float32
	LDX   int
	M, K  int
	W     []byte
	Table []float32
	Scale []float32 // of levels: w = float32(level-Zero[n]) * Scale[n]
	Zero  []int32
	Y     []float32
	Form  CodeForm
	Acc   bool
}

// Coded are the kernels of coded weights of a processor.
type Coded struct{ asm bool }

// CodedOf is the kernels for a processor with features f.
func CodedOf(f cpu.Features) Coded { return Coded{haveAsm && f.AVX2FMA} }

// Name is the name of the kernel of a form.
func (u Coded) Name(f CodeForm) string {
	isa := "go"
	if u.asm {
		isa = "avx2"
	}
	return [...]string{"f32_codes4_", "f32_codesi8_", "f32_codesu8_", "f32_codesi4_", "f32_codesu4_"}[f] + isa
}

// Run computes the panel. It panics where a slice is too short.
func (u Coded) Run(t *Codes) {
	if t.M < 1 || t.M > 4 || t.K < 1 || t.Form.Nibbles() && t.K%8 != 0 {
		panic("kern: codes call out of range")
	}
	_, _, _ = t.X[(t.M-1)*t.LDX+t.K-1], t.W[t.Form.PanelBytes(t.K)-1], t.Y[16*t.M-1]
	if n := t.Form.Table(); n > 0 {
		_ = t.Table[n-1]
	} else {
		_, _ = t.Scale[15], t.Zero[15]
	}
	if u.asm {
		codes(t)
		return
	}
	if !t.Acc {
		clear(t.Y[:16*t.M])
	}
	for k := range t.K {
		for n := range 16 {
			var w float32
			nibble := func() byte { return t.W[(k/8*16+n)*4+k%8/2] >> (k % 2 * 4) & 15 }
			switch t.Form {
			case Codes4:
				w = t.Table[nibble()]
			case CodesI4:
				w = float32(int32(int8(nibble()<<4)>>4)-t.Zero[n]) * t.Scale[n]
			case CodesU4:
				w = float32(int32(nibble())-t.Zero[n]) * t.Scale[n]
			case CodesI8:
				w = float32(int32(int8(t.W[k*16+n]))-t.Zero[n]) * t.Scale[n]
			case CodesU8:
				w = float32(int32(t.W[k*16+n])-t.Zero[n]) * t.Scale[n]
			}
			for m := range t.M {
				t.Y[m*16+n] += float32(t.X[m*t.LDX+k] * w)
			}
		}
	}
}
