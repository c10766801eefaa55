package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kern.I8Tile, I8Depthwise, I8Max, I8Sum and I8Product that the
// kernels read; a test of package kern checks them.
const (
	iA     = 0
	iRows  = 24
	iM     = 32 // len(Rows)
	iOff   = 48
	iSegs  = 56
	iK     = 72
	iB     = 80
	iBias  = 104
	iMul   = 128
	iC     = 152
	iLDC   = 176
	iLo    = 184
	iHi    = 188
	iZero  = 192
	iB8    = 200
	iSums  = 224
	iSlope = 248

	jX      = 0
	jOff    = 24
	jTaps   = 32
	jRSX    = 48
	jW      = 56
	jBias   = 80
	jMul    = 104
	jY      = 128
	jLDY    = 152
	jPixels = 160
	jLo     = 168
	jHi     = 172
	jZero   = 176

	mX      = 0
	mOff    = 24
	mTaps   = 32
	mRSX    = 48
	mY      = 56
	mLDY    = 80
	mPixels = 88
	mBlocks = 96

	sA    = 0
	sB    = 24
	sY    = 48
	sN    = 72
	sFlip = 80
	sZA   = 88
	sZB   = 92
	sMA   = 96
	sMB   = 100
	sLo   = 104
	sHi   = 108
	sZero = 112

	prodA      = 0
	prodB      = 24
	prodY      = 48
	prodStepA  = 72
	prodStepB  = 80
	prodStepY  = 88
	prodPixels = 96
	prodN      = 104
	prodFlip   = 112
	prodZA     = 120
	prodZB     = 124
	prodMul    = 128
	prodLo     = 132
	prodHi     = 136
	prodZero   = 140
)

func init() {
	kernels = append(kernels,
		kernel{"i8_gemm_6x16_avx2", func(c *build.Context) { i8Gemm(c, "i8Gemm6x16AVX2", true, i8Plain) }},
		kernel{"i8_gemv_6x16_avx2", func(c *build.Context) { i8Gemm(c, "i8Gemv6x16AVX2", false, i8Plain) }},
		kernel{"i8_gemmsum_6x16_avx2", func(c *build.Context) { i8Gemm(c, "i8GemmSum6x16AVX2", true, i8Sums) }},
		kernel{"i8_gemmslope_6x16_avx2", func(c *build.Context) { i8Gemm(c, "i8GemmSlope6x16AVX2", true, i8Slope) }},
		kernel{"i8_dw_4x16_avx2", i8Depthwise},
		kernel{"i8_widen_avx2", i8Widen},
		kernel{"u8_max_avx2", func(c *build.Context) { i8Max(c, "u8MaxAVX2", c.VPMAXUB) }},
		kernel{"i8_max_avx2", func(c *build.Context) { i8Max(c, "i8MaxAVX2", c.VPMAXSB) }},
		kernel{"i8_sum_avx2", i8Sum},
		kernel{"i8_product_avx2", i8Product},
		kernel{"i8_quantize_avx2", i8Quantize},
		kernel{"i8_dequantize_avx2", i8Dequantize},
		kernel{"i8_tables_avx2", i8Tables},
		kernel{"i8_widen16_avx2", i8Widen16})
}

// narrowBytes turns two registers of eight int32 in the order 0-3,8-11 and 4-7,12-15
// into sixteen bytes in x, by their low bits; bits is 0x00ff in every word.
func narrowBytes(c *build.Context, a, b, bits reg.VecPhysical) {
	c.VPACKSSDW(b, a, a)
	c.VPAND(bits, a, a)
	c.VPACKUSWB(a, a, a)
	c.VPERMQ(operand.U8(0x08), a, a)
}

func lowBytes(c *build.Context, r reg.VecPhysical) {
	c.VPCMPEQW(r, r, r)
	c.VPSRLW(operand.U8(8), r, r)
}

// Ends of i8Gemm: integers, sums as they are, integers with slopes below zero.
const (
	i8Plain = iota
	i8Sums
	i8Slope
)

