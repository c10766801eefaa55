package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() {
	kernels = append(kernels,
		kernel{"i8_dwdot_4x16_vnni", i8DWDot},
		kernel{"i8_quads_avx2", i8Quads})
}

// Offsets of the fields of kern.I8DWDot that kern.I8Depthwise has not; the others lie as there. A test of package kern checks them.
const (
	ddRow  = 184
	ddLine = 192
	ddRows = 200
)

// i8DWDot computes the last pixels of a row that is no multiple of four with those before them, once more.
func i8DWDot(c *build.Context) {
	function(c, "i8DWDot4x16VNNI", "func(t *I8DWDot)", `i8DWDot4x16VNNI computes rows of pixels of 16 channels; sums are modulo 2³², so in any order:

	for y := range t.Rows {
		for p := range t.Pixels {
			for c := range 16 {
				acc := t.Bias[c]
				for i, off := range t.Off {
					for r := range 4 {
						acc += int32(t.X[y*t.Row+p*t.RSX+off+4*c+r]) * int32(t.W[64*i+4*c+r])
					}
				}
				v := float32(acc) * t.Mul[c]
				t.Y[y*t.Line+p*t.LDY+c] = byte(int32(RNE(min(t.Hi, max(t.Lo, v)))) + t.Zero)
			}
		}
	}`, "I8DWDot")
	t := reg.R14
	c.Load(c.Param("t"), t)
	x, rsx, y, ldy, left := reg.R8, reg.R9, reg.RSI, reg.R12, reg.R15
	bias, mul, lo, hi, zero, w := zmm[16], zmm[17], zmm[18], zmm[19], zmm[20], zmm[21]
	c.MOVQ(mem(t, jBias), reg.RAX)
	c.VMOVDQU32(mem(reg.RAX, 0), bias)
	c.MOVQ(mem(t, jMul), reg.RAX)
	c.VMOVUPS(mem(reg.RAX, 0), mul)
	c.VBROADCASTSS(mem(t, jLo), lo)
	c.VBROADCASTSS(mem(t, jHi), hi)
	c.VPBROADCASTD(mem(t, jZero), zero)
	c.MOVQ(mem(t, jRSX), rsx)
	c.MOVQ(mem(t, jLDY), ldy)
	c.Label("row")
	c.MOVQ(mem(t, jX), x)
	c.MOVQ(mem(t, jY), y)
	c.MOVQ(mem(t, jPixels), left)
	for _, group := range []int{4, 1} {
		l := func(s string) string { return fmt.Sprintf("%s%d", s, group) }
		p := []reg.Register{reg.RAX, reg.RCX, reg.RDX, reg.RDI}[:group]
		tap, off, wp, n := reg.R13, reg.R11, reg.RBX, reg.R10
		c.Label(l("pixels"))
		c.CMPQ(left, operand.U8(group))
		c.JLT(operand.LabelRef(l("done")))
		c.Label(l("go"))
		for i, r := range p {
			c.MOVQ(x, r)
			c.ADDQ(rsx, x)
			c.VMOVDQA32(bias, zmm[i])
		}
		c.MOVQ(mem(t, jOff), tap)
		c.MOVQ(mem(t, jW), wp)
		c.MOVQ(mem(t, jTaps), n)
		c.Label(l("taps"))
		c.MOVQ(mem(tap, 0), off)
		c.VMOVDQU32(mem(wp, 0), w)
		for i, r := range p {
			c.VMOVDQU32(idx(r, off, 1), zmm[4+i])
			c.VPDPBUSD(w, zmm[4+i], zmm[i])
		}
		c.ADDQ(operand.U8(8), tap)
		c.ADDQ(operand.U8(64), wp)
		c.DECQ(n)
		c.JNZ(operand.LabelRef(l("taps")))
		for i := range p {
			a := zmm[i]
			c.VCVTDQ2PS(a, a)
			c.VMULPS(mul, a, a)
			c.VMAXPS(lo, a, a)
			c.VMINPS(hi, a, a)
			c.VCVTPS2DQ(a, a)
			c.VPADDD(zero, a, a)
		}
		for i := range p {
			c.VPMOVDB(zmm[i], mem(y, 0))
			c.ADDQ(ldy, y)
		}
		c.SUBQ(operand.U8(group), left)
		c.JMP(operand.LabelRef(l("pixels")))
		c.Label(l("done"))
		if group == 1 {
			break
		}
		// Back by what is missing to four, if there is something left and something before it.
		c.TESTQ(left, left)
		c.JZ(operand.LabelRef("done1"))
		c.CMPQ(mem(t, jPixels), operand.U8(4))
		c.JLT(operand.LabelRef("pixels1"))
		c.SUBQ(operand.U8(4), left)
		for _, m := range [][2]reg.GPPhysical{{rsx, x}, {ldy, y}} {
			c.MOVQ(m[0], reg.RAX)
			c.IMULQ(left, reg.RAX)
			c.ADDQ(reg.RAX, m[1])
		}
		c.MOVQ(operand.U32(4), left)
		c.JMP(operand.LabelRef(l("go")))
	}
	for _, m := range [][2]int{{ddRow, jX}, {ddLine, jY}} {
		c.MOVQ(mem(t, m[0]), reg.RAX)
		c.ADDQ(reg.RAX, mem(t, m[1]))
	}
	c.DECQ(mem(t, ddRows))
	c.JNZ(operand.LabelRef("row"))
	c.VZEROUPPER()
	c.RET()
}

