package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() {
	kernels = append(kernels, kernel{"x32_zip_8_avx2", func(c *build.Context) {
		const name = "x32Zip8AVX2"
		function(c, name, "func(dst, a, b *uint32, n int)", name+` takes turns; n is at least 8:

	for i := range n {
		dst[2*i], dst[2*i+1] = a[i], b[i]
	}`)
		d, a, b, n, i := reg.RDI, reg.RSI, reg.RDX, reg.RCX, reg.RAX
		c.Load(c.Param("dst"), d)
		c.Load(c.Param("a"), a)
		c.Load(c.Param("b"), b)
		c.Load(c.Param("n"), n)
		pieces(c, 8, i, n, func() {
			c.VMOVUPS(idx(a, i, 4), reg.Y0)
			c.VMOVUPS(idx(b, i, 4), reg.Y1)
			c.VUNPCKLPS(reg.Y1, reg.Y0, reg.Y2)
			c.VUNPCKHPS(reg.Y1, reg.Y0, reg.Y3)
			c.VPERM2F128(operand.U8(0x20), reg.Y3, reg.Y2, reg.Y4)
			c.VPERM2F128(operand.U8(0x31), reg.Y3, reg.Y2, reg.Y5)
			c.VMOVUPS(reg.Y4, idx(d, i, 8))
			c.VMOVUPS(reg.Y5, operand.Mem{Base: d, Index: i, Scale: 8, Disp: 32})
		})
	}})
	kernels = append(kernels, kernel{"x32_zip3_8_avx2", func(c *build.Context) {
		const name = "x32Zip3x8AVX2"
		function(c, name, "func(dst, a, b, c *uint32, n int)", name+` takes turns; n is at least 8:

	for i := range n {
		dst[3*i], dst[3*i+1], dst[3*i+2] = a[i], b[i], c[i]
	}`)
		d, src, n, i := reg.RDI, []reg.GPPhysical{reg.RSI, reg.RDX, reg.R8}, reg.RCX, reg.RAX
		c.Load(c.Param("dst"), d)
		for j, p := range []string{"a", "b", "c"} {
			c.Load(c.Param(p), src[j])
		}
		c.Load(c.Param("n"), n)
		// Vector v of 24 words has those of index 8*v/3, (8*v+1)/3, ... of all three.
		for v := range 3 {
			bytes := uint64(0)
			for w := range 8 {
				bytes |= uint64((8*v+w)/3) << (8 * w)
			}
			c.MOVQ(operand.U64(bytes), reg.R9)
			c.VMOVQ(reg.R9, reg.X0)
			c.VPMOVZXBD(reg.X0, ymm[13+v])
		}
		pieces(c, 8, i, n, func() {
			for j := range 3 {
				c.VMOVUPS(idx(src[j], i, 4), ymm[j])
			}
			c.LEAQ(idx(i, i, 2), reg.R9)
			for v := range 3 {
				for j := range 3 {
					c.VPERMPS(ymm[j], ymm[13+v], ymm[4+j])
				}
				for j := 1; j < 3; j++ {
					mask := 0
					for w := range 8 {
						if (8*v+w)%3 == j {
							mask |= 1 << w
						}
					}
					c.VBLENDPS(operand.U8(mask), ymm[4+j], ymm[4], ymm[4])
				}
				c.VMOVUPS(ymm[4], operand.Mem{Base: d, Index: reg.R9, Scale: 4, Disp: 32 * v})
			}
		})
	}})
}

// pieces does body for i = 0, size, ... and, where n is no multiple of size, once more for the last
// size of n; then the function ends.
func pieces(c *build.Context, size uint8, i, n reg.Register, body func()) {
	c.XORQ(i, i)
	c.SUBQ(operand.U8(size), n) // where the last vector begins
	c.Label("loop")
	body()
	c.CMPQ(i, n)
	c.JE(operand.LabelRef("done"))
	c.ADDQ(operand.U8(size), i)
	c.CMPQ(i, n)
	c.JLE(operand.LabelRef("loop"))
	c.MOVQ(n, i)
	c.JMP(operand.LabelRef("loop"))
	c.Label("done")
	c.VZEROUPPER()
	c.RET()
}
