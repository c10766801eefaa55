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
	n = min(n, 64)
	return min(bits.Len64(n*n), 12) ^ int(sign) - int(sign)
}

func (s *scale) learn(x int64) {
	if x < 0 {
		x = -x
	}
	s.mean = max(1, s.mean+(min(x, 1<<57)-s.mean)>>7)
	s.inv = ^uint64(0) / uint64(s.mean)
}

const (
	kinDepth = 32  // the non-zeros that are kept of a column
	kinRows  = 512 // the rows that are told apart
)

// kin predicts a symbol from the rows before, each in proportion to how alike it is
// to this row so far: sum over rows j of <this, j> / <j, j> * j[c], where <,> is the
// inner product, <this, j> of the columns before c. Rows of a layer repeat each other
// (the matrix is near one of low rank), which no neighbour tells. Values enter as
// logarithms of their magnitudes with a sign. Of each column the last kinDepth non-zeros
// are kept, of rows the number modulo kinRows.
type kin struct {
	on     bool
	alike  [kinRows]int64 // <this, j> * norm[j] / 16
	norm   [kinRows]int64 // 2^24 / <j, j>
	ring   []uint16       // by column and number modulo kinDepth: row << 7 | value + 64
	count  []uint32       // non-zeros of the column so far
	energy int64          // <this, this> so far
	scale  scale
}

func newKin(rows, cols int) *kin {
	k := &kin{on: rows > 1 && cols >= 4, scale: newScale(1 << 20)}
	if k.on {
		k.ring = make([]uint16, cols*kinDepth)
		k.count = make([]uint32, cols)
	}
	return k
}

// row begins row r.
func (k *kin) row(r int) {
	if !k.on {
		return
	}
	if r > 0 {
		k.norm[(r-1)%kinRows] = 1 << 24 / max(1, k.energy)
	}
	k.energy = 0
	clear(k.alike[:])
}

func (k *kin) predict(c int) int64 {
	if !k.on {
		return 0
	}
	sum := int64(0)
	for _, e := range k.ring[c*kinDepth : c*kinDepth+int(min(k.count[c], kinDepth))] {
		sum += k.alike[e>>7] * (int64(e&127) - 64)
	}
	return sum
}

// learn takes the symbol t, not zero, that was predicted to be expect.
func (k *kin) learn(r, c int, expect int64, t int32) {
	if !k.on {
		return
	}
	v := int64(quarters(abs(t)))
	if t < 0 {
		v = -v
	}
	n := int(k.count[c])
	for _, e := range k.ring[c*kinDepth : c*kinDepth+min(n, kinDepth)] {
		k.alike[e>>7] += (int64(e&127) - 64) * v * k.norm[e>>7] >> 4
	}
	k.ring[c*kinDepth+n%kinDepth] = uint16(r%kinRows)<<7 | uint16(v+64)
	k.count[c]++
	k.energy += v * v
	k.scale.learn(expect)
}

// features are the symbols that a linear prediction is made of; the first is kin's.
type features [9]int32

// linear predicts a symbol by a sum of features whose weights it learns by normalised
// least mean squares (B. Widrow, M. Hoff: Adaptive switching circuits, 1960).
type linear struct {
	f     features
	w     [len(features{})]int64 // in 1/65536
	x     [len(features{})]int64 // the features in 1/64
	scale scale
}

// predict takes kin's prediction relative to its mean, in 1/64, and the row's mean
// magnitude; it returns the prediction in 1/64.
func (l *linear) predict(kin int64, rowMag int32) int64 {
	sum := int64(0)
	for i, f := range l.f {
		l.x[i] = int64(f) << 6
	}
	l.x[0] = kin * int64(rowMag) >> 8
	for i, x := range l.x {
		sum += x * l.w[i]
	}
	return sum >> 16
}

func (l *linear) learn(hat int64, t, rowMag int32) {
	e := int64(t)<<6 - hat
	e = min(max(e, -1<<22), 1<<22)
	energy := int64(rowMag) * int64(rowMag)
	for _, x := range l.x {
		energy += x * x
	}
	g := e << 27 / energy
	for i, x := range l.x {
		l.w[i] = min(max(l.w[i]+x*g>>16, -1<<20), 1<<20)
	}
	l.scale.learn(hat)
}
