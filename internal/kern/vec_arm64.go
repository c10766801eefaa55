//go:build !noasm

package kern

import "unsafe"

// binary computes the first floats in assembly and says how many.
func (Flat) binary(op Op, dst, a, b []float32, sa, sb int) int {
	n := len(dst) &^ 3
	if n == 0 || op == OpMax {
		return 0
	}
	// Invariant: a and b have n floats, or one where their step is 0, which four stands for.
	four := [2][4]float32{{a[0], a[0], a[0], a[0]}, {b[0], b[0], b[0], b[0]}}
	t := flatNEON{unsafe.Pointer(&dst[0]), unsafe.Pointer(&a[0]), unsafe.Pointer(&b[0]), 16 * sa, 16 * sb, n}
	if sa == 0 {
		t.a = unsafe.Pointer(&four[0])
	}
	if sb == 0 {
		t.b = unsafe.Pointer(&four[1])
	}
	switch op {
	case OpAdd:
		f32VecAddNEON(&t)
	case OpSub:
		f32VecSubNEON(&t)
	case OpMul:
		f32VecMulNEON(&t)
	case OpDiv:
		f32VecDivNEON(&t)
	case OpPRelu:
		f32VecPReluNEON(&t)
	}
	return n
}

func (Flat) clamp(dst, a []float32, lo, hi float32) int {
	n := len(dst) &^ 3
	limits := [8]float32{lo, lo, lo, lo, hi, hi, hi, hi}
	f32VecClampNEON(&flatNEON{unsafe.Pointer(&dst[0]), unsafe.Pointer(&a[0]), unsafe.Pointer(&limits), 16, 0, n})
	return n
}
