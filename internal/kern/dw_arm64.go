//go:build !noasm

package kern

func (u *DWMicro) run(t *Depthwise) {
	if u.isa == isaNEON {
		f32DW4x8NEON(t)
	} else {
		depthwiseGo(t)
	}
}
