package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() {
	kernels = append(kernels,
		kernel{"f32_add_avx2", add},
		kernel{"f32_relugrad_avx2", reluGrad},
		kernel{"f32_ema_avx2", ema},
		kernel{"f32_adamw_avx2", adamw},
		kernel{"f32_max2x2_avx2", max2x2},
		kernel{"f32_max2x2grad_avx2", max2x2Grad})
}

// vec is how a body works on 8, 4 or 1 floats: loads, stores and the registers' width.
type vec struct {
	c *build.Context
	n int
}

func (v vec) r(i int) reg.VecPhysical {
	if v.n == 8 {
		return ymm[i]
	}
	return ymm[i].AsX().(reg.VecPhysical)
}

func (v vec) load(m operand.Op, r reg.VecPhysical) {
	if v.n == 1 {
		v.c.VMOVSS(m, r)
	} else {
		v.c.VMOVUPS(m, r)
	}
}

func (v vec) store(r reg.VecPhysical, m operand.Op) {
	if v.n == 1 {
		v.c.VMOVSS(r, m)
	} else {
		v.c.VMOVUPS(r, m)
	}
}

// spans runs body on n floats (in register n, which is used up), 8, 4 and 1 at a
// time; at is the index register, in floats, from 0.
func spans(c *build.Context, label string, n, at reg.GPPhysical, body func(v vec)) {
	c.XORQ(at, at)
	for _, w := range []int{8, 4, 1} {
		loop, next := label+"loop"+string(rune('0'+w)), label+"next"+string(rune('0'+w))
		c.Label(loop)
		c.CMPQ(n, operand.Imm(uint64(w)))
		c.JLT(operand.LabelRef(next))
		body(vec{c, w})
		c.ADDQ(operand.Imm(uint64(w)), at)
		c.SUBQ(operand.Imm(uint64(w)), n)
		c.JMP(operand.LabelRef(loop))
		c.Label(next)
	}
}

func at(base, index reg.GPPhysical) operand.Mem {
	return operand.Mem{Base: base, Index: index, Scale: 4}
}

func add(c *build.Context) {
	function(c, "f32AddAVX2", "func(dst, src *float32, n int)", `f32AddAVX2 adds src to dst:

	for i := range n {
		dst[i] += src[i]
	}`)
	c.Load(c.Param("dst"), reg.RDI)
	c.Load(c.Param("src"), reg.RSI)
	c.Load(c.Param("n"), reg.RCX)
	spans(c, "", reg.RCX, reg.RAX, func(v vec) {
		v.load(at(reg.RDI, reg.RAX), v.r(0))
		v.load(at(reg.RSI, reg.RAX), v.r(1))
		c.VADDPS(v.r(1), v.r(0), v.r(0))
		v.store(v.r(0), at(reg.RDI, reg.RAX))
	})
	c.VZEROUPPER()
	c.RET()
}

func reluGrad(c *build.Context) {
	function(c, "f32ReluGradAVX2", "func(dx, dy, y *float32, n int)", `f32ReluGradAVX2 is the rectifier's gradient:

	for i := range n {
		g := float32(0)
		if y[i] > 0 {
			g = dy[i]
		}
		dx[i] = g
	}`)
	c.Load(c.Param("dx"), reg.RDI)
	c.Load(c.Param("dy"), reg.RSI)
	c.Load(c.Param("y"), reg.RDX)
	c.Load(c.Param("n"), reg.RCX)
	c.VXORPS(ymm[2], ymm[2], ymm[2])
	spans(c, "", reg.RCX, reg.RAX, func(v vec) {
		v.load(at(reg.RDX, reg.RAX), v.r(0))
		v.load(at(reg.RSI, reg.RAX), v.r(1))
		c.VCMPPS(operand.Imm(0x1e), v.r(2), v.r(0), v.r(0)) // y > 0, quiet
		c.VANDPS(v.r(1), v.r(0), v.r(0))
		v.store(v.r(0), at(reg.RDI, reg.RAX))
	})
	c.VZEROUPPER()
	c.RET()
}

