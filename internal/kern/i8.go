package kern

import (
	"math"

	"whit/internal/cpu"
)

// I8Lanes is the order in which the kernels on bytes hold 16 columns: lane l is column
// I8Lanes[l]. Packing two registers of eight int32 then gives the columns in order.
var I8Lanes = [16]int{0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15}

// I8Tile is one call of the integer product kernel: rows of 16 columns,
//
//	C[i*LDC+j] = quantise(Bias[j] + Σ_s Σ_k A[Rows[i]+Off[s]+k] * B[s,k,j])
//
// exact in int32, which the caller has proven to suffice, then times Mul[j] in float32,
// limited to [Lo, Hi], rounded to even, plus Zero. A holds what the zero point has been
// taken from. Rows and Off ascend. Bias and Mul are in the order of I8Lanes; B holds pairs of k of every lane:
// B[((s*K+k)/2*16+lane)*2 + k%2]. B8, where B is nil, is the same in bytes. Slope, which may be nil, and is only for B, is what
// the product with Mul is multiplied by, and rounded once more, where it is below zero.
type I8Tile struct {
	A      []int16
	Rows   []int
	Off    []int
	K      int // of a segment: a multiple of 4
	B      []int16
	Bias   []int32
	Mul    []float32
	C      []byte
	LDC    int
	Lo, Hi float32
	Zero   int32
	B8     []int8
	Sums   []int32 // instead of C in Sum16: the lanes of row i at i*16
	Slope  []float32
}

// I8Depthwise is one call of the integer depthwise kernel: a row of pixels of 16 channels,
//
//	Y[p*LDY+c] = quantise(Bias[c] + Σ_i X[p*RSX+Off[i]+c] * W[i,c])
//
// as in I8Tile. Off has an even length (of an odd number of taps the last one twice, with a
// weight of zero); W[(i/2*16+lane)*2 + i%2].
type I8Depthwise struct {
	X      []int16
	Off    []int
	RSX    int
	W      []int16
	Bias   []int32
	Mul    []float32
	Y      []byte
	LDY    int
	Pixels int
	Lo, Hi float32
	Zero   int32
}

// I8Max is one call of the pool of bytes: Blocks of 16 channels of a row of pixels,
//
//	Y[p*LDY+c] = max_i X[p*RSX+Off[i]+c]
type I8Max struct {
	X      []byte
	Off    []int
	RSX    int
	Y      []byte
	LDY    int
	Pixels int
	Blocks int
	Signed bool
}

// I8Sum is the sum of two rows of quantised values:
//
//	Y[i] = quantise(float32(A[i]^Flip - ZA)*MA + float32(B[i]^Flip>>8 - ZB)*MB)
//
// for i < N, every operation rounded to float32. Flip is 0x80 in the byte of an input that
// is signed, whose zero point then counts 128 more.
type I8Sum struct {
	A, B, Y []byte
	N       int
	Flip    int
	ZA, ZB  int32
	MA, MB  float32
	Lo, Hi  float32
	Zero    int32
}

// I8Product is the product of quantised values, of N channels of each of a row of pixels:
//
//	Y[p*StepY+c] = quantise((A[p*StepA+c]^Flip - ZA) * (B[p*StepB+c]^Flip>>8 - ZB))
//
// exact before it is multiplied by Mul, as in I8Tile. StepB may be 0; Flip is I8Sum's. Y may be A, with its step.
type I8Product struct {
	A, B, Y             []byte
	StepA, StepB, StepY int
	Pixels, N           int
	Flip                int
	ZA, ZB              int32
	Mul, Lo, Hi         float32
	Zero                int32
}

// Ints is the work on bytes. Assembly and portable Go give the same integers.
type Ints struct{ asm, vnni, vbmi bool }

// IntsOf is the work for a processor with features f.
func IntsOf(f cpu.Features) Ints {
	return Ints{haveAsm && f.AVX2FMA, haveAsm && f.VNNI, haveAsm && f.VBMI}
}

// Name is what a kernel's name ends in.
func (v Ints) Name() string {
	if v.asm {
		return "avx2"
	}
	return "go"
}

// Tile computes a tile. It panics where a slice is too short.
func (v Ints) Tile(t *I8Tile) {
	n := len(t.Rows)
	if n == 0 {
		return
	}
	if t.K < 4 || t.K%4 != 0 || len(t.Off) == 0 || t.LDC < 16 {
		panic("kern: integer tile out of range")
	}
	_ = t.A[t.Rows[n-1]+t.Off[len(t.Off)-1]+t.K-1]
	if t.B != nil {
		_ = t.B[len(t.Off)*t.K*16-1]
	} else {
		_ = t.B8[len(t.Off)*t.K*16-1]
	}
	_, _, _ = t.Bias[15], t.Mul[15], t.C[(n-1)*t.LDC+15]
	if t.Slope != nil {
		_, _ = t.Slope[15], t.B[0]
	}
	v.tile(t)
}

