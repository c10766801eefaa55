package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kern.I8WinoSums, and of those of kern.I8WinoOut that i8wino.go does not name; a test of package kern checks them.
const (
	nA      = 0
	nStep   = 24
	nK      = 56
	nB      = 64
	nPanels = 88
	nPanel  = 96
	nSums   = 104
	nOut    = 128
	nPlaces = 136
	nAPos   = 144
	nBPos   = 152
	nPos    = 160
	nHeight = 168
	nTall   = 176
	nLow    = 184
	nNow    = 192

	vBytes = 96
	vZero  = 120

	oOrder  = 168
	oZero16 = 176
	oLo8    = 178
	oHi8    = 179
	oFlip   = 180
)

// winoTall is the most rows of a tile: with two panels all but four registers hold sums.
const winoTall = 14

func init() {
	kernels = append(kernels,
		kernel{"i8_winosums_14x32_vnni", i8WinoSums},
		kernel{"i8_winoin4_32_avx512", i8WinoIn4Wide},
		kernel{"i8_winoout4_16_avx512", i8WinoOut4Wide},
		kernel{"i8_winofilters4_16_avx512", i8WinoFilters4Wide})
}

func i8WinoSums(c *build.Context) {
	const name = "i8WinoSums14x32VNNI"
	function(c, name, "func(t *I8WinoSums)", name+` computes the products of all places for one panel or two:

	for i := range t.Places {
		for r := range t.Rows {
			for p := range t.Panels {
				for l := range 16 {
					s := int32(0)
					for k := range t.K {
						s += int32(t.A[i*t.APos+r*t.Step+k]) * int32(t.B[i*t.BPos+p*t.Panel+(k/2*16+l)*2+k%2])
					}
					t.Sums[i*t.Pos+p*t.Out+16*r+l] = s
				}
			}
		}
	}`, "I8WinoSums")
	t, a, sums, count, step, step3, out := reg.R14, reg.R11, reg.R12, reg.R15, reg.R8, reg.R9, reg.R13
	h, ahead := reg.RAX, reg.RDI
	c.Load(c.Param("t"), t)
	for _, r := range []struct {
		off   int
		shift uint8
		r     reg.Register
	}{{nStep, 1, step}, {nOut, 2, out}, {nBPos, 1, ahead}} {
		c.MOVQ(mem(t, r.off), r.r)
		c.SHLQ(operand.U8(r.shift), r.r)
	}
	c.LEAQ(idx(step, step, 2), step3)
	c.Label("place")
	c.MOVQ(mem(t, nA), a)
	c.MOVQ(mem(t, nSums), sums)
	c.MOVQ(mem(t, nHeight), h)
	c.MOVQ(mem(t, nTall), count)
	c.Label("height")
	c.MOVQ(h, mem(t, nNow))
	c.CMPQ(mem(t, nPanels), operand.U8(2))
	c.JEQ(operand.LabelRef("wide"))
	for np := 1; np <= 2; np++ {
		if np == 2 {
			c.Label("wide")
		}
		for m := winoTall; m > 1; m-- {
			c.CMPQ(h, operand.U8(m))
			c.JEQ(operand.LabelRef(fmt.Sprintf("p%dm%d", np, m)))
		}
		for m := 1; m <= winoTall; m++ {
			l := fmt.Sprintf("p%dm%d", np, m)
			c.Label(l)
			i8WinoSumsBody(c, m, np)
			c.DECQ(count)
			c.JNZ(operand.LabelRef(l))
			c.JMP(operand.LabelRef("low"))
		}
	}
	// The other calls are of one row less.
	c.Label("low")
	c.MOVQ(mem(t, nNow), h)
	c.CMPQ(h, mem(t, nHeight))
	c.JNE(operand.LabelRef("done"))
	c.DECQ(h)
	c.MOVQ(mem(t, nLow), count)
	c.TESTQ(count, count)
	c.JNZ(operand.LabelRef("height"))
	c.Label("done")
	for _, r := range []struct {
		pos, at int
		shift   uint8
	}{{nAPos, nA, 1}, {nBPos, nB, 1}, {nPos, nSums, 2}} {
		c.MOVQ(mem(t, r.pos), h)
		c.SHLQ(operand.U8(r.shift), h)
		c.ADDQ(h, mem(t, r.at))
	}
	c.DECQ(mem(t, nPlaces))
	c.JNZ(operand.LabelRef("place"))
	c.VZEROUPPER()
	c.RET()
}

