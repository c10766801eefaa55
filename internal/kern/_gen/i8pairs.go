package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kern.I8Pairs, I8Pack and I8Unpack that the kernels read; a test of
// package kern checks them.
const (
	prX     = 0
	prW     = 24
	prBias  = 48
	prMul   = 72
	prY     = 96
	prPairs = 120
	prVecs  = 128
	prZero  = 136
	prLo    = 140
	prHi    = 144
	prFlip  = 148
	prOrder = 152
	prAcc   = 168
	prLoad  = 192
	prKeep  = 200

	pkX      = 0
	pkRows   = 24
	pkN      = 32
	pkOff    = 48
	pkSegs   = 56
	pkChunks = 72
	pkDst    = 80
	pkFlip   = 104

	upT    = 0
	upRows = 24
	upN    = 32
	upDst  = 48
)

func init() {
	kernels = append(kernels,
		kernel{"i8_pairs_2x32_avx2", i8Pairs},
		kernel{"i8_pack_8_avx2", i8Pack},
		kernel{"i8_unpack_16_avx2", i8Unpack})
}

// i8Pairs: products of four bytes stay in int16 until two of them are added, which whoever packed
// the weights has proven not to overflow.
func i8Pairs(c *build.Context) {
	ones := c.StaticGlobal("i8Ones")
	c.DataAttributes(attr.RODATA | attr.NOPTR)
	for range 4 {
		c.AppendDatum(operand.U64(0x0001000100010001))
	}
	function(c, "i8Pairs2x32AVX2", "func(t *I8Pairs)", `i8Pairs2x32AVX2 computes pairs of channels of up to 32 pixels:

	w := t.W
	for i := range t.Pairs {
		acc := [2][32]int32{} // t.Bias[2*i] and t.Bias[2*i+1], or t.Acc[64*i:] if t.Load
		for range uint32(w[:4]) { // both channels
			for h := range 2 {
				for k := range 4 {
					x := t.X[8*uint16(step[2*h:]):][4*p+k]
					acc[ch][p] += x * int8(step[4+8*ch+4*h+k])
				}
			}
		}
		for ch := range 2 { // one of them
			for range uint16(w[4+2*ch:]) {
				for h := range 2 {
					for k := range 4 {
						x := t.X[8*uint16(step[2*h:]):][4*p+k]
						acc[ch][p] += x * int8(step[4+4*h+k])
					}
				}
			}
		}
		t.Y[64*i+2*p+ch] = quantise(acc[ch][p]) // or t.Acc[64*i:] = acc, if t.Keep
	}`, "I8Pairs")
	t := reg.R14
	c.Load(c.Param("t"), t)
	x, w, bias, mul, y, left := reg.RDI, reg.RSI, reg.R10, reg.R11, reg.R12, reg.R13
	c.MOVQ(mem(t, prX), x)
	c.MOVQ(mem(t, prW), w)
	c.MOVQ(mem(t, prBias), bias)
	c.MOVQ(mem(t, prMul), mul)
	c.MOVQ(mem(t, prY), y)
	c.MOVQ(mem(t, prPairs), left)
	c.MOVQ(mem(t, prAcc), reg.RDX)
	c.LEAQ(ones, reg.RBX)
	c.MOVQ(mem(t, prVecs), reg.RAX)
	for v := 3; v > 0; v-- {
		c.CMPQ(reg.RAX, operand.U8(v))
		c.JEQ(operand.LabelRef(fmt.Sprintf("pair%d", v)))
	}
	for v := 4; v > 0; v-- {
		i8PairsBody(c, v)
	}
}

