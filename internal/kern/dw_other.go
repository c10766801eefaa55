//go:build (!amd64 && !arm64) || noasm

package kern

func (u *DWMicro) run(t *Depthwise) { depthwiseGo(t) }