// i8WinoSumsBody computes m rows of np panels and moves on in a and sums.
func i8WinoSumsBody(c *build.Context, m, np int) {
	t, a, sums, step, step3, out := reg.R14, reg.R11, reg.R12, reg.R8, reg.R9, reg.R13
	p := []reg.Register{reg.RAX, reg.RBX, reg.RCX}[:(m+4)/5]
	b, bp, k, ahead := reg.RSI, reg.RBP, reg.RDX, reg.RDI
	acc := func(i, j int) reg.VecPhysical { return zmm[np*i+j] }
	row := func(i int) operand.Mem {
		q := p[i/5]
		return [5]operand.Mem{mem(q, 0), idx(q, step, 1), idx(q, step, 2), idx(q, step3, 1), idx(q, step, 4)}[i%5]
	}
	c.MOVQ(mem(t, nB), b)
	if np > 1 {
		c.MOVQ(mem(t, nPanel), bp)
		c.LEAQ(idx(b, bp, 2), bp)
	}
	c.MOVQ(a, p[0])
	for i := 1; i < len(p); i++ {
		c.LEAQ(idx(p[i-1], step, 4), p[i])
		c.ADDQ(step, p[i])
	}
	for i := range np * m {
		c.VPXORD(zmm[i], zmm[i], zmm[i])
	}
	c.MOVQ(mem(t, nK), k)
	c.SHRQ(operand.U8(2), k)
	l := fmt.Sprintf("kp%dm%d", np, m)
	c.Label(l)
	for u := range 2 {
		for j := range np {
			w := mem([]reg.Register{b, bp}[j], 64*u)
			c.VMOVDQU32(w, zmm[28+j])
			// The next place's weights come from further away.
			w.Index, w.Scale = ahead, 1
			c.PREFETCHT0(w)
		}
		for i := range m {
			x := row(i)
			x.Disp = 4 * u
			c.VPBROADCASTD(x, zmm[30+i%2])
			for j := range np {
				c.VPDPWSSD(zmm[28+j], zmm[30+i%2], acc(i, j))
			}
		}
	}
	for _, q := range p {
		c.ADDQ(operand.U8(8), q)
	}
	c.ADDQ(operand.U32(128), b)
	if np > 1 {
		c.ADDQ(operand.U32(128), bp)
	}
	c.DECQ(k)
	c.JNZ(operand.LabelRef(l))
	for j := range np {
		for i := range m {
			o := mem(sums, 64*i)
			if j > 0 {
				o.Index, o.Scale = out, 1
			}
			c.VMOVDQU32(acc(i, j), o)
		}
	}
	c.ADDQ(operand.U32(64*m), sums)
	// a moves on by the rows that the last pointer has not passed.
	c.LEAQ(mem(p[len(p)-1], 0), a)
	c.MOVQ(mem(t, nK), k)
	c.SHLQ(operand.U8(1), k)
	c.SUBQ(k, a)
	for range m - 5*(len(p)-1) {
		c.ADDQ(step, a)
	}
}

