package kern

import (
	"encoding/binary"
	"slices"
)

// Products of bytes that stay in int16 for a while. VPMADDUBSW adds two products of an
// unsigned and a signed byte in an int16, where 255·(|v|+|w|) of one sign overflows above 128:
// weights beyond are split into two that add up to them, and two sums are added before they
// go to int32 only where their weights allow that too. All of it is decided when the weights are
// packed, so that sums are exact. Vectors hold pixels, and a pair of channels has its own order
// of inputs: with more channels in step, too few sums could be added.

// pairLimit is the largest sum of weights of one sign in an int16: 255·127 fits. (128 would
// too; but a byte of bounds then has a bit for the carry.)
const pairLimit = 127

// I8Pairs is one call of the product of bytes: pairs of channels of a tile of 8·Vecs pixels. X has the
// pixels' bytes four by four, as Pack leaves them; W is what AppendPair has written for every pair. With
// acc as in I8Tile, but of bytes with their zero points in (Bias takes them off),
//
//	Y[64*i+2*p+ch] = min(Hi, max(Lo, RNE(float32(acc)*Mul[2*i+ch]) + Zero)) ^ Flip
//
// where products acc*Mul are below 2^31 and Lo and Hi within bytes; limits before or after the rounding
// are the same. Sums in parts: where Keep is not 0 they go to Acc instead of Y, and where Load is not 0
// they come from there instead of Bias.
type I8Pairs struct {
	X            []byte
	W            []byte
	Bias         []int32
	Mul          []float32
	Y            []byte
	Pairs        int
	Vecs         int
	Zero         int32
	Lo, Hi, Flip int32
	order        [2]uint64
	Acc          []int32
	Load, Keep   int
}

// PairBlock is the distance in X of four bytes of a pixel to the next four: 32 pixels of 4.
const PairBlock = 128

// Pairs computes pairs of channels. It panics where a slice is too short; W is trusted.
func (v Ints) Pairs(t *I8Pairs) {
	if t.Pairs <= 0 {
		return
	}
	if t.Vecs < 1 || t.Vecs > 4 || len(t.X)%PairBlock != 0 {
		panic("kern: pairs out of range")
	}
	_, _, _, _ = t.Bias[2*t.Pairs-1], t.Mul[2*t.Pairs-1], t.Y[64*t.Pairs-1], t.W[8*t.Pairs-1]
	if t.Load|t.Keep != 0 {
		_ = t.Acc[64*t.Pairs-1]
	}
	// Words of a pixel after their two packings.
	t.order = [2]uint64{0x0703060205010400, 0x0f0b0e0a0d090c08}
	v.pairs(t)
}

func i8PairsGo(t *I8Pairs) {
	w := t.W
	for i := range t.Pairs {
		var acc [2][32]int32
		both, one := int(binary.LittleEndian.Uint32(w)), [2]int{int(binary.LittleEndian.Uint16(w[4:])), int(binary.LittleEndian.Uint16(w[6:]))}
		w = w[8:]
		for ch := range 2 {
			for p := range acc[ch] {
				acc[ch][p] = t.Bias[2*i+ch]
			}
			if t.Load != 0 {
				copy(acc[ch][:], t.Acc[64*i+32*ch:])
			}
		}
		add := func(acc *[32]int32, at, ws []byte) {
			x := t.X[8*int(binary.LittleEndian.Uint16(at)):][:32*t.Vecs]
			for k, b := range ws[:4] {
				if b := int32(int8(b)); b != 0 {
					for p := range len(x) / 4 {
						acc[p] += int32(x[4*p+k]) * b
					}
				}
			}
		}
		for range both {
			for ch := range 2 {
				add(&acc[ch], w, w[4+8*ch:])
				add(&acc[ch], w[2:], w[8+8*ch:])
			}
			w = w[20:]
		}
		for ch := range 2 {
			for range one[ch] {
				add(&acc[ch], w, w[4:])
				add(&acc[ch], w[2:], w[8:])
				w = w[12:]
			}
		}
		for ch := range 2 {
			if t.Keep != 0 {
				copy(t.Acc[64*i+32*ch:], acc[ch][:8*t.Vecs])
				continue
			}
			lo, hi := float32(t.Lo-t.Zero), float32(t.Hi-t.Zero)
			for p := range 8 * t.Vecs {
				t.Y[64*i+2*p+ch] = Quantise(acc[ch][p], t.Mul[2*i+ch], lo, hi, t.Zero) ^ byte(t.Flip)
			}
		}
	}
}

