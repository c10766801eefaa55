//go:build !noasm

package kern

func zip(dst, a, b []uint32) { x32Zip8AVX2(&dst[0], &a[0], &b[0], len(a)) }

func zip3(dst, a, b, c []uint32) { x32Zip3x8AVX2(&dst[0], &a[0], &b[0], &c[0], len(a)) }