func i8WinoIn4Wide(c *build.Context) {
	function(c, "i8WinoIn4x32AVX512", "func(t *I8WinoIn)", `i8WinoIn4x32AVX512 transforms a row of tiles of 6x6 pixels of bytes four apart, 32 channels at a time and at the end 16:

	line := func(d [6]int16) [6]int16 {
		p, q, s, t := d[4]-4*d[2], d[3]-4*d[1], d[4]-d[2], 2*(d[3]-d[1])
		return [6]int16{4*d[0] - d[2] + p, p + q, p - q, s + t, s - t, d[5] - d[3] - 2*t}
	}
	for i := range t.Tiles {
		for c := range 16 * t.Blocks {
			v = line of the columns, then of the rows, of d[y][x] = int16(t.Bytes[y*t.Row+(4*i+x)*t.Pixel+c])
			v[1][1] -= 36 * t.Zero // what else there is of it comes to nothing
			t.V[(6*y+x)*t.Pos+i*t.Step+c] = v[y][x]
		}
	}`, "I8WinoIn")
	t, px, pv, p, at, out := reg.R14, reg.RSI, reg.RDI, reg.RAX, reg.RBX, reg.RCX
	row, row3, row5, pix, pos, pos3, pos5, blocks := reg.RDX, reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13, reg.R15
	c.Load(c.Param("t"), t)
	c.MOVQ(mem(t, vBytes), px)
	c.MOVQ(mem(t, vV), pv)
	c.MOVQ(mem(t, vRow), row)
	c.MOVQ(mem(t, vPixel), pix)
	c.MOVQ(mem(t, vPos), pos)
	c.SHLQ(operand.U8(1), pos)
	c.SHLQ(operand.U8(1), mem(t, vStep))
	c.LEAQ(idx(row, row, 2), row3)
	c.LEAQ(idx(row, row, 4), row5)
	c.LEAQ(idx(pos, pos, 2), pos3)
	c.LEAQ(idx(pos, pos, 4), pos5)
	zero := reg.Z31
	c.MOVWLZX(mem(t, vZero), at.As32())
	c.IMUL3Q(operand.U8(36), at, at)
	c.VPBROADCASTW(at.As32(), zero)
	body := func(r []reg.VecPhysical) {
		t0, t1, t2, t3 := r[24], r[25], r[26], r[27]
		zero := r[31]
		// across transforms line y of registers e and stores it.
		across := func(y int, e []reg.VecPhysical) {
			o := places(out, pos, pos3, pos5)
			store := func(v reg.VecPhysical, i int) { c.VMOVDQU16(v, o[i]) }
			c.VPSLLW(operand.U8(2), e[2], t0)
			c.VPSUBW(t0, e[4], t0)
			c.VPSLLW(operand.U8(2), e[1], t1)
			c.VPSUBW(t1, e[3], t1)
			c.VPADDW(t1, t0, t2)
			c.VPSUBW(t1, t0, t3)
			if y == 1 {
				c.VPSUBW(zero, t2, t2)
			}
			store(t2, 1)
			store(t3, 2)
			c.VPSLLW(operand.U8(2), e[0], t1)
			c.VPADDW(t1, t0, t0)
			c.VPSUBW(e[2], t0, t0)
			store(t0, 0)
			c.VPSUBW(e[2], e[4], t0)
			c.VPSUBW(e[1], e[3], t1)
			c.VPADDW(t1, t1, t1)
			c.VPADDW(t1, t0, t2)
			c.VPSUBW(t1, t0, t3)
			store(t2, 3)
			store(t3, 4)
			c.VPSUBW(e[3], e[5], t0)
			c.VPADDW(t1, t1, t1)
			c.VPSUBW(t1, t0, t0)
			store(t0, 5)
			if y < 5 {
				c.LEAQ(idx(out, pos3, 2), out)
			}
		}
		for half := range 2 {
			c.MOVQ(at, p)
			for x := range 6 {
				a, e := places(p, row, row3, row5), func(y int) reg.VecPhysical { return r[6*y+x] }
				d := r[18:24]
				for y := half; y < 5+half; y++ {
					c.VPMOVZXBW(a[y], d[y])
				}
				if half == 0 {
					c.VPSLLW(operand.U8(2), d[2], t0)
					c.VPSUBW(t0, d[4], t0)
					c.VPSLLW(operand.U8(2), d[1], t1)
					c.VPSUBW(t1, d[3], t1)
					c.VPADDW(t1, t0, e(1))
					c.VPSUBW(t1, t0, e(2))
					c.VPSLLW(operand.U8(2), d[0], t1)
					c.VPADDW(t1, t0, t0)
					c.VPSUBW(d[2], t0, e(0))
				} else {
					c.VPSUBW(d[2], d[4], t0)
					c.VPSUBW(d[1], d[3], t1)
					c.VPADDW(t1, t1, t1)
					c.VPADDW(t1, t0, e(0))
					c.VPSUBW(t1, t0, e(1))
					c.VPSUBW(d[3], d[5], t0)
					c.VPADDW(t1, t1, t1)
					c.VPSUBW(t1, t0, e(2))
				}
				if x < 5 {
					c.ADDQ(pix, p)
				}
			}
			for y := range 3 {
				across(3*half+y, r[6*y:6*y+6])
			}
		}
	}
	c.Label("tile")
	c.MOVQ(px, at)
	c.MOVQ(pv, out)
	c.MOVQ(mem(t, vBlocks), blocks)
	c.JMP(operand.LabelRef("next"))
	c.Label("block")
	// out comes back from five lines of places down.
	body(zmm)
	c.IMUL3Q(operand.U8(30), pos, p)
	c.SUBQ(p, out)
	c.ADDQ(operand.U8(64), out)
	c.ADDQ(operand.U8(32), at)
	c.Label("next")
	c.SUBQ(operand.U8(2), blocks)
	c.JGE(operand.LabelRef("block"))
	c.CMPQ(blocks, operand.I8(-1))
	c.JNE(operand.LabelRef("whole"))
	half := make([]reg.VecPhysical, len(zmm))
	for i, r := range zmm {
		half[i] = r.AsY().(reg.VecPhysical)
	}
	body(half)
	c.Label("whole")
	c.LEAQ(idx(px, pix, 4), px)
	c.ADDQ(mem(t, vStep), pv)
	c.DECQ(mem(t, vTiles))
	c.JNZ(operand.LabelRef("tile"))
	c.VZEROUPPER()
	c.RET()
}

