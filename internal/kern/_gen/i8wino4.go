package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const oTmp = 144 // of kern.I8WinoOut

func init() {
	kernels = append(kernels,
		kernel{"i8_winoin4_avx2", i8WinoIn4},
		kernel{"i8_winoout4_avx2", i8WinoOut4},
		kernel{"i8_sumabs_avx2", i8SumAbs})
}

func i8SumAbs(c *build.Context) {
	function(c, "i8SumAbsAVX2", "func(src *byte, n int, flip uint64, sums *[8]int64)", `i8SumAbsAVX2 adds up bytes; n is at least 32, and what 32 leaves of it is not read:

	for i := range n &^ 31 {
		x := src[i] ^ byte(flip)
		sums[i/8%4] += int64(x ^ 0x80)
		sums[4+i/8%4] += abs(int64(int8(x)))
	}`)
	s, n, o := reg.RSI, reg.RCX, reg.RDI
	c.Load(c.Param("src"), s)
	c.Load(c.Param("n"), n)
	c.Load(c.Param("flip"), reg.RAX)
	c.Load(c.Param("sums"), o)
	flip, high, none, sum, abs, x, y := ymm[0], ymm[1], ymm[2], ymm[3], ymm[4], ymm[5], ymm[6]
	c.VMOVD(reg.EAX, reg.X0)
	c.VPBROADCASTB(reg.X0, flip)
	c.MOVL(operand.U32(0x80), reg.EAX)
	c.VMOVD(reg.EAX, reg.X1)
	c.VPBROADCASTB(reg.X1, high)
	for _, r := range []reg.VecPhysical{none, sum, abs} {
		c.VPXOR(r, r, r)
	}
	c.SHRQ(operand.U8(5), n)
	c.Label("loop")
	c.VPXOR(mem(s, 0), flip, x)
	c.VPABSB(x, y)
	c.VPXOR(high, x, x)
	c.VPSADBW(none, x, x)
	c.VPADDQ(x, sum, sum)
	c.VPSADBW(none, y, y)
	c.VPADDQ(y, abs, abs)
	c.ADDQ(operand.U8(32), s)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("loop"))
	c.VMOVDQU(sum, mem(o, 0))
	c.VMOVDQU(abs, mem(o, 32))
	c.VZEROUPPER()
	c.RET()
}

// places are the addresses p, p+s, ... p+5s, with three and five times s in registers.
func places(p, s, s3, s5 reg.Register) [6]operand.Mem {
	return [6]operand.Mem{mem(p, 0), idx(p, s, 1), idx(p, s, 2), idx(p, s3, 1), idx(p, s, 4), idx(p, s5, 1)}
}

