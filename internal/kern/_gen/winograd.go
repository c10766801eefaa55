package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kern.WinogradIn and kern.WinogradOut that the kernels
// read; a test of package kern checks them.
const (
	wiX   = 0
	wiSH  = 24
	wiSW  = 32
	wiV   = 40
	wiLDP = 64
	wiN   = 72
	wiTmp = 80

	woM     = 0
	woLDP   = 24
	woY     = 32
	woSH    = 56
	woSW    = 64
	woN     = 72
	woNY    = 80
	woNX    = 88
	woFlags = 96
	woBias  = 104
	woR     = 128
	woRSH   = 152
	woRSW   = 160
	woTmp   = 168
	woLo    = 192
	woHi    = 196
	woSlope = 200
)

func init() {
	for _, m := range []int{4, 2} {
		kernels = append(kernels,
			kernel{fmt.Sprintf("f32_winoin%d_8_avx2", m), func(c *build.Context) { winogradIn(c, m, m+2, "In", winogradB, winogradInDoc, false) }},
			kernel{fmt.Sprintf("f32_winoout%d_8_avx2", m), func(c *build.Context) { winogradOut(c, m, false) }},
			kernel{fmt.Sprintf("f32_winoin%d_16_avx512", m), func(c *build.Context) { winogradIn(c, m, m+2, "In", winogradB, winogradInDoc, true) }},
			kernel{fmt.Sprintf("f32_winoout%d_16_avx512", m), func(c *build.Context) { winogradOut(c, m, true) }})
	}
	kernels = append(kernels,
		kernel{"f32_winograd4_8_avx2", func(c *build.Context) { winogradIn(c, 4, 4, "Grad", winogradAT, winogradGradDoc, false) }},
		kernel{"f32_winograd4_16_avx512", func(c *build.Context) { winogradIn(c, 4, 4, "Grad", winogradAT, winogradGradDoc, true) }})
}

// winogradName is the end of a transform's name, and the doc's words on its width.
func winogradName(m int, avx512 bool) (name, width string) {
	if avx512 {
		return fmt.Sprintf("%d16AVX512", m), "16 channels at a time and at the end 8"
	}
	return fmt.Sprintf("%d8AVX2", m), "8 channels at a time"
}

// eachWidth emits body for vectors of 16 channels while n is that many, where there are such, and
// for vectors of 8; body moves its pointers by bytes and n by channels.
func eachWidth(c *build.Context, n reg.Register, avx512 bool, body func(y []reg.VecPhysical, bytes int, suffix string)) {
	if avx512 {
		c.CMPQ(n, operand.U8(16))
		c.JLT(operand.LabelRef("channels"))
		c.Label("channels16")
		body(zmm, 64, "z")
		c.SUBQ(operand.U8(16), n)
		c.CMPQ(n, operand.U8(16))
		c.JGE(operand.LabelRef("channels16"))
		c.TESTQ(n, n)
		c.JZ(operand.LabelRef("end"))
	}
	c.Label("channels")
	body(ymm, 32, "")
	c.SUBQ(operand.U8(8), n)
	c.JNZ(operand.LabelRef("channels"))
	if avx512 {
		c.Label("end")
	}
	c.VZEROUPPER()
	c.RET()
}

// spread fills r with a constant.
func spread(c *build.Context, x float32, r reg.VecPhysical) {
	c.MOVL(operand.U32(math.Float32bits(x)), reg.EAX)
	c.VMOVD(reg.EAX, r.AsX())
	c.VBROADCASTSS(r.AsX(), r)
}

// line gives the addresses p, p+s, ... of up to 6 places at stride s; three is 3s, and
// second is set to p+3s.
func line(c *build.Context, n int, p, s, three, second reg.Register) []operand.Mem {
	a := []operand.Mem{mem(p, 0), idx(p, s, 1), idx(p, s, 2)}
	c.LEAQ(idx(p, three, 1), second)
	return append(a, mem(second, 0), idx(second, s, 1), idx(second, s, 2))[:n]
}

func winogradInDoc(m int, width string) string {
	return fmt.Sprintf(` transforms one input tile, %[2]s:

	for c := range t.N {
		for i, row := range BᵀdB(%[1]d x %[1]d tile d[i][j] = t.X[i*t.SH+j*t.SW+c]) {
			for j, v := range row {
				t.V[(i*%[1]d+j)*t.LDP+c] = v
			}
		}
	}`, m+2, width)
}

