package entropy

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// RANS codes symbols with range asymmetric numeral systems (J. Duda: Asymmetric numeral
// systems, 2013; F. Giesen: Interleaved entropy coders, 2014): four states of 64 bits,
// which take symbols in turn, so that a decoder works on four at once, and take in 32 bits
// at a time, at most once in two symbols. A block's frequencies stand before its symbols, or
// are learned from them (see ransLearner), whichever is smaller. It is within a percent of
// the symbols' entropy and the fastest to decode.
type RANS struct{}

const (
	ransBits  = 14      // frequencies add up to 1<<ransBits
	ransAlpha = 256     // places: distinct symbols of a block, one of them for all that escape
	ransSpan  = 1 << 16 // of the symbols that do not
	ransRare  = 16      // one symbol in so many may escape
	ransLow   = 1 << 32 // states lie between it and 1<<64
	ransWays  = 4       // states
	ransGroup = 2 * ransWays
	ransMask  = 1<<ransBits - 1
	ransRun   = 32 // slots that are set at a time
	ransFew   = 32 // places whose frequencies are fast to renew after 256 symbols
)

// Name implements Coder.
func (RANS) Name() string { return "rans" }

// ransModel is how a block is coded. Its symbols are told by places: those of syms in order,
// and where some escape one more, for all those.
type ransModel struct {
	syms    []int32      // ascending
	escaped []int32      // the symbols that are none of syms, in order
	learner *ransLearner // nil: the frequencies are fixed
	bits    uint         // they add up to 1<<bits as they are written: even, 8 to ransBits
	freq    []uint32     // of the places, as they are written
}

// places is their number.
func (m *ransModel) places() int { return len(m.syms) + min(len(m.escaped), 1) }

// newRANSModel finds the model under which a block is smallest, and the places of its
// symbols; nil: too many would escape.
func newRANSModel(block []int32) (*ransModel, []uint8) {
	lo, hi := span(block)
	if uint32(hi)-uint32(lo) >= ransSpan {
		lo, hi = max(lo, -ransSpan/2), min(hi, ransSpan/2-1)
	}
	if lo > hi {
		return nil, nil
	}
	count := make([]int, hi-lo+1)
	n := 0
	for _, s := range block {
		if s >= lo && s <= hi {
			count[s-lo]++
			n++
		}
	}
	m := &ransModel{}
	for i, n := range count {
		if n > 0 {
			m.syms = append(m.syms, lo+int32(i))
		}
	}
	if len(m.syms) > ransAlpha || len(m.syms) == ransAlpha && n < len(block) { // the most frequent stay
		slices.SortStableFunc(m.syms, func(a, b int32) int { return count[b-lo] - count[a-lo] })
		for _, s := range m.syms[ransAlpha-1:] {
			n -= count[s-lo]
		}
		m.syms = m.syms[:ransAlpha-1]
		slices.Sort(m.syms)
	}
	if len(block)-n > len(block)/ransRare {
		return nil, nil
	}
	at := make([]uint8, hi-lo+1)
	for i := range at {
		at[i] = uint8(len(m.syms))
	}
	for i, s := range m.syms {
		at[s-lo] = uint8(i)
	}
	places := make([]uint8, len(block))
	for i, s := range block {
		p := uint8(len(m.syms))
		if s >= lo && s <= hi {
			p = at[s-lo]
		}
		if places[i] = p; int(p) == len(m.syms) && n < len(block) {
			m.escaped = append(m.escaped, s)
		}
	}
	m.choose(places)
	return m, places
}

// choose sets whether the frequencies are fixed, with how many bits, or how they are learned:
// as is smallest, fixed ones first.
func (m *ransModel) choose(places []uint8) {
	best, least := ransModel{}, uint64(math.MaxUint64)
	try := func(cost uint64) {
		var w bitWriter
		m.write(&w)
		if cost += uint64(8*len(w.out)+int(w.n)) << 16; cost < least {
			best, least = *m, cost
		}
	}
	counts := newRANSCounts(places, m.places())
	hist := counts.count(0, len(places))
	for m.bits = 8; m.bits <= ransBits; m.bits += 2 {
		if m.places() <= 1<<m.bits {
			m.freq = proportional(hist[:m.places()], len(places), m.bits)
			try(ransCost(m.scaled(), &hist))
		}
	}
	// What is expected before the first symbol matters at the beginning, the window in what is large.
	l, shortest := ransLearner{window: 3}, uint64(math.MaxUint64)
	prior := uint(0)
	for l.prior = range uint(8) {
		if cost := l.cost(m, counts, min(len(places), 1<<10)); cost < shortest {
			prior, shortest = l.prior, cost
		}
	}
	for window := range uint(4) {
		l := &ransLearner{prior: prior, window: window}
		if window == 0 && m.places() > ransFew && len(places) > l.size() {
			continue
		}
		m.learner = l
		if try(l.cost(m, counts, len(places))); l.size() >= len(places) {
			break
		}
	}
	*m = best
}

