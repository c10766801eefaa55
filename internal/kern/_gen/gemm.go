package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kern.Tile that the kernels read; a test of package kern checks them.
const (
	tM      = 0
	tN      = 8
	tK      = 16
	tOff    = 24
	tSegs   = 32 // len(Off)
	tA      = 48
	tRSA    = 72
	tCSA    = 80
	tB      = 88
	tLDB    = 112
	tC      = 120
	tLDC    = 144
	tFlags  = 152
	tCol    = 160
	tRow    = 184
	tAlpha  = 208
	tLo     = 212
	tHi     = 216
	tMask   = 224
	tR      = 232
	tLDR    = 256
	tBlocks = 264
	tLines  = 272
	tAJump  = 280 // to a line's first block from the last block of the one before
	tCJump  = 288
	tRJump  = 296
	tLeft   = 304 // blocks left of this line
	tAhead  = 312 // bytes from B to what is prefetched next
	tSlope  = 320
	tQuads  = 344 // of a segment's k, how many times four
	tRest   = 352 // and what is left
	tStep   = 360 // bytes of prefetching for each four
	tEnd    = 368 // bytes from B to the end of what is prefetched
)

// Bits of Tile.Flags.
const (
	fAcc = 1 << iota
	fAlpha
	fCol
	fRow
	fClamp
	fAdd
	fPRelu
)

const gemmDoc = ` computes t.Lines lines of t.Blocks blocks of t.M rows; each acc is one
float32 and each step one FMA. A block:

	for i := range t.M {
		for j := range t.N {
			acc := 0 // t.C[i*t.LDC+j] with FlagAcc
			for s, off := range t.Off {
				for k := range t.K {
					acc = fma(t.A[off+i*t.RSA+k*t.CSA], t.B[(s*t.K+k)*t.LDB+j], acc)
				}
			}
			acc *= t.Alpha                        // with FlagAlpha
			acc += t.Col[j]                       // with FlagCol
			acc += t.Row[i]                       // with FlagRow
			acc += t.R[i*t.LDR+j]                 // with FlagAdd
			acc = acc or, below 0, acc*t.Slope[j] // with FlagPRelu
			acc = min(t.Hi, max(t.Lo, acc))       // with FlagClamp; NaN stays
			t.C[i*t.LDC+j] = acc
		}
	}`

func init() {
	kernels = append(kernels,
		kernel{"f32_gemm_6x16_avx2", func(c *build.Context) { gemm(c, isaAVX2) }},
		kernel{"f32_gemm_12x32_avx512", func(c *build.Context) { gemm(c, isaAVX512) }})
}

// isa is what differs between the two: registers and masked moves.
type isa struct {
	name   string
	mr     int // rows of the full tile
	width  int // floats a register
	acc    func(i, j int) reg.VecPhysical
	b      [2]reg.VecPhysical
	bc     [2]reg.VecPhysical
	avx512 bool
	ahead  int // lines of memory that are prefetched with every four of k
}

var ymm = []reg.VecPhysical{reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7, reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15}
var zmm = []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
	reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31}

var (
	isaAVX2 = isa{name: "f32Gemm6x16AVX2", mr: 6, width: 8, ahead: 1,
		acc: func(i, j int) reg.VecPhysical { return ymm[2*i+j] },
		b:   [2]reg.VecPhysical{reg.Y12, reg.Y13}, bc: [2]reg.VecPhysical{reg.Y14, reg.Y15}}
	isaAVX512 = isa{name: "f32Gemm12x32AVX512", mr: 12, width: 16, avx512: true, ahead: 4,
		acc: func(i, j int) reg.VecPhysical { return zmm[2*i+j] },
		b:   [2]reg.VecPhysical{reg.Z30, reg.Z31}, bc: [2]reg.VecPhysical{reg.Z28, reg.Z29}}
)

func mem(base reg.Register, disp int) operand.Mem { return operand.Mem{Base: base, Disp: disp} }

func idx(base, index reg.Register, scale uint8) operand.Mem {
	return operand.Mem{Base: base, Index: index, Scale: scale}
}

