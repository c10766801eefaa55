package kern

// Transpose turns squares of 16x16 bytes round:
//
//	dst[b*dstStep+j*dstStride+i] = src[b*srcStep+i*srcStride+j]
//
// for b < squares and i, j < 16. It panics where a slice is too short.
func (v Ints) Transpose(dst, src []byte, dstStride, srcStride, squares, dstStep, srcStep int) {
	if squares <= 0 {
		return
	}
	if dstStride|srcStride|dstStep|srcStep < 0 {
		panic("kern: transpose out of range")
	}
	_, _ = dst[(squares-1)*dstStep+15*dstStride+15], src[(squares-1)*srcStep+15*srcStride+15]
	if v.transpose(dst, src, dstStride, srcStride, squares, dstStep, srcStep) {
		return
	}
	for b := range squares {
		for i := range 16 {
			for j, x := range src[b*srcStep+i*srcStride:][:16] {
				dst[b*dstStep+j*dstStride+i] = x
			}
		}
	}
}
