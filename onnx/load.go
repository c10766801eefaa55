package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"

	"whit/tensor"
)

// loader turns TensorProtos into tensors.
type loader struct {
	s    *source
	left int64 // bytes of tensors that may still be loaded
	dir  string
	root *os.Root
	ext  map[string]*os.File
	// loaded keeps a tensor that a function's body holds from being read at every use.
	loaded map[*tensorProto]*tensor.Tensor
}

func (l *loader) close() {
	for _, f := range l.ext {
		f.Close()
	}
	if l.root != nil {
		l.root.Close()
	}
}

// errString marks string tensors: they are lists of strings where an attribute
// holds them, and nothing elsewhere.
var errString = fmt.Errorf("%w: a tensor of strings", ErrUnsupported)

// dtypeName names an ONNX element type that whit may not have.
func dtypeName(code int64) string {
	switch code {
	case 8:
		return "string"
	case 14:
		return "complex64"
	case 15:
		return "complex128"
	case 27:
		return "float6e2m3"
	case 28:
		return "float6e3m2"
	}
	if d := tensor.FromONNX(code); d != tensor.Invalid {
		return d.String()
	}
	return fmt.Sprintf("number %d", code)
}

// typeOf checks what the tensor says of itself.
func (p *tensorProto) typeOf() (tensor.Type, error) {
	t := tensor.Type{DType: tensor.FromONNX(p.dtype), Shape: tensor.Shape{}}
	for _, d := range p.dims {
		t.Shape = append(t.Shape, int(d))
	}
	if err := t.Shape.Check(); err != nil {
		return t, corrupt("%v", err)
	}
	if p.dtype == 8 {
		return t, errString
	}
	if t.DType == tensor.Invalid {
		return t, unsupported("element type %s", dtypeName(p.dtype))
	}
	return t, nil
}

// storedBytes is the size from which a constant may be left in its file.
const storedBytes = 12 << 10

// load makes the tensor. Its bytes are those of the source where they are in
// memory, raw and aligned, else a copy.
func (l *loader) load(p *tensorProto) (*tensor.Tensor, error) {
	if t := l.loaded[p]; t != nil {
		return t, nil
	}
	t, err := l.read(p)
	if err == nil {
		l.loaded[p] = t
	}
	return t, err
}

func (l *loader) read(p *tensorProto) (*tensor.Tensor, error) {
	t, err := p.typeOf()
	if err != nil {
		return nil, err
	}
	n := int64(t.NumBytes())
	if n > l.left {
		return nil, fmt.Errorf("%w: tensors of more bytes than the limit; raise Options.MaxBytes", ErrTooLarge)
	}
	l.left -= n
	var out *tensor.Tensor
	switch {
	case p.external:
		out, err = l.external(p, t)
	case p.hasRaw && (p.raw.end > p.raw.pos || !p.typed):
		if got := p.raw.end - p.raw.pos; got != n {
			return nil, corrupt("%v needs %d bytes, found %d", t, n, got)
		}
		if p.raw.s.mem != nil {
			b, _ := p.raw.s.view(p.raw.pos, int(n))
			if tensor.Aligned(b, t.DType) && t.DType != tensor.Bool {
				return tensor.View(t, b)
			}
		}
		if l.s.stored && n >= storedBytes && t.DType != tensor.Bool {
			return tensor.Stored(t, l.s.r, p.raw.pos)
		}
		out = tensor.New(t.DType, t.Shape...)
		if n > jump {
			err = p.raw.s.readAt(out.Bytes(), p.raw.pos)
			break
		}
		var b []byte
		if b, err = p.raw.s.view(p.raw.pos, int(n)); err == nil {
			copy(out.Bytes(), b)
		}
	default:
		out, err = l.typed(p, t)
	}
	if err != nil {
		return nil, err
	}
	if t.DType == tensor.Bool {
		for i, b := range out.Bytes() {
			if b > 1 {
				out.Bytes()[i] = 1
			}
		}
	}
	return out, nil
}

