package main

import (
	"fmt"
	"math"
)

// The other kernels of floats for arm64: the depthwise convolution, Winograd's transforms,
// elementwise functions. R20 is the argument, R21 to R24 are changed anywhere.

// Offsets of the fields of kern.flatNEON; a test of package kern checks them.
const (
	fnDst = 0
	fnA   = 8
	fnB   = 16
	fnSA  = 24
	fnSB  = 32
	fnN   = 40
)

func init() {
	armKernels = append(armKernels, armKernel{"f32_dw_4x8_neon", "f32DW4x8NEON", "t *Depthwise",
		`f32DW4x8NEON computes a row of pixels, 8 channels after the other and what is left one by one:

	for c := range t.N {
		for p := range t.Pixels {
			acc := 0
			for i, off := range t.Off {
				acc = fma(t.X[p*t.RSX+off+c], t.W[(c/8*len(t.Off)+i)*8+c%8], acc)
			}
			acc += t.Bias[c]                      // with FlagCol
			acc = acc or, below 0, acc*t.Slope[c] // with FlagPRelu
			acc = min(t.Hi, max(t.Lo, acc))       // with FlagClamp; NaN stays
			t.Y[p*t.LDY+c] = acc
		}
	}`, armDepthwise})
	for _, m := range []int{4, 2} {
		in, out := fmt.Sprintf("f32WinoIn%d4NEON", m), fmt.Sprintf("f32WinoOut%d4NEON", m)
		armKernels = append(armKernels,
			armKernel{fmt.Sprintf("f32_winoin%d_4_neon", m), in, "t *WinogradIn", in + winogradInDoc(m, "4 channels at a time"), func(a *arm) { armWinogradIn(a, m, m+2, winogradB) }},
			armKernel{fmt.Sprintf("f32_winoout%d_4_neon", m), out, "t *WinogradOut", out + winogradOutDoc(m, "4 channels at a time"), func(a *arm) { armWinogradOut(a, m) }})
	}
	armKernels = append(armKernels, armKernel{"f32_winograd4_4_neon", "f32WinoGrad44NEON", "t *WinogradIn",
		"f32WinoGrad44NEON" + winogradGradDoc(4, "4 channels at a time"), func(a *arm) { armWinogradIn(a, 4, 4, winogradAT) }})
	for _, o := range []struct{ name, goOp string }{{"Add", "a + b"}, {"Sub", "a - b"}, {"Mul", "a * b"}, {"Div", "a / b"}, {"PRelu", "a, or a * b where a < 0"}, {"Clamp", "min(b[4], max(b[0], a)) of all, NaN stays"}} {
		name := "f32Vec" + o.name + "NEON"
		armKernels = append(armKernels, armKernel{"f32_vec" + lower(o.name) + "_neon", name, "t *flatNEON", name + ` is, with t.n a multiple of 4 and sa, sb 16 or 0:

	for i := range t.n {
		dst[i] = ` + o.goOp + ` // of a = t.a[i/4*sa/4+i%4], b alike
	}`, func(a *arm) { armFlat(a, o.name) }})
	}
}

// armVectors is a transform's arithmetic.
type armVectors struct{ *arm }

func (v armVectors) add(a, b, d int)  { v.v3("FADD", d, a, b) }
func (v armVectors) sub(a, b, d int)  { v.v3("FSUB", d, a, b) }
func (v armVectors) fma(a, b, d int)  { v.v3("FMLA", d, a, b) }
func (v armVectors) fnma(a, b, d int) { v.v3("FMLS", d, a, b) }
func (v armVectors) mov(a, d int)     { v.v2("MOV", d, a) }

// constant fills v with x.
func (a *arm) constant(x float32, v int) {
	a.op("MOVW $0x%08x, R21", math.Float32bits(x))
	a.op("VDUP R21, V%d.S4", v)
}

// clamp limits r to lo and hi; NaN, and zero of either sign, stay. t is changed.
func (a *arm) clamp(r, lo, hi, t int) {
	a.v3("FCMGT", t, lo, r)
	a.v3("BIT", r, lo, t)
	a.v3("FCMGT", t, r, hi)
	a.v3("BIT", r, hi, t)
}

