//go:build !noasm

package kern

func (v Ints) pairs(t *I8Pairs) {
	if v.asm {
		i8Pairs2x32AVX2(t)
	} else {
		i8PairsGo(t)
	}
}

func (v Ints) pack(t *I8Pack) {
	if v.asm {
		u := *t
		i8Pack8AVX2(&u)
	} else {
		i8PackGo(t)
	}
}

func (v Ints) unpack(t *I8Unpack) {
	if v.asm {
		i8Unpack16AVX2(t)
	} else {
		i8UnpackGo(t)
	}
}

func (v Ints) quantizeRGB(dst []byte, src []float32, plane int, scale, lo, hi float32, zero int32) int {
	if !v.asm {
		return 0
	}
	i8Quantize3AVX2(dst, src, plane, scale, lo, hi, zero, &rgbMasks)
	return len(dst) / 48 * 48
}

func (v Ints) addPixels(sums *[16]int32, x []byte, pixels, stride int, flip byte) bool {
	if v.asm {
		i8AddPixels16AVX2(sums, x, pixels, stride, uint64(flip))
	}
	return v.asm
}
