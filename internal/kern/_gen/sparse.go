package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kern.Sparse and kern.Planes that the kernels read; a test
// of package kern checks them.
const (
	spX      = 0
	spIdx    = 24
	spW      = 48
	spCnt    = 72
	spBlocks = 80 // len(Cnt)
	spY      = 96
	spLDY    = 120
	spBias   = 128
	spFlags  = 152
	spLo     = 160
	spHi     = 164
	spRows   = 168
	spVecs   = 176
	spStrips = 184
	spR      = 192
	spLDR    = 216
	spSlope  = 224

	plPix   = 0
	plOff   = 24
	plN     = 32 // len(Off)
	plPl    = 48
	plLD    = 72
	plC     = 80
	plDummy = 88
)

// sparseVecs is the most eights of pixels a row for blocks of that many rows: 8
// accumulators hide the latency of FMA, and few loads are to do for each.
var (
	sparseVecs    = []sparseForm{{1, 8}, {2, 4}, {3, 3}, {4, 3}}
	sparseVecs512 = []sparseForm{{1, 12}, {2, 8}, {3, 8}, {4, 6}}
)

type sparseForm struct{ rows, vecs int }

func init() {
	kernels = append(kernels,
		kernel{"f32_sparse_avx2", func(c *build.Context) { sparse(c, "f32SparseAVX2", sparseVecs, false) }},
		kernel{"f32_sparse_avx512", func(c *build.Context) { sparse(c, "f32SparseAVX512", sparseVecs512, true) }},
		kernel{"f32_sparsevec_avx2", func(c *build.Context) { sparseVector(c, "f32SparseVecAVX2") }},
		kernel{"f32_toplanes_avx2", func(c *build.Context) { toPlanes(c, "f32ToPlanesAVX2") }},
		kernel{"f32_fromplanes_avx2", func(c *build.Context) { fromPlanes(c, "f32FromPlanesAVX2") }})
}

