package kern

// zip3Masks are the shuffles of u8Zip3AVX2: vector v takes byte zip3Masks[48*v+16*plane+j] of that plane to j.
var zip3Masks = func() (m [144]byte) {
	for v := range 3 {
		for j := range 16 {
			for plane := range 3 {
				m[48*v+16*plane+j] = 0x80
			}
			at := 16*v + j
			m[48*v+16*(at%3)+j] = byte(at / 3)
		}
	}
	return m
}()

// Zip3 brings three planes of bytes together: dst[i] = src[i%3*plane+i/3] for i < len(dst), a multiple of 3.
func (v Ints) Zip3(dst, src []byte, plane int) {
	if len(dst) == 0 {
		return
	}
	_ = src[2*plane+len(dst)/3-1]
	k := v.zip3(dst, src, plane)
	for i := k / 3; i < len(dst)/3; i++ {
		o := (*[3]byte)(dst[3*i:])
		o[0], o[1], o[2] = src[i], src[plane+i], src[2*plane+i]
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
