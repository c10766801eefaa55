//go:build !noasm

package kern

func (w Winograd) in(t *WinogradIn) {
	switch {
	case w.isa != isaNEON:
		w.inGo(t)
	case w.M == 4:
		f32WinoIn44NEON(t)
	default:
		f32WinoIn24NEON(t)
	}
}

func (w Winograd) out(t *WinogradOut) {
	switch {
	case w.isa != isaNEON:
		w.outGo(t)
	case w.M == 4:
		f32WinoOut44NEON(t)
	default:
		f32WinoOut24NEON(t)
	}
}

func (w Winograd) grad(t *WinogradIn) {
	if w.isa != isaNEON {
		w.gradGo(t)
		return
	}
	f32WinoGrad44NEON(t)
}

func (w Winograd) filters([]float32, []float32, int, int, int) { panic("kern: no assembly") }

func (w Winograd) filterRows([]float32, []float32, int, int, int) { panic("kern: no assembly") }

func (w Winograd) trial([]float32, []float64, []float32, []float64, []float32, []float32) {
	panic("kern: no assembly")
}
