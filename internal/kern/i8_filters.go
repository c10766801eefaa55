package kern

// Weights of convolutions on bytes lie by output channels; kernels want them by panels of 16. Columns turns some
// rows round; ZipRows, ZipQuads and WinoFilters make panels of what it writes.

// Columns is dst[16*i+r] = src[r*ld+i]^flip for r < rows, at most 16, and i < n, and 0 for the rows up to 16. It panics where a slice is
// too short.
func (v Ints) Columns(dst, src []byte, rows, ld, n int, flip byte) {
	if n <= 0 || rows <= 0 {
		return
	}
	if rows > 16 {
		panic("kern: more than 16 rows")
	}
	dst = dst[:16*n]
	_ = src[(rows-1)*ld+n-1]
	if v.columns(dst, src, rows, ld, n, flip) {
		return
	}
	for i := range n {
		d := dst[16*i:][:16]
		for r := range d {
			if d[r] = 0; r < rows {
				d[r] = src[r*ld+i] ^ flip
			}
		}
	}
}

// ZipRows is dst[(i*16+lane)*2+j] = src[(2*i+j)*stride+I8Lanes[lane]] for i < pairs and j < 2. It panics where a slice is too short.
func (v Ints) ZipRows(dst, src []byte, pairs, stride int) {
	if pairs <= 0 {
		return
	}
	dst = dst[:32*pairs]
	_ = src[(2*pairs-1)*stride+15]
	if v.zipRows(dst, src, pairs, stride) {
		return
	}
	for i := range pairs {
		for l, j := range I8Lanes {
			dst[(i*16+l)*2], dst[(i*16+l)*2+1] = src[2*i*stride+j], src[(2*i+1)*stride+j]
		}
	}
}

// ZipQuads is dst[i*ld+4*r+j] = src[(4*i+j)*stride+r] for i < quads, r < 16 and j < 4: what products of four bytes
// read of 16 columns. It panics where a slice is too short.
func (v Ints) ZipQuads(dst, src []byte, quads, ld, stride int) {
	if quads <= 0 {
		return
	}
	_, _ = dst[(quads-1)*ld+63], src[(4*quads-1)*stride+15]
	if v.zipQuads(dst, src, quads, ld, stride) {
		return
	}
	for i := range quads {
		d, s := dst[i*ld:][:64], src[4*i*stride:]
		for r := range 16 {
			d[4*r], d[4*r+1], d[4*r+2], d[4*r+3] = s[r], s[stride+r], s[2*stride+r], s[3*stride+r]
		}
	}
}

// WinoFilters transforms filters of 3x3 for tiles of m x m, 2 or 4, by [WinoFilter2] or [WinoFilter4]: that of column j and
// channel c is src[(9*c+tap)*16+j], and goes to dst[place*ld+(c/2*16+lane)*2+c%2] for c < 2*pairs, where j is I8Lanes[lane].
// It panics where a slice is too short.
func (v Ints) WinoFilters(dst []int16, ld int, src []byte, pairs, m int) {
	if pairs <= 0 {
		return
	}
	places := (m + 2) * (m + 2)
	_, _ = dst[(places-1)*ld+32*pairs-1], src[18*16*pairs-1]
	if v.winoFilters(dst, ld, src, pairs, m) {
		return
	}
	for c := range 2 * pairs {
		for l, j := range I8Lanes {
			var g [9]int16
			for t := range g {
				g[t] = int16(int8(src[(9*c+t)*16+j]))
			}
			d := dst[(c/2*16+l)*2+c%2:]
			if m == 2 {
				for i, u := range WinoFilter2(&g) {
					d[i*ld] = u
				}
			} else {
				for i, u := range WinoFilter4(&g) {
					d[i*ld] = u
				}
			}
		}
	}
}

// WinoFilter2 is 4·G g G' of a filter, row by row.
func WinoFilter2(g *[9]int16) (u [16]int16) {
	line := func(a, b, c int16) [4]int16 { return [4]int16{2 * a, a + b + c, a - b + c, 2 * c} }
	var e [3][4]int16
	for x := range e {
		e[x] = line(g[x], g[3+x], g[6+x])
	}
	for y := range 4 {
		for x, s := range line(e[0][y], e[1][y], e[2][y]) {
			u[4*y+x] = s
		}
	}
	return u
}
