package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of fields of entropy.front behind early, in its order, of entropy.linear and entropy.signTables, and of
// entropy.mixVec; a test of package entropy checks them.
const (
	frontRowMag = frontRow + 16

	frontPrev = frontRow + 24 + 8*(iota-1)
	frontPrev2
	frontNear1
	frontNear2
	frontSeventh
	frontEighth
	frontEdges
	frontColSign
	frontColMag
	frontLin
	frontSigns
	frontSignSet0
	frontSignSet1
	frontHat
	frontHatSteps
	frontRM
	frontCM
	frontEst
	frontNearQ
	frontPairUp
	frontPairFar
)

const (
	linX       = 0
	linW       = 32
	linX0      = 64
	linW0      = 72
	linEnergy  = 80
	linInverse = 96

	signsKin     = 0
	signsKinNear = 4 * 75
	signsBoth    = signsKinNear + 4*225
	signsLinear  = signsBoth + 4*625
	signsCross   = signsLinear + 4*25
	signsUpper   = signsCross + 4*81
	signsRow     = signsUpper + 4*27
)

func init() {
	coders = append(coders,
		kernel{"negative_8_avx2", negative},
		kernel{"linear_8_avx2", linear})
}

// over sets RDX to scale.over of RAX and a factor of 1 << shift, but at most most, and RCX to its sign, for a
// number that needs no bound; inverse is the scale's. It takes RAX.
func over(c *build.Context, shift uint8, inverse operand.Mem, most uint32) {
	c.MOVQ(reg.RAX, reg.RCX)
	c.SARQ(operand.U8(63), reg.RCX)
	c.XORQ(reg.RCX, reg.RAX)
	c.SUBQ(reg.RCX, reg.RAX)
	c.SHLQ(operand.U8(shift), reg.RAX)
	c.MULQ(inverse)
	c.MOVL(operand.U32(most), reg.EAX)
	c.CMPQ(reg.RDX, reg.RAX)
	c.CMOVQHI(reg.RAX, reg.RDX)
}

// signed gives RDX the sign in RCX.
func signed(c *build.Context) {
	c.XORQ(reg.RCX, reg.RDX)
	c.SUBQ(reg.RCX, reg.RDX)
}