func ema(c *build.Context) {
	function(c, "f32EMAAVX2", "func(e, p *float32, n int, step float32)", `f32EMAAVX2 is a moving average:

	for i := range n {
		e[i] += float32(step * (p[i] - e[i]))
	}`)
	c.Load(c.Param("e"), reg.RDI)
	c.Load(c.Param("p"), reg.RSI)
	c.Load(c.Param("n"), reg.RCX)
	m, err := c.Param("step").Resolve()
	if err != nil {
		panic(err)
	}
	c.VBROADCASTSS(m.Addr, ymm[3])
	spans(c, "", reg.RCX, reg.RAX, func(v vec) {
		v.load(at(reg.RDI, reg.RAX), v.r(0))
		v.load(at(reg.RSI, reg.RAX), v.r(1))
		c.VSUBPS(v.r(0), v.r(1), v.r(1))
		c.VMULPS(v.r(1), v.r(3), v.r(1))
		c.VADDPS(v.r(1), v.r(0), v.r(0))
		v.store(v.r(0), at(reg.RDI, reg.RAX))
	})
	c.VZEROUPPER()
	c.RET()
}

// adamw's numbers lie in k, eight copies of each, in this order.
const (
	kBeta1 = iota
	kBeta2
	kNBeta1
	kNBeta2
	kLR
	kC1
	kC2
	kEpsilon
	kDecay
	kL2
	kTinyG
	kTinyM
	kAbs
)

func adamw(c *build.Context) {
	function(c, "f32AdamWAVX2", "func(p, grad, m, v, k *float32, n int)", `f32AdamWAVX2 is a step of AdamW. k holds eight copies of each of beta1, beta2,
1-beta1, 1-beta2, lr, c1, c2, epsilon, decay, l2, the sizes below which gradients and
moments are 0, and the mask of a float's size.

	for i := range n {
		d := tiny(grad[i]+float32(l2*p[i]), tinyG)
		m[i] = tiny(float32(beta1*m[i])+float32(nbeta1*d), tinyM)
		v[i] = tiny(float32(beta2*v[i])+float32(nbeta2*float32(d*d)), tinyM)
		step := float32(m[i]*c1) / (sqrt(float32(v[i]*c2)) + epsilon)
		p[i] -= float32(lr * (step + float32(decay*p[i])))
	}`)
	c.Load(c.Param("p"), reg.RDI)
	c.Load(c.Param("grad"), reg.RSI)
	c.Load(c.Param("m"), reg.RDX)
	c.Load(c.Param("v"), reg.RBX)
	c.Load(c.Param("k"), reg.R8)
	c.Load(c.Param("n"), reg.RCX)
	for i := kBeta1; i <= kC2; i++ {
		c.VMOVUPS(operand.Mem{Base: reg.R8, Disp: 32 * i}, ymm[6+i]) // ymm6..12
	}
	c.VMOVUPS(operand.Mem{Base: reg.R8, Disp: 32 * kAbs}, ymm[13])
	c.VMOVUPS(operand.Mem{Base: reg.R8, Disp: 32 * kTinyM}, ymm[14])
	c.VMOVUPS(operand.Mem{Base: reg.R8, Disp: 32 * kTinyG}, ymm[15])
	spans(c, "", reg.RCX, reg.RAX, func(v vec) {
		k := func(i int) operand.Mem { return operand.Mem{Base: reg.R8, Disp: 32 * i} }
		p, d, m, q, t, u := v.r(0), v.r(1), v.r(2), v.r(3), v.r(4), v.r(5)
		b1, b2, nb1, nb2, lr, c1, c2 := v.r(6), v.r(7), v.r(8), v.r(9), v.r(10), v.r(11), v.r(12)
		tiny := func(x, limit reg.VecPhysical) {
			c.VANDPS(v.r(13), x, t)
			c.VCMPPS(operand.Imm(1), limit, t, t)
			c.VANDNPS(x, t, x)
		}
		v.load(at(reg.RDI, reg.RAX), p)
		v.load(at(reg.RSI, reg.RAX), d)
		v.load(at(reg.RDX, reg.RAX), m)
		v.load(at(reg.RBX, reg.RAX), q)
		c.VMULPS(k(kL2), p, t)
		c.VADDPS(t, d, d)
		tiny(d, v.r(15))
		c.VMULPS(m, b1, m)
		c.VMULPS(d, nb1, t)
		c.VADDPS(t, m, m)
		tiny(m, v.r(14))
		v.store(m, at(reg.RDX, reg.RAX))
		c.VMULPS(d, d, d)
		c.VMULPS(q, b2, q)
		c.VMULPS(d, nb2, d)
		c.VADDPS(d, q, q)
		tiny(q, v.r(14))
		v.store(q, at(reg.RBX, reg.RAX))
		c.VMULPS(q, c2, q)
		if v.n == 1 { // the other lanes are zero, but stay out of it
			c.VSQRTSS(q, q, q)
		} else {
			c.VSQRTPS(q, q)
		}
		c.VADDPS(k(kEpsilon), q, q)
		c.VMULPS(m, c1, m)
		if v.n == 1 {
			c.VDIVSS(q, m, m)
		} else {
			c.VDIVPS(q, m, m)
		}
		c.VMULPS(k(kDecay), p, u)
		c.VADDPS(u, m, m)
		c.VMULPS(m, lr, m)
		c.VSUBPS(m, p, p)
		v.store(p, at(reg.RDI, reg.RAX))
	})
	c.VZEROUPPER()
	c.RET()
}