// sparse takes eights of pixels two in a register where wide says so; of an odd number the last
// is half a register.
func sparse(c *build.Context, name string, forms []sparseForm, wide bool) {
	function(c, name, "func(t *Sparse)", name+` computes blocks of rows of output planes, strip after strip; each acc is
one float32 and each step one FMA:

	k := 0
	for b, n := range t.Cnt {
		for s := 0; s < 8*t.Vecs*t.Strips; s += 8 * t.Vecs {
			acc := [Rows][8*Vecs]float32{}
			for i := k; i < k+n; i++ {
				for r := range t.Rows {
					for j := range 8 * t.Vecs {
						acc[r][j] = fma(t.X[t.Idx[i]/4+s+j], t.W[i*t.Rows+r], acc[r][j])
					}
				}
			}
			row := b*t.Rows + r
			acc[r][j] += t.Bias[row]                       // with FlagCol
			acc[r][j] += t.R[row*t.LDR+s+j]                // with FlagAdd
			acc[r][j] = acc[r][j] or, below 0, acc[r][j]*t.Slope[row] // with FlagPRelu
			acc[r][j] = min(t.Hi, max(t.Lo, acc[r][j]))    // with FlagClamp; NaN stays
			t.Y[row*t.LDY+s+j] = acc[r][j]
		}
		k += n
	}`, "Sparse")
	t := reg.R14
	c.Load(c.Param("t"), t)
	x, idxp, w, cnt, y, bias := reg.RBX, reg.RSI, reg.R8, reg.R9, reg.R10, reg.R11
	blocks, ldy, flags := reg.R12, reg.R13, reg.RDX
	res, ldr, slope := reg.RDI, reg.R15, reg.RBP
	strips, row0, res0 := c.AllocLocal(8), c.AllocLocal(8), c.AllocLocal(8)
	c.MOVQ(mem(t, spX), x)
	c.MOVQ(mem(t, spIdx), idxp)
	c.MOVQ(mem(t, spW), w)
	c.MOVQ(mem(t, spCnt), cnt)
	c.MOVQ(mem(t, spBlocks), blocks)
	c.MOVQ(mem(t, spY), y)
	c.MOVQ(mem(t, spLDY), ldy)
	c.SHLQ(operand.U8(2), ldy)
	c.MOVQ(mem(t, spBias), bias)
	c.MOVQ(mem(t, spFlags), flags)
	c.MOVQ(mem(t, spR), res)
	c.MOVQ(mem(t, spLDR), ldr)
	c.SHLQ(operand.U8(2), ldr)
	c.MOVQ(mem(t, spSlope), slope)
	c.MOVQ(mem(t, spRows), reg.RAX)
	c.MOVQ(mem(t, spVecs), reg.RCX)
	for _, f := range forms {
		for v := 1; v <= f.vecs; v++ {
			l := fmt.Sprintf("r%dv%dskip", f.rows, v)
			c.CMPQ(reg.RAX, operand.U8(f.rows))
			c.JNE(operand.LabelRef(l))
			c.CMPQ(reg.RCX, operand.U8(v))
			c.JEQ(operand.LabelRef(fmt.Sprintf("r%dv%d", f.rows, v)))
			c.Label(l)
		}
	}
	c.RET()
	for _, f := range forms {
		for v := 1; v <= f.vecs; v++ {
			l := func(s string) string { return fmt.Sprintf("r%dv%d%s", f.rows, v, s) }
			ref := func(s string) operand.LabelRef { return operand.LabelRef(l(s)) }
			// Registers of a row, and bytes of a whole one.
			regs, size := v, 32
			all, weight, tmp := ymm, reg.VecPhysical(ymm[15]), ymm[14]
			if wide {
				regs, size, all = (v+1)/2, 64, zmm
				weight, tmp = zmm[31], zmm[30]
			}
			of := func(x reg.VecPhysical, j int) reg.VecPhysical { // as much of x as j of a row
				if wide && 2*j+1 == v {
					return x.AsY().(reg.VecPhysical)
				}
				return x
			}
			acc := func(r, j int) reg.VecPhysical { return of(all[r*regs+j], j) }
			in := func(j int) reg.VecPhysical { return of(all[f.rows*regs+j], j) }
			each := func(do func(r, j int)) {
				for r := range f.rows {
					for j := range regs {
						do(r, j)
					}
				}
			}
			n, at := reg.RCX, reg.RAX
			c.Label(l(""))
			c.MOVQ(y, row0)
			c.MOVQ(res, res0)
			c.MOVQ(mem(t, spStrips), at)
			c.MOVQ(at, strips)
			c.Label(l("strip"))
			each(func(r, j int) {
				if a := acc(r, j); wide {
					c.VPXORD(a, a, a)
				} else {
					c.VXORPS(a, a, a)
				}
			})
			c.MOVLQSX(mem(cnt, 0), n)
			c.TESTQ(n, n)
			c.JZ(ref("end"))
			c.Label(l("k"))
			c.MOVLQSX(mem(idxp, 0), at)
			if f.rows > 1 {
				for j := range regs {
					c.VMOVUPS(operand.Mem{Base: x, Index: at, Scale: 1, Disp: size * j}, in(j))
				}
			}
			for r := range f.rows {
				c.VBROADCASTSS(mem(w, 4*r), weight)
				for j := range regs {
					if f.rows > 1 {
						c.VFMADD231PS(in(j), of(weight, j), acc(r, j))
					} else {
						c.VFMADD231PS(operand.Mem{Base: x, Index: at, Scale: 1, Disp: size * j}, of(weight, j), acc(r, j))
					}
				}
			}
			c.ADDQ(operand.U8(4), idxp)
			c.ADDQ(operand.U8(4*f.rows), w)
			c.DECQ(n)
			c.JNZ(ref("k"))
			c.Label(l("end"))
			c.TESTQ(operand.U32(fCol), flags)
			c.JZ(ref("add"))
			for r := range f.rows {
				c.VBROADCASTSS(mem(bias, 4*r), weight)
				for j := range regs {
					c.VADDPS(of(weight, j), acc(r, j), acc(r, j))
				}
			}
			c.Label(l("add"))
			c.TESTQ(operand.U32(fAdd|fPRelu|fClamp), flags)
			c.JZ(ref("store"))
			c.TESTQ(operand.U32(fAdd), flags)
			c.JZ(ref("prelu"))
			c.MOVQ(res, at)
			for r := range f.rows {
				for j := range regs {
					c.VADDPS(mem(at, size*j), acc(r, j), acc(r, j))
				}
				c.ADDQ(ldr, at)
			}
			c.Label(l("prelu"))
			c.TESTQ(operand.U32(fPRelu), flags)
			c.JZ(ref("clamp"))
			for r := range f.rows {
				c.VBROADCASTSS(mem(slope, 4*r), weight)
				for j := range regs {
					a, t := acc(r, j), of(tmp, j)
					c.VMULPS(of(weight, j), a, t)
					if wide {
						c.VPMOVD2M(a, reg.K2) // the sign bit decides
						c.VMOVAPS(t, reg.K2, a)
					} else {
						c.VBLENDVPS(a, t, a, a)
					}
				}
			}
			c.Label(l("clamp"))
			c.TESTQ(operand.U32(fClamp), flags)
			c.JZ(ref("store"))
			// The last operand of max and min wins where one is NaN: NaN stays NaN.
			c.VBROADCASTSS(mem(t, spLo), weight)
			each(func(r, j int) { c.VMAXPS(acc(r, j), of(weight, j), acc(r, j)) })
			c.VBROADCASTSS(mem(t, spHi), weight)
			each(func(r, j int) { c.VMINPS(acc(r, j), of(weight, j), acc(r, j)) })
			c.Label(l("store"))
			c.MOVQ(y, at)
			for r := range f.rows {
				for j := range regs {
					c.VMOVUPS(acc(r, j), mem(at, size*j))
				}
				if r+1 < f.rows {
					c.ADDQ(ldy, at)
				}
			}
			c.MOVQ(strips, n)
			c.DECQ(n)
			c.JZ(ref("next"))
			// The next strip, by the block's steps again.
			c.MOVQ(n, strips)
			c.ADDQ(operand.U32(32*v), x)
			c.ADDQ(operand.U32(32*v), y)
			c.ADDQ(operand.U32(32*v), res)
			c.MOVLQSX(mem(cnt, 0), n)
			c.SHLQ(operand.U8(2), n)
			c.SUBQ(n, idxp)
			if f.rows > 1 {
				c.IMUL3Q(operand.U8(f.rows), n, n)
			}
			c.SUBQ(n, w)
			c.JMP(ref("strip"))
			c.Label(l("next"))
			c.ADDQ(operand.U8(4*f.rows), bias)
			c.ADDQ(operand.U8(4*f.rows), slope)
			c.ADDQ(operand.U8(4), cnt)
			c.MOVQ(mem(t, spX), x)
			c.MOVQ(row0, y)
			c.MOVQ(res0, res)
			for range f.rows {
				c.ADDQ(ldy, y)
				c.ADDQ(ldr, res)
			}
			c.DECQ(blocks)
			c.JNZ(ref(""))
			c.VZEROUPPER()
			c.RET()
		}
	}
}

