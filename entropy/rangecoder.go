package entropy

// The binary range coder: a 32-bit range with carry, as in LZMA (Igor Pavlov;
// G. N. N. Martin: Range encoding, 1979), with 16-bit probabilities and products
// taken in 64 bits. docs/format.md, "Range coder", is its specification.

// rangeCoder codes or decodes bits: which, is decided when it is made, so that a
// model has one code path for both.
type rangeCoder struct {
	low   uint64 // encoder: the interval's low end, 33 bits
	rng   uint32
	code  uint32 // decoder: the input's distance from the interval's low end
	cache byte
	pend  int  // encoder: bytes that a carry may still change: cache and pend-1 times 255
	begun bool // encoder: the first byte out, which is always zero, has been dropped
	out   []byte
	in    []byte
	pos   int
	dec   bool
}

// maxTail is how many zero bytes beyond the end of the code a decoder may need: an
// encoder drops no more, so that a code which was cut short is told from a whole one.
const maxTail = 8

func newEncoder(dst []byte) rangeCoder { return rangeCoder{rng: 1<<32 - 1, pend: 1, out: dst} }

func newDecoder(src []byte) rangeCoder {
	r := rangeCoder{rng: 1<<32 - 1, in: src, dec: true}
	for range 4 {
		r.code = r.code<<8 | uint32(r.next())
	}
	return r
}

// next is the next byte of the input, zero beyond its end.
func (r *rangeCoder) next() byte {
	r.pos++
	if r.pos <= len(r.in) {
		return r.in[r.pos-1]
	}
	return 0
}

// bit codes y (encoder), or returns the decoded bit; p1 is the probability of a
// one in 1/65536, 1..65535.
func (r *rangeCoder) bit(y int, p1 uint32) int {
	bound := uint32(uint64(r.rng) * uint64(p1) >> 16)
	if r.dec {
		if r.code < bound {
			r.rng, y = bound, 1
		} else {
			r.code -= bound
			r.rng -= bound
			y = 0
		}
		for r.rng < 1<<24 {
			r.code = r.code<<8 | uint32(r.next())
			r.rng <<= 8
		}
		return y
	}
	if y != 0 {
		r.rng = bound
	} else {
		r.low += uint64(bound)
		r.rng -= bound
	}
	for r.rng < 1<<24 {
		r.shift()
		r.rng <<= 8
	}
	return y
}

// over reports whether the decoder read more zeros beyond the end than an encoder drops.
func (r *rangeCoder) over() bool { return r.pos > len(r.in)+maxTail }

// shift moves the top byte of low out, holding back what a carry may still change.
func (r *rangeCoder) shift() {
	if r.low < 0xff000000 || r.low >= 1<<32 {
		carry := byte(r.low >> 32)
		if r.begun {
			r.out = append(r.out, r.cache+carry)
		}
		r.begun = true
		for ; r.pend > 1; r.pend-- {
			r.out = append(r.out, 0xff+carry)
		}
		r.pend = 0
		r.cache = byte(r.low >> 24)
	}
	r.pend++
	r.low = r.low << 8 & 0xffffffff
}

// finish returns the output: of all numbers in the last interval it writes the
// one with the most trailing zeros, and drops up to maxTail trailing zero bytes (a
// decoder reads zeros beyond the end), but none of the first keep bytes.
func (r *rangeCoder) finish(keep int) []byte {
	for k := 32; k >= 0; k-- {
		mask := uint64(1)<<k - 1
		v := (r.low + mask) &^ mask
		if v < r.low+uint64(r.rng) {
			r.low = v
			break
		}
	}
	for range 5 {
		r.shift()
	}
	out := r.out
	for keep = max(keep, len(out)-maxTail); len(out) > keep && out[len(out)-1] == 0; {
		out = out[:len(out)-1]
	}
	return out
}
