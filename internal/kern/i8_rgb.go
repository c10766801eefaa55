package kern

// rgbMasks are the shuffles of i8Quantize3AVX2: vector v takes byte rgbMasks[48*v+16*plane+j] of that plane to j.
var rgbMasks = func() (m [144]byte) {
	order := [16]byte{0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15} // where packing leaves pixels
	for v := range 3 {
		for j := range 16 {
			for plane := range 3 {
				m[48*v+16*plane+j] = 0x80
			}
			at := 16*v + j
			m[48*v+16*(at%3)+j] = order[at/3]
		}
	}
	return m
}()

// QuantizeRGB is Quantize of three planes that brings their bytes together: dst[i] = quantise(src[i%3*plane+i/3])
// for i < len(dst), a multiple of 3.
func (v Ints) QuantizeRGB(dst []byte, src []float32, plane int, scale, lo, hi float32, zero int32) {
	n := len(dst) / 3
	if n == 0 {
		return
	}
	_ = src[2*plane+n-1]
	for i := v.quantizeRGB(dst, src, plane, scale, lo, hi, zero) / 3; i < n; i++ {
		for c := range 3 {
			dst[3*i+c] = quantize(src[c*plane+i], scale, lo, hi, zero)
		}
	}
}

// AddPixels is sums[c] += x[p*stride+c]^flip for p < pixels and c < 16.
func (v Ints) AddPixels(sums *[16]int32, x []byte, pixels, stride int, flip byte) {
	if pixels <= 0 {
		return
	}
	_ = x[(pixels-1)*stride+15]
	if v.addPixels(sums, x, pixels, stride, flip) {
		return
	}
	for p := range pixels {
		for c, b := range x[p*stride:][:16] {
			sums[c] += int32(b ^ flip)
		}
	}
}
