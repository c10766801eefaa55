//go:build !noasm

package kern

func (d Dots) run(t *I8Dot) {
	if d.isa == isaAVX512 {
		i8Dot6x64VNNI(t)
	} else {
		d.runGo(t)
	}
}
