package entropy

import (
	"math/bits"
	"sync"
)

// Cost says what symbols would cost under [Context], one after the other in coding
// order, so that a quantiser can choose each by its price and then let the model
// learn it. Prices are those of the coder's adaptive statistics at that point; the
// prices of all that is taken add up to the code's size.
//
//	c.Start(block); for each position: compare candidates s by c.Bits(s), then c.Take(one)
//
// Prices are float64 and serve decisions only: what is coded stays integer
// arithmetic. A Cost is not safe for concurrent use.
type Cost struct {
	m    *model
	rc   rangeCoder // what is taken is coded into it; its output is dropped
	w    *walk
	rows int
	row  []int32 // scratch of Take

	// The prices at the position, as far as asked for.
	zero, some float64         // of "zero" and "not zero"
	sign       [2]float64      // of a positive and a negative symbol
	lengths    [2]lengthPrices // by sign
	priced     priced

	taken place // where Take goes on while Bits is ahead
	ahead bool
}

// place is what changes of a walk when it is looked ahead.
type place struct{ c, k, left, inKernel, state int }

// put lets s be the row's next symbol, as far as neighbours tell.
func (w *walk) put(s int32) {
	i := w.c + margin
	w.cur[i] = newCell(s)
	w.left = int(min(uint32(abs(s)), 3))
	w.mags[i] = uint8(w.left)
	if s != 0 {
		w.inKernel++
	}
	w.pass()
}

// lengthPrices are the prices of lengths in bits, less 1, as far as asked for.
type lengthPrices struct {
	begun           bool
	up              []float64 // of those above the start
	down            []float64 // of the start and those below
	longer, shorter float64   // of beginning to go beyond those
}

// priced says which prices have been made.
type priced int

const (
	none priced = iota
	zeros
	signs
)

// price is the price in bits of bit y where a one has probability p / 65536.
func price(p uint32, y int) float64 {
	if y == 0 {
		p = 65536 - p
	}
	return bitsTab[p]
}

// bitsTab is p -> -log2(p / 65536), made when it is first needed: squaring x in [1, 2) gives the
// bits of its logarithm one by one. math.Log2 would not give the same bits on every machine.
var bitsTab [65537]float64

var fillBits = sync.OnceFunc(func() {
	for p := 1; p <= 65536; p++ {
		n := bits.Len(uint(p)) - 1
		x, frac := uint64(p)<<(31-n), uint64(0) // in 1/2^31
		for range 24 {
			frac <<= 1
			if x = x * x >> 31; x >= 1<<32 {
				x >>= 1
				frac |= 1
			}
		}
		bitsTab[p] = float64(16-n) - float64(frac)/(1<<24)
	}
	bitsTab[0] = 17 // never coded
})

// NewCost is a Cost at the beginning of a code.
func NewCost() *Cost {
	fillBits()
	return &Cost{m: newModel(), rc: newEncoder(nil)}
}

// Start begins the next block and returns the price of what precedes its symbols. The
// block's Syms are looked at to find a matrix's distances (see lags) and the usual length (see codeStart), and should be
// about what will be taken; nil: it has no distances, and lengths begin at 1.
func (c *Cost) Start(b Block) (head float64) {
	c.rows = b.Rows
	if b.Len() == 0 {
		return 0
	}
	head = c.spent(func() { c.w = c.m.newWalk(&c.rc, b) })
	c.w.begin(0)
	c.row = append(c.row[:0], make([]int32, c.w.cols)...)
	c.ahead, c.priced = false, none
	return head
}

// spent is what f codes, in bits: how much smaller it makes the interval.
func (c *Cost) spent(f func()) float64 {
	rc := &c.rc
	rc.out, rc.at = rc.out[:0], 0 // no carry beyond what f writes
	before := size(rc.rng)
	f()
	return before - size(rc.rng) + float64(8*len(rc.out))
}

// size is the logarithm to base 2 of an interval.
func size(rng uint64) float64 {
	n := bits.Len64(rng)
	return float64(n) - bitsTab[rng>>(n-16)]
}