// proportional is frequencies of the places, at least 1, that add up to 1<<bits.
func proportional(hist []uint32, n int, bits uint) []uint32 {
	freq := make([]uint32, len(hist))
	left, largest := 1<<bits, 0
	for i, k := range hist {
		f := max(1, int((uint64(k)<<(bits+1)/uint64(n)+1)/2))
		freq[i] = uint32(f)
		if left -= f; freq[i] > freq[largest] {
			largest = i
		}
	}
	// What rounding left over goes to the most frequent, or comes from the frequent ones.
	for left < 0 {
		for i, f := range freq {
			take := min(max(int(f)/8, 1), int(f)-1, -left)
			freq[i] -= uint32(take)
			left += take
		}
	}
	freq[largest] += uint32(left)
	return freq
}

// scaled is the fixed frequencies as they are used: they add up to 1<<ransBits.
func (m *ransModel) scaled() []uint32 {
	freq := slices.Clone(m.freq)
	for i := range freq {
		freq[i] <<= ransBits - m.bits
	}
	return freq
}

// implied is the place whose frequency follows from the others: that of 0, which is
// mostly the largest, else the last.
func (m *ransModel) implied() int {
	if i, ok := slices.BinarySearch(m.syms, 0); ok {
		return i
	}
	return m.places() - 1
}

// ransLen is the length of a first frequency, less 1, at which its code is shortest.
const ransLen = 4

// write writes the model: a bit whether symbols escape, the number of the others less 1
// (gamma), the first in zigzag (its length in 6 bits, its bits), the gaps to the others less 1 (gamma);
// if symbols escape their number less 1 (gamma) and they as Raw does; a bit whether
// frequencies are learned, then prior and window; else the bits in 2, and the frequencies but the implied one: the
// length less that of the one before in zigzag (gamma), the bits below the first.
func (m *ransModel) write(w *bitWriter) {
	w.write(uint32(min(len(m.escaped), 1)), 1)
	w.gamma(uint32(len(m.syms) - 1))
	w.number(m.syms[0])
	for i := 1; i < len(m.syms); i++ {
		w.gamma(uint32(m.syms[i]) - uint32(m.syms[i-1]) - 1)
	}
	if len(m.escaped) > 0 {
		w.gamma(uint32(len(m.escaped) - 1))
		w.fixed(m.escaped)
	}
	if l := m.learner; l != nil {
		w.write(1, 1)
		w.write(uint32(l.prior), 3)
		w.write(uint32(l.window), 2)
		return
	}
	w.write(0, 1)
	w.write(uint32(m.bits-8)/2, 2)
	implied, before := m.implied(), ransLen
	for i, f := range m.freq {
		if i == implied {
			continue
		}
		n := bits.Len32(f) - 1
		w.gamma(zigzag(int32(n - before)))
		w.write(f-1<<n, uint(n))
		before = n
	}
}

