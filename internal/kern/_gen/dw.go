package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kern.Depthwise that the kernels read; a test of package
// kern checks them.
const (
	dX      = 0
	dOff    = 24
	dTaps   = 32 // len(Off)
	dRSX    = 48
	dW      = 56
	dY      = 80
	dLDY    = 104
	dPixels = 112
	dFlags  = 120
	dBias   = 128
	dLo     = 152
	dHi     = 156
	dMask   = 160
	dN      = 168
	dSlope  = 176
)

// dwGroups are how many pixels may be in flight: their accumulators hide the latency
// of FMA, and a tap's weight is loaded once for all of them. A row ends in a group of
// 4 that goes over pixels again rather than in single ones.
var dwGroups = []int{6, 4, 1}

func init() {
	kernels = append(kernels,
		kernel{"f32_dw_6x8_avx2", func(c *build.Context) { depthwise(c, isaAVX2, "f32DW6x8AVX2") }},
		kernel{"f32_dw_6x16_avx512", func(c *build.Context) { depthwise(c, isaAVX512, "f32DW6x16AVX512") }})
}

func depthwise(c *build.Context, v isa, name string) {
	function(c, name, "func(t *Depthwise)", name+` computes a row of pixels, one vector of channels after the other:

	for c := range t.N {
		for p := range t.Pixels {
			acc := 0
			for i, off := range t.Off {
				acc = fma(t.X[p*t.RSX+off+c], t.W[(c/width*len(t.Off)+i)*width+c%width], acc)
			}
			acc += t.Bias[c]                // with FlagCol
			acc = acc or, below 0, acc*t.Slope[c] // with FlagPRelu
			acc = min(t.Hi, max(t.Lo, acc)) // with FlagClamp; NaN stays
			t.Y[p*t.LDY+c] = acc
		}
	}`, "Depthwise")
	t := reg.R14
	// Pixels left; bytes of the channels done, and channels left.
	left, at, rest := c.AllocLocal(8), c.AllocLocal(8), c.AllocLocal(8)
	c.Load(c.Param("t"), t)
	x, y, rsx, ldy, n := reg.RBX, reg.RSI, reg.R8, reg.R9, reg.R10
	wp0 := reg.RBP // the block's weights
	c.MOVQ(mem(t, dRSX), rsx)
	c.SHLQ(operand.U8(2), rsx)
	c.MOVQ(mem(t, dLDY), ldy)
	c.SHLQ(operand.U8(2), ldy)
	c.MOVQ(mem(t, dW), wp0)
	c.MOVQ(operand.U32(0), reg.RAX)
	c.MOVQ(reg.RAX, at)
	c.MOVQ(mem(t, dN), reg.RAX)
	c.MOVQ(reg.RAX, rest)
	bias, lo, hi, w, in, mask, slope, tmp := ymm[8], ymm[9], ymm[10], ymm[11], ymm[12], ymm[13], ymm[14], ymm[15]
	acc := ymm
	if v.avx512 {
		bias, lo, hi, w, in, slope, tmp, acc = zmm[8], zmm[9], zmm[10], zmm[11], zmm[12], zmm[14], zmm[15], zmm
	}
	c.VBROADCASTSS(mem(t, dLo), lo)
	c.VBROADCASTSS(mem(t, dHi), hi)
	c.MOVQ(mem(t, dMask), reg.RCX)
	c.TESTQ(reg.RCX, reg.RCX)
	c.JNZ(operand.LabelRef("masked"))
	for _, masked := range []bool{false, true} {
		suffix := ""
		if masked {
			suffix = "m"
			c.Label("masked")
			if v.avx512 {
				c.KMOVW(reg.ECX, reg.K1)
			} else {
				c.VMOVUPS(mem(reg.RCX, 0), mask)
			}
		}
		l := func(s string) string { return s + suffix }
		ref := func(s string) operand.LabelRef { return operand.LabelRef(l(s)) }
		c.Label(l("block"))
		c.MOVQ(mem(t, dX), x)
		c.ADDQ(at, x)
		c.MOVQ(mem(t, dY), y)
		c.ADDQ(at, y)
		c.MOVQ(mem(t, dPixels), n)
		c.MOVQ(mem(t, dFlags), reg.RAX)
		c.TESTQ(operand.U32(fCol), reg.RAX)
		c.JZ(ref("nobias"))
		c.MOVQ(mem(t, dBias), reg.RCX)
		c.ADDQ(at, reg.RCX)
		c.VMOVUPS(mem(reg.RCX, 0), bias)
		c.Label(l("nobias"))
		c.TESTQ(operand.U32(fPRelu), reg.RAX)
		c.JZ(ref("pixels"))
		c.MOVQ(mem(t, dSlope), reg.RCX)
		c.ADDQ(at, reg.RCX)
		c.VMOVUPS(mem(reg.RCX, 0), slope)

		c.Label(l("pixels"))
		c.CMPQ(n, operand.U8(8)) // 4 and 4 rather than 6 and 2
		c.JEQ(ref("group4"))
		c.CMPQ(n, operand.U8(6))
		c.JGE(ref("group6"))
		c.CMPQ(n, operand.U8(4))
		c.JGE(ref("group4"))
		c.TESTQ(n, n)
		c.JZ(ref("next"))
		c.CMPQ(mem(t, dPixels), operand.U8(4))
		c.JLT(ref("group1"))
		c.SUBQ(operand.U8(4), n) // back over 4-n pixels
		c.MOVQ(n, reg.RAX)
		c.IMULQ(rsx, reg.RAX)
		c.ADDQ(reg.RAX, x)
		c.MOVQ(n, reg.RAX)
		c.IMULQ(ldy, reg.RAX)
		c.ADDQ(reg.RAX, y)
		c.MOVQ(operand.U32(4), n)
		c.JMP(ref("group4"))

		for _, group := range dwGroups {
			gl := func(s string) string { return l(fmt.Sprintf("%s%d", s, group)) }
			gref := func(s string) operand.LabelRef { return operand.LabelRef(gl(s)) }
			p := []reg.Register{reg.RAX, reg.RCX, reg.RDX, reg.RDI, reg.R11, reg.R12}[:group]
			tap, off, wp := reg.R13, reg.R15, wp0
			c.Label(gl("group"))
			for i := range group {
				r := acc[i]
				if v.avx512 {
					c.VPXORD(r, r, r)
				} else {
					c.VXORPS(r, r, r)
				}
				if i == 0 {
					c.MOVQ(x, p[0])
				} else {
					c.LEAQ(idx(p[i-1], rsx, 1), p[i])
				}
			}
			c.MOVQ(mem(t, dOff), tap)
			// The pixels left wait on the stack: their register counts taps.
			c.MOVQ(n, left)
			c.MOVQ(mem(t, dTaps), n)
			c.Label(gl("taps"))
			c.MOVQ(mem(tap, 0), off)
			c.VMOVUPS(mem(wp, 0), w)
			for i := range group {
				src := idx(p[i], off, 4)
				switch {
				case !masked:
					c.VFMADD231PS(src, w, acc[i])
				case v.avx512:
					c.VMOVUPS_Z(src, reg.K1, in)
					c.VFMADD231PS(in, w, acc[i])
				default:
					c.VMASKMOVPS(src, mask, in)
					c.VFMADD231PS(in, w, acc[i])
				}
			}
			c.ADDQ(operand.U8(8), tap)
			c.ADDQ(operand.U8(4*v.width), wp)
			c.DECQ(n)
			c.JNZ(gref("taps"))
			// Back to the block's first tap.
			c.MOVQ(mem(t, dTaps), n)
			c.IMUL3Q(operand.U8(4*v.width), n, n)
			c.SUBQ(n, wp)
			c.MOVQ(left, n)
			c.MOVQ(mem(t, dFlags), reg.R13)
			c.TESTQ(operand.U32(fCol), reg.R13)
			c.JZ(gref("prelu"))
			for i := range group {
				c.VADDPS(bias, acc[i], acc[i])
			}
			c.Label(gl("prelu"))
			c.TESTQ(operand.U32(fPRelu), reg.R13)
			c.JZ(gref("clamp"))
			for i := range group {
				c.VMULPS(slope, acc[i], tmp)
				if v.avx512 {
					c.VPXORD(w, w, w)
					c.VPCMPD(operand.U8(1), w, acc[i], reg.K2)
					c.VMOVAPS(tmp, reg.K2, acc[i])
				} else {
					c.VBLENDVPS(acc[i], tmp, acc[i], acc[i])
				}
			}
			c.Label(gl("clamp"))
			c.TESTQ(operand.U32(fClamp), reg.R13)
			c.JZ(gref("store"))
			for i := range group {
				c.VMAXPS(acc[i], lo, acc[i])
				c.VMINPS(acc[i], hi, acc[i])
			}
			c.Label(gl("store"))
			for i := range group {
				switch {
				case !masked:
					c.VMOVUPS(acc[i], mem(y, 0))
				case v.avx512:
					c.VMOVUPS(acc[i], reg.K1, mem(y, 0))
				default:
					c.VMASKMOVPS(acc[i], mask, mem(y, 0))
				}
				c.ADDQ(ldy, y)
			}
			c.LEAQ(idx(p[group-1], rsx, 1), x)
			c.SUBQ(operand.U8(group), n)
			c.JMP(ref("pixels"))
		}
		c.Label(l("next"))
		if !masked {
			c.MOVQ(mem(t, dTaps), reg.RAX)
			c.IMUL3Q(operand.U8(4*v.width), reg.RAX, reg.RAX)
			c.ADDQ(reg.RAX, wp0)
			c.ADDQ(operand.U8(4*v.width), at)
			c.SUBQ(operand.U8(v.width), rest)
			c.JNZ(ref("block"))
		}
		c.VZEROUPPER()
		c.RET()
	}
}