func gemm(c *build.Context, v isa) {
	function(c, v.name, "func(t *Tile)", v.name+gemmDoc, "Tile")
	t := reg.R14
	c.Load(c.Param("t"), t)

	// Sizes in bytes.
	a, b, rsa, csa, segs, ldb, off := reg.RBX, reg.RSI, reg.R8, reg.R9, reg.R10, reg.R11, reg.R12
	c.MOVQ(mem(t, tA), a)
	c.MOVQ(mem(t, tB), b)
	c.MOVQ(mem(t, tRSA), rsa)
	c.SHLQ(operand.U8(2), rsa)
	c.MOVQ(mem(t, tCSA), csa)
	c.SHLQ(operand.U8(2), csa)
	c.MOVQ(mem(t, tLDB), ldb)
	c.SHLQ(operand.U8(2), ldb)
	c.MOVQ(mem(t, tSegs), segs)
	c.MOVQ(mem(t, tOff), off)

	c.MOVQ(mem(t, tBlocks), reg.RAX)
	c.MOVQ(reg.RAX, mem(t, tLeft))
	c.MOVQ(mem(t, tAhead), reg.R15)
	c.ADDQ(b, reg.R15)
	// One body for each number of rows and of registers a row, the last of which may be multiplied by half.
	c.MOVQ(mem(t, tM), reg.RAX)
	kinds := []gemmKind{{"w2", 2, false}, {"w1", 1, false}}
	if v.avx512 {
		kinds = append(kinds, gemmKind{"h2", 2, true})
		c.CMPQ(mem(t, tN), operand.U8(v.width*3/2))
		c.JLE(operand.LabelRef("less"))
	} else {
		c.CMPQ(mem(t, tN), operand.U8(v.width))
		c.JLE(operand.LabelRef("w1"))
	}
	for _, kind := range kinds {
		c.Label(kind.name)
		for m := v.mr; m > 1; m-- {
			c.CMPQ(reg.RAX, operand.U8(m))
			c.JEQ(operand.LabelRef(fmt.Sprintf("m%d%s", m, kind.name)))
		}
		for m := 1; m <= v.mr; m++ {
			gemmBody(c, v, m, kind)
		}
	}
	if v.avx512 {
		c.Label("less")
		c.CMPQ(mem(t, tN), operand.U8(v.width))
		c.JLE(operand.LabelRef("w1"))
		c.JMP(operand.LabelRef("h2"))
	}
	c.Label("done")
	c.VZEROUPPER()
	c.RET()
}

// gemmKind is how a row lies in registers: w of them, of the last of which only the lower half is
// multiplied where half (on processors whose units are half as wide that takes half as long).
type gemmKind struct {
	name string
	w    int
	half bool
}