// transpose8 turns the 8x8 floats whose rows row loads (two halves a row) into
// columns in out.
func transpose8(c *build.Context, row func(i, half int) operand.Mem, out func(i int, r reg.VecPhysical)) {
	xmm := []reg.VecPhysical{reg.X0, reg.X1, reg.X2, reg.X3, reg.X4, reg.X5, reg.X6, reg.X7}
	// Register h*4+i holds floats 4h..4h+3 of row i below those of row i+4.
	for h := range 2 {
		for i := range 4 {
			c.VMOVUPS(row(i, h), xmm[h*4+i])
			c.VINSERTF128(operand.U8(1), row(i+4, h), ymm[h*4+i], ymm[h*4+i])
		}
	}
	for h := range 2 {
		a := ymm[h*4 : h*4+4]
		c.VUNPCKLPS(a[1], a[0], ymm[8])
		c.VUNPCKHPS(a[1], a[0], ymm[9])
		c.VUNPCKLPS(a[3], a[2], ymm[10])
		c.VUNPCKHPS(a[3], a[2], ymm[11])
		c.VSHUFPS(operand.U8(0x44), ymm[10], ymm[8], a[0])
		c.VSHUFPS(operand.U8(0xee), ymm[10], ymm[8], a[1])
		c.VSHUFPS(operand.U8(0x44), ymm[11], ymm[9], a[2])
		c.VSHUFPS(operand.U8(0xee), ymm[11], ymm[9], a[3])
	}
	for i := range 8 {
		out(i, ymm[i])
	}
}