// negative builds the decision about a sign.
func negative(c *build.Context) {
	function(c, "negativeAVX2", "func(w *front, rc *rangeCoder, y int) int", `negativeAVX2 is the decision "negative" with what walk.negativeInputs does, but that it leaves the carry and
shift of the range coder to its caller.`, "front", "rangeCoder")
	slots := c.AllocLocal(8 * 8)
	slot := func(i int) operand.Mem { return slots.Offset(8 * i) }
	w, col := reg.RDI, reg.RSI
	front := func(field int) operand.Mem { return mem(w, field) }
	// cell is the one i columns from the position in a row; its mark is 4 bytes on.
	cell := func(row reg.Register, i, part int) operand.Mem {
		return operand.Mem{Base: row, Index: col, Scale: 8, Disp: 8*i + part}
	}
	cur, near1, near2, prev, prev2, seventh, eighth := reg.R8, reg.R9, reg.R10, reg.R11, reg.R14, reg.R12, reg.R13
	c.Load(c.Param("w"), w)
	c.MOVQ(front(frontC), col)
	c.MOVQ(front(frontCur), cur)
	c.MOVQ(front(frontNear1), near1)
	c.MOVQ(front(frontNear2), near2)
	c.MOVQ(front(frontPrev), prev)
	c.MOVQ(front(frontPrev2), prev2)
	c.MOVQ(front(frontSeventh), seventh)
	c.MOVQ(front(frontEighth), eighth)

	// The features, and the sums of their products with the weights and of their squares.
	lin := reg.RBX
	c.MOVQ(front(frontLin), lin)
	c.VMOVD(cell(cur, -1, 0), reg.X0)
	c.VPINSRD(operand.U8(1), cell(near1, 0, 0), reg.X0, reg.X0)
	c.VPINSRD(operand.U8(2), cell(near1, -1, 0), reg.X0, reg.X0)
	c.VPINSRD(operand.U8(3), cell(near1, 1, 0), reg.X0, reg.X0)
	c.VMOVD(cell(near2, 0, 0), reg.X1)
	c.VPINSRD(operand.U8(1), cell(prev, 0, 0), reg.X1, reg.X1)
	c.VPINSRD(operand.U8(2), cell(seventh, 0, 0), reg.X1, reg.X1)
	c.VPINSRD(operand.U8(3), cell(eighth, 0, 0), reg.X1, reg.X1)
	c.VINSERTI128(operand.U8(1), reg.X1, reg.Y0, reg.Y0)
	c.MOVQ(front(frontEdges), reg.RAX)
	c.MOVQ(front(frontK), reg.RCX)
	c.SHLQ(operand.U8(5), reg.RCX)
	c.VPAND(idx(reg.RAX, reg.RCX, 1), reg.Y0, reg.Y0)
	c.VPSLLD(operand.U8(6), reg.Y0, reg.Y0)
	c.VMOVDQU(reg.Y0, mem(lin, linX))
	c.VMOVDQU(mem(lin, linW), reg.Y1)
	c.VPMULDQ(reg.Y1, reg.Y0, reg.Y2)
	c.VPMULDQ(reg.Y0, reg.Y0, reg.Y3)
	c.VPSRLQ(operand.U8(32), reg.Y0, reg.Y0)
	c.VPSRLQ(operand.U8(32), reg.Y1, reg.Y1)
	c.VPMULDQ(reg.Y1, reg.Y0, reg.Y1)
	c.VPMULDQ(reg.Y0, reg.Y0, reg.Y0)
	c.VPADDQ(reg.Y1, reg.Y2, reg.Y2)
	c.VPADDQ(reg.Y0, reg.Y3, reg.Y3)
	c.VPUNPCKLQDQ(reg.Y3, reg.Y2, reg.Y0)
	c.VPUNPCKHQDQ(reg.Y3, reg.Y2, reg.Y1)
	c.VPADDQ(reg.Y1, reg.Y0, reg.Y0)
	c.VEXTRACTI128(operand.U8(1), reg.Y0, reg.X1)
	c.VPADDQ(reg.X1, reg.X0, reg.X0)

	// What kin expects, as a ratio times the row's mean magnitude.
	c.MOVQ(front(frontExpect), reg.RAX)
	c.MOVQ(front(frontKin), reg.R15)
	over(c, 6, mem(reg.R15, kinInverse), 1<<10)
	signed(c)
	c.MOVLQSX(front(frontRowMag), reg.RAX)
	c.IMULQ(reg.RAX, reg.RDX)
	c.SARQ(operand.U8(8), reg.RDX)
	c.MOVQ(reg.RDX, mem(lin, linX0))
	c.VMOVQ(reg.X0, reg.RAX)
	c.VPEXTRQ(operand.U8(1), reg.X0, reg.R15)
	c.MOVQ(mem(lin, linW0), reg.RCX)
	c.IMULQ(reg.RDX, reg.RCX)
	c.ADDQ(reg.RCX, reg.RAX)
	c.IMULQ(reg.RDX, reg.RDX)
	c.ADDQ(reg.RDX, reg.R15)
	c.MOVQ(reg.R15, mem(lin, linEnergy))
	c.SARQ(operand.U8(16), reg.RAX)
	c.MOVQ(reg.RAX, front(frontHat))
	over(c, 3, mem(lin, linInverse), 64)
	c.LEAQ(symbol("stepTab"), reg.RAX)
	c.MOVBLZX(idx(reg.RAX, reg.RDX, 1), reg.EDX)
	signed(c)
	c.MOVQ(reg.RDX, front(frontHatSteps))

	// The neighbours' marks.
	left, up, n1, n2, up2, left2, upLeft, upRight := reg.R12L, reg.R13L, reg.R9L, reg.R10L, reg.R14L, reg.R15L, reg.EBX, reg.EDX
	c.MOVL(cell(cur, -1, 4), left)
	c.MOVL(cell(cur, -2, 4), left2)
	c.MOVL(cell(prev, 0, 4), up)
	c.MOVL(cell(prev, -1, 4), upLeft)
	c.MOVL(cell(prev, 1, 4), upRight)
	c.MOVL(cell(prev2, 0, 4), up2)
	c.MOVL(cell(near1, 0, 4), n1)
	c.MOVL(cell(near2, 0, 4), n2)
	// near in EAX: their magnitudes, weighted.
	c.MOVL(left, reg.EAX)
	c.SHRL(operand.U8(6), reg.EAX)
	for _, x := range []reg.Register{up, n1, n2} {
		c.MOVL(x, reg.ECX)
		c.SHRL(operand.U8(6), reg.ECX)
		c.ADDL(reg.ECX, reg.EAX)
	}
	c.ADDL(reg.EAX, reg.EAX)
	for _, x := range []reg.Register{up2, left2} {
		c.MOVL(x, reg.ECX)
		c.SHRL(operand.U8(6), reg.ECX)
		c.ADDL(reg.ECX, reg.EAX)
	}
	// pairUp and pairFar.
	for _, p := range []struct {
		a, b reg.Register
		to   int
	}{{left, up, frontPairUp}, {n1, n2, frontPairFar}} {
		c.MOVL(p.a, reg.ECX)
		c.SHLL(operand.U8(2), reg.ECX)
		c.ANDL(operand.U32(0xf0), reg.ECX)
		c.MOVL(p.b, reg.R8L)
		c.SHRL(operand.U8(2), reg.R8L)
		c.ANDL(operand.U8(15), reg.R8L)
		c.ORL(reg.R8L, reg.ECX)
		c.MOVQ(reg.RCX, front(p.to))
	}
	for _, x := range []reg.Register{left, up, n1, n2, up2, left2, upLeft, upRight} {
		c.ANDL(operand.U8(3), x)
	}
	// RDX: the context of row; RBX: upper; RCX: left * 3.
	c.LEAL(idx(reg.R12, reg.R12, 2), reg.ECX)
	c.ADDL(reg.ECX, left2)
	c.LEAL(idx(reg.R15, reg.R15, 2), reg.R11L)
	c.ADDL(upLeft, reg.R11L)
	c.LEAL(idx(reg.R11, reg.R11, 2), reg.R11L)
	c.ADDL(reg.R11L, reg.EDX)
	c.SUBL(reg.ECX, left2)
	c.LEAL(idx(reg.R13, reg.R13, 2), reg.EBX)
	c.ADDL(up2, reg.EBX)
	c.LEAL(idx(reg.RBX, reg.RBX, 2), reg.EBX)
	c.ADDL(left2, reg.EBX)
	// R14: cross.
	c.LEAL(idx(reg.RCX, reg.R13, 1), reg.R14L)
	c.LEAL(idx(reg.R14, reg.R14, 2), reg.R14L)
	c.ADDL(n1, reg.R14L)
	c.LEAL(idx(reg.R14, reg.R14, 2), reg.R14L)
	c.ADDL(n2, reg.R14L)

	// Magnitudes: near is in EAX.
	octaves := func(x reg.Register, x64 reg.Register, to int) {
		c.MOVL(operand.U32(255), reg.ECX)
		c.CMPL(x, reg.ECX)
		c.CMOVLHI(reg.ECX, x)
		c.MOVBLZX(idx(reg.R8, x64, 1), x)
		c.MOVQ(x64, front(to))
	}
	c.LEAQ(symbol("octaveTab"), reg.R8)
	c.MOVL(front(frontRowMag), reg.R11L)
	c.MOVQ(front(frontColMag), reg.RCX)
	c.MOVL(idx(reg.RCX, col, 4), reg.R15L)
	c.LEAL(idx(reg.R11, reg.R15, 1), reg.R10L)
	c.ADDL(reg.R10L, reg.R10L)
	c.IMUL3L(operand.I8(25), reg.EAX, reg.ECX)
	c.ADDL(reg.ECX, reg.R10L)
	c.MOVL(operand.U32(0xcccccccd), reg.ECX) // (1 << 34 + 1) / 5
	c.IMULQ(reg.RCX, reg.R10)
	c.SHRQ(operand.U8(34+4), reg.R10)
	octaves(reg.EAX, reg.RAX, frontNearQ)
	c.SHRL(operand.U8(5), reg.R11L)
	octaves(reg.R11L, reg.R11, frontRM)
	c.SHRL(operand.U8(5), reg.R15L)
	octaves(reg.R15L, reg.R15, frontCM)
	// quarters
	c.CMPL(reg.R10L, operand.U32(256))
	c.JCC(operand.LabelRef("large"))
	c.LEAQ(symbol("quarterTab"), reg.R8)
	c.MOVBLZX(idx(reg.R8, reg.R10, 1), reg.R10L)
	c.Label("estimated")
	c.MOVQ(reg.R10, front(frontEst))

	// The counters. R11: kq + 12.
	c.MOVQ(front(frontSigns), reg.R8)
	c.MOVQ(front(frontSteps), reg.R11)
	c.ADDQ(operand.U8(12), reg.R11)
	c.MOVQ(front(frontHatSteps), reg.R15)
	c.ADDQ(operand.U8(12), reg.R15)
	by := func(off int) {
		c.LEAQ(operand.Mem{Base: reg.R8, Index: reg.RAX, Scale: 4, Disp: off}, reg.RAX)
	}
	c.MOVL(reg.EBX, reg.EAX)
	by(signsUpper)
	c.MOVQ(reg.RAX, slot(6))
	c.MOVL(reg.EDX, reg.EAX)
	by(signsRow)
	c.MOVQ(reg.RAX, slot(7))
	tab := reg.RBX
	c.LEAQ(symbol("stretchTab"), tab)
	input := func(i int) {
		c.MOVQ(reg.RAX, slot(i))
		gather(c, i, tab)
	}
	c.LEAQ(idx(reg.R11, reg.R11, 2), reg.RDX)
	c.LEAQ(idx(reg.RDX, reg.R12, 1), reg.RAX)
	by(signsKin)
	input(0)
	c.ADDQ(reg.R9, reg.RDX)
	c.LEAQ(idx(reg.RDX, reg.RDX, 2), reg.RAX)
	c.ADDQ(reg.R13, reg.RAX)
	by(signsKinNear)
	input(1)
	c.IMUL3Q(operand.U8(25), reg.R15, reg.RAX)
	c.ADDQ(reg.R11, reg.RAX)
	by(signsBoth)
	input(2)
	c.MOVQ(reg.R15, reg.RAX)
	by(signsLinear)
	input(3)
	c.MOVQ(front(frontColSign), reg.RAX)
	c.LEAQ(idx(reg.RAX, col, 4), reg.RAX)
	input(4)
	c.MOVL(reg.R14L, reg.EAX)
	by(signsCross)
	input(5)
	for i := 6; i < 8; i++ {
		c.MOVQ(slot(i), reg.RAX)
		gather(c, i, tab)
	}
	c.MOVQ(front(frontSignSet0), reg.R8)
	c.MOVQ(front(frontSignSet1), reg.R9)
	c.LEAQ(symbol("mixVec"), reg.R11)
	c.Load(c.Param("rc"), reg.R10)
	decide(c, 8, true, func() { c.Load(c.Param("y"), reg.RDI) }, func() {})
	for i := range 8 {
		c.MOVQ(slot(i), reg.RAX)
		scatter(c, i)
	}
	c.ANDL(operand.U8(1), reg.R15L)
	c.Store(reg.R15, c.ReturnIndex(0))
	c.VZEROUPPER()
	c.RET()

	// quarters beyond its table: L = its length, min(4 L - 8 + (x >> (L-3) & 3), 63).
	c.Label("large")
	c.BSRL(reg.R10L, reg.ECX)
	c.MOVL(reg.ECX, reg.EAX)
	c.SHLL(operand.U8(2), reg.EAX)
	c.SUBL(operand.U8(4), reg.EAX)
	c.SUBL(operand.U8(2), reg.ECX)
	c.SHRL(reg.CL, reg.R10L)
	c.ANDL(operand.U8(3), reg.R10L)
	c.ADDL(reg.EAX, reg.R10L)
	c.MOVL(operand.U32(63), reg.ECX)
	c.CMPL(reg.R10L, reg.ECX)
	c.CMOVLHI(reg.ECX, reg.R10L)
	c.JMP(operand.LabelRef("estimated"))
}

