package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kern.DWPlanes that the kernels read; a test of package kern
// checks them.
const (
	dpX      = 0
	dpAt     = 24
	dpSPlane = 32
	dpW      = 40
	dpY      = 64
	dpDPlane = 88
	dpDRow   = 96
	dpPlanes = 104
	dpH      = 112
	dpWidth  = 120
	dpRows   = 128
	dpCols   = 136
	dpPH     = 144
	dpPW     = 152
	dpZero   = 160
	dpMasks  = 168
	dpFlags  = 176
	dpLo     = 184
	dpHi     = 188
	dpBias   = 192
	dpSlope  = 216
)

func init() {
	kernels = append(kernels,
		kernel{"f32_dwplanes_4x8_avx2", func(c *build.Context) { dwPlanes(c, "f32DWPlanes4x8AVX2", 1, 4) }},
		kernel{"f32_dwplanes2_2x8_avx2", func(c *build.Context) { dwPlanes(c, "f32DWPlanes2x2x8AVX2", 2, 2) }})
}

// dwPlanes computes rg rows of 8 outputs at a time; every input row is loaded once for
// all outputs that it meets.
func dwPlanes(c *build.Context, name string, stride, rg int) {
	function(c, name, "func(t *DWPlanes)", fmt.Sprintf(`%s computes planes of a 3x3 depthwise convolution of stride %d, %d rows
of 8 outputs at a time; the last rows and columns may be computed twice:

	for p := range t.Planes {
		for oy := range t.Rows {
			for ox := range t.Cols {
				acc := 0
				for i := range 3 {
					for j := range 3 {
						iy, ix := oy*%[2]d-t.PH+i, ox*%[2]d-t.PW+j // 0 where outside
						acc = fma(t.X[t.At+p*t.SPlane+iy*t.Width+ix], t.W[p*9+i*3+j], acc)
					}
				}
				acc += t.Bias[p]                      // with FlagCol
				acc = acc or, below 0, acc*t.Slope[p] // with FlagPRelu
				acc = min(t.Hi, max(t.Lo, acc))       // with FlagClamp; NaN stays
				t.Y[p*t.DPlane+oy*t.DRow+ox] = acc
			}
		}
	}`, name, stride, rg), "DWPlanes")
	t := reg.R14
	rows := (rg-1)*stride + 3
	ptr := []reg.GPPhysical{reg.RBX, reg.RSI, reg.RDI, reg.R8, reg.R9, reg.R10}[:rows]
	x, left, right, y, ldy, ldy3, last, tmp := reg.RAX, reg.RCX, reg.RDX, reg.R11, reg.R12, reg.R13, reg.R15, reg.RBP
	w, acc, in := ymm[:9], ymm[9:9+rg], ymm[13:16]
	base, out, weights, bias, slope := c.AllocLocal(8), c.AllocLocal(8), c.AllocLocal(8), c.AllocLocal(8), c.AllocLocal(8)
	planes, row := c.AllocLocal(8), c.AllocLocal(8)
	c.Load(c.Param("t"), t)
	c.MOVQ(mem(t, dpX), x)
	c.MOVQ(mem(t, dpAt), tmp)
	c.SUBQ(mem(t, dpPW), tmp)
	c.LEAQ(idx(x, tmp, 4), x)
	c.MOVQ(x, base)
	for _, m := range []struct {
		at int
		to operand.Mem
	}{{dpY, out}, {dpW, weights}, {dpBias, bias}, {dpSlope, slope}, {dpPlanes, planes}} {
		c.MOVQ(mem(t, m.at), x)
		c.MOVQ(x, m.to)
	}
	c.MOVQ(mem(t, dpDRow), ldy)
	c.SHLQ(operand.U8(2), ldy)
	c.LEAQ(idx(ldy, ldy, 2), ldy3)
	// The last vector of a row ends where the row does; a row of fewer than 8 is one vector.
	c.MOVQ(mem(t, dpCols), last)
	c.SUBQ(operand.U8(8), last)
	c.XORQ(tmp, tmp)
	c.TESTQ(last, last)
	c.CMOVQLT(tmp, last)

	c.Label("plane")
	c.MOVQ(weights, tmp)
	for i, r := range w {
		c.VBROADCASTSS(mem(tmp, 4*i), r)
	}
	c.XORQ(tmp, tmp)
	c.MOVQ(tmp, row)
	c.Label("rows")
	c.MOVQ(row, tmp)
	c.MOVQ(mem(t, dpRows), x)
	c.SUBQ(operand.U8(rg), x)
	c.CMPQ(tmp, x)
	c.CMOVQGT(x, tmp)
	c.MOVQ(tmp, y)
	c.IMULQ(ldy, y)
	c.ADDQ(out, y)
	if stride == 2 {
		c.SHLQ(operand.U8(1), tmp)
	}
	c.SUBQ(mem(t, dpPH), tmp)
	for i, p := range ptr {
		c.MOVQ(tmp, p)
		c.IMULQ(mem(t, dpWidth), p)
		c.SHLQ(operand.U8(2), p)
		c.ADDQ(base, p)
		// Rows outside are zero; below 0 is above H without sign.
		c.CMPQ(tmp, mem(t, dpH))
		c.CMOVQCC(mem(t, dpZero), p)
		if i+1 < rows {
			c.INCQ(tmp)
		}
	}
	c.MOVQ(mem(t, dpMasks), left)
	c.LEAQ(mem(left, 32), right)
	c.XORQ(x, x)
	c.Label("cols")
	c.CMPQ(x, last)
	c.JLT(operand.LabelRef("inner"))
	c.MOVQ(last, x)
	c.MOVQ(mem(t, dpMasks), right)
	c.ADDQ(operand.U8(64), right)
	c.Label("inner")
	for _, r := range acc {
		c.VXORPS(r, r, r)
	}
	for i, p := range ptr {
		at := func(k int) operand.Mem {
			return operand.Mem{Base: p, Index: x, Scale: uint8(4 * stride), Disp: 4 * k}
		}
		if stride == 1 {
			for j := range 3 {
				c.VMOVUPS(at(j), in[j])
			}
		} else { // even floats, odd floats, even floats from 2 on, as 0 1 4 5 2 3 6 7
			c.VMOVUPS(at(0), in[0])
			c.VMOVUPS(at(8), in[2])
			c.VSHUFPS(operand.U8(0xdd), in[2], in[0], in[1])
			c.VSHUFPS(operand.U8(0x88), in[2], in[0], in[0])
			c.VMOVUPS(at(2), in[2])
			c.VSHUFPS(operand.U8(0x88), at(10), in[2], in[2])
		}
		c.VANDPS(mem(left, 0), in[0], in[0])
		c.VANDPS(mem(right, 0), in[2], in[2])
		for j := range 3 {
			for r := range rg {
				if k := i - r*stride; k >= 0 && k < 3 {
					c.VFMADD231PS(in[j], w[3*k+j], acc[r])
				}
			}
		}
	}
	c.MOVQ(mem(t, dpFlags), tmp)
	c.TESTQ(operand.U32(fCol), tmp)
	c.JZ(operand.LabelRef("prelu"))
	c.MOVQ(bias, tmp)
	c.VBROADCASTSS(mem(tmp, 0), in[0])
	for _, r := range acc {
		c.VADDPS(in[0], r, r)
	}
	c.MOVQ(mem(t, dpFlags), tmp)
	c.Label("prelu")
	c.TESTQ(operand.U32(fPRelu), tmp)
	c.JZ(operand.LabelRef("clamp"))
	c.MOVQ(slope, tmp)
	c.VBROADCASTSS(mem(tmp, 0), in[0])
	for _, r := range acc {
		c.VMULPS(in[0], r, in[1])
		c.VBLENDVPS(r, in[1], r, r)
	}
	c.MOVQ(mem(t, dpFlags), tmp)
	c.Label("clamp")
	c.TESTQ(operand.U32(fClamp), tmp)
	c.JZ(operand.LabelRef("store"))
	c.VBROADCASTSS(mem(t, dpLo), in[0])
	c.VBROADCASTSS(mem(t, dpHi), in[1])
	for _, r := range acc {
		c.VMAXPS(r, in[0], r)
		c.VMINPS(r, in[1], r)
	}
	c.Label("store")
	c.LEAQ(idx(y, x, 4), tmp)
	for i, r := range acc {
		if stride == 2 {
			c.VPERMPD(operand.U8(0xd8), r, r)
		}
		c.VMOVUPS(r, []operand.Mem{mem(tmp, 0), idx(tmp, ldy, 1), idx(tmp, ldy, 2), idx(tmp, ldy3, 1)}[i])
	}
	c.MOVQ(mem(t, dpMasks), left)
	c.ADDQ(operand.U8(32), left)
	c.CMPQ(x, last)
	c.LEAQ(mem(x, 8), x)
	c.JLT(operand.LabelRef("cols"))
	c.MOVQ(row, tmp)
	c.ADDQ(operand.U8(rg), tmp)
	c.MOVQ(tmp, row)
	c.CMPQ(tmp, mem(t, dpRows))
	c.JLT(operand.LabelRef("rows"))
	for _, m := range []struct {
		at int
		to operand.Mem
	}{{dpSPlane, base}, {dpDPlane, out}} {
		c.MOVQ(mem(t, m.at), tmp)
		c.SHLQ(operand.U8(2), tmp)
		c.ADDQ(tmp, m.to)
	}
	c.ADDQ(operand.U8(36), weights)
	c.ADDQ(operand.U8(4), bias)
	c.ADDQ(operand.U8(4), slope)
	c.DECQ(planes)
	c.JNZ(operand.LabelRef("plane"))
	c.VZEROUPPER()
	c.RET()
}
