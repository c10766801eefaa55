package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kern.dotWork and kern.dotTile that the kernel reads; a test of
// package kern checks them.
const (
	wSums   = 0
	wConfig = 4096
	wStep   = 4160
	wM      = 4168
	wN      = 4176
	wAdd    = 4192
	wLow    = 4194
	wFlip   = 4195
	wAdv    = 4200
	wTiles  = 4712
	dA      = 0
	dC      = 8
	dAdv    = 16
	dSize   = 24
)

func init() {
	kernels = append(kernels, kernel{"i8_dot_32x32_amx", i8DotTiles})
}

// tile is one of the eight tile registers.
type tile int

// amx emits an instruction on tiles as bytes, which neither avo nor Go's assembler know: of
// opcode op and prefix pp (0: none, 1: 66, 2: F3, 3: F2), with vvvv and what follows the opcode.
// highIndex and highBase say that the memory operand's registers are of R8 to R15.
func amx(c *build.Context, text string, pp, op byte, vvvv tile, highIndex, highBase bool, rest ...byte) {
	second := byte(0xe2)
	if highIndex {
		second &^= 0x40
	}
	if highBase {
		second &^= 0x20
	}
	b := append([]byte{0xc4, second, ^byte(vvvv)&0xf<<3 | pp, op}, rest...)
	c.Comment(text)
	for _, x := range b {
		c.Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []operand.Op{operand.U8(x)}})
	}
}

// tileMem is the ModRM, SIB and displacement of base+disp+row·step.
func tileMem(r tile, base, step reg.GPPhysical, disp int) []byte {
	return []byte{0x84 | byte(r)<<3, byte(step.PhysicalIndex()&7)<<3 | byte(base.PhysicalIndex()&7),
		byte(disp), byte(disp >> 8), byte(disp >> 16), byte(disp >> 24)}
}

func tileLoad(c *build.Context, base reg.GPPhysical, disp int, step reg.GPPhysical, r tile) {
	amx(c, fmt.Sprintf("TILELOADD %d(%s)(%s*1), TMM%d", disp, base.Asm(), step.Asm(), r), 3, 0x4b, 0,
		step.PhysicalIndex() > 7, base.PhysicalIndex() > 7, tileMem(r, base, step, disp)...)
}

func tileStore(c *build.Context, r tile, base reg.GPPhysical, disp int, step reg.GPPhysical) {
	amx(c, fmt.Sprintf("TILESTORED TMM%d, %d(%s)(%s*1)", r, disp, base.Asm(), step.Asm()), 2, 0x4b, 0,
		step.PhysicalIndex() > 7, base.PhysicalIndex() > 7, tileMem(r, base, step, disp)...)
}

// tileDot adds the products of unsigned bytes of a and signed bytes of b to acc.
func tileDot(c *build.Context, b, a, acc tile) {
	amx(c, fmt.Sprintf("TDPBUSD TMM%d, TMM%d, TMM%d", b, a, acc), 1, 0x5e, b, false, false, 0xc0|byte(acc)<<3|byte(a))
}

// tileConfig loads the configuration at base+disp.
func tileConfig(c *build.Context, base reg.GPPhysical, disp int) {
	amx(c, fmt.Sprintf("LDTILECFG %d(%s)", disp, base.Asm()), 0, 0x49, 0, false, base.PhysicalIndex() > 7,
		0x80|byte(base.PhysicalIndex()&7), byte(disp), byte(disp>>8), byte(disp>>16), byte(disp>>24))
}

func tileRelease(c *build.Context) { amx(c, "TILERELEASE", 0, 0x49, 0, false, false, 0xc0) }

