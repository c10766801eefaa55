package onnx

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// window is how many bytes of a file are read at once for decoding, and jump how many
// beyond data that are passed over: another tensor's may follow soon.
const (
	window = 64 << 10
	jump   = 4 << 10
)

// source is the bytes of a model: in memory, or a file read through a window.
type source struct {
	mem   []byte // the whole, or the piece that this source is of, where it is in memory
	r     io.ReaderAt
	size  int64 // where the bytes end
	buf   []byte
	start int64 // offset of buf[0], or of mem[0]
	// stored: r stays as it is, large constants may be read from it later.
	stored bool
	room   *room
}

// room is where messages are made.
type room struct {
	words map[string]string
	kept  []byte // for copies of small messages
	nodes slab[nodeProto]
	attrs slab[attrProto]
	inits slab[tensorProto]
}

func (s *source) rooms() *room {
	if s.room == nil {
		s.room = &room{words: map[string]string{}}
	}
	return s.room
}

// slab makes some of a kind at a time, the more the more there are.
type slab[T any] struct {
	free []T
	made int
}

func (s *slab[T]) next() *T {
	if len(s.free) == 0 {
		s.made = min(64, max(8, 2*s.made))
		s.free = make([]T, s.made)
	}
	p := &s.free[0]
	s.free = s.free[1:]
	return p
}

// keep is the n bytes at pos as a source of their own, which stays as it is.
func (s *source) keep(pos int64, n int) (source, error) {
	b, err := s.view(pos, n)
	if err != nil {
		return source{}, err
	}
	// A tensor's numbers mostly come last: where the end is aligned they can stay there.
	r, whole := s.rooms(), (n+7)&^7
	if whole > len(r.kept) {
		r.kept = make([]byte, max(whole, jump))
	}
	copy(r.kept[whole-n:], b)
	b, r.kept = r.kept[whole-n:whole:whole], r.kept[whole:]
	return source{mem: b, start: pos, size: pos + int64(n)}, nil
}

// view is the n bytes at pos; they may change at the next call unless the source
// is in memory.
func (s *source) view(pos int64, n int) ([]byte, error) {
	if pos < 0 || n < 0 || int64(n) > s.size-pos {
		return nil, corrupt("%d bytes at offset %d, the file has %d", n, pos, s.size)
	}
	if s.mem != nil {
		b := s.mem[pos-s.start:]
		return b[:n:n], nil
	}
	if pos < s.start || pos+int64(n) > s.start+int64(len(s.buf)) {
		want := min(window, max(jump, 2*len(s.buf)))
		if pos > s.start+int64(len(s.buf)) {
			want = jump
		}
		m := int(min(int64(max(n, want)), s.size-pos))
		if cap(s.buf) < m {
			s.buf = make([]byte, m, max(m, window))
		}
		s.buf = s.buf[:m]
		s.start = pos
		if err := s.readAt(s.buf, pos); err != nil {
			s.buf = s.buf[:0]
			return nil, err
		}
	}
	off := pos - s.start
	return s.buf[off : off+int64(n) : off+int64(n)], nil
}

// readAt fills b from pos.
func (s *source) readAt(b []byte, pos int64) error {
	if s.mem != nil {
		copy(b, s.mem[pos-s.start:])
		return nil
	}
	n, err := s.r.ReadAt(b, pos)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return corrupt("the file ends at byte %d, it should have %d", pos+int64(n), s.size)
	}
	return fmt.Errorf("reading at byte %d: %w", pos, err)
}

// msg walks the fields of one message, the bytes pos to end of the source.
type msg struct {
	s        *source
	pos, end int64
	num      protowire.Number
	typ      protowire.Type
	err      error
}

// next goes to the next field. It reports false at the end or at an error. The
// value must then be taken by exactly one of the methods below.
func (m *msg) next() bool {
	if m.err != nil || m.pos >= m.end {
		return false
	}
	tag, ok := m.uvarint()
	if !ok {
		return false
	}
	m.num, m.typ = protowire.DecodeTag(tag)
	if m.num < protowire.MinValidNumber || tag>>3 > uint64(protowire.MaxValidNumber) {
		m.fail("field number %d", tag>>3)
		return false
	}
	return true
}

func (m *msg) fail(format string, args ...any) {
	if m.err == nil {
		m.err = corrupt("byte %d: %s", m.pos, fmt.Sprintf(format, args...))
	}
}

func (m *msg) uvarint() (uint64, bool) {
	// Most are of one byte that is at hand.
	b := m.s.buf
	if m.s.mem != nil {
		b = m.s.mem
	}
	if i := m.pos - m.s.start; m.pos < m.end && 0 <= i && i < int64(len(b)) && b[i] < 0x80 {
		m.pos++
		return uint64(b[i]), true
	}
	return m.longVarint()
}

func (m *msg) longVarint() (uint64, bool) {
	b, err := m.s.view(m.pos, int(min(10, m.end-m.pos)))
	if err != nil {
		m.err = err
		return 0, false
	}
	v, n := protowire.ConsumeVarint(b)
	if n < 0 {
		m.fail("%v", protowire.ParseError(n))
		return 0, false
	}
	m.pos += int64(n)
	return v, true
}

