package entropy

import (
	"slices"
	"sort"
)

// Huffman codes each block's symbols by a canonical prefix code of its own
// (D. Huffman: A method for the construction of minimum-redundancy codes, 1952), with
// codes of at most 24 bits. A block of a single distinct symbol takes one bit each.
type Huffman struct{}

const (
	maxCode     = 24      // bits of the longest code
	maxAlphabet = 1 << 16 // distinct symbols of a block
	tableBits   = 10      // codes up to this length are decoded by one look-up
)

// Name implements Coder.
func (Huffman) Name() string { return "huffman" }

// Append implements Coder. It returns ErrUnsuited for more than 65,536 distinct symbols in a block.
func (Huffman) Append(dst []byte, blocks []Block) ([]byte, error) {
	return appendBits(dst, blocks, func(w *bitWriter, syms []int32) error {
		e, err := newEncodeTable(syms)
		if err != nil {
			return err
		}
		e.write(w)
		for _, s := range syms {
			e.put(w, s)
		}
		return nil
	})
}

// Decode implements Coder.
func (Huffman) Decode(blocks []Block, src []byte) error {
	return decodeBits(blocks, src, func(r *bitReader, syms []int32) error {
		d, err := readTable(r)
		if err != nil {
			return err
		}
		for k := range syms {
			if syms[k], err = d.get(r); err != nil {
				return err
			}
		}
		return nil
	})
}

// encodeTable is a prefix code. Symbols ascend.
type encodeTable struct {
	syms  []int32
	lens  []uint8
	codes []uint32
	dense []uint32 // index by symbol - syms[0] where the span is small: code<<8 | length
	at    map[int32]int
}

func newEncodeTable(syms []int32) (*encodeTable, error) {
	var e encodeTable
	var freq []uint64
	var err error
	if e.syms, freq, err = frequencies(syms); err != nil {
		return nil, err
	}
	lo, hi := e.syms[0], e.syms[len(e.syms)-1]
	if width := uint32(hi) - uint32(lo); width < maxDense {
		e.dense = make([]uint32, width+1)
	} else {
		e.at = map[int32]int{}
		for i, s := range e.syms {
			e.at[s] = i
		}
	}
	e.lens = codeLengths(freq)
	e.codes = canonical(e.lens)
	for i, s := range e.syms {
		if e.dense != nil {
			e.dense[s-lo] = e.codes[i]<<8 | uint32(e.lens[i])
		}
	}
	return &e, nil
}

// maxDense is the range of symbols from which tables by symbol are maps.
const maxDense = 1 << 16

// frequencies are the distinct symbols of a slice that is not empty, ascending, and how
// often each occurs.
func frequencies(syms []int32) (distinct []int32, freq []uint64, err error) {
	lo, hi := span(syms)
	if width := uint32(hi) - uint32(lo); width < maxDense {
		count := make([]uint64, width+1)
		for _, s := range syms {
			count[s-lo]++
		}
		for i, n := range count {
			if n > 0 {
				distinct, freq = append(distinct, lo+int32(i)), append(freq, n)
			}
		}
		return distinct, freq, nil
	}
	count := map[int32]uint64{}
	for _, s := range syms {
		count[s]++
		if len(count) > maxAlphabet {
			return nil, nil, ErrUnsuited
		}
	}
	for s := range count {
		distinct = append(distinct, s)
	}
	slices.Sort(distinct)
	for _, s := range distinct {
		freq = append(freq, count[s])
	}
	return distinct, freq, nil
}

// put writes the code of s, which must have been among the symbols.
func (e *encodeTable) put(w *bitWriter, s int32) {
	if e.dense != nil {
		c := e.dense[s-e.syms[0]]
		w.write(c>>8, uint(c&0xff))
		return
	}
	i := e.at[s]
	w.write(e.codes[i], uint(e.lens[i]))
}

// codeLengths are the lengths of an optimal prefix code, or nearly so where a code
// would pass maxCode: then frequencies are halved, rounding up, until it does not.
// Equal frequencies are merged in the order of the symbols, leaves before inner nodes.
func codeLengths(freq []uint64) []uint8 {
	n := len(freq)
	lens := make([]uint8, n)
	if n == 1 {
		lens[0] = 1
		return lens
	}
	f := slices.Clone(freq)
	order := make([]int, n)
	weight := make([]uint64, 2*n-1)
	parent := make([]int, 2*n-1)
	depth := make([]int, 2*n-1)
	for {
		for i := range order {
			order[i] = i
		}
		sort.SliceStable(order, func(a, b int) bool { return f[order[a]] < f[order[b]] })
		for k, i := range order {
			weight[k] = f[i]
		}
		// Two queues: leaves in order, and inner nodes, which are made in order.
		leaf, inner := 0, n
		take := func(made int) int {
			if leaf < n && (inner >= made || weight[leaf] <= weight[inner]) {
				leaf++
				return leaf - 1
			}
			inner++
			return inner - 1
		}
		for made := n; made < 2*n-1; made++ {
			a := take(made)
			b := take(made)
			weight[made] = weight[a] + weight[b]
			parent[a], parent[b] = made, made
		}
		longest := 0
		depth[2*n-2] = 0
		for k := 2*n - 3; k >= 0; k-- {
			depth[k] = depth[parent[k]] + 1
			longest = max(longest, depth[k])
		}
		if longest <= maxCode {
			for k, i := range order {
				lens[i] = uint8(depth[k])
			}
			return lens
		}
		for i := range f {
			f[i] = (f[i] + 1) / 2
		}
	}
}

