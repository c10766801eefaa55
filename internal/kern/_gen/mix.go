package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of fields of entropy.mixing and entropy.rangeCoder, and of the rows of
// entropy.mixVec; a test of package entropy checks them.
const (
	mixFix = 32

	rcRange = 0
	rcAt    = 8
	rcDec   = 16

	vecMin   = 0 * 32 // -logitMax
	vecMax   = 1 * 32 // logitMax
	vecZero  = 2 * 32 // zeroLogit
	vecRound = 3 * 32 // 1 << 13
	vecOne   = 4 * 32 // 1
	vecLimit = 5 * 32 // counterLimit
	vecFew   = 6 * 32 // 0x80808070: 16 and more become indices that give 0
	vecLow   = 7 * 32 // rates of counts below 16, in 1/256
	vecHigh  = 8 * 32 // rates of counts by their high 4 bits, in 1/4096
	vecFull  = 9 * 32 // 1 << 22
)

func init() {
	coders = append(coders,
		kernel{"mix_4_avx2", func(c *build.Context) { mix(c, 4) }},
		kernel{"mix_8_avx2", func(c *build.Context) { mix(c, 8) }})
}

// mix builds a decision of a site with n inputs. With 4 they are close calls.
func mix(c *build.Context, n int) {
	name := fmt.Sprintf("mix%dAVX2", n)
	function(c, name, "func(rc *rangeCoder, c *[8]*counter, m0, m1 *mixing, y int) int", name+` is mix for n = `+fmt.Sprint(n)+`, but that it leaves the carry and shift of the range
coder to its caller.`, "rangeCoder", "counter", "mixing")
	m0, m1, rc, vec, tab, s := reg.R8, reg.R9, reg.R10, reg.R11, reg.RDI, reg.RSI
	c.Load(c.Param("c"), s)
	c.Load(c.Param("m0"), m0)
	c.Load(c.Param("m1"), m1)
	c.Load(c.Param("rc"), rc)
	c.LEAQ(symbol("mixVec"), vec)
	c.LEAQ(symbol("stretchTab"), tab)

	for i := range n {
		c.MOVQ(mem(s, 8*i), reg.RAX)
		gather(c, i, tab)
	}
	decide(c, n, n == 4, func() { c.Load(c.Param("y"), tab) }, func() {})
	for i := range n {
		c.MOVQ(mem(s, 8*i), reg.RAX)
		scatter(c, i)
	}
	c.ANDL(operand.U8(1), reg.R15L)
	c.Store(reg.R15, c.ReturnIndex(0))
	c.VZEROUPPER()
	c.RET()
}

// gather takes the counter at RAX as input i: its value into a lane of X0 or X1, its logit into a word of
// X2 or X3. stretchTab is at tab. It takes RCX.
func gather(c *build.Context, i int, tab reg.Register) {
	lanes := []reg.VecPhysical{reg.X0, reg.X1}[i/4]
	words := []reg.VecPhysical{reg.X2, reg.X3}[i/4]
	c.MOVL(mem(reg.RAX, 0), reg.ECX)
	if i%4 == 0 {
		c.VPXOR(words, words, words)
		c.VMOVD(mem(reg.RAX, 0), lanes)
	} else {
		c.VPINSRD(operand.U8(i%4), mem(reg.RAX, 0), lanes, lanes)
	}
	c.SHRL(operand.U8(20), reg.ECX)
	c.VPINSRW(operand.U8(i%4), idx(tab, reg.RCX, 2), words, words)
}

// scatter puts the new value of input i to RAX.
func scatter(c *build.Context, i int) {
	lanes := []reg.VecPhysical{reg.X0, reg.X1}[i/4]
	if i%4 == 0 {
		c.VMOVD(lanes, mem(reg.RAX, 0))
	} else {
		c.VPEXTRD(operand.U8(i%4), lanes, mem(reg.RAX, 0))
	}
}

// symbol is a variable of the package.
func symbol(n string) operand.Mem {
	return operand.Mem{Symbol: operand.Symbol{Name: "·" + n}, Base: reg.StaticBase}
}