func i8Quads(c *build.Context) {
	function(c, "i8QuadsAVX2", "func(dst, a, b, c, d *byte, strides *[4]int, pixels int, flip uint64)", `i8QuadsAVX2 is, for p < pixels, at least 1, and i < 16:

	dst[64*p+4*i] = a[p*strides[0]+i]^byte(flip)
	dst[64*p+4*i+1] = b[p*strides[1]+i]^byte(flip)
	dst[64*p+4*i+2] = c[p*strides[2]+i]^byte(flip)
	dst[64*p+4*i+3] = d[p*strides[3]+i]^byte(flip)`)
	dst, n := reg.RDI, reg.RCX
	rows := []reg.Register{reg.RAX, reg.RBX, reg.RDX, reg.RSI}
	steps := []reg.Register{reg.R8, reg.R9, reg.R10, reg.R11}
	c.Load(c.Param("strides"), reg.R12)
	c.Load(c.Param("dst"), dst)
	c.Load(c.Param("pixels"), n)
	for i, r := range rows {
		c.Load(c.Param(string(rune('a'+i))), r.(reg.GPPhysical))
		c.MOVQ(mem(reg.R12, 8*i), steps[i])
	}
	c.Load(c.Param("flip"), reg.R13)
	flip := reg.X15
	c.VMOVQ(reg.R13, flip)
	c.VPBROADCASTB(flip, flip)
	c.Label("loop")
	x := []reg.VecPhysical{reg.X0, reg.X1, reg.X2, reg.X3, reg.X4, reg.X5, reg.X6, reg.X7}
	for i, r := range rows {
		c.VPXOR(mem(r, 0), flip, x[i])
		c.ADDQ(steps[i], r)
	}
	c.VPUNPCKLBW(x[1], x[0], x[4])
	c.VPUNPCKHBW(x[1], x[0], x[5])
	c.VPUNPCKLBW(x[3], x[2], x[6])
	c.VPUNPCKHBW(x[3], x[2], x[7])
	for i := range 2 {
		c.VPUNPCKLWD(x[6+i], x[4+i], x[0])
		c.VPUNPCKHWD(x[6+i], x[4+i], x[1])
		c.VMOVDQU(x[0], mem(dst, 32*i))
		c.VMOVDQU(x[1], mem(dst, 32*i+16))
	}
	c.ADDQ(operand.U8(64), dst)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("loop"))
	c.RET()
}