// prelu multiplies r by slope where its sign bit is set; t and u are changed.
func (a *arm) prelu(r, slope, t, u int) {
	a.v3("FMUL", t, r, slope)
	a.v2("CMLT0", u, r)
	a.v3("BIT", r, t, u)
}

// bytes loads a field that counts floats into r, as bytes.
func (a *arm) bytes(field int, r string) {
	a.op("MOVD %d(R20), %s", field, r)
	a.op("LSL $2, %s", r)
}

// armDepthwise: R0 X and R1 Y of the channels, R2 and R3 their strides, R4 pixels left, R5 and R6
// taps, R7 weights, R8-R11 pixels, R12 channels left, R13 bytes of those done, R14 the block's
// weights, R19 flags; V0-V7 sums, V16 and V17 weights, V18-V25 X, V26-V31 the ends'. What is left of
// less than 8 channels goes one by one, in the lowest lane.
func armDepthwise(a *arm) {
	a.bytes(dRSX, "R2")
	a.bytes(dLDY, "R3")
	a.op("MOVD %d(R20), R14", dW)
	a.op("MOVD %d(R20), R12", dN)
	a.op("MOVD $0, R13")
	a.op("MOVD %d(R20), R19", dFlags)
	a.spreadAt(dLo, 26)
	a.spreadAt(dHi, 27)
	for _, regs8 := range []int{2, 1} {
		one := regs8 == 1
		s := map[bool]string{false: "", true: "one"}[one]
		load := func(v int, p string) {
			if one {
				a.op("FMOVS (%s), F%d", p, v)
			} else {
				a.op("VLD1 (%s), %s", p, regs(v, 2))
			}
		}
		a.label("block%s", s)
		if one {
			a.op("CBZ R12, done")
		} else {
			a.op("CMP $8, R12")
			a.op("BLT blockone")
		}
		a.op("MOVD %d(R20), R0", dX)
		a.op("ADD R13, R0")
		a.op("MOVD %d(R20), R1", dY)
		a.op("ADD R13, R1")
		a.op("MOVD %d(R20), R4", dPixels)
		for _, f := range []struct {
			flag, field, v int
			name           string
		}{{fCol, dBias, 28, "bias"}, {fPRelu, dSlope, 30, "slope"}} {
			a.op("TST $%d, R19", f.flag)
			a.op("BEQ no%s%s", f.name, s)
			a.op("MOVD %d(R20), R21", f.field)
			a.op("ADD R13, R21")
			load(f.v, "R21")
			a.label("no%s%s", f.name, s)
		}
		a.label("pixels%s", s)
		a.op("CMP $4, R4")
		a.op("BGE group4%s", s)
		a.op("CBNZ R4, group1%s", s)
		// The next channels.
		if one {
			a.op("ADD $4, R14")
			a.op("ADD $4, R13")
			a.op("SUB $1, R12")
		} else {
			a.op("MOVD %d(R20), R21", dTaps)
			a.op("ADD R21<<5, R14")
			a.op("ADD $32, R13")
			a.op("SUB $8, R12")
		}
		a.op("B block%s", s)
		for _, group := range []int{4, 1} {
			g := fmt.Sprintf("%d%s", group, s)
			a.label("group%s", g)
			a.op("MOVD R0, R8")
			for i := 1; i < group; i++ {
				a.op("ADD R2, R%d, R%d", 7+i, 8+i)
			}
			a.op("ADD R2, R%d, R0", 7+group)
			for i := range group * regs8 {
				a.v3("EOR", i, i, i)
			}
			a.op("MOVD %d(R20), R5", dOff)
			a.op("MOVD %d(R20), R6", dTaps)
			a.op("MOVD R14, R7")
			a.label("taps%s", g)
			a.op("MOVD.P 8(R5), R22")
			load(16, "R7")
			a.op("ADD $32, R7")
			for i := range group {
				a.op("ADD R22<<2, R%d, R21", 8+i)
				load(18+2*i, "R21")
			}
			for i := range group {
				for j := range regs8 {
					a.v3("FMLA", i*regs8+j, 18+2*i+j, 16+j)
				}
			}
			a.op("SUBS $1, R6")
			a.op("BNE taps%s", g)
			each := func(flag int, name string, f func(r, j int)) {
				a.op("TST $%d, R19", flag)
				a.op("BEQ %s%s", name, g)
				for i := range group {
					for j := range regs8 {
						f(i*regs8+j, j)
					}
				}
				a.label("%s%s", name, g)
			}
			each(fCol, "prelu", func(r, j int) { a.v3("FADD", r, r, 28+j) })
			each(fPRelu, "clamp", func(r, j int) { a.prelu(r, 30+j, 16, 17) })
			each(fClamp, "store", func(r, _ int) { a.clamp(r, 26, 27, 16) })
			for i := range group {
				if one {
					a.op("FMOVS F%d, (R1)", i)
				} else {
					a.op("VST1 %s, (R1)", regs(2*i, 2))
				}
				a.op("ADD R3, R1")
			}
			a.op("SUB $%d, R4", group)
			a.op("B pixels%s", s)
		}
	}
	a.label("done")
	a.op("RET")
}

