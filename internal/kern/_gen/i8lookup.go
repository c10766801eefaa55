package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() {
	kernels = append(kernels, kernel{"i8_lookup_avx2", i8Lookup}, kernel{"i8_lookup_vbmi", i8LookupVBMI})
}

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

// i8LookupVBMI has the table in four registers: two shuffles look in a half each, and a byte's sign chooses.
func i8LookupVBMI(c *build.Context) {
	function(c, "i8LookupVBMI", "func(dst, src *byte, table *[256]byte, pixels, dstStride, srcStride, channels int)", `i8LookupVBMI is, for p < pixels and c < channels, both at least 1:

	dst[p*dstStride+c] = table[src[p*srcStride+c]]`)
	d, s, t, n, ds, ss, ch := reg.RDI, reg.RSI, reg.RBX, reg.RDX, reg.R8, reg.R9, reg.R10
	at, left := reg.R11, reg.RCX
	for i, r := range []reg.Register{d, s, t, n, ds, ss, ch} {
		c.Load(c.Param([]string{"dst", "src", "table", "pixels", "dstStride", "srcStride", "channels"}[i]), r)
	}
	for i := range 4 {
		c.VMOVDQU8(mem(t, 64*i), zmm[i])
	}
	look := func(j int) { // zmm[4+2*j], with zmm[5+2*j]
		x, y := zmm[4+2*j], zmm[5+2*j]
		c.VPMOVB2M(x, reg.K2)
		c.VMOVDQA64(x, y)
		c.VPERMI2B(zmm[1], zmm[0], x)
		c.VPERMI2B(zmm[3], zmm[2], y)
		c.VMOVDQU8(y, reg.K2, x)
	}
	place := func(p reg.Register, j int) operand.Mem {
		m := idx(p, at, 1)
		m.Disp = 64 * j
		return m
	}
	c.Label("pixel")
	c.XORQ(at, at)
	c.MOVQ(ch, left)
	c.Label("wide")
	c.CMPQ(left, operand.I32(128))
	c.JLT(operand.LabelRef("narrow"))
	for j := range 2 {
		c.VMOVDQU8(place(s, j), zmm[4+2*j])
	}
	for j := range 2 {
		look(j)
	}
	for j := range 2 {
		c.VMOVDQU8(zmm[4+2*j], place(d, j))
	}
	c.ADDQ(operand.I32(128), at)
	c.SUBQ(operand.I32(128), left)
	c.JMP(operand.LabelRef("wide"))
	c.Label("narrow") // up to 64 bytes at a time
	c.TESTQ(left, left)
	c.JLE(operand.LabelRef("next"))
	c.MOVQ(operand.I32(-1), reg.RAX)
	c.CMPQ(left, operand.U8(64))
	c.JGE(operand.LabelRef("all"))
	c.MOVL(operand.U32(1), reg.EAX)
	c.SHLQ(reg.CL, reg.RAX)
	c.DECQ(reg.RAX)
	c.Label("all")
	c.KMOVQ(reg.RAX, reg.K1)
	c.VMOVDQU8_Z(place(s, 0), reg.K1, zmm[4])
	look(0)
	c.VMOVDQU8(zmm[4], reg.K1, place(d, 0))
	c.ADDQ(operand.U8(64), at)
	c.SUBQ(operand.U8(64), left)
	c.JMP(operand.LabelRef("narrow"))
	c.Label("next")
	c.ADDQ(ds, d)
	c.ADDQ(ss, s)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("pixel"))
	c.VZEROUPPER()
	c.RET()
}
