package op

import (
	"math"
	"sort"

	"whit/tensor"
)

// Casts from and to the types narrower than float16 and int8, which are storage
// only: every value is a small table. Float8 as Micikevicius et al. (FP8 Formats
// for Deep Learning, 2022) and Noune et al. (8-bit Numerical Formats for Deep
// Neural Networks, 2022) define it, the rest as the OCP Microscaling Formats.

// minifloat is a format of sign, exponent and mantissa.
type minifloat struct {
	bits, man, bias int
	inf             bool  // the largest exponent holds infinity and NaN, as in IEEE 754
	nan             uint8 // the code of a positive NaN; 0: none
	unsigned0       bool  // there is no -0: its code is the only NaN
}

var minifloats = map[tensor.DType]*minifloat{
	tensor.Float8E4M3FN:   {bits: 8, man: 3, bias: 7, nan: 0x7f},
	tensor.Float8E4M3FNUZ: {bits: 8, man: 3, bias: 8, nan: 0x80, unsigned0: true},
	tensor.Float8E5M2:     {bits: 8, man: 2, bias: 15, inf: true, nan: 0x7e},
	tensor.Float8E5M2FNUZ: {bits: 8, man: 2, bias: 16, nan: 0x80, unsigned0: true},
	tensor.Float4E2M1:     {bits: 4, man: 1, bias: 1},
}

// top is the largest finite code.
func (f *minifloat) top() uint8 {
	t := uint8(1)<<(f.bits-1) - 1
	switch {
	case f.inf:
		t -= uint8(1) << f.man // skip the exponent of infinity and NaN
	case f.nan == t:
		t--
	}
	return t
}

// decode is the value of a code.
func (f *minifloat) decode(c uint8) float64 {
	sign := uint8(1) << (f.bits - 1)
	if f.unsigned0 && c == sign {
		return math.NaN()
	}
	s, m := 1.0, c&(sign-1)
	if c&sign != 0 {
		s = -1
	}
	if m > f.top() {
		if f.inf && m == f.top()+1 {
			return math.Inf(int(s))
		}
		return math.NaN()
	}
	e, frac := int(m>>f.man), float64(m&(1<<f.man-1))
	if e == 0 {
		return s * math.Ldexp(frac, 1-f.bias-f.man)
	}
	return s * math.Ldexp(frac+float64(int(1)<<f.man), e-f.bias-f.man)
}

// encode rounds to nearest even. Beyond the range and infinite: the largest number
// where it saturates, else infinity or NaN.
func (f *minifloat) encode(x float64, saturate bool) uint8 {
	sign := uint8(0)
	if math.Signbit(x) {
		sign = 1 << (f.bits - 1)
	}
	top := f.top()
	if x != x {
		switch {
		case f.unsigned0:
			return f.nan
		case f.nan == 0: // no NaN: -0, as ONNX's cases have it
			return 1 << (f.bits - 1)
		}
		return sign | f.nan
	}
	// Codes 0..top rise with their values: the last one not above |x|, then its
	// neighbour where that is nearer, or as near and even.
	a := math.Abs(x)
	c := uint8(sort.Search(int(top)+1, func(i int) bool { return f.decode(uint8(i)) > a }) - 1)
	lo := f.decode(c)
	hi := 2*f.decode(c) - f.decode(c-min(c, 1)) // one step further, also beyond the top
	if c < top {
		hi = f.decode(c + 1)
	}
	if d, u := a-lo, hi-a; d > u || d == u && c&1 == 1 {
		c++
	}
	if c > top {
		switch {
		case saturate || f.nan == 0:
			c = top
		case f.inf:
			c = top + 1
		case f.unsigned0:
			return f.nan
		default:
			c = f.nan
		}
	}
	if c == 0 && f.unsigned0 {
		return 0
	}
	return sign | c
}

// encodeE8M0 gives the exponent of a positive number, biased by 127; 255 is NaN.
func encodeE8M0(x float64, saturate bool, mode string) uint8 {
	switch {
	case x != x:
		return 255
	case math.IsInf(x, 0):
		if saturate {
			return 254
		}
		return 255
	case x == 0:
		if saturate {
			return 0
		}
		return 255
	}
	m, e := math.Frexp(math.Abs(x)) // m in [1/2, 1)
	e--
	switch {
	case mode == "up" && m > 0.5, mode == "nearest" && m >= 0.75:
		e++
	}
	switch {
	case e > 127 && saturate:
		return 254
	case e < -127 && saturate:
		return 0
	case e > 127 || e < -127:
		return 255
	}
	return uint8(e + 127)
}

// isNarrow reports whether d is a float type that only the tables here know.
func isNarrow(d tensor.DType) bool { return minifloats[d] != nil || d == tensor.Float8E8M0 }

// codes are the elements of a tensor of at most 8 bits each, unpacked.
func codes(t *tensor.Tensor) []uint8 {
	b, n := t.Bytes(), t.Len()
	if !t.DType.Packed() {
		return append([]uint8{}, b[:n]...)
	}
	bits := t.DType.Bits()
	per, mask := 8/bits, uint8(1)<<bits-1
	out := make([]uint8, n)
	for i := range out {
		out[i] = b[i/per] >> (i % per * bits) & mask
	}
	return out
}

// setCodes is the inverse of codes; only the low bits of each code count.
func setCodes(t *tensor.Tensor, cs []uint8) {
	b := t.Bytes()
	if !t.DType.Packed() {
		copy(b, cs)
		return
	}
	bits := t.DType.Bits()
	per, mask := 8/bits, uint8(1)<<bits-1
	clear(b[:t.NumBytes()])
	for i, c := range cs {
		b[i/per] |= c & mask << (i % per * bits)
	}
}

// narrowFloats is the values of a tensor of a narrow float type.
func narrowFloats(t *tensor.Tensor) []float64 {
	var table [256]float64
	for c := range table {
		if f := minifloats[t.DType]; f == nil {
			table[c] = math.Ldexp(1, c-127)
			if c == 255 {
				table[c] = math.NaN()
			}
		} else if c < 1<<f.bits {
			table[c] = f.decode(uint8(c))
		}
	}
	x := make([]float64, t.Len())
	for i, c := range codes(t) {
		x[i] = table[c]
	}
	return x
}

// toNarrow rounds x into a tensor of a narrow float type.
func toNarrow(dst *tensor.Tensor, x []float64, o castOptions) {
	cs, f := make([]uint8, len(x)), minifloats[dst.DType]
	for i, v := range x {
		if f == nil {
			cs[i] = encodeE8M0(v, !o.wrap, o.round)
		} else {
			cs[i] = f.encode(v, !o.wrap)
		}
	}
	setCodes(dst, cs)
}

// packedInts is the values of a tensor of 4- or 2-bit integers.
func packedInts(x []int64, t *tensor.Tensor) {
	half := int64(1) << (t.DType.Bits() - 1)
	for i, c := range codes(t) {
		x[i] = int64(c)
		if t.DType.IsSigned() && x[i] >= half {
			x[i] -= 2 * half
		}
	}
}

// toPackedInts keeps the low bits.
func toPackedInts(dst *tensor.Tensor, x []int64) {
	cs := make([]uint8, len(x))
	for i, v := range x {
		cs[i] = uint8(v)
	}
	setCodes(dst, cs)
}
