package kern

// I8DWDot is one call of the depthwise kernel that multiplies four bytes at a time: rows of pixels of 16 channels,
//
//	Y[y*Line+p*LDY+c] = quantise(Bias[c] + Σ_i Σ_r X[y*Row+p*RSX+Off[i]+4*c+r] * W[64*i+4*c+r])
//
// for r < 4, as in I8Tile; sums are modulo 2³². X holds rows of bytes in fours, as [Ints.Quads] writes them.
type I8DWDot struct {
	X      []byte
	Off    []int
	RSX    int
	W      []int8
	Bias   []int32
	Mul    []float32
	Y      []byte
	LDY    int
	Pixels int
	Lo, Hi float32
	Zero   int32
	Row    int // of X
	Line   int // of Y
	Rows   int
}

// DWDots reports whether DWDot has instructions for it.
func (v Ints) DWDots() bool { return v.vnni }

// DWDot computes rows, and may leave other values in t. It panics where a slice is too short.
func (v Ints) DWDot(t *I8DWDot) {
	if t.Pixels <= 0 || t.Rows <= 0 {
		return
	}
	if len(t.Off) == 0 || t.LDY < 16 || t.RSX < 0 || t.Row < 0 || t.Line < 0 {
		panic("kern: integer depthwise call out of range")
	}
	for _, off := range t.Off {
		_ = t.X[(t.Rows-1)*t.Row+(t.Pixels-1)*t.RSX+off+63]
	}
	_, _, _, _ = t.W[len(t.Off)*64-1], t.Bias[15], t.Mul[15], t.Y[(t.Rows-1)*t.Line+(t.Pixels-1)*t.LDY+15]
	v.dwDot(t)
}

func i8DWDotGo(t *I8DWDot) {
	for i := range t.Rows * t.Pixels {
		y, p := i/t.Pixels, i%t.Pixels
		for c := range 16 {
			acc := t.Bias[c]
			for i, off := range t.Off {
				x, w := t.X[y*t.Row+p*t.RSX+off+4*c:][:4], t.W[64*i+4*c:]
				for r, b := range x {
					acc += int32(b) * int32(w[r])
				}
			}
			t.Y[y*t.Line+p*t.LDY+c] = Quantise(acc, t.Mul[c], t.Lo, t.Hi, t.Zero)
		}
	}
}

// Quads is dst[64*p+4*c+r] = src[r][p*stride[r]+c]^flip for p < pixels, c < 16 and r < 4: rows of bytes in fours.
// It panics where a slice is too short.
func (v Ints) Quads(dst []byte, src *[4][]byte, stride *[4]int, pixels int, flip byte) {
	if pixels <= 0 {
		return
	}
	_ = dst[64*pixels-1]
	for r, s := range src {
		_ = s[(pixels-1)*stride[r]+15]
	}
	if v.quads(dst, src, stride, pixels, flip) {
		return
	}
	for p := range pixels {
		for r, s := range src {
			for c, x := range s[p*stride[r]:][:16] {
				dst[64*p+4*c+r] = x ^ flip
			}
		}
	}
}
