package entropy

import "math/bits"

// Raw holds each block's symbols in a fixed number of bits: the smallest symbol and
// the width, then the differences from the smallest symbol.
type Raw struct{}

// Name implements Coder.
func (Raw) Name() string { return "raw" }

// Append implements Coder.
func (Raw) Append(dst []byte, blocks []Block) ([]byte, error) {
	return appendBits(dst, blocks, func(w *bitWriter, syms []int32) error {
		lo, hi := span(syms)
		width := uint(bits.Len32(uint32(hi) - uint32(lo)))
		w.write(uint32(lo), 32)
		w.write(uint32(width), 6)
		for _, s := range syms {
			w.write(uint32(s)-uint32(lo), width)
		}
		return nil
	})
}

// Decode implements Coder.
func (Raw) Decode(blocks []Block, src []byte) error {
	return decodeBits(blocks, src, func(r *bitReader, syms []int32) error {
		lo := r.read(32)
		width := uint(r.read(6))
		if width > 32 {
			return corrupt("width of %d bits", width)
		}
		for k := range syms {
			syms[k] = int32(lo + r.read(width))
		}
		return nil
	})
}

// span is the smallest and the largest symbol of a slice that is not empty.
func span(syms []int32) (lo, hi int32) {
	lo, hi = syms[0], syms[0]
	for _, s := range syms {
		lo, hi = min(lo, s), max(hi, s)
	}
	return lo, hi
}
