package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() {
	kernels = append(kernels,
		kernel{"i8_columns_16_avx2", i8Columns},
		kernel{"i8_ziprows_avx2", i8ZipRows},
		kernel{"i8_zipquads_avx2", i8ZipQuads},
		kernel{"i8_winofilters2_avx2", func(c *build.Context) { i8WinoFilters(c, 2, winoLine2) }},
		kernel{"i8_winofilters4_avx2", func(c *build.Context) { i8WinoFilters(c, 4, winoLine4) }})
}

// i8Columns holds rows r and r+8 in the halves of a register. Three rounds of interleaving registers that are four apart leave
// two columns in each half.
func i8Columns(c *build.Context) {
	function(c, "i8Columns16AVX2", "func(dst, src *byte, at *[16]int, n int, flip uint64, mask *byte)", `i8Columns16AVX2 turns sixteen rows round; n is at least 16:

	for i := range n {
		for r := range 16 {
			dst[16*i+r] = (src[at[r]+i] ^ byte(flip)) & mask[r]
		}
	}`)
	d, s, at, n, m, i, o := reg.RDI, reg.RSI, reg.RDX, reg.RCX, reg.RBX, reg.RAX, reg.R8
	c.Load(c.Param("dst"), d)
	c.Load(c.Param("src"), s)
	c.Load(c.Param("at"), at)
	c.Load(c.Param("n"), n)
	c.Load(c.Param("flip"), reg.R9)
	c.Load(c.Param("mask"), m)
	flip, mask := ymm[15], ymm[14]
	c.VMOVQ(reg.R9, reg.X15)
	c.VPBROADCASTB(reg.X15, flip)
	c.VBROADCASTI128(mem(m, 0), mask)
	pieces(c, 16, i, n, func() {
		r := append([]reg.VecPhysical{}, ymm[:13]...)
		for k := range 8 {
			c.MOVQ(mem(at, 8*k), o)
			c.ADDQ(i, o)
			c.VMOVDQU(idx(s, o, 1), r[k].(reg.Vec).AsX())
			c.MOVQ(mem(at, 8*(k+8)), o)
			c.ADDQ(i, o)
			c.VINSERTI128(operand.U8(1), idx(s, o, 1), r[k], r[k])
			c.VPXOR(flip, r[k], r[k])
		}
		for range 3 {
			var next []reg.VecPhysical
			free := r[8:]
			for k := range 4 {
				c.VPUNPCKLBW(r[k+4], r[k], free[0])
				c.VPUNPCKHBW(r[k+4], r[k], r[k])
				next = append(next, free[0], r[k])
				free = append(append([]reg.VecPhysical{}, free[1:]...), r[k+4])
			}
			r = append(next, free...)
		}
		c.MOVQ(i, o)
		c.SHLQ(operand.U8(4), o)
		for k := range 8 {
			c.VPERMQ(operand.U8(0xd8), r[k], r[k])
			c.VPAND(mask, r[k], r[k])
			c.VMOVDQU(r[k], operand.Mem{Base: d, Index: o, Scale: 1, Disp: 32 * k})
		}
	})
}