func i8DotTiles(c *build.Context) {
	const name = "i8Dot32x32AMX"
	function(c, name, "func(t *I8Dot, w *dotWork)", name+` computes tiles of w.m rows of 16 or 32 columns, two tiles at a time; t.K is a multiple of 64,
and sums are modulo 2³², so in any order:

	n := 16 * t.Panels
	for _, d := range w.tiles[:w.n] {
		c, adv := d.c, w.adv[d.adv/8:]
		for i := range w.m {
			for j := range n {
				acc := t.Bias[j]
				for s, off := range t.Off {
					for k := range t.K {
						acc += int32(t.A[d.a+i*w.step+off+k]) * int32(t.B[((s*t.K+k)/4*n+j)*4+k%4])
					}
				}
				v := float32(acc) * t.Mul[j]
				t.C[c+j] = byte(int32(RNE(min(t.Hi, max(t.Lo, v)))) + t.Zero)
			}
			c += adv[i]
		}
	}

Tiles 0 to 3 are sums, 4 and 5 rows of A, 6 and 7 panels of B; w.config says so. The tiles are
released at the end: until then a thread's state is 8 KB larger.`, "I8Dot", "dotWork")
	order := c.StaticGlobal("i8TileOrder") // of what packing leaves: four of each of two panels of two rows, four times
	c.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 16 {
		c.AppendDatum(operand.U32(i%4*4 + i/4))
	}
	t, w, tiles, left := reg.R14, reg.R15, reg.R12, reg.R13
	c.Load(c.Param("t"), t)
	c.Load(c.Param("w"), w)
	tileConfig(c, w, wConfig)
	c.LEAQ(mem(w, wTiles), tiles)
	c.MOVQ(mem(w, wN), left)
	mul := reg.RAX
	c.MOVQ(mem(t, qMul), mul)
	c.VMOVUPS(mem(mul, 0), zmm[24])
	c.VBROADCASTSS(mem(t, qLo), zmm[26])
	c.VBROADCASTSS(mem(t, qHi), zmm[27])
	c.VPBROADCASTD(mem(t, qZero), zmm[28])
	c.CMPQ(mem(t, qPanels), operand.U8(1))
	c.JEQ(operand.LabelRef("pairs1"))
	c.VMOVUPS(mem(mul, 64), zmm[25])
	c.VPBROADCASTW(mem(w, wAdd), zmm[29])
	c.VPBROADCASTB(mem(w, wLow), zmm[30])
	c.VPBROADCASTB(mem(w, wFlip), zmm[31])
	c.VMOVDQU32(order, zmm[23])
	for np := 2; np > 0; np-- {
		l := func(s string) operand.LabelRef { return operand.LabelRef(fmt.Sprintf("%s%d", s, np)) }
		c.Label(string(l("pairs")))
		c.CMPQ(left, operand.U8(2))
		c.JLT(l("last"))
		i8TilesBody(c, 2, np)
		c.ADDQ(operand.U8(2*dSize), tiles)
		c.SUBQ(operand.U8(2), left)
		c.JMP(l("pairs"))
		c.Label(string(l("last")))
		c.TESTQ(left, left)
		c.JEQ(operand.LabelRef("end"))
		i8TilesBody(c, 1, np)
		if np == 2 {
			c.JMP(operand.LabelRef("end"))
		}
	}
	c.Label("end")
	tileRelease(c)
	c.VZEROUPPER()
	c.RET()
}

