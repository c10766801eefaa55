package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// kinValues is the offset of entropy.kinColumn's values; a test of package entropy checks it.
const kinValues = 64

func init() {
	coders = append(coders,
		kernel{"kin_16_avx2", func(c *build.Context) { kin(c, 16) }},
		kernel{"kin_32_avx2", func(c *build.Context) { kin(c, 32) }})
}

// kin sums over the first n entries of a column.
func kin(c *build.Context, n int) {
	name := fmt.Sprintf("kin%dAVX2", n)
	function(c, name, "func(alike *[512]int32, col *kinColumn) int32", name+fmt.Sprintf(` is the sum of kin.predict over %d entries:

	for i := range %d {
		sum += alike[col.row[i]] * int32(col.value[i])
	}`, n, n), "kinColumn")
	alike, col := reg.RSI, reg.RDI
	c.Load(c.Param("alike"), alike)
	c.Load(c.Param("col"), col)
	at := []reg.GPPhysical{reg.RAX, reg.RBX, reg.RCX, reg.RDX}
	at32 := []reg.GPPhysical{reg.EAX, reg.EBX, reg.ECX, reg.EDX}
	x := []reg.VecPhysical{reg.X0, reg.X1, reg.X2, reg.X3, reg.X4, reg.X5, reg.X6, reg.X7}
	y := []reg.VecPhysical{reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7}
	for g := range n / 8 {
		// Single loads: VPGATHERDD is slower on many CPUs.
		for half := range 2 {
			to := x[2*g+half]
			for i := range 4 {
				c.MOVWLZX(mem(col, 2*(8*g+4*half+i)), at32[i])
				if i == 0 {
					c.VMOVD(idx(alike, at[i], 4), to)
				} else {
					c.VPINSRD(operand.U8(i), idx(alike, at[i], 4), to, to)
				}
			}
		}
		c.VINSERTI128(operand.U8(1), x[2*g+1], y[2*g], y[2*g])
		c.VPMOVSXBD(mem(col, kinValues+8*g), y[2*g+1])
		c.VPMULLD(y[2*g+1], y[2*g], y[2*g])
		if g > 0 {
			c.VPADDD(y[2*g], reg.Y0, reg.Y0)
		}
	}
	c.VEXTRACTI128(operand.U8(1), reg.Y0, reg.X1)
	c.VPADDD(reg.X1, reg.X0, reg.X0)
	c.VPSHUFD(operand.U8(0x4e), reg.X0, reg.X1)
	c.VPADDD(reg.X1, reg.X0, reg.X0)
	c.VPSHUFD(operand.U8(0xb1), reg.X0, reg.X1)
	c.VPADDD(reg.X1, reg.X0, reg.X0)
	c.VMOVD(reg.X0, reg.EAX)
	c.Store(reg.EAX, c.ReturnIndex(0))
	c.VZEROUPPER()
	c.RET()
}
