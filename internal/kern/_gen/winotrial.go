package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() {
	kernels = append(kernels, kernel{"f32_winotrial_16_avx2", winogradTrial})
}

func winogradTrial(c *build.Context) {
	function(c, "f32WinoTrial16AVX2", "func(m *float32, exact *float64, v *float32, d *float64, f *float32, w *float32)",
		`f32WinoTrial16AVX2 adds one input channel to 16 outputs of a tile of F(4x4, 3x3),
by its products and as a direct convolution in float64:

	for p := range 36 {
		for o := range 16 {
			m[16*p+o] += float32(v[p] * f[16*p+o])
		}
	}
	for i := range 16 {
		for k := range 9 {
			for o := range 16 {
				exact[16*i+o] += d[(i/4+k/3)*6+i%4+k%3] * float64(w[16*k+o])
			}
		}
	}`)
	m, e, v, d, f, g, n := reg.RDI, reg.RSI, reg.RDX, reg.RCX, reg.R8, reg.R9, reg.RAX
	c.Load(c.Param("m"), m)
	c.Load(c.Param("exact"), e)
	c.Load(c.Param("v"), v)
	c.Load(c.Param("d"), d)
	c.Load(c.Param("f"), f)
	c.Load(c.Param("w"), g)
	c.MOVQ(operand.U32(36), n)
	c.Label("places")
	c.VBROADCASTSS(mem(v, 0), ymm[0])
	c.VMULPS(mem(f, 0), ymm[0], ymm[1])
	c.VMULPS(mem(f, 32), ymm[0], ymm[2])
	c.VADDPS(mem(m, 0), ymm[1], ymm[1])
	c.VADDPS(mem(m, 32), ymm[2], ymm[2])
	c.VMOVUPS(ymm[1], mem(m, 0))
	c.VMOVUPS(ymm[2], mem(m, 32))
	c.ADDQ(operand.U8(4), v)
	c.ADDQ(operand.U8(64), f)
	c.ADDQ(operand.U8(64), m)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("places"))
	// Four outputs at a time: their filters stay in registers. Products of two float32
	// are exact in float64, so that fusing changes nothing.
	c.MOVQ(operand.U32(4), n)
	c.Label("outputs")
	for k := range 9 {
		c.VCVTPS2PD(mem(g, 64*k), ymm[k])
	}
	for i := range 16 {
		acc, x := ymm[9+i%3], ymm[12+i%4]
		c.VMOVUPD(mem(e, 128*i), acc)
		for k := range 9 {
			c.VBROADCASTSD(mem(d, 8*((i/4+k/3)*6+i%4+k%3)), x)
			c.VFMADD231PD(x, ymm[k], acc)
		}
		c.VMOVUPD(acc, mem(e, 128*i))
	}
	c.ADDQ(operand.U8(16), g)
	c.ADDQ(operand.U8(32), e)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("outputs"))
	c.VZEROUPPER()
	c.RET()
}