// Quantise is RNE(min(hi, max(lo, float32(acc)*mul))) + zero as a byte.
func Quantise(acc int32, mul, lo, hi float32, zero int32) byte {
	return round(float32(float32(acc)*mul), lo, hi, zero)
}

func round(f, lo, hi float32, zero int32) byte {
	return byte(int32(math.RoundToEven(float64(min(hi, max(lo, f))))) + zero)
}

func i8TileGo(t *I8Tile) {
	for i, row := range t.Rows {
		acc := [16]int32(t.Bias)
		for s, off := range t.Off {
			a := t.A[row+off:][:t.K]
			if t.B != nil {
				b := t.B[s*t.K*16:][:t.K*16]
				for k := 0; k < t.K; k += 2 {
					x, y := int32(a[k]), int32(a[k+1])
					for l, w := 0, (*[32]int16)(b[k*16:]); l < 16; l++ {
						acc[l] += x*int32(w[2*l]) + y*int32(w[2*l+1])
					}
				}
			} else {
				b := t.B8[s*t.K*16:][:t.K*16]
				for k := 0; k < t.K; k += 2 {
					x, y := int32(a[k]), int32(a[k+1])
					for l, w := 0, (*[32]int8)(b[k*16:]); l < 16; l++ {
						acc[l] += x*int32(w[2*l]) + y*int32(w[2*l+1])
					}
				}
			}
		}
		c := t.C[i*t.LDC:][:16]
		for l, j := range I8Lanes {
			f := float32(float32(acc[l]) * t.Mul[l])
			if f < 0 && t.Slope != nil {
				f = float32(f * t.Slope[l])
			}
			c[j] = round(f, t.Lo, t.Hi, t.Zero)
		}
	}
}

// Depthwise computes a row, and may leave another Y in t. It panics where a slice is too short.
func (v Ints) Depthwise(t *I8Depthwise) {
	if t.Pixels <= 0 {
		return
	}
	if len(t.Off) == 0 || len(t.Off)%2 != 0 || t.LDY < 16 {
		panic("kern: integer depthwise call out of range")
	}
	for _, off := range t.Off {
		_ = t.X[(t.Pixels-1)*t.RSX+off+15]
	}
	_, _, _, _ = t.W[len(t.Off)*16-1], t.Bias[15], t.Mul[15], t.Y[(t.Pixels-1)*t.LDY+15]
	v.depthwise(t)
}

func i8DepthwiseGo(t *I8Depthwise) {
	for p := range t.Pixels {
		acc := [16]int32(t.Bias)
		for i, off := range t.Off {
			x := (*[16]int16)(t.X[p*t.RSX+off:])
			w := t.W[i/2*32+i%2:]
			for l, j := range I8Lanes {
				acc[l] += int32(x[j]) * int32(w[2*l])
			}
		}
		y := t.Y[p*t.LDY:][:16]
		for l, j := range I8Lanes {
			y[j] = Quantise(acc[l], t.Mul[l], t.Lo, t.Hi, t.Zero)
		}
	}
}

// Widen is dst[i] = src[i] - zero for i < len(src), with src of int8 where signed.
func (v Ints) Widen(dst []int16, src []byte, signed bool, zero int) {
	dst = dst[:len(src)]
	flip := byte(0)
	if signed {
		flip, zero = 0x80, zero+128
	}
	k := v.widen(dst, src, flip, zero)
	for i, x := range src[k:] {
		dst[k+i] = int16(x^flip) - int16(zero)
	}
}

// Max computes a pool. It panics where a slice is too short.
func (v Ints) Max(t *I8Max) {
	if t.Pixels <= 0 || t.Blocks <= 0 {
		return
	}
	for _, off := range t.Off {
		_ = t.X[(t.Pixels-1)*t.RSX+off+16*t.Blocks-1]
	}
	_, _ = t.Off[0], t.Y[(t.Pixels-1)*t.LDY+16*t.Blocks-1]
	v.max(t)
}

