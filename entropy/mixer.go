package entropy

import "math/bits"

// Fixed-point logistic mixing (M. Mahoney: Adaptive weighing of context models for
// lossless data compression, 2005). Probabilities are those of a one bit, in
// 1/65536; a logit is ln(p/(1-p)) in 1/256. All of it is integer arithmetic, the
// tables too: floating point would not decode on every machine.

// logitMax is the largest logit: 11, a probability of 1 - 1/59875.
const logitMax = 2815

var (
	squashTab  [2*logitMax + 1]uint16 // logit + logitMax -> probability
	stretchTab [4096]int16            // probability / 16 -> logit
	rateTab    [256]uint16            // count -> 65536 / (count + 1.5)
)

func init() {
	// e is exp(-i/256) in 1/2^62; expStep is exp(-1/256) in 1/2^64, rounded down.
	const expStep = 0xff007fd55ffdde38
	e := uint64(1) << 62
	for i := 0; i <= logitMax; i++ {
		p, _ := bits.Div64(1<<14, 0, 1<<62+e) // 65536 / (1 + exp(-i/256))
		squashTab[logitMax+i] = uint16(p)
		squashTab[logitMax-i] = uint16(65536 - p)
		e, _ = bits.Mul64(e, expStep)
	}
	j := 0
	for i := range stretchTab {
		for uint32(squashTab[j]) < uint32(16*i+8) {
			j++
		}
		stretchTab[i] = int16(j - logitMax)
	}
	for i := range rateTab {
		rateTab[i] = uint16(131072 / (2*uint32(i) + 3))
	}
}

// squash is the probability of a logit, which it clamps.
func squash(x int32) int32 {
	return int32(squashTab[min(max(x, -logitMax), logitMax)+logitMax])
}

// counter is an adaptive probability: 22 bits of probability above 10 bits of
// count. While the count is small it averages what it saw (nearly the
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

// bin is the one of n equal bins in which a logit lies.
func bin(logit, n int32) int { return int((logit + logitMax) * n / (2*logitMax + 1)) }

func (c *counter) update(y int, limit uint32) {
	n := uint32(*c) & 1023
	p := int64(*c >> 10)
	p += (int64(y)<<22 - p) * int64(rateTab[n]) >> 16
	if n < limit {
		n++
	}
	*c = counter(min(uint32(p), 1<<22-1)<<10 | n)
}

const (
	maxInputs = 9  // the most inputs that a site mixes
	mixRate   = 80 // learning rate of the weights, in 1/2^22 a unit of logit and error
	// minProb bounds every probability that is coded, in 1/65536: a decision costs at
	// least 0.0014 bits, so that a byte stands for fewer than 5,700 of them.
	minProb = 64
)

// site is one kind of binary decision. Its inputs are counters that the model
// picks by its contexts; two sets of mixing weights, each picked by a small context
// of its own, give two logits, whose mean is coded. Each set learns from its own error.
type site struct {
	n int
	w [2][]int32 // sets of n weights, in 1/65536, at first 1/n
}

func newSite(n, sets0, sets1 int) site {
	s := site{n: n}
	for k, sets := range [2]int{sets0, sets1} {
		s.w[k] = make([]int32, n*sets)
		for i := range s.w[k] {
			s.w[k][i] = int32(65536 / n)
		}
	}
	return s
}

// code codes y, or decodes and returns it.
func (s *site) code(rc *rangeCoder, y int, ctx []*counter, set0, set1 int) int {
	var x [maxInputs]int32
	w0 := s.w[0][set0*s.n : set0*s.n+len(ctx)]
	w1 := s.w[1][set1*s.n : set1*s.n+len(ctx)]
	var d0, d1 int64
	for i, c := range ctx {
		x[i] = c.logit()
		d0 += int64(x[i]) * int64(w0[i])
		d1 += int64(x[i]) * int64(w1[i])
	}
	l0 := int32(min(max(d0>>16, -logitMax), logitMax))
	l1 := int32(min(max(d1>>16, -logitMax), logitMax))
	p := min(max(squash((l0+l1)>>1), minProb), 65536-minProb)
	y = rc.bit(y, uint32(p))
	e0 := (int32(y<<16) - squash(l0)) * mixRate >> 8
	e1 := (int32(y<<16) - squash(l1)) * mixRate >> 8
	for i, c := range ctx {
		w0[i] = clampWeight(w0[i] + (x[i]*e0+1<<13)>>14)
		w1[i] = clampWeight(w1[i] + (x[i]*e1+1<<13)>>14)
		c.update(y, counterLimit)
	}
	return y
}

// clampWeight keeps sums of products within 64 bits whatever was coded.
func clampWeight(w int32) int32 { return min(max(w, -1<<22), 1<<22) }
