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
// first whit release that reads it.
const Version = 1

// Chunk types. Types with the bit optional may be skipped by readers that do not
// know them; all others are critical.
const (
	chunkEnd     = 0x00
	chunkGraph   = 0x01
	chunkData    = 0x02
	chunkBlob    = 0x03
	chunkCard    = 0x04
	chunkArrays  = 0x05
	chunkNames   = 0x81
	chunkMeta    = 0x82
	chunkReceipt = 0x83
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

// summed is the size of payload from which a chunk has a checksum of its own. The
// file's checksum guards them all; small chunks would be mostly checksum.
const summed = 1 << 12

// footer is the size of what stands after a payload of size bytes.
func footer(size int) int {
	if size < summed {
		return 0
	}
	return 4
}

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
	if footer(size) > 0 {
		w.write(binary.LittleEndian.AppendUint32(nil, crc))
	}
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

// chunk is one that was read.
type chunk struct {
	typ     byte
	at      int64 // offset of the payload in the file
	payload []byte
}

// readChunks reads a whole file and checks every checksum. The payload of a chunk
// stands in memory at the file's offset modulo 64, so that what is aligned in the
// file is aligned in memory. Memory is at most the file's size, and 64 bytes a chunk.
func readChunks(r io.ReaderAt, size int64) ([]chunk, error) {
	if size > 1<<46 {
		return nil, corrupt("%d bytes", size)
	}
	head := make([]byte, min(size, int64(len(magic)+binary.MaxVarintLen64)))
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, err
	}
	if len(head) < len(magic) || string(head[:len(magic)]) != magic {
		return nil, corrupt("it does not begin like one")
	}
	v, n := binary.Uvarint(head[len(magic):])
	if n <= 0 || n > 1 && head[len(magic)+n-1] == 0 {
		return nil, corrupt("no version")
	}
	if v > Version {
		return nil, fmt.Errorf("%w: needs whit >= %d.%d", ErrVersion, v/1000, v%1000)
	}
	at := int64(len(magic) + n)
	total := crc32.Checksum(head[:at], castagnoli)
	var chunks []chunk
	for {
		h := make([]byte, min(size-at, 1+binary.MaxVarintLen64))
		if len(h) < 6 { // type, size, checksum
			return nil, corrupt("cut at byte %d", size)
		}
		if _, err := r.ReadAt(h, at); err != nil && err != io.EOF {
			return nil, err
		}
		typ := h[0]
		length, n := binary.Uvarint(h[1:])
		if n <= 0 || n > 1 && h[n] == 0 || length > uint64(size-at) {
			return nil, corrupt("chunk at byte %d: wrong size", at)
		}
		h = h[:1+n]
		body := at + int64(len(h))
		foot := footer(int(length))
		if typ == chunkEnd {
			foot = 4
		}
		if int64(length) > size-body-int64(foot) {
			return nil, corrupt("chunk at byte %d: %d bytes, the file ends before", at, length)
		}
		off := int(body % tensor.Align)
		buf := tensor.AlignedBytes(off + int(length) + foot)[off:]
		if _, err := r.ReadAt(buf, body); err != nil && err != io.EOF {
			return nil, err
		}
		payload := buf[:length:length]
		total = crc32.Update(total, castagnoli, h)
		next := body + int64(length) + int64(foot)
		if typ == chunkEnd {
			if length != 0 || binary.LittleEndian.Uint32(buf) != total {
				return nil, corrupt("wrong checksum of the file")
			}
			if next != size {
				return nil, corrupt("%d bytes after the end", size-next)
			}
			return chunks, nil
		}
		if foot > 0 && binary.LittleEndian.Uint32(buf[length:]) != crc32.Update(crc32.Checksum(h, castagnoli), castagnoli, payload) {
			return nil, corrupt("chunk at byte %d: wrong checksum", at)
		}
		total = crc32.Update(total, castagnoli, buf)
		switch typ {
		case chunkGraph, chunkData, chunkBlob, chunkCard, chunkArrays, chunkNames, chunkMeta, chunkReceipt:
			chunks = append(chunks, chunk{typ, body, payload})
		default:
			if typ&optional == 0 {
				return nil, corrupt("chunk at byte %d: unknown critical type %#x", at, typ)
			}
		}
		at = next
	}
}
