package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() {
	kernels = append(kernels,
		kernel{"u8_zip3_avx2", u8Zip3},
		kernel{"i8_addpixels_16_avx2", i8AddPixels})
}

// u8Zip3 shuffles sixteen pixels of each plane into three vectors; masks holds a shuffle for each vector and plane.
func u8Zip3(c *build.Context) {
	function(c, "u8Zip3AVX2", "func(dst, src []byte, plane int, masks *[144]byte)", `u8Zip3AVX2 is, for i below a multiple of 48 that is at most len(dst):

	dst[i] = src[i%3*plane+i/3]`)
	d, n, s, plane, m := reg.RDI, reg.RCX, reg.RSI, reg.RDX, reg.RBX
	c.Load(c.Param("dst").Base(), d)
	c.Load(c.Param("dst").Len(), n)
	c.Load(c.Param("src").Base(), s)
	c.Load(c.Param("plane"), plane)
	c.Load(c.Param("masks"), m)
	x := func(i int) reg.VecPhysical { return ymm[i].(reg.Vec).AsX().(reg.VecPhysical) }
	for i := range 9 {
		c.VMOVDQU(mem(m, 16*i), x(i))
	}
	c.Label("loop")
	c.SUBQ(operand.U8(48), n)
	c.JLT(operand.LabelRef("done"))
	c.VMOVDQU(mem(s, 0), x(9))
	c.VMOVDQU(idx(s, plane, 1), x(10))
	c.VMOVDQU(idx(s, plane, 2), x(11))
	for v := range 3 {
		c.VPSHUFB(x(3*v), x(9), x(12))
		c.VPSHUFB(x(3*v+1), x(10), x(13))
		c.VPSHUFB(x(3*v+2), x(11), x(14))
		c.VPOR(x(13), x(12), x(12))
		c.VPOR(x(14), x(12), x(12))
		c.VMOVDQU(x(12), mem(d, 16*v))
	}
	c.ADDQ(operand.U8(16), s)
	c.ADDQ(operand.U8(48), d)
	c.JMP(operand.LabelRef("loop"))
	c.Label("done")
	c.VZEROUPPER()
	c.RET()
}

func i8AddPixels(c *build.Context) {
	function(c, "i8AddPixels16AVX2", "func(sums *[16]int32, x []byte, pixels, stride int, flip uint64)", `i8AddPixels16AVX2 is, for p < pixels and c < 16:

	sums[c] += int32(x[p*stride+c]^byte(flip))`)
	d, s, n, stride := reg.RDI, reg.RSI, reg.RCX, reg.RDX
	c.Load(c.Param("sums"), d)
	c.Load(c.Param("x").Base(), s)
	c.Load(c.Param("pixels"), n)
	c.Load(c.Param("stride"), stride)
	c.Load(c.Param("flip"), reg.RAX)
	c.VMOVQ(reg.RAX, reg.X0)
	c.VPBROADCASTB(reg.X0, reg.X0)
	c.VMOVDQU(mem(d, 0), reg.Y1)
	c.VMOVDQU(mem(d, 32), reg.Y2)
	c.TESTQ(n, n)
	c.JZ(operand.LabelRef("done"))
	c.Label("loop")
	c.VPXOR(mem(s, 0), reg.X0, reg.X3)
	c.VPSRLDQ(operand.U8(8), reg.X3, reg.X4)
	c.VPMOVZXBD(reg.X3, reg.Y3)
	c.VPMOVZXBD(reg.X4, reg.Y4)
	c.VPADDD(reg.Y3, reg.Y1, reg.Y1)
	c.VPADDD(reg.Y4, reg.Y2, reg.Y2)
	c.ADDQ(stride, s)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("loop"))
	c.Label("done")
	c.VMOVDQU(reg.Y1, mem(d, 0))
	c.VMOVDQU(reg.Y2, mem(d, 32))
	c.VZEROUPPER()
	c.RET()
}
