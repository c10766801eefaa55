package entropy

import "math/bits"

// Raw holds each block's symbols in a fixed number of bits: the width; one bit whether
// the smallest value is that of a signed number so wide, else that value in zigzag (its
// length in 6 bits, its bits); then the differences from it.
type Raw struct{}

// Name implements Coder.
func (Raw) Name() string { return "raw" }

// Append implements Coder.
func (Raw) Append(dst []byte, blocks []Block) ([]byte, error) {
	return appendBits(dst, blocks, func(w *bitWriter, syms []int32) error {
		w.fixed(syms)
		return nil
	})
}

// Decode implements Coder.
func (Raw) Decode(blocks []Block, src []byte) error {
	return decodeBits(blocks, src, (*bitReader).fixed)
}

// fixed writes symbols as Raw does.
func (w *bitWriter) fixed(syms []int32) {
	lo, hi := span(syms)
	width := uint(bits.Len32(uint32(hi) - uint32(lo)))
	w.write(uint32(width), 6)
	if least := leastSigned(width); lo >= least && uint32(hi)-uint32(least) <= 1<<width-1 {
		lo = least
		w.write(1, 1)
	} else {
		w.write(0, 1)
		w.number(lo)
	}
	for _, s := range syms {
		w.write(uint32(s)-uint32(lo), width)
	}
}

func (r *bitReader) fixed(syms []int32) error {
	width := uint(r.read(6))
	if width > 32 {
		return corrupt("width of %d bits", width)
	}
	lo := leastSigned(width)
	if r.read(1) == 0 {
		var err error
		if lo, err = r.number(); err != nil {
			return err
		}
	}
	for k := range syms {
		syms[k] = int32(uint32(lo) + r.read(width))
	}
	return nil
}

// leastSigned is the smallest signed number of width bits, 0 for none.
func leastSigned(width uint) int32 { return int32(-(int64(1) << width >> 1)) }

// span is the smallest and the largest symbol of a slice that is not empty.
func span(syms []int32) (lo, hi int32) {
	lo, hi = syms[0], syms[0]
	for _, s := range syms {
		lo, hi = min(lo, s), max(hi, s)
	}
	return lo, hi
}
