package torch

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"whit/tensor"
)

var (
	// ErrCorrupt means that the file is damaged or is no state dict.
	ErrCorrupt = errors.New("corrupt state dict")
	// ErrRefused means that the pickle asks for what it may not have.
	ErrRefused = errors.New("refused")
)

// Limits of a state dict.
const (
	maxTensors = 1 << 16
	maxDepth   = 16      // of dicts in dicts
	maxVisits  = 1 << 20 // of entries, shared dicts counted every time
	maxShare   = 8       // times the file's size: what the tensors may take together
)

// The first pickle of a file before 1.6: the number 0x1950a86a20f9469cfc6c.
const magic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."

// Read reads all tensors of the state dict r of size bytes in the dict's order. Names
// of nested dicts are joined by dots; what is not a tensor is left out.
func Read(r io.ReaderAt, size int64) ([]tensor.Named, error) {
	var head [len(magic)]byte
	n, err := r.ReadAt(head[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	f := &file{r: r, size: size, m: machine{storages: map[string]*storage{}}}
	var root any
	switch {
	case string(head[:n]) == magic:
		root, err = f.legacy()
	case strings.HasPrefix(string(head[:n]), "PK\x03\x04"):
		root, err = f.zip()
	default:
		err = fmt.Errorf("%w: not a file of torch.save", ErrCorrupt)
	}
	if err != nil {
		return nil, err
	}
	d, ok := root.(*dict)
	if !ok {
		return nil, fmt.Errorf("%w: it holds no dict", ErrCorrupt)
	}
	f.seen = map[string]bool{}
	if err := f.walk(d, "", 0); err != nil {
		return nil, err
	}
	return f.out, nil
}

type file struct {
	r      io.ReaderAt
	size   int64
	m      machine
	out    []tensor.Named
	seen   map[string]bool
	visits int
	bytes  int64 // of all tensors so far
}

// legacy reads magic, protocol, properties of the writer, the dict, the keys of the
// storages, and then the storages: an int64 count and the elements.
func (f *file) legacy() (any, error) {
	at := int64(len(magic))
	next := func() (any, error) {
		f.m.r, f.m.left, f.m.read = bufio.NewReader(io.NewSectionReader(f.r, at, f.size-at)), f.size-at, 0
		v, err := f.m.run()
		at += f.m.read
		return v, err
	}
	if v, err := next(); err != nil {
		return nil, err
	} else if v != int64(1001) {
		return nil, fmt.Errorf("%w: protocol version %v, want 1001", ErrCorrupt, v)
	}
	v, err := next()
	if err != nil {
		return nil, err
	}
	if d, ok := v.(*dict); !ok || d.at["little_endian"] != true {
		return nil, fmt.Errorf("%w: not written on a little-endian machine", ErrRefused)
	}
	root, err := next()
	if err != nil {
		return nil, err
	}
	if v, err = next(); err != nil {
		return nil, err
	}
	keys, ok := v.(*list)
	if !ok {
		return nil, fmt.Errorf("%w: no list of storages", ErrCorrupt)
	}
	for _, k := range keys.items {
		key, _ := k.(string)
		s := f.m.storages[key]
		if s == nil || s.off >= 0 {
			return nil, fmt.Errorf("%w: storage %q is not used, or there twice", ErrCorrupt, clip(key))
		}
		var b [8]byte
		if _, err := f.r.ReadAt(b[:], at); err != nil {
			return nil, fmt.Errorf("%w: the file ends in front of storage %q", ErrCorrupt, clip(key))
		}
		var n int64
		for i, x := range b {
			n |= int64(x) << (8 * i)
		}
		at += 8
		if n != s.n {
			return nil, fmt.Errorf("%w: storage %q has %d elements, want %d", ErrCorrupt, clip(key), n, s.n)
		}
		if err := f.place(s, at, f.size-at); err != nil {
			return nil, err
		}
		at += n * int64(s.dtype.Bits()/8)
	}
	return root, nil
}

// place notes where a storage is; room is how many bytes there are.
func (f *file) place(s *storage, at, room int64) error {
	if s.n > room/int64(s.dtype.Bits()/8) {
		return fmt.Errorf("%w: storage %q has %d elements of %v, but %d bytes are there", ErrCorrupt, clip(s.key), s.n, s.dtype, room)
	}
	s.off = at
	return nil
}

// zip reads NAME/data.pkl and finds the storages NAME/data/KEY, which are not compressed.
func (f *file) zip() (any, error) {
	z, err := zip.NewReader(f.r, f.size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	entries, root := map[string]*zip.File{}, ""
	for _, e := range z.File {
		if entries[e.Name] != nil {
			return nil, fmt.Errorf("%w: %q twice", ErrCorrupt, clip(e.Name))
		}
		entries[e.Name] = e
		if path.Base(e.Name) == "data.pkl" && strings.Count(e.Name, "/") == 1 {
			root = path.Dir(e.Name)
		}
	}
	// where is an entry's bytes in the file.
	where := func(name string) (at, n int64, err error) {
		e := entries[name]
		if e == nil {
			return 0, 0, fmt.Errorf("%w: the zip has no %q", ErrCorrupt, clip(name))
		}
		if at, err = e.DataOffset(); err != nil {
			return 0, 0, fmt.Errorf("%w: %q: %w", ErrCorrupt, clip(name), err)
		}
		if e.Method != zip.Store || e.UncompressedSize64 != e.CompressedSize64 {
			return 0, 0, fmt.Errorf("%w: %q is compressed", ErrRefused, clip(name))
		}
		if at < 0 || at > f.size || e.UncompressedSize64 > uint64(f.size-at) {
			return 0, 0, fmt.Errorf("%w: %q is larger than the file", ErrCorrupt, clip(name))
		}
		return at, int64(e.UncompressedSize64), nil
	}
	if at, n, err := where(root + "/byteorder"); err == nil {
		b := make([]byte, min(n, 16))
		if _, err := f.r.ReadAt(b, at); err != nil || string(b) != "little" {
			return nil, fmt.Errorf("%w: not written on a little-endian machine", ErrRefused)
		}
	}
	at, n, err := where(root + "/data.pkl")
	if err != nil {
		return nil, err
	}
	f.m.r, f.m.left = bufio.NewReader(io.NewSectionReader(f.r, at, n)), n
	v, err := f.m.run()
	if err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(f.m.storages)) {
		s := f.m.storages[key]
		at, n, err := where(root + "/data/" + s.key)
		if err != nil {
			return nil, err
		}
		if err := f.place(s, at, n); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// walk reads the tensors of d.
func (f *file) walk(d *dict, prefix string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: dicts nest deeper than %d", ErrCorrupt, maxDepth)
	}
	for _, k := range d.keys {
		if f.visits++; f.visits > maxVisits {
			return fmt.Errorf("%w: more than %d entries", ErrCorrupt, maxVisits)
		}
		var name string
		switch k := k.(type) {
		case string:
			name = prefix + k
		case int64:
			name = prefix + strconv.FormatInt(k, 10)
		default:
			continue
		}
		if len(name) > maxText {
			return fmt.Errorf("%w: a name of %d bytes", ErrCorrupt, len(name))
		}
		switch v := d.at[k].(type) {
		case *dict:
			if err := f.walk(v, name+".", depth+1); err != nil {
				return err
			}
		case *view:
			if f.seen[name] || len(f.out) >= maxTensors {
				return fmt.Errorf("%w: tensor %q twice, or more than %d tensors", ErrCorrupt, clip(name), maxTensors)
			}
			f.seen[name] = true
			t, err := f.tensor(v)
			if err != nil {
				return fmt.Errorf("tensor %q: %w", clip(name), err)
			}
			f.out = append(f.out, tensor.Named{Name: name, T: t})
		}
	}
	return nil
}

// tensor reads the data of v.
func (f *file) tensor(v *view) (*tensor.Tensor, error) {
	if v.of.off < 0 {
		return nil, fmt.Errorf("%w: storage %q is not there", ErrCorrupt, clip(v.of.key))
	}
	shape := make(tensor.Shape, len(v.shape))
	for i, n := range v.shape {
		if n < 0 || n > math.MaxInt32 {
			return nil, fmt.Errorf("%w: size %v", ErrCorrupt, v.shape)
		}
		shape[i] = int(n)
	}
	if err := shape.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	n := int64(shape.NumElements())
	if n > v.of.n {
		return nil, fmt.Errorf("%w: %d elements of a storage of %d", ErrCorrupt, n, v.of.n)
	}
	if n == 0 {
		return tensor.New(v.of.dtype, shape...), nil
	}
	// Every element is within the storage; the factors are checked before they are
	// multiplied.
	last, dense, want := v.at, true, int64(1)
	for i := len(shape) - 1; i >= 0; i-- {
		s := v.stride[i]
		if s < 0 || s > v.of.n {
			return nil, fmt.Errorf("%w: stride %v of a storage of %d elements", ErrCorrupt, v.stride, v.of.n)
		}
		if shape[i] > 1 {
			if s > 0 && int64(shape[i]-1) > v.of.n/s {
				return nil, fmt.Errorf("%w: size %v, stride %v leave a storage of %d elements", ErrCorrupt, v.shape, v.stride, v.of.n)
			}
			last += int64(shape[i]-1) * s
			dense = dense && s == want
		}
		want *= int64(shape[i])
	}
	if v.at < 0 || v.at > v.of.n || last >= v.of.n {
		return nil, fmt.Errorf("%w: offset %d, size %v, stride %v leave a storage of %d elements", ErrCorrupt, v.at, v.shape, v.stride, v.of.n)
	}
	size := int64(v.of.dtype.Bits() / 8)
	if f.bytes += n * size; f.bytes > maxShare*f.size {
		return nil, fmt.Errorf("%w: the tensors share storages more than %d times", ErrCorrupt, maxShare)
	}
	t := tensor.New(v.of.dtype, shape...)
	b := t.Bytes()
	if dense {
		if err := f.readAt(b, v.of.off+v.at*size); err != nil {
			return nil, err
		}
	} else if err := f.gather(b, v, last, size); err != nil {
		return nil, err
	}
	if t.DType == tensor.Bool {
		for i, x := range b {
			b[i] = min(x, 1)
		}
	}
	return t, nil
}

// gather reads a tensor whose elements do not lie in order; last is its last one.
func (f *file) gather(b []byte, v *view, last, size int64) error {
	from := make([]byte, (last-v.at+1)*size)
	if err := f.readAt(from, v.of.off+v.at*size); err != nil {
		return err
	}
	index := make([]int64, len(v.shape))
	for at := int64(0); at < int64(len(b)); at += size {
		src := int64(0)
		for i, x := range index {
			src += x * v.stride[i]
		}
		copy(b[at:at+size], from[src*size:])
		for i := len(index) - 1; i >= 0; i-- {
			if index[i]++; index[i] < v.shape[i] {
				break
			}
			index[i] = 0
		}
	}
	return nil
}

// readAt fills b; that the bytes are there has been checked.
func (f *file) readAt(b []byte, at int64) error {
	if n, err := f.r.ReadAt(b, at); n < len(b) {
		return err
	}
	return nil
}
