package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kern.Rows that the kernels read; a test of package kern
// checks them.
const (
	rwDst    = 0
	rwSrc    = 24
	rwPlanes = 48
	rwRows   = 56
	rwN      = 64
	rwDPlane = 72
	rwDRow   = 80
	rwSPlane = 88
	rwSRow   = 96
)

func init() {
	kernels = append(kernels,
		kernel{"f32_rows_avx2", func(c *build.Context) { rows(c, "f32RowsAVX2", 1) }},
		kernel{"f32_rows2_avx2", func(c *build.Context) { rows(c, "f32Rows2AVX2", 2) }})
}

func rows(c *build.Context, name string, step int) {
	every := ""
	if step == 2 {
		every = "2*"
	}
	function(c, name, "func(t *Rows)", name+` copies rows of planes:

	for p := range t.Planes {
		for r := range t.Rows {
			for i := range t.N {
				t.Dst[p*t.DPlane+r*t.DRow+i] = t.Src[p*t.SPlane+r*t.SRow+`+every+`i]
			}
		}
	}

The last 8 (or 4) floats of a row may be copied twice.`, "Rows")
	t, dst, src, n, i, last := reg.R14, reg.RDI, reg.RSI, reg.RCX, reg.RAX, reg.RDX
	dp, sp, drow, srow, planes, left := reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13
	c.Load(c.Param("t"), t)
	c.MOVQ(mem(t, rwDst), dp)
	c.MOVQ(mem(t, rwSrc), sp)
	c.MOVQ(mem(t, rwDRow), drow)
	c.SHLQ(operand.U8(2), drow)
	c.MOVQ(mem(t, rwSRow), srow)
	c.SHLQ(operand.U8(2), srow)
	c.MOVQ(mem(t, rwN), n)
	c.MOVQ(mem(t, rwPlanes), planes)
	move := func(at reg.Register, width int) {
		s := idx(src, at, uint8(4*step))
		switch {
		case width == 1:
			c.VMOVSS(s, reg.X0)
			c.VMOVSS(reg.X0, idx(dst, at, 4))
		case step == 1 && width == 4:
			c.VMOVUPS(s, reg.X0)
			c.VMOVUPS(reg.X0, idx(dst, at, 4))
		case step == 1:
			c.VMOVUPS(s, reg.Y0)
			c.VMOVUPS(reg.Y0, idx(dst, at, 4))
		default:
			// Floats 0 to 7, and 7 to 14: nothing is read beyond the last one wanted.
			c.VMOVUPS(s, reg.Y0)
			s.Disp = 28
			c.VMOVUPS(s, reg.Y1)
			c.VSHUFPS(operand.U8(0xd8), reg.Y1, reg.Y0, reg.Y0)
			c.VPERMPD(operand.U8(0xd8), reg.Y0, reg.Y0)
			c.VMOVUPS(reg.Y0, idx(dst, at, 4))
		}
	}
	c.Label("plane")
	c.MOVQ(dp, dst)
	c.MOVQ(sp, src)
	c.MOVQ(mem(t, rwRows), left)
	c.Label("row")
	for _, w := range []int{8, 4} {
		if w == 4 && step == 2 {
			continue
		}
		l := map[int]string{8: "eight", 4: "four"}[w]
		c.MOVQ(n, last)
		c.SUBQ(operand.U8(w), last)
		c.JLT(operand.LabelRef("below" + l))
		c.XORQ(i, i)
		c.JMP(operand.LabelRef(l + "test"))
		c.Label(l)
		move(i, w)
		c.ADDQ(operand.U8(w), i)
		c.Label(l + "test")
		c.CMPQ(i, last)
		c.JLT(operand.LabelRef(l))
		move(last, w)
		c.JMP(operand.LabelRef("next"))
		c.Label("below" + l)
	}
	c.XORQ(i, i)
	c.Label("one")
	move(i, 1)
	c.INCQ(i)
	c.CMPQ(i, n)
	c.JLT(operand.LabelRef("one"))
	c.Label("next")
	c.ADDQ(drow, dst)
	c.ADDQ(srow, src)
	c.DECQ(left)
	c.JNZ(operand.LabelRef("row"))
	c.MOVQ(mem(t, rwDPlane), i)
	c.LEAQ(idx(dp, i, 4), dp)
	c.MOVQ(mem(t, rwSPlane), i)
	c.LEAQ(idx(sp, i, 4), sp)
	c.DECQ(planes)
	c.JNZ(operand.LabelRef("plane"))
	c.VZEROUPPER()
	c.RET()
}
