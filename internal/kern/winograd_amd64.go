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

func (w Winograd) filters(dst, g []float32, ldd, ldg, n int) {
	if w.M == 4 {
		f32WinoFilter44AVX2(&dst[0], &g[0], ldd, ldg, n)
	} else {
		f32WinoFilter24AVX2(&dst[0], &g[0], ldd, ldg, n)
	}
}
