package kern

// Winograd's F(2x2,3x3) in integers: with the weights' transform scaled by 4 all of it is
// exact, and a quarter of the result is the convolution, as long as four times the sum fits int32
// (what overflows on the way wraps and comes back).

// I8WinoIn is one call of the input's transform: a row of tiles of 4x4 pixels two apart,
//
//	V[(4*y+x)*Pos + i*Step + c] = (B' d B)[y,x] of d[y,x] = X[y*Row + (2*i+x)*Pixel + c]
//
// for c < 16*Blocks.
type I8WinoIn struct {
	X          []int16
	Row, Pixel int
	V          []int16
	Pos, Step  int
	Blocks     int
	Tiles      int
	// Bytes, of WinoIn4 where Ints.WinoBytes, is X as it is in memory: X[i] = Bytes[i] - Zero.
	Bytes []byte
	Zero  int16
}

// I8WinoOut is one call of the output's transform and the quantisation: tiles of sums of 16 lanes
// M[(4*y+x)*Pos + i*16 + lane] to pixels of 16 bytes at Y[y*Row + (2*i+x)*Pixel].
type I8WinoOut struct {
	M          []int32
	Pos        int
	Bias       []int32
	Mul        []float32
	Y          []byte
	Row, Pixel int
	Tiles      int
	Lo, Hi     float32
	Zero       int32
	Tmp        []int32 // of WinoOut4
	// of assembly
	order        *[16]int32
	zero         int16
	lo, hi, flip byte
}

// I8WinoSums are the products of a block of tiles in all places with one panel of weights, or two where Ints.WinoPanels says so:
//
//	Sums[i*Pos + p*Out + 16*r + l] = Σ_k A[i*APos + r*Step + k] * B[i*BPos + p*Panel + (k/2*16+l)*2 + k%2]
//
// for i < Places, r < Rows, p < Panels and 16 lanes l, modulo 2³².
type I8WinoSums struct {
	A      []int16
	Step   int
	Rows   []int // r*Step
	K      int   // a multiple of 4
	B      []int16
	Panels int
	Panel  int
	Sums   []int32
	Out    int
	Places int
	APos   int
	BPos   int
	Pos    int
	// of assembly: calls of height rows and of one row less, and room of its own
	height, tall, low, _ int
}

// WinoPanels is the most panels of a call of WinoSums.
func (v Ints) WinoPanels() int {
	if v.vnni {
		return 2
	}
	return 1
}

// WinoBytes reports whether WinoIn4 is to read bytes.
func (v Ints) WinoBytes() bool { return v.vnni }

// WinoName is what the name of a kernel by Winograd ends in.
func (v Ints) WinoName() string {
	if v.vnni {
		return "vnni"
	}
	return v.Name()
}

// WinoSums computes a call, which changes t. It panics where a slice is too short.
func (v Ints) WinoSums(t *I8WinoSums) {
	n := len(t.Rows)
	if n == 0 || t.Places <= 0 {
		return
	}
	if t.K < 4 || t.K%4 != 0 || t.Panels < 1 || t.Panels > v.WinoPanels() {
		panic("kern: products of tiles out of range")
	}
	last := t.Places - 1
	_, _, _ = t.A[last*t.APos+(n-1)*t.Step+t.K-1], t.B[last*t.BPos+(t.Panels-1)*t.Panel+16*t.K-1], t.Sums[last*t.Pos+(t.Panels-1)*t.Out+16*n-1]
	if v.vnni {
		const most = 14
		calls := (n + most - 1) / most
		t.height = (n + calls - 1) / calls
		t.low = calls*t.height - n
		t.tall = calls - t.low
		v.winoSums(t)
		return
	}
	s := I8Tile{Rows: t.Rows, Off: Zero, K: t.K}
	for i := range t.Places {
		s.A, s.B, s.Sums = t.A[i*t.APos:], t.B[i*t.BPos:], t.Sums[i*t.Pos:]
		v.Sum16(&s)
	}
}

// Sum16 is Tile without bias, scale and limits: Sums[i*16+lane], from B.
func (v Ints) Sum16(t *I8Tile) {
	n := len(t.Rows)
	if n == 0 {
		return
	}
	if t.K < 4 || t.K%4 != 0 || len(t.Off) != 1 {
		panic("kern: integer tile out of range")
	}
	_, _, _ = t.A[t.Rows[n-1]+t.Off[0]+t.K-1], t.B[t.K*16-1], t.Sums[n*16-1]
	v.sum16(t)
}

func i8Sum16Go(t *I8Tile) {
	for i, row := range t.Rows {
		acc := (*[16]int32)(t.Sums[i*16:])
		*acc = [16]int32{}
		a, b := t.A[row+t.Off[0]:][:t.K], t.B[:t.K*16]
		for k := 0; k < t.K; k += 2 {
			x, y := int32(a[k]), int32(a[k+1])
			for l, w := 0, (*[32]int16)(b[k*16:]); l < 16; l++ {
				acc[l] += x*int32(w[2*l]) + y*int32(w[2*l+1])
			}
		}
	}
}

// WinoIn transforms a row of tiles. It panics where a slice is too short.
func (v Ints) WinoIn(t *I8WinoIn) {
	if t.Tiles <= 0 || t.Blocks <= 0 {
		return
	}
	_ = t.X[3*t.Row+(2*t.Tiles+1)*t.Pixel+16*t.Blocks-1]
	_ = t.V[15*t.Pos+(t.Tiles-1)*t.Step+16*t.Blocks-1]
	v.winoIn(t)
}

func i8WinoInGo(t *I8WinoIn) {
	line := func(a, b, c, d int16) [4]int16 { return [4]int16{a - c, b + c, c - b, b - d} }
	for i := range t.Tiles {
		for c := range 16 * t.Blocks {
			var e [4][4]int16
			for x := range 4 {
				at := (2*i+x)*t.Pixel + c
				for y, s := range line(t.X[at], t.X[at+t.Row], t.X[at+2*t.Row], t.X[at+3*t.Row]) {
					e[y][x] = s
				}
			}
			for y, s := range e {
				for x, s := range line(s[0], s[1], s[2], s[3]) {
					t.V[(4*y+x)*t.Pos+i*t.Step+c] = s
				}
			}
		}
	}
}

// WinoOut brings a row of tiles back. It panics where a slice is too short.
func (v Ints) WinoOut(t *I8WinoOut) {
	if t.Tiles <= 0 {
		return
	}
	_, _, _ = t.M[15*t.Pos+16*t.Tiles-1], t.Bias[15], t.Mul[15]
	_ = t.Y[t.Row+(2*t.Tiles-1)*t.Pixel+15]
	v.winoOut(t)
}

func i8WinoOutGo(t *I8WinoOut) {
	line := func(a, b, c, d int32) [2]int32 { return [2]int32{a + b + c, b - c - d} }
	for i := range t.Tiles {
		for l, j := range I8Lanes {
			var s [2][4]int32
			for x := range 4 {
				at := x*t.Pos + i*16 + l
				for y, a := range line(t.M[at], t.M[at+4*t.Pos], t.M[at+8*t.Pos], t.M[at+12*t.Pos]) {
					s[y][x] = a
				}
			}
			for y, s := range s {
				for x, a := range line(s[0], s[1], s[2], s[3]) {
					t.Y[y*t.Row+(2*i+x)*t.Pixel+j] = Quantise(a>>2+t.Bias[l], t.Mul[l], t.Lo, t.Hi, t.Zero)
				}
			}
		}
	}
}
