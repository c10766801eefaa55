//go:build !noasm

package kern

func (d Dots) run(t *I8Dot) {
	switch d.isa {
	case isaAMX:
		if p, ok := t.plan(); ok {
			for w := t.work(p); t.tiles(w, p); {
				i8Dot32x32AMX(t, w)
			}
			return
		}
		fallthrough
	case isaAVX512:
		i8Dot6x64VNNI(t)
	default:
		d.runGo(t)
	}
}

func (d Dots) sums(sums []int32, b []int8, quads, panels int) bool {
	fast := d.isa == isaAMX || d.isa == isaAVX512
	if fast {
		i8DotSumsVNNI(&sums[0], &b[0], quads, panels)
	}
	return fast
}
