//go:build !noasm

package kern

import "unsafe"

func (u *DWMicro) run(t *Depthwise) {
	t.mask = 0
	switch u.isa {
	case isaAVX512:
		if t.N < u.Width {
			t.mask = 1<<t.N - 1
		}
		f32DW6x16AVX512(t)
	case isaAVX2:
		if t.N < u.Width {
			// Invariant: lanes is a global, which does not move.
			t.mask = uintptr(unsafe.Pointer(&lanes[16-t.N]))
		}
		f32DW6x8AVX2(t)
	default:
		depthwiseGo(t)
	}
}
