package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kern.I8WinoIn and I8WinoOut; a test of package kern checks them.
const (
	vX      = 0
	vRow    = 24
	vPixel  = 32
	vV      = 40
	vPos    = 64
	vStep   = 72
	vBlocks = 80
	vTiles  = 88

	oM     = 0
	oPos   = 24
	oBias  = 32
	oMul   = 56
	oY     = 80
	oRow   = 104
	oPixel = 112
	oTiles = 120
	oLo    = 128
	oHi    = 132
	oZero  = 136
)

func init() {
	kernels = append(kernels,
		kernel{"i8_winoin_avx2", i8WinoIn},
		kernel{"i8_winoout_avx2", i8WinoOut})
}

func i8WinoIn(c *build.Context) {
	function(c, "i8WinoInAVX2", "func(t *I8WinoIn)", `i8WinoInAVX2 transforms a row of tiles:

	for i := range t.Tiles {
		for c := range 16 * t.Blocks {
			d[y][x] := t.X[y*t.Row+(2*i+x)*t.Pixel+c]
			e[0], e[1], e[2], e[3] = d[0]-d[2], d[1]+d[2], d[2]-d[1], d[1]-d[3]                         // rows
			v[y][0], v[y][1], v[y][2], v[y][3] = e[y][0]-e[y][2], e[y][1]+e[y][2], e[y][2]-e[y][1], e[y][1]-e[y][3]
			t.V[(4*y+x)*t.Pos+i*t.Step+c] = v[y][x]
		}
	}`, "I8WinoIn")
	t := reg.R14
	c.Load(c.Param("t"), t)
	x, v, blocks, tiles, row, pix, pos := reg.RSI, reg.RDI, reg.R10, reg.R11, reg.R8, reg.R9, reg.R15
	rows := []reg.Register{reg.RAX, reg.RBX, reg.RCX, reg.RDX}
	pix3, at, px, pv := reg.R12, reg.R13, reg.RSI, reg.RDI
	c.MOVQ(mem(t, vX), x)
	c.MOVQ(mem(t, vV), v)
	for _, r := range []struct {
		off int
		r   reg.Register
	}{{vRow, row}, {vPixel, pix}, {vPos, pos}} {
		c.MOVQ(mem(t, r.off), r.r)
		c.SHLQ(operand.U8(1), r.r)
	}
	c.LEAQ(idx(pix, pix, 2), pix3)
	c.MOVQ(mem(t, vTiles), tiles)
	c.Label("tile")
	c.MOVQ(px, rows[0])
	for i := 1; i < 4; i++ {
		c.LEAQ(idx(rows[i-1], row, 1), rows[i])
	}
	c.MOVQ(pv, at)
	c.MOVQ(mem(t, vBlocks), blocks)
	c.Label("block")
	d := func(y, x int) operand.Mem {
		if x == 3 {
			return idx(rows[y], pix3, 1)
		}
		if x == 0 {
			return mem(rows[y], 0)
		}
		return idx(rows[y], pix, uint8(x))
	}
	// The rows of e: a load, and the other from memory.
	e := []struct {
		a, b int
		add  bool
	}{{0, 2, false}, {1, 2, true}, {2, 1, false}, {1, 3, false}}
	c.MOVQ(at, reg.RBP)
	for y, s := range e {
		for k := range 4 {
			c.VMOVDQU(d(s.a, k), ymm[k])
			if s.add {
				c.VPADDW(d(s.b, k), ymm[k], ymm[k])
			} else {
				c.VPSUBW(d(s.b, k), ymm[k], ymm[k])
			}
		}
		for k, s := range e {
			o := ymm[4+k]
			if s.add {
				c.VPADDW(ymm[s.b], ymm[s.a], o)
			} else {
				c.VPSUBW(ymm[s.b], ymm[s.a], o)
			}
			c.VMOVDQU(o, mem(reg.RBP, 0))
			if y < 3 || k < 3 {
				c.ADDQ(pos, reg.RBP)
			}
		}
	}
	for _, r := range append(rows, at) {
		c.ADDQ(operand.U8(32), r)
	}
	c.DECQ(blocks)
	c.JNZ(operand.LabelRef("block"))
	c.LEAQ(idx(px, pix, 2), px)
	c.MOVQ(mem(t, vStep), reg.RBP)
	c.LEAQ(idx(pv, reg.RBP, 2), pv)
	c.DECQ(tiles)
	c.JNZ(operand.LabelRef("tile"))
	c.VZEROUPPER()
	c.RET()
}