func winogradGradDoc(m int, width string) string {
	return fmt.Sprintf(` transforms the gradient of one output tile, %[3]s:

	for c := range t.N {
		for i, row := range A·d·Aᵀ(%[1]d x %[1]d tile d[i][j] = t.X[i*t.SH+j*t.SW+c]) {
			for j, v := range row {
				t.V[(i*%[2]d+j)*t.LDP+c] = v
			}
		}
	}`, m, m+2, width)
}

func winogradOutDoc(m int, width string) string {
	return fmt.Sprintf(` transforms one output tile, %[2]s:

	for c := range t.N {
		for i, row := range AᵀmA(%[1]d x %[1]d tile m[i][j] = t.M[(i*%[1]d+j)*t.LDP+c]) { // i < t.NY
			for j, v := range row { // j < t.NX
				v += t.Bias[c]                    // with FlagCol
				v += t.R[i*t.RSH+j*t.RSW+c]       // with FlagAdd
				v = v or, below 0, v*t.Slope[c]   // with FlagPRelu
				v = min(t.Hi, max(t.Lo, v))       // with FlagClamp; NaN stays
				t.Y[i*t.SH+j*t.SW+c] = v
			}
		}
	}`, m+2, width)
}

// winogradIn applies f, from a numbers to m+2, to the columns and then to the rows of a tile.
func winogradIn(c *build.Context, m, a int, kind string, f func(v vectors, m int) []int, doc func(m int, width string) string, avx512 bool) {
	name, width := winogradName(m, avx512)
	name = "f32Wino" + kind + name
	wide := ymm
	if avx512 {
		wide = zmm
	}
	function(c, name, "func(t *WinogradIn)", name+doc(m, width), "WinogradIn")
	t, x, sh, sw, v, ldp, n, tmp, sh3, second, p := reg.R14, reg.RBX, reg.R8, reg.R9, reg.RSI, reg.R10, reg.RCX, reg.RDI, reg.R11, reg.RDX, reg.R12
	c.Load(c.Param("t"), t)
	c.MOVQ(mem(t, wiX), x)
	c.MOVQ(mem(t, wiSH), sh)
	c.SHLQ(operand.U8(2), sh)
	c.MOVQ(mem(t, wiSW), sw)
	c.SHLQ(operand.U8(2), sw)
	c.MOVQ(mem(t, wiV), v)
	c.MOVQ(mem(t, wiLDP), ldp)
	c.SHLQ(operand.U8(2), ldp)
	c.MOVQ(mem(t, wiN), n)
	c.MOVQ(mem(t, wiTmp), tmp)
	c.LEAQ(idx(sh, sh, 2), sh3)
	if m == 4 {
		spread(c, 4, wide[13])
		spread(c, 5, wide[14])
		spread(c, 2, wide[15])
	}
	eachWidth(c, n, avx512, func(y []reg.VecPhysical, bytes int, _ string) {
		avo := avoVectors{c, y}
		c.MOVQ(x, p)
		for j := range a {
			for i, at := range line(c, a, p, sh, sh3, second) {
				c.VMOVUPS(at, y[i])
			}
			for i, r := range avo.of(f(avo, m)) {
				c.VMOVUPS(r, mem(tmp, (i*a+j)*bytes))
			}
			if j < a-1 {
				c.ADDQ(sw, p)
			}
		}
		c.MOVQ(v, p)
		for i := range m + 2 {
			for j := range a {
				c.VMOVUPS(mem(tmp, (i*a+j)*bytes), y[j])
			}
			for _, r := range avo.of(f(avo, m)) {
				c.VMOVUPS(r, mem(p, 0))
				c.ADDQ(ldp, p)
			}
		}
		c.ADDQ(operand.U8(bytes), x)
		c.ADDQ(operand.U8(bytes), v)
	})
}

// vectors is the arithmetic of a transform on numbered registers; the last one is the result,
// which fma and fnma add a·b to and take it from.
type vectors interface {
	add(a, b, d int)
	sub(a, b, d int)
	fma(a, b, d int)
	fnma(a, b, d int)
	mov(a, d int)
}

