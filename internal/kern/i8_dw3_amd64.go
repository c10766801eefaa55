//go:build !noasm

package kern

func (v Ints) dw3(t *I8DW3) {
	switch {
	case !v.asm:
		i8DW3Go(t)
	case t.Across == 1:
		i8DW3x2AVX2(t)
	default:
		i8DW3s2AVX2(t)
	}
}

func (v Ints) widenPairs(dst []int16, src [2][]byte, stride [2]int, pixels int, flip byte) bool {
	if v.asm {
		i8WidenPairsAVX2(&dst[0], &src[0][0], &src[1][0], stride[0], stride[1], pixels, uint64(flip))
	}
	return v.asm
}
