package entropy

import "math/bits"

// Fixed-point logistic mixing (M. Mahoney: Adaptive weighing of context models for
// lossless data compression, 2005). Probabilities are those of a one bit, in
// 1/65536; a logit is ln(p/(1-p)) in 1/256. All of it is integer arithmetic, the
// tables too: floating point would not decode on every machine.

// logitMax is the largest logit: 11, a probability of 1 - 1/59875. With zeroLogit
// added logits are positive, and 0 stands at a multiple of 256.
const (
	logitMax  = 2815
	zeroLogit = 2816
)

// The tables' sizes make tests of their indices needless.
var (
	squashTab  [8192]uint16  // logit + zeroLogit -> probability
	stretchTab [4096]int16   // probability / 16 -> logit
	rateTab    [256]uint16   // count -> share of the error that a counter takes, in 1/4096
	mixVec     [10][8]uint32 // constants of the assembly
)

func init() {
	// e is exp(-i/256) in 1/2^62; expStep is exp(-1/256) in 1/2^64, rounded down.
	const expStep = 0xff007fd55ffdde38
	e := uint64(1) << 62
	for i := 0; i <= logitMax; i++ {
		p, _ := bits.Div64(1<<14, 0, 1<<62+e) // 65536 / (1 + exp(-i/256))
		squashTab[zeroLogit+i] = uint16(p)
		squashTab[zeroLogit-i] = uint16(65536 - p)
		e, _ = bits.Mul64(e, expStep)
	}
	j := zeroLogit - logitMax
	for i := range stretchTab {
		for uint32(squashTab[j]) < uint32(16*i+8) {
			j++
		}
		stretchTab[i] = int16(j - zeroLogit)
	}
	for i := range rateTab {
		if i < 16 {
			rateTab[i] = uint16(16 * (512 / (2*i + 3)))
		} else {
			rateTab[i] = uint16(4096 / (i&^15 + 9))
		}
	}
	min := int32(-logitMax)
	for i, x := range [...]uint32{uint32(min), logitMax, zeroLogit, 1 << 13, 1, counterLimit, 0x80808070, 0, 0, 1 << 22} {
		for k := range mixVec[i] {
			mixVec[i][k] = x
		}
	}
	for i := range 16 {
		low, high := uint32(rateTab[i]>>4), uint32(rateTab[16*i])
		if i == 0 {
			high = 0
		}
		for k := i / 4; k < 8; k += 4 {
			mixVec[7][k] |= low << (8 * (i % 4))
			mixVec[8][k] |= high << (8 * (i % 4))
		}
	}
}

// counter is an adaptive probability: 22 bits of probability above 10 bits of
// count, at most 255. While the count is small it averages what it saw (nearly the
// Krichevsky-Trofimov estimate); at the limit it forgets exponentially.
type counter uint32

const (
	counterHalf  counter = 1 << 31 // nothing seen
	counterLimit         = 255     // the usual limit of the count
)

func newCounters(n int) []counter {
	c := make([]counter, n)
	resetCounters(c)
	return c
}

func resetCounters(c []counter) {
	for i := range c {
		c[i] = counterHalf
	}
}

func (c counter) logit() int32 { return int32(stretchTab[c>>20]) }

// chance is the probability of a one that is coded where the counter decides alone.
func (c counter) chance() uint32 { return min(max(uint32(c>>16), minProb), 65536-minProb) }

// update moves the counter towards target, 0 or 1<<22.
func (c *counter) update(target int32, limit uint32) {
	n := uint32(*c) & 255
	p := int32(*c >> 10)
	p += (target - p) >> 4 * int32(rateTab[n]) >> 8
	*c = counter(uint32(p)<<10 | min(n+1, limit))
}

const (
	maxInputs = 8 // the most inputs that a site mixes
	// Learning rates of the weights of the first and the second set, in 1/2^22 a unit of logit and error: what
	// is quick in one is steady in the other.
	mixFast, mixSlow = 160, 64
	// minProb bounds every probability that is coded, in 1/65536: a decision costs at
	// least 0.0005 bits, so that a byte stands for fewer than 15,200 of them.
	minProb = 24
)

// site is one kind of binary decision. Its n inputs are counters that the model
// picks by its contexts; two sets of mixing weights, each picked by a small context
// of its own, give two logits. Each set learns from its own error, at a rate of its own. What the mean of
// the two says is corrected by an adaptive map under the second context. A second layer of weights in
// place of the mean came to within 0.01% of it, at four rates.
type site struct {
	n    int // inputs: 4 or 8
	sets [2][]mixing
}

// mixing is what a context of a site has learned.
type mixing struct {
	w   [maxInputs]int32 // weights in 1/65536, at first 1/n; they wrap around
	fix [46]int32        // the probability for every 128th logit, in 1/65536; the second set's
	_   [10]int32
}

