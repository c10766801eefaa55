package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kern.I8DW3; a test of package kern checks them.
const (
	d3X      = 0
	d3Row    = 24
	d3W      = 32
	d3Bias   = 56
	d3Mul    = 80
	d3Y      = 104
	d3LDY    = 128
	d3Line   = 136
	d3Second = 144
	d3Pixels = 152
	d3Rows   = 160
	d3Zero   = 192 // of consts
	d3Lo     = d3Zero + 32
	d3Hi     = d3Lo + 16
	d3Flip   = d3Hi + 16
)

func init() {
	kernels = append(kernels,
		kernel{"i8_dw3_2x8_avx2", i8DW3x2},
		kernel{"i8_dw3s2_1x16_avx2", i8DW3s2},
		kernel{"i8_widenpairs_avx2", i8WidenPairs})
}

// dw3 has what the kernels share: weights are in Y0 to Y11, vectors of two rows, and Y12 to Y15 are left.
type dw3 struct {
	*build.Context
	t, x, x1, row, w, y, ldy, pixels, rows reg.GPPhysical
}

func newDW3(c *build.Context, name, doc string) *dw3 {
	function(c, name, "func(t *I8DW3)", doc, "I8DW3")
	d := &dw3{c, reg.R14, reg.RSI, reg.RDX, reg.R8, reg.RBX, reg.RDI, reg.R9, reg.RCX, reg.R10}
	c.Load(c.Param("t"), d.t)
	c.MOVQ(mem(d.t, d3W), d.w)
	c.MOVQ(mem(d.t, d3LDY), d.ldy)
	c.MOVQ(mem(d.t, d3Row), d.row)
	c.SHLQ(operand.U8(1), d.row)
	return d
}

// weights loads the three columns of rows 0 and 1 of eight channels into r, and of rows 2 and none.
func (c *dw3) weights(half, r int) {
	for j := range 3 {
		c.VMOVDQU(mem(c.w, 192*half+32*j), ymm[r+j])
		c.VPSRLD(operand.U8(16), mem96(c, half, j), ymm[r+3+j])
	}
}

// mem96 loads rows 1 and 2 of a column into Y15.
func mem96(c *dw3, half, j int) reg.VecPhysical {
	c.VMOVDQU(mem(c.w, 192*half+96+32*j), ymm[15])
	return ymm[15]
}

// finish rounds and packs the sums of eight channels in a, and in b of others, to words in a.
func (c *dw3) finish(a, b reg.VecPhysical, halfA, halfB int, mul, bias reg.GPPhysical) {
	c.VPADDD(mem(bias, 32*halfA), a, a)
	c.VPADDD(mem(bias, 32*halfB), b, b)
	c.VCVTDQ2PS(a, a)
	c.VCVTDQ2PS(b, b)
	c.VMULPS(mem(mul, 32*halfA), a, a)
	c.VMULPS(mem(mul, 32*halfB), b, b)
	c.VCVTPS2DQ(a, a)
	c.VCVTPS2DQ(b, b)
	c.VPACKSSDW(b, a, a)
	c.VPADDSW(mem(c.t, d3Zero), a, a)
	// Four bytes of a, of b, of a and of b, and the next four in the upper half.
	c.VPACKUSWB(a, a, a)
	x, z := a.(reg.Vec).AsX(), b.(reg.Vec).AsX()
	c.VEXTRACTI128(operand.U8(1), a, z)
	c.VPUNPCKLDQ(z, x, x)
	c.VPMAXUB(mem(c.t, d3Lo), x, x)
	c.VPMINUB(mem(c.t, d3Hi), x, x)
	c.VPXOR(mem(c.t, d3Flip), x, x)
}