// canonical gives codes in the order of length, then of symbol.
func canonical(lens []uint8) []uint32 {
	var count, next [maxCode + 2]uint32
	for _, l := range lens {
		count[l]++
	}
	code := uint32(0)
	count[0] = 0
	for l := 1; l <= maxCode; l++ {
		code = (code + count[l-1]) << 1
		next[l] = code
	}
	codes := make([]uint32, len(lens))
	for i, l := range lens {
		if l > 0 {
			codes[i] = next[l]
			next[l]++
		}
	}
	return codes
}

// write writes the table: the number of symbols less 1 (gamma), the first (32 bits),
// the gaps to the others less 1 (gamma), and the lengths: the first in 5 bits, then
// each as the zigzag of its difference from the one before (gamma).
func (e *encodeTable) write(w *bitWriter) {
	w.gamma(uint32(len(e.syms) - 1))
	w.write(uint32(e.syms[0]), 32)
	for i := 1; i < len(e.syms); i++ {
		w.gamma(uint32(e.syms[i]) - uint32(e.syms[i-1]) - 1)
	}
	w.write(uint32(e.lens[0]), 5)
	for i := 1; i < len(e.lens); i++ {
		w.gamma(zigzag(int32(e.lens[i]) - int32(e.lens[i-1])))
	}
}

// decodeTable is a prefix code for reading.
type decodeTable struct {
	syms  []int32 // in the order of their codes
	first [maxCode + 2]uint32
	start [maxCode + 2]int // index in syms of the first code of a length
	fast  [1 << tableBits]uint32
}

func readTable(r *bitReader) (*decodeTable, error) {
	n, err := r.gamma()
	if err != nil {
		return nil, err
	}
	// Every symbol takes at least two bits of what remains.
	if n >= maxAlphabet || int(n) > 8*(len(r.in)-r.pos)+64 {
		return nil, corrupt("prefix code of %d symbols", n)
	}
	n++
	syms, lens := make([]int32, n), make([]uint8, n)
	syms[0] = int32(r.read(32))
	for i := 1; i < int(n); i++ {
		gap, err := r.gamma()
		if err != nil {
			return nil, err
		}
		next := int64(syms[i-1]) + int64(gap) + 1
		if next > 1<<31-1 {
			return nil, corrupt("prefix code: symbol beyond 32 bits")
		}
		syms[i] = int32(next)
	}
	lens[0] = uint8(r.read(5))
	for i := 1; i < int(n); i++ {
		d, err := r.gamma()
		if err != nil {
			return nil, err
		}
		if d > 2*maxCode {
			return nil, corrupt("prefix code: length")
		}
		lens[i] = uint8(int32(lens[i-1]) + unzigzag(d))
	}
	kraft := uint64(0)
	var count [maxCode + 1]int
	for _, l := range lens {
		if l < 1 || l > maxCode {
			return nil, corrupt("prefix code: length %d", l)
		}
		kraft += 1 << (maxCode - l)
		count[l]++
	}
	if kraft != 1<<maxCode && !(n == 1 && lens[0] == 1) {
		return nil, corrupt("prefix code is not complete")
	}
	d := &decodeTable{syms: make([]int32, n)}
	at, code := 0, uint32(0)
	var next [maxCode + 2]int
	for l := 1; l <= maxCode; l++ {
		d.first[l], d.start[l], next[l] = code, at, at
		at += count[l]
		code = (code + uint32(count[l])) << 1
	}
	d.start[maxCode+1] = at
	for i, l := range lens {
		d.syms[next[l]] = syms[i]
		next[l]++
	}
	for l := 1; l <= tableBits; l++ {
		for k := range count[l] {
			c := (d.first[l] + uint32(k)) << (tableBits - l)
			for j := range uint32(1) << (tableBits - l) {
				d.fast[c+j] = uint32(d.start[l]+k)<<8 | uint32(l)
			}
		}
	}
	return d, nil
}

// get reads a symbol.
func (d *decodeTable) get(r *bitReader) (int32, error) {
	v := r.peek(maxCode)
	if f := d.fast[v>>(maxCode-tableBits)]; f != 0 {
		r.skip(uint(f & 0xff))
		return d.syms[f>>8], nil
	}
	for l := uint(1); l <= maxCode; l++ {
		c := v >> (maxCode - l)
		if n := d.start[l+1] - d.start[l]; c-d.first[l] < uint32(n) && c >= d.first[l] {
			r.skip(l)
			return d.syms[d.start[l]+int(c-d.first[l])], nil
		}
	}
	return 0, corrupt("no such code")
}
