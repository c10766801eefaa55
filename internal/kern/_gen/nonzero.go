package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of fields of entropy.front, in its order, and of entropy.zeroTables; a test of package entropy
// checks them.
const (
	frontZ = 8 * iota
	frontSets0
	frontSets1
	frontAbove
	frontColumn
	frontPlace
	frontCur
	frontMags
	frontFar1
	frontFar2
	frontKin
	frontC
	frontK
	frontStop
	frontKernel
	frontInKernel
	frontLeft
	frontDensity
	frontExpect
	frontSteps
	frontRow

	frontBeside1 = frontRow + 4
	frontBeside2 = frontRow + 8
	frontEarly   = frontRow + 12
)

const (
	zerosFar     = 0
	zerosDiag    = 4 * 256
	zerosKernel  = zerosDiag + 4*256
	zerosUpper   = zerosKernel + 4*512
	zerosKin     = zerosUpper + 4<<14
	zerosNear    = zerosKin + 4<<10
	zerosDensity = zerosNear + 4*512
)

func init() { coders = append(coders, kernel{"nonzero_8_avx2", nonzero}) }

// nonzero builds the loop over zeros.
func nonzero(c *build.Context) {
	function(c, "nonzeroAVX2", "func(w *front, rc *rangeCoder, syms *int32) int", `nonzeroAVX2 is the loop of walk.skip over the columns of a row, whose symbols are syms. It also ends where
the range coder is to be shifted or its carry added, which it leaves to its caller, and returns 1 where
it met a symbol that is not zero, plus 2 where there is a carry.`, "front", "rangeCoder")
	slots := c.AllocLocal(8 * 9)
	slot := func(i int) operand.Mem { return slots.Offset(8 * i) }
	w, col, vec := reg.RDI, reg.RSI, reg.R11
	front := func(field int) operand.Mem { return mem(w, field) }
	c.XORL(reg.EAX, reg.EAX)
	c.MOVQ(reg.RAX, slot(8)) // the carry
	c.Load(c.Param("w"), w)
	c.MOVQ(front(frontC), col)
	c.Label("next")

	// R14: the steps of what kin expects.
	c.XORL(reg.EAX, reg.EAX)
	c.XORL(reg.R14L, reg.R14L)
	c.MOVQ(front(frontKin), reg.R8)
	c.CMPQ(mem(reg.R8, kinEnergy), operand.Imm(0))
	c.JEQ(operand.LabelRef("alone"))
	kinSum(c)
	c.MOVLQSX(reg.EAX, reg.RAX)
	c.MOVQ(reg.RAX, reg.RBX)
	over(c, 3, mem(reg.R8, kinInverse), 64)
	c.LEAQ(symbol("stepTab"), reg.RAX)
	c.MOVBLZX(idx(reg.RAX, reg.RDX, 1), reg.R14L)
	c.MOVQ(reg.RBX, reg.RAX)
	c.MOVQ(reg.R14, reg.RDX)
	signed(c)
	c.MOVQ(reg.RDX, front(frontSteps))
	c.JMP(operand.LabelRef("expected"))
	c.Label("alone")
	c.MOVQ(reg.RAX, front(frontSteps))
	c.Label("expected")
	c.MOVQ(reg.RAX, front(frontExpect))

	// Here R8: the counters, R9: above, R10: left, R11: the row's logit, R12: neighbours at the first
	// distance, R13 and R15: whether the left and the upper neighbour are not zero.
	z, over, left, rl, n1, leftFlag, upFlag := reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13, reg.R15
	tab := reg.RBX
	c.LEAQ(symbol("stretchTab"), tab)
	c.MOVQ(front(frontZ), z)
	c.MOVQ(front(frontAbove), reg.RAX)
	c.MOVL(idx(reg.RAX, col, 4), reg.R9L)
	c.MOVQ(front(frontLeft), left)
	c.MOVL(front(frontRow), reg.EAX)
	c.SHRL(operand.U8(20), reg.EAX)
	c.MOVWLSX(idx(tab, reg.RAX, 2), reg.R11L)
	c.ADDL(operand.U32(2816), reg.R11L)
	c.MOVQ(front(frontFar1), reg.RAX)
	c.MOVL(idx(reg.RAX, col, 1), reg.R12L)
	c.ANDL(front(frontBeside1), reg.R12L)
	c.LEAL(mem(left, 3), reg.R13L)
	c.SHRL(operand.U8(2), reg.R13L)
	c.MOVL(reg.R9L, reg.R15L)
	c.ANDL(operand.U8(3), reg.R15L)
	c.ADDL(operand.U8(3), reg.R15L)
	c.SHRL(operand.U8(2), reg.R15L)

	// input takes the counter at RAX.
	input := func(i int) {
		c.MOVQ(reg.RAX, slot(i))
		gather(c, i, tab)
	}
	// by is the address of the counter of z's table at off with number RAX.
	by := func(off int) {
		c.LEAQ(operand.Mem{Base: z, Index: reg.RAX, Scale: 4, Disp: off}, reg.RAX)
	}
	c.MOVQ(front(frontColumn), reg.RAX)
	c.LEAQ(idx(reg.RAX, col, 4), reg.RAX)
	input(0)
	c.MOVQ(front(frontPlace), reg.RAX)
	c.MOVQ(front(frontK), reg.RCX)
	c.LEAQ(idx(reg.RAX, reg.RCX, 4), reg.RAX)
	input(1)
	// far: n1>>2 | n2<<4 | left<<2 | up
	c.MOVQ(front(frontFar2), reg.RCX)
	c.MOVBLZX(idx(reg.RCX, col, 1), reg.ECX)
	c.ANDL(front(frontBeside2), reg.ECX)
	c.SHLL(operand.U8(4), reg.ECX)
	c.MOVL(reg.R9L, reg.EDX)
	c.ANDL(operand.U8(3), reg.EDX)
	c.ORL(reg.EDX, reg.ECX)
	c.LEAL(idx(reg.RCX, left, 4), reg.ECX)
	c.MOVL(reg.R12L, reg.EDX)
	c.SHRL(operand.U8(2), reg.EDX)
	c.MOVL(reg.EDX, reg.EAX)
	c.ORL(reg.ECX, reg.EAX)
	c.MOVBLZX(reg.AL, reg.EAX)
	by(zerosFar)
	input(2)
	// diag: n1>>2 | n1>>12 | n1<<2 | left
	c.LEAL(idx(left, n1, 4), reg.EAX)
	c.ORL(reg.EDX, reg.EAX)
	c.SHRL(operand.U8(12), reg.R12L)
	c.ORL(reg.R12L, reg.EAX)
	c.MOVBLZX(reg.AL, reg.EAX)
	by(zerosDiag)
	input(3)
	// kernel: min(inKernel,15)<<5 | min(k,31); upper: rl>>8<<9 | over.mags
	c.MOVL(reg.R11L, reg.EDX)
	c.SHRL(operand.U8(8), reg.EDX)
	c.CMPQ(front(frontKernel), operand.Imm(1))
	c.JEQ(operand.LabelRef("matrix"))
	c.MOVL(operand.U32(15), reg.ECX)
	c.MOVQ(front(frontInKernel), reg.RAX)
	c.CMPQ(reg.RAX, reg.RCX)
	c.CMOVQHI(reg.RCX, reg.RAX)
	c.SHLL(operand.U8(5), reg.EAX)
	c.MOVL(operand.U32(31), reg.ECX)
	c.MOVQ(front(frontK), reg.R12)
	c.CMPQ(reg.R12, reg.RCX)
	c.CMOVQHI(reg.RCX, reg.R12)
	c.ORL(reg.R12L, reg.EAX)
	by(zerosKernel)
	c.JMP(operand.LabelRef("fourth"))
	c.Label("matrix")
	c.MOVWLZX(reg.R9W, reg.ECX)
	c.MOVL(reg.EDX, reg.EAX)
	c.SHLL(operand.U8(9), reg.EAX)
	c.ORL(reg.ECX, reg.EAX)
	c.ANDL(operand.U32(1<<14-1), reg.EAX)
	by(zerosUpper)
	c.Label("fourth")
	input(4)
	// kin: (over.density+rl>>8)>>1<<5 | steps<<1 | leftFlag. R12: over.density.
	c.MOVL(reg.R9L, reg.R12L)
	c.SHRL(operand.U8(16), reg.R12L)
	c.MOVBLZX(reg.R12B, reg.R12L)
	c.LEAL(idx(reg.R12, reg.RDX, 1), reg.EAX)
	c.SHRL(operand.U8(1), reg.EAX)
	c.SHLL(operand.U8(5), reg.EAX)
	c.LEAL(idx(leftFlag, reg.R14, 2), reg.ECX)
	c.ORL(reg.ECX, reg.EAX)
	c.ANDL(operand.U32(1023), reg.EAX)
	by(zerosKin)
	input(5)
	// near: over.around<<2 | leftFlag<<1 | upFlag
	c.SHRL(operand.U8(24), reg.R9L)
	c.LEAL(idx(upFlag, leftFlag, 2), reg.R14L)
	c.LEAL(idx(reg.R14, over, 4), reg.EAX)
	c.ANDL(operand.U32(511), reg.EAX)
	by(zerosNear)
	input(6)
	// density: over.density<<5 | rl>>8
	c.MOVL(reg.R12L, reg.EAX)
	c.SHLL(operand.U8(5), reg.EAX)
	c.ORL(reg.EDX, reg.EAX)
	c.ANDL(operand.U32(1023), reg.EAX)
	by(zerosDensity)
	input(7)
	// The sets: leftFlag<<3 | upFlag<<2 | early, and over.density>>1<<4 | rl>>9.
	m0, m1 := reg.R8, reg.R9
	c.SHRL(operand.U8(1), reg.R12L)
	c.SHLL(operand.U8(4), reg.R12L)
	c.SHRL(operand.U8(9), reg.R11L)
	c.ORL(rl.As32(), reg.R12L)
	c.MOVQ(reg.R12, front(frontDensity))
	c.SHLL(operand.U8(8), reg.R12L)
	c.MOVQ(front(frontSets1), m1)
	c.ADDQ(reg.R12, m1)
	c.LEAL(idx(upFlag, leftFlag, 2), reg.EAX)
	c.SHLL(operand.U8(2), reg.EAX)
	c.ORL(front(frontEarly), reg.EAX)
	c.SHLL(operand.U8(8), reg.EAX)
	c.MOVQ(front(frontSets0), m0)
	c.ADDQ(reg.RAX, m0)

	c.LEAQ(symbol("mixVec"), vec)
	c.Load(c.Param("rc"), reg.R10)
	decide(c, 8, false, func() {
		c.Load(c.Param("syms"), reg.RDI)
		c.MOVL(idx(reg.RDI, col, 4), reg.EDI)
	}, func() {
		c.ADCQ(operand.Imm(0), slot(8))
	})
	for i := range 8 {
		c.MOVQ(slot(i), reg.RAX)
		scatter(c, i)
	}
	// The row's counter.
	c.Load(c.Param("w"), w)
	c.MOVL(front(frontRow), reg.EAX)
	c.MOVBLZX(reg.AL, reg.ECX)
	c.SHRL(operand.U8(10), reg.EAX)
	c.LEAQ(symbol("rateTab"), reg.RBX)
	c.MOVWLZX(idx(reg.RBX, reg.RCX, 2), reg.EBX)
	c.MOVL(reg.R15L, reg.EDX)
	c.ANDL(operand.U32(1<<22), reg.EDX)
	c.SUBL(reg.EAX, reg.EDX)
	c.SARL(operand.U8(4), reg.EDX)
	c.IMULL(reg.EBX, reg.EDX)
	c.SARL(operand.U8(8), reg.EDX)
	c.ADDL(reg.EDX, reg.EAX)
	c.SHLL(operand.U8(10), reg.EAX)
	c.INCL(reg.ECX)
	c.MOVL(operand.U32(60), reg.EDX)
	c.CMPL(reg.ECX, reg.EDX)
	c.CMOVLHI(reg.EDX, reg.ECX)
	c.ORL(reg.ECX, reg.EAX)
	c.MOVL(reg.EAX, front(frontRow))
	c.TESTQ(reg.R15, reg.R15)
	c.JNE(operand.LabelRef("met"))

	// A zero.
	c.XORL(reg.EDX, reg.EDX)
	c.MOVQ(front(frontMags), reg.RAX)
	c.MOVB(reg.DL, idx(reg.RAX, col, 1))
	c.MOVQ(front(frontCur), reg.RAX)
	c.MOVQ(reg.RDX, idx(reg.RAX, col, 8))
	c.Load(c.Param("syms"), reg.RAX)
	c.MOVL(reg.EDX, idx(reg.RAX, col, 4))
	c.MOVQ(reg.RDX, front(frontLeft))
	c.INCQ(col)
	c.MOVQ(col, front(frontC))
	c.MOVQ(front(frontK), reg.RAX)
	c.INCQ(reg.RAX)
	c.CMPQ(reg.RAX, front(frontKernel))
	c.JNE(operand.LabelRef("inside"))
	c.XORL(reg.EAX, reg.EAX)
	c.MOVQ(reg.RAX, front(frontInKernel))
	c.Label("inside")
	c.MOVQ(reg.RAX, front(frontK))
	c.CMPQ(col, front(frontStop))
	c.JEQ(operand.LabelRef("met"))
	c.CMPQ(slot(8), operand.Imm(0))
	c.JNE(operand.LabelRef("met"))
	c.Load(c.Param("rc"), reg.RAX)
	c.CMPL(mem(reg.RAX, rcRange+4), operand.Imm(0))
	c.JNE(operand.LabelRef("next"))

	c.Label("met")
	c.ANDL(operand.U8(1), reg.R15L)
	c.MOVQ(slot(8), reg.RAX)
	c.LEAQ(idx(reg.R15, reg.RAX, 2), reg.RAX)
	c.Store(reg.RAX, c.ReturnIndex(0))
	c.VZEROUPPER()
	c.RET()
}