func newSite(n, sets0, sets1 int) site {
	s := site{n: n}
	var m mixing
	for i := range n {
		m.w[i] = int32(65536 / n)
	}
	for i := range m.fix {
		m.fix[i] = int32(squashTab[min(max(128*i, zeroLogit-logitMax), zeroLogit+logitMax)])
	}
	for k, sets := range [2]int{sets0, sets1} {
		s.sets[k] = make([]mixing, sets)
		for i := range sets {
			s.sets[k][i] = m
		}
	}
	return s
}

// code codes y, or decodes and returns it: a decoder passes y = 0. c are the inputs.
func (s *site) code(rc *rangeCoder, c *[maxInputs]*counter, y int, set0, set1 int) int {
	m0, m1 := &s.sets[0][set0], &s.sets[1][set1]
	if !simd {
		return mix(rc, s.n, c, m0, m1, y)
	}
	before := rc.at
	if s.n == 4 {
		y = mix4AVX2(rc, c, m0, m1, y)
	} else {
		y = mix8AVX2(rc, c, m0, m1, y)
	}
	rc.settle(before)
	return y
}

// logit is that of a sum of weighted logits, with zeroLogit added.
func logit(sum int32) int32 { return min(max(sum>>16, -logitMax), logitMax) + zeroLogit }

// chance is the probability of a one where l is the mean of both sets' logits, which m,
// the second set, corrects.
func (m *mixing) chance(l int32) uint32 {
	at, part := l>>7, l&127
	fix := &m.fix
	a := fix[at]<<7 + (fix[at+1]-fix[at])*part
	return uint32(min(max((int32(squashTab[l])<<7+a)>>8, minProb), 65536-minProb))
}

// chance is the probability of a one that code would code with.
func (s *site) chance(c *[maxInputs]*counter, set0, set1 int) uint32 {
	m0, m1 := &s.sets[0][set0], &s.sets[1][set1]
	var d0, d1 int32
	for i := range s.n {
		x := c[i].logit()
		d0 += x * m0.w[i]
		d1 += x * m1.w[i]
	}
	return m1.chance((logit(d0) + logit(d1)) >> 1 & 8191)
}

// mix is code in portable Go, written out because this is where the time goes.
func mix(rc *rangeCoder, n int, c *[maxInputs]*counter, m0, m1 *mixing, y int) int {
	w0, w1 := &m0.w, &m1.w
	x0, x1, x2, x3 := c[0].logit(), c[1].logit(), c[2].logit(), c[3].logit()
	var x4, x5, x6, x7 int32
	d0 := x0*w0[0] + x1*w0[1] + x2*w0[2] + x3*w0[3]
	d1 := x0*w1[0] + x1*w1[1] + x2*w1[2] + x3*w1[3]
	if n > 4 {
		x4, x5, x6, x7 = c[4].logit(), c[5].logit(), c[6].logit(), c[7].logit()
		d0 += x4*w0[4] + x5*w0[5] + x6*w0[6] + x7*w0[7]
		d1 += x4*w1[4] + x5*w1[5] + x6*w1[6] + x7*w1[7]
	}
	l0, l1 := logit(d0), logit(d1)
	l := (l0 + l1) >> 1 & 8191
	y = rc.bit(y, m1.chance(l))

	one := int32(y << 16)
	fix, at := &m1.fix, (l+64)>>7
	fix[at] += (one - fix[at]) >> 7
	e0 := (one - int32(squashTab[l0&8191])) * mixFast >> 8
	e1 := (one - int32(squashTab[l1&8191])) * mixSlow >> 8
	target := int32(y) << 22
	w0[0] += (x0*e0 + 1<<13) >> 14
	w1[0] += (x0*e1 + 1<<13) >> 14
	c[0].update(target, counterLimit)
	w0[1] += (x1*e0 + 1<<13) >> 14
	w1[1] += (x1*e1 + 1<<13) >> 14
	c[1].update(target, counterLimit)
	w0[2] += (x2*e0 + 1<<13) >> 14
	w1[2] += (x2*e1 + 1<<13) >> 14
	c[2].update(target, counterLimit)
	w0[3] += (x3*e0 + 1<<13) >> 14
	w1[3] += (x3*e1 + 1<<13) >> 14
	c[3].update(target, counterLimit)
	if n > 4 {
		w0[4] += (x4*e0 + 1<<13) >> 14
		w1[4] += (x4*e1 + 1<<13) >> 14
		c[4].update(target, counterLimit)
		w0[5] += (x5*e0 + 1<<13) >> 14
		w1[5] += (x5*e1 + 1<<13) >> 14
		c[5].update(target, counterLimit)
		w0[6] += (x6*e0 + 1<<13) >> 14
		w1[6] += (x6*e1 + 1<<13) >> 14
		c[6].update(target, counterLimit)
		w0[7] += (x7*e0 + 1<<13) >> 14
		w1[7] += (x7*e1 + 1<<13) >> 14
		c[7].update(target, counterLimit)
	}
	return y
}