func i8Gemm(c *build.Context, name string, wide bool, end int) {
	b := "B"
	if !wide {
		b = "B8"
	}
	doc := name + ` computes rows of 16 columns; sums are exact, so in any order:

	for i, row := range t.Rows {
		for j := range 16 {
			acc := t.Bias[lane(j)]
			for s, off := range t.Off {
				for k := range t.K {
					acc += t.A[row+off+k] * t.` + b + `[((s*t.K+k)/2*16+lane(j))*2+k%2]
				}
			}
			v := float32(acc) * t.Mul[lane(j)]
			t.C[i*t.LDC+j] = byte(int32(RNE(min(t.Hi, max(t.Lo, v)))) + t.Zero)
		}
	}`
	switch end {
	case i8Slope:
		doc = name + ` is i8Gemm6x16AVX2 with a slope below zero:

	if v < 0 {
		v *= t.Slope[lane(j)]
	}`
	case i8Sums:
		doc = name + ` is i8Gemm6x16AVX2 without its ends:

	t.Sums[i*16+lane(j)] = acc`
	}
	function(c, name, "func(t *I8Tile)", doc, "I8Tile")
	t := reg.R14
	c.Load(c.Param("t"), t)
	rows, left := reg.R13, reg.R15
	c.MOVQ(mem(t, iRows), rows)
	c.MOVQ(mem(t, iM), left)
	c.Label("loop")
	c.CMPQ(left, operand.U8(6))
	c.JLT(operand.LabelRef("tail"))
	i8GemmBody(c, 6, wide, end)
	c.JMP(operand.LabelRef("loop"))
	c.Label("tail")
	for m := 5; m > 0; m-- {
		c.CMPQ(left, operand.U8(m))
		c.JEQ(operand.LabelRef(fmt.Sprintf("m%d", m)))
	}
	c.VZEROUPPER()
	c.RET()
	for m := 5; m > 0; m-- {
		c.Label(fmt.Sprintf("m%d", m))
		i8GemmBody(c, m, wide, end)
		c.VZEROUPPER()
		c.RET()
	}
}

func i8GemmBody(c *build.Context, m int, wide bool, end int) {
	l := func(s string) string { return fmt.Sprintf("%s%d", s, m) }
	t, rows, left := reg.R14, reg.R13, reg.R15
	p := []reg.Register{reg.RAX, reg.RCX, reg.RDX, reg.RDI, reg.R8, reg.R9}[:m]
	b, k, n, seg, segs := reg.RSI, reg.RBX, reg.R10, reg.R11, reg.R12
	acc := func(i, j int) reg.VecPhysical { return ymm[2*i+j] }
	w0, w1, bc, tmp := ymm[12], ymm[13], ymm[14], ymm[15]
	c.MOVQ(mem(t, iA), b)
	c.MOVQ(mem(t, iBias), k)
	for i, r := range p {
		c.MOVQ(mem(rows, 8*i), r)
		c.LEAQ(idx(b, r, 2), r)
		for j := range 2 {
			switch {
			case end == i8Sums:
				c.VPXOR(acc(i, j), acc(i, j), acc(i, j))
			case i == 0:
				c.VMOVDQU(mem(k, 32*j), acc(i, j))
			default:
				c.VMOVDQA(acc(0, j), acc(i, j))
			}
		}
	}
	c.ADDQ(operand.U8(8*m), rows)
	c.SUBQ(operand.U8(m), left)
	if wide {
		c.MOVQ(mem(t, iB), b)
	} else {
		c.MOVQ(mem(t, iB8), b)
	}
	c.MOVQ(mem(t, iOff), seg)
	c.MOVQ(mem(t, iSegs), segs)
	c.Label(l("seg"))
	c.MOVQ(mem(seg, 0), k)
	c.SHLQ(operand.U8(1), k)
	c.MOVQ(mem(t, iK), n)
	c.SHRQ(operand.U8(2), n)
	c.Label(l("k"))
	for h := range 2 {
		if wide {
			c.VMOVDQU(mem(b, 64*h), w0)
			c.VMOVDQU(mem(b, 64*h+32), w1)
		} else {
			c.VPMOVSXBW(mem(b, 32*h), w0)
			c.VPMOVSXBW(mem(b, 32*h+16), w1)
		}
		for i, r := range p {
			s := idx(r, k, 1)
			s.Disp = 4 * h
			c.VPBROADCASTD(s, bc)
			c.VPMADDWD(w0, bc, tmp)
			c.VPADDD(tmp, acc(i, 0), acc(i, 0))
			c.VPMADDWD(w1, bc, bc)
			c.VPADDD(bc, acc(i, 1), acc(i, 1))
		}
	}
	c.ADDQ(operand.U8(8), k)
	if wide {
		c.SUBQ(operand.I8(-128), b)
	} else {
		c.ADDQ(operand.U8(64), b)
	}
	c.DECQ(n)
	c.JNZ(operand.LabelRef(l("k")))
	c.ADDQ(operand.U8(8), seg)
	c.DECQ(segs)
	c.JNZ(operand.LabelRef(l("seg")))

	if end == i8Sums {
		c.MOVQ(mem(t, iSums), k)
		for i := range m {
			c.VMOVDQU(acc(i, 0), mem(k, 64*i))
			c.VMOVDQU(acc(i, 1), mem(k, 64*i+32))
		}
		c.ADDQ(operand.U32(64*m), k)
		c.MOVQ(k, mem(t, iSums))
		return
	}
	c.MOVQ(mem(t, iMul), n)
	if end == i8Slope {
		c.MOVQ(mem(t, iSlope), k)
	}
	for j := range 2 {
		c.VMOVUPS(mem(n, 32*j), bc)
		if end == i8Slope {
			c.VMOVUPS(mem(k, 32*j), w0)
		}
		for i := range m {
			a := acc(i, j)
			c.VCVTDQ2PS(a, a)
			c.VMULPS(bc, a, a)
			if end == i8Slope { // -0 counts as below: it stays zero
				c.VMULPS(w0, a, tmp)
				c.VBLENDVPS(a, tmp, a, a)
			}
		}
	}
	i8Store(c, t, iLo, iHi, iZero, iC, iLDC, m, acc, w0, w1, bc)
}

