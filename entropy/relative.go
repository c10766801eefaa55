package entropy

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

// cost is the size of the code of syms in bits, the table not counted.
func cost(syms []int32) int {
	e, err := newEncodeTable(syms)
	if err != nil {
		return 1 << 60
	}
	bits := 0
	for _, s := range syms {
		if e.dense != nil {
			bits += int(e.dense[s-e.syms[0]] & 0xff)
		} else {
			bits += int(e.lens[e.at[s]])
		}
	}
	return bits
}

// Append implements Coder. It returns ErrUnsuited for more than 65,536 distinct symbols in a block.
func (Relative) Append(dst []byte, blocks []Block) ([]byte, error) {
	return appendBits(dst, blocks, func(w *bitWriter, syms []int32) error {
		best, width := -1, uint(1)
		for k := uint(1); k <= maxGapBits; k++ {
			gaps, vals := entries(syms, k)
			if len(gaps) == 0 {
				width = k
				break
			}
			if c := cost(gaps) + cost(vals); best < 0 || c < best {
				best, width = c, k
			}
		}
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