func i8WinoOut4Wide(c *build.Context) {
	const name = "i8WinoOut4x16AVX512"
	function(c, name, "func(t *I8WinoOut)", name+` brings a row of tiles of 4x4 pixels of 16 channels back and quantises it:

	line := func(m [6]int32) [4]int32 {
		a, b, c, d := m[1]+m[2], m[3]+m[4], m[1]-m[2], m[3]-m[4]
		return [4]int32{m[0] + a + b, c + 2*d, a + 4*b, c + 8*d + 2*m[5]}
	}
	for i := range t.Tiles {
		for l := range 16 {
			m[y][x] = t.M[(6*y+x)*t.Pos+i*16+l], and m[1][1] += 576*t.Bias[l], which goes to all pixels
			s = line of the columns, then of the rows, of m
			v := int16(RNE(float32(s[y][x]*0x38e38e39) * (t.Mul[l] / 64))) + t.zero
			t.Y[y*t.Row+(4*i+x)*t.Pixel+column(l)] = min(t.hi, max(t.lo, byte(v))) ^ t.flip
		}
	}

of which turning to int16 and to bytes, and the addition, saturate.`, "I8WinoOut")
	t, m, y, p, tmp := reg.R14, reg.RSI, reg.RDI, reg.RAX, reg.RBX
	pos, row, row3, row5, yrow, pix, pix3, n := reg.RCX, reg.RDX, reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13
	c.Load(c.Param("t"), t)
	c.MOVQ(mem(t, oM), m)
	c.MOVQ(mem(t, oPos), pos)
	c.SHLQ(operand.U8(2), pos)
	c.LEAQ(idx(pos, pos, 2), row)
	c.SHLQ(operand.U8(1), row)
	c.LEAQ(idx(row, row, 2), row3)
	c.LEAQ(idx(row, row, 4), row5)
	c.MOVQ(mem(t, oY), y)
	c.MOVQ(mem(t, oRow), yrow)
	c.MOVQ(mem(t, oPixel), pix)
	c.LEAQ(idx(pix, pix, 2), pix3)
	c.MOVQ(mem(t, oTmp), tmp)
	ninth, mul, zero, lo, hi, flip, order, t0 := zmm[24], zmm[25], zmm[26], zmm[27], zmm[28], zmm[29], zmm[30], zmm[31]
	number := func(v uint32, r reg.VecPhysical) {
		c.MOVL(operand.U32(v), n.As32())
		c.VPBROADCASTD(n.As32(), r)
	}
	number(576, t0)
	c.MOVQ(mem(t, oBias), n)
	c.VPMULLD(mem(n, 0), t0, t0)
	c.VMOVDQU32(t0, mem(tmp, 0))
	number(0x3c800000, mul) // 1/64
	c.MOVQ(mem(t, oMul), n)
	c.VMULPS(mem(n, 0), mul, mul)
	number(0x38e38e39, ninth)
	c.VPBROADCASTW(mem(t, oZero16), zero)
	c.VPBROADCASTB(mem(t, oLo8), lo)
	c.VPBROADCASTB(mem(t, oHi8), hi)
	c.VPBROADCASTB(mem(t, oFlip), flip)
	c.MOVQ(mem(t, oOrder), n)
	c.VMOVDQU32(mem(n, 0), order)
	c.Label("tile")
	s := func(y, x int) reg.VecPhysical { return zmm[6*y+x] }
	c.MOVQ(m, p)
	for x := range 6 {
		o := places(p, row, row3, row5)
		d0, d1, d2, d3 := s(0, x), s(1, x), s(2, x), s(3, x)
		c.VMOVDQU32(o[1], d1)
		if x == 1 {
			c.VPADDD(mem(tmp, 0), d1, d1)
		}
		c.VPADDD(o[2], d1, d0)
		c.VPSUBD(o[2], d1, d1)
		c.VMOVDQU32(o[3], d3)
		c.VPADDD(o[4], d3, t0)
		c.VPSUBD(o[4], d3, d3)
		c.VPSLLD(operand.U8(2), t0, d2)
		c.VPADDD(d0, d2, d2)
		c.VPADDD(t0, d0, d0)
		c.VPADDD(o[0], d0, d0)
		c.VPADDD(d3, d3, t0)
		c.VPSLLD(operand.U8(3), d3, d3)
		c.VPADDD(d1, d3, d3)
		c.VPADDD(t0, d1, d1)
		c.VMOVDQU32(o[5], t0)
		c.VPADDD(t0, d3, d3)
		c.VPADDD(t0, d3, d3)
		if x < 5 {
			c.ADDQ(pos, p)
		}
	}
	c.MOVQ(y, p)
	for y := range 4 {
		e0, e1, e2, e3, e4, e5 := s(y, 0), s(y, 1), s(y, 2), s(y, 3), s(y, 4), s(y, 5)
		c.VPADDD(e2, e1, t0)
		c.VPSUBD(e2, e1, e1)
		c.VPADDD(e4, e3, e2)
		c.VPSUBD(e4, e3, e3)
		c.VPADDD(t0, e0, e0)
		c.VPADDD(e2, e0, e0)
		c.VPSLLD(operand.U8(2), e2, e2)
		c.VPADDD(t0, e2, e2)
		c.VPADDD(e3, e3, e4)
		c.VPADDD(e1, e4, e4)
		c.VPSLLD(operand.U8(3), e3, e3)
		c.VPADDD(e1, e3, e3)
		c.VPADDD(e5, e5, e5)
		c.VPADDD(e5, e3, e3)
		px := []reg.VecPhysical{e0, e4, e2, e3}
		for _, r := range px {
			c.VPMULLD(ninth, r, r)
			c.VCVTDQ2PS(r, r)
			c.VMULPS(mul, r, r)
			c.VCVTPS2DQ(r, r)
		}
		c.VPACKSSDW(e4, e0, e0)
		c.VPACKSSDW(e3, e2, e2)
		c.VPADDSW(zero, e0, e0)
		c.VPADDSW(zero, e2, e2)
		c.VPACKUSWB(e2, e0, e0)
		c.VPMAXUB(lo, e0, e0)
		c.VPMINUB(hi, e0, e0)
		c.VPXORD(flip, e0, e0)
		c.VPERMD(e0, order, e0)
		o := []operand.Mem{mem(p, 0), idx(p, pix, 1), idx(p, pix, 2), idx(p, pix3, 1)}
		c.VMOVDQU32(e0.(reg.Vec).AsX(), o[0])
		for i := 1; i < 4; i++ {
			c.VEXTRACTI32X4(operand.U8(i), e0, o[i])
		}
		if y < 3 {
			c.ADDQ(yrow, p)
		}
	}
	c.LEAQ(idx(y, pix, 4), y)
	c.ADDQ(operand.U8(64), m)
	c.DECQ(mem(t, oTiles))
	c.JNZ(operand.LabelRef("tile"))
	c.VZEROUPPER()
	c.RET()
}