// i8Store limits, rounds and stores m rows of two registers, and moves the pointer in the
// struct behind them. What is too large is limited before it becomes an integer, what is too
// small after: it converts to the least integer, and the words saturate.
func i8Store(c *build.Context, t reg.Register, lo, hi, zero, cp, ldc, m int, acc func(i, j int) reg.VecPhysical, r0, r1, r2 reg.VecPhysical) {
	c.VBROADCASTSS(mem(t, hi), r1)
	for i := range m {
		for j := range 2 {
			a := acc(i, j)
			c.VMINPS(r1, a, a)
			c.VCVTPS2DQ(a, a)
		}
	}
	c.VBROADCASTSS(mem(t, lo), r0)
	c.VCVTPS2DQ(r0, r0)
	c.VPACKSSDW(r0, r0, r0)
	c.VPBROADCASTW(mem(t, zero), r1)
	lowBytes(c, r2)
	for i := range m {
		a := acc(i, 0)
		c.VPACKSSDW(acc(i, 1), a, a)
		c.VPMAXSW(r0, a, a)
		c.VPADDW(r1, a, a)
		c.VPAND(r2, a, a)
	}
	c.MOVQ(mem(t, cp), reg.RAX)
	c.MOVQ(mem(t, ldc), reg.RCX)
	for i := 0; i < m; i += 2 {
		a := acc(i, 0)
		c.VPACKUSWB(acc(min(i+1, m-1), 0), a, a)
		c.VPERMQ(operand.U8(0xd8), a, a)
		c.VMOVDQU(a.(reg.Vec).AsX(), mem(reg.RAX, 0))
		if i+1 < m {
			c.VEXTRACTI128(operand.U8(1), a, idx(reg.RAX, reg.RCX, 1))
			c.ADDQ(reg.RCX, reg.RAX)
		}
		c.ADDQ(reg.RCX, reg.RAX)
	}
	c.MOVQ(reg.RAX, mem(t, cp))
}