// avoVectors is it on y.
type avoVectors struct {
	c *build.Context
	y []reg.VecPhysical
}

func (v avoVectors) add(a, b, d int)  { v.c.VADDPS(v.y[b], v.y[a], v.y[d]) }
func (v avoVectors) sub(a, b, d int)  { v.c.VSUBPS(v.y[b], v.y[a], v.y[d]) }
func (v avoVectors) fma(a, b, d int)  { v.c.VFMADD231PS(v.y[a], v.y[b], v.y[d]) }
func (v avoVectors) fnma(a, b, d int) { v.c.VFNMADD231PS(v.y[a], v.y[b], v.y[d]) }
func (v avoVectors) mov(a, d int)     { v.c.VMOVAPS(v.y[a], v.y[d]) }

// of are the registers of those numbers.
func (v avoVectors) of(n []int) []reg.VecPhysical {
	r := make([]reg.VecPhysical, len(n))
	for i, k := range n {
		r[i] = v.y[k]
	}
	return r
}

// winogradB is Bᵀd of d in the first registers, with 4, 5 and 2 in 13 to 15.
func winogradB(v vectors, m int) []int {
	if m == 2 {
		v.sub(0, 2, 4)
		v.add(1, 2, 5)
		v.sub(2, 1, 6)
		v.sub(1, 3, 7)
		return []int{4, 5, 6, 7}
	}
	const four, five, two = 13, 14, 15
	v.mov(4, 6) // 4 d0 + (d4 - 5 d2)
	v.fnma(2, five, 6)
	v.fma(0, four, 6)
	v.mov(4, 7) // a = d4 - 4 d2, b = d3 - 4 d1
	v.fnma(2, four, 7)
	v.mov(3, 8)
	v.fnma(1, four, 8)
	v.add(7, 8, 9)
	v.sub(7, 8, 7)
	v.sub(4, 2, 8) // c = d4 - d2, f = d3 - d1
	v.sub(3, 1, 11)
	v.mov(8, 12)
	v.fma(11, two, 12)
	v.fnma(11, two, 8)
	v.fnma(3, five, 5) // 4 d1 + (d5 - 5 d3)
	v.fma(1, four, 5)
	return []int{6, 9, 7, 12, 8, 5}
}

// winogradAT is A·d of four d in the first registers, with 4 and 2 in 13 and 15.
func winogradAT(v vectors, _ int) []int {
	const four, two = 13, 15
	v.add(0, 2, 4) // d0 + d2, d1 + d3
	v.add(1, 3, 5)
	v.add(4, 5, 6)
	v.sub(4, 5, 7)
	v.mov(0, 8) // d0 + 4 d2, d1 + 4 d3
	v.fma(2, four, 8)
	v.mov(1, 9)
	v.fma(3, four, 9)
	v.mov(8, 10)
	v.fma(9, two, 8)
	v.fnma(9, two, 10)
	return []int{0, 6, 7, 8, 10, 3}
}

