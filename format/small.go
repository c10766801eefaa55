package format

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"sync"

	"whit/entropy"
)

// The small form: a file whose constants are one group, without chunks, alignment and
// checksums but one. Its texts (the graph among them) are coded together by a model
// that knows samples of all kinds, see [entropy.TextWriter]; a text like a sample takes
// a few bytes. docs/format.md, "Small form", is its specification.

// maxSmallText bounds the texts of a small file, in bytes.
const maxSmallText = 1 << 16

// smallTexts are the kinds of text in their order, each with its chunk's type. An
// absent text is a zero, any other the size plus one and its bytes.
var smallTexts = map[byte][]byte{
	smallModel:  {chunkGraph, chunkNames, chunkCard, chunkMeta, chunkReceipt},
	smallArrays: {chunkArrays},
}

// prior is what the texts' coder knows; it is learned once.
var prior = sync.OnceValue(func() *entropy.TextPrior { return priorOf(samples) })

// priorOf learns texts; "" is an absent one.
func priorOf(texts []entropy.TextSample) *entropy.TextPrior {
	all := make([]entropy.TextSample, len(texts))
	for i, s := range texts {
		all[i] = entropy.TextSample{Kind: s.Kind, Text: string(smallText([]byte(s.Text), s.Text == ""))}
	}
	return entropy.NewTextPrior(all)
}

// smallText is a text as it is coded.
func smallText(text []byte, absent bool) []byte {
	if absent {
		return []byte{0}
	}
	return append(binary.AppendUvarint(nil, uint64(len(text))+1), text...)
}

// textKind is the kind of a chunk's text in the samples.
func textKind(typ byte) byte {
	switch typ {
	case chunkGraph:
		return 0
	case chunkNames:
		return 1
	case chunkCard:
		return 2
	case chunkMeta:
		return 3
	case chunkReceipt:
		return 4
	}
	return 5
}

// writeSmall writes a file in the small form; texts are those of smallTexts[typ], nil:
// absent. It sets size of each text, which may be nil, and returns the file's size.
// false: it does not suit.
func writeSmall(w io.Writer, typ byte, texts [][]byte, sizes []*int64, data []byte) (int64, bool, error) {
	total := 0
	for _, t := range texts {
		total += len(t)
	}
	if total > maxSmallText {
		return 0, false, nil
	}
	tw := entropy.NewTextWriter(prior())
	at := 0
	for i, k := range smallTexts[typ] {
		tw.Begin(textKind(k))
		tw.Write(smallText(texts[i], texts[i] == nil))
		*sizes[i] = int64(tw.Len() - at)
		at = tw.Len()
	}
	head := tw.Finish()
	*sizes[len(sizes)-1] += int64(len(head) - at) // what the coder held back or dropped
	out := binary.AppendUvarint([]byte(magic), Version)
	out = append(out, typ)
	out = binary.AppendUvarint(out, uint64(len(head)))
	out = append(append(out, head...), data...)
	out = binary.LittleEndian.AppendUint32(out, crc32.Checksum(out, castagnoli))
	_, err := w.Write(out)
	return int64(len(out)), true, err
}

// readSmall reads a file in the small form and makes its chunks.
func (c *container) readSmall(typ byte) error {
	b := make([]byte, c.size)
	if err := readAt(c.r, b, 0); err != nil {
		return err
	}
	if len(b) < int(c.begin)+2+sumSize {
		return corrupt("cut at byte %d", c.size)
	}
	end := len(b) - sumSize
	if binary.LittleEndian.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli) {
		return corrupt("wrong checksum of the file")
	}
	r := rbuf{b: b[c.begin+1 : end]}
	head := r.take(r.count(1))
	if r.err != nil {
		return r.err
	}
	tr := entropy.NewTextReader(prior(), head)
	left, at := maxSmallText, 0
	for _, k := range smallTexts[typ] {
		tr.Begin(textKind(k))
		text, err := readText(tr, &left)
		if err != nil {
			return err
		}
		if text == nil {
			at = tr.Len()
			continue
		}
		c.chunks = append(c.chunks, chunk{typ: k, n: int64(tr.Len() - at), payload: text, small: true})
		at = tr.Len()
	}
	if n := len(c.chunks); n > 0 {
		c.chunks[n-1].n += int64(len(head) - at)
	}
	if len(r.b) > 0 {
		at := int64(end - len(r.b))
		c.chunks = append(c.chunks, chunk{typ: chunkData, head: at, at: at, n: int64(len(r.b)), payload: r.b, small: true})
	}
	return nil
}

// readText reads a text, nil where it is absent, and takes its size from left.
func readText(tr *entropy.TextReader, left *int) ([]byte, error) {
	n := 0
	for shift := 0; ; shift += 7 {
		x, err := tr.Byte()
		if err != nil {
			return nil, corrupt("%v", err)
		}
		n |= int(x&127) << shift
		if n > *left+1 || x == 0 && shift > 0 || x > 127 && shift > 21 {
			return nil, corrupt("size of a text")
		}
		if x < 128 {
			break
		}
	}
	if n == 0 {
		return nil, nil
	}
	n--
	*left -= n
	text := make([]byte, 0, min(n, 1<<10))
	for range n {
		x, err := tr.Byte()
		if err != nil {
			return nil, corrupt("%v", err)
		}
		text = append(text, x)
	}
	return text, nil
}
