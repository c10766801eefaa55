package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The elementwise kernels: dst[i] = f(a[i], b[i]) for n floats, n a multiple of 8.
// VS holds one b for all, SV one a. 8-float vectors suffice: they are bound by memory.
func init() {
	for _, o := range []struct{ name, goOp string }{{"Add", "a + b"}, {"Sub", "a - b"}, {"Mul", "a * b"}, {"Div", "a / b"}, {"PRelu", "a, or a * b where a < 0"}, {"Max", "a, or b where b > a or b is NaN"}} {
		for _, form := range []string{"VV", "VS", "SV"} {
			if form == "SV" && (o.name == "Add" || o.name == "Mul") || form != "VV" && o.name == "Max" {
				continue
			}
			name := "f32Vec" + o.name + form + "AVX2"
			file := map[string]string{"VV": "", "VS": "s", "SV": "r"}[form]
			kernels = append(kernels, kernel{"f32_vec" + lower(o.name) + file + "_avx2", func(c *build.Context) {
				arg := func(s, letter string) string {
					if form[map[string]int{"a": 0, "b": 1}[letter]] == 'S' {
						return s + "[0]"
					}
					return s + "[i]"
				}
				function(c, name, "func(dst, a, b *float32, n int)", fmt.Sprintf(`%s is, with n a multiple of 8:

	for i := range n {
		dst[i] = %s // of a = %s, b = %s
	}`, name, o.goOp, arg("a", "a"), arg("b", "b")))
				elementwise(c, form, func(a, b, d, t reg.VecPhysical) { binary(c, o.name, a, b, d, t) })
			}})
		}
	}
	kernels = append(kernels, kernel{"f32_vecclamp_avx2", func(c *build.Context) {
		function(c, "f32VecClampAVX2", "func(dst, a *float32, lo, hi float32, n int)", `f32VecClampAVX2 is, with n a multiple of 8:

	for i := range n {
		dst[i] = min(hi, max(lo, a[i])) // NaN stays
	}`)
		d, a, n := reg.RDI, reg.RSI, reg.RCX
		c.Load(c.Param("dst"), d)
		c.Load(c.Param("a"), a)
		lo, _ := c.Param("lo").Resolve()
		hi, _ := c.Param("hi").Resolve()
		c.VBROADCASTSS(lo.Addr, reg.Y8)
		c.VBROADCASTSS(hi.Addr, reg.Y9)
		c.Load(c.Param("n"), n)
		unrolled(c, n, func(k int) {
			for i := range k {
				c.VMOVUPS(mem(a, 32*i), ymm[i])
			}
			for i := range k {
				c.VMAXPS(ymm[i], reg.Y8, ymm[i])
				c.VMINPS(ymm[i], reg.Y9, ymm[i])
			}
			for i := range k {
				c.VMOVUPS(ymm[i], mem(d, 32*i))
			}
		}, d, a)
	}})
}

func lower(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] |= 0x20
	}
	return string(b)
}

// binary is d = a op b; t is free.
func binary(c *build.Context, op string, a, b, d, t reg.VecPhysical) {
	switch op {
	case "Add":
		c.VADDPS(b, a, d)
	case "Sub":
		c.VSUBPS(b, a, d)
	case "Mul":
		c.VMULPS(b, a, d)
	case "Div":
		c.VDIVPS(b, a, d)
	case "Max":
		c.VMAXPS(a, b, t) // a where one is NaN or both are 0
		c.VCMPPS(operand.U8(3), b, b, d)
		c.VBLENDVPS(d, b, t, d)
	case "PRelu":
		c.VMULPS(b, a, t)
		c.VXORPS(d, d, d)
		c.VCMPPS(operand.U8(0x11), d, a, d) // a < 0, quiet, false for NaN
		c.VBLENDVPS(d, t, a, d)
	}
}

func elementwise(c *build.Context, form string, f func(a, b, d, t reg.VecPhysical)) {
	d, a, b, n := reg.RDI, reg.RSI, reg.RDX, reg.RCX
	c.Load(c.Param("dst"), d)
	c.Load(c.Param("a"), a)
	c.Load(c.Param("b"), b)
	c.Load(c.Param("n"), n)
	step := []reg.Register{d}
	if form[0] == 'S' {
		c.VBROADCASTSS(mem(a, 0), reg.Y15)
	} else {
		step = append(step, a)
	}
	if form[1] == 'S' {
		c.VBROADCASTSS(mem(b, 0), reg.Y15)
	} else {
		step = append(step, b)
	}
	unrolled(c, n, func(k int) {
		for i := range k {
			va, vb := ymm[i], ymm[4+i]
			if form[0] == 'S' {
				va = reg.Y15
			} else {
				c.VMOVUPS(mem(a, 32*i), va)
			}
			if form[1] == 'S' {
				vb = reg.Y15
			} else {
				c.VMOVUPS(mem(b, 32*i), vb)
			}
			f(va, vb, ymm[8+i], reg.Y14)
			c.VMOVUPS(ymm[8+i], mem(d, 32*i))
		}
	}, step...)
}

// unrolled runs body(4) while at least 32 floats are left, then body(1); after k
// vectors the pointers advance.
func unrolled(c *build.Context, n reg.Register, body func(k int), ptrs ...reg.Register) {
	for _, k := range []int{4, 1} {
		loop, next := fmt.Sprintf("loop%d", k), fmt.Sprintf("next%d", k)
		c.Label(loop)
		c.CMPQ(n, operand.U8(8*k))
		c.JLT(operand.LabelRef(next))
		body(k)
		for _, p := range ptrs {
			c.ADDQ(operand.U32(32*k), p)
		}
		c.SUBQ(operand.U8(8*k), n)
		c.JMP(operand.LabelRef(loop))
		c.Label(next)
	}
	c.VZEROUPPER()
	c.RET()
}
