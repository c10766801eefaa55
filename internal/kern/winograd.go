package kern

import "whit/internal/cpu"

// Winograd's minimal filtering F(m x m, 3x3) for m = 2 and 4 (S. Winograd:
// Arithmetic Complexity of Computations, 1980; A. Lavin, S. Gray: Fast Algorithms
// for Convolutional Neural Networks, 2016, section 4): with tiles d of (m+2)²
// inputs and the filter g, y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A, where ⊙ over all channels
// is (m+2)² matrix products. We take Lavin's interpolation points 0, ±1, ±2.

// WinogradIn is one input tile of N channels, a multiple of 8:
//
//	V[(i*(m+2)+j)*LDP+c] = (Bᵀ d B)[i][j] of d[i][j] = X[i*SH+j*SW+c]
//
// Tmp has WinogradTmp floats.
type WinogradIn struct {
	X      []float32
	SH, SW int
	V      []float32
	LDP    int
	N      int
	Tmp    []float32
}

// WinogradOut is one output tile of N channels, a multiple of 8, of which the first
// NY rows and NX columns, 1 to m, are written:
//
//	Y[i*SH+j*SW+c] = epilogue((Aᵀ m A)[i][j]) of m[i][j] = M[(i*(m+2)+j)*LDP+c]
//
// Flags are FlagCol (Bias), FlagAdd (R, of strides RSH and RSW), FlagPRelu
// (Slope) and FlagClamp.
type WinogradOut struct {
	M        []float32
	LDP      int
	Y        []float32
	SH, SW   int
	N        int
	NY, NX   int
	Flags    int
	Bias     []float32
	R        []float32
	RSH, RSW int
	Tmp      []float32
	Lo, Hi   float32
	Slope    []float32
}

// WinogradTmp is the number of floats of temporary memory of the transforms.
const WinogradTmp = 36 * 16

// Winograd is the transforms of one tile size.
type Winograd struct {
	M   int // outputs along a side of a tile
	isa isa
}

// WinogradOf is F(m x m, 3x3) for a processor with features f; m is 2 or 4.
func WinogradOf(f cpu.Features, m int) Winograd {
	w := Winograd{M: m, isa: isaGo}
	switch {
	case haveAsm && f.AVX512:
		w.isa = isaAVX512
	case haveAsm && f.AVX2FMA:
		w.isa = isaAVX2
	case haveAsm && f.NEON:
		w.isa = isaNEON
	}
	return w
}

// WinogradGo is F(m x m, 3x3) in portable Go: the same bits on every processor.
func WinogradGo(m int) Winograd { return Winograd{M: m} }

// In transforms an input tile. It panics where a slice is too short.
func (w Winograd) In(t *WinogradIn) {
	a := w.M + 2
	if t.N < 8 || t.N%8 != 0 {
		panic("kern: Winograd channels")
	}
	_ = t.X[(a-1)*(t.SH+t.SW)+t.N-1]
	_ = t.V[(a*a-1)*t.LDP+t.N-1]
	_ = t.Tmp[WinogradTmp-1]
	w.in(t)
}

// Grad is the adjoint of Out for F(4x4), without its epilogue: V = A d Aᵀ of a tile d of
// 4x4 numbers a channel, the gradients of the outputs. It panics where a slice is too
// short. All variants give the same bits.
func (w Winograd) Grad(t *WinogradIn) {
	if w.M != 4 || t.N < 8 || t.N%8 != 0 {
		panic("kern: Winograd channels")
	}
	_ = t.X[3*(t.SH+t.SW)+t.N-1]
	_ = t.V[35*t.LDP+t.N-1]
	_ = t.Tmp[WinogradTmp-1]
	w.grad(t)
}

