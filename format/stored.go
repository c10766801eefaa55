package format

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"

	"whit/graph"
	"whit/tensor"
)

// storedBytes is the size from which a raw data chunk may be left in its file.
const storedBytes = 64 << 10

// rawSource is the file, for the elements of a constant that has a raw data chunk of its own.
type rawSource struct {
	r    io.ReaderAt
	c    chunk
	read atomic.Bool
	once sync.Once
	err  error
}

func (s *rawSource) ReadAt(b []byte, at int64) (int, error) {
	s.read.Store(true)
	return s.r.ReadAt(b, at)
}

// Err is what tensor.Stored asks after reading, before anything comes of what was read: whether the
// file has stayed as it was and, once, whether the chunk has its checksum.
func (s *rawSource) Err() error {
	if f, ok := s.r.(interface{ Err() error }); ok {
		if err := f.Err(); err != nil {
			return err
		}
	}
	if !s.read.Load() {
		return nil
	}
	s.once.Do(func() { s.err = s.c.check(s.r) })
	return s.err
}

// check reads the chunk piece by piece and compares its checksum.
func (c *chunk) check(r io.ReaderAt) error {
	sum := crc32.Checksum(header(c.typ, int(c.n)), castagnoli)
	buf := make([]byte, min(c.n, 256<<10))
	for at := c.at; at < c.at+c.n; at += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), c.at+c.n-at)]
		if err := readAt(r, buf, at); err != nil {
			return err
		}
		sum = crc32.Update(sum, castagnoli, buf)
	}
	var want [sumSize]byte
	if err := readAt(r, want[:], c.at+c.n); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(want[:]) != sum {
		return corrupt("chunk at byte %d: wrong checksum", c.head)
	}
	return nil
}

// stored is the constant of a group whose chunk has not been loaded, as a tensor that stays in the
// file; nil where it must be loaded: only elements that nodes read as they are may stay.
func (g *group) stored(r io.ReaderAt) (*tensor.Tensor, error) {
	if len(g.places) != 1 {
		return nil, nil
	}
	p := g.places[0]
	if p.value == nil || p.value.Kind != graph.Const || p.d.form != formElements || p.d.weight || p.d.dtype == tensor.Bool {
		return nil, nil
	}
	// The number of constants, zeros up to a multiple of 64, and the elements.
	head := make([]byte, min(g.c.n, tensor.Align+binary.MaxVarintLen64))
	if err := readAt(r, head, g.c.at); err != nil {
		return nil, err
	}
	_, n := countOf(head)
	at := (g.c.at + int64(n) + tensor.Align - 1) &^ (tensor.Align - 1)
	typ := tensor.Type{DType: p.d.dtype, Shape: p.d.shape}
	switch more := g.c.at + g.c.n - at - int64(typ.NumBytes()); {
	case more < 0:
		return nil, corrupt("raw data end early")
	case more > 0:
		return nil, corrupt("%d bytes after raw data", more)
	}
	for _, x := range head[n : at-g.c.at] {
		if x != 0 {
			return nil, corrupt("padding is not zero")
		}
	}
	g.bytes = g.c.n - int64(n)
	return tensor.Stored(typ, &rawSource{r: r, c: g.c}, at)
}

// readStored is readAll without the raw data chunks that may stay in the file, and, where there are
// any, without the checksum of the whole file.
func (c *container) readStored(least int64) error {
	later := func(k *chunk) bool { return k.typ == chunkBlob && k.n >= least }
	some := false
	for i := range c.chunks {
		some = some || later(&c.chunks[i])
	}
	if c.small || !some {
		return c.readAll()
	}
	for i := range c.chunks {
		k := &c.chunks[i]
		if later(k) || k.typ == chunkEnd {
			continue
		}
		if _, err := k.load(c.r, 0); err != nil {
			return err
		}
		if !isSection(k.typ) {
			k.payload = nil
		}
	}
	return nil
}

// loadStored loads the chunks that readStored has left, but for those whose constant stays in the file.
func (c *container) loadStored(gs []group) error {
	for i := range gs {
		g := &gs[i]
		if c.small || g.c.typ != chunkBlob || g.c.payload != nil {
			continue
		}
		var err error
		if g.t, err = g.stored(c.r); err != nil {
			return err
		}
		if g.t != nil {
			continue
		}
		if _, err := g.c.load(c.r, 0); err != nil {
			return err
		}
		if *g, err = c.dataChunk(g.c, g.places); err != nil {
			return err
		}
	}
	return nil
}
