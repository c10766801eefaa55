package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of fields of entropy.kin and entropy.kinColumn; a test of package entropy checks them.
const (
	kinEnergy   = 0
	kinGroups   = 8
	kinStride   = 16
	kinAtWhole  = 24
	kinAtColumn = 32
	kinAtCount  = 40
	kinInverse  = 56
	kinAlike    = 64

	kinValues = 64
)

func init() {
	coders = append(coders,
		kernel{"kin_avx2", kin},
		kernel{"kinlearn_8_avx2", kinLearn})
}

// kin is a prediction.
func kin(c *build.Context) {
	function(c, "kinAVX2", "func(k *kin, c int) int32", "kinAVX2 is predict.", "kin")
	c.Load(c.Param("k"), reg.R8)
	c.Load(c.Param("c"), reg.RSI)
	kinSum(c)
	c.Store(reg.EAX, c.ReturnIndex(0))
	c.VZEROUPPER()
	c.RET()
}

// kinSum sums over column RSI of the kin in R8, into EAX. It takes RAX to RDX, R9 and the vectors up to 7.
func kinSum(c *build.Context) {
	at, alike := reg.R9, reg.R10
	y := []reg.VecPhysical{reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7}
	c.LEAQ(mem(reg.R8, kinAlike), alike)
	c.MOVQ(mem(reg.R8, kinAtWhole), at)
	c.TESTQ(at, at)
	c.JEQ(operand.LabelRef("pairs"))

	// 16 rows at a time.
	c.MOVQ(mem(reg.R8, kinStride), reg.RAX)
	c.IMULQ(reg.RSI, reg.RAX)
	c.ADDQ(reg.RAX, at)
	c.MOVQ(mem(reg.R8, kinGroups), reg.RCX)
	c.VPXOR(y[0], y[0], y[0])
	c.VPXOR(y[1], y[1], y[1])
	c.TESTQ(reg.RCX, reg.RCX)
	c.JEQ(operand.LabelRef("sum"))
	c.Label("rows")
	for i := range 2 {
		c.VPMOVSXBD(mem(at, 8*i), y[2+i])
		c.VPMULLD(mem(alike, 32*i), y[2+i], y[2+i])
		c.VPADDD(y[2+i], y[i], y[i])
	}
	c.ADDQ(operand.U8(16), at)
	c.ADDQ(operand.U8(64), alike)
	c.DECQ(reg.RCX)
	c.JNE(operand.LabelRef("rows"))
	c.VPADDD(y[1], y[0], y[0])
	c.JMP(operand.LabelRef("sum"))

	c.Label("pairs")
	c.MOVQ(mem(reg.R8, kinAtColumn), at)
	c.LEAQ(idx(reg.RSI, reg.RSI, 2), reg.RAX)
	c.SHLQ(operand.U8(5), reg.RAX)
	c.ADDQ(reg.RAX, at)
	c.MOVQ(mem(reg.R8, kinAtCount), reg.RAX)
	c.CMPL(idx(reg.RAX, reg.RSI, 4), operand.Imm(16))
	c.JHI(operand.LabelRef("many"))
	kinPairs(c, at, alike, 16)
	c.JMP(operand.LabelRef("sum"))
	c.Label("many")
	kinPairs(c, at, alike, 32)

	c.Label("sum")
	c.VEXTRACTI128(operand.U8(1), reg.Y0, reg.X1)
	c.VPADDD(reg.X1, reg.X0, reg.X0)
	c.VPSHUFD(operand.U8(0x4e), reg.X0, reg.X1)
	c.VPADDD(reg.X1, reg.X0, reg.X0)
	c.VPSHUFD(operand.U8(0xb1), reg.X0, reg.X1)
	c.VPADDD(reg.X1, reg.X0, reg.X0)
	c.VMOVD(reg.X0, reg.EAX)
}

// kinPairs sums over the first n non-zeros of a column, into lanes of Y0.
func kinPairs(c *build.Context, col, alike reg.GPPhysical, n int) {
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
}

// kinLearn builds what a non-zero tells of rows.
func kinLearn(c *build.Context) {
	const doc = `kinLearnAVX2 takes value v of a column of groups of 16 rows:

	for j := range 16 * groups {
		alike[j] += int32(int64(int32(col[j])*v) * int64(norm[j]) >> 7)
	}`
	function(c, "kinLearnAVX2", fmt.Sprintf("func(alike *[512]int32, norm *[%d]int32, col *int8, groups int, v int32)", 512+8), doc)
	alike, norm, col, n := reg.RDI, reg.RSI, reg.RAX, reg.RCX
	c.Load(c.Param("alike"), alike)
	c.Load(c.Param("norm"), norm)
	c.Load(c.Param("col"), col)
	c.Load(c.Param("groups"), n)
	c.Load(c.Param("v"), reg.EDX)
	c.VMOVD(reg.EDX, reg.X0)
	c.VPBROADCASTD(reg.X0, reg.Y0)
	c.SHLQ(operand.U8(1), n)
	c.JEQ(operand.LabelRef("done"))
	c.Label("rows")
	c.VPMOVSXBD(mem(col, 0), reg.Y1)
	c.VPMULLD(reg.Y0, reg.Y1, reg.Y1)
	c.VPMULDQ(mem(norm, 0), reg.Y1, reg.Y2) // even rows
	c.VPSRLQ(operand.U8(32), reg.Y1, reg.Y1)
	c.VPMULDQ(mem(norm, 4), reg.Y1, reg.Y3) // odd ones
	c.VPSRLQ(operand.U8(7), reg.Y2, reg.Y2)
	c.VPSLLQ(operand.U8(32-7), reg.Y3, reg.Y3)
	c.VPBLENDD(operand.U8(0xaa), reg.Y3, reg.Y2, reg.Y2)
	c.VPADDD(mem(alike, 0), reg.Y2, reg.Y2)
	c.VMOVDQU(reg.Y2, mem(alike, 0))
	c.ADDQ(operand.U8(8), col)
	c.ADDQ(operand.U8(32), norm)
	c.ADDQ(operand.U8(32), alike)
	c.DECQ(n)
	c.JNE(operand.LabelRef("rows"))
	c.Label("done")
	c.VZEROUPPER()
	c.RET()
}