// readRANSModel reads the model of a block of n symbols.
func readRANSModel(r *bitReader, n int) (*ransModel, error) {
	m := &ransModel{}
	escape := r.read(1) == 1
	k, err := r.gamma()
	if err != nil {
		return nil, err
	}
	if k >= ransAlpha || escape && k == ransAlpha-1 {
		return nil, corrupt("frequencies of %d symbols", k)
	}
	m.syms = make([]int32, k+1)
	if m.syms[0], err = r.number(); err != nil {
		return nil, err
	}
	for i := 1; i <= int(k); i++ {
		gap, err := r.gamma()
		if err != nil {
			return nil, err
		}
		next := int64(m.syms[i-1]) + int64(gap) + 1
		if next > math.MaxInt32 {
			return nil, corrupt("symbol beyond 32 bits")
		}
		m.syms[i] = int32(next)
	}
	if escape {
		k, err := r.gamma()
		if err != nil {
			return nil, err
		}
		if int64(k) >= int64(n) {
			return nil, corrupt("%d of %d symbols escape", int64(k)+1, n)
		}
		m.escaped = make([]int32, k+1)
		if err := r.fixed(m.escaped); err != nil {
			return nil, err
		}
	}
	if r.read(1) == 1 {
		m.learner = &ransLearner{prior: uint(r.read(3)), window: uint(r.read(2))}
		return m, nil
	}
	m.bits = 8 + 2*uint(r.read(2))
	m.freq = make([]uint32, m.places())
	left, implied, before := uint32(1)<<m.bits, m.implied(), int32(ransLen)
	for i := range m.freq {
		if i == implied {
			continue
		}
		d, err := r.gamma()
		if err != nil {
			return nil, err
		}
		k := int64(before) + int64(unzigzag(d))
		if k < 0 || k >= int64(m.bits) {
			return nil, corrupt("frequency of %d bits", k+1)
		}
		before = int32(k)
		f := 1<<k | r.read(uint(k))
		if f >= left {
			return nil, corrupt("frequencies add up to too much")
		}
		m.freq[i] = f
		left -= f
	}
	m.freq[implied] = left
	return m, nil
}

// ransPart is a part of a block that has one table of frequencies.
type ransPart struct {
	places []uint8
	code   [ransAlpha]uint32 // of each place: those of the places below << 16 | its frequency
}

// parts cuts a block.
func (m *ransModel) parts(places []uint8) (all []ransPart) {
	add := func(n int, freq []uint32) {
		p := ransPart{places: places[:n]}
		below := uint32(0)
		for i, f := range freq {
			p.code[i] = below<<16 | f
			below += f
		}
		all, places = append(all, p), places[n:]
	}
	if m.learner == nil {
		add(len(places), m.scaled())
		return all
	}
	m.learner.begin(m)
	freq := make([]uint32, m.places())
	for len(places) > 0 {
		n := m.learner.next(len(places))
		hist := histogram(places[:n])
		m.learner.frequencies(freq)
		add(n, freq)
		m.learner.learn(&hist, n)
	}
	return all
}

// ransEncoder takes symbols in backwards, and words come out backwards.
type ransEncoder struct {
	x     [ransWays]uint64
	words []uint32
}

func (e *ransEncoder) part(p *ransPart) {
	put := func(x uint64, c uint32) uint64 {
		f := uint64(c & 0xffff)
		return x/f<<ransBits + x%f + uint64(c>>16)
	}
	places, code := p.places, &p.code
	full := len(places) / ransGroup * ransGroup
	for k := len(places) - 1; k >= full; k-- {
		x, c := e.x[k%ransWays], code[places[k]]
		if x>>(64-ransBits) >= uint64(c&0xffff) {
			e.words = append(e.words, uint32(x))
			x >>= 32
		}
		e.x[k%ransWays] = put(x, c)
	}
	for k := full - ransGroup; k >= 0; k -= ransGroup {
		for j := ransWays - 1; j >= 0; j-- {
			x, c, d := e.x[j], code[places[k+j]], code[places[k+j+ransWays]]
			if x>>(64-2*ransBits) >= uint64(c&0xffff)*uint64(d&0xffff) {
				e.words = append(e.words, uint32(x))
				x >>= 32
			}
			e.x[j] = put(put(x, d), c)
		}
	}
}

// Append implements Coder. It returns ErrUnsuited where more than one symbol of 16 would
// escape: beyond the 255 most frequent, or far from 0 where they lie over 65,535 apart.
func (RANS) Append(dst []byte, blocks []Block) ([]byte, error) {
	total, err := check(blocks)
	if err != nil {
		return nil, err
	}
	start := len(dst)
	w := bitWriter{out: dst}
	models, places := make([]*ransModel, len(blocks)), make([][]uint8, len(blocks))
	any := false
	for i, b := range blocks {
		at := len(w.out)
		if len(b.Syms) > 0 {
			if models[i], places[i] = newRANSModel(b.Syms); models[i] == nil {
				return nil, ErrUnsuited
			}
			models[i].write(&w)
			any = true
		}
		blocks[i].Coded = len(w.out) - at
	}
	if dst = w.flush(); !any {
		return dst, nil
	}
	e := ransEncoder{x: [ransWays]uint64{ransLow, ransLow, ransLow, ransLow}}
	for i := len(blocks) - 1; i >= 0; i-- {
		if models[i] == nil {
			continue
		}
		before := len(e.words)
		parts := models[i].parts(places[i])
		for k := len(parts) - 1; k >= 0; k-- {
			e.part(&parts[k])
		}
		blocks[i].Coded += 4 * (len(e.words) - before)
	}
	return pad(e.code(dst), start, total), nil
}