// typed reads the data from the typed field that belongs to the element type.
func (l *loader) typed(p *tensorProto, t tensor.Type) (*tensor.Tensor, error) {
	count := t.Shape.NumElements()
	// Every element takes at least one byte of the field (four or eight where it is
	// of fixed size); packed elements share one.
	units := count
	if t.DType.Packed() {
		units = t.NumBytes()
	}
	if int64(units) > p.body.end-p.body.pos {
		return nil, corrupt("%v has %d elements, the tensor is %d bytes long", t, count, p.body.end-p.body.pos)
	}
	out := tensor.New(t.DType, t.Shape...)
	b := out.Bytes()
	// Each kind of field appends at off.
	off := 0
	put := func(size int) func(int64) bool {
		return func(v int64) bool {
			if off+size > len(b) {
				return false
			}
			switch size {
			case 1:
				b[off] = byte(v)
			case 2:
				binary.LittleEndian.PutUint16(b[off:], uint16(v))
			case 4:
				binary.LittleEndian.PutUint32(b[off:], uint32(v))
			case 8:
				binary.LittleEndian.PutUint64(b[off:], uint64(v))
			}
			off += size
			return true
		}
	}
	raw := func(c []byte) bool {
		if len(c) > len(b)-off {
			return false
		}
		off += copy(b[off:], c)
		return true
	}
	field, size := 5, max(1, t.DType.Bits()/8) // int32_data holds all small types
	switch t.DType {
	case tensor.Float32:
		field = 4
	case tensor.Float64:
		field = 10
	case tensor.Int64:
		field = 7
	case tensor.Uint32, tensor.Uint64:
		field = 11
	}
	bools := t.DType == tensor.Bool
	m := p.body
	for m.next() {
		switch {
		case int(m.num) != field:
			m.skip()
		case field == 4 || field == 10:
			m.fixeds(size, raw)
		case bools:
			f := put(1)
			m.varints(func(v int64) bool {
				if v != 0 {
					v = 1
				}
				return f(v)
			})
		default:
			m.varints(put(size))
		}
	}
	if m.err != nil {
		return nil, m.err
	}
	if off != len(b) {
		return nil, corrupt("%v needs %d bytes of data, found %d", t, len(b), off)
	}
	return out, nil
}

// strings is the data of a tensor of strings.
func (p *tensorProto) strings() ([]string, error) {
	var out []string
	m := p.body
	for m.next() {
		if m.num == 6 {
			out = append(out, m.str())
		} else {
			m.skip()
		}
	}
	return out, m.err
}

// external reads the data from a file beside the model. The file must lie in the
// model's folder, also when symbolic links are followed: os.Root sees to it.
func (l *loader) external(p *tensorProto, t tensor.Type) (*tensor.Tensor, error) {
	if l.dir == "" {
		return nil, corrupt("data are in the external file %q; read the model from its folder", clean(p.location))
	}
	if p.location == "" {
		return nil, corrupt("external data without a location")
	}
	if path.IsAbs(p.location) || !fs.ValidPath(path.Clean(p.location)) {
		return nil, corrupt("external data %q lie outside the model's folder", clean(p.location))
	}
	n := int64(t.NumBytes())
	num := func(s string, def int64) (int64, error) {
		if s == "" {
			return def, nil
		}
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil || v < 0 {
			return 0, corrupt("external data %q: offset or length %q", clean(p.location), clean(s))
		}
		return v, nil
	}
	offset, err := num(p.offset, 0)
	if err != nil {
		return nil, err
	}
	length, err := num(p.length, n)
	if err != nil {
		return nil, err
	}
	if length != n {
		return nil, corrupt("%v needs %d bytes, external data %q have %d", t, n, clean(p.location), length)
	}
	f, size, err := l.open(path.Clean(p.location))
	if err != nil {
		return nil, err
	}
	if offset > size || n > size-offset {
		return nil, corrupt("external data %q: %d bytes at %d, the file has %d", clean(p.location), n, offset, size)
	}
	out := tensor.New(t.DType, t.Shape...)
	if k, err := f.ReadAt(out.Bytes(), offset); k < len(out.Bytes()) {
		if err == nil || errors.Is(err, io.EOF) {
			return nil, corrupt("external data %q end early", clean(p.location))
		}
		return nil, fmt.Errorf("external data %q: %w", clean(p.location), err)
	}
	return out, nil
}

func (l *loader) open(name string) (*os.File, int64, error) {
	if l.root == nil {
		r, err := os.OpenRoot(l.dir)
		if err != nil {
			return nil, 0, fmt.Errorf("external data: %w", err)
		}
		l.root, l.ext = r, map[string]*os.File{}
	}
	f := l.ext[name]
	if f == nil {
		// A pipe or device would block or never end.
		st, err := l.root.Stat(name)
		if err != nil {
			return nil, 0, fmt.Errorf("external data: %w", err)
		}
		if !st.Mode().IsRegular() {
			return nil, 0, corrupt("external data %q are not a regular file", clean(name))
		}
		if len(l.ext) >= 256 {
			return nil, 0, corrupt("external data in more than 256 files")
		}
		if f, err = l.root.Open(name); err != nil {
			return nil, 0, fmt.Errorf("external data: %w", err)
		}
		l.ext[name] = f
	}
	st, err := f.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("external data: %w", err)
	}
	return f, st.Size(), nil
}
