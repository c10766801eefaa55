//go:build !noasm

package kern

const haveAsm = true

func (u *Micro) run(t *Tile) {
	if u.isa == isaNEON && (t.N == u.Width || t.N == u.NR) {
		f32Gemm6x16NEON(t)
	} else {
		u.blocks(t)
	}
}

func (u *Micro) block(t *Tile) {
	if u.isa == isaNEON {
		partNEON(t)
	} else {
		tileGo(t)
	}
}

// partNEON computes a block of fewer columns than the assembly does, beside C.
func partNEON(t *Tile) {
	const mr, nr = 6, 16
	var c, r [mr * nr]float32
	var col, slope [nr]float32
	x := *t
	x.N, x.LDC, x.LDR = nr, nr, nr
	if t.N <= nr/2 {
		x.N = nr / 2
	}
	x.C, x.blocks, x.lines = c[:], 1, 1
	for i := range t.M {
		if t.Flags&FlagAcc != 0 {
			copy(c[i*nr:][:t.N], t.C[i*t.LDC:])
		}
		if t.Flags&FlagAdd != 0 {
			copy(r[i*nr:][:t.N], t.R[i*t.LDR:])
		}
	}
	if t.Flags&FlagAdd != 0 {
		x.R = r[:]
	}
	if t.Flags&FlagCol != 0 {
		copy(col[:t.N], t.Col)
		x.Col = col[:]
	}
	if t.Flags&FlagPRelu != 0 {
		copy(slope[:t.N], t.Slope)
		x.Slope = slope[:]
	}
	f32Gemm6x16NEON(&x)
	for i := range t.M {
		copy(t.C[i*t.LDC:][:t.N], c[i*nr:])
	}
}
