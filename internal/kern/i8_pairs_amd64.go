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