func i8PairsBody(c *build.Context, v int) {
	l := func(s string) string { return fmt.Sprintf("%s%d", s, v) }
	t := reg.R14
	x, w, bias, mul, y, left := reg.RDI, reg.RSI, reg.R10, reg.R11, reg.R12, reg.R13
	n, a, b, sums, ones := reg.RCX, reg.R8, reg.R9, reg.RDX, mem(reg.RBX, 0)
	acc := func(i, j int) reg.VecPhysical { return ymm[4*i+j] }
	w0, w1, w2, w3, xa, xb, p, q := ymm[8], ymm[9], ymm[10], ymm[11], ymm[12], ymm[13], ymm[14], ymm[15]
	// Blocks of four bytes of pixels; offsets are in eights.
	block := func(at reg.GPPhysical, j int) operand.Mem {
		return operand.Mem{Base: x, Index: at, Scale: 8, Disp: 32 * j}
	}
	c.Label(l("pair"))
	c.CMPQ(mem(t, prLoad), operand.U8(0))
	c.JNE(operand.LabelRef(l("load")))
	for i := range 2 {
		c.VPBROADCASTD(mem(bias, 4*i), acc(i, 0))
		for j := 1; j < v; j++ {
			c.VMOVDQA(acc(i, 0), acc(i, j))
		}
	}
	c.JMP(operand.LabelRef(l("begin")))
	c.Label(l("load"))
	for i := range 2 {
		for j := range v {
			c.VMOVDQU(mem(sums, 128*i+32*j), acc(i, j))
		}
	}
	c.Label(l("begin"))
	head := reg.RAX
	c.MOVQ(w, head)
	c.MOVL(mem(w, 0), n.As32())
	c.ADDQ(operand.U8(8), w)
	c.TESTQ(n, n)
	c.JZ(operand.LabelRef(l("one0")))
	c.Label(l("both"))
	c.MOVWLZX(mem(w, 0), a.As32())
	c.MOVWLZX(mem(w, 2), b.As32())
	for i, r := range []reg.VecPhysical{w0, w1, w2, w3} {
		c.VPBROADCASTD(mem(w, 4+4*i), r)
	}
	for j := range v {
		c.VMOVDQU(block(a, j), xa)
		c.VMOVDQU(block(b, j), xb)
		c.VPMADDUBSW(w0, xa, p)
		c.VPMADDUBSW(w1, xb, q)
		c.VPMADDUBSW(w2, xa, xa)
		c.VPMADDUBSW(w3, xb, xb)
		c.VPADDW(q, p, p)
		c.VPADDW(xb, xa, xa)
		c.VPMADDWD(ones, p, p)
		c.VPMADDWD(ones, xa, xa)
		c.VPADDD(p, acc(0, j), acc(0, j))
		c.VPADDD(xa, acc(1, j), acc(1, j))
	}
	c.ADDQ(operand.U8(20), w)
	c.DECQ(n)
	c.JNZ(operand.LabelRef(l("both")))
	for i := range 2 {
		step, next := l(fmt.Sprintf("step%d", i)), l([]string{"one1", "end"}[i])
		if i == 0 {
			c.Label(l("one0"))
		} else {
			c.Label(l("one1"))
		}
		c.MOVWLZX(mem(head, 4+2*i), n.As32())
		c.TESTQ(n, n)
		c.JZ(operand.LabelRef(next))
		c.VMOVDQU(ones, w2)
		c.Label(step)
		c.MOVWLZX(mem(w, 0), a.As32())
		c.MOVWLZX(mem(w, 2), b.As32())
		c.VPBROADCASTD(mem(w, 4), w0)
		c.VPBROADCASTD(mem(w, 8), w1)
		for j := range v {
			xa, xb := ymm[12+j%2*2], ymm[13+j%2*2]
			c.VMOVDQU(block(a, j), xa)
			c.VMOVDQU(block(b, j), xb)
			c.VPMADDUBSW(w0, xa, xa)
			c.VPMADDUBSW(w1, xb, xb)
			c.VPADDW(xb, xa, xa)
			c.VPMADDWD(w2, xa, xa)
			c.VPADDD(xa, acc(i, j), acc(i, j))
		}
		c.ADDQ(operand.U8(12), w)
		c.DECQ(n)
		c.JNZ(operand.LabelRef(step))
	}
	c.Label(l("end"))
	c.CMPQ(mem(t, prKeep), operand.U8(0))
	c.JNE(operand.LabelRef(l("keep")))
	for i := range 2 {
		c.VBROADCASTSS(mem(mul, 4*i), w0)
		for j := range v {
			r := acc(i, j)
			c.VCVTDQ2PS(r, r)
			c.VMULPS(w0, r, r)
			c.VCVTPS2DQ(r, r)
		}
	}
	c.VPBROADCASTW(mem(t, prZero), w0)
	c.VPBROADCASTB(mem(t, prLo), w1)
	c.VPBROADCASTB(mem(t, prHi), w2)
	c.VPBROADCASTB(mem(t, prFlip), w3)
	c.VBROADCASTI128(mem(t, prOrder), p)
	for j := range v {
		c.VPACKSSDW(acc(1, j), acc(0, j), acc(0, j))
		c.VPADDSW(w0, acc(0, j), acc(0, j))
	}
	for j := 0; j < v; j += 2 {
		r := acc(0, j)
		if j+1 < v {
			c.VPACKUSWB(acc(0, j+1), r, r)
		} else {
			c.VPACKUSWB(r, r, r)
		}
		c.VPMAXUB(w1, r, r)
		c.VPMINUB(w2, r, r)
		c.VPXOR(w3, r, r)
		c.VPSHUFB(p, r, r)
		c.VPERMQ(operand.U8(0xd8), r, r)
		c.VMOVDQU(r, mem(y, 16*j))
	}
	c.JMP(operand.LabelRef(l("next")))
	c.Label(l("keep"))
	for i := range 2 {
		for j := range v {
			c.VMOVDQU(acc(i, j), mem(sums, 128*i+32*j))
		}
	}
	c.Label(l("next"))
	c.ADDQ(operand.U8(8), bias)
	c.ADDQ(operand.U8(8), mul)
	c.ADDQ(operand.U8(64), y)
	c.ADDQ(operand.U32(256), sums)
	c.DECQ(left)
	c.JNZ(operand.LabelRef(l("pair")))
	c.VZEROUPPER()
	c.RET()
}