func i8Depthwise(c *build.Context) {
	function(c, "i8DW4x16AVX2", "func(t *I8Depthwise)", `i8DW4x16AVX2 computes a row of pixels of 16 channels:

	for p := range t.Pixels {
		for c := range 16 {
			acc := t.Bias[lane(c)]
			for i, off := range t.Off {
				acc += t.X[p*t.RSX+off+c] * t.W[(i/2*16+lane(c))*2+i%2]
			}
			v := float32(acc) * t.Mul[lane(c)]
			t.Y[p*t.LDY+c] = byte(int32(RNE(min(t.Hi, max(t.Lo, v)))) + t.Zero)
		}
	}`, "I8Depthwise")
	t := reg.R14
	c.Load(c.Param("t"), t)
	x, rsx, left := reg.R8, reg.R9, reg.R15
	c.MOVQ(mem(t, jX), x)
	c.MOVQ(mem(t, jRSX), rsx)
	c.SHLQ(operand.U8(1), rsx)
	c.MOVQ(mem(t, jPixels), left)
	w0, w1, a, b, lo := ymm[8], ymm[9], ymm[10], ymm[11], ymm[12]
	acc := func(i, j int) reg.VecPhysical { return ymm[2*i+j] }
	for _, group := range []int{4, 1} {
		l := func(s string) string { return fmt.Sprintf("%s%d", s, group) }
		p := []reg.Register{reg.RAX, reg.RCX, reg.RDX, reg.RDI}[:group]
		tap, off0, off1, wp, n := reg.R13, reg.R11, reg.R12, reg.RBX, reg.R10
		c.Label(l("pixels"))
		c.CMPQ(left, operand.U8(group))
		c.JLT(operand.LabelRef(l("done")))
		c.MOVQ(mem(t, jBias), tap)
		for i, r := range p {
			c.MOVQ(x, r)
			c.ADDQ(rsx, x)
			for j := range 2 {
				if i == 0 {
					c.VMOVDQU(mem(tap, 32*j), acc(i, j))
				} else {
					c.VMOVDQA(acc(0, j), acc(i, j))
				}
			}
		}
		c.MOVQ(mem(t, jOff), tap)
		c.MOVQ(mem(t, jW), wp)
		c.MOVQ(mem(t, jTaps), n)
		c.SHRQ(operand.U8(1), n)
		c.Label(l("taps"))
		c.MOVQ(mem(tap, 0), off0)
		c.MOVQ(mem(tap, 8), off1)
		c.VMOVDQU(mem(wp, 0), w0)
		c.VMOVDQU(mem(wp, 32), w1)
		for i, r := range p {
			c.VMOVDQU(idx(r, off0, 2), a)
			c.VMOVDQU(idx(r, off1, 2), b)
			c.VPUNPCKLWD(b, a, lo)
			c.VPUNPCKHWD(b, a, a)
			c.VPMADDWD(w0, lo, lo)
			c.VPMADDWD(w1, a, a)
			c.VPADDD(lo, acc(i, 0), acc(i, 0))
			c.VPADDD(a, acc(i, 1), acc(i, 1))
		}
		c.ADDQ(operand.U8(16), tap)
		c.ADDQ(operand.U8(64), wp)
		c.DECQ(n)
		c.JNZ(operand.LabelRef(l("taps")))
		c.MOVQ(mem(t, jMul), n)
		for j := range 2 {
			c.VMOVUPS(mem(n, 32*j), a)
			for i := range group {
				r := acc(i, j)
				c.VCVTDQ2PS(r, r)
				c.VMULPS(a, r, r)
			}
		}
		i8Store(c, t, jLo, jHi, jZero, jY, jLDY, group, acc, w0, w1, a)
		c.SUBQ(operand.U8(group), left)
		c.JMP(operand.LabelRef(l("pixels")))
		c.Label(l("done"))
	}
	c.VZEROUPPER()
	c.RET()
}

func i8Widen(c *build.Context) {
	function(c, "i8WidenAVX2", "func(dst []int16, src []byte, flip, zero uint64)", `i8WidenAVX2 is, for i below a multiple of 16 that is at most len(src):

	dst[i] = int16(src[i]^byte(flip)) - int16(zero)`)
	d, s, n := reg.RDI, reg.RSI, reg.RCX
	c.Load(c.Param("dst").Base(), d)
	c.Load(c.Param("src").Base(), s)
	c.Load(c.Param("src").Len(), n)
	c.Load(c.Param("flip"), reg.RAX)
	c.Load(c.Param("zero"), reg.RBX)
	flip, zero, a := ymm[0], ymm[1], ymm[2]
	c.VMOVQ(reg.RAX, flip.(reg.Vec).AsX())
	c.VPBROADCASTB(flip.(reg.Vec).AsX(), flip)
	c.VMOVQ(reg.RBX, zero.(reg.Vec).AsX())
	c.VPBROADCASTW(zero.(reg.Vec).AsX(), zero)
	c.SHRQ(operand.U8(4), n)
	c.JZ(operand.LabelRef("done"))
	c.Label("loop")
	c.VPXOR(mem(s, 0), flip.(reg.Vec).AsX(), a.(reg.Vec).AsX())
	c.VPMOVZXBW(a.(reg.Vec).AsX(), a)
	c.VPSUBW(zero, a, a)
	c.VMOVDQU(a, mem(d, 0))
	c.ADDQ(operand.U8(16), s)
	c.ADDQ(operand.U8(32), d)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("loop"))
	c.Label("done")
	c.VZEROUPPER()
	c.RET()
}

