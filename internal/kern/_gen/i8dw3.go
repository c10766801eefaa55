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
	d3Hi     = d3Lo + 32
	d3Flip   = d3Hi + 32
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
	t, x, ahead, row, w, y, ldy, pixels, rows reg.GPPhysical
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
		c.VMOVDQU(mem(c.w, 192*half+96+32*j), ymm[15]) // rows 1 and 2
		c.VPSRLD(operand.U8(16), ymm[15], ymm[r+3+j])
	}
}

// words rounds the sums of eight channels in a, and of others in b, to words in w.
func (c *dw3) words(a, b, w reg.VecPhysical, halfA, halfB int, mul, bias reg.GPPhysical) {
	c.VPADDD(mem(bias, 32*halfA), a, a)
	c.VPADDD(mem(bias, 32*halfB), b, b)
	c.VCVTDQ2PS(a, a)
	c.VCVTDQ2PS(b, b)
	c.VMULPS(mem(mul, 32*halfA), a, a)
	c.VMULPS(mem(mul, 32*halfB), b, b)
	c.VCVTPS2DQ(a, a)
	c.VCVTPS2DQ(b, b)
	c.VPACKSSDW(b, a, w)
	c.VPADDSW(mem(c.t, d3Zero), w, w)
}

// bytes limits the words of two pixels, v behind w, and leaves 16 bytes of the first in the lower half of w, and of the second in
// that of v, unless they are one: eight of a and eight of b.
func (c *dw3) bytes(w, v, tmp reg.VecPhysical) {
	c.VPACKUSWB(v, w, w)
	c.VPMAXUB(mem(c.t, d3Lo), w, w)
	c.VPMINUB(mem(c.t, d3Hi), w, w)
	c.VPXOR(mem(c.t, d3Flip), w, w)
	// Four bytes of a, of b, the same of the second pixel, and the next four of each in the upper half.
	x, z := w.(reg.Vec).AsX(), tmp.(reg.Vec).AsX()
	c.VEXTRACTI128(operand.U8(1), w, z)
	if v != w {
		c.VPUNPCKHDQ(z, x, v.(reg.Vec).AsX())
	}
	c.VPUNPCKLDQ(z, x, x)
}

// loop runs over pixels of step bytes, two at a time and at the end one: sums leaves a pixel's words in w, and store
// writes 16 bytes of some pixels.
func (c *dw3) loop(label func(string) string, step int, sums func(w reg.VecPhysical), store func(pixels ...reg.VecPhysical)) {
	w, v, tmp := ymm[15], ymm[12], ymm[14]
	c.Label(label("pixel"))
	c.SUBQ(operand.U8(2), c.pixels)
	c.JLT(operand.LabelRef(label("last")))
	sums(w)
	c.ADDQ(operand.U32(step), c.x)
	sums(v)
	c.ADDQ(operand.U32(step), c.x)
	c.bytes(w, v, tmp)
	store(w, v)
	c.LEAQ(idx(c.y, c.ldy, 2), c.y)
	c.JMP(operand.LabelRef(label("pixel")))
	c.Label(label("last"))
	c.CMPQ(c.pixels, operand.I8(-1))
	c.JNE(operand.LabelRef(label("next")))
	sums(w)
	c.bytes(w, w, tmp)
	store(w)
	c.Label(label("next"))
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
	ahead := c.ahead
	a, b, u := ymm[12], ymm[13], ymm[14]
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
		sums := func(w reg.VecPhysical) {
			for q := range 2 {
				for j := range 3 {
					at := mem(c.x, 64*j)
					if q > 0 {
						at = idx(c.x, c.row, 1)
						at.Disp = 64 * j
					}
					for k, acc := range []reg.VecPhysical{a, b} {
						if weight := ymm[6*k+3*q+j]; q == 0 && j == 0 {
							c.VPMADDWD(at, weight, acc)
						} else {
							c.VPMADDWD(at, weight, u)
							c.VPADDD(u, acc, acc)
						}
					}
				}
			}
			c.words(a, b, w, half, half, mul, bias)
		}
		c.loop(l, 64, sums, func(pixels ...reg.VecPhysical) {
			for i, p := range pixels { // the second rows first
				at := idx(c.y, second, 1)
				if i > 0 {
					c.LEAQ(idx(c.y, c.ldy, 1), ahead)
					at.Base = ahead
				}
				c.VMOVHPS(p.(reg.Vec).AsX(), at)
			}
			for i, p := range pixels {
				c.VMOVQ(p.(reg.Vec).AsX(), mem([]reg.Register{c.y, ahead}[i], 0))
			}
		})
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
	a, b, u := ymm[12], ymm[13], ymm[14]
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
	sums := func(w reg.VecPhysical) {
		for q := range 2 {
			for j := range 3 {
				for half, acc := range []reg.VecPhysical{a, b} {
					at := mem(c.x, 64*j+32*half)
					if q > 0 {
						at = idx(c.x, c.row, 1)
						at.Disp = 64*j + 32*half
					}
					if weight := ymm[6*half+3*q+j]; q == 0 && j == 0 {
						c.VPMADDWD(at, weight, acc)
					} else {
						c.VPMADDWD(at, weight, u)
						c.VPADDD(u, acc, acc)
					}
				}
			}
		}
		c.words(a, b, w, 0, 1, mul, bias)
	}
	c.loop(func(s string) string { return s }, 128, sums, func(pixels ...reg.VecPhysical) {
		for i, p := range pixels {
			at := mem(c.y, 0)
			if i > 0 {
				at = idx(c.y, c.ldy, 1)
			}
			c.VMOVDQU(p.(reg.Vec).AsX(), at)
		}
	})
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
