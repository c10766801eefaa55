//go:build !amd64 || noasm

package entropy

const simd = false

func mix4AVX2(*rangeCoder, *[maxInputs]*counter, *mixing, *mixing, int) int {
	panic("entropy: no assembly")
}

func mix8AVX2(*rangeCoder, *[maxInputs]*counter, *mixing, *mixing, int) int {
	panic("entropy: no assembly")
}

func kin16AVX2(*[kinRows]int32, *kinColumn) int32 { panic("entropy: no assembly") }
func kin32AVX2(*[kinRows]int32, *kinColumn) int32 { panic("entropy: no assembly") }