func i8Max(c *build.Context, name string, max func(...operand.Op)) {
	function(c, name, "func(t *I8Max)", name+` is the largest of the taps, for blocks of 16 channels of a row of pixels:

	for b := range t.Blocks {
		for p := range t.Pixels {
			for c := b*16; c < b*16+16; c++ {
				m := t.X[p*t.RSX+t.Off[0]+c]
				for _, off := range t.Off[1:] {
					m = max(m, t.X[p*t.RSX+off+c])
				}
				t.Y[p*t.LDY+c] = m
			}
		}
	}`, "I8Max")
	t := reg.R14
	c.Load(c.Param("t"), t)
	x, y, px, py, left, blocks, tap, n, off := reg.RSI, reg.RDI, reg.RAX, reg.RCX, reg.RDX, reg.R8, reg.R9, reg.R10, reg.R11
	rsx, ldy := reg.R12, reg.R13
	c.MOVQ(mem(t, mX), x)
	c.MOVQ(mem(t, mY), y)
	c.MOVQ(mem(t, mRSX), rsx)
	c.MOVQ(mem(t, mLDY), ldy)
	c.MOVQ(mem(t, mBlocks), blocks)
	c.Label("block")
	c.MOVQ(x, px)
	c.MOVQ(y, py)
	c.MOVQ(mem(t, mPixels), left)
	c.Label("pixel")
	c.MOVQ(mem(t, mOff), tap)
	c.MOVQ(mem(t, mTaps), n)
	c.MOVQ(mem(tap, 0), off)
	c.VMOVDQU(idx(px, off, 1), reg.X0)
	c.JMP(operand.LabelRef("next"))
	c.Label("tap")
	c.MOVQ(mem(tap, 0), off)
	max(idx(px, off, 1), reg.X0, reg.X0)
	c.Label("next")
	c.ADDQ(operand.U8(8), tap)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("tap"))
	c.VMOVDQU(reg.X0, mem(py, 0))
	c.ADDQ(rsx, px)
	c.ADDQ(ldy, py)
	c.DECQ(left)
	c.JNZ(operand.LabelRef("pixel"))
	c.ADDQ(operand.U8(16), x)
	c.ADDQ(operand.U8(16), y)
	c.DECQ(blocks)
	c.JNZ(operand.LabelRef("block"))
	c.VZEROUPPER()
	c.RET()
}

// pack16 turns sixteen int32 in order into bytes of x.
func pack16(c *build.Context, a, b, bits reg.VecPhysical) {
	c.VPACKSSDW(b, a, a)
	c.VPERMQ(operand.U8(0xd8), a, a)
	c.VPAND(bits, a, a)
	c.VPACKUSWB(a, a, a)
	c.VPERMQ(operand.U8(0x08), a, a)
}

// i8Sum limits words after they are rounded, which is the same as long as sums fit an int32.
func i8Sum(c *build.Context) {
	function(c, "i8SumAVX2", "func(t *I8Sum)", `i8SumAVX2 is, for i below a multiple of 32 that is at most t.N, where sums fit int32:

	a := float32(int32(t.A[i]^byte(t.Flip)) - t.ZA) * t.MA
	b := float32(int32(t.B[i]^byte(t.Flip>>8)) - t.ZB) * t.MB
	t.Y[i] = byte(int32(RNE(min(t.Hi, max(t.Lo, a + b)))) + t.Zero)`, "I8Sum")
	order := c.StaticGlobal("i8SumOrder")
	c.DataAttributes(attr.RODATA | attr.NOPTR)
	for _, k := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} { // words of four bytes after two packings of lanes
		c.AppendDatum(operand.U32(k))
	}
	t := reg.R14
	c.Load(c.Param("t"), t)
	a, b, y, n := reg.RAX, reg.RBX, reg.RDI, reg.RCX
	c.MOVQ(mem(t, sA), a)
	c.MOVQ(mem(t, sB), b)
	c.MOVQ(mem(t, sY), y)
	c.MOVQ(mem(t, sN), n)
	v := ymm[8]
	lo, hi, zero, za, zb, ma, mb := ymm[9], ymm[10], ymm[11], ymm[12], ymm[13], ymm[14], ymm[15]
	c.VPBROADCASTD(mem(t, sZA), za)
	c.VPBROADCASTD(mem(t, sZB), zb)
	c.VBROADCASTSS(mem(t, sMA), ma)
	c.VBROADCASTSS(mem(t, sMB), mb)
	c.VPBROADCASTW(mem(t, sZero), zero)
	for _, l := range []struct {
		at int
		r  reg.VecPhysical
	}{{sLo, lo}, {sHi, hi}} {
		c.VBROADCASTSS(mem(t, l.at), l.r)
		c.VCVTPS2DQ(l.r, l.r)
		c.VPACKSSDW(l.r, l.r, l.r)
	}
	c.SHRQ(operand.U8(5), n)
	c.JZ(operand.LabelRef("done"))
	loop := func(name string, load func(p reg.Register, j, flip int, r reg.VecPhysical)) {
		c.Label(name)
		for j := range 4 {
			u := ymm[j]
			load(a, j, 0, u)
			load(b, j, 1, v)
			c.VPSUBD(za, u, u)
			c.VPSUBD(zb, v, v)
			c.VCVTDQ2PS(u, u)
			c.VCVTDQ2PS(v, v)
			c.VMULPS(ma, u, u)
			c.VMULPS(mb, v, v)
			c.VADDPS(v, u, u)
			c.VCVTPS2DQ(u, u)
		}
		for j := range 2 {
			u := ymm[j]
			c.VPACKSSDW(ymm[2*j+1], ymm[2*j], u)
			c.VPMAXSW(lo, u, u)
			c.VPMINSW(hi, u, u)
			c.VPADDW(zero, u, u)
			c.VPAND(ymm[7], u, u)
		}
		c.VPACKUSWB(ymm[1], ymm[0], ymm[0])
		c.VPERMD(ymm[0], ymm[6], ymm[0])
		c.VMOVDQU(ymm[0], mem(y, 0))
		for _, r := range []reg.Register{a, b, y} {
			c.ADDQ(operand.U8(32), r)
		}
		c.DECQ(n)
		c.JNZ(operand.LabelRef(name))
	}
	c.VMOVDQU(order, ymm[6])
	lowBytes(c, ymm[7])
	c.MOVQ(mem(t, sFlip), reg.RDX)
	c.TESTQ(reg.RDX, reg.RDX)
	c.JNZ(operand.LabelRef("flips"))
	loop("loop", func(p reg.Register, j, _ int, r reg.VecPhysical) { c.VPMOVZXBD(mem(p, 8*j), r) })
	c.JMP(operand.LabelRef("done"))
	c.Label("flips")
	flips := []reg.VecPhysical{reg.X4, reg.X5}
	for i, f := range flips {
		c.VPBROADCASTB(mem(t, sFlip+i), f)
	}
	loop("flipped", func(p reg.Register, j, flip int, r reg.VecPhysical) {
		c.VMOVQ(mem(p, 8*j), r.AsX())
		c.VPXOR(flips[flip], r.AsX(), r.AsX())
		c.VPMOVZXBD(r.AsX(), r)
	})
	c.Label("done")
	c.VZEROUPPER()
	c.RET()
}