func i8Pack(c *build.Context) {
	function(c, "i8Pack8AVX2", "func(t *I8Pack)", `i8Pack8AVX2 brings bytes of pixels into blocks of four:

	for p, row := range t.Rows { // a multiple of 8
		for s, off := range t.Off {
			for k := range 16 * t.Chunks {
				t.Dst[(s*4*t.Chunks+k/4)*128+4*p+k%4] = t.X[row+off+k] ^ byte(t.Flip)
			}
		}
	}`, "I8Pack")
	t := reg.R14
	c.Load(c.Param("t"), t)
	p := []reg.Register{reg.RAX, reg.RCX, reg.RDX, reg.RBX, reg.RSI, reg.RDI, reg.R8, reg.R9}
	d, k, n, seg, segs := reg.R10, reg.R11, reg.R12, reg.R13, reg.R15
	flip := ymm[15]
	c.VPBROADCASTB(mem(t, pkFlip), flip)
	c.Label("rows")
	c.MOVQ(mem(t, pkRows), seg)
	c.MOVQ(mem(t, pkX), k)
	for i, r := range p {
		c.MOVQ(mem(seg, 8*i), r)
		c.ADDQ(k, r)
	}
	c.ADDQ(operand.U8(64), seg)
	c.MOVQ(seg, mem(t, pkRows))
	c.MOVQ(mem(t, pkDst), d)
	c.MOVQ(mem(t, pkOff), seg)
	c.MOVQ(mem(t, pkSegs), segs)
	c.Label("seg")
	c.MOVQ(mem(seg, 0), k)
	c.MOVQ(mem(t, pkChunks), n)
	c.Label("chunk")
	for i := range 4 {
		c.VMOVDQU(idx(p[i], k, 1), ymm[i].(reg.Vec).AsX())
	}
	for i := range 4 {
		c.VINSERTI128(operand.U8(1), idx(p[4+i], k, 1), ymm[i], ymm[i])
	}
	for i := range 4 {
		c.VPXOR(flip, ymm[i], ymm[i])
	}
	for i := range 2 {
		c.VPUNPCKLDQ(ymm[2*i+1], ymm[2*i], ymm[4+2*i])
		c.VPUNPCKHDQ(ymm[2*i+1], ymm[2*i], ymm[5+2*i])
	}
	for i := range 2 {
		c.VPUNPCKLQDQ(ymm[6+i], ymm[4+i], ymm[2*i])
		c.VPUNPCKHQDQ(ymm[6+i], ymm[4+i], ymm[2*i+1])
	}
	for i := range 4 {
		c.VMOVDQU(ymm[i], mem(d, 128*i))
	}
	c.ADDQ(operand.U32(512), d)
	c.ADDQ(operand.U8(16), k)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("chunk"))
	c.ADDQ(operand.U8(8), seg)
	c.DECQ(segs)
	c.JNZ(operand.LabelRef("seg"))
	c.MOVQ(mem(t, pkDst), d)
	c.ADDQ(operand.U8(32), d)
	c.MOVQ(d, mem(t, pkDst))
	c.MOVQ(mem(t, pkN), n)
	c.SUBQ(operand.U8(8), n)
	c.MOVQ(n, mem(t, pkN))
	c.JNZ(operand.LabelRef("rows"))
	c.VZEROUPPER()
	c.RET()
}