func i8WinoIn4(c *build.Context) {
	function(c, "i8WinoIn4AVX2", "func(t *I8WinoIn)", `i8WinoIn4AVX2 transforms a row of tiles of 6x6 pixels four apart:

	line := func(d [6]int16) [6]int16 {
		s, p := d[4]-d[2], d[4]-4*d[2]
		t, q := 2*(d[3]-d[1]), d[3]-4*d[1]
		return [6]int16{4*(d[0]-d[2]) + s, p + q, p - q, s + t, s - t, 4*(d[1]-d[3]) + d[5] - d[3]}
	}
	for i := range t.Tiles {
		for c := range 16 * t.Blocks {
			v = line of the columns, then of the rows, of d[y][x] = t.X[y*t.Row+(4*i+x)*t.Pixel+c]
			t.V[(6*y+x)*t.Pos+i*t.Step+c] = v[y][x]
		}
	}`, "I8WinoIn")
	t, px, pv, p, at, out := reg.R14, reg.RSI, reg.RDI, reg.RAX, reg.RBX, reg.RCX
	row, row3, row5, pix, pos, pos3, pos5, blocks := reg.RDX, reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13, reg.R15
	c.Load(c.Param("t"), t)
	c.MOVQ(mem(t, vX), px)
	c.MOVQ(mem(t, vV), pv)
	for _, r := range []struct {
		off int
		r   reg.Register
	}{{vRow, row}, {vPixel, pix}, {vPos, pos}} {
		c.MOVQ(mem(t, r.off), r.r)
		c.SHLQ(operand.U8(1), r.r)
	}
	c.LEAQ(idx(row, row, 2), row3)
	c.LEAQ(idx(row, row, 4), row5)
	c.LEAQ(idx(pos, pos, 2), pos3)
	c.LEAQ(idx(pos, pos, 4), pos5)
	t0, t1, t2, t3 := ymm[12], ymm[13], ymm[14], ymm[15]
	// across transforms a line of registers e and stores it.
	across := func(e []reg.VecPhysical) {
		o := places(out, pos, pos3, pos5)
		c.VPSUBW(e[2], e[0], t0)
		c.VPSLLW(operand.U8(2), t0, t0)
		c.VPSUBW(e[2], e[4], t1)
		c.VPADDW(t1, t0, t0)
		c.VMOVDQU(t0, o[0])
		c.VPSUBW(e[1], e[3], t2)
		c.VPADDW(t2, t2, t2)
		c.VPADDW(t2, t1, t0)
		c.VPSUBW(t2, t1, t1)
		c.VMOVDQU(t0, o[3])
		c.VMOVDQU(t1, o[4])
		c.VPSLLW(operand.U8(2), e[2], t0)
		c.VPSUBW(t0, e[4], t0)
		c.VPSLLW(operand.U8(2), e[1], t2)
		c.VPSUBW(t2, e[3], t2)
		c.VPADDW(t2, t0, t1)
		c.VPSUBW(t2, t0, t0)
		c.VMOVDQU(t1, o[1])
		c.VMOVDQU(t0, o[2])
		c.VPSUBW(e[3], e[1], t0)
		c.VPSLLW(operand.U8(2), t0, t0)
		c.VPSUBW(e[3], e[5], t1)
		c.VPADDW(t1, t0, t0)
		c.VMOVDQU(t0, o[5])
		c.LEAQ(idx(out, pos3, 2), out)
	}
	e, f := ymm[:6], ymm[6:12]
	// Rows of the transform of the columns: the first and the last alone, the others in twos.
	down := func(x func(d [6]operand.Mem, i int)) {
		c.MOVQ(at, p)
		for i := range 6 {
			x(places(p, row, row3, row5), i)
			if i < 5 {
				c.ADDQ(pix, p)
			}
		}
	}
	c.Label("tile")
	c.MOVQ(px, at)
	c.XORQ(blocks, blocks)
	c.Label("block")
	c.MOVQ(blocks, out)
	c.SHLQ(operand.U8(5), out)
	c.ADDQ(pv, out)
	down(func(d [6]operand.Mem, i int) {
		c.VMOVDQU(d[2], t0)
		c.VMOVDQU(d[0], t1)
		c.VPSUBW(t0, t1, t1)
		c.VPSLLW(operand.U8(2), t1, t1)
		c.VMOVDQU(d[4], t2)
		c.VPSUBW(t0, t2, t2)
		c.VPADDW(t2, t1, e[i])
	})
	across(e)
	down(func(d [6]operand.Mem, i int) {
		c.VMOVDQU(d[2], t0)
		c.VPSLLW(operand.U8(2), t0, t0)
		c.VMOVDQU(d[4], t1)
		c.VPSUBW(t0, t1, t1)
		c.VMOVDQU(d[1], t2)
		c.VPSLLW(operand.U8(2), t2, t2)
		c.VMOVDQU(d[3], t3)
		c.VPSUBW(t2, t3, t3)
		c.VPADDW(t3, t1, e[i])
		c.VPSUBW(t3, t1, f[i])
	})
	across(e)
	across(f)
	down(func(d [6]operand.Mem, i int) {
		c.VMOVDQU(d[4], t1)
		c.VPSUBW(d[2], t1, t1)
		c.VMOVDQU(d[3], t3)
		c.VPSUBW(d[1], t3, t3)
		c.VPADDW(t3, t3, t3)
		c.VPADDW(t3, t1, e[i])
		c.VPSUBW(t3, t1, f[i])
	})
	across(e)
	across(f)
	down(func(d [6]operand.Mem, i int) {
		c.VMOVDQU(d[3], t0)
		c.VMOVDQU(d[1], t1)
		c.VPSUBW(t0, t1, t1)
		c.VPSLLW(operand.U8(2), t1, t1)
		c.VMOVDQU(d[5], t2)
		c.VPSUBW(t0, t2, t2)
		c.VPADDW(t2, t1, e[i])
	})
	across(e)
	c.ADDQ(operand.U8(32), at)
	c.INCQ(blocks)
	c.CMPQ(blocks, mem(t, vBlocks))
	c.JL(operand.LabelRef("block"))
	c.LEAQ(idx(px, pix, 4), px)
	c.MOVQ(mem(t, vStep), out)
	c.LEAQ(idx(pv, out, 2), pv)
	c.DECQ(mem(t, vTiles))
	c.JNZ(operand.LabelRef("tile"))
	c.VZEROUPPER()
	c.RET()
}