// i8Product makes two int32 of the low and the high words of products, in the order that packing undoes, and limits as i8Store does.
func i8Product(c *build.Context) {
	function(c, "i8ProductAVX2", "func(t *I8Product)", `i8ProductAVX2 is, for p < t.Pixels, at least 1, and c below a multiple of 16 that is at most t.N:

	a := int32(t.A[p*t.StepA+c]^byte(t.Flip)) - t.ZA
	b := int32(t.B[p*t.StepB+c]^byte(t.Flip>>8)) - t.ZB
	t.Y[p*t.StepY+c] = byte(int32(RNE(min(t.Hi, max(t.Lo, float32(a*b) * t.Mul)))) + t.Zero)`, "I8Product")
	t := reg.R14
	c.Load(c.Param("t"), t)
	a, b, y, n := reg.RAX, reg.RBX, reg.RDI, reg.RCX
	stepA, stepB, stepY, pixels := reg.R8, reg.R9, reg.R10, reg.R11
	for i, r := range []reg.Register{a, b, y, stepA, stepB, stepY, pixels, n} {
		c.MOVQ(mem(t, []int{prodA, prodB, prodY, prodStepA, prodStepB, prodStepY, prodPixels, prodN}[i]), r)
	}
	za, zb, mul, lo, hi, zero, bits := ymm[15], ymm[14], ymm[13], ymm[12], ymm[11], ymm[10], ymm[9]
	fa, fb := reg.X8, reg.X7
	c.VPBROADCASTW(mem(t, prodZA), za)
	c.VPBROADCASTW(mem(t, prodZB), zb)
	c.VBROADCASTSS(mem(t, prodMul), mul)
	c.VBROADCASTSS(mem(t, prodLo), lo)
	c.VCVTPS2DQ(lo, lo)
	c.VPACKSSDW(lo, lo, lo)
	c.VBROADCASTSS(mem(t, prodHi), hi)
	c.VPBROADCASTW(mem(t, prodZero), zero)
	lowBytes(c, bits)
	c.VPBROADCASTB(mem(t, prodFlip), fa)
	c.VPBROADCASTB(mem(t, prodFlip+1), fb)
	c.SHRQ(operand.U8(4), n)
	c.JZ(operand.LabelRef("done"))
	at, left := reg.RDX, reg.RSI
	c.Label("pixel")
	c.XORQ(at, at)
	c.MOVQ(n, left)
	c.Label("loop")
	u, v, h := ymm[0], ymm[1], ymm[2]
	c.VPXOR(idx(a, at, 1), fa, u.AsX())
	c.VPXOR(idx(b, at, 1), fb, v.AsX())
	c.VPMOVZXBW(u.AsX(), u)
	c.VPMOVZXBW(v.AsX(), v)
	c.VPSUBW(za, u, u)
	c.VPSUBW(zb, v, v)
	c.VPMULHW(v, u, h)
	c.VPMULLW(v, u, v)
	c.VPUNPCKLWD(h, v, u)
	c.VPUNPCKHWD(h, v, v)
	for _, r := range []reg.VecPhysical{u, v} {
		c.VCVTDQ2PS(r, r)
		c.VMULPS(mul, r, r)
		c.VMINPS(hi, r, r)
		c.VCVTPS2DQ(r, r)
	}
	c.VPACKSSDW(v, u, u)
	c.VPMAXSW(lo, u, u)
	c.VPADDW(zero, u, u)
	c.VPAND(bits, u, u)
	c.VPACKUSWB(u, u, u)
	c.VPERMQ(operand.U8(0x08), u, u)
	c.VMOVDQU(u.AsX(), idx(y, at, 1))
	c.ADDQ(operand.U8(16), at)
	c.DECQ(left)
	c.JNZ(operand.LabelRef("loop"))
	c.ADDQ(stepA, a)
	c.ADDQ(stepB, b)
	c.ADDQ(stepY, y)
	c.DECQ(pixels)
	c.JNZ(operand.LabelRef("pixel"))
	c.Label("done")
	c.VZEROUPPER()
	c.RET()
}