// code appends the states and words, as a decoder takes them in.
func (e *ransEncoder) code(dst []byte) []byte {
	for _, x := range e.x {
		dst = binary.LittleEndian.AppendUint64(dst, x)
	}
	for i := len(e.words) - 1; i >= 0; i-- {
		dst = binary.LittleEndian.AppendUint32(dst, e.words[i])
	}
	return dst
}

// Decode implements Coder.
func (RANS) Decode(blocks []Block, src []byte) error {
	if err := alloc(blocks, len(src)); err != nil {
		return err
	}
	r := bitReader{in: src}
	models := make([]*ransModel, len(blocks))
	any := false
	for i, b := range blocks {
		at := r.at()
		if len(b.Syms) > 0 {
			m, err := readRANSModel(&r, len(b.Syms))
			if err != nil {
				return err
			}
			if r.over() {
				return corrupt("code of %d bytes ends early", len(src))
			}
			models[i], any = m, true
		}
		blocks[i].Coded = r.at() - at
	}
	if k := r.n % 8; k > 0 && r.acc>>(64-k) != 0 {
		return corrupt("bits after the frequencies")
	}
	d := &ransDecoder{in: src[r.at():]}
	if any && !d.states() {
		return corrupt("no states")
	}
	for i, m := range models {
		if m == nil {
			continue
		}
		before := len(d.in)
		if err := d.block(m, blocks[i].Syms); err != nil {
			return fmt.Errorf("%w: block %d", err, i)
		}
		blocks[i].Coded += before - len(d.in)
	}
	for j := range d.x {
		if any && d.x[j] != ransLow {
			return corrupt("wrong state at the end")
		}
	}
	for _, b := range d.in {
		if b != 0 {
			return corrupt("bytes after the end")
		}
	}
	return nil
}

type ransDecoder struct {
	x     [ransWays]uint64
	in    []byte
	shift uint
	slot  [1<<ransBits + ransRun]uint8 // the place, by the state's lower bits >> shift
	entry [ransAlpha]uint64            // of a place: its symbol << 32 | the frequencies below << 16 | its own
}

// states takes in the states; false: there are none.
func (d *ransDecoder) states() bool {
	if len(d.in) < 8*ransWays {
		return false
	}
	for j := range d.x {
		d.x[j] = binary.LittleEndian.Uint64(d.in[8*j:])
	}
	d.in = d.in[8*ransWays:]
	return true
}

// table sets the frequencies, multiples of 1<<shift; syms nil: places are decoded, not symbols.
func (d *ransDecoder) table(freq []uint32, shift uint, syms []int32) {
	d.shift = shift
	below := uint32(0)
	for i, f := range freq {
		s := uint32(i)
		if syms != nil {
			s = uint32(syms[i])
		}
		d.entry[i] = uint64(s)<<32 | uint64(below<<16|f)
		eight := uint64(i) * 0x0101010101010101
		for at := below >> shift; at < (below+f)>>shift; at += ransRun { // the next place begins within the last run
			run := d.slot[at : at+ransRun : at+ransRun]
			binary.LittleEndian.PutUint64(run, eight)
			binary.LittleEndian.PutUint64(run[8:], eight)
			binary.LittleEndian.PutUint64(run[16:], eight)
			binary.LittleEndian.PutUint64(run[24:], eight)
		}
		below += f
	}
}

// block decodes a block.
func (d *ransDecoder) block(m *ransModel, out []int32) error {
	l, freq, shift := m.learner, m.scaled(), ransBits-m.bits
	if l == nil && len(m.escaped) == 0 {
		d.table(freq, shift, m.syms)
		if !d.part(out) {
			return corrupt("code ends early")
		}
		return nil
	}
	if l != nil {
		l.begin(m)
		freq, shift = make([]uint32, m.places()), ransBits-learnBits
	}
	escaped, escapes := m.escaped, len(m.escaped)
	var syms [ransAlpha]int32
	copy(syms[:], m.syms)
	for len(out) > 0 {
		n := len(out)
		if l != nil {
			n = l.next(n)
			l.frequencies(freq)
		}
		d.table(freq, shift, nil)
		if !d.part(out[:n]) {
			return corrupt("code ends early")
		}
		var hist [ransAlpha]uint32
		for i, p := range out[:n] {
			hist[uint8(p)]++
			out[i] = syms[uint8(p)]
			if escapes > 0 && int(p) == len(m.syms) {
				if len(escaped) == 0 {
					return corrupt("more than %d symbols escape", escapes)
				}
				out[i], escaped = escaped[0], escaped[1:]
			}
		}
		if l != nil {
			l.learn(&hist, n)
		}
		out = out[n:]
	}
	if len(escaped) > 0 {
		return corrupt("fewer than %d symbols escape", escapes)
	}
	return nil
}

