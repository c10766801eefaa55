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
// It repeats the walk of model.block symbol by symbol, and a test holds the two
// together. Prices are float64 and serve decisions only: what is coded stays integer
// arithmetic. A Cost is not safe for concurrent use.
type Cost struct {
	m  *model
	rc rangeCoder // what the sites code into; its output is dropped

	// The block.
	cols, kernel, width, rows int
	far1, far2                int
	cur, prev, prev2          []int32
	cur3, prev3, prev23       []uint8
	column, colSign, place    []counter
	colMag                    []int32
	kin                       *kin
	lin                       linear

	// The row and the position in it.
	r, c, k  int
	row      counter
	rowMag   int32
	inKernel int

	// What the next symbol's contexts are made of.
	set0, density               int // the nonzero site's sets
	expect, hat                 int64
	kq, hq                      int
	rm, est                     int
	nearQ, leftQ, upQ, n1Q, n2Q int

	zero, some float64      // prices of "zero" and "not zero"
	priced     bool         // what follows "not zero" has been prepared
	sign       [2]float64   // prices of a positive and a negative symbol
	length     [2][]float64 // by sign and length in bits - 1, as far as asked for
	open       [2]float64   // price of "longer" at each of those
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
func (s *site) chance(set0, set1 int) uint32 {
	m0, m1 := &s.sets[0][set0], &s.sets[1][set1]
	var d0, d1 int64
	for i := range s.n {
		x := s.ctx[i].logit()
		d0 += x * int64(m0.w[i])
		d1 += x * int64(m1.w[i])
	}
	l0 := min(max(d0>>16, -logitMax), logitMax) + zeroLogit
	l1 := min(max(d1>>16, -logitMax), logitMax) + zeroLogit
	l := (l0 + l1) >> 1
	at, part := l>>7, int32(l&127)
	a := m1.fix[at]<<7 + (m1.fix[at+1]-m1.fix[at])*part
	return uint32(min(max((int32(squashTab[l])<<7+a)>>8, minProb), 65536-minProb))
}

// NewCost is a Cost at the beginning of a code.
func NewCost() *Cost {
	fillBits()
	return &Cost{m: newModel(), rc: newEncoder(nil)}
}

// Start begins the next block and returns the price of what precedes its symbols. The
// block's Syms are looked at only where it is a matrix, to find its distances (see lags), and should be
// about what will be taken; nil: it has no distances.
func (c *Cost) Start(b Block) (head float64) {
	c.kernel, c.width, c.rows = b.H*b.W, b.W, b.Rows
	c.cols = b.C * c.kernel
	c.r, c.c, c.k = 0, 0, 0
	if c.rows == 0 || c.cols == 0 {
		return 0
	}
	c.far1, c.far2 = 0, c.kernel
	if b.H > 1 {
		c.far1 = b.W
	}
	if c.kernel == 1 {
		c.far1, c.far2 = 0, 2
		if c.cols >= minLagCols {
			head = 2
			if b.Syms != nil {
				c.far1, c.far2 = lags(&c.rc, b, c.cols)
				if c.far1 != 0 {
					head += 8
				}
				if c.far2 != 2 {
					head += 8
				}
			}
		}
	}
	if c.far1 > maxLag {
		c.far1 = 0
	}
	if c.far2 > maxLag {
		c.far2 = 0
	}
	n := c.cols + 2*margin
	c.cur, c.prev, c.prev2 = make([]int32, n), make([]int32, n), make([]int32, n)
	c.cur3, c.prev3, c.prev23 = make([]uint8, n), make([]uint8, n), make([]uint8, n)
	c.column, c.colSign, c.place = newCounters(n), newCounters(c.cols), newCounters(c.kernel)
	c.colMag = make([]int32, c.cols)
	c.kin = newKin(b.Rows, c.cols)
	c.lin = linear{scale: newScale(64)}
	c.startRow()
	c.contexts()
	return head
}

func (c *Cost) startRow() {
	c.row = counterHalf
	resetCounters(c.place)
	c.rowMag = 256
	c.kin.row(c.r)
}

// contexts sets the nonzero site for the symbol at the position.
func (c *Cost) contexts() {
	if c.k == c.kernel {
		c.k = 0
	}
	if c.k == 0 {
		c.inKernel = 0
	}
	m, i := c.m, c.c+margin
	left3, up3 := uint(c.cur3[i-1]), uint(c.prev3[i])
	near, diag := left3<<2|up3, left3
	if c.far1 > 0 {
		n13 := uint(c.cur3[i-c.far1])
		near |= n13 << 6
		diag |= n13<<6 | uint(c.cur3[i-c.far1+1])<<4 | uint(c.cur3[i-c.far1-1])<<2
	}
	if c.far2 > 0 {
		near |= uint(c.cur3[i-c.far2]) << 4
	}
	col := &c.column[i]
	cl, rl := col.logit()+zeroLogit, c.row.logit()+zeroLogit
	c.expect = c.kin.predict(c.c)
	c.kq = c.kin.scale.steps(c.expect)

	nz := &m.nonzero
	nz.ctx[0] = col
	nz.ctx[1] = &c.place[c.k]
	nz.ctx[2] = &m.zFar[near&255]
	nz.ctx[3] = &m.zDiag[diag&255]
	if c.kernel == 1 {
		around := (c.column[i-1].logit() + c.column[i+1].logit()) >> 1
		if c.far1 > 0 {
			around = (2*around + c.column[i-c.far1].logit() + c.column[i+c.far1].logit()) >> 2
		}
		nz.ctx[4] = &m.zUpper[uint(rl>>8*22+(around+zeroLogit)>>8)<<4|up3<<2|uint(c.prev23[i])]
	} else {
		nz.ctx[4] = &m.zKernel[min(c.inKernel, 15)*32+min(c.k, 31)]
	}
	leftFlag, upFlag := int(left3+3)>>2, int(up3+3)>>2
	nz.ctx[5] = &m.zKin[int(cl+rl)>>9<<5|max(c.kq, -c.kq)<<1|leftFlag]
	c.set0 = leftFlag<<3 | upFlag<<2 | min(c.r, 3)
	c.density = int(cl>>9*11 + rl>>9)
	p := nz.chance(c.set0, c.density)
	c.zero, c.some = price(p, 0), price(p, 1)
	c.priced = false
}

// expand sets what a symbol that is not zero is predicted from.
func (c *Cost) expand() {
	if c.priced {
		return
	}
	c.priced = true
	m, i := c.m, c.c+margin
	left, up, left2, up2 := c.cur[i-1], c.prev[i], c.cur[i-2], c.prev2[i]
	var n1, n1l, n1r, n2 int32
	if c.far1 > 0 {
		n1, n1l, n1r = c.cur[i-c.far1], c.cur[i-c.far1-1], c.cur[i-c.far1+1]
	}
	if c.far2 > 0 {
		n2 = c.cur[i-c.far2]
	}
	f := &c.lin.f
	if c.kernel > 1 {
		*f = features{0, 0, 0, 0, 0, n2, up, up2, 0}
		kx := c.k % c.width
		if kx > 0 {
			f[1] = left
		}
		if c.k >= c.width && c.far1 > 0 {
			f[2] = n1
			if kx > 0 {
				f[3] = n1l
			}
			if kx < c.width-1 {
				f[4] = n1r
			}
		}
		if c.c >= 2*c.kernel && 2*c.kernel <= maxLag {
			f[8] = c.cur[i-2*c.kernel]
		}
	} else {
		*f = features{0, left, n1, n1l, n1r, n2, up, left2, up2}
	}
	c.hat = c.lin.predict(c.kin.scale.ratio(c.expect), c.rowMag)
	c.hq = c.lin.scale.steps(c.hat)
	neg := &m.negative
	neg.ctx[0] = &m.sKin[(c.kq+12)*3+sgn(left)]
	neg.ctx[1] = &m.sKinNear[((c.kq+12)*3+sgn(n1))*3+sgn(up)]
	neg.ctx[2] = &m.sBoth[(c.hq+12)*25+c.kq+12]
	neg.ctx[3] = &m.sLinear[c.hq+12]
	neg.ctx[4] = &c.colSign[c.c]
	neg.ctx[5] = &m.sCross[((sgn(left)*3+sgn(up))*3+sgn(n1))*3+sgn(n2)]
	p := neg.chance(0, 0)
	c.sign = [2]float64{price(p, 0), price(p, 1)}

	close := 2*abs(left) + 2*abs(up) + abs(left2) + abs(up2) + 2*abs(n1) + 2*abs(n2)
	c.rm = octaves(c.rowMag >> 5)
	c.est = quarters((2*c.colMag[c.c] + 2*c.rowMag + close*25) / 5 >> 4)
	c.nearQ, c.leftQ, c.upQ, c.n1Q, c.n2Q = octaves(close), octaves(abs(left)), octaves(abs(up)), octaves(abs(n1)), octaves(abs(n2))
	for s := range 2 {
		c.length[s], c.open[s] = c.length[s][:0], 0
	}
}

// signed is the linear prediction as seen from a sign (1: negative).
func (c *Cost) signed(sign int) int {
	if sign == 1 {
		return -c.hq
	}
	return c.hq
}

func (c *Cost) lengthContexts(e, sign int) {
	m, q := c.m, min(e, 15)
	s := &m.length
	s.ctx[0] = &m.lPlain[q*2+sign]
	s.ctx[1] = &m.lDensity[q*121+c.density]
	s.ctx[2] = &m.lEst[q*64+c.est]
	s.ctx[3] = &m.lNear[(q*16+c.leftQ)*16+c.upQ]
	s.ctx[4] = &m.lFar[(q*16+c.n1Q)*16+c.n2Q]
	s.ctx[5] = &m.lLinear[(q*16+c.rm)*25+c.signed(sign)+12]
}

func (c *Cost) mantissaContexts(e, tree, sign int) {
	m, q := c.m, min(e, 15)*256+tree
	s := &m.mantissa
	s.ctx[0] = &m.mPlain[q*2+sign]
	s.ctx[1] = &m.mRow[q*16+c.rm]
	s.ctx[2] = &m.mNear[q*16+c.nearQ]
	s.ctx[3] = &m.mLinear[q*25+c.signed(sign)+12]
}

// Bits is the price, in bits, of s as the next symbol. What it does to the prices of later
// symbols is not in it, nor what its own first bits teach the model about the rest, so that
// Take may find a slightly different one.
func (c *Cost) Bits(s int32) float64 {
	if s == 0 {
		return c.zero
	}
	c.expand()
	sign, a := int(uint32(s)>>31), uint32(s)
	if s < 0 {
		a = -a
	}
	last := bits.Len32(a) - 1
	for e := len(c.length[sign]); e <= last; e++ {
		if e == 31 {
			c.length[sign] = append(c.length[sign], c.open[sign])
			break
		}
		c.lengthContexts(e, sign)
		p := c.m.length.chance(min(e, 15), c.rm)
		c.length[sign] = append(c.length[sign], c.open[sign]+price(p, 0))
		c.open[sign] += price(p, 1)
	}
	sum := c.some + c.sign[sign] + c.length[sign][last]
	tree := 1
	for bit := last - 1; bit >= 0; bit-- {
		c.mantissaContexts(last, tree, sign)
		y := int(a>>bit) & 1
		sum += price(c.m.mantissa.chance(min(last, 15)*16+min(bit, 15), 0), y)
		tree = min(tree<<1|y, 255)
	}
	return sum
}

// Take makes s the next symbol: the model learns it. It returns the symbol's price.
func (c *Cost) Take(s int32) float64 {
	c.rc.out = c.rc.out[:0]
	m, i := c.m, c.c+margin
	y, sum := 0, c.zero
	if s != 0 {
		c.expand()
		y, sum = 1, c.some
	}
	m.nonzero.code(&c.rc, y, c.set0, c.density)
	c.row.update(int64(y)<<22, 60)
	c.cur[i], c.cur3[i] = 0, 0
	if s != 0 {
		c.inKernel++
		sign, a := int(uint32(s)>>31), uint32(s)
		if s < 0 {
			a = -a
		}
		sum += c.sign[sign]
		m.negative.code(&c.rc, sign, 0, 0)
		last := bits.Len32(a) - 1
		for e := 0; e < min(last+1, 31); e++ {
			y := 0
			if e < last {
				y = 1
			}
			c.lengthContexts(e, sign)
			sum += price(m.length.chance(min(e, 15), c.rm), y)
			m.length.code(&c.rc, y, min(e, 15), c.rm)
		}
		tree := 1
		for bit := last - 1; bit >= 0; bit-- {
			c.mantissaContexts(last, tree, sign)
			y := int(a>>bit) & 1
			set := min(last, 15)*16 + min(bit, 15)
			sum += price(m.mantissa.chance(set, 0), y)
			m.mantissa.code(&c.rc, y, set, 0)
			tree = min(tree<<1|y, 255)
		}
		t := min(max(s, -maxMag), maxMag)
		c.cur[i], c.cur3[i] = t, uint8(min(abs(t), 3))
		c.kin.learn(c.r, c.c, c.expect, t)
		c.lin.learn(c.hat, t, c.rowMag)
		c.rowMag += (abs(t)*256 - c.rowMag) / 32
		c.colMag[c.c] += (abs(t)*256 - c.colMag[c.c]) / int32(min(16, c.r+1))
	}
	c.c, c.k = c.c+1, c.k+1
	if c.c == c.cols {
		c.r, c.c, c.k = c.r+1, 0, 0
		c.cur, c.prev, c.prev2 = c.prev2, c.cur, c.prev
		c.cur3, c.prev3, c.prev23 = c.prev23, c.cur3, c.prev3
		if c.r < c.rows {
			c.startRow()
		}
	}
	if c.r < c.rows {
		c.contexts()
	}
	return sum
}
