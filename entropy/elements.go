package entropy

import (
	"fmt"
	"math/bits"
)

// Elements is an array of fixed-size little-endian elements whose bytes are coded as
// they are: floats and wide integers.
type Elements struct {
	Size  int  // bytes of an element: 1, 2, 4 or 8
	Float bool // IEEE 754 or bfloat16: the sign goes last, so that the exponent fills bytes
	Cols  int  // elements of a row, at least 1: what lies above an element tells of it
	N     int  // elements
	Data  []byte
	Coded int // set by AppendElements and DecodeElements as Block.Coded is
}

// elementsPerByte bounds the bytes of elements that a byte of code stands for.
const elementsPerByte = 1024

// MaxElementBytes is the largest number of bytes of elements that n bytes of code
// may stand for: 1024 (n + 8).
func MaxElementBytes(n int) int {
	if n > 1<<52 {
		return 1 << 62
	}
	return elementsPerByte * (n + 8)
}

// rotate moves the sign bit of a float below its mantissa.
func rotate(u uint64, size int) uint64 {
	n := uint(8 * size)
	return (u<<1 | u>>(n-1)) & (1<<(n-1)<<1 - 1)
}

func unrotate(u uint64, size int) uint64 {
	n := uint(8 * size)
	return u>>1 | u&1<<(n-1)
}

// planes splits elements into planes of bytes, the most significant first: plane p
// of N bytes holds byte Size-1-p of every element.
func (e Elements) planes() [][]byte {
	ps := make([][]byte, e.Size)
	all := make([]byte, e.Size*e.N)
	for p := range ps {
		ps[p] = all[p*e.N : (p+1)*e.N]
	}
	for i := range e.N {
		var u uint64
		for k := e.Size - 1; k >= 0; k-- {
			u = u<<8 | uint64(e.Data[i*e.Size+k])
		}
		if e.Float {
			u = rotate(u, e.Size)
		}
		for p := range ps {
			ps[p][i] = byte(u >> (8 * (e.Size - 1 - p)))
		}
	}
	return ps
}

// join is the inverse of planes.
func (e Elements) join(ps [][]byte) {
	for i := range e.N {
		var u uint64
		for p := range ps {
			u = u<<8 | uint64(ps[p][i])
		}
		if e.Float {
			u = unrotate(u, e.Size)
		}
		for k := range e.Size {
			e.Data[i*e.Size+k] = byte(u)
			u >>= 8
		}
	}
}

func (e Elements) check() error {
	switch e.Size {
	case 1, 2, 4, 8:
	default:
		return fmt.Errorf("elements of %d bytes", e.Size)
	}
	if e.Cols < 1 || e.N < 0 || e.N > 1<<59 {
		return fmt.Errorf("%d elements in rows of %d", e.N, e.Cols)
	}
	return nil
}

// AppendElements appends the code of arrays of elements to dst. fast codes every
// plane of bytes by RANS, else by mixed contexts; the decoder must be told which.
func AppendElements(dst []byte, arrays []Elements, fast bool) ([]byte, error) {
	total := 0
	for i, e := range arrays {
		if err := e.check(); err != nil {
			return nil, err
		}
		if len(e.Data) != e.Size*e.N {
			return nil, fmt.Errorf("array %d: %d bytes for %d elements of %d", i, len(e.Data), e.N, e.Size)
		}
		total += len(e.Data)
	}
	start := len(dst)
	if fast {
		var blocks []Block
		for _, e := range arrays {
			for _, p := range e.planes() {
				b := Block{Dims: Dims{1, len(p), 1, 1}, Syms: make([]int32, len(p))}
				for i, x := range p {
					b.Syms[i] = int32(x)
				}
				blocks = append(blocks, b)
			}
		}
		dst, err := RANS{}.Append(dst, blocks)
		planeShares(arrays, blocks)
		return padElements(dst, start, total), err
	}
	rc := newEncoder(dst)
	m := newByteModel()
	ends := make([]int, len(arrays))
	for i, e := range arrays {
		m.array(&rc, e, e.planes())
		ends[i] = rc.done() - start
	}
	dst = padElements(rc.finish(start), start, total)
	elementShares(arrays, ends, len(dst)-start)
	return dst, nil
}

// planeShares sets Coded from the planes' blocks.
func planeShares(arrays []Elements, blocks []Block) {
	for i := range arrays {
		arrays[i].Coded = 0
		for range arrays[i].Size {
			arrays[i].Coded += blocks[0].Coded
			blocks = blocks[1:]
		}
	}
}

// elementShares sets Coded from where the code of each array ends.
func elementShares(arrays []Elements, ends []int, size int) {
	at := 0
	for i := range arrays {
		if i == len(arrays)-1 {
			ends[i] = size
		}
		arrays[i].Coded = max(0, ends[i]-at)
		at = max(at, ends[i])
	}
}

// ElementStreamLen is the number of bytes at which a stream of elements ends with its row.
const ElementStreamLen = 1 << 20

