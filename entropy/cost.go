package entropy

import (
	"encoding/binary"
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
// It repeats the walk of model.block symbol by symbol, and a test holds the two
// together. Prices are float64 and serve decisions only: what is coded stays integer
// arithmetic. A Cost is not safe for concurrent use.
type Cost struct {
	w  walk
	rc rangeCoder // what the sites code into; its output is of no use

	// The block.
	cols, rows       int
	cur, prev, prev2 []uint8 // the rows' magnitudes, at most 3
	column, place    []counter
	above            []above
	logits           []int16
	beside           uint32

	// The row and the position in it.
	r, c, k  int
	row      counter
	inKernel int
	left     uint

	in            [maxInputs]*counter // the nonzero site's
	set0, density int                 // and its sets
	expect        int64
	kq            int

	zero, some float64 // prices of "zero" and "not zero"

	// What a symbol that is not zero is priced from.
	priced                 bool // it has been prepared
	hq, rm, cm, est        int
	nearQ, pairUp, pairFar int
	sign                   [2]float64   // prices of a positive and a negative symbol
	length                 [2][]float64 // by sign and length in bits - 1, as far as asked for
	open                   [2]float64   // price of "longer" at each of those
}

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

// chance is the probability of a one, in 1/65536, that code would use.
func (s *site) chance(c *[maxInputs]*counter, set0, set1 int) uint32 {
	m0, m1 := &s.sets[0][set0], &s.sets[1][set1]
	var d0, d1 int32
	for i := range s.n {
		x := c[i].logit()
		d0 += x * m0.w[i]
		d1 += x * m1.w[i]
	}
	l0 := min(max(d0>>16, -logitMax), logitMax) + zeroLogit
	l1 := min(max(d1>>16, -logitMax), logitMax) + zeroLogit
	l := (l0 + l1) >> 1 & 8191
	at, part := l>>7, l&127
	a := m1.fix[at]<<7 + (m1.fix[at+1]-m1.fix[at])*part
	return uint32(min(max((int32(squashTab[l])<<7+a)>>8, minProb), 65536-minProb))
}

// NewCost is a Cost at the beginning of a code.
func NewCost() *Cost {
	fillBits()
	c := &Cost{rc: newEncoder(nil)}
	c.w.model, c.w.rc = newModel(), &c.rc
	return c
}

// Start begins the next block and returns the price of what precedes its symbols. The
// block's Syms are looked at only where it is a matrix, to find its distances (see lags), and should be
// about what will be taken; nil: it has no distances.
func (c *Cost) Start(b Block) (head float64) {
	kernel := b.H * b.W
	c.rows, c.cols = b.Rows, b.C*kernel
	c.r, c.c, c.k = 0, 0, 0
	if c.rows == 0 || c.cols == 0 {
		return 0
	}
	far1, far2 := 0, kernel
	if b.H > 1 {
		far1 = b.W
	}
	if kernel == 1 {
		far1, far2 = 0, 2
		if c.cols >= minLagCols {
			head = 2
			if b.Syms != nil {
				far1, far2 = lags(&c.rc, b, c.cols)
				if far1 != 0 {
					head += 8
				}
				if far2 != 2 {
					head += 8
				}
			}
		}
	}
	if far1 > maxLag {
		far1 = 0
	}
	if far2 > maxLag {
		far2 = 0
	}
	n := c.cols + 2*margin
	c.w = walk{
		model: c.w.model, rc: &c.rc, kernel: kernel, width: b.W, far1: far1, far2: far2,
		cur: make([]int32, n), prev: make([]int32, n), prev2: make([]int32, n),
		colSign: newCounters(c.cols), colMag: make([]int32, c.cols),
		kin: newKin(b.Rows, c.cols), lin: linear{scale: newScale(64)},
	}
	c.cur, c.prev, c.prev2 = make([]uint8, n), make([]uint8, n), make([]uint8, n)
	c.column, c.place = newCounters(c.cols), newCounters(kernel)
	c.above, c.logits = make([]above, c.cols), make([]int16, n)
	c.beside = 0x030303
	if far1 == 1 {
		c.beside = 0x0303
	}
	c.startRow()
	c.contexts()
	return head
}

func (c *Cost) startRow() {
	look(c.above, c.column, c.logits, c.prev[margin:], c.prev2[margin:], c.w.far1)
	c.row, c.w.rowMag, c.left = counterHalf, 256, 0
	resetCounters(c.place)
	c.w.kin.row(c.r)
}

// contexts sets the nonzero site for the symbol at the position.
func (c *Cost) contexts() {
	if c.k == c.w.kernel {
		c.k = 0
	}
	if c.k == 0 {
		c.inKernel = 0
	}
	m, over := c.w.model, c.above[c.c]
	n1, n2 := uint(0), uint(0)
	if f := c.w.far1; f > 0 {
		n1 = uint(binary.LittleEndian.Uint32(c.cur[c.c+margin-1-f:]) & c.beside)
	}
	if f := c.w.far2; f > 0 {
		n2 = uint(c.cur[c.c+margin-f])
	}
	left, rl := c.left, uint(c.row.logit()+zeroLogit)
	leftFlag, upFlag := (left+3)>>2, uint(over.mags&3+3)>>2
	c.expect, c.kq = 0, 0
	if c.w.kin.energy != 0 {
		c.expect = int64(c.w.kin.predict(c.c))
		c.kq = c.w.kin.scale.steps(c.expect)
	}
	c.in[0] = &c.column[c.c]
	c.in[1] = &c.place[c.k]
	c.in[2] = &m.zFar[(n1>>2|n2<<4|left<<2|uint(over.mags&3))&255]
	c.in[3] = &m.zDiag[(n1>>2|n1>>12|n1<<2|left)&255]
	if c.w.kernel == 1 {
		c.in[4] = &m.zUpper[(rl>>8<<9|uint(over.mags))&(1<<14-1)]
	} else {
		c.in[4] = &m.zKernel[min(c.inKernel, 15)<<5|min(c.k, 31)]
	}
	c.in[5] = &m.zKin[((uint(over.density)+rl>>8)>>1<<5|uint(max(c.kq, -c.kq))<<1|leftFlag)&1023]
	c.in[6] = &m.zNear[(uint(over.around)<<2|leftFlag<<1|upFlag)&511]
	c.in[7] = &m.zDensity[(uint(over.density)<<5|rl>>8)&1023]
	c.set0, c.density = int(leftFlag<<3|upFlag<<2)|min(c.r, 3), int(uint(over.density)>>1<<4|rl>>9)
	p := m.nonzero.chance(&c.in, c.set0, c.density)
	c.zero, c.some = price(p, 0), price(p, 1)
	c.priced = false
}

// expand sets what a symbol that is not zero is priced from, as walk.value does.
func (c *Cost) expand() {
	if c.priced {
		return
	}
	c.priced = true
	w, m, i := &c.w, c.w.model, c.c+margin
	cur, prev := w.cur, w.prev
	left, up, left2, up2 := cur[i-1], prev[i], cur[i-2], w.prev2[i]
	var n1, n1l, n1r, n2 int32
	if f := w.far1; f > 0 {
		n1, n1l, n1r = cur[i-f], cur[i-f-1], cur[i-f+1]
	}
	if f := w.far2; f > 0 {
		n2 = cur[i-f]
	}
	x := &w.lin.x
	*x = [9]int64{0: w.kin.scale.ratio(c.expect) * int64(w.rowMag) >> 8, 5: int64(n2) << 6, 6: int64(up) << 6}
	if w.kernel > 1 {
		x[7] = int64(up2) << 6
		kx := c.k % w.width
		if kx > 0 {
			x[1] = int64(left) << 6
		}
		if c.k >= w.width && w.far1 > 0 {
			x[2] = int64(n1) << 6
			if kx > 0 {
				x[3] = int64(n1l) << 6
			}
			if kx < w.width-1 {
				x[4] = int64(n1r) << 6
			}
		}
		if c.c >= 2*w.kernel && 2*w.kernel <= maxLag {
			x[8] = int64(cur[i-2*w.kernel]) << 6
		}
	} else {
		x[1], x[2], x[3], x[4] = int64(left)<<6, int64(n1)<<6, int64(n1l)<<6, int64(n1r)<<6
		x[7], x[8] = int64(left2)<<6, int64(up2)<<6
	}
	c.hq = w.lin.scale.steps(w.lin.predict())
	var in [maxInputs]*counter
	in[0] = &m.sKin[(c.kq+12)*3+sgn(left)]
	in[1] = &m.sKinNear[((c.kq+12)*3+sgn(n1))*3+sgn(up)]
	in[2] = &m.sBoth[(c.hq+12)*25+c.kq+12]
	in[3] = &m.sLinear[c.hq+12]
	in[4] = &w.colSign[c.c]
	in[5] = &m.sCross[((sgn(left)*3+sgn(up))*3+sgn(n1))*3+sgn(n2)]
	in[6] = &m.sUpper[(sgn(up)*3+sgn(up2))*3+sgn(left2)]
	in[7] = &m.sRow[((sgn(left)*3+sgn(left2))*3+sgn(prev[i-1]))*3+sgn(prev[i+1])]
	p := m.negative.chance(&in, 0, 0)
	c.sign = [2]float64{price(p, 0), price(p, 1)}

	near := 2*abs(left) + 2*abs(up) + abs(left2) + abs(up2) + 2*abs(n1) + 2*abs(n2)
	c.rm, c.cm = octaves(w.rowMag>>5), octaves(w.colMag[c.c]>>5)
	c.est = quarters((2*w.colMag[c.c] + 2*w.rowMag + near*25) / 5 >> 4)
	c.nearQ = octaves(near)
	c.pairUp = octaves(abs(left))<<4 | octaves(abs(up))
	c.pairFar = octaves(abs(n1))<<4 | octaves(abs(n2))
	for s := range 2 {
		c.length[s], c.open[s] = c.length[s][:0], 0
	}
}

// longer is the chance that a symbol of that sign has more than e+1 bits, where it has e+1.
func (c *Cost) longer(e, sign int) uint32 {
	m, q, kq, hq := c.w.model, min(e, 15), c.kq, c.hq
	if sign == 1 {
		kq, hq = -kq, -hq
	}
	in := [maxInputs]*counter{
		&m.lPlain[q<<1|sign], &m.lDensity[q*176+c.density], &m.lEst[q<<6|c.est], &m.lNear[q<<8|c.pairUp],
		&m.lFar[q<<8|c.pairFar], &m.lLinear[(q<<4|c.rm)*25+hq+12], &m.lKin[(q<<4|c.rm)*25+kq+12], &m.lColumn[(q<<4|c.cm)<<4|c.rm],
	}
	return m.length.chance(&in, q, c.rm)
}

// Bits is the price, in bits, of s as the next symbol. What it does to the prices of later
// symbols is not in it, nor what its own first bits teach the model about the rest.
func (c *Cost) Bits(s int32) float64 {
	if s == 0 {
		return c.zero
	}
	c.expand()
	sign, a := int(uint32(s)>>31), uint32(s)
	hq := c.hq
	if s < 0 {
		a, hq = -a, -hq
	}
	last := bits.Len32(a) - 1
	for e := len(c.length[sign]); e <= last; e++ {
		if e == 31 {
			c.length[sign] = append(c.length[sign], c.open[sign])
			break
		}
		p := c.longer(e, sign)
		c.length[sign] = append(c.length[sign], c.open[sign]+price(p, 0))
		c.open[sign] += price(p, 1)
	}
	sum := c.some + c.sign[sign] + c.length[sign][last]
	m, tree := c.w.model, 1
	for bit := last - 1; bit >= 0; bit-- {
		q, y := min(last, 15)<<8|tree, int(a>>bit)&1
		in := [maxInputs]*counter{&m.mPlain[q<<1|sign], &m.mRow[q<<4|c.rm], &m.mNear[q<<4|c.nearQ], &m.mLinear[q*25+hq+12]}
		sum += price(m.mantissa.chance(&in, min(last, 15)<<4|min(bit, 15), 0), y)
		tree = min(tree<<1|y, 255)
	}
	return sum
}

// Take makes s the next symbol: the model learns it. It returns the symbol's price.
func (c *Cost) Take(s int32) float64 {
	sum := c.Bits(s)
	y := 0
	if s != 0 {
		y = 1
	}
	c.w.model.nonzero.code(&c.rc, &c.in, y, c.set0, c.density)
	c.row.update(int32(y)<<22, 60)
	c.left = 0
	c.w.cur[c.c+margin] = 0
	if s != 0 {
		c.inKernel++
		if _, err := c.w.value(s, c.r, c.c, c.k, c.density, c.expect, c.kq); err != nil {
			panic(err) // decoders only
		}
		c.left = uint(min(uint32(abs(s)), 3))
	}
	c.cur[c.c+margin] = uint8(c.left)
	c.c, c.k = c.c+1, c.k+1
	if c.c == c.cols {
		c.r, c.c, c.k = c.r+1, 0, 0
		c.w.cur, c.w.prev, c.w.prev2 = c.w.prev2, c.w.cur, c.w.prev
		c.cur, c.prev, c.prev2 = c.prev2, c.cur, c.prev
		if c.r < c.rows {
			c.startRow()
		}
	}
	if c.r < c.rows {
		c.contexts()
	}
	return sum
}
