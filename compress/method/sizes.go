package method

import (
	"container/heap"
	"io"
	"math/bits"

	"whit/format"
	"whit/graph"
	"whit/weight"
)

// RelativeIndex is how Deep Compression stores positions (Han, Mao, Dally 2016,
// section 2, figure 2): the distance from one stored element to the next, minus one,
// in indexBits bits. A distance that does not fit is bridged by fillers, elements
// that are stored and zero. mask is as in weight.Sparse, over n elements.
//
// It returns for every entry its distance (0..2^indexBits-1), and whether it is a filler.
func RelativeIndex(mask []uint64, n, indexBits int) (gap []int, filler []bool) {
	span := 1 << indexBits
	last := -1
	for i := 0; i < n; i++ {
		w := mask[i/64] >> (i % 64)
		if w == 0 { // no more in this word
			i |= 63
			continue
		}
		i += bits.TrailingZeros64(w)
		for i-last > span {
			gap, filler = append(gap, span-1), append(filler, true)
			last += span
		}
		gap, filler = append(gap, i-last-1), append(filler, false)
		last = i
	}
	return gap, filler
}

// HuffmanBits is the length in bits of a Huffman code of symbols that occur
// count times each, without its table; one symbol alone takes no bits.
func HuffmanBits(count []int) int64 {
	h := &ints{}
	for _, c := range count {
		if c > 0 {
			*h = append(*h, int64(c))
		}
	}
	heap.Init(h)
	var total int64 // the sum of the inner nodes' weights
	for h.Len() > 1 {
		a := heap.Pop(h).(int64) + heap.Pop(h).(int64)
		total += a
		heap.Push(h, a)
	}
	return total
}

type ints []int64

func (h ints) Len() int           { return len(h) }
func (h ints) Less(i, j int) bool { return h[i] < h[j] }
func (h ints) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *ints) Push(x any)        { *h = append(*h, x.(int64)) }
func (h *ints) Pop() any {
	o := *h
	x := o[len(o)-1]
	*h = o[:len(o)-1]
	return x
}

// FileBytes is what a constant takes in a .whit file.
func (h *Held) FileBytes(threads int) (int64, error) {
	w, err := h.freeze()
	if err != nil {
		return 0, err
	}
	g := graph.New("")
	var c *graph.Value
	switch v := h.Value; {
	case w != nil:
		c = g.NewWeight("w", w)
	case v.Weight != nil:
		c = g.NewWeight("w", v.Weight)
	case v.Type.DType.IsFloat():
		c = g.NewWeight("w", weight.Dense{T: v.Data})
	default:
		c = g.NewConst("w", v.Data)
	}
	g.Outputs = []*graph.Value{g.Add("", "Identity", nil, c)}
	sizes, err := format.Write(io.Discard, &format.File{Graph: g}, format.Options{Strip: true, Threads: threads})
	if err != nil || len(sizes.Weights) == 0 {
		return 0, err
	}
	return sizes.Weights[0].Bytes, nil
}

// PaperSize is a layer's size counted as Deep Compression's tables 2 and 3 do:
// stage by stage, the bias in float32 at each.
type PaperSize struct {
	Weights   int     // elements of the weight
	Stored    int     // those that are not pruned
	Bits      int     // of a codebook index; 32 without a codebook
	IndexBits int     // of a relative index; 0 where the layer is dense
	Pruned    int64   // bytes: values in float32 and relative indices
	Quantised int64   // bytes: codebook indices, codebook and relative indices
	Huffman   int64   // bytes: both under Huffman codes, the tables of lengths counted
	CodeBits  float64 // mean bits of a codebook index under its Huffman code
	GapBits   float64 // and of a relative index
}

// tableBits is what a Huffman table takes for each symbol: a code length below 32.
const tableBits = 5

