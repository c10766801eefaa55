package main

import (
	"fmt"

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
		file, name, goFunc, table string
		lanes                     int
		body                      func(c *build.Context, lanes int)
	}{
		{"f32_vecexp_avx2", "f32VecExpAVX2", "Exp", "expTable", 1, func(c *build.Context, _ int) { expOf(c, ymm[0], ymm[3]) }},
		{"f32_vecsigmoid_avx2", "f32VecSigmoidAVX2", "Sigmoid", "expTable", 4, sigmoid},
		{"f32_vecswish_avx2", "f32VecSwishAVX2", "Swish", "expTable", 4, swish},
		{"f32_vectanh_avx2", "f32VecTanhAVX2", "Tanh", "expTable", 1, func(c *build.Context, _ int) { tanh(c) }},
		{"f32_vecerf_avx2", "f32VecErfAVX2", "Erf", "erfTable", 4, erf},
	} {
		kernels = append(kernels, kernel{f.file, func(c *build.Context) {
			function(c, f.name, "func(dst, a *float32, n int, table *float32)", f.name+` is, with n a multiple of 8, table the first of `+f.table+`, and
`+f.goFunc+`'s operations in its order:

	for i := range n {
		dst[i] = `+f.goFunc+`(a[i])
	}`)
			d, a, n := reg.RDI, reg.RSI, reg.RCX
			c.Load(c.Param("dst"), d)
			c.Load(c.Param("a"), a)
			c.Load(c.Param("n"), n)
			c.Load(c.Param("table"), reg.RDX)
			loop := func(name string, lanes int) {
				c.Label(name)
				for l := range lanes {
					c.VMOVUPS(mem(a, 32*l), lane(l, 0))
				}
				f.body(c, lanes)
				for l := range lanes {
					c.VMOVUPS(lane(l, 3), mem(d, 32*l))
				}
				c.ADDQ(operand.U8(32*lanes), a)
				c.ADDQ(operand.U8(32*lanes), d)
				c.SUBQ(operand.U8(8*lanes), n)
			}
			if f.lanes > 1 { // their operations alternate: one vector's wait for each other
				c.CMPQ(n, operand.U8(8*f.lanes))
				c.JLT(operand.LabelRef("rest"))
				loop("lanes", f.lanes)
				c.CMPQ(n, operand.U8(8*f.lanes))
				c.JGE(operand.LabelRef("lanes"))
				c.Label("rest")
				c.CMPQ(n, operand.U8(8))
				c.JLT(operand.LabelRef("end"))
			}
			loop("loop", 1)
			c.JNZ(operand.LabelRef("loop"))
			if f.lanes > 1 {
				c.Label("end")
			}
			c.VZEROUPPER()
			c.RET()
		}})
	}
}

func init() {
	for _, f := range []struct {
		file, name, goFunc string
		swish              bool
	}{
		{"f32_vecsigmoid_avx512", "f32VecSigmoidAVX512", "Sigmoid", false},
		{"f32_vecswish_avx512", "f32VecSwishAVX512", "Swish", true},
	} {
		kernels = append(kernels, kernel{f.file, func(c *build.Context) { sigmoid512(c, f.name, f.goFunc, f.swish) }})
	}
}

