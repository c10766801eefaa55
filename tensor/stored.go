package tensor

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// stored is where the bytes of a tensor lie that [Stored] made.
type stored struct {
	src  io.ReaderAt
	off  int64
	once sync.Once
	data []byte
	err  atomic.Pointer[error]
}

// Stored makes a tensor whose bytes are those of src from off on. They are read, and
// kept, when Bytes or Of first asks for them; Part reads some and keeps nothing. src must
// stay as it is for as long as the tensor is in use. Where it cannot be read the bytes
// are zero, and Err says why: whoever computes with them asks Err before the results
// are given away. Where src has a method Err() error, Err asks it too: whether it has
// stayed as it was. Bools are not checked.
func Stored(t Type, src io.ReaderAt, off int64) (*Tensor, error) {
	if err := t.Shape.Check(); err != nil {
		return nil, err
	}
	if t.DType.Bits() == 0 {
		return nil, fmt.Errorf("stored: invalid element type")
	}
	return &Tensor{Type: t, stored: &stored{src: src, off: off}}, nil
}

// IsStored reports whether the tensor's bytes lie elsewhere until they are asked for.
func (t *Tensor) IsStored() bool { return t.stored != nil }

// Err is the first error in reading the bytes of a Stored tensor, or what its source
// says of itself; nil for others.
func (t *Tensor) Err() error {
	if t.stored == nil {
		return nil
	}
	if src, ok := t.stored.src.(interface{ Err() error }); ok {
		if err := src.Err(); err != nil {
			return err
		}
	}
	if err := t.stored.err.Load(); err != nil {
		return *err
	}
	return nil
}

// Part is the bytes from, from+1, ..., from+n-1 of the tensor: a view of them, or for a
// Stored tensor a copy in buf, which has room for n bytes.
func (t *Tensor) Part(buf []byte, from, n int) []byte {
	if t.stored == nil {
		return t.data[from : from+n : from+n]
	}
	buf = buf[:n:n]
	t.stored.read(buf, from)
	return buf
}

// read fills b from byte from of the tensor.
func (s *stored) read(b []byte, from int) {
	n, err := s.src.ReadAt(b, s.off+int64(from))
	if n == len(b) {
		return
	}
	clear(b[max(0, n):])
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	s.err.CompareAndSwap(nil, &err)
}

// all is the bytes of the tensor, read once.
func (s *stored) all(n int) []byte {
	s.once.Do(func() {
		s.data = AlignedBytes(n)
		s.read(s.data, 0)
	})
	return s.data
}