// ElementStreams cuts arrays into lists that are to be coded each on its own, as
// [Streams] does blocks: a list ends with the row, of Cols elements, at which it has
// ElementStreamLen bytes or more. The parts' Data are those of the arrays. The cuts
// depend on Size, Cols and N only.
func ElementStreams(arrays []Elements) [][]Elements {
	var all [][]Elements
	var now []Elements
	n := 0
	for _, e := range arrays {
		for {
			part := e
			if row := e.Size * e.Cols; row > 0 {
				part.N = min(e.N, (ElementStreamLen-n+row-1)/row*e.Cols)
			}
			size := part.N * e.Size
			if e.Data != nil {
				part.Data = e.Data[:size:size]
				e.Data = e.Data[size:]
			}
			now = append(now, part)
			if n += size; n >= ElementStreamLen {
				all, now, n = append(all, now), nil, 0
			}
			if e.N -= part.N; e.N == 0 {
				break
			}
		}
	}
	if len(now) > 0 || len(all) == 0 {
		all = append(all, now)
	}
	return all
}

func padElements(code []byte, start, n int) []byte {
	for n > MaxElementBytes(len(code)-start) {
		code = append(code, 0)
	}
	return code
}

// DecodeElements sets each array's Data, in place where it has the right length, from its
// other fields and src, all the code of these arrays. It never panics, and allocates only after it has found that src can
// hold so much (see MaxElementBytes); errors are ErrCorrupt.
func DecodeElements(arrays []Elements, src []byte, fast bool) error {
	left := MaxElementBytes(len(src))
	for i, e := range arrays {
		if err := e.check(); err != nil {
			return corrupt("%v", err)
		}
		if e.N > left/e.Size {
			return corrupt("%d bytes cannot hold array %d", len(src), i)
		}
		left -= e.N * e.Size
	}
	var rc rangeCoder
	var m *byteModel
	var blocks []Block
	if fast {
		for _, e := range arrays {
			for range e.Size {
				blocks = append(blocks, Block{Dims: Dims{1, e.N, 1, 1}})
			}
		}
		if err := (RANS{}).Decode(blocks, src); err != nil {
			return err
		}
		planeShares(arrays, blocks)
	} else {
		rc, m = newDecoder(src), newByteModel()
	}
	ends := make([]int, len(arrays))
	for i := range arrays {
		e := &arrays[i]
		if len(e.Data) != e.Size*e.N {
			e.Data = make([]byte, e.Size*e.N)
		}
		ps := make([][]byte, e.Size)
		all := make([]byte, len(e.Data))
		for p := range ps {
			ps[p] = all[p*e.N : (p+1)*e.N]
		}
		if fast {
			for p := range ps {
				for k, s := range blocks[0].Syms {
					if s < 0 || s > 255 {
						return corrupt("byte of value %d", s)
					}
					ps[p][k] = byte(s)
				}
				blocks = blocks[1:]
			}
		} else {
			m.array(&rc, *e, ps)
			if rc.over() {
				return corrupt("code of %d bytes ends early", len(src))
			}
		}
		e.join(ps)
		ends[i] = rc.done()
	}
	if !fast {
		elementShares(arrays, ends, len(src))
	}
	return nil
}

// byteModel codes planes of bytes, each byte as a path of 8 decisions from its top bit.
type byteModel struct {
	bit    site
	tables [8]*planeTables // by plane
	short  *shortTables
}

// planeTables are a plane's counters: by the byte so far (256), and that under each
// value of another byte.
type planeTables struct {
	plain              [256]counter
	upper, last, above byteTable
}

// byteTable are counters by the byte so far, under each value of another byte; nil: not met yet. Small arrays meet few.
type byteTable [256]*[256]counter

func (t *byteTable) under(b byte) *[256]counter {
	if t[b] == nil {
		t[b] = new([256]counter)
		resetCounters(t[b][:])
	}
	return t[b]
}

func newByteModel() *byteModel { return &byteModel{bit: newSite(4, 64, 8)} }

// array codes the planes of e, or decodes them.
func (m *byteModel) array(rc *rangeCoder, e Elements, planes [][]byte) {
	if e.N == 0 || e.Float && e.Size == 4 && m.shorts(rc, e, planes) {
		return
	}
	var in [maxInputs]*counter
	for p, cur := range planes {
		mode := 0
		if rc.dec == 0 && noise(cur) {
			mode = 1
		}
		if rc.bit(mode, 1<<15) == 1 {
			for i := range cur {
				v := 0
				for k := 7; k >= 0; k-- {
					v = v<<1 | rc.bit(int(cur[i])>>k&1, 1<<15)
				}
				cur[i] = byte(v)
			}
			continue
		}
		t := m.tables[p]
		if t == nil {
			t = new(planeTables)
			resetCounters(t.plain[:])
			m.tables[p] = t
		}
		last := byte(0)
		for i := range cur {
			upper, above := byte(0), byte(0)
			if p > 0 {
				upper = planes[p-1][i]
			}
			if i >= e.Cols {
				above = cur[i-e.Cols]
			}
			byUpper, byLast, byAbove := t.upper.under(upper), t.last.under(last), t.above.under(above)
			x, v := int(cur[i]), uint8(1)
			for k := 7; k >= 0; k-- {
				in[0] = &t.plain[v]
				in[1] = &byUpper[v]
				in[2] = &byLast[v]
				in[3] = &byAbove[v]
				v = v<<1 | uint8(m.bit.code(rc, &in, x>>k&1, p*8+k, p))
			}
			cur[i] = v
			last = cur[i]
		}
	}
}