// sigmoid512 has the results of sigmoid's operations: numbers are rounded to integers and multiplied by
// powers of two by instructions of AVX-512.
func sigmoid512(c *build.Context, name, goFunc string, swish bool) {
	function(c, name, "func(dst, a *float32, n int, table *float32)", name+` is, with n at least 1, table the first of expTable, and
the results of `+goFunc+`'s operations:

	for i := range n {
		dst[i] = `+goFunc+`(a[i])
	}`)
	const size, most = 16, 4
	d, a, n := reg.RDI, reg.RSI, reg.RCX
	c.Load(c.Param("dst"), d)
	c.Load(c.Param("a"), a)
	c.Load(c.Param("n"), n)
	c.Load(c.Param("table"), reg.RDX)
	one := zmm[31]
	c.VBROADCASTSS(row(eOne), one)
	masks := []reg.OpmaskPhysical{reg.K1, reg.K2, reg.K3, reg.K4}
	const x, r, k, t, p = 0, 1, 2, 3, 4
	type regs = func(int) reg.VecPhysical
	body := func(lanes int, mask reg.OpmaskPhysical) {
		each := func(f func(l int, v regs)) {
			for l := range lanes {
				f(l, func(i int) reg.VecPhysical { return zmm[5*l+i] })
			}
		}
		each(func(l int, v regs) {
			if mask != nil {
				c.VMOVUPS_Z(mem(a, 0), mask, v(x))
			} else {
				c.VMOVUPS(mem(a, 4*size*l), v(x))
			}
		})
		each(func(_ int, v regs) { c.VORPS_BCST(row(eSign), v(x), v(r)) })                       // -|x|
		each(func(l int, v regs) { c.VCMPPS_BCST(operand.U8(0x15), row(eLow), v(r), masks[l]) }) // not below low
		each(func(_ int, v regs) { c.VMULPS_BCST(row(eLog2e), v(r), v(k)) })
		each(func(_ int, v regs) { c.VRNDSCALEPS(operand.U8(8), v(k), v(k)) })
		each(func(_ int, v regs) { c.VMULPS_BCST(row(eLn2Hi), v(k), v(t)) })
		each(func(_ int, v regs) { c.VSUBPS(v(t), v(r), v(r)) })
		each(func(_ int, v regs) { c.VMULPS_BCST(row(eLn2Lo), v(k), v(t)) })
		each(func(_ int, v regs) { c.VSUBPS(v(t), v(r), v(r)) })
		each(func(_ int, v regs) { c.VMULPS_BCST(row(eP0), v(r), v(p)) })
		each(func(_ int, v regs) { c.VMULPS(v(r), v(r), v(t)) })
		for i := eP1; i <= eP5; i++ {
			each(func(_ int, v regs) { c.VADDPS_BCST(row(i), v(p), v(p)) })
			if i < eP5 {
				each(func(_ int, v regs) { c.VMULPS(v(r), v(p), v(p)) })
			}
		}
		each(func(_ int, v regs) { c.VMULPS(v(t), v(p), v(p)) })
		each(func(_ int, v regs) { c.VADDPS(v(r), v(p), v(p)) })
		each(func(_ int, v regs) { c.VADDPS(one, v(p), v(p)) })
		each(func(l int, v regs) { c.VSCALEFPS_Z(v(k), v(p), masks[l], v(p)) })
		each(func(l int, v regs) { c.VPMOVD2M(v(x), masks[l]) }) // the sign of 0 does not matter: e is 1
		each(func(_ int, v regs) { c.VADDPS(one, v(p), v(t)) })
		each(func(l int, v regs) { c.VBLENDMPS(v(p), one, masks[l], v(p)) })
		each(func(_ int, v regs) { c.VDIVPS(v(t), v(p), v(p)) })
		if swish {
			each(func(_ int, v regs) { c.VMULPS(v(x), v(p), v(p)) })
		}
		each(func(l int, v regs) {
			if mask != nil {
				c.VMOVUPS(v(p), mask, mem(d, 0))
			} else {
				c.VMOVUPS(v(p), mem(d, 4*size*l))
			}
		})
	}
	for _, lanes := range []int{most, 1} {
		l := fmt.Sprintf("lanes%d", lanes)
		c.Label(l)
		c.CMPQ(n, operand.U8(size*lanes))
		c.JLT(operand.LabelRef("below" + l))
		body(lanes, nil)
		if lanes == 1 {
			c.ADDQ(operand.U8(4*size), a)
			c.ADDQ(operand.U8(4*size), d)
		} else {
			c.ADDQ(operand.U32(4*size*lanes), a)
			c.ADDQ(operand.U32(4*size*lanes), d)
		}
		c.SUBQ(operand.U8(size*lanes), n)
		c.JMP(operand.LabelRef(l))
		c.Label("below" + l)
	}
	c.TESTQ(n, n)
	c.JZ(operand.LabelRef("end"))
	c.MOVQ(operand.U32(1), reg.RAX)
	c.SHLQ(reg.CL, reg.RAX)
	c.DECQ(reg.RAX)
	c.KMOVW(reg.EAX, reg.K5)
	body(1, reg.K5)
	c.Label("end")
	c.VZEROUPPER()
	c.RET()
}

// lane is the i-th of a vector's four registers: 0 is what comes in, 3 what goes out.
func lane(l, i int) reg.VecPhysical { return ymm[4*l+i] }