func winogradOut(c *build.Context, m int, avx512 bool) {
	name, width := winogradName(m, avx512)
	name = "f32WinoOut" + name
	wide := ymm
	if avx512 {
		wide = zmm
	}
	function(c, name, "func(t *WinogradOut)", name+winogradOutDoc(m, width), "WinogradOut")
	t, mp, ldp, yp, sh, sw, n, tmp, three, second, p, q, ny := reg.R14, reg.RBX, reg.R10, reg.RSI, reg.R8, reg.R9, reg.RCX, reg.RDI, reg.R11, reg.RDX, reg.R12, reg.R13, reg.R15
	flags, r, rp := reg.RAX, reg.RBP, reg.RDX
	at := c.AllocLocal(8) // bytes of the channels that are done
	c.Load(c.Param("t"), t)
	c.MOVQ(mem(t, woM), mp)
	c.MOVQ(mem(t, woLDP), ldp)
	c.SHLQ(operand.U8(2), ldp)
	c.MOVQ(mem(t, woY), yp)
	c.MOVQ(mem(t, woSH), sh)
	c.SHLQ(operand.U8(2), sh)
	c.MOVQ(mem(t, woSW), sw)
	c.SHLQ(operand.U8(2), sw)
	c.MOVQ(mem(t, woN), n)
	c.MOVQ(mem(t, woTmp), tmp)
	if m == 4 {
		spread(c, 2, wide[10])
		spread(c, 4, wide[11])
		spread(c, 8, wide[12])
	}
	c.VBROADCASTSS(mem(t, woLo), wide[14])
	c.VBROADCASTSS(mem(t, woHi), wide[15])
	c.VXORPS(wide[13], wide[13], wide[13])
	c.MOVQ(operand.U32(0), r)
	c.MOVQ(r, at)
	a := m + 2
	eachWidth(c, n, avx512, func(y []reg.VecPhysical, bytes int, suffix string) {
		avo := avoVectors{c, y}
		// Columns: the rows of m are a·LDP apart.
		c.MOVQ(mp, p)
		c.LEAQ(idx(ldp, ldp, 1), q)
		if m == 4 {
			c.LEAQ(idx(q, ldp, 4), q)
		} else {
			c.ADDQ(q, q)
		}
		c.LEAQ(idx(q, q, 2), three)
		for j := range a {
			for i, at := range line(c, a, p, q, three, second) {
				c.VMOVUPS(at, y[i])
			}
			for i, r := range avo.of(winogradA(avo, m)) {
				c.VMOVUPS(r, mem(tmp, (i*a+j)*bytes))
			}
			if j < a-1 {
				c.ADDQ(ldp, p)
			}
		}
		// Rows.
		c.MOVQ(mem(t, woFlags), flags)
		c.TESTQ(operand.U32(fCol), flags)
		c.JZ(operand.LabelRef("nobias" + suffix))
		c.MOVQ(mem(t, woBias), p)
		c.MOVQ(at, r)
		c.VMOVUPS(idx(p, r, 1), y[13])
		c.Label("nobias" + suffix)
		c.MOVQ(mem(t, woNY), ny)
		c.MOVQ(yp, p)
		c.MOVQ(mem(t, woR), rp)
		c.ADDQ(at, rp)
		for i := range m {
			for j := range a {
				c.VMOVUPS(mem(tmp, (i*a+j)*bytes), y[j])
			}
			out := avo.of(winogradA(avo, m)) // y[8] and 9 are free
			l := func(s string) string { return fmt.Sprintf("%s%d%s", s, i, suffix) }
			for _, o := range out {
				c.VADDPS(y[13], o, o)
			}
			// The residual: columns that are there only.
			c.TESTQ(operand.U32(fAdd), flags)
			c.JZ(operand.LabelRef(l("noadd")))
			c.MOVQ(rp, q)
			c.MOVQ(mem(t, woRSW), r)
			for j, o := range out {
				if j > 0 {
					c.CMPQ(mem(t, woNX), operand.U8(j))
					c.JLE(operand.LabelRef(l("noadd")))
					c.LEAQ(idx(q, r, 4), q)
				}
				c.VADDPS(mem(q, 0), o, o)
			}
			c.Label(l("noadd"))
			c.TESTQ(operand.U32(fPRelu), flags)
			c.JZ(operand.LabelRef(l("noprelu")))
			c.MOVQ(mem(t, woSlope), r)
			c.ADDQ(at, r)
			c.VMOVUPS(mem(r, 0), y[9])
			for _, o := range out {
				c.VMULPS(y[9], o, y[8])
				if bytes == 64 {
					c.VPMOVD2M(o, reg.K1)
					c.VMOVAPS(y[8], reg.K1, o)
				} else {
					c.VBLENDVPS(o, y[8], o, o)
				}
			}
			c.Label(l("noprelu"))
			c.TESTQ(operand.U32(fClamp), flags)
			c.JZ(operand.LabelRef(l("noclamp")))
			for _, o := range out {
				c.VMAXPS(o, y[14], o)
				c.VMINPS(o, y[15], o)
			}
			c.Label(l("noclamp"))
			c.MOVQ(p, q)
			for j, o := range out {
				if j > 0 {
					c.CMPQ(mem(t, woNX), operand.U8(j))
					c.JLE(operand.LabelRef(l("stored")))
					c.ADDQ(sw, q)
				}
				c.VMOVUPS(o, mem(q, 0))
			}
			c.Label(l("stored"))
			if i < m-1 {
				c.DECQ(ny)
				c.JZ(operand.LabelRef("next" + suffix))
				c.ADDQ(sh, p)
				c.MOVQ(mem(t, woRSH), r)
				c.LEAQ(idx(rp, r, 4), rp)
			}
		}
		c.Label("next" + suffix)
		c.ADDQ(operand.U8(bytes), mp)
		c.ADDQ(operand.U8(bytes), yp)
		c.ADDQ(operand.U8(bytes), at)
	})
}