// i8ZipRows puts the columns of two rows side by side, of which I8Lanes wants 0 to 3 and 8 to 11 first.
func i8ZipRows(c *build.Context) {
	function(c, "i8ZipRowsAVX2", "func(dst, src *byte, pairs, stride int)", `i8ZipRowsAVX2 makes pairs of rows; pairs is at least 1:

	for i := range pairs {
		for lane, column := range I8Lanes {
			for j := range 2 {
				dst[(i*16+lane)*2+j] = src[(2*i+j)*stride+column]
			}
		}
	}`)
	d, s, n, stride := reg.RDI, reg.RSI, reg.RCX, reg.RDX
	c.Load(c.Param("dst"), d)
	c.Load(c.Param("src"), s)
	c.Load(c.Param("pairs"), n)
	c.Load(c.Param("stride"), stride)
	c.Label("loop")
	c.VMOVDQU(mem(s, 0), reg.X0)
	c.VMOVDQU(idx(s, stride, 1), reg.X1)
	c.VPUNPCKLBW(reg.X1, reg.X0, reg.X2)
	c.VPUNPCKHBW(reg.X1, reg.X0, reg.X3)
	c.VPUNPCKLQDQ(reg.X3, reg.X2, reg.X0)
	c.VPUNPCKHQDQ(reg.X3, reg.X2, reg.X1)
	c.VMOVDQU(reg.X0, mem(d, 0))
	c.VMOVDQU(reg.X1, mem(d, 16))
	c.LEAQ(idx(s, stride, 2), s)
	c.ADDQ(operand.U8(32), d)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("loop"))
	c.RET()
}

// i8ZipQuads puts the columns of four rows side by side.
func i8ZipQuads(c *build.Context) {
	function(c, "i8ZipQuadsAVX2", "func(dst, src *byte, quads, ld, stride int)", `i8ZipQuadsAVX2 makes quads of rows; quads is at least 1:

	for i := range quads {
		for column := range 16 {
			for j := range 4 {
				dst[i*ld+4*column+j] = src[(4*i+j)*stride+column]
			}
		}
	}`)
	d, s, n, ld, stride, three := reg.RDI, reg.RSI, reg.RCX, reg.RBX, reg.RDX, reg.RAX
	c.Load(c.Param("dst"), d)
	c.Load(c.Param("src"), s)
	c.Load(c.Param("quads"), n)
	c.Load(c.Param("ld"), ld)
	c.Load(c.Param("stride"), stride)
	c.LEAQ(idx(stride, stride, 2), three)
	c.Label("loop")
	c.VMOVDQU(mem(s, 0), reg.X0)
	c.VMOVDQU(idx(s, stride, 1), reg.X1)
	c.VMOVDQU(idx(s, stride, 2), reg.X2)
	c.VMOVDQU(idx(s, three, 1), reg.X3)
	c.VPUNPCKLBW(reg.X1, reg.X0, reg.X4)
	c.VPUNPCKHBW(reg.X1, reg.X0, reg.X5)
	c.VPUNPCKLBW(reg.X3, reg.X2, reg.X6)
	c.VPUNPCKHBW(reg.X3, reg.X2, reg.X7)
	for k, low := range []reg.VecPhysical{reg.X4, reg.X5} {
		high := []reg.VecPhysical{reg.X6, reg.X7}[k]
		c.VPUNPCKLWD(high, low, reg.X0)
		c.VPUNPCKHWD(high, low, reg.X1)
		c.VMOVDQU(reg.X0, mem(d, 32*k))
		c.VMOVDQU(reg.X1, mem(d, 32*k+16))
	}
	c.LEAQ(idx(s, stride, 4), s)
	c.ADDQ(ld, d)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("loop"))
	c.RET()
}

// winoLine2 is 2a, a+b+c, a-b+c, 2c in registers of free; rest are those that it leaves.
func winoLine2(c *build.Context, x [3]reg.VecPhysical, free []reg.VecPhysical) (out, rest []reg.VecPhysical) {
	s := free[4]
	c.VPADDW(x[0], x[0], free[0])
	c.VPADDW(x[0], x[2], s)
	c.VPADDW(x[1], s, free[1])
	c.VPSUBW(x[1], s, free[2])
	c.VPADDW(x[2], x[2], free[3])
	return free[:4], free[4:]
}

