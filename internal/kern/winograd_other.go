//go:build (!amd64 && !arm64) || noasm

package kern

func (w Winograd) in(t *WinogradIn)                               { w.inGo(t) }
func (w Winograd) out(t *WinogradOut)                             { w.outGo(t) }
func (w Winograd) grad(t *WinogradIn)                             { w.gradGo(t) }
func (w Winograd) filters([]float32, []float32, int, int, int)    { panic("kern: no assembly") }
func (w Winograd) filterRows([]float32, []float32, int, int, int) { panic("kern: no assembly") }
func (w Winograd) trial([]float32, []float64, []float32, []float64, []float32, []float32) {
	panic("kern: no assembly")
}