// winogradA is Aᵀm of m in the first registers, with 2, 4 and 8 in 10 to 12.
func winogradA(v vectors, m int) []int {
	if m == 2 {
		v.add(0, 1, 4)
		v.add(4, 2, 4)
		v.sub(1, 2, 5)
		v.sub(5, 3, 5)
		return []int{4, 5}
	}
	const two, four, eight = 10, 11, 12
	v.add(1, 2, 6) // s1 = m1 + m2, d1 = m1 - m2
	v.sub(1, 2, 7)
	v.add(3, 4, 8) // s2 = m3 + m4, d2 = m3 - m4
	v.sub(3, 4, 9)
	v.add(0, 6, 0) // (m0 + s1) + s2
	v.add(0, 8, 0)
	v.mov(7, 1) // d1 + 2 d2
	v.fma(9, two, 1)
	v.fma(8, four, 6) // s1 + 4 s2
	v.fma(9, eight, 7)
	v.add(7, 5, 7) // (d1 + 8 d2) + m5
	return []int{0, 1, 6, 7}
}

func init() {
	for _, m := range []int{4, 2} {
		kernels = append(kernels,
			kernel{fmt.Sprintf("f32_winofilter%d_4_avx2", m), func(c *build.Context) { winogradFilter(c, m, false) }},
			kernel{fmt.Sprintf("f32_winofilterrows%d_4_avx2", m), func(c *build.Context) { winogradFilter(c, m, true) }})
	}
}

// spread64 fills r with a constant.
func spread64(c *build.Context, x float64, r reg.VecPhysical) {
	c.MOVQ(operand.U64(math.Float64bits(x)), reg.RAX)
	c.VMOVQ(reg.RAX, r.AsX())
	c.VBROADCASTSD(r.AsX(), r)
}

// winogradFilter transforms filters that lie side by side, or, as rows, one after the other.
func winogradFilter(c *build.Context, m int, rows bool) {
	a := m + 2
	name, how, at := fmt.Sprintf("f32WinoFilter%d4AVX2", m), "side by side", "(3*i+j)*lds+c"
	if rows {
		name, how, at = fmt.Sprintf("f32WinoFilterRows%d4AVX2", m), "of lds floats each", "c*lds+3*i+j"
	}
	function(c, name, "func(dst, src *float32, ldd, lds, n int)", name+fmt.Sprintf(` transforms n filters %s, a multiple of 4, in
float64 by Winograd.row's operations:

	for c := range n {
		for p, u := range G g Gᵀ (3x3 filter g[i][j] = src[%s]) {
			dst[p*ldd+c] = float32(u) // p < %d
		}
	}`, how, at, a*a))
	dst, g, ldd, ldg, n, p := reg.RDI, reg.RSI, reg.R8, reg.R9, reg.RCX, reg.RBX
	tmp := c.AllocLocal(a * 3 * 32)
	var side operand.Mem // four filters side by side
	if rows {
		side = c.AllocLocal(9 * 16)
	}
	c.Load(c.Param("dst"), dst)
	c.Load(c.Param("src"), g)
	c.Load(c.Param("ldd"), ldd)
	c.SHLQ(operand.U8(2), ldd)
	c.Load(c.Param("lds"), ldg)
	c.SHLQ(operand.U8(2), ldg)
	c.Load(c.Param("n"), n)
	if m == 4 {
		spread64(c, 1.0/4, ymm[15])
		spread64(c, -1.0/6, ymm[14])
		spread64(c, 1.0/24, ymm[13])
		spread64(c, 1.0/6, ymm[12])
		spread64(c, 1.0/12, ymm[11])
	} else {
		spread64(c, 1.0/2, ymm[15])
	}
	c.Label("filters")
	c.LEAQ(idx(ldg, ldg, 2), p)
	if rows {
		winogradSide(c, g, ldg, p, side)
	}
	for j := range 3 {
		// Rows j, 3+j, 6+j.
		if rows {
			for i := range 3 {
				c.VCVTPS2PD(side.Offset((3*i+j)*16), ymm[i])
			}
		} else {
			c.VCVTPS2PD(mem(g, 0), ymm[0])
			c.VCVTPS2PD(idx(g, p, 1), ymm[1])
			c.VCVTPS2PD(idx(g, p, 2), ymm[2])
		}
		for i, r := range winogradG(c, m) {
			c.VMOVUPD(r, tmp.Offset((3*i+j)*32))
		}
		if !rows {
			c.ADDQ(ldg, g)
		}
	}
	if !rows {
		c.SUBQ(p, g)
	}
	c.MOVQ(dst, p)
	for i := range a {
		for j := range 3 {
			c.VMOVUPD(tmp.Offset((3*i+j)*32), ymm[j])
		}
		for _, r := range winogradG(c, m) {
			c.VCVTPD2PSY(r, reg.X10)
			c.VMOVUPS(reg.X10, mem(p, 0))
			c.ADDQ(ldd, p)
		}
	}
	if rows {
		c.LEAQ(idx(g, ldg, 4), g)
	} else {
		c.ADDQ(operand.U8(16), g)
	}
	c.ADDQ(operand.U8(16), dst)
	c.SUBQ(operand.U8(4), n)
	c.JNZ(operand.LabelRef("filters"))
	c.VZEROUPPER()
	c.RET()
}