// broadcastParam fills r with a float32 parameter. Context.Load would use MOVSS, and instructions of SSE while
// upper halves of registers are in use cost hundreds of cycles.
func broadcastParam(c *build.Context, name string, r reg.VecPhysical) {
	p, err := c.Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	c.VBROADCASTSS(p.Addr, r)
}

// quotients leaves in u the eight values at m over scale, within lo and hi and rounded; not a number is 0.
func quotients(c *build.Context, m operand.Mem, u, ordered, scale, lo, hi reg.VecPhysical) {
	c.VMOVUPS(m, u)
	c.VDIVPS(scale, u, u)
	c.VCMPPS(operand.U8(7), u, u, ordered)
	c.VANDPS(ordered, u, u)
	c.VMAXPS(lo, u, u)
	c.VMINPS(hi, u, u)
	c.VCVTPS2DQ(u, u)
}

func i8Quantize(c *build.Context) {
	function(c, "i8QuantizeAVX2", "func(dst []byte, src []float32, scale, lo, hi float32, zero int32)", `i8QuantizeAVX2 is, for i below a multiple of 16 that is at most len(src):

	dst[i] = byte(int32(RNE(min(hi, max(lo, src[i] / scale)))) + zero)

where a quotient of NaN counts as 0.`)
	d, s, n := reg.RDI, reg.RSI, reg.RCX
	c.Load(c.Param("dst").Base(), d)
	c.Load(c.Param("src").Base(), s)
	c.Load(c.Param("src").Len(), n)
	scale, lo, hi, zero, bits := ymm[8], ymm[9], ymm[10], ymm[11], ymm[12]
	for i, r := range []reg.VecPhysical{scale, lo, hi} {
		broadcastParam(c, []string{"scale", "lo", "hi"}[i], r)
	}
	c.Load(c.Param("zero"), reg.EAX)
	c.VMOVD(reg.EAX, reg.X11)
	c.VPBROADCASTD(reg.X11, zero)
	lowBytes(c, bits)
	c.SHRQ(operand.U8(4), n)
	c.JZ(operand.LabelRef("done"))
	c.Label("loop")
	for j := range 2 {
		quotients(c, mem(s, 32*j), ymm[j], ymm[2+j], scale, lo, hi)
		c.VPADDD(zero, ymm[j], ymm[j])
	}
	pack16(c, ymm[0], ymm[1], bits)
	c.VMOVDQU(reg.X0, mem(d, 0))
	c.ADDQ(operand.U8(16), d)
	c.ADDQ(operand.U8(64), s)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("loop"))
	c.Label("done")
	c.VZEROUPPER()
	c.RET()
}

func i8Dequantize(c *build.Context) {
	function(c, "i8DequantizeAVX2", "func(dst []float32, src []byte, flip, zero uint64, scale float32)", `i8DequantizeAVX2 is, for i below a multiple of 8 that is at most len(src):

	dst[i] = float32(int32(src[i]^byte(flip)) - int32(zero)) * scale`)
	d, s, n := reg.RDI, reg.RSI, reg.RCX
	c.Load(c.Param("dst").Base(), d)
	c.Load(c.Param("src").Base(), s)
	c.Load(c.Param("src").Len(), n)
	c.Load(c.Param("flip"), reg.RAX)
	c.Load(c.Param("zero"), reg.RBX)
	broadcastParam(c, "scale", reg.Y2)
	c.VMOVQ(reg.RAX, reg.X0)
	c.VPBROADCASTB(reg.X0, reg.X0)
	c.VMOVQ(reg.RBX, reg.X1)
	c.VPBROADCASTD(reg.X1, reg.Y1)
	c.SHRQ(operand.U8(3), n)
	c.JZ(operand.LabelRef("done"))
	c.Label("loop")
	c.VMOVQ(mem(s, 0), reg.X3)
	c.VPXOR(reg.X0, reg.X3, reg.X3)
	c.VPMOVZXBD(reg.X3, reg.Y3)
	c.VPSUBD(reg.Y1, reg.Y3, reg.Y3)
	c.VCVTDQ2PS(reg.Y3, reg.Y3)
	c.VMULPS(reg.Y2, reg.Y3, reg.Y3)
	c.VMOVUPS(reg.Y3, mem(d, 0))
	c.ADDQ(operand.U8(8), s)
	c.ADDQ(operand.U8(32), d)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("loop"))
	c.Label("done")
	c.VZEROUPPER()
	c.RET()
}