// pixelRegs are the addresses of eight pixels.
var pixelRegs = []reg.Register{reg.RAX, reg.RBX, reg.RCX, reg.RDX, reg.RSI, reg.RDI, reg.R8, reg.R9}

func toPlanes(c *build.Context, name string) {
	function(c, name, "func(t *Planes)", name+` brings pixels into planes, 8 channels and 8 pixels at a time:

	for i, off := range t.Off {
		for c := range t.C &^ 7 {
			t.Planes[c*t.LD+i] = t.Pixels[off+c]
		}
	}`, "Planes")
	planes(c, func(t, ch, q, ld reg.Register) {
		transpose8(c, func(i, half int) operand.Mem {
			return operand.Mem{Base: pixelRegs[i], Index: ch, Scale: 4, Disp: 16 * half}
		}, func(_ int, r reg.VecPhysical) {
			c.VMOVUPS(r, mem(q, 0))
			c.ADDQ(ld, q)
		})
	})
}

func fromPlanes(c *build.Context, name string) {
	function(c, name, "func(t *Planes)", name+` brings planes into pixels, 8 channels and 8 pixels at a time:

	for i, off := range t.Off {
		if off < 0 {
			continue
		}
		for c := range t.C &^ 7 {
			t.Pixels[off+c] = t.Planes[c*t.LD+i]
		}
	}`, "Planes")
	planes(c, func(t, ch, q, ld reg.Register) {
		// Rows of the 8x8 are planes now; q moves by one after each.
		xmm := []reg.VecPhysical{reg.X0, reg.X1, reg.X2, reg.X3, reg.X4, reg.X5, reg.X6, reg.X7}
		for i := range 8 {
			r, h := i%4, i/4
			if h == 0 {
				c.VMOVUPS(mem(q, 0), xmm[r])
				c.VMOVUPS(mem(q, 16), xmm[4+r])
			} else {
				c.VINSERTF128(operand.U8(1), mem(q, 0), ymm[r], ymm[r])
				c.VINSERTF128(operand.U8(1), mem(q, 16), ymm[4+r], ymm[4+r])
			}
			c.ADDQ(ld, q)
		}
		for h := range 2 {
			a := ymm[h*4 : h*4+4]
			c.VUNPCKLPS(a[1], a[0], ymm[8])
			c.VUNPCKHPS(a[1], a[0], ymm[9])
			c.VUNPCKLPS(a[3], a[2], ymm[10])
			c.VUNPCKHPS(a[3], a[2], ymm[11])
			c.VSHUFPS(operand.U8(0x44), ymm[10], ymm[8], a[0])
			c.VSHUFPS(operand.U8(0xee), ymm[10], ymm[8], a[1])
			c.VSHUFPS(operand.U8(0x44), ymm[11], ymm[9], a[2])
			c.VSHUFPS(operand.U8(0xee), ymm[11], ymm[9], a[3])
		}
		for i := range 8 {
			c.VMOVUPS(ymm[i], operand.Mem{Base: pixelRegs[i], Index: ch, Scale: 4})
		}
	})
}