func i8MaxGo(t *I8Max) {
	flip := byte(0)
	if t.Signed {
		flip = 0x80
	}
	for p := range t.Pixels {
		y := t.Y[p*t.LDY:][:16*t.Blocks]
		clear(y)
		for _, off := range t.Off {
			for c, x := range t.X[p*t.RSX+off:][:len(y)] {
				y[c] = max(y[c], x^flip)
			}
		}
		for c := range y {
			y[c] ^= flip
		}
	}
}

// Sum computes a sum. It panics where a slice is too short.
func (v Ints) Sum(t *I8Sum) {
	t.A, t.B, t.Y = t.A[:t.N], t.B[:t.N], t.Y[:t.N]
	fa, fb := byte(t.Flip), byte(t.Flip>>8)
	for i := v.sum(t); i < t.N; i++ {
		a := float32(float32(int32(t.A[i]^fa)-t.ZA) * t.MA)
		b := float32(float32(int32(t.B[i]^fb)-t.ZB) * t.MB)
		t.Y[i] = round(float32(a+b), t.Lo, t.Hi, t.Zero)
	}
}

// Product computes a product. It panics where a slice is too short.
func (v Ints) Product(t *I8Product) {
	if t.Pixels <= 0 || t.N <= 0 {
		return
	}
	if t.StepA|t.StepB|t.StepY < 0 {
		panic("kern: product out of range")
	}
	last := t.Pixels - 1
	_, _, _ = t.A[last*t.StepA+t.N-1], t.B[last*t.StepB+t.N-1], t.Y[last*t.StepY+t.N-1]
	k := v.product(t)
	if k == t.N {
		return
	}
	fa, fb := byte(t.Flip), byte(t.Flip>>8)
	for p := range t.Pixels {
		a, b, y := t.A[p*t.StepA:][:t.N], t.B[p*t.StepB:][:t.N], t.Y[p*t.StepY:][:t.N]
		for c := k; c < len(y); c++ {
			y[c] = Quantise((int32(a[c]^fa)-t.ZA)*(int32(b[c]^fb)-t.ZB), t.Mul, t.Lo, t.Hi, t.Zero)
		}
	}
}

// Quantize is dst[i] = RNE(min(hi, max(lo, src[i]/scale))) + zero for i < len(src); NaN counts as 0.
func (v Ints) Quantize(dst []byte, src []float32, scale, lo, hi float32, zero int32) {
	dst = dst[:len(src)]
	k := v.quantize(dst, src, scale, lo, hi, zero)
	for i, x := range src[k:] {
		dst[k+i] = quantize(x, scale, lo, hi, zero)
	}
}

func quantize(x, scale, lo, hi float32, zero int32) byte {
	if x /= scale; x != x {
		x = 0
	}
	return round(x, lo, hi, zero)
}

// Dequantize is dst[i] = float32(src[i] - zero) * scale for i < len(src), with src of int8 where signed.
func (v Ints) Dequantize(dst []float32, src []byte, signed bool, zero int, scale float32) {
	dst = dst[:len(src)]
	flip := byte(0)
	if signed {
		flip, zero = 0x80, zero+128
	}
	k := v.dequantize(dst, src, flip, zero, scale)
	for i, x := range src[k:] {
		dst[k+i] = float32(int32(x^flip)-int32(zero)) * scale
	}
}

// Tables is dst[p*dstStride+c] = tables[256*c+src[p*srcStride+c]] for p < pixels and c < channels.
// It panics where a slice is too short.
func (v Ints) Tables(dst, src, tables []byte, pixels, dstStride, srcStride, channels int) {
	if pixels <= 0 || channels <= 0 {
		return
	}
	_, _, _ = dst[(pixels-1)*dstStride+channels-1], src[(pixels-1)*srcStride+channels-1], tables[256*channels-1]
	if v.tables(dst, src, tables, pixels, dstStride, srcStride, channels) {
		return
	}
	for p := range pixels {
		d, s, t := dst[p*dstStride:][:channels], src[p*srcStride:], tables
		for c, b := range s[:len(d)] {
			d[c] = t[b]
			t = t[256:]
		}
	}
}

// Widen16 is Widen of blocks of 16 bytes, stride apart, that follow each other in dst.
func (v Ints) Widen16(dst []int16, src []byte, pixels, stride int, signed bool, zero int) {
	if pixels <= 0 {
		return
	}
	dst = dst[:16*pixels]
	_ = src[(pixels-1)*stride+15]
	flip := byte(0)
	if signed {
		flip, zero = 0x80, zero+128
	}
	if v.widen16(dst, src, pixels, stride, flip, zero) {
		return
	}
	for p := range pixels {
		for i, x := range src[p*stride:][:16] {
			dst[16*p+i] = int16(x^flip) - int16(zero)
		}
	}
}
