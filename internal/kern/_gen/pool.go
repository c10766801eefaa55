package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kern.Pool that the kernels read; a test of package kern
// checks them.
const (
	pX      = 0
	pOff    = 24
	pTaps   = 32 // len(Off)
	pRSX    = 48
	pY      = 56
	pLDY    = 80
	pPixels = 88
	pN      = 96
	pDiv    = 104
)

func init() {
	kernels = append(kernels,
		kernel{"f32_maxpool_32_avx2", func(c *build.Context) { pool(c, "f32MaxPool32AVX2", true) }},
		kernel{"f32_avgpool_32_avx2", func(c *build.Context) { pool(c, "f32AvgPool32AVX2", false) }},
		kernel{"f32_sum_8_avx2", sumPixels})
}

func pool(c *build.Context, name string, largest bool) {
	step, start, end := "acc += x", "0", "acc / t.Div"
	if largest {
		step, start, end = "acc, or x where x > acc or x is NaN", "-Inf", "acc"
	}
	function(c, name, "func(t *Pool)", name+` pools a row of pixels; t.N is at least 8:

	for p := range t.Pixels {
		for c := range t.N {
			acc := `+start+`
			for _, off := range t.Off {
				acc = `+step+` // x = t.X[p*t.RSX+off+c]
			}
			t.Y[p*t.LDY+c] = `+end+`
		}
	}`, "Pool")
	t, x, y, n, ch, tap, taps, off, xp := reg.R14, reg.RBX, reg.RSI, reg.R10, reg.R11, reg.R13, reg.R12, reg.RAX, reg.RDX
	pixels := reg.R9
	c.Load(c.Param("t"), t)
	c.MOVQ(mem(t, pX), x)
	c.MOVQ(mem(t, pY), y)
	c.MOVQ(mem(t, pPixels), pixels)
	if largest {
		c.MOVL(operand.U32(0xff800000), reg.EAX)
		c.VMOVD(reg.EAX, reg.X15)
		c.VBROADCASTSS(reg.X15, reg.Y15)
	} else {
		c.VXORPS(reg.Y15, reg.Y15, reg.Y15)
		c.VBROADCASTSS(mem(t, pDiv), reg.Y13)
	}
	// vectors pools 8k channels from ch on.
	vectors := func(k int, label string) {
		for i := range k {
			c.VMOVAPS(reg.Y15, ymm[i])
		}
		c.LEAQ(idx(x, ch, 4), xp)
		c.MOVQ(mem(t, pOff), tap)
		c.MOVQ(mem(t, pTaps), taps)
		c.Label(label)
		c.MOVQ(mem(tap, 0), off)
		c.LEAQ(idx(xp, off, 4), off)
		for i := range k {
			if largest {
				c.VMOVUPS(mem(off, 32*i), ymm[4+i])
				binary(c, "Max", ymm[i], ymm[4+i], ymm[8+i], reg.Y14)
			} else {
				c.VADDPS(mem(off, 32*i), ymm[i], ymm[i])
			}
		}
		if largest {
			for i := range k {
				c.VMOVAPS(ymm[8+i], ymm[i])
			}
		}
		c.ADDQ(operand.U8(8), tap)
		c.DECQ(taps)
		c.JNZ(operand.LabelRef(label))
		c.LEAQ(idx(y, ch, 4), off)
		for i := range k {
			if !largest {
				c.VDIVPS(reg.Y13, ymm[i], ymm[i])
			}
			c.VMOVUPS(ymm[i], mem(off, 32*i))
		}
	}
	c.Label("pixel")
	c.MOVQ(mem(t, pN), n)
	c.MOVQ(operand.U32(0), ch)
	c.Label("wide")
	c.CMPQ(n, operand.U8(32))
	c.JLT(operand.LabelRef("narrow"))
	vectors(4, "taps4")
	c.ADDQ(operand.U8(32), ch)
	c.SUBQ(operand.U8(32), n)
	c.JMP(operand.LabelRef("wide"))
	c.Label("narrow")
	c.TESTQ(n, n)
	c.JZ(operand.LabelRef("done"))
	c.CMPQ(n, operand.U8(8))
	c.JGE(operand.LabelRef("whole"))
	// The last vector goes over channels again.
	c.LEAQ(operand.Mem{Base: ch, Index: n, Scale: 1, Disp: -8}, ch)
	c.MOVQ(operand.U32(8), n)
	c.Label("whole")
	vectors(1, "taps1")
	c.ADDQ(operand.U8(8), ch)
	c.SUBQ(operand.U8(8), n)
	c.JMP(operand.LabelRef("narrow"))
	c.Label("done")
	c.MOVQ(mem(t, pRSX), off)
	c.LEAQ(idx(x, off, 4), x)
	c.MOVQ(mem(t, pLDY), off)
	c.LEAQ(idx(y, off, 4), y)
	c.DECQ(pixels)
	c.JNZ(operand.LabelRef("pixel"))
	c.VZEROUPPER()
	c.RET()
}

func sumPixels(c *build.Context) {
	const name = "f32Sum8AVX2"
	function(c, name, "func(sums *float64, x *float32, n, pixels, stride int)", name+` adds pixels of n channels, a multiple of 8:

	for p := range pixels {
		for c := range n {
			sums[c] += float64(x[p*stride+c])
		}
	}`)
	s, x, n, pixels, stride, p, left := reg.RDI, reg.RSI, reg.RCX, reg.R8, reg.R9, reg.RAX, reg.RDX
	c.Load(c.Param("sums"), s)
	c.Load(c.Param("x"), x)
	c.Load(c.Param("n"), n)
	c.Load(c.Param("pixels"), pixels)
	c.Load(c.Param("stride"), stride)
	c.SHLQ(operand.U8(2), stride)
	for _, k := range []int{4, 1} {
		label := map[int]string{4: "wide", 1: "narrow"}[k]
		c.Label(label)
		c.CMPQ(n, operand.U8(8*k))
		c.JLT(operand.LabelRef(label + "done"))
		for i := range 2 * k {
			c.VMOVUPD(mem(s, 32*i), ymm[i])
		}
		c.MOVQ(x, p)
		c.MOVQ(pixels, left)
		c.Label(label + "pixels")
		for i := range 2 * k {
			c.VCVTPS2PD(mem(p, 16*i), ymm[8+i%8])
			c.VADDPD(ymm[8+i%8], ymm[i], ymm[i])
		}
		c.ADDQ(stride, p)
		c.DECQ(left)
		c.JNZ(operand.LabelRef(label + "pixels"))
		for i := range 2 * k {
			c.VMOVUPD(ymm[i], mem(s, 32*i))
		}
		c.ADDQ(operand.U32(64*k), s)
		c.ADDQ(operand.U32(32*k), x)
		c.SUBQ(operand.U8(8*k), n)
		c.JMP(operand.LabelRef(label))
		c.Label(label + "done")
	}
	c.VZEROUPPER()
	c.RET()
}
