package kern

import "whit/internal/cpu"

// Rows is one copy of rows of floats from planes to planes:
//
//	Dst[p*DPlane+r*DRow+i] = Src[p*SPlane+r*SRow+i*Step]
//
// for p < Planes, r < Rows and i < N. Dst and Src do not overlap, nor do rows of Dst;
// distances are not negative.
type Rows struct {
	Dst, Src        []float32
	Planes, Rows, N int
	DPlane, DRow    int
	SPlane, SRow    int
	Step            int
}

// Copier copies rows.
type Copier struct{ asm bool }

// CopierOf is the copier for a processor with features f.
func CopierOf(f cpu.Features) Copier { return Copier{haveAsm && f.AVX2FMA} }

// Copy copies. It panics where a slice is too short.
func (u Copier) Copy(t *Rows) {
	if t.Planes < 1 || t.Rows < 1 || t.N < 1 {
		return
	}
	_ = t.Dst[(t.Planes-1)*t.DPlane+(t.Rows-1)*t.DRow+t.N-1]
	_ = t.Src[(t.Planes-1)*t.SPlane+(t.Rows-1)*t.SRow+(t.N-1)*t.Step]
	if u.asm && copyRows(t) {
		return
	}
	for p := range t.Planes {
		for r := range t.Rows {
			d, s := t.Dst[p*t.DPlane+r*t.DRow:][:t.N], t.Src[p*t.SPlane+r*t.SRow:]
			if t.Step == 1 {
				copy(d, s)
				continue
			}
			for i := range d {
				d[i] = s[i*t.Step]
			}
		}
	}
}