func i8Widen16(c *build.Context) {
	function(c, "i8Widen16AVX2", "func(dst []int16, src []byte, pixels, stride int, flip, zero uint64)", `i8Widen16AVX2 is, for p < pixels and i < 16:

	dst[16*p+i] = int16(src[p*stride+i]^byte(flip)) - int16(zero)`)
	d, s, n, stride := reg.RDI, reg.RSI, reg.RCX, reg.RDX
	c.Load(c.Param("dst").Base(), d)
	c.Load(c.Param("src").Base(), s)
	c.Load(c.Param("pixels"), n)
	c.Load(c.Param("stride"), stride)
	c.Load(c.Param("flip"), reg.RAX)
	c.Load(c.Param("zero"), reg.RBX)
	c.VMOVQ(reg.RAX, reg.X0)
	c.VPBROADCASTB(reg.X0, reg.X0)
	c.VMOVQ(reg.RBX, reg.X1)
	c.VPBROADCASTW(reg.X1, reg.Y1)
	c.TESTQ(n, n)
	c.JZ(operand.LabelRef("done"))
	c.Label("loop")
	c.VPXOR(mem(s, 0), reg.X0, reg.X2)
	c.VPMOVZXBW(reg.X2, reg.Y2)
	c.VPSUBW(reg.Y1, reg.Y2, reg.Y2)
	c.VMOVDQU(reg.Y2, mem(d, 0))
	c.ADDQ(stride, s)
	c.ADDQ(operand.U8(32), d)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("loop"))
	c.Label("done")
	c.VZEROUPPER()
	c.RET()
}

// i8Tables has a table a channel: scalar, eight channels at a time.
func i8Tables(c *build.Context) {
	function(c, "i8TablesAVX2", "func(dst, src, tables []byte, pixels, dstStride, srcStride, channels int)", `i8TablesAVX2 is, for p < pixels and c < channels:

	dst[p*dstStride+c] = tables[256*c+src[p*srcStride+c]]`)
	d, s, t, n, ds, ss, ch := reg.RDI, reg.RSI, reg.RBX, reg.RCX, reg.R8, reg.R9, reg.R10
	c.Load(c.Param("dst").Base(), d)
	c.Load(c.Param("src").Base(), s)
	c.Load(c.Param("tables").Base(), t)
	c.Load(c.Param("pixels"), n)
	c.Load(c.Param("dstStride"), ds)
	c.Load(c.Param("srcStride"), ss)
	c.Load(c.Param("channels"), ch)
	at, tab, last := reg.R11, reg.R12, reg.R13
	regs := []reg.GPPhysical{reg.RAX, reg.RDX}
	c.Label("pixel")
	c.XORQ(at, at)
	c.MOVQ(t, tab)
	c.Label("eight")
	c.LEAQ(mem(at, 8), last)
	c.CMPQ(last, ch)
	c.JGT(operand.LabelRef("one"))
	for k := range 8 {
		r := regs[k%2]
		p := idx(s, at, 1)
		p.Disp = k
		c.MOVBQZX(p, r)
		q := idx(tab, r, 1)
		q.Disp = 256 * k
		c.MOVBQZX(q, r)
		p.Base = d
		c.MOVB(r.As8(), p)
	}
	c.ADDQ(operand.U32(2048), tab)
	c.MOVQ(last, at)
	c.JMP(operand.LabelRef("eight"))
	c.Label("one")
	c.CMPQ(at, ch)
	c.JGE(operand.LabelRef("next"))
	c.MOVBQZX(idx(s, at, 1), reg.RAX)
	c.MOVBQZX(idx(tab, reg.RAX, 1), reg.RAX)
	c.MOVB(reg.AL, idx(d, at, 1))
	c.ADDQ(operand.U32(256), tab)
	c.INCQ(at)
	c.JMP(operand.LabelRef("one"))
	c.Label("next")
	c.ADDQ(ds, d)
	c.ADDQ(ss, s)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("pixel"))
	c.RET()
}