// armWinogradIn applies f, from n numbers to m+2, to the columns and then to the rows: R0 X, R1 and R2 its strides, R3 V, R4 its stride, R5 channels left, R6 Tmp.
func armWinogradIn(a *arm, m, n int, f func(v vectors, m int) []int) {
	v := armVectors{a}
	a.op("MOVD %d(R20), R0", wiX)
	a.bytes(wiSH, "R1")
	a.bytes(wiSW, "R2")
	a.op("MOVD %d(R20), R3", wiV)
	a.bytes(wiLDP, "R4")
	a.op("MOVD %d(R20), R5", wiN)
	a.op("MOVD %d(R20), R6", wiTmp)
	if m == 4 {
		a.constant(4, 13)
		a.constant(5, 14)
		a.constant(2, 15)
	}
	a.label("channels")
	a.op("MOVD R0, R7")
	for j := range n {
		a.op("MOVD R7, R8")
		for i := range n {
			a.op("VLD1.P (R8)(R1), [V%d.S4]", i)
		}
		for i, r := range f(v, m) {
			a.op("FMOVQ F%d, %d(R6)", r, (i*n+j)*16)
		}
		a.op("ADD R2, R7")
	}
	a.op("MOVD R3, R8")
	for i := range m + 2 {
		for j := range n {
			a.op("FMOVQ %d(R6), F%d", (i*n+j)*16, j)
		}
		for _, r := range f(v, m) {
			a.op("VST1.P [V%d.S4], (R8)(R4)", r)
		}
	}
	a.op("ADD $16, R0")
	a.op("ADD $16, R3")
	a.op("SUBS $4, R5")
	a.op("BNE channels")
	a.op("RET")
}