// maxShort is how many elements an encoder codes as short floats at most: more are not
// centroids and scales, and near ones not alike.
const maxShort = 512

// maxZeros is how many zeros at their end short floats are freed of at most: of 8 bits of mantissa one is left.
const maxZeros = 7

// shortTables are the counters of short floats.
type shortTables struct {
	is   [1]counter // whether an array is short
	more []counter  // whether the bits end in more zeros, by their number so far
	sign []counter  // by the sign before, 2 at first
	same []counter  // by whether the sign changed
	way  []counter  // the distance's sign, by the sign, and the way before, 2 at first
	// the distance's length, by whether the sign changed; and its second bit, by length
	length, top []counter
}

// once codes y, or decodes and returns it, by one counter alone.
func once(rc *rangeCoder, c *counter, y int) int {
	y = rc.bit(y, c.chance())
	c.update(int32(y)<<22, 30)
	return y
}

// shorts codes a float32 array, or decodes it, if all of its elements are short: 8 bits
// of mantissa and no more, as bfloat16, or fewer: zeros that all of them end in are left out. Their bits but the sign are 128 times a
// logarithm, nearly, and each is coded as its distance from the one before: centroids
// are sorted, and scales alike. false: they are not, and nothing but that was coded.
func (m *byteModel) shorts(rc *rangeCoder, e Elements, planes [][]byte) bool {
	if m.short == nil {
		m.short = &shortTables{is: [1]counter{counterHalf}, more: newCounters(maxZeros), sign: newCounters(3), same: newCounters(2), way: newCounters(6), length: newCounters(32), top: newCounters(64)}
	}
	t := m.short
	y := 0
	if rc.dec == 0 && e.N <= maxShort {
		y = 1
		for i := range e.N {
			if planes[1][i]&1 != 0 || planes[2][i] != 0 || planes[3][i] > 1 {
				y = 0
				break
			}
		}
	}
	if once(rc, &t.is[0], y) == 0 {
		return false
	}
	left := 0
	if rc.dec == 0 && e.N >= 4 { // of fewer they are chance
		any := 0
		for i := range e.N {
			any |= int(planes[0][i])<<7 | int(planes[1][i])>>1
		}
		left = bits.TrailingZeros(uint(any | 1<<maxZeros))
	}
	zeros := 0
	for ; zeros < maxZeros; zeros++ {
		y := 0
		if left > zeros {
			y = 1
		}
		if once(rc, &t.more[zeros], y) == 0 {
			break
		}
	}
	lastSign, way, last := 2, 2, 120<<7>>zeros // 2^-7
	for i := range e.N {
		sign, k := int(planes[3][i]), (int(planes[0][i])<<7|int(planes[1][i])>>1)>>zeros
		sign = once(rc, &t.sign[lastSign], sign)
		change := 0
		if sign != lastSign {
			change = 1
		}
		d := 0
		if rc.dec == 0 {
			d = k - last
		}
		up, n := 0, d
		if d < 0 {
			up, n = 1, -d
		}
		zero := 0
		if rc.dec == 0 && n == 0 {
			zero = 1
		}
		if once(rc, &t.same[change], zero) == 1 {
			d = 0
		} else {
			up = once(rc, &t.way[sign*3+way], up)
			way = up
			e := 0
			for ; e < 14; e++ {
				y := 0
				if n>>(e+1) > 0 {
					y = 1
				}
				if once(rc, &t.length[change*16+e], y) == 0 {
					break
				}
			}
			v := 1
			for bit := e - 1; bit >= 0; bit-- {
				y := n >> bit & 1
				if bit == e-1 {
					y = once(rc, &t.top[e], y)
				} else {
					y = rc.bit(y, 1<<15)
				}
				v = v<<1 | y
			}
			if d = v; up == 1 {
				d = -v
			}
		}
		k = (last + d) & (0x7fff >> zeros)
		lastSign, last = sign, k
		k <<= zeros
		planes[0][i], planes[1][i], planes[2][i], planes[3][i] = byte(k>>7), byte(k<<1), 0, byte(sign)
	}
	return true
}

// noise reports whether bytes are so evenly spread that models would not gain: in
// the first 2^20 of them the chance that two are equal is below 1.05/256, of fewer than
// 4096 below 1.5/256. The fewest never are.
func noise(b []byte) bool {
	b = b[:min(len(b), 1<<20)]
	if len(b) < 32 {
		return false
	}
	var count [256]uint64
	for _, x := range b {
		count[x]++
	}
	equal := uint64(0) // ordered pairs
	for _, n := range count {
		equal += n * (n - 1)
	}
	limit := uint64(21) // in 1/20 of what even bytes have
	if len(b) < 4096 {
		limit = 30
	}
	n := uint64(len(b))
	return equal*256*20 < n*(n-1)*limit
}
