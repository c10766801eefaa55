package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { coders = append(coders, kernel{"look_16_avx2", look}) }

// look builds what a row knows of its columns.
func look(c *build.Context) {
	function(c, "lookAVX2", "func(to *above, logits *int16, prev, prev2 *uint8, far, n int)", `lookAVX2 is the second loop of look over n groups of 16 columns.`, "above")
	to, at, prev, prev2, far, n, before1 := reg.RDI, reg.RSI, reg.RAX, reg.RBX, reg.RCX, reg.RDX, reg.R8
	c.Load(c.Param("to"), to)
	c.Load(c.Param("logits"), at)
	c.Load(c.Param("prev"), prev)
	c.Load(c.Param("prev2"), prev2)
	c.Load(c.Param("far"), far)
	c.Load(c.Param("n"), n)
	c.MOVQ(at, before1)
	c.SUBQ(far, before1)
	c.SUBQ(far, before1)
	c.Label("next")
	// around in Y0
	c.VMOVDQU(mem(at, -2), reg.Y0)
	c.VPADDW(mem(at, 2), reg.Y0, reg.Y0)
	c.TESTQ(far, far)
	c.JEQ(operand.LabelRef("around"))
	c.VPADDW(mem(before1, 0), reg.Y0, reg.Y0)
	c.VPADDW(idx(at, far, 2), reg.Y0, reg.Y0)
	c.VPSRLW(operand.U8(1), reg.Y0, reg.Y0)
	c.Label("around")
	// mags in Y1
	c.VPSRLW(operand.U8(9), reg.Y0, reg.Y1)
	c.VPSLLW(operand.U8(4), reg.Y1, reg.Y1)
	c.VPMOVZXBW(mem(prev, 0), reg.Y2)
	c.VPMOVZXBW(mem(prev2, 0), reg.Y3)
	c.VPSLLW(operand.U8(2), reg.Y3, reg.Y3)
	c.VPOR(reg.Y2, reg.Y1, reg.Y1)
	c.VPOR(reg.Y3, reg.Y1, reg.Y1)
	// density and around in Y2
	c.VMOVDQU(mem(at, 0), reg.Y2)
	c.VPSRLW(operand.U8(1), reg.Y0, reg.Y0)
	c.VPADDW(reg.Y2, reg.Y0, reg.Y0)
	c.VPSRLW(operand.U8(7), reg.Y0, reg.Y0)
	c.VPSLLW(operand.U8(8), reg.Y0, reg.Y0)
	c.VPSRLW(operand.U8(8), reg.Y2, reg.Y2)
	c.VPOR(reg.Y0, reg.Y2, reg.Y2)
	c.VPUNPCKLWD(reg.Y2, reg.Y1, reg.Y0)
	c.VPUNPCKHWD(reg.Y2, reg.Y1, reg.Y1)
	c.VPERM2I128(operand.U8(0x20), reg.Y1, reg.Y0, reg.Y2)
	c.VPERM2I128(operand.U8(0x31), reg.Y1, reg.Y0, reg.Y3)
	c.VMOVDQU(reg.Y2, mem(to, 0))
	c.VMOVDQU(reg.Y3, mem(to, 32))
	c.ADDQ(operand.U8(64), to)
	c.ADDQ(operand.U8(32), at)
	c.ADDQ(operand.U8(32), before1)
	c.ADDQ(operand.U8(16), prev)
	c.ADDQ(operand.U8(16), prev2)
	c.DECQ(n)
	c.JNE(operand.LabelRef("next"))
	c.VZEROUPPER()
	c.RET()
}