// part decodes symbols of one table; false: the input ends.
func (d *ransDecoder) part(out []int32) bool {
	x0, x1, x2, x3 := d.x[0], d.x[1], d.x[2], d.x[3]
	in := d.in
	slot, entry, shift := &d.slot, &d.entry, d.shift&7
	for len(out) >= ransGroup && len(in) >= 4*ransWays {
		o := out[:ransGroup:len(out)]
		w := in[: 4*ransWays : len(in)]
		a0, a1, a2, a3 := entry[slot[x0&ransMask>>shift]], entry[slot[x1&ransMask>>shift]], entry[slot[x2&ransMask>>shift]], entry[slot[x3&ransMask>>shift]]
		x0 = a0&0xffff*(x0>>ransBits) + x0&ransMask - a0>>16&0xffff
		x1 = a1&0xffff*(x1>>ransBits) + x1&ransMask - a1>>16&0xffff
		x2 = a2&0xffff*(x2>>ransBits) + x2&ransMask - a2>>16&0xffff
		x3 = a3&0xffff*(x3>>ransBits) + x3&ransMask - a3>>16&0xffff
		o[0], o[1], o[2], o[3] = int32(a0>>32), int32(a1>>32), int32(a2>>32), int32(a3>>32)
		a0, a1, a2, a3 = entry[slot[x0&ransMask>>shift]], entry[slot[x1&ransMask>>shift]], entry[slot[x2&ransMask>>shift]], entry[slot[x3&ransMask>>shift]]
		x0 = a0&0xffff*(x0>>ransBits) + x0&ransMask - a0>>16&0xffff
		x1 = a1&0xffff*(x1>>ransBits) + x1&ransMask - a1>>16&0xffff
		x2 = a2&0xffff*(x2>>ransBits) + x2&ransMask - a2>>16&0xffff
		x3 = a3&0xffff*(x3>>ransBits) + x3&ransMask - a3>>16&0xffff
		o[4], o[5], o[6], o[7] = int32(a0>>32), int32(a1>>32), int32(a2>>32), int32(a3>>32)
		n := 0
		if x0 < ransLow {
			x0 = x0<<32 | uint64(binary.LittleEndian.Uint32(w[0:]))
			n = 4
		}
		if x1 < ransLow {
			x1 = x1<<32 | uint64(binary.LittleEndian.Uint32(w[n:]))
			n += 4
		}
		if x2 < ransLow {
			x2 = x2<<32 | uint64(binary.LittleEndian.Uint32(w[n:]))
			n += 4
		}
		if x3 < ransLow {
			x3 = x3<<32 | uint64(binary.LittleEndian.Uint32(w[n:]))
			n += 4
		}
		in, out = in[n:], out[ransGroup:]
	}
	x := [ransWays]uint64{x0, x1, x2, x3}
	// The last groups, and the last symbols one by one.
	get := func(j int) int32 {
		a := entry[slot[x[j]&ransMask>>shift]]
		x[j] = a&0xffff*(x[j]>>ransBits) + x[j]&ransMask - a>>16&0xffff
		return int32(a >> 32)
	}
	refill := func(j int) bool {
		if x[j] >= ransLow {
			return true
		}
		if len(in) < 4 {
			return false
		}
		x[j] = x[j]<<32 | uint64(binary.LittleEndian.Uint32(in))
		in = in[4:]
		return true
	}
	for ; len(out) >= ransGroup; out = out[ransGroup:] {
		for j := range ransWays {
			out[j], out[j+ransWays] = get(j), get(j)
			if !refill(j) {
				return false
			}
		}
	}
	for k := range out {
		out[k] = get(k % ransWays)
		if !refill(k % ransWays) {
			return false
		}
	}
	d.x, d.in = x, in
	return true
}