// maximum sets m to the larger of r and x, r where it is NaN. t is spoilt.
func maximum(v vec, r, x, m, t reg.VecPhysical) {
	v.c.VCMPPS(operand.Imm(3), r, r, t) // unordered
	v.c.VMAXPS(x, r, m)
	v.c.VBLENDVPS(t, r, m, m)
}

func max2x2(c *build.Context) {
	function(c, "f32Max2x2AVX2", "func(dst, a, b *float32, n, c, dpx, px int)", `f32Max2x2AVX2 pools a row of n windows of c channels; a and b are the two rows:

	for i := range n {
		for j := range c {
			dst[i*dpx+j] = max(a[2*i*px+j], a[(2*i+1)*px+j], b[2*i*px+j], b[(2*i+1)*px+j])
		}
	}`)
	dst, a0, b0, a1, b1 := reg.RDI, reg.RSI, reg.RDX, reg.R8, reg.R9
	c.Load(c.Param("dst"), dst)
	c.Load(c.Param("a"), a0)
	c.Load(c.Param("b"), b0)
	c.Load(c.Param("n"), reg.R10)
	c.Load(c.Param("dpx"), reg.R11)
	c.Load(c.Param("px"), reg.R12)
	c.SHLQ(operand.Imm(2), reg.R11)
	c.SHLQ(operand.Imm(2), reg.R12)
	c.Label("window")
	c.TESTQ(reg.R10, reg.R10)
	c.JZ(operand.LabelRef("done"))
	c.LEAQ(operand.Mem{Base: a0, Index: reg.R12, Scale: 1}, a1)
	c.LEAQ(operand.Mem{Base: b0, Index: reg.R12, Scale: 1}, b1)
	c.Load(c.Param("c"), reg.RCX)
	spans(c, "", reg.RCX, reg.RAX, func(v vec) {
		v.load(at(a0, reg.RAX), v.r(0))
		v.load(at(a1, reg.RAX), v.r(1))
		v.load(at(b0, reg.RAX), v.r(2))
		v.load(at(b1, reg.RAX), v.r(3))
		maximum(v, v.r(0), v.r(1), v.r(4), v.r(5))
		maximum(v, v.r(4), v.r(2), v.r(6), v.r(5))
		maximum(v, v.r(6), v.r(3), v.r(7), v.r(5))
		v.store(v.r(7), at(dst, reg.RAX))
	})
	c.ADDQ(reg.R11, dst)
	c.LEAQ(operand.Mem{Base: a0, Index: reg.R12, Scale: 2}, a0)
	c.LEAQ(operand.Mem{Base: b0, Index: reg.R12, Scale: 2}, b0)
	c.DECQ(reg.R10)
	c.JMP(operand.LabelRef("window"))
	c.Label("done")
	c.VZEROUPPER()
	c.RET()
}

