package kern

// I8DW3 is one call of the integer depthwise 3x3 kernel: rows of pixels of 16 channels, in stride 1 two
// at a time. X holds rows of bytes in pairs, widened, as [Ints.WidenPairs] writes them: channel c of row 2q+r
// and column i is at q*Row + 32*i + 2*c + r. With Across 1 or 2, the columns from one pixel to the next,
//
//	acc = Bias[c] + Σ_ij X[row y*Down+i, column p*Across+j, c] * W[i,j,c]
//	Y[y*Line+p*LDY+c] = min(Hi, max(Lo, RNE(float32(acc)*Mul[c]) + Zero)) ^ Flip
//
// where Down is 1 for Across 1, else 2; products acc*Mul are below 2^31, Lo and Hi within bytes, and limits
// before or after the rounding are the same. W is from [PackDW3]. Bias takes off what zero points add. With
// Pixels of a row, Rows is the number of rows, or of pairs of them in stride 1, of which the second is Second
// bytes behind the first and is stored first: 0 leaves only the first.
type I8DW3 struct {
	X            []int16
	Row          int
	W            []int16
	Bias         []int32
	Mul          []float32
	Y            []byte
	LDY          int // of pixels
	Line         int // of rows, or pairs of them
	Second       int
	Pixels, Rows int
	Across       int
	Zero         int32
	Lo, Hi, Flip int32
	consts       [16]uint64 // Zero in 16 words, Lo, Hi and Flip in 32 bytes each
}

// DW3Weights is how many numbers PackDW3 writes.
const DW3Weights = 12 * 16

// PackDW3 packs the weights of 16 channels: w[9*c+i] is tap i of channel c. Vectors hold pairs of rows, 0 and 1
// or 1 and 2, of eight channels: [c/8][rows][column][c%8][2].
func PackDW3(dst []int16, w *[16 * 9]int16) {
	dst = dst[:DW3Weights]
	for c := range 16 {
		for r := range 2 {
			for j := range 3 {
				d := dst[c/8*96+r*48+j*16+c%8*2:][:2]
				d[0], d[1] = w[9*c+3*r+j], w[9*c+3*r+3+j]
			}
		}
	}
}

// DW3 computes rows. It panics where a slice is too short.
func (v Ints) DW3(t *I8DW3) {
	if t.Pixels <= 0 || t.Rows <= 0 {
		return
	}
	if t.Across != 1 && t.Across != 2 || t.Row < 32 || t.LDY < 16 || t.Second < 0 || t.Line < 0 {
		panic("kern: integer depthwise call out of range")
	}
	_ = t.X[t.Rows*t.Row+32*((t.Pixels-1)*t.Across+3)-1]
	_, _, _ = t.W[DW3Weights-1], t.Bias[15], t.Mul[15]
	_ = t.Y[(t.Rows-1)*t.Line+t.Second+(t.Pixels-1)*t.LDY+15]
	const words, bytes = 0x0001000100010001, 0x0101010101010101
	z, lo, hi, flip := words*uint64(uint16(t.Zero)), bytes*uint64(byte(t.Lo)), bytes*uint64(byte(t.Hi)), bytes*uint64(byte(t.Flip))
	t.consts = [16]uint64{z, z, z, z, lo, lo, lo, lo, hi, hi, hi, hi, flip, flip, flip, flip}
	v.dw3(t)
}

func i8DW3Go(t *I8DW3) {
	for y := range t.Rows {
		for p := range t.Pixels {
			for k := 2 - t.Across; k >= 0; k-- { // the second row, the first
				for c := range 16 {
					acc := t.Bias[c]
					for i := range 3 {
						row := k + i
						x := t.X[(y+row/2)*t.Row+32*p*t.Across+2*c+row%2:]
						w := t.W[c/8*96+min(i, 1)*48+c%8*2+i-min(i, 1):]
						acc += int32(x[0])*int32(w[0]) + int32(x[32])*int32(w[16]) + int32(x[64])*int32(w[32])
					}
					q := int32(Quantise(acc, t.Mul[c], float32(t.Lo-t.Zero), float32(t.Hi-t.Zero), t.Zero))
					t.Y[y*t.Line+k*t.Second+p*t.LDY+c] = byte(q ^ t.Flip)
				}
			}
		}
	}
}

// WidenPairs is dst[32*p+2*c+r] = src[r][p*stride[r]+c]^flip for p < pixels, c < 16 and r < 2: rows of bytes in pairs.
func (v Ints) WidenPairs(dst []int16, src [2][]byte, stride [2]int, pixels int, flip byte) {
	if pixels <= 0 {
		return
	}
	_, _, _ = dst[32*pixels-1], src[0][(pixels-1)*stride[0]+15], src[1][(pixels-1)*stride[1]+15]
	if v.widenPairs(dst, src, stride, pixels, flip) {
		return
	}
	for p := range pixels {
		for r, s := range src {
			for c, x := range s[p*stride[r]:][:16] {
				dst[32*p+2*c+r] = int16(x ^ flip)
			}
		}
	}
}
