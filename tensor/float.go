package tensor

import "math"

// F16 is an IEEE 754 binary16 number as its bits.
type F16 uint16

// BF16 is a bfloat16 number as its bits: the upper half of a float32.
type BF16 uint16

// ToF16 rounds to nearest even; values beyond the range become infinite, NaN stays NaN.
func ToF16(f float32) F16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return F16(sign | 0x7e00)
	case b >= 0x477ff000: // 65520 and above round to infinity
		return F16(sign | 0x7c00)
	case b < 0x38800000: // below 2^-14: subnormal, a multiple of 2^-24
		if b < 0x33000000 { // below 2^-25
			return F16(sign)
		}
		e := b >> 23
		m := b&0x7fffff | 0x800000
		shift := 126 - e // 14..24
		q := m >> shift
		rem, half := m&(1<<shift-1), uint32(1)<<(shift-1)
		if rem > half || rem == half && q&1 == 1 {
			q++
		}
		return F16(sign | uint16(q))
	}
	r := b + 0xfff + b>>13&1 // round to nearest even on the 13 dropped bits
	return F16(sign | uint16((r-0x38000000)>>13))
}

// Float32 is exact.
func (h F16) Float32() float32 {
	sign := uint32(h&0x8000) << 16
	e, m := uint32(h>>10&31), uint32(h&0x3ff)
	switch e {
	case 0:
		f := float32(m) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | m<<13)
	}
	return math.Float32frombits(sign | (e+112)<<23 | m<<13)
}

// ToBF16 rounds to nearest even; NaN stays NaN.
func ToBF16(f float32) BF16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return BF16(b>>16 | 0x40)
	}
	return BF16((b + 0x7fff + b>>16&1) >> 16)
}

// Float32 is exact.
func (h BF16) Float32() float32 { return math.Float32frombits(uint32(h) << 16) }

// roundOdd rounds a float64 to float32 towards zero and sets the last bit where
// that was inexact, so that a second rounding to a narrower type is the only one
// that counts (Boldo, Melquiond: When double rounding is odd, 2005).
func roundOdd(x float64) float32 {
	f := float32(x)
	if float64(f) == x || x != x || math.IsInf(float64(f), 0) && math.IsInf(x, 0) {
		return f
	}
	b := math.Float32bits(f)
	if math.Abs(float64(f)) > math.Abs(x) {
		b-- // towards zero
	}
	return math.Float32frombits(b | 1)
}