// planes is the loops around body: groups of eight pixels, whose addresses are in
// pixelRegs, and of eight channels from ch on, whose planes begin at q.
func planes(c *build.Context, body func(t, ch, q, ld reg.Register)) {
	t := reg.R14
	left, col := c.AllocLocal(8), c.AllocLocal(8)
	c.Load(c.Param("t"), t)
	ld, q, ch, off, base := reg.R10, reg.R11, reg.R12, reg.R13, reg.R15
	c.MOVQ(mem(t, plLD), ld)
	c.SHLQ(operand.U8(2), ld)
	c.MOVQ(mem(t, plOff), off)
	c.MOVQ(mem(t, plN), q)
	c.SHRQ(operand.U8(3), q)
	c.MOVQ(q, left)
	c.MOVQ(mem(t, plPl), q)
	c.MOVQ(q, col)
	c.Label("pixels")
	c.MOVQ(mem(t, plPix), base)
	c.MOVQ(mem(t, plDummy), q)
	for i, r := range pixelRegs {
		c.MOVQ(mem(off, 8*i), ch)
		c.LEAQ(idx(base, ch, 4), r)
		c.TESTQ(ch, ch)
		c.CMOVQLT(q, r)
	}
	c.MOVQ(col, q)
	c.XORQ(ch, ch)
	c.Label("channels")
	body(t, ch, q, ld)
	c.ADDQ(operand.U8(8), ch)
	c.MOVQ(mem(t, plC), base)
	c.ANDQ(operand.I8(-8), base)
	c.CMPQ(ch, base)
	c.JLT(operand.LabelRef("channels"))
	c.ADDQ(operand.U8(64), off)
	c.MOVQ(col, q)
	c.ADDQ(operand.U8(32), q)
	c.MOVQ(q, col)
	c.MOVQ(left, q)
	c.DECQ(q)
	c.MOVQ(q, left)
	c.JNZ(operand.LabelRef("pixels"))
	c.VZEROUPPER()
	c.RET()
}