// SizeOf counts the layer. A dense layer has no relative indices; for others the
// width of 2 to 8 bits that gives the fewest bytes is taken (the paper takes 5 bits
// for fully connected layers and 8 for convolutions).
func (l *Layer) SizeOf() PaperSize {
	n := l.Weight.Len()
	s := PaperSize{Weights: n, Stored: n, Bits: 32}
	var biasBytes, sharedBias, huffBias int64
	if l.Bias != nil {
		biasBytes = 4 * int64(l.Bias.Len())
		sharedBias, huffBias = biasBytes, biasBytes
		if k := len(l.Bias.Centroids); k > 0 {
			count := make([]int, k)
			for _, i := range l.Bias.Index {
				count[i]++
			}
			sharedBias = (int64(l.Bias.Len())*int64(bits.Len(uint(k-1)))+7)/8 + 4*int64(k)
			huffBias = (HuffmanBits(count)+int64(tableBits*k)+7)/8 + 4*int64(k)
		}
	}
	if w, ok := l.Weight.As.(weight.Int8); ok {
		s.levels(w)
		s.Pruned, s.Quantised, s.Huffman = 4*int64(n)+biasBytes, s.Quantised+sharedBias, s.Huffman+huffBias
		return s
	}
	var gaps []int
	var filler []bool
	if l.Weight.Mask != nil {
		s.Stored = popcount(l.Weight.Mask)
		value := 32
		if k := len(l.Weight.Centroids); k > 0 {
			value = bits.Len(uint(k - 1))
		}
		for b := 2; b <= 8; b++ {
			g, f := RelativeIndex(l.Weight.Mask, n, b)
			if s.IndexBits == 0 || len(g)*(value+b) < len(gaps)*(value+s.IndexBits) {
				s.IndexBits, gaps, filler = b, g, f
			}
		}
	}
	entries := s.Stored
	if l.Weight.Mask != nil {
		entries = len(gaps)
	}
	s.Pruned = (int64(entries)*int64(32+s.IndexBits)+7)/8 + biasBytes
	s.Quantised, s.Huffman = s.Pruned, s.Pruned
	gapCount := make([]int, 1<<s.IndexBits)
	for _, g := range gaps {
		gapCount[g]++
	}
	var gapHuff int64
	if l.Weight.Mask != nil {
		h := HuffmanBits(gapCount)
		gapHuff = h + int64(tableBits*len(gapCount))
		if entries > 0 {
			s.GapBits = float64(h) / float64(entries)
		}
	}
	if l.Weight.Centroids == nil {
		s.Huffman = (int64(entries)*32+gapHuff+7)/8 + huffBias
		return s
	}
	fillers := 0
	for _, f := range filler {
		if f {
			fillers++
		}
	}
	symbols := len(l.Weight.Centroids)
	if fillers > 0 {
		symbols++ // zero
	}
	s.Bits = bits.Len(uint(symbols - 1))
	count := make([]int, symbols)
	if fillers > 0 {
		count[symbols-1] = fillers
	}
	for i, k := range l.Weight.Index {
		if l.Weight.Kept(i) {
			count[k]++
		}
	}
	book := int64(32 * len(l.Weight.Centroids))
	s.Quantised = (int64(entries)*int64(s.Bits+s.IndexBits)+book+7)/8 + sharedBias
	h := HuffmanBits(count)
	if entries > 0 {
		s.CodeBits = float64(h) / float64(entries)
	}
	s.Huffman = (h+int64(tableBits*symbols)+gapHuff+book+7)/8 + huffBias
	return s
}

// levels counts integers: as many bits each as their range takes, and the scales.
func (s *PaperSize) levels(w weight.Int8) {
	lo, hi := int32(255), int32(-128)
	count := make([]int, 384)
	for i := range w.Q.Len() {
		q := w.Level(i)
		lo, hi = min(lo, q), max(hi, q)
		count[q+128]++
	}
	s.Bits = bits.Len(uint(max(0, hi-lo)))
	scales := int64(4*len(w.Scale) + len(w.Zero))
	s.Quantised = (int64(s.Weights)*int64(s.Bits)+7)/8 + scales
	h, used := HuffmanBits(count), int64(0)
	for _, c := range count {
		if c > 0 {
			used++
		}
	}
	if s.Weights > 0 {
		s.CodeBits = float64(h) / float64(s.Weights)
	}
	s.Huffman = (h+tableBits*used+7)/8 + scales
}

func popcount(mask []uint64) (n int) {
	for _, m := range mask {
		n += bits.OnesCount64(m)
	}
	return n
}
