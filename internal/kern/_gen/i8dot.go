package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kern.I8Dot that the kernel reads; a test of package kern checks them.
const (
	qA      = 0
	qRows   = 24
	qM      = 32 // len(Rows)
	qOff    = 48
	qSegs   = 56
	qK      = 72
	qB      = 80
	qPanels = 104
	qBias   = 112
	qMul    = 136
	qC      = 160
	qLDC    = 184
	qLo     = 192
	qHi     = 196
	qZero   = 200
)

func init() {
	kernels = append(kernels, kernel{"i8_dot_6x64_vnni", i8Dot}, kernel{"i8_dotsums_vnni", i8DotSums})
}

// i8DotSums is the products with ones.
func i8DotSums(c *build.Context) {
	function(c, "i8DotSumsVNNI", "func(sums *int32, b *int8, quads, panels int)", `i8DotSumsVNNI sums the columns of B; quads and panels are at least 1:

	for j := range 16 * panels {
		sums[j] = 0
		for i := range quads {
			for k := range 4 {
				sums[j] += int32(b[(i*16*panels+j)*4+k])
			}
		}
	}`)
	d, b, quads, panels, ld, n, p := reg.RDI, reg.RSI, reg.RCX, reg.RBX, reg.RDX, reg.RAX, reg.R8
	c.Load(c.Param("sums"), d)
	c.Load(c.Param("b"), b)
	c.Load(c.Param("quads"), quads)
	c.Load(c.Param("panels"), panels)
	c.MOVQ(panels, ld)
	c.SHLQ(operand.U8(6), ld)
	c.MOVL(operand.U32(0x01010101), n.As32())
	c.VPBROADCASTD(n.As32(), reg.Z1)
	c.Label("panel")
	c.VPXORQ(reg.Z0, reg.Z0, reg.Z0)
	c.MOVQ(quads, n)
	c.MOVQ(b, p)
	c.Label("quad")
	c.VPDPBUSD(mem(p, 0), reg.Z1, reg.Z0)
	c.ADDQ(ld, p)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("quad"))
	c.VMOVDQU32(reg.Z0, mem(d, 0))
	c.ADDQ(operand.U8(64), d)
	c.ADDQ(operand.U8(64), b)
	c.DECQ(panels)
	c.JNZ(operand.LabelRef("panel"))
	c.VZEROUPPER()
	c.RET()
}

func i8Dot(c *build.Context) {
	const name = "i8Dot6x64VNNI"
	function(c, name, "func(t *I8Dot)", name+` computes rows of 16 to 64 columns; sums are modulo 2³², so in any order:

	n := 16 * t.Panels
	for i, row := range t.Rows {
		for j := range n {
			acc := t.Bias[j]
			for s, off := range t.Off {
				for k := range t.K {
					acc += int32(t.A[row+off+k]) * int32(t.B[((s*t.K+k)/4*n+j)*4+k%4])
				}
			}
			v := float32(acc) * t.Mul[j]
			t.C[i*t.LDC+j] = byte(int32(RNE(min(t.Hi, max(t.Lo, v)))) + t.Zero)
		}
	}`, "I8Dot")
	t := reg.R14
	c.Load(c.Param("t"), t)
	rows, left := reg.R13, reg.R15
	c.MOVQ(mem(t, qRows), rows)
	c.MOVQ(mem(t, qM), left)
	for np := 4; np > 1; np-- {
		c.CMPQ(mem(t, qPanels), operand.U8(np))
		c.JEQ(operand.LabelRef(fmt.Sprintf("panels%d", np)))
	}
	for np := 1; np <= 4; np++ {
		l := func(s string) string { return fmt.Sprintf("%s%d", s, np) }
		c.Label(l("panels"))
		c.CMPQ(left, operand.U8(6))
		c.JLT(operand.LabelRef(l("tail")))
		i8DotBody(c, 6, np)
		c.JMP(operand.LabelRef(l("panels")))
		c.Label(l("tail"))
		for m := 5; m > 0; m-- {
			c.CMPQ(left, operand.U8(m))
			c.JEQ(operand.LabelRef(fmt.Sprintf("p%dm%d", np, m)))
		}
		c.VZEROUPPER()
		c.RET()
		for m := 5; m > 0; m-- {
			c.Label(fmt.Sprintf("p%dm%d", np, m))
			i8DotBody(c, m, np)
			c.VZEROUPPER()
			c.RET()
		}
	}
}