// sparseVector computes four blocks at a time, so that four chains of FMA hide each
// other's latency.
func sparseVector(c *build.Context, name string) {
	function(c, name, "func(t *Sparse)", name+` computes blocks of rows of a matrix times a vector, four blocks
(of len(t.Cnt), a multiple of four) side by side:

	k := 0
	for b, n := range t.Cnt {
		acc := [Rows]float32{}
		for ; n > 0; n, k = n-1, k+1 {
			for r := range t.Rows {
				acc[r] = fma(t.X[t.Idx[k]/4], t.W[k*t.Rows+r], acc[r])
			}
		}
		copy(t.Y[b*t.Rows:], acc)
	}`, "Sparse")
	t := reg.R14
	c.Load(c.Param("t"), t)
	// The base registers of blocks go on to the next four at the end.
	at, x, least, cnt, y := reg.RAX, reg.RBX, reg.R12, reg.R13, reg.R15
	idxs := []reg.GPPhysical{reg.RCX, reg.RDX, reg.RSI, reg.RDI}
	ws := []reg.GPPhysical{reg.R8, reg.R9, reg.R10, reg.R11}
	j := reg.RBP
	left := c.AllocLocal(8)
	xmm := []reg.VecPhysical{reg.X0, reg.X1, reg.X2, reg.X3, reg.X4, reg.X5, reg.X6, reg.X7}
	c.MOVQ(mem(t, spX), x)
	c.MOVQ(mem(t, spIdx), idxs[0])
	c.MOVQ(mem(t, spW), ws[0])
	c.MOVQ(mem(t, spCnt), cnt)
	c.MOVQ(mem(t, spY), y)
	c.MOVQ(mem(t, spBlocks), at)
	c.SHRQ(operand.U8(2), at)
	c.MOVQ(at, left)
	c.MOVQ(mem(t, spRows), at)
	for _, rows := range []int{1, 2} {
		c.CMPQ(at, operand.U8(rows))
		c.JEQ(operand.LabelRef(fmt.Sprintf("r%d", rows)))
	}
	for _, rows := range []int{4, 2, 1} {
		l := func(s string) string { return fmt.Sprintf("r%d%s", rows, s) }
		ref := func(s string) operand.LabelRef { return operand.LabelRef(l(s)) }
		step := func(i int) {
			c.MOVLQSX(idx(idxs[i], j, 1), at)
			w := operand.Mem{Base: ws[i], Index: j, Scale: uint8(rows)}
			switch rows {
			case 4:
				c.VBROADCASTSS(idx(x, at, 1), xmm[4+i])
				c.VFMADD231PS(w, xmm[4+i], xmm[i])
			case 2:
				c.VBROADCASTSS(idx(x, at, 1), xmm[4+i])
				c.VMOVSD(w, reg.X8)
				c.VFMADD231PS(reg.X8, xmm[4+i], xmm[i])
			case 1:
				c.VMOVSS(idx(x, at, 1), xmm[4+i])
				c.VFMADD231SS(w, xmm[4+i], xmm[i])
			}
		}
		c.Label(l(""))
		// Where the steps of the other three begin, and the least of the four counts.
		c.MOVLQSX(mem(cnt, 0), least)
		for i := 1; i < 4; i++ {
			c.MOVLQSX(mem(cnt, 4*(i-1)), at)
			c.LEAQ(idx(idxs[i-1], at, 4), idxs[i])
			c.SHLQ(operand.U8(2), at)
			c.LEAQ(idx(ws[i-1], at, uint8(rows)), ws[i])
			c.MOVLQSX(mem(cnt, 4*i), at)
			c.CMPQ(at, least)
			c.CMOVQLT(at, least)
		}
		for i := range 4 {
			c.VXORPS(xmm[i], xmm[i], xmm[i])
		}
		c.SHLQ(operand.U8(2), least)
		c.XORQ(j, j)
		c.JMP(ref("test"))
		c.Label(l("k"))
		for i := range 4 {
			step(i)
		}
		c.ADDQ(operand.U8(4), j)
		c.Label(l("test"))
		c.CMPQ(j, least)
		c.JLT(ref("k"))
		for i := range 4 {
			tail, test := fmt.Sprintf("tail%d", i), fmt.Sprintf("test%d", i)
			c.MOVQ(least, j)
			c.JMP(ref(test))
			c.Label(l(tail))
			step(i)
			c.ADDQ(operand.U8(4), j)
			c.Label(l(test))
			c.MOVLQSX(mem(cnt, 4*i), at)
			c.SHLQ(operand.U8(2), at)
			c.CMPQ(j, at)
			c.JLT(ref(tail))
			switch rows {
			case 4:
				c.VMOVUPS(xmm[i], mem(y, 16*i))
			case 2:
				c.VMOVSD(xmm[i], mem(y, 8*i))
			case 1:
				c.VMOVSS(xmm[i], mem(y, 4*i))
			}
		}
		c.MOVLQSX(mem(cnt, 12), at)
		c.LEAQ(idx(idxs[3], at, 4), idxs[0])
		c.SHLQ(operand.U8(2), at)
		c.LEAQ(idx(ws[3], at, uint8(rows)), ws[0])
		c.ADDQ(operand.U8(16), cnt)
		c.ADDQ(operand.U8(16*rows), y)
		c.MOVQ(left, at)
		c.DECQ(at)
		c.MOVQ(at, left)
		c.JNZ(ref(""))
		c.VZEROUPPER()
		c.RET()
	}
}
