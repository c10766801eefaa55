package entropy

import "encoding/binary"

// The binary range coder: an interval of 64 bits with carry (G. N. N. Martin: Range
// encoding, 1979), of which 32 bits are moved at a time, and 16-bit probabilities.
// docs/format.md, "Range coder", is its specification.

// rangeCoder codes or decodes bits: which, is decided when it is made, so that a
// model has one code path for both. Assembly reads the first three fields.
type rangeCoder struct {
	rng uint64
	at  uint64 // encoder: the interval's low end; decoder: the input's distance from it
	dec int64  // -1: decoder, else 0
	out []byte
	in  []byte
	pos int
}

// maxTail is how many zero bytes beyond the end of the code a decoder may need: an
// encoder drops no more, so that a code which was cut short is told from a whole one.
const maxTail = 8

func newEncoder(dst []byte) rangeCoder { return rangeCoder{rng: 1<<64 - 1, out: dst} }

func newDecoder(src []byte) rangeCoder {
	r := rangeCoder{rng: 1<<64 - 1, in: src, dec: -1}
	r.at = uint64(r.next())<<32 | uint64(r.next())
	return r
}

// next is the next 4 bytes of the input, zeros beyond its end.
func (r *rangeCoder) next() uint32 {
	r.pos += 4
	if r.pos <= len(r.in) {
		return binary.BigEndian.Uint32(r.in[r.pos-4:])
	}
	v := uint32(0)
	for k := r.pos - 4; k < r.pos; k++ {
		v <<= 8
		if k < len(r.in) {
			v |= uint32(r.in[k])
		}
	}
	return v
}

// bit codes y (encoder), or returns the decoded bit; p1 is the probability of a
// one in 1/65536, 1..65535.
func (r *rangeCoder) bit(y int, p1 uint32) int {
	bound := r.rng >> 16 * uint64(p1)
	if r.dec != 0 {
		y = 0
		if r.at < bound {
			y = 1
		}
	}
	if y != 0 {
		r.rng = bound
	} else {
		r.rng -= bound
		r.skip(bound)
	}
	if r.rng < 1<<32 {
		r.shift()
	}
	return y
}

// skip leaves out the first n numbers of the interval.
func (r *rangeCoder) skip(n uint64) {
	if r.dec != 0 {
		r.at -= n
		return
	}
	r.at += n
	if r.at < n {
		r.carry()
	}
}

// settle does what assembly leaves to be done after a decision; before was the coder's at.
func (r *rangeCoder) settle(before uint64) {
	if r.dec == 0 && r.at < before {
		r.carry()
	}
	if r.rng < 1<<32 {
		r.shift()
	}
}

// carry adds one to what was written.
func (r *rangeCoder) carry() {
	for i := len(r.out) - 1; ; i-- {
		if r.out[i]++; r.out[i] != 0 {
			return
		}
	}
}

// shift moves 32 bits out or in.
func (r *rangeCoder) shift() {
	r.rng <<= 32
	if r.dec != 0 {
		r.at = r.at<<32 | uint64(r.next())
		return
	}
	r.out = binary.BigEndian.AppendUint32(r.out, uint32(r.at>>32))
	r.at <<= 32
}

// over reports whether the decoder read more zeros beyond the end than an encoder drops.
func (r *rangeCoder) over() bool { return r.pos > len(r.in)+maxTail }

// done is about how many bytes of code the symbols so far have taken.
func (r *rangeCoder) done() int {
	if r.dec != 0 {
		return min(max(r.pos-7, 0), len(r.in))
	}
	return len(r.out) + 1
}

// finish returns the output: of all numbers in the last interval it writes the
// one with the most trailing zeros, and drops up to maxTail trailing zero bytes (a
// decoder reads zeros beyond the end), but none of the first keep bytes.
func (r *rangeCoder) finish(keep int) []byte {
	for k := 63; k >= 0; k-- {
		mask := uint64(1)<<k - 1
		v := (r.at + mask) &^ mask
		if v-r.at < r.rng { // v may have wrapped around
			if v < r.at {
				r.carry()
			}
			r.at = v
			break
		}
	}
	out := binary.BigEndian.AppendUint64(r.out, r.at)
	for keep = max(keep, len(out)-maxTail); len(out) > keep && out[len(out)-1] == 0; {
		out = out[:len(out)-1]
	}
	return out
}
