package format

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"whit/tensor"
)

// The container. docs/format.md is its specification.

// magic begins every file; its first byte is no text.
const magic = "\x89wht"

// Version is what this package reads and writes: 1000 x major + minor of the
// first whit release that reads it. Versions 1 and 2 were never released.
const Version = 3

// Chunk types. Types with the bit optional may be skipped by readers that do not
// know them; all others are critical.
const (
	chunkEnd     = 0x00
	chunkGraph   = 0x01
	chunkData    = 0x02
	chunkBlob    = 0x03
	chunkCard    = 0x04
	chunkArrays  = 0x05
	smallModel   = 0x06 // no chunk: the file is in the small form, see small.go
	smallArrays  = 0x07
	chunkNames   = 0x81
	chunkMeta    = 0x82
	chunkReceipt = 0x83
	chunkChoices = 0x84
	optional     = 0x80
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chunkWriter writes the file and keeps its size and checksum.
type chunkWriter struct {
	w   io.Writer
	n   int64
	crc uint32 // of the whole file so far
	err error
}

func (w *chunkWriter) write(b []byte) {
	if w.err == nil {
		_, w.err = w.w.Write(b)
	}
	w.n += int64(len(b))
	w.crc = crc32.Update(w.crc, castagnoli, b)
}

// sumSize is the size of a checksum.
const sumSize = 4

// header is what stands before a chunk's payload.
func header(typ byte, size int) []byte {
	return binary.AppendUvarint([]byte{typ}, uint64(size))
}

// chunk writes a chunk whose payload is the concatenation of parts, and returns its size in the file.
func (w *chunkWriter) chunk(typ byte, parts ...[]byte) int64 {
	at, size := w.n, 0
	for _, p := range parts {
		size += len(p)
	}
	h := header(typ, size)
	crc := crc32.Checksum(h, castagnoli)
	w.write(h)
	for _, p := range parts {
		crc = crc32.Update(crc, castagnoli, p)
		w.write(p)
	}
	w.write(binary.LittleEndian.AppendUint32(nil, crc))
	return w.n - at
}

// start writes the file's first bytes.
func (w *chunkWriter) start() { w.write(binary.AppendUvarint([]byte(magic), Version)) }

// end writes the last chunk: it has no payload, and its checksum is that of the
// whole file before the checksum itself.
func (w *chunkWriter) end() error {
	w.write(header(chunkEnd, 0))
	w.write(binary.LittleEndian.AppendUint32(nil, w.crc))
	return w.err
}

// chunk is one of a file that is read.
type chunk struct {
	typ     byte
	head    int64 // offset in the file of its type
	at      int64 // and of its payload
	n       int64 // bytes of payload
	payload []byte
	small   bool // of a file in the small form: texts are plain, data those of all constants
}

func (c *chunk) end() int64 {
	if c.small {
		return c.at + c.n
	}
	return c.at + c.n + sumSize
}
func (c *chunk) size() int64 { return c.end() - c.head }

// text is the payload of a chunk of text.
func (c *chunk) text() ([]byte, error) {
	if c.small {
		return c.payload, nil
	}
	return unpackText(c.payload)
}

// load reads the payload, checks the checksum and returns that of the whole file so
// far, which begins with total. The payload stands in memory at the file's offset
// modulo 64, so that what is aligned in the file is aligned in memory.
func (c *chunk) load(r io.ReaderAt, total uint32) (uint32, error) {
	off := c.at % tensor.Align
	buf := tensor.AlignedBytes(int(off + c.n + sumSize))[off:]
	if err := readAt(r, buf, c.at); err != nil {
		return 0, err
	}
	c.payload = buf[:c.n:c.n]
	h := header(c.typ, int(c.n))
	if c.typ != chunkEnd && binary.LittleEndian.Uint32(buf[c.n:]) != crc32.Update(crc32.Checksum(h, castagnoli), castagnoli, c.payload) {
		return 0, corrupt("chunk at byte %d: wrong checksum", c.head)
	}
	total = crc32.Update(total, castagnoli, h)
	if c.typ == chunkEnd {
		if binary.LittleEndian.Uint32(buf) != total {
			return 0, corrupt("wrong checksum of the file")
		}
		return total, nil
	}
	return crc32.Update(total, castagnoli, buf), nil
}

// peek loads the payload without its checksum.
func (c *chunk) peek(r io.ReaderAt) error {
	if c.payload != nil {
		return nil
	}
	c.payload = make([]byte, c.n)
	return readAt(r, c.payload, c.at)
}

// readAt fills b.
func readAt(r io.ReaderAt, b []byte, at int64) error {
	if n, err := r.ReadAt(b, at); n < len(b) {
		if err == nil || err == io.EOF {
			return corrupt("cut at byte %d", at+int64(n))
		}
		return err
	}
	return nil
}

// maxChunks bounds what a file of empty chunks takes in memory.
const maxChunks = 1 << 20

// container is a file of which nothing but its chunks' headers need have been read.
type container struct {
	r      io.ReaderAt
	size   int64
	begin  int64 // bytes before the first chunk
	small  bool  // in the small form: everything has been read and checked
	chunks []chunk
}

// openContainer finds the chunks. A file in the small form is read whole.
func openContainer(r io.ReaderAt, size int64) (*container, error) {
	if size < 0 || size > 1<<46 {
		return nil, corrupt("%d bytes", size)
	}
	head := make([]byte, min(size, int64(len(magic)+binary.MaxVarintLen64+1)))
	if err := readAt(r, head, 0); err != nil {
		return nil, err
	}
	if len(head) < len(magic) || string(head[:len(magic)]) != magic {
		return nil, corrupt("it does not begin like one")
	}
	v, n := binary.Uvarint(head[len(magic):])
	if n <= 0 || n > 1 && head[len(magic)+n-1] == 0 || v == 0 {
		return nil, corrupt("no version")
	}
	if v > Version {
		return nil, fmt.Errorf("%w: needs whit >= %d.%d", ErrVersion, v/1000, v%1000)
	}
	if v < Version {
		return nil, fmt.Errorf("%w: written before the first release; compress or convert the model again", ErrVersion)
	}
	c := &container{r: r, size: size, begin: int64(len(magic) + n)}
	if k := len(magic) + n; k < len(head) && (head[k] == smallModel || head[k] == smallArrays) {
		c.small = true
		return c, c.readSmall(head[k])
	}
	if k := len(magic) + n; k < len(head) && head[k] == fileDelta {
		return nil, corrupt("it is a delta; 'whit decode --base' restores the file")
	}
	for at := c.begin; ; {
		h := make([]byte, min(size-at, 1+binary.MaxVarintLen64))
		if len(h) < 2+sumSize {
			return nil, corrupt("cut at byte %d", size)
		}
		if err := readAt(r, h, at); err != nil {
			return nil, err
		}
		length, n := binary.Uvarint(h[1:])
		if n <= 0 || n > 1 && h[n] == 0 || length > uint64(size-at) {
			return nil, corrupt("chunk at byte %d: wrong size", at)
		}
		k := chunk{typ: h[0], head: at, at: at + int64(1+n), n: int64(length)}
		if k.end() > size {
			return nil, corrupt("chunk at byte %d: %d bytes, the file ends before", at, length)
		}
		if len(c.chunks) == maxChunks {
			return nil, corrupt("more than %d chunks", maxChunks)
		}
		c.chunks = append(c.chunks, k)
		at = k.end()
		switch {
		case k.typ == chunkEnd:
			if k.n != 0 {
				return nil, corrupt("an end of %d bytes", k.n)
			}
			if at != size {
				return nil, corrupt("%d bytes after the end", size-at)
			}
			return c, nil
		case !isSection(k.typ) && k.typ&optional == 0:
			return nil, corrupt("chunk at byte %d: unknown critical type %#x", k.head, k.typ)
		}
	}
}

// readAll reads all chunks and checks every checksum. Memory is at most the file's
// size, and some 100 bytes a chunk.
func (c *container) readAll() error {
	if c.small {
		return nil
	}
	head := make([]byte, c.begin)
	if err := readAt(c.r, head, 0); err != nil {
		return err
	}
	total := crc32.Checksum(head, castagnoli)
	for i := range c.chunks {
		var err error
		k := &c.chunks[i]
		if total, err = k.load(c.r, total); err != nil {
			return err
		}
		if !isSection(k.typ) {
			k.payload = nil
		}
	}
	return nil
}

// sections are the chunks that say something: not the end, nor what is not known.
func (c *container) sections() []chunk {
	var s []chunk
	for _, k := range c.chunks {
		if isSection(k.typ) {
			s = append(s, k)
		}
	}
	return s
}

// isSection reports whether chunks of a type say something to this reader.
func isSection(typ byte) bool {
	switch typ {
	case chunkGraph, chunkData, chunkBlob, chunkCard, chunkArrays, chunkNames, chunkMeta, chunkReceipt, chunkChoices:
		return true
	}
	return false
}

func readChunks(r io.ReaderAt, size int64) (*container, error) {
	c, err := openContainer(r, size)
	if err != nil {
		return nil, err
	}
	return c, c.readAll()
}
