//go:build !noasm

package kern

func (d Dots) run(t *I8Dot) {
	if d.isa == isaNEON {
		i8Dot4x16DotProd(t)
	} else {
		d.runGo(t)
	}
}

func (d Dots) sums([]int32, []int8, int, int) bool { return false }
