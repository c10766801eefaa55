package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kern.Codes that the kernels read; a test of package kern
// checks them.
const (
	cdX     = 0
	cdLDX   = 24
	cdM     = 32
	cdK     = 40
	cdW     = 48
	cdTable = 72
	cdScale = 96
	cdZero  = 120
	cdY     = 144
	cdAcc   = 169
)

func init() {
	for _, f := range []struct{ form, name, doc string }{
		{"4", "f32Codes4AVX2", "t.Table[t.W[(k/8*16+n)*4+k%8/2]>>(k%2*4)&15]"},
		{"i8", "f32CodesI8AVX2", "float32(int32(int8(t.W[k*16+n]))-t.Zero[n]) * t.Scale[n]"},
		{"u8", "f32CodesU8AVX2", "float32(int32(t.W[k*16+n])-t.Zero[n]) * t.Scale[n]"},
		{"i4", "f32CodesI4AVX2", "float32(int32(int8(t.W[(k/8*16+n)*4+k%8/2]>>(k%2*4)<<4)>>4)-t.Zero[n]) * t.Scale[n]"},
		{"u4", "f32CodesU4AVX2", "float32(int32(t.W[(k/8*16+n)*4+k%8/2]>>(k%2*4)&15)-t.Zero[n]) * t.Scale[n]"},
	} {
		kernels = append(kernels, kernel{"f32_codes" + f.form + "_avx2", func(c *build.Context) { codes(c, f.form, f.name, f.doc) }})
	}
}

// codes multiplies up to 4 rows with a panel of 16 columns whose weights are decoded in
// registers.
func codes(c *build.Context, form, name, doc string) {
	function(c, name, "func(t *Codes)", fmt.Sprintf(`%s computes up to 4 rows of a product with 16 columns:

	for m := range t.M {
		for n := range 16 {
			acc := 0, or t.Y[m*16+n] if t.Acc
			for k := range t.K {
				acc = fma(t.X[m*t.LDX+k], w(k, n), acc)
			}
			t.Y[m*16+n] = acc
		}
	}

where w(k, n) is

	%s`, name, doc), "Codes")
	t, w, table, y, n, x := reg.R14, reg.R8, reg.R9, reg.R10, reg.RCX, reg.RBX
	ptr := []reg.Register{reg.RSI, reg.RDI, reg.R11, reg.R12}
	c.Load(c.Param("t"), t)
	c.MOVQ(mem(t, cdX), ptr[0])
	c.MOVQ(mem(t, cdLDX), x)
	c.SHLQ(operand.U8(2), x)
	for i := 1; i < 4; i++ {
		c.LEAQ(idx(ptr[i-1], x, 1), ptr[i])
	}
	c.MOVQ(mem(t, cdW), w)
	c.MOVQ(mem(t, cdTable), table)
	c.MOVQ(mem(t, cdY), y)
	c.MOVQ(mem(t, cdK), n)
	nibbles := form == "4" || form == "i4" || form == "u4"
	if nibbles {
		c.SHRQ(operand.U8(3), n)
	}
	c.MOVQ(mem(t, cdM), reg.RAX)
	for m := 1; m < 4; m++ {
		c.CMPQ(reg.RAX, operand.U8(m))
		c.JEQ(operand.LabelRef(fmt.Sprintf("m%d", m)))
	}
	for _, m := range []int{4, 1, 2, 3} {
		l := fmt.Sprintf("m%d", m)
		acc := func(i, j int) reg.VecPhysical { return ymm[2*i+j] }
		v, tmp := ymm[8:10], ymm[10:16]
		c.Label(l)
		for i := range 2 * m {
			c.VXORPS(ymm[i], ymm[i], ymm[i])
		}
		c.CMPB(mem(t, cdAcc), operand.U8(0))
		c.JEQ(operand.LabelRef(l + "zero"))
		for i := range m {
			for j := range 2 {
				c.VMOVUPS(mem(y, 64*i+32*j), acc(i, j))
			}
		}
		c.Label(l + "zero")
		multiply := func(j, k int) {
			for i := range m {
				c.VBROADCASTSS(mem(ptr[i], 4*k), tmp[5])
				c.VFMADD231PS(tmp[5], v[j], acc(i, j))
			}
		}
		step := 1
		switch form {
		case "4":
			c.VMOVUPS(mem(table, 0), tmp[0])
			c.VMOVUPS(mem(table, 32), tmp[1])
		default:
			c.MOVQ(mem(t, cdScale), x)
			c.MOVQ(mem(t, cdZero), reg.RAX)
			for j := range 2 {
				c.VMOVUPS(mem(x, 32*j), tmp[j])
				c.VMOVDQU(mem(reg.RAX, 32*j), tmp[2+j])
			}
		}
		c.Label(l + "k")
		switch form {
		case "4":
			step = 8
			// A lane holds 8 indices of its column; they move down by one a step.
			for j := range 2 {
				c.VMOVDQU(mem(w, 32*j), v[j])
			}
			for k := range 8 {
				for j := range 2 {
					c.VPERMPS(tmp[0], v[j], tmp[2])
					c.VPERMPS(tmp[1], v[j], tmp[3])
					c.VPSLLD(operand.U8(28), v[j], tmp[4])
					c.VBLENDVPS(tmp[4], tmp[3], tmp[2], tmp[2])
					if k < 7 {
						c.VPSRLD(operand.U8(4), v[j], v[j])
					}
					for i := range m {
						c.VBROADCASTSS(mem(ptr[i], 4*k), tmp[5])
						c.VFMADD231PS(tmp[5], tmp[2], acc(i, j))
					}
				}
			}
			c.ADDQ(operand.U8(64), w)
		case "i4", "u4":
			step = 8
			for j := range 2 {
				c.VMOVDQU(mem(w, 32*j), v[j])
			}
			for k := range 8 {
				for j := range 2 {
					from := v[j]
					if k < 7 {
						c.VPSLLD(operand.U8(28-4*k), v[j], tmp[4])
						from = tmp[4]
					}
					if form == "i4" {
						c.VPSRAD(operand.U8(28), from, tmp[4])
					} else {
						c.VPSRLD(operand.U8(28), from, tmp[4])
					}
					c.VPSUBD(tmp[2+j], tmp[4], tmp[4])
					c.VCVTDQ2PS(tmp[4], tmp[4])
					c.VMULPS(tmp[j], tmp[4], tmp[4])
					for i := range m {
						c.VBROADCASTSS(mem(ptr[i], 4*k), tmp[5])
						c.VFMADD231PS(tmp[5], tmp[4], acc(i, j))
					}
				}
			}
			c.ADDQ(operand.U8(64), w)
		default:
			for j := range 2 {
				if form == "i8" {
					c.VPMOVSXBD(mem(w, 8*j), v[j])
				} else {
					c.VPMOVZXBD(mem(w, 8*j), v[j])
				}
				c.VPSUBD(tmp[2+j], v[j], v[j])
				c.VCVTDQ2PS(v[j], v[j])
				c.VMULPS(tmp[j], v[j], v[j])
				multiply(j, 0)
			}
			c.ADDQ(operand.U8(16), w)
		}
		for i := range m {
			c.ADDQ(operand.U8(4*step), ptr[i])
		}
		c.DECQ(n)
		c.JNZ(operand.LabelRef(l + "k"))
		for i := range m {
			for j := range 2 {
				c.VMOVUPS(acc(i, j), mem(y, 64*i+32*j))
			}
		}
		c.VZEROUPPER()
		c.RET()
	}
}
