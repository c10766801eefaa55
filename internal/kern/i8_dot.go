package kern

import "whit/internal/cpu"

// I8Dot is one call of the product of bytes, for processors with instructions for dot
// products of four bytes: rows of n = 16*Panels columns,
//
//	C[i*LDC+j] = quantise(Bias[j] + Σ_s Σ_k A[Rows[i]+Off[s]+k] * B[((s*K+k)/4*n+j)*4+k%4])
//
// modulo 2³², then times Mul[j] in float32, limited to [Lo, Hi], rounded to even, plus Zero. A
// holds the values as they are, so that Bias has to make up for their zero point: unsigned, or
// signed where Dots.Signed. K is a multiple of 4; Rows and Off ascend. Lo and Hi are integers, and all between
// is of uint8 or all of int8 with Zero added.
//
// Tiles need K to be a multiple of Dots.Group, Panels to be at most Dots.Panels, Tmp of Dots.Tmp bytes,
// and Line: that many rows at a time follow each other in one step, and so do these lines. What
// is not so is computed without them.
type I8Dot struct {
	A      []byte
	Rows   []int
	Off    []int
	K      int
	B      []int8
	Panels int // 1 to DotPanels
	Bias   []int32
	Mul    []float32
	C      []byte
	LDC    int
	Lo, Hi float32
	Zero   int32
	Line   int // 0: rows lie anywhere
	Tmp    []byte
}

// DotPanels is the most panels of 16 columns of a call.
const DotPanels = 4

// Dots is the product of bytes. All variants give the same integers.
type Dots struct {
	Signed bool // A is of int8
	isa    isa
}

// DotsOf is the product for a processor with features f. fast says that it has instructions for it.
func DotsOf(f cpu.Features) (d Dots, fast bool) {
	switch {
	case haveAsm && f.AMX:
		return Dots{isa: isaAMX}, true
	case haveAsm && f.VNNI:
		return Dots{isa: isaAVX512}, true
	case haveAsm && f.DotProd:
		return Dots{isa: isaNEON, Signed: true}, true
	}
	return Dots{isa: isaGo}, false
}

// For is the product for calls of a number of rows, and segs segments of k numbers: tiles that were
// mostly empty would take longer than none. The costs are cycles of 16 rows and columns, as
// measured on a Sapphire Rapids.
func (d Dots) For(rows, segs, k int) Dots {
	if d.isa == isaAMX && (rows < fewRows || 2*segs*k < 30*segs*((k+tileBytes-1)/tileBytes)+90) {
		d.isa = isaAVX512
	}
	return d
}

// Group is what K should be a multiple of.
func (d Dots) Group() int {
	if d.isa == isaAMX {
		return tileBytes
	}
	return 4
}

// Panels is how many panels a call should have at most.
func (d Dots) Panels() int {
	if d.isa == isaAMX {
		return 2
	}
	return DotPanels
}

// Tmp is the bytes that calls need.
func (d Dots) Tmp() int {
	if d.isa == isaAMX {
		return dotTmp
	}
	return 0
}

// Name is what a kernel's name ends in.
func (d Dots) Name() string {
	switch d.isa {
	case isaAMX:
		return "amx"
	case isaAVX512:
		return "vnni"
	case isaNEON:
		return "dotprod"
	}
	return "go"
}

// Run computes a call. It panics where a slice is too short.
func (d Dots) Run(t *I8Dot) {
	m, n := len(t.Rows), 16*t.Panels
	if m == 0 {
		return
	}
	if t.K < 4 || t.K%4 != 0 || len(t.Off) == 0 || t.Panels < 1 || t.Panels > DotPanels || t.LDC < n {
		panic("kern: product of bytes out of range")
	}
	_, _ = t.A[t.Rows[m-1]+t.Off[len(t.Off)-1]+t.K-1], t.B[len(t.Off)*t.K*n-1]
	_, _, _ = t.Bias[n-1], t.Mul[n-1], t.C[(m-1)*t.LDC+n-1]
	d.run(t)
}

// Sums is the sums of the columns of a B of 16*panels columns, of len(sums) = 16*panels: what one adds to all
// of A adds to the products. It panics where a slice is too short.
func (d Dots) Sums(sums []int32, b []int8, panels int) {
	quads := len(b) / (64 * panels)
	if sums = sums[:16*panels]; quads == 0 {
		clear(sums)
		return
	}
	if d.sums(sums, b, quads, panels) {
		return
	}
	clear(sums)
	for i := range quads {
		w := b[64*panels*i:][:64*panels]
		for j := range sums {
			sums[j] += int32(w[4*j]) + int32(w[4*j+1]) + int32(w[4*j+2]) + int32(w[4*j+3])
		}
	}
}

func (d Dots) runGo(t *I8Dot) {
	n := 16 * t.Panels
	flip := int32(0)
	if d.Signed {
		flip = 0x80 // (x^0x80)-0x80 extends the sign
	}
	for i, row := range t.Rows {
		var sums [16 * DotPanels]int32
		acc := sums[:n]
		copy(acc, t.Bias)
		for s, off := range t.Off {
			a, b := t.A[row+off:][:t.K], t.B[s*t.K*n:][:t.K*n]
			for k := 0; k < t.K; k += 4 {
				x := (*[4]byte)(a[k:])
				x0, x1, x2, x3 := int32(x[0])^flip-flip, int32(x[1])^flip-flip, int32(x[2])^flip-flip, int32(x[3])^flip-flip
				for j := range acc {
					w := (*[4]int8)(b[k*n+4*j:])
					acc[j] += x0*int32(w[0]) + x1*int32(w[1]) + x2*int32(w[2]) + x3*int32(w[3])
				}
			}
		}
		c := t.C[i*t.LDC:][:n]
		for j := range c {
			c[j] = Quantise(acc[j], t.Mul[j], t.Lo, t.Hi, t.Zero)
		}
	}
}