// PairWeight are the weights of two channels for four bytes at offset At of I8Pairs.X, a multiple of PairBlock.
type PairWeight struct {
	At int32
	W  [2][4]int8
}

// PairBlocks is the most blocks of four bytes that one call of Pairs can tell apart.
const PairBlocks = 1 << 19 / PairBlock

// AppendPair appends the weights of a pair of channels, of at most PairBlocks blocks, to dst for I8Pairs: steps of
// two blocks whose sums are added, first those that both channels take, then those of one channel. tmp
// is memory that is used again.
func AppendPair(dst []byte, ws []PairWeight, tmp *PairScratch) []byte {
	both := tmp.both[:0]
	one := [2][]pairEntry{tmp.one[0][:0], tmp.one[1][:0]}
	for _, w := range ws {
		if w.W == [2][4]int8{} {
			continue
		}
		e := entryOf(w)
		// What is too large together goes to a channel of its own.
		for e.key > pairLimit {
			for ch := range w.W {
				rest := PairWeight{At: w.At}
				for h := 0; h < 4; h += 2 {
					splitPair(w.W[ch][h:h+2], rest.W[ch][h:h+2])
				}
				if rest.W[ch] != [4]int8{} {
					one[ch] = append(one[ch], entryOf(rest))
				}
			}
			e = entryOf(w)
		}
		both = append(both, e)
	}
	tmp.both, tmp.one = both, one
	head := len(dst)
	dst = append(dst, make([]byte, 8)...)
	steps, alone := tmp.match(both)
	binary.LittleEndian.PutUint32(dst[head:], uint32(len(steps)))
	for _, s := range steps {
		dst = appendStep(dst, &s, 0, 1)
	}
	for _, a := range alone {
		for ch := range one {
			if w := a.only(ch); w.W[ch] != [4]int8{} {
				one[ch] = append(one[ch], entryOf(w))
			}
		}
	}
	tmp.one = one
	for ch := range one {
		steps, alone := tmp.match(one[ch])
		for _, a := range alone {
			steps = append(steps, [2]pairEntry{a, {}})
		}
		binary.LittleEndian.PutUint16(dst[head+4+2*ch:], uint16(len(steps)))
		for _, s := range steps {
			dst = appendStep(dst, &s, ch, ch)
		}
	}
	return dst
}

// appendStep appends what two blocks add to channels [c0,c1].
func appendStep(dst []byte, s *[2]pairEntry, c0, c1 int) []byte {
	for h := range s {
		dst = binary.LittleEndian.AppendUint16(dst, uint16(s[h].At/8))
	}
	for ch := c0; ch <= c1; ch++ {
		for h := range s {
			w := &s[h].W[ch]
			dst = append(dst, byte(w[0]), byte(w[1]), byte(w[2]), byte(w[3]))
		}
	}
	return dst
}

// PairScratch is what AppendPair works in.
type PairScratch struct {
	both, sorted, alone []pairEntry
	one                 [2][]pairEntry
	steps               [][2]pairEntry
	next                []int32
}

// match pairs entries whose sums fit together, the hardest first, by their largest bound; each
// takes the hardest that it bears. The rest stay alone.
func (t *PairScratch) match(list []pairEntry) (steps [][2]pairEntry, alone []pairEntry) {
	list = t.sort(list)
	next := slices.Grow(t.next[:0], len(list)+1)[:len(list)+1] // the entries that are left, behind each
	for i := range next {
		next[i] = int32(i + 1)
	}
	t.next = next
	steps, alone = t.steps[:0], t.alone[:0]
	const probes = 256
	for i := 0; i < len(list); i = int(next[i]) {
		last, found := i, false
		for j, k := int(next[i]), 0; j < len(list) && k < probes; j, k = int(next[j]), k+1 {
			if (list[i].bound+list[j].bound)&(1<<7*0x0101010101010101) == 0 {
				steps = append(steps, [2]pairEntry{list[i], list[j]})
				next[last] = next[j]
				found = true
				break
			}
			last = j
		}
		if !found {
			alone = append(alone, list[i])
		}
	}
	t.steps, t.alone = steps, alone
	return steps, alone
}

// sort is the list by falling largest sum, in the same order where that is one.
func (t *PairScratch) sort(list []pairEntry) []pairEntry {
	var at [pairLimit + 2]int
	for i := range list {
		at[pairLimit-list[i].key+1]++
	}
	for i := range pairLimit + 1 {
		at[i+1] += at[i]
	}
	t.sorted = slices.Grow(t.sorted[:0], len(list))[:len(list)]
	for i := range list {
		k := &at[pairLimit-list[i].key]
		t.sorted[*k] = list[i]
		*k++
	}
	return t.sorted
}

