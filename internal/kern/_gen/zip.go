package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() {
	kernels = append(kernels, kernel{"x32_zip_8_avx2", func(c *build.Context) {
		const name = "x32Zip8AVX2"
		function(c, name, "func(dst, a, b *uint32, n int)", name+` takes turns; n is at least 8:

	for i := range n {
		dst[2*i], dst[2*i+1] = a[i], b[i]
	}`)
		d, a, b, n, i := reg.RDI, reg.RSI, reg.RDX, reg.RCX, reg.RAX
		c.Load(c.Param("dst"), d)
		c.Load(c.Param("a"), a)
		c.Load(c.Param("b"), b)
		c.Load(c.Param("n"), n)
		c.XORQ(i, i)
		c.SUBQ(operand.U8(8), n) // where the last vector begins
		c.Label("loop")
		c.VMOVUPS(idx(a, i, 4), reg.Y0)
		c.VMOVUPS(idx(b, i, 4), reg.Y1)
		c.VUNPCKLPS(reg.Y1, reg.Y0, reg.Y2)
		c.VUNPCKHPS(reg.Y1, reg.Y0, reg.Y3)
		c.VPERM2F128(operand.U8(0x20), reg.Y3, reg.Y2, reg.Y4)
		c.VPERM2F128(operand.U8(0x31), reg.Y3, reg.Y2, reg.Y5)
		c.VMOVUPS(reg.Y4, idx(d, i, 8))
		c.VMOVUPS(reg.Y5, operand.Mem{Base: d, Index: i, Scale: 8, Disp: 32})
		c.CMPQ(i, n)
		c.JE(operand.LabelRef("done"))
		c.ADDQ(operand.U8(8), i)
		c.CMPQ(i, n)
		c.JLE(operand.LabelRef("loop"))
		c.MOVQ(n, i)
		c.JMP(operand.LabelRef("loop"))
		c.Label("done")
		c.VZEROUPPER()
		c.RET()
	}})
}
