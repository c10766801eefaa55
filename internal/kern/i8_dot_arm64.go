//go:build !noasm

package kern

func (d Dots) run(t *I8Dot) {
	if d.isa == isaNEON {
		i8Dot4x16DotProd(t)
	} else {
		d.runGo(t)
	}
}
