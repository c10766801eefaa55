//go:build !noasm

package kern

func dwPlanes(t *DWPlanes) {
	if t.Stride == 2 {
		f32DWPlanes2x2x8AVX2(t)
		return
	}
	f32DWPlanes4x8AVX2(t)
}