func i8DW3x2(g *build.Context) {
	c := newDW3(g, "i8DW3x2AVX2", `i8DW3x2AVX2 computes pairs of rows in stride 1:

	for y := range t.Rows {
		for p := range t.Pixels {
			for c := range 16 {
				acc := [2]int32{t.Bias[c], t.Bias[c]}
				for k := range 2 {
					for i := range 3 {
						for j := range 3 {
							acc[k] += t.X[(y+(k+i)/2)*t.Row+32*(p+j)+2*c+(k+i)%2] * w(i, j, c)
						}
					}
				}
				t.Y[y*t.Line+t.Second+p*t.LDY+c] = quantise(acc[1])
				t.Y[y*t.Line+p*t.LDY+c] = quantise(acc[0])
			}
		}
	}`)
	mul, bias, line, second := reg.R11, reg.R12, reg.R13, reg.R15
	c.MOVQ(mem(c.t, d3Mul), mul)
	c.MOVQ(mem(c.t, d3Bias), bias)
	c.MOVQ(mem(c.t, d3Second), second)
	a, b, x, u := ymm[12], ymm[13], ymm[14], ymm[15]
	for half := range 2 {
		l := func(s string) string { return s + string(rune('0'+half)) }
		// Y0 to Y5: rows 0, 1 and 2, none; Y6 to Y11: none, 0 and 1, 2.
		c.weights(half, 0)
		for j := range 3 {
			c.VPSLLD(operand.U8(16), ymm[j], ymm[6+j])
			c.VMOVDQU(mem(c.w, 192*half+96+32*j), ymm[9+j])
		}
		c.MOVQ(mem(c.t, d3Rows), c.rows)
		xs, ys := reg.RAX, line
		c.MOVQ(mem(c.t, d3X), xs)
		c.MOVQ(mem(c.t, d3Y), ys)
		if half > 0 {
			c.ADDQ(operand.U8(32), xs)
			c.ADDQ(operand.U8(8), ys)
		}
		c.Label(l("row"))
		c.MOVQ(xs, c.x)
		c.MOVQ(ys, c.y)
		c.MOVQ(mem(c.t, d3Pixels), c.pixels)
		c.Label(l("pixel"))
		for q := range 2 {
			for j := range 3 {
				at := mem(c.x, 64*j)
				if q > 0 {
					at = idx(c.x, c.row, 1)
					at.Disp = 64 * j
				}
				if q == 0 && j == 0 {
					c.VMOVDQU(at, x)
					c.VPMADDWD(x, ymm[0], a)
					c.VPMADDWD(x, ymm[6], b)
					continue
				}
				c.VMOVDQU(at, x)
				c.VPMADDWD(x, ymm[3*q+j], u)
				c.VPMADDWD(x, ymm[6+3*q+j], x)
				c.VPADDD(u, a, a)
				c.VPADDD(x, b, b)
			}
		}
		c.finish(a, b, half, half, mul, bias)
		at := idx(c.y, second, 1)
		c.VPEXTRQ(operand.U8(1), a.(reg.Vec).AsX(), at)
		c.VMOVQ(a.(reg.Vec).AsX(), mem(c.y, 0))
		c.ADDQ(operand.U8(64), c.x)
		c.ADDQ(c.ldy, c.y)
		c.DECQ(c.pixels)
		c.JNZ(operand.LabelRef(l("pixel")))
		c.ADDQ(c.row, xs)
		c.ADDQ(mem(c.t, d3Line), ys)
		c.DECQ(c.rows)
		c.JNZ(operand.LabelRef(l("row")))
	}
	c.VZEROUPPER()
	c.RET()
}

