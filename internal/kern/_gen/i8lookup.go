package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { kernels = append(kernels, kernel{"i8_lookup_avx2", i8Lookup}) }

// i8Lookup takes 16 off the bytes, with saturation, from row to row: a shuffle gives 0 once they are negative, so that
// the steps up to a byte's row are added bit by bit. The upper half of the table is for bytes without their sign.
func i8Lookup(c *build.Context) {
	function(c, "i8LookupAVX2", "func(dst, src *byte, steps *[256]byte, pixels, dstStride, srcStride, channels int)", `i8LookupAVX2 is, for p < pixels, at least 1, and c below a multiple of 16 that is at most channels:

	y := byte(0)
	x := src[p*srcStride+c]
	for row := x/128*8; row <= x/16; row++ {
		y ^= steps[row*16+x%16]
	}
	dst[p*dstStride+c] = y`)
	d, s, t, n, ds, ss, ch := reg.RDI, reg.RSI, reg.RBX, reg.RCX, reg.R8, reg.R9, reg.R10
	at, left := reg.R11, reg.R12
	for i, r := range []reg.Register{d, s, t, n, ds, ss, ch} {
		c.Load(c.Param([]string{"dst", "src", "steps", "pixels", "dstStride", "srcStride", "channels"}[i]), r)
	}
	c.MOVL(operand.U32(0x10101010), reg.EAX)
	c.VMOVD(reg.EAX, reg.X14)
	c.VPBROADCASTD(reg.X14, reg.Y14)
	c.MOVL(operand.U32(0x80808080), reg.EAX)
	c.VMOVD(reg.EAX, reg.X15)
	c.VPBROADCASTD(reg.X15, reg.Y15)
	body := func(vectors, size int) {
		r := func(i int) reg.VecPhysical {
			if size == 16 {
				return ymm[i].(reg.Vec).AsX().(reg.VecPhysical)
			}
			return ymm[i]
		}
		place := func(p reg.Register, j int) operand.Mem {
			m := idx(p, at, 1)
			m.Disp = size * j
			return m
		}
		for j := range vectors {
			c.VMOVDQU(place(s, j), r(j))
			c.VPXOR(r(15), r(j), r(2+j))
		}
		for h := range 8 {
			for half := range 2 {
				row := r(6 + half)
				if size == 16 {
					c.VMOVDQU(mem(t, 128*half+16*h), row)
				} else {
					c.VBROADCASTI128(mem(t, 128*half+16*h), row)
				}
				for j := range vectors {
					x, y, u := r(2*half+j), r(10+2*half+j), r(8+j)
					if h == 0 {
						c.VPSHUFB(x, row, y)
					} else {
						c.VPSHUFB(x, row, u)
						c.VPXOR(u, y, y)
					}
					if h < 7 {
						c.VPSUBSB(r(14), x, x)
					}
				}
			}
		}
		for j := range vectors {
			c.VPXOR(r(12+j), r(10+j), r(10+j))
			c.VMOVDQU(r(10+j), place(d, j))
		}
		c.ADDQ(operand.U8(vectors*size), at)
		c.SUBQ(operand.U8(vectors*size), left)
	}
	c.Label("pixel")
	c.XORQ(at, at)
	c.MOVQ(ch, left)
	c.Label("wide")
	c.CMPQ(left, operand.U8(64))
	c.JLT(operand.LabelRef("narrow"))
	body(2, 32)
	c.JMP(operand.LabelRef("wide"))
	c.Label("narrow")
	c.CMPQ(left, operand.U8(16))
	c.JLT(operand.LabelRef("next"))
	body(1, 16)
	c.JMP(operand.LabelRef("narrow"))
	c.Label("next")
	c.ADDQ(ds, d)
	c.ADDQ(ss, s)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("pixel"))
	c.VZEROUPPER()
	c.RET()
}