// decide builds what follows once the inputs are in lanes of X0 and X1, their logits in words of X2 and
// X3, the sets in R8 and R9, the range coder in R10 and mixVec in R11: the decision, -1 or 0 in R15, the sets'
// update, and the inputs' new values in X0 and X1. RSI is kept. bit loads an encoder's bit into RDI. close: the decision
// is seldom foreseen, and made without a branch; else added follows where the interval's low end was moved.
func decide(c *build.Context, n int, close bool, bit, added func()) {
	m0, m1, rc, vec, tab := reg.R8, reg.R9, reg.R10, reg.R11, reg.RDI
	// v is the register of number i with n lanes.
	v := func(i int) reg.VecPhysical {
		y := []reg.VecPhysical{reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7, reg.Y8, reg.Y9, reg.Y10, reg.Y11}
		x := []reg.VecPhysical{reg.X0, reg.X1, reg.X2, reg.X3, reg.X4, reg.X5, reg.X6, reg.X7, reg.X8, reg.X9, reg.X10, reg.X11}
		if n == 4 {
			return x[i]
		}
		return y[i]
	}
	count, x, p0, p1 := v(0), v(4), v(5), v(6)
	if n == 8 {
		c.VPUNPCKLQDQ(reg.X3, reg.X2, reg.X2)
		c.VINSERTI128(operand.U8(1), reg.X1, reg.Y0, reg.Y0)
	}
	c.VPMOVSXWD(reg.X2, x)
	// Two inner products with the weights, into the low lanes of 7.
	c.VPMULLD(mem(m0, 0), x, p0)
	c.VPMULLD(mem(m1, 0), x, p1)
	c.VPUNPCKLDQ(p1, p0, v(7))
	c.VPUNPCKHDQ(p1, p0, v(8))
	c.VPADDD(v(8), v(7), v(7))
	if n == 8 {
		c.VEXTRACTI128(operand.U8(1), reg.Y7, reg.X8)
		c.VPADDD(reg.X8, reg.X7, reg.X7)
	}
	c.VPSHUFD(operand.U8(0x4e), reg.X7, reg.X8)
	c.VPADDD(reg.X8, reg.X7, reg.X7)
	c.VPSRAD(operand.U8(16), reg.X7, reg.X7)
	c.VPMAXSD(mem(vec, vecMin), reg.X7, reg.X7)
	c.VPMINSD(mem(vec, vecMax), reg.X7, reg.X7)
	c.VPADDD(mem(vec, vecZero), reg.X7, reg.X7)
	c.VMOVQ(reg.X7, reg.RAX)
	// AX, BX: the logits; CX: their mean.
	c.MOVL(reg.EAX, reg.EBX)
	c.SHRQ(operand.U8(32), reg.RAX)
	c.LEAL(operand.Mem{Base: reg.RAX, Index: reg.RBX, Scale: 1}, reg.ECX)
	c.SHRL(operand.U8(1), reg.ECX)
	// DX: the probability, from squash and the map.
	c.LEAQ(symbol("squashTab"), tab)
	c.MOVWLZX(idx(tab, reg.RCX, 2), reg.EDX)
	c.MOVWLZX(idx(tab, reg.RAX, 2), reg.EAX)
	c.MOVWLZX(idx(tab, reg.RBX, 2), reg.EBX)
	c.SHLL(operand.U8(7), reg.EDX)
	at, part := reg.R12, reg.RCX
	c.MOVL(reg.ECX, reg.R12L)
	c.SHRL(operand.U8(7), reg.R12L)
	c.ANDL(operand.U8(127), reg.ECX)
	fix := operand.Mem{Base: m1, Index: at, Scale: 4, Disp: mixFix}
	next := fix
	next.Disp += 4
	c.MOVL(fix, reg.R13L)
	c.MOVL(next, reg.R14L)
	c.SUBL(reg.R13L, reg.R14L)
	c.IMULL(reg.ECX, reg.R14L)
	c.SHLL(operand.U8(7), reg.R13L)
	c.ADDL(reg.R14L, reg.R13L)
	c.ADDL(reg.R13L, reg.EDX)
	c.SARL(operand.U8(8), reg.EDX)
	c.MOVL(operand.U32(24), reg.R13L)
	c.CMPL(reg.EDX, reg.R13L)
	c.CMOVLLT(reg.R13L, reg.EDX)
	c.MOVL(operand.U32(65536-24), reg.R13L)
	c.CMPL(reg.EDX, reg.R13L)
	c.CMOVLGT(reg.R13L, reg.EDX)
	// The range coder. R15: -1 where y = 1.
	c.MOVQ(mem(rc, rcRange), reg.R13)
	c.MOVQ(mem(rc, rcAt), reg.R14)
	c.MOVQ(reg.R13, tab)
	c.SHRQ(operand.U8(16), tab)
	c.IMULQ(tab, reg.RDX) // where the interval of y = 0 begins
	if close {
		// Without a branch.
		c.XORL(reg.R15L, reg.R15L)
		c.CMPQ(reg.R14, reg.RDX)
		c.SBBQ(operand.Imm(0), reg.R15)
		c.ANDQ(mem(rc, rcDec), reg.R15)
		bit()
		c.NEGQ(tab)
		c.ORQ(tab, reg.R15)
		c.SUBQ(reg.RDX, reg.R13)
		c.MOVQ(reg.R15, tab)
		c.NOTQ(tab)
		c.ANDQ(reg.RDX, tab)
		c.TESTQ(reg.R15, reg.R15)
		c.CMOVQNE(reg.RDX, reg.R13)
		c.XORQ(mem(rc, rcDec), tab)
		c.SUBQ(mem(rc, rcDec), tab)
		c.ADDQ(tab, reg.R14)
	} else {
		// A branch, so that what follows need not wait for the decision where it is foreseen.
		c.SUBQ(reg.RDX, reg.R13)
		c.CMPQ(mem(rc, rcDec), operand.Imm(0))
		c.JEQ(operand.LabelRef("encode"))
		c.CMPQ(reg.R14, reg.RDX)
		c.JCS(operand.LabelRef("one"))
		c.SUBQ(reg.RDX, reg.R14)
		c.JMP(operand.LabelRef("zero"))
		c.Label("encode")
		bit()
		c.TESTQ(tab, tab)
		c.JNE(operand.LabelRef("one"))
		c.ADDQ(reg.RDX, reg.R14)
		added()
		c.Label("zero")
		c.XORL(reg.R15L, reg.R15L)
		c.JMP(operand.LabelRef("decided"))
		c.Label("one")
		c.MOVQ(reg.RDX, reg.R13)
		c.MOVQ(operand.I32(-1), reg.R15)
		c.Label("decided")
	}
	c.MOVQ(reg.R13, mem(rc, rcRange))
	c.MOVQ(reg.R14, mem(rc, rcAt))
	// Errors in AX and BX, and the map's nearest point.
	c.MOVL(reg.R15L, reg.R13L)
	c.ANDL(operand.U32(1<<16), reg.R13L)
	c.SHRL(operand.U8(6), reg.ECX)
	c.ADDQ(part, at)
	c.MOVL(reg.R13L, reg.EDX)
	c.MOVL(fix, reg.R14L)
	c.SUBL(reg.R14L, reg.EDX)
	c.SARL(operand.U8(7), reg.EDX)
	c.ADDL(reg.R14L, reg.EDX)
	c.MOVL(reg.EDX, fix)
	c.MOVL(reg.R13L, reg.EDX)
	c.SUBL(reg.EBX, reg.R13L) // of the first logit
	c.SUBL(reg.EAX, reg.EDX)
	for _, e := range []struct {
		err  reg.GPPhysical
		i    int
		m    reg.GPPhysical
		rate operand.U32
	}{{reg.R13L, 9, m0, 160}, {reg.EDX, 10, m1, 64}} {
		c.IMUL3L(e.rate, e.err, e.err)
		c.SARL(operand.U8(8), e.err)
		low := []reg.VecPhysical{reg.X9, reg.X10}[e.i-9]
		c.VMOVD(e.err, low)
		c.VPBROADCASTD(low, v(e.i))
		c.VPMULLD(v(e.i), x, v(e.i))
		c.VPADDD(mem(vec, vecRound), v(e.i), v(e.i))
		c.VPSRAD(operand.U8(14), v(e.i), v(e.i))
		c.VPADDD(mem(e.m, 0), v(e.i), v(e.i))
		c.VMOVDQU(v(e.i), mem(e.m, 0))
	}
	// The counters.
	c.VMOVD(reg.R15L, reg.X11)
	c.VPBROADCASTD(reg.X11, v(11))
	c.VPAND(mem(vec, vecFull), v(11), v(11))
	c.VPSRLD(operand.U8(10), count, v(5)) // probability
	c.VPSUBD(v(5), v(11), v(11))
	c.VPSRAD(operand.U8(4), v(11), v(11))
	c.VPAND(mem(vec, vecLimit), count, v(6)) // count
	c.VPADDUSB(mem(vec, vecFew), v(6), v(7))
	if n == 4 {
		c.VMOVDQU(mem(vec, vecLow), reg.X8)
		c.VMOVDQU(mem(vec, vecHigh), reg.X9)
	} else {
		c.VMOVDQU(mem(vec, vecLow), reg.Y8)
		c.VMOVDQU(mem(vec, vecHigh), reg.Y9)
	}
	c.VPSHUFB(v(7), v(8), v(7))
	c.VPSLLD(operand.U8(4), v(7), v(7))
	c.VPSRLD(operand.U8(4), v(6), v(10))
	c.VPSHUFB(v(10), v(9), v(10))
	c.VPOR(v(10), v(7), v(7)) // rate
	c.VPMULLD(v(7), v(11), v(11))
	c.VPSRAD(operand.U8(8), v(11), v(11))
	c.VPADDD(v(11), v(5), v(5))
	c.VPSLLD(operand.U8(10), v(5), v(5))
	c.VPADDD(mem(vec, vecOne), v(6), v(6))
	c.VPMINSD(mem(vec, vecLimit), v(6), v(6))
	c.VPOR(v(5), v(6), v(0))
	if n == 8 {
		c.VEXTRACTI128(operand.U8(1), reg.Y0, reg.X1)
	}
}
