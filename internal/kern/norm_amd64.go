//go:build !noasm

package kern

func normSums(r, rr, pivot *float64, x *float32, n, pixels, stride int) {
	f32NormSumsAVX2(r, rr, pivot, x, n, pixels, stride)
}

func normGradSums(r, rr, d, dr, pivot *float64, dy, x *float32, n, pixels, dyStride, xStride int) {
	f32NormGradSumsAVX2(r, rr, d, dr, pivot, dy, x, n, pixels, dyStride, xStride)
}

func norm(y, x *float32, mean, factor, bias *float64, n, pixels, yStride, xStride int) {
	f32NormAVX2(y, x, mean, factor, bias, n, pixels, yStride, xStride)
}

func normGrad(dx, dy, x *float32, mean, off, slope, factor *float64, n, pixels, dxStride, dyStride, xStride int) {
	f32NormGradAVX2(dx, dy, x, mean, off, slope, factor, n, pixels, dxStride, dyStride, xStride)
}
