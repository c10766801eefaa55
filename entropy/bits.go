package entropy

import "math/bits"

// bitWriter writes bits, the most significant first.
type bitWriter struct {
	out []byte
	acc uint64
	n   uint // bits in acc, below 8 between calls
}

// write writes the low n bits of v; n is at most 32.
func (w *bitWriter) write(v uint32, n uint) {
	w.acc = w.acc<<n | uint64(v)
	w.n += n
	for w.n >= 8 {
		w.n -= 8
		w.out = append(w.out, byte(w.acc>>w.n))
	}
	w.acc &= 1<<w.n - 1
}

// flush fills the last byte with zero bits.
func (w *bitWriter) flush() []byte {
	if w.n > 0 {
		w.write(0, 8-w.n)
	}
	return w.out
}

// bitReader reads what bitWriter wrote. Beyond the end it reads zeros, which over reports.
type bitReader struct {
	in  []byte
	pos int // next byte
	acc uint64
	n   uint // valid bits at the top of acc
}

func (r *bitReader) fill() {
	for r.n <= 56 {
		var b byte
		if r.pos < len(r.in) {
			b = r.in[r.pos]
		}
		r.pos++
		r.acc |= uint64(b) << (56 - r.n)
		r.n += 8
	}
}

// peek is the next n bits, 1 to 32.
func (r *bitReader) peek(n uint) uint32 {
	if r.n < n {
		r.fill()
	}
	return uint32(r.acc >> (64 - n))
}

func (r *bitReader) skip(n uint) {
	r.acc <<= n
	r.n -= n
}

// read reads n bits, 0 to 32.
func (r *bitReader) read(n uint) uint32 {
	if n == 0 {
		return 0
	}
	v := r.peek(n)
	r.skip(n)
	return v
}

// over reports whether more bits were read than there are.
func (r *bitReader) over() bool { return r.pos-int(r.n/8) > len(r.in) }

// rest checks that what follows the bits that were read is zero.
func (r *bitReader) rest() error {
	if r.over() {
		return corrupt("code of %d bytes ends early", len(r.in))
	}
	first := r.pos - int(r.n/8) // whole bytes that were not touched
	if k := r.n % 8; k > 0 && r.acc>>(64-k) != 0 {
		return corrupt("bits after the end")
	}
	for _, b := range r.in[first:] {
		if b != 0 {
			return corrupt("bytes after the end")
		}
	}
	return nil
}

// at is how many bytes were read, the last perhaps in part.
func (r *bitReader) at() int { return min(r.pos-int(r.n/8), len(r.in)) }

// appendBits codes blocks by a coder that writes bits; empty blocks take none.
func appendBits(dst []byte, blocks []Block, encode func(*bitWriter, []int32) error) ([]byte, error) {
	n, err := check(blocks)
	if err != nil {
		return nil, err
	}
	start := len(dst)
	w := bitWriter{out: dst}
	ends := make([]int, len(blocks))
	for i, b := range blocks {
		if len(b.Syms) > 0 {
			if err := encode(&w, b.Syms); err != nil {
				return nil, err
			}
		}
		ends[i] = len(w.out) - start
	}
	shares(blocks, ends)
	return pad(w.flush(), start, n), nil
}

// decodeBits is its inverse; decode may leave it to decodeBits to find that the
// code ended early, but must end itself.
func decodeBits(blocks []Block, src []byte, decode func(*bitReader, []int32) error) error {
	if err := alloc(blocks, len(src)); err != nil {
		return err
	}
	r := bitReader{in: src}
	ends := make([]int, len(blocks))
	for i, b := range blocks {
		if len(b.Syms) > 0 {
			if err := decode(&r, b.Syms); err != nil {
				return err
			}
			if r.over() {
				return corrupt("code of %d bytes ends early", len(src))
			}
		}
		ends[i] = r.at()
	}
	shares(blocks, ends)
	return r.rest()
}

// gamma writes v >= 0 as an Elias gamma code of v+1: as many zeros as v+1 has bits
// after its first, then v+1 (P. Elias: Universal codeword sets, 1975). v is below 1<<32 - 1.
func (w *bitWriter) gamma(v uint32) {
	n := uint(0)
	for x := v + 1; x > 1; x >>= 1 {
		n++
	}
	w.write(0, n)
	w.write(v+1, n+1)
}

func (r *bitReader) gamma() (uint32, error) {
	n := uint(0)
	for r.read(1) == 0 {
		if n++; n > 31 || r.over() {
			return 0, corrupt("number of more than 32 bits")
		}
	}
	return 1<<n | r.read(n) - 1, nil
}

// number writes the zigzag of v: its length in 6 bits, and its bits.
func (w *bitWriter) number(v int32) {
	n := uint(bits.Len32(zigzag(v)))
	w.write(uint32(n), 6)
	w.write(zigzag(v), n)
}

func (r *bitReader) number() (int32, error) {
	n := uint(r.read(6))
	if n > 32 {
		return 0, corrupt("number of more than 32 bits")
	}
	return unzigzag(r.read(n)), nil
}

func zigzag(s int32) uint32   { return uint32(s)<<1 ^ uint32(s>>31) }
func unzigzag(u uint32) int32 { return int32(u>>1) ^ -int32(u&1) }