// eachLane emits an operation for every vector.
func eachLane(lanes int) func(f func(l int, v func(i int) reg.VecPhysical)) {
	return func(f func(l int, v func(i int) reg.VecPhysical)) {
		for l := range lanes {
			f(l, func(i int) reg.VecPhysical { return lane(l, i) })
		}
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

// sigmoid is e/(1+e), or 1/(1+e) for x >= 0, of e = e^-|x|: expOf's operations where x is
// not positive, so that 2^k is a normal number wherever e is not 0.
func sigmoid(c *build.Context, lanes int) {
	const r, k, t, p = 0, 1, 2, 3
	each := eachLane(lanes)
	type regs = func(int) reg.VecPhysical
	each(func(_ int, v regs) { c.VORPS(row(eSign), v(r), v(r)) }) // -|x|
	each(func(_ int, v regs) { c.VMULPS(row(eLog2e), v(r), v(k)) })
	each(func(_ int, v regs) { c.VADDPS(row(eRound), v(k), v(k)) })
	each(func(_ int, v regs) { c.VSUBPS(row(eRound), v(k), v(k)) })
	each(func(_ int, v regs) { c.VMULPS(row(eLn2Hi), v(k), v(t)) })
	each(func(_ int, v regs) { c.VSUBPS(v(t), v(r), v(r)) })
	each(func(_ int, v regs) { c.VMULPS(row(eLn2Lo), v(k), v(t)) })
	each(func(_ int, v regs) { c.VCVTPS2DQ(v(k), v(k)) })
	each(func(_ int, v regs) { c.VSUBPS(v(t), v(r), v(r)) })
	each(func(_ int, v regs) { c.VPADDD(row(eBias), v(k), v(k)) })
	each(func(_ int, v regs) { c.VMULPS(row(eP0), v(r), v(p)) })
	each(func(_ int, v regs) { c.VPSLLD(operand.U8(23), v(k), v(k)) })
	each(func(_ int, v regs) { c.VMULPS(v(r), v(r), v(t)) })
	for i := eP1; i <= eP5; i++ {
		each(func(_ int, v regs) { c.VADDPS(row(i), v(p), v(p)) })
		if i < eP5 {
			each(func(_ int, v regs) { c.VMULPS(v(r), v(p), v(p)) })
		}
	}
	each(func(_ int, v regs) { c.VMULPS(v(t), v(p), v(p)) })
	each(func(l int, v regs) { c.VMOVUPS(mem(reg.RSI, 32*l), v(t)) })
	each(func(_ int, v regs) { c.VADDPS(v(r), v(p), v(p)) })
	each(func(_ int, v regs) { c.VORPS(row(eSign), v(t), v(r)) })
	each(func(_ int, v regs) { c.VADDPS(row(eOne), v(p), v(p)) })
	each(func(_ int, v regs) { c.VCMPPS(operand.U8(0x11), row(eLow), v(r), v(r)) }) // -|x| < low
	each(func(_ int, v regs) { c.VMULPS(v(k), v(p), v(p)) })
	each(func(_ int, v regs) { c.VXORPS(v(k), v(k), v(k)) })
	each(func(_ int, v regs) { c.VANDNPS(v(p), v(r), v(p)) })
	each(func(_ int, v regs) { c.VCMPPS(operand.U8(0x1d), v(k), v(t), v(k)) }) // x >= 0
	each(func(_ int, v regs) { c.VADDPS(row(eOne), v(p), v(t)) })
	each(func(_ int, v regs) { c.VBLENDVPS(v(k), row(eOne), v(p), v(p)) })
	each(func(_ int, v regs) { c.VDIVPS(v(t), v(p), v(p)) })
}

// swish is x times sigmoid.
func swish(c *build.Context, lanes int) {
	sigmoid(c, lanes)
	for l := range lanes {
		c.VMULPS(mem(reg.RSI, 32*l), lane(l, 3), lane(l, 3))
	}
}

// Rows of kern.erfTable.
const (
	fHigh = iota
	fLow
	fOne
	fMinus
	fP // 6 rows, the highest power first
	fQ = fP + 6
)

func erf(c *build.Context, lanes int) {
	const x, t, q, p = 0, 1, 2, 3
	each := eachLane(lanes)
	type regs = func(int) reg.VecPhysical
	each(func(_ int, v regs) { c.VMOVUPS(row(fHigh), v(p)) })
	each(func(_ int, v regs) { c.VMOVUPS(row(fLow), v(q)) })
	each(func(_ int, v regs) { c.VMINPS(v(x), v(p), v(x)) }) // NaN stays
	each(func(_ int, v regs) { c.VMAXPS(v(x), v(q), v(x)) })
	each(func(_ int, v regs) { c.VMULPS(v(x), v(x), v(t)) })
	each(func(_ int, v regs) { c.VMULPS(row(fP), v(t), v(p)) })
	each(func(_ int, v regs) { c.VMULPS(row(fQ), v(t), v(q)) })
	for i := 1; i < 6; i++ {
		each(func(_ int, v regs) { c.VADDPS(row(fP+i), v(p), v(p)) })
		if i < 5 {
			each(func(_ int, v regs) { c.VADDPS(row(fQ+i), v(q), v(q)) })
			each(func(_ int, v regs) { c.VMULPS(v(t), v(p), v(p)) })
			each(func(_ int, v regs) { c.VMULPS(v(t), v(q), v(q)) })
		}
	}
	each(func(_ int, v regs) { c.VADDPS(row(fOne), v(q), v(q)) })
	each(func(_ int, v regs) { c.VMULPS(v(x), v(p), v(p)) })
	each(func(_ int, v regs) { c.VMOVUPS(row(fOne), v(t)) })
	each(func(_ int, v regs) { c.VDIVPS(v(q), v(p), v(p)) })
	each(func(_ int, v regs) { c.VMOVUPS(row(fMinus), v(q)) })
	each(func(_ int, v regs) { c.VMINPS(v(p), v(t), v(p)) })
	each(func(_ int, v regs) { c.VMAXPS(v(p), v(q), v(p)) })
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
