//go:build !noasm

package kern

import "unsafe"

const haveAsm = true

// lanes are the masks of AVX2's masked moves: 16 words from lanes[16-n] on have
// the first n set.
var lanes = [32]int32{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}

func (u *Micro) run(t *Tile) {
	switch u.isa {
	case isaAVX512:
		t.mask = 1<<t.N - 1
		f32Gemm12x32AVX512(t)
	case isaAVX2:
		// Invariant: lanes is a global, which does not move.
		t.mask = uintptr(unsafe.Pointer(&lanes[16-t.N]))
		f32Gemm6x16AVX2(t)
	default:
		u.blocks(t)
	}
}

func (u *Micro) block(t *Tile) { tileGo(t) }