func i8WinoOut4(c *build.Context) {
	function(c, "i8WinoOut4AVX2", "func(t *I8WinoOut)", `i8WinoOut4AVX2 brings a row of tiles of 4x4 pixels of 16 channels back and quantises it:

	line := func(m [6]int32) [4]int32 {
		a, b, c, d := m[1]+m[2], m[3]+m[4], m[1]-m[2], m[3]-m[4]
		return [4]int32{m[0] + a + b, c + 2*d, a + 4*b, c + 8*d + 2*m[5]}
	}
	for i := range t.Tiles {
		for l := range 16 {
			s = line of the columns, then of the rows, of m[y][x] = t.M[(6*y+x)*t.Pos+i*16+l]
			v := float32(s[y][x]*0x38e38e39>>6+t.Bias[l]) * t.Mul[l]
			t.Y[y*t.Row+(4*i+x)*t.Pixel+column(l)] = byte(int32(RNE(min(t.Hi, max(t.Lo, v)))) + t.Zero)
		}
	}`, "I8WinoOut")
	t, m, y, p, tmp := reg.R14, reg.RSI, reg.RDI, reg.RAX, reg.RBX
	pos, row, row3, row5, yrow, pix, pix3, n := reg.RCX, reg.RDX, reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13
	c.Load(c.Param("t"), t)
	c.MOVQ(mem(t, oM), m)
	c.MOVQ(mem(t, oPos), pos)
	c.SHLQ(operand.U8(2), pos)
	c.LEAQ(idx(pos, pos, 2), row)
	c.SHLQ(operand.U8(1), row)
	c.LEAQ(idx(row, row, 2), row3)
	c.LEAQ(idx(row, row, 4), row5)
	c.MOVQ(mem(t, oY), y)
	c.MOVQ(mem(t, oRow), yrow)
	c.MOVQ(mem(t, oPixel), pix)
	c.LEAQ(idx(pix, pix, 2), pix3)
	c.MOVQ(mem(t, oTmp), tmp)
	t0, t1, t2, t3 := ymm[12], ymm[13], ymm[14], ymm[15]
	e, f := ymm[:6], ymm[6:12]
	// across brings a line of registers back and stores it; tmp moves on to the next.
	across := func(e []reg.VecPhysical, at int) {
		o := func(i int) operand.Mem { return mem(tmp, at+64*i) }
		c.VPADDD(e[2], e[1], t0)
		c.VPADDD(e[4], e[3], t1)
		c.VPSUBD(e[2], e[1], t2)
		c.VPSUBD(e[4], e[3], t3)
		c.VPADDD(t0, e[0], e[0])
		c.VPADDD(t1, e[0], e[0])
		c.VMOVDQU(e[0], o(0))
		c.VPADDD(t3, t3, t3)
		c.VPADDD(t3, t2, e[0])
		c.VMOVDQU(e[0], o(1))
		c.VPSLLD(operand.U8(2), t1, t1)
		c.VPADDD(t1, t0, t0)
		c.VMOVDQU(t0, o(2))
		c.VPSLLD(operand.U8(2), t3, t3)
		c.VPADDD(t3, t2, t2)
		c.VPADDD(e[5], e[5], e[5])
		c.VPADDD(e[5], t2, t2)
		c.VMOVDQU(t2, o(3))
	}
	down := func(h int, x func(m [6]operand.Mem, i int)) {
		c.MOVQ(m, p)
		for i := range 6 {
			a := places(p, row, row3, row5)
			for k := range a {
				a[k].Disp = 32 * h
			}
			x(a, i)
			if i < 5 {
				c.ADDQ(pos, p)
			}
		}
	}
	c.Label("tile")
	for h := range 2 {
		down(h, func(m [6]operand.Mem, i int) {
			c.VMOVDQU(m[1], t0)
			c.VPADDD(m[2], t0, t0)
			c.VMOVDQU(m[3], t1)
			c.VPADDD(m[4], t1, t1)
			c.VPADDD(m[0], t0, t2)
			c.VPADDD(t1, t2, e[i])
			c.VPSLLD(operand.U8(2), t1, t1)
			c.VPADDD(t1, t0, f[i])
		})
		across(e, 32*h)
		across(f, 512+32*h)
		down(h, func(m [6]operand.Mem, i int) {
			c.VMOVDQU(m[1], t0)
			c.VPSUBD(m[2], t0, t0)
			c.VMOVDQU(m[3], t1)
			c.VPSUBD(m[4], t1, t1)
			c.VPADDD(t1, t1, t1)
			c.VPADDD(t1, t0, e[i])
			c.VPSLLD(operand.U8(2), t1, t1)
			c.VPADDD(t1, t0, t0)
			c.VMOVDQU(m[5], t2)
			c.VPADDD(t2, t2, t2)
			c.VPADDD(t2, t0, f[i])
		})
		across(e, 256+32*h)
		across(f, 768+32*h)
	}
	lo, hi, zero, bits, ninth := ymm[4], ymm[5], ymm[6], ymm[7], ymm[8]
	c.VBROADCASTSS(mem(t, oLo), lo)
	c.VBROADCASTSS(mem(t, oHi), hi)
	c.VPBROADCASTD(mem(t, oZero), zero)
	lowBytes(c, bits)
	c.MOVL(operand.U32(0x38e38e39), n.As32())
	c.VMOVD(n.As32(), ninth.AsX())
	c.VPBROADCASTD(ninth.AsX(), ninth)
	c.MOVQ(mem(t, oBias), n)
	c.VMOVDQU(mem(n, 0), ymm[9])
	c.VMOVDQU(mem(n, 32), ymm[10])
	c.MOVQ(mem(t, oMul), n)
	c.VMOVUPS(mem(n, 0), ymm[11])
	c.VMOVUPS(mem(n, 32), ymm[12])
	c.MOVQ(y, p)
	for i := range 16 {
		a, b := ymm[i%2*2], ymm[i%2*2+1]
		for h, r := range []reg.VecPhysical{a, b} {
			c.VPMULLD(mem(tmp, 64*i+32*h), ninth, r)
			c.VPSRAD(operand.U8(6), r, r)
			c.VPADDD(ymm[9+h], r, r)
			c.VCVTDQ2PS(r, r)
			c.VMULPS(ymm[11+h], r, r)
			c.VMAXPS(lo, r, r)
			c.VMINPS(hi, r, r)
			c.VCVTPS2DQ(r, r)
			c.VPADDD(zero, r, r)
		}
		narrowBytes(c, a, b, bits)
		o := [4]operand.Mem{mem(p, 0), idx(p, pix, 1), idx(p, pix, 2), idx(p, pix3, 1)}[i%4]
		c.VMOVDQU(a.(reg.Vec).AsX(), o)
		if i%4 == 3 && i < 15 {
			c.ADDQ(yrow, p)
		}
	}
	c.LEAQ(idx(y, pix, 4), y)
	c.ADDQ(operand.U8(64), m)
	c.DECQ(mem(t, oTiles))
	c.JNZ(operand.LabelRef("tile"))
	c.VZEROUPPER()
	c.RET()
}
