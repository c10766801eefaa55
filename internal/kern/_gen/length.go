package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of fields of entropy.front behind value, and of entropy.lengthTables; a test of package entropy
// checks them.
const (
	frontLengths = frontPairFar + 8*(iota+1)
	frontLengthSets0
	frontLengthSets1
	frontLengthScale
)

const (
	lengthSteps = 3 * 16

	lengthsPlain   = 0
	lengthsDensity = lengthsPlain + 4*2*lengthSteps*2
	lengthsEst     = lengthsDensity + 4*2*lengthSteps*176
	lengthsNear    = lengthsEst + 4*2*lengthSteps*64
	lengthsFar     = lengthsNear + 4*lengthSteps*256
	lengthsColumn  = lengthsFar + 4*lengthSteps*256
	lengthsLinear  = lengthsColumn + 4*lengthSteps*256
	lengthsKin     = lengthsLinear + 4*lengthSteps*16*25
)

func init() { coders = append(coders, kernel{"length_8_avx2", length}) }

// length builds a decision about a length.
func length(c *build.Context) {
	function(c, "lengthAVX2", "func(w *front, rc *rangeCoder, sign, q, y int) int", `lengthAVX2 is the decision q about a length with what walk.lengthInputs does, but that it leaves the carry
and shift of the range coder to its caller.`, "front", "rangeCoder")
	slots := c.AllocLocal(8 * 8)
	slot := func(i int) operand.Mem { return slots.Offset(8 * i) }
	w, sign, q, s, tab := reg.RDI, reg.RSI, reg.R9, reg.R10, reg.RBX
	front := func(field int) operand.Mem { return mem(w, field) }
	c.Load(c.Param("w"), w)
	c.Load(c.Param("sign"), sign)
	c.Load(c.Param("q"), q)
	c.MOVQ(front(frontLengthScale), s)
	c.ADDQ(q, s)
	c.MOVQ(front(frontLengths), reg.R8)
	c.LEAQ(symbol("stretchTab"), tab)
	// input takes the counter of the table at off with number RAX.
	input := func(i, off int) {
		c.LEAQ(operand.Mem{Base: reg.R8, Index: reg.RAX, Scale: 4, Disp: off}, reg.RAX)
		c.MOVQ(reg.RAX, slot(i))
		gather(c, i, tab)
	}
	c.LEAQ(idx(sign, s, 2), reg.RAX)
	input(0, lengthsPlain)
	c.IMUL3Q(operand.U32(176), s, reg.RAX)
	c.ADDQ(front(frontDensity), reg.RAX)
	input(1, lengthsDensity)
	c.MOVQ(s, reg.RAX)
	c.SHLQ(operand.U8(6), reg.RAX)
	c.ADDQ(front(frontEst), reg.RAX)
	input(2, lengthsEst)
	c.MOVQ(q, reg.RDX)
	c.SHLQ(operand.U8(8), reg.RDX)
	c.MOVQ(front(frontPairUp), reg.RAX)
	c.ADDQ(reg.RDX, reg.RAX)
	input(3, lengthsNear)
	c.MOVQ(front(frontPairFar), reg.RAX)
	c.ADDQ(reg.RDX, reg.RAX)
	input(4, lengthsFar)
	// RDX: ((q << 4 | rm) * 25 + sign + 12; R12: -sign.
	c.MOVQ(q, reg.RDX)
	c.SHLQ(operand.U8(4), reg.RDX)
	c.MOVQ(front(frontRM), reg.R11)
	c.MOVQ(reg.RDX, reg.R13)
	c.ADDQ(reg.R11, reg.RDX)
	c.IMUL3Q(operand.U8(25), reg.RDX, reg.RDX)
	c.LEAQ(operand.Mem{Base: reg.RDX, Index: sign, Scale: 1, Disp: 12}, reg.RDX)
	c.MOVQ(sign, reg.R12)
	c.NEGQ(reg.R12)
	c.MOVQ(front(frontHatSteps), reg.RAX)
	c.XORQ(reg.R12, reg.RAX)
	c.ADDQ(reg.RDX, reg.RAX)
	input(5, lengthsLinear)
	c.MOVQ(front(frontSteps), reg.RAX)
	c.XORQ(reg.R12, reg.RAX)
	c.ADDQ(reg.RDX, reg.RAX)
	input(6, lengthsKin)
	c.ADDQ(front(frontCM), reg.R13)
	c.SHLQ(operand.U8(4), reg.R13)
	c.LEAQ(idx(reg.R13, reg.R11, 1), reg.RAX)
	input(7, lengthsColumn)
	c.MOVQ(front(frontLengthSets0), reg.R8)
	c.MOVQ(front(frontLengthSets1), reg.R9)
	c.SHLQ(operand.U8(8), s)
	c.ADDQ(s, reg.R8)
	c.SHLQ(operand.U8(8), reg.R11)
	c.ADDQ(reg.R11, reg.R9)
	c.LEAQ(symbol("mixVec"), reg.R11)
	c.Load(c.Param("rc"), reg.R10)
	decide(c, 8, false, func() { c.Load(c.Param("y"), reg.RDI) }, func() {})
	for i := range 8 {
		c.MOVQ(slot(i), reg.RAX)
		scatter(c, i)
	}
	c.ANDL(operand.U8(1), reg.R15L)
	c.Store(reg.R15, c.ReturnIndex(0))
	c.VZEROUPPER()
	c.RET()
}
