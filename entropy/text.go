package entropy

import "slices"

// TextSample is a text of some kind, 0 to MaxTextKind.
type TextSample struct {
	Kind byte
	Text string
}

// TextPrior is what a [TextWriter] and its [TextReader] know before the first text:
// samples, which have been coded and their code thrown away.
type TextPrior struct{ m *textModel }

// NewTextPrior learns samples, in order.
func NewTextPrior(samples []TextSample) *TextPrior {
	m := newTextModel()
	rc := newEncoder(nil)
	for _, s := range samples {
		m.begin(s.Kind)
		for i := range len(s.Text) {
			m.code(&rc, s.Text[i])
		}
	}
	return &TextPrior{m}
}

// MaxTextKind is the largest kind of a text.
const MaxTextKind = 7

const (
	textBits  = 16 // of a hashed table's size
	textMatch = 3  // bytes that must be equal before a match
	textLong  = 24 // lengths of matches are counted up to it
)

// textModel is the state that all texts of one code share. Each byte is a path of 8
// decisions from its top bit, mixed from counters by what stands before it (none to
// six bytes, and the byte before the last) and by what followed the latest place that
// ended alike.
type textModel struct {
	kind   byte
	hist   []byte // all bytes so far, four marks at each start among them
	place  []int32
	at     int // place in hist of what the match says comes next; 0: none
	length int

	bit     site
	order0  []counter // by kind
	order1  []counter
	skip    []counter // by the byte before the last
	hashed  [4][]counter
	matched []counter // by length of the match and the bit it says
	neutral counter
}

func newTextModel() *textModel {
	m := &textModel{
		place: make([]int32, 1<<textBits),
		bit:   newSite(8, textLong+1, 8*(MaxTextKind+1)),

		order0: newCounters(256 * (MaxTextKind + 1)), order1: newCounters(1 << 16), skip: newCounters(1 << 16),
		matched: newCounters(2 * (textLong + 1)),
	}
	for i := range m.hashed {
		m.hashed[i] = newCounters(1 << textBits)
	}
	return m
}

func (m *textModel) clone() *textModel {
	c := *m
	c.hist, c.place = slices.Clone(m.hist), slices.Clone(m.place)
	for i := range c.bit.sets {
		c.bit.sets[i] = slices.Clone(m.bit.sets[i])
	}
	c.order0, c.order1, c.skip, c.matched = slices.Clone(m.order0), slices.Clone(m.order1), slices.Clone(m.skip), slices.Clone(m.matched)
	for i := range c.hashed {
		c.hashed[i] = slices.Clone(m.hashed[i])
	}
	return &c
}

// begin starts a text.
func (m *textModel) begin(kind byte) {
	m.kind = kind
	for range 4 {
		m.push(0xf8 | kind)
	}
}

// last is the byte k places before the next one.
func (m *textModel) last(k int) uint32 {
	if k > len(m.hist) {
		return 0
	}
	return uint32(m.hist[len(m.hist)-k])
}

// push appends a byte to the history and looks for a match.
func (m *textModel) push(b byte) {
	if m.at > 0 { // goes on after a byte that differs: records are alike but for a number
		if m.length = min(m.length+1, textLong); m.hist[m.at] != b {
			m.length = 0
		}
		m.at++
	}
	m.hist = append(m.hist, b)
	h := (m.last(1) | m.last(2)<<8 | m.last(3)<<16) * 0x9e3779b1 >> (32 - textBits)
	if at := int(m.place[h]); at > 0 && m.length < textLong {
		n := 0
		for n < textLong && n < at && m.hist[at-1-n] == m.hist[len(m.hist)-1-n] {
			n++
		}
		if n >= textMatch && n > m.length {
			m.at, m.length = at, n
		}
	}
	m.place[h] = int32(len(m.hist))
}

// code codes b, or decodes and returns it.
func (m *textModel) code(rc *rangeCoder, b byte) byte {
	c1, c2 := m.last(1), m.last(2)
	near := c1 | c2<<8
	h := [4]uint32{near, near | m.last(3)<<16, near | m.last(3)<<16 | m.last(4)<<24}
	h[3] = h[2]*0x2545f491 + m.last(5)<<8 + m.last(6)
	for i := range h {
		h[i] = (h[i] + uint32(i)<<28) * 0x9e3779b1
	}
	guess := -1
	if m.at > 0 {
		guess = int(m.hist[m.at])
	}
	v := uint32(1)
	var in [maxInputs]*counter
	for k := 7; k >= 0; k-- {
		y := int(b) >> k & 1
		s := &m.bit
		in[0] = &m.order0[uint32(m.kind)<<8|v]
		in[1] = &m.order1[c1<<8|v]
		in[2] = &m.skip[c2<<8|v]
		for i := range h {
			in[3+i] = &m.hashed[i][(h[i]+v*0x85ebca6b)>>(32-textBits)]
		}
		length := 0
		m.neutral = counterHalf
		in[7] = &m.neutral
		if guess >= 0 && uint32(guess|256)>>(k+1) == v {
			length = m.length
			in[7] = &m.matched[2*length|guess>>k&1]
		}
		v = v<<1 | uint32(s.code(rc, &in, y, length, int(m.kind)*8+k))
	}
	m.push(byte(v))
	return byte(v)
}

// TextWriter codes texts.
type TextWriter struct {
	rc rangeCoder
	m  *textModel
}

// NewTextWriter makes a writer; p is not changed.
func NewTextWriter(p *TextPrior) *TextWriter {
	return &TextWriter{rc: newEncoder(nil), m: p.m.clone()}
}

// Begin starts a text of a kind, at most MaxTextKind.
func (w *TextWriter) Begin(kind byte) { w.m.begin(kind) }

// Write codes more bytes of the text.
func (w *TextWriter) Write(b []byte) {
	for _, x := range b {
		w.m.code(&w.rc, x)
	}
}

// Len is the number of bytes of code so far, to within a few.
func (w *TextWriter) Len() int { return w.rc.done() }

// Finish is the code. Nothing may be written after it.
func (w *TextWriter) Finish() []byte { return w.rc.finish(0) }

// TextReader decodes texts.
type TextReader struct {
	rc rangeCoder
	m  *textModel
}

// NewTextReader makes a reader of src, which a writer with the same p wrote.
func NewTextReader(p *TextPrior, src []byte) *TextReader {
	return &TextReader{rc: newDecoder(src), m: p.m.clone()}
}

// Begin starts a text as the writer did.
func (r *TextReader) Begin(kind byte) { r.m.begin(kind) }

// Byte decodes the next byte; an error, ErrCorrupt, says that the code is at its end.
func (r *TextReader) Byte() (byte, error) {
	b := r.m.code(&r.rc, 0)
	if r.rc.over() {
		return 0, corrupt("code of %d bytes ends early", len(r.rc.in))
	}
	return b, nil
}

// Len is the number of bytes of code read so far, to within a few.
func (r *TextReader) Len() int { return r.rc.done() }
