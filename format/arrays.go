package format

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"whit/graph"
	"whit/internal/safefile"
	"whit/tensor"
)

// Level is how hard arrays are coded.
type Level uint8

// The levels.
const (
	Small     Level = iota // context mixing
	FastLevel              // interleaved rANS, Huffman codes where it does not suit
)

// ParseLevel reads "small" (also "") or "fast".
func ParseLevel(s string) (Level, error) {
	switch s {
	case "", "small":
		return Small, nil
	case "fast":
		return FastLevel, nil
	}
	return 0, fmt.Errorf("level %q: want small or fast", s)
}

// ArrayOptions are how arrays are coded. The zero value is the smallest file.
type ArrayOptions struct {
	Level   Level
	Threads int // as Options.Threads
}

// EncodeArrays writes arrays of bools, integers and floats without loss: names,
// shapes and types are kept. The symbols of a 2-D array's rows, or of [O,I,H,W], are
// taken as weights of output units, and 0 as their most frequent value.
func EncodeArrays(w io.Writer, arrays []tensor.Named, o ArrayOptions) (Sizes, error) {
	var s Sizes
	var head wbuf
	head.uint(uint64(len(arrays)))
	items := make([]*item, len(arrays))
	for i, a := range arrays {
		it, err := describe(nil, a.T, graph.Const, false)
		if err != nil {
			return s, fmt.Errorf("array %q: %w", a.Name, err)
		}
		it.name = a.Name
		head.str(a.Name)
		it.d.write(&head, nil)
		items[i] = it
	}
	coders := smallCoders
	if o.Level == FastLevel {
		coders = fastCoders
	}
	gs := groups(items)
	payloads := make([][]byte, len(gs))
	all := newWorkers(o.Threads)
	err := parallel(len(gs), cap(all), func(i int) (err error) {
		payloads[i], err = encodeGroup(gs[i], coders, o.Level == FastLevel, all)
		return err
	})
	if err != nil {
		return s, err
	}
	for _, it := range items {
		s.Weights = append(s.Weights, it.size())
	}
	if len(gs) <= 1 {
		data := slices.Concat(payloads...)
		if n, ok, err := writeSmall(w, smallArrays, [][]byte{head.b}, []*int64{&s.Graph}, data); ok {
			s.File, s.Data, s.Container = n, int64(len(data)), n-int64(len(data))-s.Graph
			return s, err
		}
	}
	cw := &chunkWriter{w: w}
	cw.start()
	s.Container = cw.n
	s.Graph = cw.chunk(chunkArrays, packText(head.b))
	for i, p := range payloads {
		s.Data += cw.chunk(chunkData, countText(len(gs[i])), p)
	}
	before := cw.n
	err = cw.end()
	s.Container += cw.n - before
	s.File = cw.n
	return s, err
}

// DecodeArrays is the inverse of EncodeArrays; r holds size bytes. At most one
// ReadOptions is heeded. Errors are as Read's.
func DecodeArrays(r io.ReaderAt, size int64, o ...ReadOptions) ([]tensor.Named, error) {
	opt := readOptions(o)
	file, err := readChunks(r, size)
	if err != nil {
		return nil, err
	}
	arrays, places, gs, err := readArrays(file)
	if err != nil {
		return nil, err
	}
	items, err := decodeAll(places, gs, opt)
	if err != nil {
		return nil, err
	}
	for i := range arrays {
		arrays[i].T = items[i].t
	}
	return arrays, nil
}

// readArrays reads what a file says of its arrays. Payloads of data need not be loaded.
func readArrays(file *container) (arrays []tensor.Named, places []place, gs []group, err error) {
	left := -1
	for _, c := range file.sections() {
		switch c.typ {
		case chunkArrays:
			if left >= 0 {
				return nil, nil, nil, corrupt("two lists of arrays")
			}
			text, err := c.text()
			if err != nil {
				return nil, nil, nil, err
			}
			b := rbuf{b: text}
			for range b.count(4) {
				arrays = append(arrays, tensor.Named{Name: b.str()})
				d := readDesc(&b, nil)
				if d.weight || d.kind != graph.Const || d.form == formProduct {
					b.fail("an array is a weight")
				}
				places = append(places, place{d: d})
			}
			if err := b.end("the list of arrays"); err != nil {
				return nil, nil, nil, err
			}
			left = len(places)
		case chunkData:
			if left < 0 {
				return nil, nil, nil, corrupt("data before the list of arrays")
			}
			next, err := file.dataChunk(c, places[len(places)-left:])
			if err != nil {
				return nil, nil, nil, err
			}
			left -= len(next.places)
			gs = append(gs, next)
		case chunkGraph:
			return nil, nil, nil, corrupt("it holds a model, not arrays")
		default:
			if c.typ&optional == 0 {
				return nil, nil, nil, corrupt("chunk of type %#x among arrays", c.typ)
			}
		}
	}
	if left != 0 {
		return nil, nil, nil, corrupt("%d arrays without data", max(left, 0))
	}
	return arrays, places, gs, nil
}

// EncodeNPZ codes an .npz file of size bytes (see EncodeArrays).
func EncodeNPZ(w io.Writer, r io.ReaderAt, size int64, o ArrayOptions) (Sizes, error) {
	arrays, err := tensor.ReadNPZ(r, size)
	if err != nil {
		return Sizes{}, err
	}
	return EncodeArrays(w, arrays, o)
}

// EncodeNPZFile codes an .npz file of size bytes to a file (see EncodeArrays), whole or not at all: into a temporary
// file in the same folder, which is decoded and compared before it takes the name.
func EncodeNPZFile(path string, r io.ReaderAt, size int64, o ArrayOptions) (Sizes, error) {
	var s Sizes
	arrays, err := tensor.ReadNPZ(r, size)
	if err != nil {
		return s, err
	}
	err = safefile.WriteChecked(path, func(w io.Writer) (err error) {
		s, err = EncodeArrays(w, arrays, o)
		return err
	}, func(tmp string) error {
		f, err := os.Open(tmp)
		if err != nil {
			return err
		}
		defer f.Close()
		back, err := DecodeArrays(f, s.File, ReadOptions{MaxBytes: math.MaxInt64, Threads: o.Threads})
		if err != nil {
			return err
		}
		return compareArrays(arrays, back)
	})
	return s, err
}

// DecodeNPZ writes the .npz file of the arrays in a coded file of size bytes.
func DecodeNPZ(w io.Writer, r io.ReaderAt, size int64, o ...ReadOptions) error {
	arrays, err := DecodeArrays(r, size, o...)
	if err != nil {
		return err
	}
	return tensor.WriteNPZ(w, arrays)
}
