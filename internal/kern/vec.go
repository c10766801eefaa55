package kern

import "whit/internal/cpu"

// Op is an elementwise function of two floats.
type Op uint8

// The functions of [Flat.Binary].
const (
	OpAdd   Op = iota // a + b
	OpSub             // a - b
	OpMul             // a * b
	OpDiv             // a / b
	OpPRelu           // a, or a * b where a < 0
	OpMax             // a, or b where b > a or b is NaN
)

// Flat is elementwise work on contiguous floats. Assembly and portable Go give the
// same bits: every operation rounds once and none is fused.
type Flat struct{ asm, wide bool }

// FlatOf is the work for a processor with features f.
func FlatOf(f cpu.Features) Flat {
	return Flat{asm: haveAsm && (f.AVX2FMA || f.NEON), wide: haveAsm && f.AVX2FMA && f.AVX512}
}

// Binary is dst[i] = op(a[i], b[i]) for i < len(dst); an a or b of step 0 is one
// float for all i (steps are 0 or 1). dst may be a or b.
func (v Flat) Binary(op Op, dst, a, b []float32, sa, sb int) {
	n := len(dst)
	if n == 0 {
		return
	}
	_, _ = a[(n-1)*sa], b[(n-1)*sb]
	k := 0
	if v.asm && sa+sb > 0 && (op != OpMax || sa+sb == 2) {
		k = v.binary(op, dst, a, b, sa, sb)
	}
	if k < n {
		binaryGo(op, dst[k:], a[k*sa:], b[k*sb:], sa, sb)
	}
}

func binaryGo(op Op, dst, a, b []float32, sa, sb int) {
	i, j := 0, 0
	switch op {
	case OpAdd:
		for k := range dst {
			dst[k] = a[i] + b[j]
			i, j = i+sa, j+sb
		}
	case OpSub:
		for k := range dst {
			dst[k] = a[i] - b[j]
			i, j = i+sa, j+sb
		}
	case OpMul:
		for k := range dst {
			dst[k] = a[i] * b[j]
			i, j = i+sa, j+sb
		}
	case OpDiv:
		for k := range dst {
			dst[k] = a[i] / b[j]
			i, j = i+sa, j+sb
		}
	case OpPRelu:
		for k := range dst {
			x := a[i]
			if x < 0 {
				x *= b[j]
			}
			dst[k] = x
			i, j = i+sa, j+sb
		}
	case OpMax:
		for k := range dst {
			x, y := a[i], b[j]
			if y > x || y != y {
				x = y
			}
			dst[k] = x
			i, j = i+sa, j+sb
		}
	}
}

// Clamp is dst[i] = min(hi, max(lo, a[i])) for i < len(dst); NaN stays NaN. dst may be a.
func (v Flat) Clamp(dst, a []float32, lo, hi float32) {
	a = a[:len(dst)]
	k := 0
	if v.asm && len(dst) >= 8 {
		k = v.clamp(dst, a, lo, hi)
	}
	for i, x := range a[k:] {
		dst[k+i] = clamp(x, lo, hi)
	}
}