func gemmBody(c *build.Context, v isa, m int, kind gemmKind) {
	w := kind.w
	name := func(s string) string { return fmt.Sprintf("m%d%s%s", m, kind.name, s) }
	ref := func(s string) operand.LabelRef { return operand.LabelRef(name(s)) }
	t := reg.R14
	a, b, rsa, csa, segs, ldb, off := reg.RBX, reg.RSI, reg.R8, reg.R9, reg.R10, reg.R11, reg.R12
	bases := []reg.Register{reg.RAX, reg.RCX, reg.RDX, reg.RDI}[:(m+2)/3]
	cp, ldc := reg.RAX, reg.RCX
	flags := reg.RDX

	c.Label(name(""))
	// partial reports where the last register of a row is not full: N != w*width.
	masks := func() {
		if v.avx512 {
			c.MOVL(mem(t, tMask), reg.EDI)
			if w == 2 {
				c.SHRL(operand.U8(16), reg.EDI)
			}
			c.KMOVW(reg.EDI, reg.K1)
			return
		}
		c.MOVQ(mem(t, tMask), reg.RDI)
		c.VMOVUPS(mem(reg.RDI, (w-1)*32), v.bc[1])
	}
	// loadMasked and storeMasked move the last register of a row.
	loadMasked := func(m operand.Mem, r reg.VecPhysical) {
		if v.avx512 {
			c.VMOVUPS_Z(m, reg.K1, r)
		} else {
			c.VMASKMOVPS(m, v.bc[1], r)
		}
	}
	stores := 0
	storeMasked := func(r reg.VecPhysical, m operand.Mem) {
		if v.avx512 {
			c.VMOVUPS(r, reg.K1, m)
			return
		}
		// VMASKMOVPS to memory takes some 20 cycles on AMD: 4, 2 and 1 floats instead.
		stores++
		l := func(s string) string { return name(fmt.Sprintf("%s%d", s, stores)) }
		n, p, x := reg.RDI, reg.R13, v.bc[0].AsX()
		c.LEAQ(m, p)
		c.TESTQ(operand.U32(4), n)
		c.JZ(operand.LabelRef(l("low")))
		c.VMOVUPS(r.AsX(), mem(p, 0))
		c.ADDQ(operand.U8(16), p)
		c.VEXTRACTF128(operand.U8(1), r, x)
		c.JMP(operand.LabelRef(l("two")))
		c.Label(l("low"))
		c.VMOVAPS(r.AsX(), x)
		c.Label(l("two"))
		c.TESTQ(operand.U32(2), n)
		c.JZ(operand.LabelRef(l("one")))
		c.VMOVLPS(x, mem(p, 0))
		c.ADDQ(operand.U8(8), p)
		c.VPERMILPS(operand.U8(0x0e), x, x)
		c.Label(l("one"))
		c.TESTQ(operand.U32(1), n)
		c.JZ(operand.LabelRef(l("end")))
		c.VMOVSS(x, mem(p, 0))
		c.Label(l("end"))
	}
	rows := func(field int, f func(i, j int, p operand.Mem)) {
		c.MOVQ(mem(t, field), cp)
		for i := range m {
			for j := range w {
				f(i, j, mem(cp, j*v.width*4))
			}
			if i < m-1 {
				c.ADDQ(ldc, cp)
			}
		}
	}
	loadLDC := func(field int) {
		c.MOVQ(mem(t, field), ldc)
		c.SHLQ(operand.U8(2), ldc)
	}
	cmpN := func(full string) {
		c.CMPQ(mem(t, tN), operand.U8(w*v.width))
		c.JEQ(ref(full))
	}

	// vector loads N floats into b.
	vector := func(field int, label string) {
		c.MOVQ(mem(t, field), cp)
		cmpN(label + "full")
		masks()
		for j := range w {
			if j == w-1 {
				loadMasked(mem(cp, j*v.width*4), v.b[j])
			} else {
				c.VMOVUPS(mem(cp, j*v.width*4), v.b[j])
			}
		}
		c.JMP(ref(label + "loaded"))
		c.Label(name(label + "full"))
		for j := range w {
			c.VMOVUPS(mem(cp, j*v.width*4), v.b[j])
		}
		c.Label(name(label + "loaded"))
	}

	// Start: zero, or C.
	c.MOVQ(mem(t, tFlags), flags)
	c.TESTQ(operand.U32(fAcc), flags)
	c.JZ(ref("zero"))
	loadLDC(tLDC)
	cmpN("loadfull")
	masks()
	rows(tC, func(i, j int, p operand.Mem) {
		if j == w-1 {
			loadMasked(p, v.acc(i, j))
		} else {
			c.VMOVUPS(p, v.acc(i, j))
		}
	})
	c.JMP(ref("seg"))
	c.Label(name("loadfull"))
	rows(tC, func(i, j int, p operand.Mem) { c.VMOVUPS(p, v.acc(i, j)) })
	c.JMP(ref("seg"))
	c.Label(name("zero"))
	for i := range m {
		for j := range w {
			if r := v.acc(i, j); v.avx512 {
				c.VPXORD(r, r, r)
			} else {
				c.VXORPS(r, r, r)
			}
		}
	}

	c.Label(name("seg"))
	c.MOVQ(mem(off, 0), bases[0])
	c.LEAQ(idx(a, bases[0], 4), bases[0])
	if len(bases) > 1 {
		c.LEAQ(idx(rsa, rsa, 2), reg.R13)
		for i := 1; i < len(bases); i++ {
			c.LEAQ(idx(bases[i-1], reg.R13, 1), bases[i])
		}
	}
	// step is one k, disp bytes on in A and at row kk of B.
	step := func(kk, disp int) {
		half := func(j int, r reg.VecPhysical) operand.Op {
			if kind.half && j == w-1 {
				return r.AsY()
			}
			return r
		}
		for j := range w {
			c.VMOVUPS(mem(b, (kk*2+j)*v.width*4), half(j, v.b[j]))
		}
		for i := range m {
			p := mem(bases[i/3], disp)
			if i%3 > 0 {
				p = idx(bases[i/3], rsa, uint8(i%3))
				p.Disp = disp
			}
			c.VBROADCASTSS(p, v.bc[i%2])
			for j := range w {
				c.VFMADD231PS(half(j, v.b[j]), half(j, v.bc[i%2]), half(j, v.acc(i, j)))
			}
		}
	}
	c.MOVQ(mem(t, tQuads), reg.R13)
	c.TESTQ(reg.R13, reg.R13)
	c.JZ(ref("rest"))
	c.Label(name("quad"))
	for i := range v.ahead {
		c.PREFETCHT1(mem(reg.R15, 64*i))
	}
	c.ADDQ(mem(t, tStep), reg.R15)
	for kk := range 4 {
		step(kk, 4*kk)
	}
	for _, p := range bases {
		c.ADDQ(operand.U8(16), p)
	}
	c.ADDQ(operand.U32(4*2*v.width*4), b)
	c.DECQ(reg.R13)
	c.JNZ(ref("quad"))
	c.Label(name("rest"))
	c.MOVQ(mem(t, tRest), reg.R13)
	c.TESTQ(reg.R13, reg.R13)
	c.JZ(ref("segend"))
	c.Label(name("k"))
	step(0, 0)
	for _, p := range bases {
		c.ADDQ(csa, p)
	}
	c.ADDQ(ldb, b)
	c.DECQ(reg.R13)
	c.JNZ(ref("k"))
	c.Label(name("segend"))
	c.ADDQ(operand.U8(8), off)
	c.DECQ(segs)
	c.JNZ(ref("seg"))

	// Epilogue.
	each := func(f func(i int, r reg.VecPhysical)) {
		for i := range m {
			for j := range w {
				f(i, v.acc(i, j))
			}
		}
	}
	c.MOVQ(mem(t, tFlags), flags)
	c.TESTQ(operand.U32(fAlpha|fCol|fRow|fAdd|fPRelu|fClamp), flags)
	c.JZ(ref("store"))
	c.TESTQ(operand.U32(fAlpha), flags)
	c.JZ(ref("col"))
	c.VBROADCASTSS(mem(t, tAlpha), v.bc[0])
	each(func(_ int, r reg.VecPhysical) { c.VMULPS(v.bc[0], r, r) })

	c.Label(name("col"))
	c.TESTQ(operand.U32(fCol), flags)
	c.JZ(ref("row"))
	vector(tCol, "col")
	for i := range m {
		for j := range w {
			c.VADDPS(v.b[j], v.acc(i, j), v.acc(i, j))
		}
	}

	c.Label(name("row"))
	c.TESTQ(operand.U32(fRow), flags)
	c.JZ(ref("add"))
	c.MOVQ(mem(t, tRow), cp)
	for i := range m {
		c.VBROADCASTSS(mem(cp, 4*i), v.bc[0])
		for j := range w {
			c.VADDPS(v.bc[0], v.acc(i, j), v.acc(i, j))
		}
	}

	c.Label(name("add"))
	c.TESTQ(operand.U32(fAdd), flags)
	c.JZ(ref("prelu"))
	loadLDC(tLDR)
	cmpN("addfull")
	masks()
	rows(tR, func(i, j int, p operand.Mem) {
		if j == w-1 {
			loadMasked(p, v.bc[0])
			c.VADDPS(v.bc[0], v.acc(i, j), v.acc(i, j))
		} else {
			c.VADDPS(p, v.acc(i, j), v.acc(i, j))
		}
	})
	c.JMP(ref("prelu"))
	c.Label(name("addfull"))
	rows(tR, func(i, j int, p operand.Mem) { c.VADDPS(p, v.acc(i, j), v.acc(i, j)) })

	c.Label(name("prelu"))
	c.TESTQ(operand.U32(fPRelu), flags)
	c.JZ(ref("clamp"))
	vector(tSlope, "slope")
	for i := range m {
		for j := range w {
			// The sign bit decides.
			r := v.acc(i, j)
			c.VMULPS(v.b[j], r, v.bc[0])
			if v.avx512 {
				c.VPXORD(v.bc[1], v.bc[1], v.bc[1])
				c.VPCMPD(operand.U8(1), v.bc[1], r, reg.K2)
				c.VMOVAPS(v.bc[0], reg.K2, r)
			} else {
				c.VBLENDVPS(r, v.bc[0], r, r)
			}
		}
	}

	c.Label(name("clamp"))
	c.TESTQ(operand.U32(fClamp), flags)
	c.JZ(ref("store"))
	c.VBROADCASTSS(mem(t, tLo), v.b[0])
	c.VBROADCASTSS(mem(t, tHi), v.b[1])
	// The last operand of max and min wins where one is NaN: NaN stays NaN.
	each(func(_ int, r reg.VecPhysical) { c.VMAXPS(r, v.b[0], r) })
	each(func(_ int, r reg.VecPhysical) { c.VMINPS(r, v.b[1], r) })

	c.Label(name("store"))
	loadLDC(tLDC)
	cmpN("storefull")
	if v.avx512 {
		masks()
	} else {
		c.MOVQ(mem(t, tN), reg.RDI)
	}
	rows(tC, func(i, j int, p operand.Mem) {
		if j == w-1 {
			storeMasked(v.acc(i, j), p)
		} else {
			c.VMOVUPS(v.acc(i, j), p)
		}
	})
	c.JMP(ref("next"))
	c.Label(name("storefull"))
	rows(tC, func(i, j int, p operand.Mem) { c.VMOVUPS(v.acc(i, j), p) })

	// The next block of the line, or the first of the next line.
	c.Label(name("next"))
	c.DECQ(mem(t, tLeft))
	c.JZ(ref("line"))
	advance := func(field, stride int) {
		c.MOVQ(mem(t, stride), reg.RAX)
		c.IMUL3Q(operand.U8(4*m), reg.RAX, reg.RAX)
		c.ADDQ(reg.RAX, mem(t, field))
	}
	c.IMUL3Q(operand.U8(m), rsa, reg.RAX)
	c.ADDQ(reg.RAX, a)
	advance(tC, tLDC)
	c.CMPQ(mem(t, tLDR), operand.U8(0))
	c.JEQ(ref("again"))
	advance(tR, tLDR)
	c.JMP(ref("again"))
	c.Label(name("line"))
	c.DECQ(mem(t, tLines))
	c.JZ(operand.LabelRef("done"))
	c.MOVQ(mem(t, tBlocks), reg.RAX)
	c.MOVQ(reg.RAX, mem(t, tLeft))
	c.MOVQ(mem(t, tAJump), reg.RAX)
	c.LEAQ(idx(a, reg.RAX, 4), a)
	for _, f := range [][2]int{{tC, tCJump}, {tR, tRJump}} {
		c.MOVQ(mem(t, f[1]), reg.RAX)
		c.SHLQ(operand.U8(2), reg.RAX)
		c.ADDQ(reg.RAX, mem(t, f[0]))
	}
	c.Label(name("again"))
	c.MOVQ(mem(t, tB), b)
	c.MOVQ(mem(t, tSegs), segs)
	c.MOVQ(mem(t, tOff), off)
	// All that is wanted has been prefetched?
	c.MOVQ(reg.R15, reg.RAX)
	c.SUBQ(b, reg.RAX)
	c.CMPQ(reg.RAX, mem(t, tEnd))
	c.JLT(ref(""))
	c.MOVQ(b, reg.R15)
	c.MOVQ(operand.U32(0), reg.RAX)
	c.MOVQ(reg.RAX, mem(t, tStep))
	c.JMP(ref(""))
}