// i8WinoFilters4Wide holds the filters of two channels in the halves of a register, and all columns' transforms in eighteen.
func i8WinoFilters4Wide(c *build.Context) {
	const name = "i8WinoFilters4x16AVX512"
	function(c, name, "func(dst *int16, ld int, src *byte, pairs int, zip *[32]int16)", name+` transforms filters; pairs is at least 1:

	for c := range 2*pairs {
		for lane, column := range I8Lanes {
			for place, u := range WinoFilter4 of src[(9*c+tap)*16+column] as int8 {
				dst[place*ld+(c/2*16+lane)*2+c%2] = u
			}
		}
	}

zip has 16*(i%2) + I8Lanes[i/2] at i.`)
	d, ld, s, n, p := reg.RDI, reg.RDX, reg.RSI, reg.RCX, reg.RAX
	c.Load(c.Param("zip"), p)
	zip := zmm[24]
	c.VMOVDQU32(mem(p, 0), zip)
	c.Load(c.Param("dst"), d)
	c.Load(c.Param("ld"), ld)
	c.Load(c.Param("src"), s)
	c.Load(c.Param("pairs"), n)
	c.SHLQ(operand.U8(1), ld)
	// line gives 6a, -4(a+b+c), 4(b-a-c), a+2b+4c, a-2b+4c and 12c in registers o, and changes c.
	line := func(x [3]reg.VecPhysical, o []reg.VecPhysical) []reg.VecPhysical {
		c.VPADDW(x[0], x[2], o[2])
		c.VPSUBW(o[2], x[1], o[2])
		c.VPADDW(x[1], x[1], o[3])
		c.VPSUBW(o[3], o[2], o[1])
		c.VPSLLW(operand.U8(2), o[1], o[1])
		c.VPSLLW(operand.U8(2), o[2], o[2])
		c.VPSLLW(operand.U8(2), x[2], o[5])
		c.VPADDW(x[0], o[5], o[4])
		c.VPADDW(o[3], o[4], o[0])
		c.VPSUBW(o[3], o[4], o[4])
		c.VPADDW(x[0], x[0], o[3])
		c.VPADDW(x[0], o[3], o[3])
		c.VPADDW(o[3], o[3], o[3])
		c.VPADDW(o[5], o[5], x[2])
		c.VPADDW(x[2], o[5], o[5])
		return []reg.VecPhysical{o[3], o[1], o[2], o[0], o[4], o[5]}
	}
	c.Label("loop")
	var e [3][]reg.VecPhysical
	for x := range e {
		g := [3]reg.VecPhysical{zmm[18], zmm[19], zmm[20]}
		for k, r := range g {
			tap := 16 * (3*k + x)
			c.VMOVDQU32(mem(s, tap), r.AsX())
			c.VINSERTI32X4(operand.U8(1), mem(s, 9*16+tap), r.AsY(), r.AsY())
			c.VPMOVSXBW(r.AsY(), r)
		}
		e[x] = line(g, zmm[6*x:6*x+6])
	}
	c.MOVQ(d, p)
	for y := range 6 {
		for x, r := range line([3]reg.VecPhysical{e[0][y], e[1][y], e[2][y]}, zmm[18:24]) {
			c.VPERMW(r, zip, r)
			c.VMOVDQU32(r, mem(p, 0))
			if y < 5 || x < 5 {
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