func i8WinoOut(c *build.Context) {
	function(c, "i8WinoOutAVX2", "func(t *I8WinoOut)", `i8WinoOutAVX2 brings a row of tiles of 16 channels back and quantises it:

	for i := range t.Tiles {
		for l := range 16 {
			m[y][x] := t.M[(4*y+x)*t.Pos+i*16+l]
			a[x], b[x] = m[0][x]+m[1][x]+m[2][x], m[1][x]-m[2][x]-m[3][x]
			s[0][0], s[0][1], s[1][0], s[1][1] = a[0]+a[1]+a[2], a[1]-a[2]-a[3], b[0]+b[1]+b[2], b[1]-b[2]-b[3]
			v := float32(s[y][x]>>2+t.Bias[l]) * t.Mul[l]
			t.Y[y*t.Row+(2*i+x)*t.Pixel+column(l)] = byte(int32(RNE(min(t.Hi, max(t.Lo, v)))) + t.Zero)
		}
	}`, "I8WinoOut")
	t := reg.R14
	c.Load(c.Param("t"), t)
	rows := []reg.Register{reg.RAX, reg.RBX, reg.RCX, reg.RDX}
	pos, pos3, tiles, y, y1, pix, bias, mul := reg.R8, reg.R9, reg.R10, reg.RDI, reg.RSI, reg.R11, reg.R12, reg.R13
	c.MOVQ(mem(t, oM), rows[0])
	c.MOVQ(mem(t, oPos), pos)
	c.SHLQ(operand.U8(2), pos)
	c.LEAQ(idx(pos, pos, 2), pos3)
	for i := 1; i < 4; i++ {
		c.LEAQ(idx(rows[i-1], pos, 4), rows[i])
	}
	c.MOVQ(mem(t, oTiles), tiles)
	c.MOVQ(mem(t, oY), y)
	c.MOVQ(mem(t, oRow), y1)
	c.ADDQ(y, y1)
	c.MOVQ(mem(t, oPixel), pix)
	c.MOVQ(mem(t, oBias), bias)
	c.MOVQ(mem(t, oMul), mul)
	c.Label("tile")
	m := func(y, x, h int) operand.Mem {
		p := mem(rows[y], 0)
		if x == 3 {
			p = idx(rows[y], pos3, 1)
		} else if x > 0 {
			p = idx(rows[y], pos, uint8(x))
		}
		p.Disp = 32 * h
		return p
	}
	for h := range 2 {
		a := func(x int) reg.VecPhysical { return ymm[8+x] }
		b := func(x int) reg.VecPhysical { return ymm[12+x] }
		s := func(i int) reg.VecPhysical { return ymm[2*i+h] }
		for x := range 4 {
			c.VMOVDQU(m(1, x, h), b(x))
			c.VPADDD(m(2, x, h), b(x), a(x))
			c.VPSUBD(m(2, x, h), b(x), b(x))
			c.VPADDD(m(0, x, h), a(x), a(x))
			c.VPSUBD(m(3, x, h), b(x), b(x))
		}
		for i, r := range []func(int) reg.VecPhysical{a, b} {
			c.VPADDD(r(1), r(0), s(2*i))
			c.VPADDD(r(2), s(2*i), s(2*i))
			c.VPSUBD(r(2), r(1), s(2*i+1))
			c.VPSUBD(r(3), s(2*i+1), s(2*i+1))
		}
	}
	lo, hi, zero, bits := ymm[8], ymm[9], ymm[10], ymm[11]
	c.VBROADCASTSS(mem(t, oLo), lo)
	c.VBROADCASTSS(mem(t, oHi), hi)
	c.VPBROADCASTD(mem(t, oZero), zero)
	lowBytes(c, bits)
	for h := range 2 {
		c.VMOVDQU(mem(bias, 32*h), ymm[12])
		c.VMOVUPS(mem(mul, 32*h), ymm[13])
		for i := range 4 {
			r := ymm[2*i+h]
			c.VPSRAD(operand.U8(2), r, r)
			c.VPADDD(ymm[12], r, r)
			c.VCVTDQ2PS(r, r)
			c.VMULPS(ymm[13], r, r)
			c.VMAXPS(lo, r, r)
			c.VMINPS(hi, r, r)
			c.VCVTPS2DQ(r, r)
			c.VPADDD(zero, r, r)
		}
	}
	for i := range 4 {
		r := ymm[2*i]
		narrowBytes(c, r, ymm[2*i+1], bits)
		p := mem(y, 0)
		if i >= 2 {
			p = mem(y1, 0)
		}
		if i%2 == 1 {
			p.Index, p.Scale = pix, 1
		}
		c.VMOVDQU(r.(reg.Vec).AsX(), p)
	}
	c.LEAQ(idx(y, pix, 2), y)
	c.LEAQ(idx(y1, pix, 2), y1)
	for _, r := range rows {
		c.ADDQ(operand.U8(64), r)
	}
	c.DECQ(tiles)
	c.JNZ(operand.LabelRef("tile"))
	c.VZEROUPPER()
	c.RET()
}
