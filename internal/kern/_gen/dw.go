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
	dStride = 200 // of windows of 3x3 whose columns follow each other: pixels from output to output, 1 or 2
)

// dwGroups are how many pixels may be in flight: their accumulators hide the latency
// of FMA, and a tap's weight is loaded once for all of them. A row ends in a group of
// 4 that goes over pixels again rather than in single ones.
var dwGroups = []int{6, 4, 1}

// dwThree are the groups of windows of 3x3, whose weights stay in registers (AVX-512).
var dwThree = []int{7, 4, 1}

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
		c.JZ(ref("kind"))
		c.MOVQ(mem(t, dSlope), reg.RCX)
		c.ADDQ(at, reg.RCX)
		c.VMOVUPS(mem(reg.RCX, 0), slope)

		// choose goes to the group that is next; groups are the largest, 4 and 1.
		choose := func(kind string, groups []int) {
			group := func(n int) operand.LabelRef { return ref(fmt.Sprintf("%sgroup%d", kind, n)) }
			c.Label(l(kind + "pixels"))
			c.CMPQ(n, operand.U8(8)) // 4 and 4 rather than 6 and 2
			c.JEQ(group(4))
			c.CMPQ(n, operand.U8(groups[0]))
			c.JGE(group(groups[0]))
			c.CMPQ(n, operand.U8(4))
			c.JGE(group(4))
			c.TESTQ(n, n)
			c.JZ(ref("next"))
			c.CMPQ(mem(t, dPixels), operand.U8(4))
			c.JLT(group(1))
			c.SUBQ(operand.U8(4), n) // back over 4-n pixels
			c.MOVQ(n, reg.RAX)
			c.IMULQ(rsx, reg.RAX)
			c.ADDQ(reg.RAX, x)
			c.MOVQ(n, reg.RAX)
			c.IMULQ(ldy, reg.RAX)
			c.ADDQ(reg.RAX, y)
			c.MOVQ(operand.U32(4), n)
			c.JMP(group(4))
		}
		load := func(src operand.Mem, r reg.VecPhysical) {
			switch {
			case !masked:
				c.VMOVUPS(src, r)
			case v.avx512:
				c.VMOVUPS_Z(src, reg.K1, r)
			default:
				c.VMASKMOVPS(src, mask, r)
			}
		}
		// finish makes outputs of a group's sums.
		finish := func(kind string, group int) {
			gl := func(s string) string { return l(fmt.Sprintf("%s%s%d", kind, s, group)) }
			gref := func(s string) operand.LabelRef { return operand.LabelRef(gl(s)) }
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
		}
		c.Label(l("kind"))
		if v.avx512 {
			for stride := 1; stride <= 2; stride++ {
				c.CMPQ(mem(t, dStride), operand.U8(stride))
				c.JEQ(ref(fmt.Sprintf("three%d", stride)))
			}
		}
		choose("", dwGroups)
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
				if masked {
					load(src, in)
					c.VFMADD231PS(in, w, acc[i])
				} else {
					c.VFMADD231PS(src, w, acc[i])
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
			finish("", group)
			c.LEAQ(idx(p[group-1], rsx, 1), x)
			c.SUBQ(operand.U8(group), n)
			c.JMP(ref("pixels"))
		}
		for stride := 1; v.avx512 && stride <= 2; stride++ {
			kind := fmt.Sprintf("three%d", stride)
			c.Label(l(kind))
			weights, ins := zmm[16:25], zmm[25:32]
			for i, r := range weights {
				c.VMOVUPS(mem(wp0, 64*i), r)
			}
			rows, src, step := []reg.Register{reg.R11, reg.R12, reg.R15}, reg.RDI, reg.RDX
			c.MOVQ(mem(t, dOff), reg.RAX)
			for i, r := range rows {
				c.MOVQ(mem(reg.RAX, 24*i), r)
			}
			c.MOVQ(rsx, step)
			if stride == 2 {
				c.SHRQ(operand.U8(1), step)
			}
			choose(kind, dwThree)
			for _, group := range dwThree {
				c.Label(l(fmt.Sprintf("%sgroup%d", kind, group)))
				for i := range group {
					c.VPXORD(acc[i], acc[i], acc[i])
				}
				// A row's pixels one after the other, each to the outputs in whose windows it is:
				// an output's taps ascend.
				for i, r := range rows {
					c.LEAQ(idx(x, r, 4), src)
					for col := range (group-1)*stride + 3 {
						in := ins[col%len(ins)]
						load(mem(src, 0), in)
						c.ADDQ(step, src)
						for j := 2; j >= 0; j-- {
							if o := col - j; o >= 0 && o%stride == 0 && o/stride < group {
								c.VFMADD231PS(in, weights[3*i+j], acc[o/stride])
							}
						}
					}
				}
				finish(kind, group)
				c.IMUL3Q(operand.U8(group), rsx, reg.RAX)
				c.ADDQ(reg.RAX, x)
				c.SUBQ(operand.U8(group), n)
				c.JMP(ref(kind + "pixels"))
			}
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
