package entropy

import "math/bits"

// scale measures predictions against the mean magnitude of those before.
type scale struct {
	mean int64  // of magnitudes, exponentially forgotten
	inv  uint64 // (2^64 - 1) / mean
}

func newScale(mean int64) scale { return scale{mean, ^uint64(0) / uint64(mean)} }

// over is factor |x| / mean, rounded down, and what makes a number as negative as x by
// (n ^ sign) - sign.
func (s *scale) over(x int64, factor uint64) (n uint64, sign int64) {
	sign = x >> 63
	n, _ = bits.Mul64(min(uint64(x^sign-sign), 1<<57)*factor, s.inv)
	return n, sign
}

// ratio is x over the mean magnitude in 1/64, clamped to 1024.
func (s *scale) ratio(x int64) int64 {
	n, sign := s.over(x, 64)
	return int64(min(n, 1<<10)) ^ sign - sign
}

// steps is the ratio as a signed logarithm with two steps an octave, -12..12: from 1/8
// of the mean on.
func (s *scale) steps(x int64) int {
	n, sign := s.over(x, 8)
	return int(stepTab[min(n, 64)]) ^ int(sign) - int(sign)
}

// stepTab is steps from the ratio in 1/8.
var stepTab [65]uint8

func init() {
	for n := range stepTab {
		stepTab[n] = uint8(min(bits.Len(uint(n*n)), 12))
	}
}

func (s *scale) learn(x int64) {
	x = x ^ x>>63 - x>>63
	s.mean = max(1, s.mean+(min(x, 1<<57)-s.mean)>>7)
	s.inv = ^uint64(0) / uint64(s.mean)
}

const (
	kinDepth = 32  // the non-zeros that are kept of a column
	kinRows  = 512 // the rows that are told apart
	kinDense = 128 // the most rows of which assembly keeps columns whole
)

// kin predicts a symbol from the rows before, each in proportion to how alike it is
// to this row so far: sum over rows j of <this, j> / <j, j> * j[c], where <,> is the
// inner product, <this, j> of the columns before c. Rows of a layer repeat each other
// (the matrix is near one of low rank), which no neighbour tells. Values enter as
// logarithms of their magnitudes with a sign. Of each column the last kinDepth non-zeros
// are kept, of rows the number modulo kinRows. Assembly knows the layout up to norm.
type kin struct {
	energy   int64      // <this, this> so far
	groups   int        // of 16 rows, that hold those before this one
	stride   int        // bytes of a column in whole
	atWhole  *int8      // nil: columns are kept as their non-zeros
	atColumn *kinColumn // the first
	atCount  *uint32    // its non-zeros so far
	scale    scale
	alike    [kinRows]int32     // <this, j> / <j, j>, in 1/2^17
	norm     [kinRows + 8]int32 // 2^24 / <j, j>

	on      bool
	columns []kinColumn
	count   []uint32
	whole   []int8            // by column and row, 0 for all but a column's last kinDepth
	last    [][kinDepth]uint8 // by column, the rows of those
}

// kinColumn are a column's latest non-zeros, by their number modulo kinDepth. Those that
// are not in use are 0 in row 0.
type kinColumn struct {
	row   [kinDepth]uint16
	value [kinDepth]int8
}

func newKin(rows, cols int) *kin {
	k := &kin{on: rows > 1 && cols >= 4, scale: newScale(1 << 17)}
	if !k.on {
		return k
	}
	k.count = make([]uint32, cols)
	k.atCount = &k.count[0]
	if simd && rows <= kinDense {
		k.stride = (rows + 15) &^ 15
		k.whole, k.last = make([]int8, cols*k.stride), make([][kinDepth]uint8, cols)
		k.atWhole = &k.whole[0]
		return k
	}
	k.columns = make([]kinColumn, cols)
	k.atColumn = &k.columns[0]
	return k
}

// row begins row r.
func (k *kin) row(r int) {
	if !k.on {
		return
	}
	if r > 0 {
		k.norm[(r-1)%kinRows] = int32(1 << 24 / max(1, k.energy))
	}
	k.energy, k.groups = 0, (r+15)/16
	clear(k.alike[:min(r, kinRows)])
}

// predict is the prediction for column c, in 1/2^17 of values.
func (k *kin) predict(c int) int32 {
	if simd {
		return kinAVX2(k, c)
	}
	sum, col := int32(0), &k.columns[c]
	for i := range min(k.count[c], kinDepth) {
		sum += k.alike[col.row[i]%kinRows] * int32(col.value[i])
	}
	return sum
}

// learn takes the symbol t, not zero, that was predicted to be expect.
func (k *kin) learn(r, c int, expect int64, t int32) {
	if !k.on {
		return
	}
	v := int32(quarters(abs(t)))
	v = v ^ t>>31 - t>>31
	n := k.count[c]
	if k.whole != nil {
		column, last := k.whole[c*k.stride:][:k.stride], &k.last[c][n%kinDepth]
		kinLearnAVX2(&k.alike, &k.norm, &column[0], k.groups, v)
		if n >= kinDepth {
			column[*last] = 0
		}
		column[r], *last = int8(v), uint8(r)
	} else {
		col := &k.columns[c]
		for i := range min(n, kinDepth) {
			j := col.row[i] % kinRows
			k.alike[j] += int32(int64(int32(col.value[i])*v) * int64(k.norm[j]) >> 7)
		}
		col.row[n%kinDepth], col.value[n%kinDepth] = uint16(r%kinRows), int8(v)
	}
	k.count[c]++
	k.energy += int64(v * v)
	k.scale.learn(expect)
}

// linear predicts a symbol by a sum of 9 features whose weights it learns by normalised
// least mean squares (B. Widrow, M. Hoff: Adaptive switching circuits, 1960).
type linear struct {
	x, w   [8]int32 // the features, symbols in 1/64, and their weights in 1/65536
	x0, w0 int64    // kin's prediction in 1/64, and its weight
	energy int64    // sum of the squares of all features
	scale  scale
}

// predict returns the prediction from x and x0, in 1/64.
func (l *linear) predict(x0 int64) int64 {
	l.x0, l.energy = x0, x0*x0
	sum := x0 * l.w0
	for i, x := range l.x {
		sum += int64(x) * int64(l.w[i])
		l.energy += int64(x) * int64(x)
	}
	return sum >> 16
}

// learn takes the symbol t, that was predicted to be hat.
func (l *linear) learn(hat int64, t, rowMag int32) {
	e := int64(t)<<6 - hat
	e = min(max(e, -1<<22), 1<<22)
	g := e << 27 / (int64(rowMag)*int64(rowMag) + l.energy)
	l.w0 = moved(l.w0, l.x0*g)
	if simd && g == int64(int32(g)) {
		linearAVX2(l, g)
	} else {
		for i, x := range l.x {
			l.w[i] = int32(moved(int64(l.w[i]), int64(x)*g))
		}
	}
	l.scale.learn(hat)
}

// moved is the weight w after a step.
func moved(w, step int64) int64 { return min(max(w+step>>16, -1<<20), 1<<20) }
