//go:build !amd64 || noasm

package kern

func (w Winograd) in(t *WinogradIn)   { w.inGo(t) }
func (w Winograd) out(t *WinogradOut) { w.outGo(t) }