// armWinogradOut: R0 M, R1 its stride, R2 Y, R3 and R4 its strides, R5 channels left, R6 Tmp, R7 to R9
// where loads and stores are, R10 bytes of the channels done, R11 the stride of M's rows, R12 rows
// left, R13 R, R14 and R15 its strides, R19 flags, R25 columns; V13 bias, V14 and V15 limits.
func armWinogradOut(a *arm, m int) {
	n, v := m+2, armVectors{a}
	a.op("MOVD %d(R20), R0", woM)
	a.bytes(woLDP, "R1")
	a.op("MOVD %d(R20), R2", woY)
	a.bytes(woSH, "R3")
	a.bytes(woSW, "R4")
	a.op("MOVD %d(R20), R5", woN)
	a.op("MOVD %d(R20), R6", woTmp)
	a.bytes(woRSH, "R14")
	a.bytes(woRSW, "R15")
	a.op("MOVD %d(R20), R19", woFlags)
	a.op("MOVD %d(R20), R25", woNX)
	a.op("MOVD $0, R10")
	a.op("MOVD $%d, R21", n)
	a.op("MUL R1, R21, R11")
	if m == 4 {
		a.constant(2, 10)
		a.constant(4, 11)
		a.constant(8, 12)
	}
	a.v3("EOR", 13, 13, 13)
	a.spreadAt(woLo, 14)
	a.spreadAt(woHi, 15)
	a.label("channels")
	a.op("MOVD R0, R7")
	for j := range n {
		a.op("MOVD R7, R8")
		for i := range n {
			a.op("VLD1.P (R8)(R11), [V%d.S4]", i)
		}
		for i, r := range winogradA(v, m) {
			a.op("FMOVQ F%d, %d(R6)", r, (i*n+j)*16)
		}
		a.op("ADD R1, R7")
	}
	// vector loads what a field points to, for these channels.
	vector := func(field, v int) {
		a.op("MOVD %d(R20), R21", field)
		a.op("ADD R10, R21")
		a.op("VLD1 (R21), [V%d.S4]", v)
	}
	flag := func(bit int, label string) {
		a.op("TST $%d, R19", bit)
		a.op("BEQ %s", label)
	}
	flag(fCol, "nobias")
	vector(woBias, 13)
	a.label("nobias")
	flag(fPRelu, "noslope")
	vector(woSlope, 16)
	a.label("noslope")
	a.op("MOVD %d(R20), R12", woNY)
	a.op("MOVD R2, R7")
	a.op("MOVD %d(R20), R13", woR)
	a.op("ADD R10, R13")
	for i := range m {
		l := func(s string) string { return fmt.Sprintf("%s%d", s, i) }
		for j := range n {
			a.op("FMOVQ %d(R6), F%d", (i*n+j)*16, j)
		}
		out := winogradA(v, m)
		for _, o := range out {
			a.v3("FADD", o, o, 13)
		}
		// columns goes on to f for the columns that are there.
		columns := func(end, stride string, f func(o int)) {
			for j, o := range out {
				if j > 0 {
					a.op("CMP $%d, R25", j)
					a.op("BLE %s", end)
					a.op("ADD %s, R8", stride)
				}
				f(o)
			}
			a.label("%s", end)
		}
		flag(fAdd, l("noadd"))
		a.op("MOVD R13, R8")
		columns(l("noadd"), "R15", func(o int) {
			a.op("VLD1 (R8), [V17.S4]")
			a.v3("FADD", o, o, 17)
		})
		flag(fPRelu, l("noprelu"))
		for _, o := range out {
			a.prelu(o, 16, 17, 18)
		}
		a.label("%s", l("noprelu"))
		flag(fClamp, l("noclamp"))
		for _, o := range out {
			a.clamp(o, 14, 15, 17)
		}
		a.label("%s", l("noclamp"))
		a.op("MOVD R7, R8")
		columns(l("stored"), "R4", func(o int) { a.op("VST1 [V%d.S4], (R8)", o) })
		if i < m-1 {
			a.op("SUBS $1, R12")
			a.op("BEQ next")
			a.op("ADD R3, R7")
			a.op("ADD R14, R13")
		}
	}
	a.label("next")
	a.op("ADD $16, R0")
	a.op("ADD $16, R2")
	a.op("ADD $16, R10")
	a.op("SUBS $4, R5")
	a.op("BNE channels")
	a.op("RET")
}

func armFlat(a *arm, op string) {
	a.op("MOVD %d(R20), R0", fnDst)
	a.op("MOVD %d(R20), R1", fnA)
	a.op("MOVD %d(R20), R2", fnB)
	a.op("MOVD %d(R20), R3", fnSA)
	a.op("MOVD %d(R20), R4", fnSB)
	a.op("MOVD %d(R20), R5", fnN)
	if op == "Clamp" {
		a.op("VLD1.P 16(R2), [V2.S4]")
		a.op("VLD1 (R2), [V3.S4]")
	}
	a.v3("EOR", 5, 5, 5)
	a.label("loop")
	a.op("VLD1.P (R1)(R3), [V0.S4]")
	if op != "Clamp" {
		a.op("VLD1.P (R2)(R4), [V1.S4]")
	}
	switch op {
	case "Clamp":
		a.clamp(0, 2, 3, 4)
	case "PRelu":
		a.v3("FMUL", 2, 0, 1)
		a.v3("FCMGT", 4, 5, 0)
		a.v3("BIT", 0, 2, 4)
	default:
		a.v3(map[string]string{"Add": "FADD", "Sub": "FSUB", "Mul": "FMUL", "Div": "FDIV"}[op], 0, 0, 1)
	}
	a.op("VST1.P [V0.S4], 16(R0)")
	a.op("SUBS $4, R5")
	a.op("BNE loop")
	a.op("RET")
}
