//go:build !noasm

package kern

func (v Ints) tile(t *I8Tile) {
	switch {
	case !v.asm:
		i8TileGo(t)
	case t.Slope != nil:
		i8GemmSlope6x16AVX2(t)
	case t.B != nil:
		i8Gemm6x16AVX2(t)
	default:
		i8Gemv6x16AVX2(t)
	}
}

func (v Ints) depthwise(t *I8Depthwise) {
	if v.asm {
		i8DW4x16AVX2(t)
	} else {
		i8DepthwiseGo(t)
	}
}

func (v Ints) dwDot(t *I8DWDot) {
	if v.vnni {
		i8DWDot4x16VNNI(t)
	} else {
		i8DWDotGo(t)
	}
}

func (v Ints) quads(dst []byte, src *[4][]byte, stride *[4]int, pixels int, flip byte) bool {
	if v.asm {
		i8QuadsAVX2(&dst[0], &src[0][0], &src[1][0], &src[2][0], &src[3][0], stride, pixels, uint64(flip))
	}
	return v.asm
}

func (v Ints) transpose(dst, src []byte, dstStride, srcStride, squares, dstStep, srcStep int) bool {
	if v.asm {
		i8TransposeAVX2(&dst[0], &src[0], dstStride, srcStride, squares, dstStep, srcStep)
	}
	return v.asm
}

func (v Ints) widen(dst []int16, src []byte, flip byte, zero int) int {
	if !v.asm {
		return 0
	}
	i8WidenAVX2(dst, src, uint64(flip), uint64(zero))
	return len(src) &^ 15
}

func (v Ints) max(t *I8Max) {
	switch {
	case !v.asm:
		i8MaxGo(t)
	case t.Signed:
		i8MaxAVX2(t)
	default:
		u8MaxAVX2(t)
	}
}

func (v Ints) sum(t *I8Sum) int {
	if !v.asm || 255*(t.MA+t.MB) >= 1<<30 {
		return 0
	}
	i8SumAVX2(t)
	if n := t.N &^ 31; n < t.N {
		var m [3][32]byte
		u := *t
		u.A, u.B, u.Y, u.N = m[0][:], m[1][:], m[2][:], 32
		copy(u.A, t.A[n:t.N])
		copy(u.B, t.B[n:t.N])
		i8SumAVX2(&u)
		copy(t.Y[n:t.N], u.Y)
	}
	return t.N
}

func (v Ints) product(t *I8Product) int {
	if !v.asm {
		return 0
	}
	i8ProductAVX2(t)
	return t.N &^ 15
}

func (v Ints) quantize(dst []byte, src []float32, scale, lo, hi float32, zero int32) int {
	if !v.asm {
		return 0
	}
	i8QuantizeAVX2(dst, src, scale, lo, hi, zero)
	n := len(src)
	if n < 16 {
		return 0
	}
	if n%16 != 0 { // the last ones with some before them once more
		i8QuantizeAVX2(dst[n-16:], src[n-16:], scale, lo, hi, zero)
	}
	return n
}

func (v Ints) dequantize(dst []float32, src []byte, flip byte, zero int, scale float32) int {
	if !v.asm {
		return 0
	}
	i8DequantizeAVX2(dst, src, uint64(flip), uint64(zero), scale)
	return len(src) &^ 7
}

func (v Ints) lookup(dst, src []byte, l *Lookup, pixels, dstStride, srcStride, channels int) int {
	if !v.asm {
		return 0
	}
	if v.vbmi {
		i8LookupVBMI(&dst[0], &src[0], &l.table, pixels, dstStride, srcStride, channels)
		return channels
	}
	i8LookupAVX2(&dst[0], &src[0], &l.steps, pixels, dstStride, srcStride, channels)
	return channels &^ 15
}

func (v Ints) sum16(t *I8Tile) {
	if v.asm {
		i8GemmSum6x16AVX2(t)
	} else {
		i8Sum16Go(t)
	}
}

func (v Ints) winoIn(t *I8WinoIn) {
	if v.asm {
		i8WinoInAVX2(t)
	} else {
		i8WinoInGo(t)
	}
}

func (v Ints) winoOut(t *I8WinoOut) {
	if v.asm {
		i8WinoOutAVX2(t)
	} else {
		i8WinoOutGo(t)
	}
}

func (v Ints) winoIn4(t *I8WinoIn) {
	switch {
	case v.vnni && t.Bytes != nil:
		i8WinoIn4x32AVX512(t)
	case v.asm && t.Bytes == nil:
		i8WinoIn4AVX2(t)
	default:
		i8WinoIn4Go(t)
	}
}

func (v Ints) winoOut4(t *I8WinoOut) {
	switch {
	case v.vnni:
		i8WinoOut4x16AVX512(t)
	case v.asm:
		i8WinoOut4AVX2(t)
	default:
		i8WinoOut4Go(t)
	}
}

func (v Ints) winoSums(t *I8WinoSums) { i8WinoSums14x32VNNI(t) }

func (v Ints) tables(dst, src, tables []byte, pixels, dstStride, srcStride, channels int) bool {
	if v.asm {
		i8TablesAVX2(dst, src, tables, pixels, dstStride, srcStride, channels)
	}
	return v.asm
}

func (v Ints) widen16(dst []int16, src []byte, pixels, stride int, flip byte, zero int) bool {
	if v.asm {
		i8Widen16AVX2(dst, src, pixels, stride, uint64(flip), uint64(zero))
	}
	return v.asm
}

func (v Ints) sumAbs(src []byte, flip byte) (n, sum, abs int) {
	if n = len(src) &^ 31; !v.asm || n == 0 {
		return 0, 0, 0
	}
	var s [8]int64
	i8SumAbsAVX2(&src[0], n, uint64(flip), &s)
	return n, int(s[0]+s[1]+s[2]+s[3]) - 128*n, int(s[4] + s[5] + s[6] + s[7])
}