// pairEntry has the sums of the weights of one sign, a byte for each channel, half and sign, and
// the largest.
type pairEntry struct {
	PairWeight
	key   int
	bound uint64
}

// entryOf are weights; the bound holds where the largest sum is at most pairLimit.
func entryOf(w PairWeight) pairEntry {
	e := pairEntry{PairWeight: w}
	for ch := range w.W {
		for h := 0; h < 4; h += 2 {
			pos, neg := signSums(w.W[ch][h], w.W[ch][h+1])
			e.key = max(e.key, pos, neg)
			e.bound = e.bound<<16 | uint64(pos)<<8 | uint64(neg)
		}
	}
	return e
}

// only are the weights of one channel.
func (p *PairWeight) only(ch int) PairWeight {
	w := PairWeight{At: p.At}
	w.W[ch] = p.W[ch]
	return w
}

// signSums are the sums of the weights of either sign.
func signSums(v, w int8) (pos, neg int) {
	a, b := int(v), int(w)
	return max(0, a) + max(0, b), max(0, -a) + max(0, -b)
}

// splitPair moves to r about half of what is too large of two weights together, of the larger one.
func splitPair(v, r []int8) {
	pos, neg := signSums(v[0], v[1])
	if max(pos, neg) <= pairLimit {
		return
	}
	i := 0
	if abs8(v[0]) < abs8(v[1]) {
		i = 1
	}
	// Three fifths that stay gave the fewest steps.
	left := max(0, max(pos, neg)*3/5-abs8(v[1-i]), abs8(v[i])-pairLimit)
	if v[i] < 0 {
		left = -left
	}
	r[i] = int8(int(v[i]) - left)
	v[i] = int8(left)
}

func abs8(a int8) int { return max(int(a), -int(a)) }

// I8Pack is one call of the transposition of bytes for I8Pairs: pixels at Rows, of which there
// are 8 to 32 in whole eights, and segments of 16·Chunks bytes at Off of each,
//
//	Dst[(s*4*Chunks+k/4)*PairBlock+4*p+k%4] = X[Rows[p]+Off[s]+k] ^ Flip
type I8Pack struct {
	X      []byte
	Rows   []int
	Off    []int
	Chunks int
	Dst    []byte
	Flip   int
}

// Pack transposes. Rows and Off ascend. It panics where a slice is too short.
func (v Ints) Pack(t *I8Pack) {
	if len(t.Rows)%8 != 0 || len(t.Rows) > 32 || len(t.Off) == 0 || t.Chunks <= 0 {
		panic("kern: pack out of range")
	}
	if len(t.Rows) == 0 {
		return
	}
	_ = t.X[t.Rows[0]+t.Off[0] : t.Rows[len(t.Rows)-1]+t.Off[len(t.Off)-1]+16*t.Chunks]
	_ = t.Dst[len(t.Off)*4*t.Chunks*PairBlock-1]
	v.pack(t)
}

func i8PackGo(t *I8Pack) {
	for p, row := range t.Rows {
		for s, off := range t.Off {
			for k, b := range t.X[row+off:][:16*t.Chunks] {
				t.Dst[(s*4*t.Chunks+k/4)*PairBlock+4*p+k%4] = b ^ byte(t.Flip)
			}
		}
	}
}

// I8Unpack is one call of the way back: eight pairs of channels of I8Pairs.Y to pixels of 16 bytes. Rows
// are 16 or 32, the first N of them ascending; of each sixteen, those that are the same go where the first does.
//
//	Dst[Rows[p]+i] = T[64*(i/2)+2*p+i%2]
type I8Unpack struct {
	T    []byte
	Rows []int
	Dst  []byte
	N    int
}

// Unpack transposes. It panics where a slice is too short.
func (v Ints) Unpack(t *I8Unpack) {
	if len(t.Rows)%16 != 0 || len(t.Rows) > 32 {
		panic("kern: unpack out of range")
	}
	if len(t.Rows) == 0 {
		return
	}
	_, _, _ = t.Dst[t.Rows[0]], t.Dst[t.Rows[t.N-1]+15], t.T[64*8-1]
	v.unpack(t)
}

func i8UnpackGo(t *I8Unpack) {
	for h := 0; h < len(t.Rows); h += 16 {
		for p := 15; p >= 0; p-- {
			d := t.Dst[t.Rows[h+p]:][:16]
			for i := range d {
				d[i] = t.T[64*(i/2)+2*(h+p)+i%2]
			}
		}
	}
}