func (m *msg) want(t protowire.Type) bool {
	if m.err == nil && m.typ != t {
		m.fail("field %d has wire type %d, want %d", m.num, m.typ, t)
	}
	return m.err == nil
}

// varint takes an integer field.
func (m *msg) varint() int64 {
	if !m.want(protowire.VarintType) {
		return 0
	}
	v, _ := m.uvarint()
	return int64(v)
}

// float takes a float field.
func (m *msg) float() float32 {
	if !m.want(protowire.Fixed32Type) {
		return 0
	}
	return math.Float32frombits(uint32(m.fixed(4)))
}

func (m *msg) fixed(n int) uint64 {
	if m.end-m.pos < int64(n) {
		m.fail("%d bytes wanted, %d remain", n, m.end-m.pos)
		return 0
	}
	b, err := m.s.view(m.pos, n)
	if err != nil {
		m.err = err
		return 0
	}
	m.pos += int64(n)
	var v uint64
	for i, c := range b {
		v |= uint64(c) << (8 * i)
	}
	return v
}

// sub takes a length-delimited field as the range of its bytes.
func (m *msg) sub() msg {
	if !m.want(protowire.BytesType) {
		return msg{s: m.s}
	}
	n, ok := m.uvarint()
	if !ok {
		return msg{s: m.s}
	}
	if n > uint64(m.end-m.pos) {
		m.fail("field %d has %d bytes, %d remain", m.num, n, m.end-m.pos)
		return msg{s: m.s}
	}
	c := msg{s: m.s, pos: m.pos, end: m.pos + int64(n)}
	m.pos = c.end
	return c
}

// str takes a string field; the string does not alias the source.
func (m *msg) str() string { return string(m.text()) }

// text takes a string field where it lies, until something else is read; nil where it is empty.
func (m *msg) text() []byte {
	c := m.sub()
	if m.err != nil || c.end == c.pos {
		return nil
	}
	b, err := m.s.view(c.pos, int(c.end-c.pos))
	if err != nil {
		m.err = err
		return nil
	}
	return b
}

// word is str for a string of which a model has many.
func (m *msg) word() string {
	b := m.text()
	if len(b) == 0 {
		return ""
	}
	words := m.s.rooms().words
	s, ok := words[string(b)]
	if !ok {
		s = string(b)
		words[s] = s
	}
	return s
}

// take moves an error of a field's message up.
func (m *msg) take(c *msg) bool {
	if m.err == nil {
		m.err = c.err
	}
	return m.err == nil
}

// skip passes over the field.
func (m *msg) skip() {
	switch m.typ {
	case protowire.VarintType:
		m.uvarint()
	case protowire.Fixed32Type:
		m.fixed(4)
	case protowire.Fixed64Type:
		m.fixed(8)
	case protowire.BytesType:
		m.sub()
	default:
		m.fail("field %d has wire type %d", m.num, m.typ)
	}
}

// varints takes a repeated integer field, packed or one element, and calls f for each.
func (m *msg) varints(f func(int64) bool) {
	if m.typ == protowire.VarintType {
		if v := m.varint(); m.err == nil && !f(v) {
			m.fail("field %d has too many elements", m.num)
		}
		return
	}
	c := m.sub()
	for m.err == nil && c.pos < c.end {
		// Most are of one byte, and many are at hand.
		b := c.s.buf
		if c.s.mem != nil {
			b = c.s.mem
		}
		if i := c.pos - c.s.start; 0 <= i && i < int64(len(b)) {
			b = b[i:min(int64(len(b)), c.end-c.s.start)]
			n := 0
			for n < len(b) && b[n] < 0x80 && f(int64(b[n])) {
				n++
			}
			if c.pos += int64(n); c.pos == c.end {
				break
			}
		}
		v, ok := c.uvarint()
		if ok && !f(int64(v)) {
			c.fail("field %d has too many elements", m.num)
		}
		m.take(&c)
	}
}

// fixeds takes a repeated field of fixed-size elements of n bytes, packed or one
// element, and calls f with runs of whole elements.
func (m *msg) fixeds(n int, f func([]byte) bool) {
	c := msg{s: m.s, pos: m.pos}
	if n == 4 && m.typ == protowire.Fixed32Type || n == 8 && m.typ == protowire.Fixed64Type {
		if m.end-m.pos < int64(n) {
			m.fail("%d bytes wanted, %d remain", n, m.end-m.pos)
			return
		}
		m.pos += int64(n)
		c.end = m.pos
	} else {
		c = m.sub()
	}
	if m.err == nil && (c.end-c.pos)%int64(n) != 0 {
		m.fail("field %d: %d bytes are not a multiple of %d", m.num, c.end-c.pos, n)
	}
	for m.err == nil && c.pos < c.end {
		k := int(min(c.end-c.pos, window))
		b, err := m.s.view(c.pos, k)
		if err != nil {
			m.err = err
			return
		}
		c.pos += int64(k)
		if !f(b) {
			m.fail("field %d has too many elements", m.num)
		}
	}
}

// clean makes a name from a file fit for one line of an error message.
func clean(s string) string {
	if len(s) > 80 {
		s = s[:80] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}
