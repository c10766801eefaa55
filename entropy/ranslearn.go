package entropy

import "sync"

// ransLearner is the adaptive form of rANS: no frequencies are written, they follow from the
// symbols so far. They are renewed after 32 symbols, 64, 128 and so on, and where that would
// be more than a window after each window; then what was counted before it also counts half
// as much each time. Encoders go over the symbols forwards to learn, then backwards to code.
type ransLearner struct {
	prior  uint // in 3 bits
	window uint // in 2 bits
	count  []uint32
	done   int
}

const (
	learnBits  = 12 // frequencies are multiples of 1<<(ransBits - learnBits)
	learnFirst = 32 // symbols before the frequencies are first renewed
	learnOne   = 32 // what a symbol counts
)

// begin sets counts to what is expected before the first symbol: all alike, or halving with
// every 1, 2, 4, ... that a symbol is further from 0.
func (l *ransLearner) begin(m *ransModel) {
	l.done, l.count = 0, make([]uint32, m.places())
	for i := range l.count {
		l.count[i] = 1
		if l.prior > 0 && i < len(m.syms) {
			s := m.syms[i]
			l.count[i] += 2 * learnOne >> min(uint32(max(s, -s))>>(l.prior-1), 31)
		}
	}
}

// next is how many of the symbols that are left have the frequencies as they are.
func (l *ransLearner) next(left int) int { return min(max(learnFirst, l.done), l.size(), left) }

// size is the window in symbols.
func (l *ransLearner) size() int { return 256 << (2 * l.window) }

// frequencies sets freq, one for each place, in proportion to the counts.
func (l *ransLearner) frequencies(freq []uint32) {
	const shift = 36
	total := uint64(0)
	for _, n := range l.count {
		total += uint64(n)
	}
	left, largest := uint32(1<<ransBits), 0
	scale := uint64(1<<learnBits-len(freq)) << shift / total
	for i, n := range l.count {
		freq[i] = (1 + uint32(uint64(n)*scale>>shift)) << (ransBits - learnBits)
		left -= freq[i]
		if freq[i] > freq[largest] {
			largest = i
		}
	}
	freq[largest] += left
}

// learn counts the n symbols of which hist says how many there were.
func (l *ransLearner) learn(hist *[ransAlpha]uint32, n int) {
	old := l.done >= l.size()
	for i := range l.count {
		if old {
			l.count[i] -= l.count[i] >> 1
		}
		l.count[i] += learnOne * hist[i]
	}
	l.done += n
}

// cost is what the first n places would cost, in 1/65536 bits.
func (l *ransLearner) cost(m *ransModel, c *ransCounts, n int) (cost uint64) {
	l.begin(m)
	freq := make([]uint32, m.places())
	for at := 0; at < n; {
		k := l.next(n - at)
		hist := c.count(at, at+k)
		l.frequencies(freq)
		cost += ransCost(freq, &hist)
		l.learn(&hist, k)
		at += k
	}
	return cost
}

// ransCounts counts the places of a block, in pieces that are counted once.
type ransCounts struct {
	places []uint8
	n      int // different ones
	pieces []uint32
}

const ransPiece = 256

func newRANSCounts(places []uint8, n int) *ransCounts {
	c := &ransCounts{places: places, n: n, pieces: make([]uint32, (len(places)+ransPiece-1)/ransPiece*n)}
	for at, to := 0, c.pieces; at < len(places); at += ransPiece {
		for _, p := range places[at:min(at+ransPiece, len(places))] {
			to[p]++
		}
		to = to[n:]
	}
	return c
}

// count counts those from one on up to another.
func (c *ransCounts) count(from, to int) (hist [ransAlpha]uint32) {
	if from%ransPiece != 0 || to%ransPiece != 0 && to != len(c.places) {
		return histogram(c.places[from:to])
	}
	for k := from / ransPiece; k*ransPiece < to; k++ {
		for i, n := range c.pieces[k*c.n : (k+1)*c.n] {
			hist[i] += n
		}
	}
	return hist
}

// histogram counts places.
func histogram(places []uint8) (hist [ransAlpha]uint32) {
	for _, p := range places {
		hist[p]++
	}
	return hist
}

// ransCost is what places cost that occur as often as hist says, in 1/65536 bits.
func ransCost(freq []uint32, hist *[ransAlpha]uint32) (cost uint64) {
	log := ransLog()
	for i, f := range freq {
		cost += uint64(hist[i]) * uint64(ransBits<<16-log[f])
	}
	return cost
}

// ransLog is the logarithms to base 2 of all frequencies, in 1/65536.
var ransLog = sync.OnceValue(func() *[1<<ransBits + 1]uint32 {
	var log [1<<ransBits + 1]uint32
	for n := 1; n < len(log); n++ {
		e, x := uint32(0), uint64(n)
		for x>>(e+1) > 0 {
			e++
		}
		x <<= 31 - e
		for range 16 { // a bit of the fraction for each squaring
			x = x * x >> 31
			e = e<<1 | uint32(x>>32)
			x >>= x >> 32
		}
		log[n] = e
	}
	return &log
})