func max2x2Grad(c *build.Context) {
	function(c, "f32Max2x2GradAVX2", "func(da, db, dy, a, b *float32, n, c, dpx, ypx, px int)", `f32Max2x2GradAVX2 gives dy to the first of the largest of each window of a row of n:

	for i := range n {
		for j := range c {
			// one of da[2*i*dpx+j], da[(2*i+1)*dpx+j], db[2*i*dpx+j], db[(2*i+1)*dpx+j]
			// becomes dy[i*ypx+j], the others 0
		}
	}`)
	da0, db0, da1, db1 := reg.RDI, reg.RSI, reg.RDX, reg.RBX
	a0, b0, a1, b1, dy := reg.R8, reg.R9, reg.R10, reg.R11, reg.R12
	dpx, px := reg.R13, reg.R15
	c.Load(c.Param("da"), da0)
	c.Load(c.Param("db"), db0)
	c.Load(c.Param("dy"), dy)
	c.Load(c.Param("a"), a0)
	c.Load(c.Param("b"), b0)
	c.Load(c.Param("dpx"), dpx)
	c.Load(c.Param("px"), px)
	c.SHLQ(operand.Imm(2), dpx)
	c.SHLQ(operand.Imm(2), px)
	left := c.AllocLocal(8)
	c.Load(c.Param("n"), reg.RAX)
	c.MOVQ(reg.RAX, left)
	c.Label("window")
	c.CMPQ(left, operand.Imm(0))
	c.JE(operand.LabelRef("done"))
	c.LEAQ(operand.Mem{Base: a0, Index: px, Scale: 1}, a1)
	c.LEAQ(operand.Mem{Base: b0, Index: px, Scale: 1}, b1)
	c.LEAQ(operand.Mem{Base: da0, Index: dpx, Scale: 1}, da1)
	c.LEAQ(operand.Mem{Base: db0, Index: dpx, Scale: 1}, db1)
	c.Load(c.Param("c"), reg.RCX)
	spans(c, "", reg.RCX, reg.RAX, func(v vec) {
		v.load(at(a0, reg.RAX), v.r(0))
		v.load(at(a1, reg.RAX), v.r(1))
		v.load(at(b0, reg.RAX), v.r(2))
		v.load(at(b1, reg.RAX), v.r(3))
		v.load(at(dy, reg.RAX), v.r(8))
		maximum(v, v.r(0), v.r(1), v.r(4), v.r(5))
		maximum(v, v.r(4), v.r(2), v.r(6), v.r(5))
		maximum(v, v.r(6), v.r(3), v.r(7), v.r(5))
		for i, to := range []reg.GPPhysical{da0, da1, db0, db1} {
			c.VCMPPS(operand.Imm(0), v.r(7), v.r(i), v.r(4)) // it is the largest
			c.VANDPS(v.r(8), v.r(4), v.r(5))
			c.VANDNPS(v.r(8), v.r(4), v.r(8)) // what is left to give
			v.store(v.r(5), at(to, reg.RAX))
		}
	})
	c.LEAQ(operand.Mem{Base: a0, Index: px, Scale: 2}, a0)
	c.LEAQ(operand.Mem{Base: b0, Index: px, Scale: 2}, b0)
	c.LEAQ(operand.Mem{Base: da0, Index: dpx, Scale: 2}, da0)
	c.LEAQ(operand.Mem{Base: db0, Index: dpx, Scale: 2}, db0)
	c.Load(c.Param("ypx"), reg.RAX)
	c.LEAQ(operand.Mem{Base: dy, Index: reg.RAX, Scale: 4}, dy)
	c.DECQ(left)
	c.JMP(operand.LabelRef("window"))
	c.Label("done")
	c.VZEROUPPER()
	c.RET()
}