func i8DW3s2(g *build.Context) {
	c := newDW3(g, "i8DW3s2AVX2", `i8DW3s2AVX2 computes rows in stride 2:

	for y := range t.Rows {
		for p := range t.Pixels {
			for c := range 16 {
				acc := t.Bias[c]
				for i := range 3 {
					for j := range 3 {
						acc += t.X[(y+i/2)*t.Row+32*(2*p+j)+2*c+i%2] * w(i, j, c)
					}
				}
				t.Y[y*t.Line+p*t.LDY+c] = quantise(acc)
			}
		}
	}`)
	mul, bias := reg.R11, reg.R12
	c.MOVQ(mem(c.t, d3Mul), mul)
	c.MOVQ(mem(c.t, d3Bias), bias)
	acc, u := []reg.VecPhysical{ymm[12], ymm[13]}, []reg.VecPhysical{ymm[14], ymm[15]}
	for half := range 2 {
		c.weights(half, 6*half)
	}
	c.MOVQ(mem(c.t, d3Rows), c.rows)
	xs, ys := reg.RAX, reg.R13
	c.MOVQ(mem(c.t, d3X), xs)
	c.MOVQ(mem(c.t, d3Y), ys)
	c.Label("row")
	c.MOVQ(xs, c.x)
	c.MOVQ(ys, c.y)
	c.MOVQ(mem(c.t, d3Pixels), c.pixels)
	c.Label("pixel")
	for q := range 2 {
		for j := range 3 {
			for half := range 2 {
				at := mem(c.x, 64*j+32*half)
				if q > 0 {
					at = idx(c.x, c.row, 1)
					at.Disp = 64*j + 32*half
				}
				if q == 0 && j == 0 {
					c.VPMADDWD(at, ymm[6*half], acc[half])
					continue
				}
				c.VPMADDWD(at, ymm[6*half+3*q+j], u[half])
				c.VPADDD(u[half], acc[half], acc[half])
			}
		}
	}
	c.finish(acc[0], acc[1], 0, 1, mul, bias)
	// Channels 0 to 3, 4 to 7, 8 to 11, 12 to 15.
	c.VMOVDQU(acc[0].(reg.Vec).AsX(), mem(c.y, 0))
	c.ADDQ(operand.U32(128), c.x)
	c.ADDQ(c.ldy, c.y)
	c.DECQ(c.pixels)
	c.JNZ(operand.LabelRef("pixel"))
	c.ADDQ(c.row, xs)
	c.ADDQ(mem(c.t, d3Line), ys)
	c.DECQ(c.rows)
	c.JNZ(operand.LabelRef("row"))
	c.VZEROUPPER()
	c.RET()
}

func i8WidenPairs(c *build.Context) {
	function(c, "i8WidenPairsAVX2", "func(dst *int16, a, b *byte, strideA, strideB, pixels int, flip uint64)", `i8WidenPairsAVX2 is, for p < pixels, at least 1, and c < 16:

	dst[32*p+2*c] = int16(a[p*strideA+c]^byte(flip))
	dst[32*p+2*c+1] = int16(b[p*strideB+c]^byte(flip))`)
	d, a, b, sa, sb, n := reg.RDI, reg.RSI, reg.RBX, reg.R8, reg.R9, reg.RCX
	for i, r := range []reg.Register{d, a, b, sa, sb, n} {
		c.Load(c.Param([]string{"dst", "a", "b", "strideA", "strideB", "pixels"}[i]), r)
	}
	c.Load(c.Param("flip"), reg.RAX)
	c.VMOVQ(reg.RAX, reg.X0)
	c.VPBROADCASTB(reg.X0, reg.X0)
	c.Label("loop")
	c.VPXOR(mem(a, 0), reg.X0, reg.X1)
	c.VPXOR(mem(b, 0), reg.X0, reg.X2)
	c.VPUNPCKLBW(reg.X2, reg.X1, reg.X3)
	c.VPUNPCKHBW(reg.X2, reg.X1, reg.X1)
	c.VPMOVZXBW(reg.X3, reg.Y3)
	c.VPMOVZXBW(reg.X1, reg.Y1)
	c.VMOVDQU(reg.Y3, mem(d, 0))
	c.VMOVDQU(reg.Y1, mem(d, 32))
	c.ADDQ(sa, a)
	c.ADDQ(sb, b)
	c.ADDQ(operand.U8(64), d)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("loop"))
	c.VZEROUPPER()
	c.RET()
}
