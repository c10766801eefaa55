//go:build !amd64 || noasm

package entropy

const simd = false

func mix4AVX2(*rangeCoder, *[maxInputs]*counter, *mixing, *mixing, int) int {
	panic("entropy: no assembly")
}

func mix8AVX2(*rangeCoder, *[maxInputs]*counter, *mixing, *mixing, int) int {
	panic("entropy: no assembly")
}

func nonzeroAVX2(*front, *rangeCoder, *int32) int { panic("entropy: no assembly") }

func negativeAVX2(*front, *rangeCoder, int) int { panic("entropy: no assembly") }

func lengthAVX2(*front, *rangeCoder, int, int, int) int { panic("entropy: no assembly") }

func lookAVX2(*above, *int16, *uint8, *uint8, int, int) { panic("entropy: no assembly") }

func linearAVX2(*linear, int64) { panic("entropy: no assembly") }

func kinAVX2(*kin, int) int32 { panic("entropy: no assembly") }

func kinLearnAVX2(*[kinRows]int32, *[kinRows + 8]int32, *int8, int, int32) {
	panic("entropy: no assembly")
}