// winogradG is G of x, y, z in the first three registers, which stay.
func winogradG(c *build.Context, m int) []reg.VecPhysical {
	y := ymm
	c.VADDPD(y[2], y[0], y[3])
	if m == 2 {
		c.VMULPD(y[15], y[3], y[3])
		c.VMULPD(y[15], y[1], y[4])
		c.VADDPD(y[4], y[3], y[5])
		c.VSUBPD(y[4], y[3], y[6])
		return []reg.VecPhysical{y[0], y[5], y[6], y[2]}
	}
	c.VMULPD(y[15], y[0], y[4])
	c.VADDPD(y[1], y[3], y[5])
	c.VMULPD(y[14], y[5], y[5])
	c.VSUBPD(y[1], y[3], y[6])
	c.VMULPD(y[14], y[6], y[6])
	c.VMULPD(y[13], y[0], y[7])
	c.VMULPD(y[12], y[2], y[8])
	c.VADDPD(y[8], y[7], y[7])
	c.VMULPD(y[11], y[1], y[8])
	c.VADDPD(y[8], y[7], y[9])
	c.VSUBPD(y[8], y[7], y[8])
	return []reg.VecPhysical{y[4], y[5], y[6], y[9], y[8], y[2]}
}

// winogradSide writes the 9 floats of each of 4 rows, ld bytes apart from g on, side by
// side to dst; ld3 is 3ld.
func winogradSide(c *build.Context, g, ld, ld3 reg.Register, dst operand.Mem) {
	x := func(i int) reg.VecPhysical { return ymm[i].AsX().(reg.VecPhysical) }
	rows := []operand.Mem{mem(g, 0), idx(g, ld, 1), idx(g, ld, 2), idx(g, ld3, 1)}
	for k := 0; k < 8; k += 4 {
		for i, r := range rows {
			c.VMOVUPS(r.Offset(4*k), x(i))
		}
		c.VUNPCKLPS(x(1), x(0), x(4))
		c.VUNPCKLPS(x(3), x(2), x(5))
		c.VUNPCKHPS(x(1), x(0), x(6))
		c.VUNPCKHPS(x(3), x(2), x(7))
		c.VUNPCKLPD(x(5), x(4), x(0))
		c.VUNPCKHPD(x(5), x(4), x(1))
		c.VUNPCKLPD(x(7), x(6), x(2))
		c.VUNPCKHPD(x(7), x(6), x(3))
		for i := range 4 {
			c.VMOVUPS(x(i), dst.Offset((k+i)*16))
		}
	}
	c.VMOVSS(rows[0].Offset(32), x(0))
	for i := 1; i < 4; i++ {
		c.VINSERTPS(operand.U8(16*i), rows[i].Offset(32), x(0), x(0))
	}
	c.VMOVUPS(x(0), dst.Offset(8*16))
}
