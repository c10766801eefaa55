package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() {
	kernels = append(kernels,
		kernel{"i8_quantize3_avx2", i8Quantize3},
		kernel{"i8_addpixels_16_avx2", i8AddPixels})
}

// i8Quantize3 divides sixteen values of each plane and shuffles their bytes into three vectors; masks holds a shuffle for
// each vector and plane. Packing leaves values 0 to 3, 8 to 11, 4 to 7 and 12 to 15, which the masks know.
func i8Quantize3(c *build.Context) {
	function(c, "i8Quantize3AVX2", "func(dst []byte, src []float32, plane int, scale, lo, hi float32, zero int32, masks *[144]byte)", `i8Quantize3AVX2 is, for i below a multiple of 48 that is at most len(dst):

	dst[i] = byte(int32(RNE(min(hi, max(lo, src[i%3*plane+i/3] / scale)))) + zero)

where a quotient of NaN counts as 0.`)
	d, n, s, plane, m := reg.RDI, reg.RCX, reg.RSI, reg.RDX, reg.RBX
	c.Load(c.Param("dst").Base(), d)
	c.Load(c.Param("dst").Len(), n)
	c.Load(c.Param("src").Base(), s)
	c.Load(c.Param("plane"), plane)
	c.Load(c.Param("masks"), m)
	c.SHLQ(operand.U8(2), plane)
	scale, lo, hi, zero, bits := ymm[11], ymm[12], ymm[13], ymm[14], ymm[15]
	for i, r := range []reg.VecPhysical{scale, lo, hi} {
		broadcastParam(c, []string{"scale", "lo", "hi"}[i], r)
	}
	c.Load(c.Param("zero"), reg.EAX)
	c.VMOVD(reg.EAX, reg.X14)
	c.VPBROADCASTW(reg.X14, zero)
	lowBytes(c, bits)
	x := func(i int) reg.VecPhysical { return ymm[i].(reg.Vec).AsX().(reg.VecPhysical) }
	c.Label("loop")
	c.SUBQ(operand.U8(48), n)
	c.JLT(operand.LabelRef("done"))
	for p := range 3 {
		for j := range 2 {
			at := mem(s, 32*j)
			if p > 0 {
				at = idx(s, plane, uint8(p))
				at.Disp = 32 * j
			}
			quotients(c, at, ymm[p+3*j], ymm[6+j], scale, lo, hi)
		}
		u := ymm[p]
		c.VPACKSSDW(ymm[p+3], u, u)
		c.VPADDW(zero, u, u)
		c.VPAND(bits, u, u)
		c.VEXTRACTI128(operand.U8(1), u, x(6))
		c.VPACKUSWB(x(6), x(p), x(p))
	}
	for v := range 3 {
		for p := range 3 {
			c.VPSHUFB(mem(m, 48*v+16*p), x(p), x(6+p))
		}
		c.VPOR(x(7), x(6), x(6))
		c.VPOR(x(8), x(6), x(6))
		c.VMOVDQU(x(6), mem(d, 16*v))
	}
	c.ADDQ(operand.U8(64), s)
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