// i8TilesBody computes mt tiles of np panels.
func i8TilesBody(c *build.Context, mt, np int) {
	l := func(s string) string { return fmt.Sprintf("%st%dp%d", s, mt, np) }
	t, w, tiles := reg.R14, reg.R15, reg.R12
	rows := []reg.GPPhysical{reg.R8, reg.R9}[:mt]
	at := []reg.GPPhysical{reg.RCX, reg.RDX}[:mt]
	b, n, step, bstep, seg, segs := reg.RSI, reg.RAX, reg.RBX, reg.RDI, reg.R10, reg.R11
	sum := func(i, j int) tile { return tile(2*i + j) }
	c.MOVQ(mem(t, qBias), b)
	c.XORQ(bstep, bstep)
	for i := range mt {
		for j := range np {
			tileLoad(c, b, 64*j, bstep, sum(i, j))
		}
	}
	for i, r := range rows {
		c.MOVQ(mem(t, qA), r)
		c.ADDQ(mem(tiles, dSize*i+dA), r)
	}
	c.MOVQ(mem(w, wStep), step)
	c.MOVQ(operand.U32(64*np), bstep)
	c.MOVQ(mem(t, qB), b)
	c.MOVQ(mem(t, qOff), seg)
	c.MOVQ(mem(t, qSegs), segs)
	c.Label(l("seg"))
	for i, p := range at {
		c.MOVQ(mem(seg, 0), p)
		c.ADDQ(rows[i], p)
	}
	c.MOVQ(mem(t, qK), n)
	c.SHRQ(operand.U8(6), n)
	c.Label(l("k"))
	for j := range np {
		tileLoad(c, b, 64*j, bstep, tile(6+j))
		for i := range mt {
			if j == 0 {
				tileLoad(c, at[i], 0, step, tile(4+i))
			}
			tileDot(c, tile(6+j), tile(4+i), sum(i, j))
		}
	}
	for _, p := range at {
		c.ADDQ(operand.U8(64), p)
	}
	c.ADDQ(operand.U32(1024*np), b)
	c.DECQ(n)
	c.JNZ(operand.LabelRef(l("k")))
	c.ADDQ(operand.U8(8), seg)
	c.DECQ(segs)
	c.JNZ(operand.LabelRef(l("seg")))

	const row = 128 // bytes of a row of sums
	c.MOVQ(operand.U32(row), step)
	for i := range mt {
		for j := range np {
			tileStore(c, sum(i, j), w, wSums+16*row*i+64*j, step)
		}
	}
	src, dst, adv := reg.RCX, reg.RDX, reg.RSI
	for i := range mt {
		c.LEAQ(mem(w, wSums+16*row*i), src)
		c.MOVQ(mem(t, qC), dst)
		c.ADDQ(mem(tiles, dSize*i+dC), dst)
		c.LEAQ(mem(w, wAdv), adv)
		c.ADDQ(mem(tiles, dSize*i+dAdv), adv)
		c.MOVQ(mem(w, wM), n)
		rows := l(fmt.Sprintf("rows%d", i))
		if np == 2 {
			i8TileRows(c, rows, src, dst, adv, n)
			continue
		}
		c.Label(rows)
		a := zmm[0]
		c.VCVTDQ2PS(mem(src, 0), a)
		c.VMULPS(zmm[24], a, a)
		c.VMAXPS(zmm[26], a, a)
		c.VMINPS(zmm[27], a, a)
		c.VCVTPS2DQ(a, a)
		c.VPADDD(zmm[28], a, a)
		c.VPMOVDB(a, mem(dst, 0))
		c.ADDQ(mem(adv, 0), dst)
		c.ADDQ(operand.U8(8), adv)
		c.ADDQ(operand.U32(row), src)
		c.DECQ(n)
		c.JNZ(operand.LabelRef(rows))
	}
}

// i8TileRows quantises n rows of 32 sums, two at a time: packing saturates and so limits most
// of what max and min would.
func i8TileRows(c *build.Context, rows string, src, dst, adv, n reg.Register) {
	end := operand.LabelRef(rows + "end")
	c.Label(rows)
	a := zmm[:4]
	for j, a := range a {
		c.VCVTDQ2PS(mem(src, 64*j), a)
		c.VMULPS(zmm[24+j%2], a, a)
		c.VMINPS(zmm[27], a, a)
		c.VCVTPS2DQ(a, a)
	}
	for j := 0; j < 4; j += 2 {
		c.VPACKSSDW(a[j+1], a[j], a[j])
		c.VPADDSW(zmm[29], a[j], a[j])
	}
	c.VPACKUSWB(a[2], a[0], a[0])
	c.VPMAXUB(zmm[30], a[0], a[0])
	c.VPXORD(zmm[31], a[0], a[0])
	c.VPERMD(a[0], zmm[23], a[0])
	c.VMOVDQU(ymm[0], mem(dst, 0))
	c.ADDQ(mem(adv, 0), dst)
	c.CMPQ(n, operand.U8(1))
	c.JEQ(end)
	c.VEXTRACTI64X4(operand.U8(1), a[0], mem(dst, 0))
	c.ADDQ(mem(adv, 8), dst)
	c.ADDQ(operand.U8(16), adv)
	c.ADDQ(operand.U32(256), src)
	c.SUBQ(operand.U8(2), n)
	c.JNZ(operand.LabelRef(rows))
	c.Label(string(end))
}
