package entropy

import (
	"math"
	"slices"
)

// Relative is the coding of the paper Deep Compression (S. Han, H. Mao, W. Dally,
// 2016, sections 2 and 4): only symbols other than 0 are stored, each with the number
// of zeros before it in a fixed width, a longer run being broken by filler zeros; gaps
// and symbols then go through two Huffman codes. The paper sets the width at 8 bits
// for convolutions and 5 for fully connected layers; here each block takes the one
// of 1 to 8 bits that gives the smallest code.
type Relative struct{}

const maxGapBits = 8

// Name implements Coder.
func (Relative) Name() string { return "relative" }

// entries are the gaps and symbols of a block with gaps below 1<<width.
func entries(syms []int32, width uint) (gaps, vals []int32) {
	limit := int32(1)<<width - 1
	gap := int32(0)
	for _, s := range syms {
		if s == 0 && gap < limit {
			gap++
			continue
		}
		gaps, vals = append(gaps, gap), append(vals, s)
		gap = 0
	}
	return gaps, vals
}

// gapWidth is the width, of 1..maxGapBits, whose entries take the fewest bits without their
// tables; 1 where there are none.
func gapWidth(syms []int32) uint {
	var short [1 << maxGapBits]uint64 // runs of zeros before another symbol
	long := map[int]uint64{}
	run, others := 0, make([]int32, 0, len(syms))
	for _, s := range syms {
		if s == 0 {
			run++
			continue
		}
		if run < len(short) {
			short[run]++
		} else {
			long[run]++
		}
		others = append(others, s)
		run = 0
	}
	var values []uint64
	if len(others) > 0 {
		_, count, err := frequencies(others)
		if err != nil {
			return 1
		}
		values = count
	}
	best, width := uint64(math.MaxUint64), uint(1)
	for k := uint(1); k <= maxGapBits; k++ {
		limit := 1 << k // the zeros that a filler and its gap stand for
		gaps := make([]uint64, limit)
		fillers := uint64(run / limit)
		add := func(g int, n uint64) {
			gaps[g%limit] += n
			fillers += n * uint64(g/limit)
		}
		for g, n := range short {
			add(g, n)
		}
		for g, n := range long {
			add(g, n)
		}
		gaps[limit-1] += fillers
		if bits := codeBits(gaps) + codeBits(append(slices.Clone(values), fillers)); bits < best {
			best, width = bits, k
		}
	}
	return width
}

// codeBits is the size in bits of what a prefix code makes of symbols that occur so often,
// some perhaps never.
func codeBits(freq []uint64) (sum uint64) {
	freq = slices.DeleteFunc(freq, func(n uint64) bool { return n == 0 })
	if len(freq) == 0 {
		return 0
	}
	slices.Sort(freq)
	for i, l := range codeLengths(freq) {
		sum += uint64(l) * freq[i]
	}
	return sum
}

// Append implements Coder. It returns ErrUnsuited for more than 65,536 distinct symbols in a block.
func (Relative) Append(dst []byte, blocks []Block) ([]byte, error) {
	return appendBits(dst, blocks, func(w *bitWriter, syms []int32) error {
		width := gapWidth(syms)
		gaps, vals := entries(syms, width)
		if len(gaps) >= 1<<31 {
			return ErrUnsuited
		}
		w.write(uint32(width-1), 3)
		w.gamma(uint32(len(gaps)))
		if len(gaps) == 0 {
			return nil
		}
		ge, err := newEncodeTable(gaps)
		if err != nil {
			return err
		}
		ve, err := newEncodeTable(vals)
		if err != nil {
			return err
		}
		ge.write(w)
		ve.write(w)
		for i, g := range gaps {
			ge.put(w, g)
			ve.put(w, vals[i])
		}
		return nil
	})
}

// Decode implements Coder.
func (Relative) Decode(blocks []Block, src []byte) error {
	return decodeBits(blocks, src, func(r *bitReader, syms []int32) error {
		r.read(3) // the width of gaps, which only the encoder needs
		n, err := r.gamma()
		if err != nil || n == 0 {
			return err
		}
		ge, err := readTable(r)
		if err != nil {
			return err
		}
		ve, err := readTable(r)
		if err != nil {
			return err
		}
		at := 0
		for range n {
			g, err := ge.get(r)
			if err != nil {
				return err
			}
			s, err := ve.get(r)
			if err != nil {
				return err
			}
			if g < 0 || int(g) >= len(syms)-at || r.over() {
				return corrupt("position beyond the block")
			}
			at += int(g)
			syms[at] = s
			at++
		}
		return nil
	})
}
