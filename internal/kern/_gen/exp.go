package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Rows of kern.expTable, 8 floats each.
const (
	eLog2e = iota
	eRound
	eLn2Hi
	eLn2Lo
	eP0
	eP1
	eP2
	eP3
	eP4
	eP5
	eOne
	eHigh
	eLow
	eInf
	eBias
	eSign
	eT0
	eT1
	eT2
	eT3
	eT4
	eSmall
	eTwo
)

func init() {
	for _, f := range []struct {
		file, name, goFunc string
		body               func(c *build.Context)
	}{
		{"f32_vecexp_avx2", "f32VecExpAVX2", "Exp", func(c *build.Context) { expOf(c, ymm[0], ymm[3]) }},
		{"f32_vecsigmoid_avx2", "f32VecSigmoidAVX2", "Sigmoid", sigmoid},
		{"f32_vectanh_avx2", "f32VecTanhAVX2", "Tanh", tanh},
	} {
		kernels = append(kernels, kernel{f.file, func(c *build.Context) {
			function(c, f.name, "func(dst, a *float32, n int, table *float32)", f.name+` is, with n a multiple of 8, table the first of expTable, and
`+f.goFunc+`'s operations in its order:

	for i := range n {
		dst[i] = `+f.goFunc+`(a[i])
	}`)
			d, a, n := reg.RDI, reg.RSI, reg.RCX
			c.Load(c.Param("dst"), d)
			c.Load(c.Param("a"), a)
			c.Load(c.Param("n"), n)
			c.Load(c.Param("table"), reg.RDX)
			c.Label("loop")
			c.VMOVUPS(mem(a, 0), ymm[0])
			f.body(c)
			c.VMOVUPS(ymm[3], mem(d, 0))
			c.ADDQ(operand.U8(32), a)
			c.ADDQ(operand.U8(32), d)
			c.SUBQ(operand.U8(8), n)
			c.JNZ(operand.LabelRef("loop"))
			c.VZEROUPPER()
			c.RET()
		}})
	}
}

func row(i int) operand.Mem { return mem(reg.RDX, 32*i) }

// expOf is p = e^x by kern.Exp's operations; ymm[1], 2, 4 and 5 are free.
func expOf(c *build.Context, x, p reg.VecPhysical) {
	k, r, t, u := ymm[1], ymm[2], ymm[4], ymm[5]
	c.VMULPS(row(eLog2e), x, k)
	c.VADDPS(row(eRound), k, k)
	c.VSUBPS(row(eRound), k, k)
	c.VMULPS(row(eLn2Hi), k, t)
	c.VSUBPS(t, x, r)
	c.VMULPS(row(eLn2Lo), k, t)
	c.VSUBPS(t, r, r)
	c.VMOVUPS(row(eP0), p)
	for i := eP1; i <= eP5; i++ {
		c.VMULPS(r, p, p)
		c.VADDPS(row(i), p, p)
	}
	c.VMULPS(r, r, t)
	c.VMULPS(t, p, p)
	c.VADDPS(r, p, p)
	c.VADDPS(row(eOne), p, p)
	c.VCVTPS2DQ(k, k)
	c.VPSRAD(operand.U8(1), k, t)
	c.VPSUBD(t, k, k)
	for _, h := range []reg.VecPhysical{t, k} {
		c.VPADDD(row(eBias), h, h)
		c.VPSLLD(operand.U8(23), h, h)
		c.VMULPS(h, p, p)
	}
	c.VCMPPS(operand.U8(0x1e), row(eHigh), x, u) // x > high
	c.VBLENDVPS(u, row(eInf), p, p)
	c.VCMPPS(operand.U8(0x11), row(eLow), x, u) // x < low
	c.VANDNPS(p, u, p)
	c.VCMPPS(operand.U8(3), x, x, u) // NaN
	c.VBLENDVPS(u, x, p, p)
}

// sigmoid is e/(1+e), or 1/(1+e) for x >= 0, of e = e^-|x|.
func sigmoid(c *build.Context) {
	c.VORPS(row(eSign), ymm[0], ymm[6])
	expOf(c, ymm[6], ymm[3])
	c.VADDPS(row(eOne), ymm[3], ymm[7])
	c.VXORPS(ymm[4], ymm[4], ymm[4])
	c.VCMPPS(operand.U8(0x1d), ymm[4], ymm[0], ymm[5]) // x >= 0
	c.VBLENDVPS(ymm[5], row(eOne), ymm[3], ymm[3])
	c.VDIVPS(ymm[7], ymm[3], ymm[3])
}

func tanh(c *build.Context) {
	x, a, y := ymm[0], ymm[6], ymm[3]
	c.VMOVUPS(row(eSign), ymm[7])
	c.VANDNPS(x, ymm[7], a)
	c.VADDPS(a, a, ymm[8])
	expOf(c, ymm[8], y)
	c.VADDPS(row(eOne), y, y)
	c.VMOVUPS(row(eTwo), ymm[4])
	c.VDIVPS(y, ymm[4], y)
	c.VMOVUPS(row(eOne), ymm[4])
	c.VSUBPS(y, ymm[4], y)
	c.VXORPS(ymm[4], ymm[4], ymm[4])
	c.VCMPPS(operand.U8(0x11), ymm[4], x, ymm[5]) // x < 0
	c.VANDPS(ymm[7], ymm[5], ymm[5])
	c.VXORPS(ymm[5], y, y)
	// The polynomial where |x| is small.
	z, p := ymm[1], ymm[2]
	c.VMULPS(x, x, z)
	c.VMOVUPS(row(eT0), p)
	for i := eT1; i <= eT4; i++ {
		c.VMULPS(z, p, p)
		c.VADDPS(row(i), p, p)
	}
	c.VMULPS(z, p, p)
	c.VMULPS(x, p, p)
	c.VADDPS(x, p, p)
	c.VCMPPS(operand.U8(0x11), row(eSmall), a, ymm[5])
	c.VBLENDVPS(ymm[5], p, y, y)
}