// FilterGrad is the adjoint of Filters for F(4x4): Gᵀ u G of the 36 places of u, in
// float64 and rounded once.
func FilterGrad(u *[36]float32) (g [9]float32) {
	var t [6][3]float64
	for i := range 6 {
		t[i] = winogradGT(float64(u[6*i]), float64(u[6*i+1]), float64(u[6*i+2]), float64(u[6*i+3]), float64(u[6*i+4]), float64(u[6*i+5]))
	}
	for j := range 3 {
		for i, v := range winogradGT(t[0][j], t[1][j], t[2][j], t[3][j], t[4][j], t[5][j]) {
			g[3*i+j] = float32(v)
		}
	}
	return g
}

// winogradGT is Gᵀ of a column; products are rounded, never fused.
func winogradGT(a, b, c, d, e, f float64) [3]float64 {
	s, t := float64((b+c)*(-1.0/6)), d+e
	return [3]float64{
		float64(a*0.25) + s + float64(t*(1.0/24)),
		float64((c-b)*(1.0/6)) + float64((d-e)*(1.0/12)),
		s + float64(t*(1.0/6)) + f,
	}
}

// winogradAT is A·d.
func winogradAT(d [4]float32) [6]float32 {
	s, t := d[0]+d[2], d[1]+d[3]
	u, v := d[0]+float32(4*d[2]), float32(2*(d[1]+float32(4*d[3])))
	return [6]float32{d[0], s + t, s - t, u + v, u - v, d[3]}
}

func (w Winograd) gradGo(t *WinogradIn) {
	for c := range t.N {
		var d [6][4]float32
		for j := range 4 {
			for i, v := range winogradAT([4]float32{t.X[j*t.SW+c], t.X[t.SH+j*t.SW+c], t.X[2*t.SH+j*t.SW+c], t.X[3*t.SH+j*t.SW+c]}) {
				d[i][j] = v
			}
		}
		for i := range d {
			for j, v := range winogradAT(d[i]) {
				t.V[(i*6+j)*t.LDP+c] = v
			}
		}
	}
}

// Out transforms an output tile. It panics where a slice is too short.
func (w Winograd) Out(t *WinogradOut) {
	a := w.M + 2
	if t.N < 8 || t.N%8 != 0 || uint(t.NY-1) >= uint(w.M) || uint(t.NX-1) >= uint(w.M) {
		panic("kern: Winograd tile")
	}
	_ = t.M[(a*a-1)*t.LDP+t.N-1]
	_ = t.Y[(t.NY-1)*t.SH+(t.NX-1)*t.SW+t.N-1]
	_ = t.Tmp[WinogradTmp-1]
	if t.Flags&FlagCol != 0 {
		_ = t.Bias[t.N-1]
	}
	if t.Flags&FlagPRelu != 0 {
		_ = t.Slope[t.N-1]
	}
	if t.Flags&FlagAdd != 0 {
		_ = t.R[(t.NY-1)*t.RSH+(t.NX-1)*t.RSW+t.N-1]
	}
	w.out(t)
}

// Filters is dst[p*ldd+c] = float32((G g Gᵀ)[p]) of n filters side by side,
// g[i][j] = g[(3i+j)*ldg+c], computed in float64 and rounded once; p counts the (m+2)²
// places in row-major order. All variants give the same bits. n is a multiple of 4.
func (w Winograd) Filters(dst, g []float32, ldd, ldg, n int) {
	a := w.M + 2
	if n < 4 || n%4 != 0 {
		panic("kern: Winograd filters")
	}
	_, _ = dst[(a*a-1)*ldd+n-1], g[8*ldg+n-1]
	if w.isa == isaAVX2 || w.isa == isaAVX512 {
		w.filters(dst, g, ldd, ldg, n)
		return
	}
	for c := range n {
		var t [6][3]float64
		for j := range 3 {
			for i, v := range w.row(float64(g[j*ldg+c]), float64(g[(3+j)*ldg+c]), float64(g[(6+j)*ldg+c])) {
				t[i][j] = v
			}
		}
		for i := range a {
			r := w.row(t[i][0], t[i][1], t[i][2])
			for j, v := range r[:a] {
				dst[(i*a+j)*ldd+c] = float32(v)
			}
		}
	}
}

