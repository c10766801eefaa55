package entropy

import (
	"math"
	"math/bits"
)

// AppendDelta appends the code of the symbols next to dst, for a decoder that has old,
// as many symbols in rows of cols: whether each is the same, mixed from the old symbol,
// its neighbours and what changed around it, and where it is not by how much.
func AppendDelta(dst []byte, old, next []int32, cols int) []byte {
	rc := newEncoder(dst)
	start := len(dst)
	newDeltaModel(cols).code(&rc, old, next)
	return rc.finish(start)
}

// DecodeDelta sets next, which has the length of old, from src: all the code that
// AppendDelta made. It never panics; errors are ErrCorrupt.
func DecodeDelta(next, old []int32, cols int, src []byte) error {
	rc := newDecoder(src)
	if !newDeltaModel(cols).code(&rc, old, next) || rc.over() {
		return corrupt("delta of %d bytes", len(src))
	}
	return nil
}

// deltaModel is the state of one code.
type deltaModel struct {
	cols    int
	same    site
	changed []counter // by column
	here    []counter // by the old symbol, and what changed to the left and above
	recent  []counter // by the latest 8 decisions, and whether the old symbol is 0
	around  []counter // by the old symbol's neighbours
	// How changed symbols differ, all by the old symbol.
	zero, sign, length, top []counter
}

func newDeltaModel(cols int) *deltaModel {
	m := &deltaModel{cols: max(cols, 1), same: newSite(4, 32, 16), changed: newCounters(max(cols, 1)),
		here: newCounters(128), recent: newCounters(512), around: newCounters(128),
		zero: newCounters(32), sign: newCounters(32), length: newCounters(1024), top: newCounters(1024)}
	return m
}

// signed is a small number for a symbol: 0, 1..15 for positive ones, 16..30 for negative.
func signed(a int32) int {
	if a < 0 {
		return 15 + int(min(-int64(a), 15))
	}
	return int(min(a, 15))
}

// code codes next, or decodes it; false: a symbol is beyond 32 bits.
func (m *deltaModel) code(rc *rangeCoder, old, next []int32) bool {
	diff := make([]uint8, m.cols+1) // what changed in the row above, then in this one
	history, left := 0, uint8(0)
	var in [maxInputs]*counter
	for i, o := range old {
		c := i % m.cols
		if c == 0 {
			left = 0
		}
		s := signed(o)
		was := min(s, 1)
		var l, r, up int32
		if c > 0 {
			l = old[i-1]
		}
		if c+1 < m.cols && i+1 < len(old) {
			r = old[i+1]
		}
		if i >= m.cols {
			up = old[i-m.cols]
		}
		in[0] = &m.changed[c]
		in[1] = &m.here[s*4+int(left)*2+int(diff[c])]
		in[2] = &m.recent[history&255*2+was]
		in[3] = &m.around[clamp3(l)*32+clamp3(r)*8+clamp3(up)*2+was]
		y := 0 // decisions are 0 for a decoder, whatever next holds
		if rc.dec == 0 && next[i] != o {
			y = 1
		}
		y = m.same.code(rc, &in, y, s, history&15)
		history = history<<1 | y
		left, diff[c] = uint8(y), uint8(y)
		if y == 0 {
			next[i] = o
			continue
		}
		if o != 0 {
			z := 0
			if rc.dec == 0 && next[i] == 0 {
				z = 1
			}
			if once(rc, &m.zero[s], z) == 1 {
				next[i] = 0
				continue
			}
		}
		d := int64(0)
		if rc.dec == 0 {
			d = int64(next[i]) - int64(o)
		}
		neg, n := 0, uint64(d)
		if d < 0 {
			neg, n = 1, uint64(-d)
		}
		neg = once(rc, &m.sign[s], neg)
		last, e := bits.Len64(n)-1, 0
		for ; e < 32; e++ {
			y := 0
			if e < last {
				y = 1
			}
			if once(rc, &m.length[min(e, 31)*32+s], y) == 0 {
				break
			}
		}
		v := uint64(1)
		for bit := e - 1; bit >= 0; bit-- {
			y := int(n>>bit) & 1
			if bit == e-1 {
				y = once(rc, &m.top[min(e, 31)*32+s], y)
			} else {
				y = rc.bit(y, 1<<15)
			}
			v = v<<1 | uint64(y)
		}
		if rc.dec != 0 {
			d = int64(v)
			if neg == 1 {
				d = -d
			}
			x := int64(o) + d
			if x < math.MinInt32 || x > math.MaxInt32 || d == 0 || rc.over() {
				return false
			}
			next[i] = int32(x)
		}
	}
	return true
}

func clamp3(a int32) int {
	if a < 0 {
		return int(min(-int64(a), 3))
	}
	return int(min(a, 3))
}