// linear builds a step of 8 weights.
func linear(c *build.Context) {
	function(c, "linearAVX2", "func(l *linear, rate int64)", `linearAVX2 moves the weights of l; rate fits into 32 bits:

	for i, x := range l.x {
		l.w[i] = int32(moved(int64(l.w[i]), int64(x)*rate))
	}`, "linear")
	lin := reg.RDI
	c.Load(c.Param("l"), lin)
	c.Load(c.Param("rate"), reg.RAX)
	c.VMOVQ(reg.RAX, reg.X0)
	c.VPBROADCASTD(reg.X0, reg.Y0)
	c.VMOVDQU(mem(lin, linX), reg.Y1)
	c.VPMULDQ(reg.Y0, reg.Y1, reg.Y2)
	c.VPSRLQ(operand.U8(32), reg.Y1, reg.Y1)
	c.VPMULDQ(reg.Y0, reg.Y1, reg.Y3)
	// Products beyond 2^37 move a weight from one bound to the other, and fit into 32 bits then.
	c.MOVQ(operand.Imm(1<<37), reg.RAX)
	c.VMOVQ(reg.RAX, reg.X4)
	c.VPBROADCASTQ(reg.X4, reg.Y4)
	c.VPXOR(reg.Y5, reg.Y5, reg.Y5)
	c.VPSUBQ(reg.Y4, reg.Y5, reg.Y5)
	for _, y := range []reg.VecPhysical{reg.Y2, reg.Y3} {
		c.VPCMPGTQ(reg.Y4, y, reg.Y6)
		c.VPBLENDVB(reg.Y6, reg.Y4, y, y)
		c.VPCMPGTQ(y, reg.Y5, reg.Y6)
		c.VPBLENDVB(reg.Y6, reg.Y5, y, y)
	}
	c.VPSRLQ(operand.U8(16), reg.Y2, reg.Y2)
	c.VPSLLQ(operand.U8(16), reg.Y3, reg.Y3)
	c.VPBLENDD(operand.U8(0xaa), reg.Y3, reg.Y2, reg.Y2)
	c.VPADDD(mem(lin, linW), reg.Y2, reg.Y2)
	c.MOVL(operand.U32(1<<20), reg.EAX)
	c.VMOVD(reg.EAX, reg.X4)
	c.VPBROADCASTD(reg.X4, reg.Y4)
	c.VPXOR(reg.Y5, reg.Y5, reg.Y5)
	c.VPSUBD(reg.Y4, reg.Y5, reg.Y5)
	c.VPMINSD(reg.Y4, reg.Y2, reg.Y2)
	c.VPMAXSD(reg.Y5, reg.Y2, reg.Y2)
	c.VMOVDQU(reg.Y2, mem(lin, linW))
	c.VZEROUPPER()
	c.RET()
}
