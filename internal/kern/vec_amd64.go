//go:build !noasm

package kern

// binary computes the first floats in assembly and says how many.
func (Flat) binary(op Op, dst, a, b []float32, sa, sb int) int {
	n := len(dst) &^ 7
	if n == 0 {
		return 0
	}
	d, x, y := &dst[0], &a[0], &b[0]
	switch {
	case sa == 1 && sb == 1:
		switch op {
		case OpAdd:
			f32VecAddVVAVX2(d, x, y, n)
		case OpSub:
			f32VecSubVVAVX2(d, x, y, n)
		case OpMul:
			f32VecMulVVAVX2(d, x, y, n)
		case OpDiv:
			f32VecDivVVAVX2(d, x, y, n)
		case OpPRelu:
			f32VecPReluVVAVX2(d, x, y, n)
		case OpMax:
			f32VecMaxVVAVX2(d, x, y, n)
		}
	case sa == 1:
		switch op {
		case OpAdd:
			f32VecAddVSAVX2(d, x, y, n)
		case OpSub:
			f32VecSubVSAVX2(d, x, y, n)
		case OpMul:
			f32VecMulVSAVX2(d, x, y, n)
		case OpDiv:
			f32VecDivVSAVX2(d, x, y, n)
		case OpPRelu:
			f32VecPReluVSAVX2(d, x, y, n)
		}
	default:
		switch op {
		case OpAdd:
			f32VecAddVSAVX2(d, y, x, n)
		case OpSub:
			f32VecSubSVAVX2(d, x, y, n)
		case OpMul:
			f32VecMulVSAVX2(d, y, x, n)
		case OpDiv:
			f32VecDivSVAVX2(d, x, y, n)
		case OpPRelu:
			f32VecPReluSVAVX2(d, x, y, n)
		}
	}
	return n
}

func (Flat) clamp(dst, a []float32, lo, hi float32) int {
	n := len(dst) &^ 7
	f32VecClampAVX2(&dst[0], &a[0], lo, hi, n)
	return n
}
