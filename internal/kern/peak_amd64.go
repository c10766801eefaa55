//go:build !noasm

package kern

// peak runs n rounds of the FMA limit of u's instruction set and returns the
// floating-point operations of a round (two an FMA and lane), 0 where there is none.
func (u *Micro) peak(n int) (flops int) {
	switch u.isa {
	case isaAVX2:
		f32PeakAVX2(n)
		return 12 * 8 * 2
	case isaAVX512:
		f32PeakAVX512(n)
		return 24 * 16 * 2
	}
	return 0
}
