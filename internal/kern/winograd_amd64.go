//go:build !noasm

package kern

func (w Winograd) in(t *WinogradIn) {
	switch {
	case w.isa == isaGo:
		w.inGo(t)
	case w.isa == isaAVX512 && w.M == 4:
		f32WinoIn416AVX512(t)
	case w.isa == isaAVX512:
		f32WinoIn216AVX512(t)
	case w.M == 4:
		f32WinoIn48AVX2(t)
	default:
		f32WinoIn28AVX2(t)
	}
}

func (w Winograd) out(t *WinogradOut) {
	switch {
	case w.isa == isaGo:
		w.outGo(t)
	case w.isa == isaAVX512 && w.M == 4:
		f32WinoOut416AVX512(t)
	case w.isa == isaAVX512:
		f32WinoOut216AVX512(t)
	case w.M == 4:
		f32WinoOut48AVX2(t)
	default:
		f32WinoOut28AVX2(t)
	}
}

func (w Winograd) grad(t *WinogradIn) {
	switch w.isa {
	case isaGo:
		w.gradGo(t)
	case isaAVX512:
		f32WinoGrad416AVX512(t)
	default:
		f32WinoGrad48AVX2(t)
	}
}

func (w Winograd) filters(dst, g []float32, ldd, ldg, n int) {
	if w.M == 4 {
		f32WinoFilter44AVX2(&dst[0], &g[0], ldd, ldg, n)
	} else {
		f32WinoFilter24AVX2(&dst[0], &g[0], ldd, ldg, n)
	}
}

func (w Winograd) trial(m []float32, exact []float64, v []float32, d []float64, f, g []float32) {
	f32WinoTrial16AVX2(&m[0], &exact[0], &v[0], &d[0], &f[0], &g[0])
}

func (w Winograd) filterRows(dst, g []float32, ldd, ldg, n int) {
	if w.M == 4 {
		f32WinoFilterRows44AVX2(&dst[0], &g[0], ldd, ldg, n)
	} else {
		f32WinoFilterRows24AVX2(&dst[0], &g[0], ldd, ldg, n)
	}
}
