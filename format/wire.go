package format

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"whit/tensor"
)

// ErrCorrupt is the root of errors about bytes that are not a whole .whit file.
var ErrCorrupt = errors.New("corrupt .whit file")

// ErrTooLarge is the root of errors about files that stand for more bytes than the caller allows.
var ErrTooLarge = errors.New("file stands for too many bytes")

// ErrVersion is the root of errors about files that need another whit.
var ErrVersion = errors.New("another version of the format")

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// wbuf appends the primitive fields.
type wbuf struct{ b []byte }

func (w *wbuf) byte(x byte)     { w.b = append(w.b, x) }
func (w *wbuf) uint(x uint64)   { w.b = binary.AppendUvarint(w.b, x) }
func (w *wbuf) int(x int64)     { w.uint(uint64(x)<<1 ^ uint64(x>>63)) }
func (w *wbuf) str(s string)    { w.uint(uint64(len(s))); w.b = append(w.b, s...) }
func (w *wbuf) float(f float32) { w.b = binary.LittleEndian.AppendUint32(w.b, math.Float32bits(f)) }

func (w *wbuf) shape(s tensor.Shape) {
	w.uint(uint64(len(s)))
	for _, d := range s {
		w.uint(uint64(d))
	}
}

// rbuf reads them. The first error stays and everything read after it is zero.
type rbuf struct {
	b   []byte
	err error
}

func (r *rbuf) fail(format string, args ...any) {
	if r.err == nil {
		r.err = corrupt(format, args...)
	}
	r.b = nil
}

func (r *rbuf) byte() byte {
	if len(r.b) == 0 {
		r.fail("a part ends early")
		return 0
	}
	x := r.b[0]
	r.b = r.b[1:]
	return x
}

// uint reads a varint of at most 10 bytes in its shortest form.
func (r *rbuf) uint() uint64 {
	x, n := binary.Uvarint(r.b)
	if n <= 0 || n > 1 && r.b[n-1] == 0 {
		r.fail("number is cut or not in its shortest form")
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *rbuf) int() int64 {
	u := r.uint()
	return int64(u>>1) ^ -int64(u&1)
}

// count reads how many things follow that take at least size bytes each.
func (r *rbuf) count(size int) int {
	n := r.uint()
	if n > uint64(len(r.b)/size) {
		r.fail("%d entries in %d bytes", n, len(r.b))
		return 0
	}
	return int(n)
}

// below reads a number smaller than limit.
func (r *rbuf) below(limit uint64, what string) int {
	n := r.uint()
	if r.err == nil && n >= limit {
		r.fail("%s %d, want less than %d", what, n, limit)
		return 0
	}
	return int(n)
}

func (r *rbuf) bytes() []byte { return r.take(r.count(1)) }

// take reads n bytes.
func (r *rbuf) take(n int) []byte {
	if n > len(r.b) {
		r.fail("a part ends early")
		return nil
	}
	x := r.b[:n:n]
	r.b = r.b[n:]
	return x
}

// codes takes n codes, which stand behind the sizes of all of them.
func (r *rbuf) codes(n int) [][]byte {
	codes, sizes := make([][]byte, n), make([]int, n)
	for i := range sizes {
		sizes[i] = r.below(uint64(len(r.b))+1, "size of a code")
	}
	for i, n := range sizes {
		codes[i] = r.take(n)
	}
	return codes
}

func (r *rbuf) str() string { return string(r.bytes()) }

func (r *rbuf) float() float32 {
	if len(r.b) < 4 {
		r.fail("a part ends early")
		return 0
	}
	x := math.Float32frombits(binary.LittleEndian.Uint32(r.b))
	r.b = r.b[4:]
	return x
}

func (r *rbuf) shape() tensor.Shape {
	n := r.count(1)
	if n > tensor.MaxRank {
		r.fail("rank %d", n)
		return nil
	}
	s := make(tensor.Shape, n)
	for i := range s {
		s[i] = r.below(1<<62, "dimension")
	}
	return r.checkShape(s)
}

// checkShape is s, or nil and an error where it is no constant's.
func (r *rbuf) checkShape(s tensor.Shape) tensor.Shape {
	if r.err == nil {
		if err := s.Check(); err != nil {
			r.fail("%v", err)
		} else if s.NumElements() > maxElements {
			r.fail("%v elements", s)
		}
	}
	if r.err != nil {
		return nil
	}
	return s
}

// maxElements bounds a constant, so that sizes in bits do not overflow.
const maxElements = 1 << 48

// end checks that everything was read.
func (r *rbuf) end(what string) error {
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes after the end of %s", len(r.b), what)
	}
	return r.err
}
