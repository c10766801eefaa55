package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { kernels = append(kernels, kernel{"i8_transpose_avx2", i8Transpose}) }

// i8Transpose has rows i and i+8 in the halves of a register. Three rounds of zipping make two columns of eight rows in each half.
func i8Transpose(c *build.Context) {
	function(c, "i8TransposeAVX2", "func(dst, src *byte, dstStride, srcStride, squares, dstStep, srcStep int)", `i8TransposeAVX2 is, for b < squares, at least 1, and i, j < 16:

	dst[b*dstStep+j*dstStride+i] = src[b*srcStep+i*srcStride+j]`)
	d, s, ds, ss, n, dp, sp := reg.RDI, reg.RSI, reg.R8, reg.R9, reg.RCX, reg.R10, reg.R11
	for i, r := range []reg.Register{d, s, ds, ss, n, dp, sp} {
		c.Load(c.Param([]string{"dst", "src", "dstStride", "srcStride", "squares", "dstStep", "srcStep"}[i]), r.(reg.GPPhysical))
	}
	lo, hi := reg.RAX, reg.RBX
	c.Label("loop")
	c.MOVQ(s, lo)
	c.LEAQ(idx(s, ss, 8), hi)
	for i := range 8 {
		c.VMOVDQU(mem(lo, 0), ymm[i].(reg.Vec).AsX())
		c.VINSERTI128(operand.U8(1), mem(hi, 0), ymm[i], ymm[i])
		c.ADDQ(ss, lo)
		c.ADDQ(ss, hi)
	}
	zip := func(from, to []reg.VecPhysical, l, h func(...operand.Op)) {
		for i, f := range [][2]int{{0, 1}, {2, 3}, {4, 5}, {6, 7}} {
			l(from[f[1]], from[f[0]], to[2*i])
			h(from[f[1]], from[f[0]], to[2*i+1])
		}
	}
	pick := func(from int, order ...int) []reg.VecPhysical {
		var r []reg.VecPhysical
		for _, i := range order {
			r = append(r, ymm[from+i])
		}
		return r
	}
	zip(pick(0, 0, 1, 2, 3, 4, 5, 6, 7), pick(8, 0, 1, 2, 3, 4, 5, 6, 7), c.VPUNPCKLBW, c.VPUNPCKHBW) // rows 2i and 2i+1, columns 0-7 and 8-15
	zip(pick(8, 0, 2, 1, 3, 4, 6, 5, 7), pick(0, 0, 1, 2, 3, 4, 5, 6, 7), c.VPUNPCKLWD, c.VPUNPCKHWD) // rows 0-3, columns 0-3, 4-7, 8-11, 12-15; rows 4-7
	zip(pick(0, 0, 4, 1, 5, 2, 6, 3, 7), pick(8, 0, 1, 2, 3, 4, 5, 6, 7), c.VPUNPCKLDQ, c.VPUNPCKHDQ) // columns 2i and 2i+1
	c.MOVQ(d, lo)
	c.LEAQ(idx(d, ds, 1), hi)
	for i := range 8 {
		c.VPERMQ(operand.U8(0xd8), ymm[8+i], ymm[8+i])
		c.VMOVDQU(ymm[8+i].(reg.Vec).AsX(), mem(lo, 0))
		c.VEXTRACTI128(operand.U8(1), ymm[8+i], mem(hi, 0))
		if i < 7 {
			c.LEAQ(idx(lo, ds, 2), lo)
			c.LEAQ(idx(hi, ds, 2), hi)
		}
	}
	c.ADDQ(dp, d)
	c.ADDQ(sp, s)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("loop"))
	c.VZEROUPPER()
	c.RET()
}