// i8Unpack transposes words, eight pairs of channels of sixteen pixels at a time.
func i8Unpack(c *build.Context) {
	function(c, "i8Unpack16AVX2", "func(t *I8Unpack)", `i8Unpack16AVX2 brings eight pairs of channels back to pixels, the last of sixteen first:

	for p, row := range t.Rows { // a multiple of 16
		for i := range 16 {
			t.Dst[row+i] = t.T[64*(i/2)+2*p+i%2]
		}
	}`, "I8Unpack")
	t := reg.R14
	c.Load(c.Param("t"), t)
	s, d, rows, n, r := reg.RSI, reg.RDI, reg.RDX, reg.RCX, reg.RAX
	c.MOVQ(mem(t, upT), s)
	c.MOVQ(mem(t, upRows), rows)
	c.MOVQ(mem(t, upN), n)
	c.MOVQ(mem(t, upDst), d)
	c.Label("loop")
	for i := range 8 {
		c.VMOVDQU(mem(s, 64*i), ymm[i])
	}
	for i := range 4 {
		c.VPUNPCKLWD(ymm[2*i+1], ymm[2*i], ymm[8+i])
		c.VPUNPCKHWD(ymm[2*i+1], ymm[2*i], ymm[12+i])
	}
	// 8: pixels 0-3 of channels 0-3, 9: of 4-7, ...; 12: pixels 4-7.
	for h := range 2 {
		for i := range 2 {
			a, b := ymm[8+4*h+2*i], ymm[9+4*h+2*i]
			c.VPUNPCKLDQ(b, a, ymm[4*h+2*i])
			c.VPUNPCKHDQ(b, a, ymm[4*h+2*i+1])
		}
	}
	for h := range 2 {
		for i := range 2 {
			a, b := ymm[4*h+i], ymm[4*h+2+i]
			c.VPUNPCKLQDQ(b, a, ymm[8+4*h+2*i])
			c.VPUNPCKHQDQ(b, a, ymm[8+4*h+2*i+1])
		}
	}
	for i := 15; i >= 0; i-- {
		c.MOVQ(mem(rows, 8*i), r)
		if i >= 8 {
			c.VEXTRACTI128(operand.U8(1), ymm[i], idx(d, r, 1))
		} else {
			c.VMOVDQU(ymm[8+i].(reg.Vec).AsX(), idx(d, r, 1))
		}
	}
	c.ADDQ(operand.U8(32), s)
	c.SUBQ(operand.I8(-128), rows)
	c.SUBQ(operand.U8(16), n)
	c.JNZ(operand.LabelRef("loop"))
	c.VZEROUPPER()
	c.RET()
}