// i8DotBody computes m rows of np panels and moves on in rows, left and t.C.
func i8DotBody(c *build.Context, m, np int) {
	l := func(s string) string { return fmt.Sprintf("%sp%dm%d", s, np, m) }
	t, rows, left := reg.R14, reg.R13, reg.R15
	p := []reg.Register{reg.RAX, reg.RCX, reg.RDX, reg.RDI, reg.R8, reg.R9}[:m]
	b, k, n, seg, segs := reg.RSI, reg.RBX, reg.R10, reg.R11, reg.R12
	acc := func(i, j int) reg.VecPhysical { return zmm[np*i+j] }
	w, bc := zmm[24:28], zmm[28:30]
	c.MOVQ(mem(t, qA), b)
	for i, r := range p {
		c.MOVQ(mem(rows, 8*i), r)
		c.ADDQ(b, r)
		for j := range np {
			c.VPXORD(acc(i, j), acc(i, j), acc(i, j))
		}
	}
	c.ADDQ(operand.U8(8*m), rows)
	c.SUBQ(operand.U8(m), left)
	c.MOVQ(mem(t, qB), b)
	c.MOVQ(mem(t, qOff), seg)
	c.MOVQ(mem(t, qSegs), segs)
	c.Label(l("seg"))
	c.MOVQ(mem(seg, 0), k)
	c.MOVQ(mem(t, qK), n)
	c.SHRQ(operand.U8(2), n)
	c.Label(l("k"))
	for j := range np {
		c.VMOVDQU32(mem(b, 64*j), w[j])
	}
	for i, r := range p {
		c.VPBROADCASTD(idx(r, k, 1), bc[i%2])
		for j := range np {
			c.VPDPBUSD(w[j], bc[i%2], acc(i, j))
		}
	}
	c.ADDQ(operand.U8(4), k)
	c.ADDQ(operand.U32(64*np), b)
	c.DECQ(n)
	c.JNZ(operand.LabelRef(l("k")))
	c.ADDQ(operand.U8(8), seg)
	c.DECQ(segs)
	c.JNZ(operand.LabelRef(l("seg")))

	bias, mul, cp, ldc := k, n, reg.RAX, reg.RCX
	c.MOVQ(mem(t, qBias), bias)
	c.MOVQ(mem(t, qMul), mul)
	c.MOVQ(mem(t, qC), cp)
	c.MOVQ(mem(t, qLDC), ldc)
	lo, hi, zero := zmm[26], zmm[27], zmm[28]
	c.VBROADCASTSS(mem(t, qLo), lo)
	c.VBROADCASTSS(mem(t, qHi), hi)
	c.VPBROADCASTD(mem(t, qZero), zero)
	for j := range np {
		c.VMOVDQU32(mem(bias, 64*j), w[0])
		c.VMOVUPS(mem(mul, 64*j), w[1])
		for i := range m {
			a := acc(i, j)
			c.VPADDD(w[0], a, a)
			c.VCVTDQ2PS(a, a)
			c.VMULPS(w[1], a, a)
			c.VMAXPS(lo, a, a)
			c.VMINPS(hi, a, a)
			c.VCVTPS2DQ(a, a)
			c.VPADDD(zero, a, a)
		}
	}
	for i := range m {
		for j := range np {
			c.VPMOVDB(acc(i, j), mem(cp, 16*j))
		}
		c.ADDQ(ldc, cp)
	}
	c.MOVQ(cp, mem(t, qC))
}