// FilterRows is Filters of n filters of which each is 9 contiguous floats, ldg apart:
// g[i][j] = g[c*ldg+3i+j].
func (w Winograd) FilterRows(dst, g []float32, ldd, ldg, n int) {
	a := w.M + 2
	if n < 4 || n%4 != 0 {
		panic("kern: Winograd filters")
	}
	_, _ = dst[(a*a-1)*ldd+n-1], g[(n-1)*ldg+8]
	if w.isa != isaGo && w.isa != isaNEON {
		w.filterRows(dst, g, ldd, ldg, n)
		return
	}
	var side [9 * 4]float32
	for c := 0; c < n; c += 4 {
		for i := range 4 {
			for k, v := range g[(c+i)*ldg:][:9] {
				side[4*k+i] = v
			}
		}
		w.Filters(dst[c:], side[:], ldd, 4, 4)
	}
}

// row is G of a column; products are rounded, never fused.
func (w Winograd) row(x, y, z float64) [6]float64 {
	s := x + z
	if w.M == 2 {
		h, v := float64(s*0.5), float64(y*0.5)
		return [6]float64{x, h + v, h - v, z}
	}
	u, v := float64(x*(1.0/24))+float64(z*(1.0/6)), float64(y*(1.0/12))
	return [6]float64{x * 0.25, (s + y) * (-1.0 / 6), (s - y) * (-1.0 / 6), u + v, u - v, z}
}

// winogradB is Bᵀd. Bits differ from the assembly's, which fuses products and sums.
func winogradB(m int, d [6]float32) [6]float32 {
	if m == 2 {
		return [6]float32{d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]}
	}
	a, b := d[4]-float32(4*d[2]), d[3]-float32(4*d[1])
	c, f := d[4]-d[2], float32(2*(d[3]-d[1]))
	return [6]float32{
		float32(4*d[0]) + (d[4] - float32(5*d[2])), a + b, a - b, c + f, c - f,
		float32(4*d[1]) + (d[5] - float32(5*d[3])),
	}
}

// winogradA is Aᵀm.
func winogradA(m int, v [6]float32) [4]float32 {
	if m == 2 {
		return [4]float32{v[0] + v[1] + v[2], v[1] - v[2] - v[3]}
	}
	s1, d1, s2, d2 := v[1]+v[2], v[1]-v[2], v[3]+v[4], v[3]-v[4]
	return [4]float32{v[0] + s1 + s2, d1 + float32(2*d2), s1 + float32(4*s2), d1 + float32(8*d2) + v[5]}
}

func (w Winograd) inGo(t *WinogradIn) {
	a := w.M + 2
	for c := range t.N {
		var d [6][6]float32
		for j := range a {
			var col [6]float32
			for i := range a {
				col[i] = t.X[i*t.SH+j*t.SW+c]
			}
			for i, v := range winogradB(w.M, col) {
				d[i][j] = v
			}
		}
		for i := range a {
			for j, v := range winogradB(w.M, d[i]) {
				if j < a {
					t.V[(i*a+j)*t.LDP+c] = v
				}
			}
		}
	}
}

func (w Winograd) outGo(t *WinogradOut) {
	a := w.M + 2
	for c := range t.N {
		var d [4][6]float32
		for j := range a {
			var col [6]float32
			for i := range a {
				col[i] = t.M[(i*a+j)*t.LDP+c]
			}
			for i, v := range winogradA(w.M, col) {
				d[i][j] = v
			}
		}
		for i := range t.NY {
			r := winogradA(w.M, d[i])
			for j, v := range r[:t.NX] {
				if t.Flags&FlagCol != 0 {
					v += t.Bias[c]
				}
				if t.Flags&FlagAdd != 0 {
					v += t.R[i*t.RSH+j*t.RSW+c]
				}
				if t.Flags&FlagPRelu != 0 {
					v = prelu(v, t.Slope[c])
				}
				if t.Flags&FlagClamp != 0 {
					v = clamp(v, t.Lo, t.Hi)
				}
				t.Y[i*t.SH+j*t.SW+c] = v
			}
		}
	}
}
