package kern

// Winograd's F(4x4,3x3) in integers. Scaled by 24 in either direction, the transforms of the weights and of
// the result are whole numbers,
//
//	     ⎡  6          ⎤        ⎡1  1  1  1  1   ⎤
//	     ⎢ -4  -4  -4  ⎥   A' = ⎢0  1 -1  2 -2   ⎥
//	24 G=⎢ -4   4  -4  ⎥        ⎢0  1  1  4  4   ⎥
//	     ⎢  1   2   4  ⎥        ⎣0  1 -1  8 -8  2⎦
//	     ⎢  1  -2   4  ⎥
//	     ⎣         12  ⎦
//
// and all words fit: weights grow to at most 12·12·128, and pixels less a zero point to 10·10·255. Sums wrap
// at 2^32 and are 24·24 = 9·64 times the convolution; times the inverse of 9 they are 64 times it, of which an
// arithmetic shift takes off the rest wherever 64 times it fits int32.

// ninth is the inverse of 9 modulo 2^32.
const ninth = 0x38e38e39

// WinoIn4 is WinoIn of tiles of 6x6 pixels four apart, at V[(6*y+x)*Pos + i*Step + c]. It changes t.
func (v Ints) WinoIn4(t *I8WinoIn) {
	if t.Tiles <= 0 || t.Blocks <= 0 {
		return
	}
	if last := 5*t.Row + (4*t.Tiles+1)*t.Pixel + 16*t.Blocks - 1; t.Bytes != nil {
		_ = t.Bytes[last]
	} else {
		_ = t.X[last]
	}
	_ = t.V[35*t.Pos+(t.Tiles-1)*t.Step+16*t.Blocks-1]
	v.winoIn4(t)
}

func i8WinoIn4Go(t *I8WinoIn) {
	line := func(d [6]int16) [6]int16 {
		s, p := d[4]-d[2], d[4]-4*d[2]
		t, q := 2*(d[3]-d[1]), d[3]-4*d[1]
		return [6]int16{4*(d[0]-d[2]) + s, p + q, p - q, s + t, s - t, 4*(d[1]-d[3]) + d[5] - d[3]}
	}
	for i := range t.Tiles {
		for c := range 16 * t.Blocks {
			var e [6][6]int16
			for x := range 6 {
				var d [6]int16
				for y := range d {
					if at := y*t.Row + (4*i+x)*t.Pixel + c; t.Bytes != nil {
						d[y] = int16(t.Bytes[at]) - t.Zero
					} else {
						d[y] = t.X[at]
					}
				}
				for y, s := range line(d) {
					e[y][x] = s
				}
			}
			for y := range e {
				for x, s := range line(e[y]) {
					t.V[(6*y+x)*t.Pos+i*t.Step+c] = s
				}
			}
		}
	}
}

// WinoOut4 is WinoOut of tiles of 4x4 pixels, from M[(6*y+x)*Pos + i*16 + lane] of weights by [WinoFilter4] to
// Y[y*Row + (4*i+x)*Pixel]; Tmp has 256 numbers. 64 times the convolution fits int32, and with the bias,
// and so does the convolution with the bias times Mul. It changes t.
func (v Ints) WinoOut4(t *I8WinoOut) {
	if t.Tiles <= 0 {
		return
	}
	_, _, _, _ = t.M[35*t.Pos+16*t.Tiles-1], t.Bias[15], t.Mul[15], t.Tmp[255]
	_ = t.Y[3*t.Row+(4*t.Tiles-1)*t.Pixel+15]
	if v.vnni {
		// Limits of bytes, which may be signed.
		lo, hi := int32(t.Lo)+t.Zero, int32(t.Hi)+t.Zero
		if t.flip = 0; lo < 0 {
			t.flip = 0x80
		}
		t.order, t.lo, t.hi, t.zero = &fourLanes, byte(lo)^t.flip, byte(hi)^t.flip, int16(t.Zero)+int16(t.flip)
	}
	v.winoOut4(t)
}

// fourLanes are the groups of four columns of four pixels by pixels, where they are by groups in the order of I8Lanes.
var fourLanes = [16]int32{0, 8, 4, 12, 1, 9, 5, 13, 2, 10, 6, 14, 3, 11, 7, 15}

func i8WinoOut4Go(t *I8WinoOut) {
	line := func(m [6]int32) [4]int32 {
		a, b, c, d := m[1]+m[2], m[3]+m[4], m[1]-m[2], m[3]-m[4]
		return [4]int32{m[0] + a + b, c + 2*d, a + 4*b, c + 8*d + 2*m[5]}
	}
	for i := range t.Tiles {
		for l, j := range I8Lanes {
			var s [4][6]int32
			for x := range 6 {
				var m [6]int32
				for y := range m {
					m[y] = t.M[(6*y+x)*t.Pos+i*16+l]
				}
				for y, a := range line(m) {
					s[y][x] = a
				}
			}
			for y := range s {
				for x, a := range line(s[y]) {
					t.Y[y*t.Row+(4*i+x)*t.Pixel+j] = Quantise(a*ninth>>6+t.Bias[l], t.Mul[l], t.Lo, t.Hi, t.Zero)
				}
			}
		}
	}
}

// WinoFilter4 is 24·G g G'·24 of a filter, row by row.
func WinoFilter4(g *[9]int16) (u [36]int16) {
	line := func(a, b, c int16) [6]int16 {
		return [6]int16{6 * a, -4 * (a + b + c), 4 * (b - a - c), a + 2*b + 4*c, a - 2*b + 4*c, 12 * c}
	}
	var e [3][6]int16
	for x := range e {
		e[x] = line(g[x], g[3+x], g[6+x])
	}
	for y := range 6 {
		for x, s := range line(e[0][y], e[1][y], e[2][y]) {
			u[6*y+x] = s
		}
	}
	return u
}

// SumAbs is the sum of the signed bytes src[i]^flip, and that of their magnitudes.
func (v Ints) SumAbs(src []byte, flip byte) (sum, abs int) {
	n, sum, abs := v.sumAbs(src, flip)
	for _, b := range src[n:] {
		w := int(int8(b ^ flip))
		sum, abs = sum+w, abs+max(w, -w)
	}
	return sum, abs
}