// winoLine4 is 6a, -4(a+b+c), 4(b-a-c), a+2b+4c, a-2b+4c, 12c.
func winoLine4(c *build.Context, x [3]reg.VecPhysical, free []reg.VecPhysical) (out, rest []reg.VecPhysical) {
	f := free
	c.VPSLLW(operand.U8(2), x[2], f[0])
	c.VPADDW(x[0], f[0], f[0])
	c.VPADDW(x[1], x[1], f[1])
	c.VPADDW(f[1], f[0], f[2])
	c.VPSUBW(f[1], f[0], f[0])
	c.VPADDW(x[0], x[2], f[1])
	c.VPSUBW(f[1], x[1], f[3])
	c.VPSLLW(operand.U8(2), f[3], f[3])
	c.VPADDW(x[1], f[1], f[1])
	c.VPSLLW(operand.U8(2), f[1], f[1])
	c.VPXOR(f[4], f[4], f[4])
	c.VPSUBW(f[1], f[4], f[1])
	c.VPADDW(x[0], x[0], f[4])
	c.VPADDW(x[0], f[4], f[4])
	c.VPADDW(f[4], f[4], f[4])
	c.VPADDW(x[2], x[2], f[5])
	c.VPADDW(x[2], f[5], f[5])
	c.VPSLLW(operand.U8(2), f[5], f[5])
	return []reg.VecPhysical{f[4], f[1], f[3], f[2], f[0], f[5]}, f[6:]
}

// i8WinoFilters transforms the columns of two channels' filters into tmp, and then, row by row, the rows of both, which go side by side.
func i8WinoFilters(c *build.Context, m int, line func(*build.Context, [3]reg.VecPhysical, []reg.VecPhysical) (out, rest []reg.VecPhysical)) {
	name := fmt.Sprintf("i8WinoFilters%dAVX2", m)
	function(c, name, "func(dst *int16, ld int, src *byte, pairs int, tmp *[576]int16)", fmt.Sprintf(`%s transforms filters; pairs is at least 1:

	for c := range 2*pairs {
		for lane, column := range I8Lanes {
			for place, u := range WinoFilter%d of src[(9*c+tap)*16+column] as int8 {
				dst[place*ld+(c/2*16+lane)*2+c%%2] = u
			}
		}
	}`, name, m))
	d, ld, s, n, tmp, p := reg.RDI, reg.RDX, reg.RSI, reg.RCX, reg.RBX, reg.RAX
	c.Load(c.Param("dst"), d)
	c.Load(c.Param("ld"), ld)
	c.Load(c.Param("src"), s)
	c.Load(c.Param("pairs"), n)
	c.Load(c.Param("tmp"), tmp)
	c.SHLQ(operand.U8(1), ld)
	abc := [3]reg.VecPhysical{ymm[0], ymm[1], ymm[2]}
	side := m + 2
	at := func(channel, x, y int) operand.Mem { return mem(tmp, 32*((channel*3+x)*side+y)) }
	c.Label("loop")
	for channel := range 2 {
		for x := range 3 {
			for k, r := range abc {
				c.VPMOVSXBW(mem(s, 16*(9*channel+3*k+x)), r)
			}
			out, _ := line(c, abc, ymm[3:])
			for y, r := range out {
				c.VMOVDQU(r, at(channel, x, y))
			}
		}
	}
	c.MOVQ(d, p)
	for y := range side {
		free := ymm[3:]
		var rows [2][]reg.VecPhysical
		for channel := range rows {
			for x, r := range abc {
				c.VMOVDQU(at(channel, x, y), r)
			}
			rows[channel], free = line(c, abc, free)
		}
		for x := range side {
			a, b := rows[0][x], rows[1][x]
			c.VPUNPCKLWD(b, a, abc[0])
			c.VPUNPCKHWD(b, a, abc[1])
			c.VMOVDQU(abc[0], mem(p, 0))
			c.VMOVDQU(abc[1], mem(p, 32))
			if y < side-1 || x < side-1 {
				c.ADDQ(ld, p)
			}
		}
	}
	c.ADDQ(operand.U32(18*16), s)
	c.ADDQ(operand.U8(64), d)
	c.DECQ(n)
	c.JNZ(operand.LabelRef("loop"))
	c.VZEROUPPER()
	c.RET()
}