// Ahead makes Bits ask about the symbol after syms, which come next in this row but are not learned,
// in a state of a dependent quantiser. It holds until Take or another Ahead.
func (c *Cost) Ahead(syms []int32, state int) {
	w := c.w
	c.back()
	c.taken, c.ahead = place{w.c, w.k, w.left, w.inKernel, w.state}, true
	for _, s := range syms {
		w.put(s)
	}
	w.inState(state)
}

// back ends Ahead.
func (c *Cost) back() {
	if c.ahead {
		w := c.w
		w.c, w.k, w.left, w.inKernel = c.taken.c, c.taken.k, c.taken.left, c.taken.inKernel
		w.inState(c.taken.state)
	}
	c.ahead, c.priced = false, none
}

// Bits is the price, in bits, of s as the next symbol. What it does to the prices of later
// symbols is not in it, nor what its own first bits teach the model about the rest, so that
// Take may find a slightly different one.
func (c *Cost) Bits(s int32) float64 {
	m, w := c.m, c.w
	var in [maxInputs]*counter
	if c.priced == none {
		near := w.nonzeroInputs(&in)
		p := m.nonzero.chance(&in, w.state&1<<4|near, w.density)
		c.zero, c.some = price(p, 0), price(p, 1)
		c.priced = zeros
	}
	if s == 0 {
		return c.zero
	}
	if c.priced == zeros {
		w.negativeInputs(&in)
		p := m.negative.chance(&in, 0, 0)
		c.sign = [2]float64{price(p, 0), price(p, 1)}
		c.lengths[0].begun, c.lengths[1].begun = false, false
		c.priced = signs
	}
	sign, a := int(uint32(s)>>31), uint32(s)
	if s < 0 {
		a = -a
	}
	last := bits.Len32(a) - 1
	sum := c.some + c.sign[sign] + c.lengthPrice(sign, last)
	tree := 1
	for bit := last - 1; bit >= 0; bit-- {
		y := int(a>>bit) & 1
		if bit >= last-mixedBits {
			w.mantissaInputs(&in, sign, last, tree)
			sum += price(m.mantissa.chance(&in, mantissaSet(last, bit), 0), y)
		} else {
			sum += price(m.lowCounter(sign, last, tree).chance(), y)
		}
		tree = min(tree<<1|y, 255)
	}
	return sum
}

// lengthPrice is the price of a length in bits, less 1, as codeLength codes it.
func (c *Cost) lengthPrice(sign, e int) float64 {
	w := c.w
	lens := &c.lengths[sign]
	var in [maxInputs]*counter
	chance := func(q int) uint32 {
		w.lengthInputs(&in, sign, q)
		return w.model.length.chance(&in, w.lengthSet(q), w.value.rm)
	}
	if !lens.begun {
		p := chance(firstStep(w.start))
		*lens = lengthPrices{begun: true, up: lens.up[:0], down: lens.down[:0], longer: price(p, 1), shorter: price(p, 0)}
	}
	for k := w.start + 1 + len(lens.up); k <= e; k++ {
		stop := lens.longer
		if k < 31 {
			p := chance(min(k, 15))
			stop += price(p, 0)
			lens.longer += price(p, 1)
		}
		lens.up = append(lens.up, stop)
	}
	for k := w.start - len(lens.down); k >= e; k-- {
		stop := lens.shorter
		if k > 0 {
			p := chance(lengthDown + k)
			stop += price(p, 0)
			lens.shorter += price(p, 1)
		}
		lens.down = append(lens.down, stop)
	}
	if e > w.start {
		return lens.up[e-w.start-1]
	}
	return lens.down[w.start-e]
}

// Take makes s the next symbol: the model learns it. It returns the symbol's price.
func (c *Cost) Take(s int32) float64 {
	w := c.w
	c.back()
	// The row as skip wants it: of its symbols only this one is looked at.
	c.row[w.c] = s
	sum := c.spent(func() { w.next(c.row, w.c+1) })
	if w.c == w.cols && w.r+1 < c.rows {
		w.begin(w.r + 1)
	}
	return sum
}
