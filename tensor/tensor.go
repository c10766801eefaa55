package tensor

import (
	"fmt"
	"unsafe"
)

// Align is the alignment in bytes of every tensor that New makes.
const Align = 64

// Tensor is an array: a Type and its bytes. The embedded Type must not change.
// A Tensor is not safe for concurrent writing; constants are never written.
type Tensor struct {
	Type
	data   []byte
	stored *stored // set instead of data
}

// Elem lists the Go types of elements. Packed types and float8 are read and
// written as bytes.
type Elem interface {
	bool | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | F16 | BF16 | float32 | float64
}

// AlignedBytes allocates n zeroed bytes whose first is 64-byte aligned.
func AlignedBytes(n int) []byte {
	b := from(make([]byte, n+Align-1), Align)
	if largePages && n >= 2*hugePage {
		large := from(b, hugePage)
		adviseHuge(large[:len(large)&^(hugePage-1)])
	}
	return b[:n:n]
}

// WorkingBytes is AlignedBytes for memory most of which is written soon: what makes the first
// touch cheap may keep 1 MiB more resident.
func WorkingBytes(n int) []byte {
	if !largePages || n < hugePage/2 {
		return AlignedBytes(n)
	}
	large := (n + hugePage/2) &^ (hugePage - 1)
	b := from(make([]byte, max(n, large)+hugePage-1), hugePage)
	adviseHuge(b[:large])
	return b[:n:n]
}

// from is b from its first byte on that is aligned to a power of two.
func from(b []byte, align int) []byte {
	return b[int(-uintptr(unsafe.Pointer(unsafe.SliceData(b)))&uintptr(align-1)):]
}

// New allocates a zeroed tensor. It panics on an invalid type or shape: shapes
// from outside pass Shape.Check, and the caller's own limits, first.
func New(d DType, shape ...int) *Tensor {
	t := Type{d, Shape(shape).Clone()}
	if err := t.Shape.Check(); err != nil || d.Bits() == 0 {
		panic(fmt.Sprintf("tensor.New(%v): invalid type", t))
	}
	return &Tensor{Type: t, data: AlignedBytes(t.NumBytes())}
}

// View makes a tensor over b, which it aliases. b must hold at least
// t.NumBytes() bytes: fewer is an error; more is kept (a physical layout may
// have a halo). The caller answers for alignment; Of needs the element's.
func View(t Type, b []byte) (*Tensor, error) {
	if err := t.Shape.Check(); err != nil {
		return nil, err
	}
	if t.DType.Bits() == 0 {
		return nil, fmt.Errorf("view: invalid element type")
	}
	if len(b) < t.NumBytes() {
		return nil, fmt.Errorf("view: %v needs %d bytes, found %d", t, t.NumBytes(), len(b))
	}
	return &Tensor{Type: t, data: b}, nil
}

// From makes a tensor that aliases data. It panics where the number of
// elements does not fit the shape.
func From[T Elem](data []T, shape ...int) *Tensor {
	t := Type{DTypeOf[T](), Shape(shape).Clone()}
	if t.Shape.NumElements() != len(data) {
		panic(fmt.Sprintf("tensor.From: %d elements for shape %v", len(data), t.Shape))
	}
	// Invariant: T has the size that t.DType says, so the byte view covers data exactly.
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(data))), t.NumBytes())
	return &Tensor{Type: t, data: b}
}

// Scalar makes a tensor of rank 0.
func Scalar[T Elem](v T) *Tensor { return From([]T{v}) }

// Ints makes an int64 vector, as shapes and axes are held in ONNX.
func Ints(v ...int64) *Tensor { return From(append([]int64{}, v...), len(v)) }

// Bytes is the storage, shared with the tensor.
func (t *Tensor) Bytes() []byte {
	if t.stored != nil {
		return t.stored.all(t.NumBytes())
	}
	return t.data
}

// Len is the number of elements of the logical shape.
func (t *Tensor) Len() int { return t.Shape.NumElements() }

// Clone copies the tensor.
func (t *Tensor) Clone() *Tensor {
	b := t.Bytes()
	c := AlignedBytes(len(b))
	copy(c, b)
	return &Tensor{Type: Type{t.DType, t.Shape.Clone()}, data: c}
}

// Reshape is a view of the same bytes under another shape of as many elements;
// it panics otherwise.
func (t *Tensor) Reshape(shape ...int) *Tensor {
	s := Shape(shape).Clone()
	if s.NumElements() != t.Len() {
		panic(fmt.Sprintf("tensor.Reshape: %v to %v", t.Shape, s))
	}
	return &Tensor{Type{t.DType, s}, t.data, t.stored}
}

// DTypeOf is the element type that T stands for.
func DTypeOf[T Elem]() DType {
	var z T
	switch any(z).(type) {
	case bool:
		return Bool
	case int8:
		return Int8
	case int16:
		return Int16
	case int32:
		return Int32
	case int64:
		return Int64
	case uint8:
		return Uint8
	case uint16:
		return Uint16
	case uint32:
		return Uint32
	case uint64:
		return Uint64
	case F16:
		return Float16
	case BF16:
		return BFloat16
	case float32:
		return Float32
	case float64:
		return Float64
	}
	panic("unreachable")
}

// Of is the typed view of the tensor's bytes, all of them: writing it writes the
// tensor. T must be the
// tensor's element type; uint8 also reads any packed or float8 type as bytes.
// It panics otherwise, and where the bytes are not aligned for T: both are
// programmer mistakes.
func Of[T Elem](t *Tensor) []T {
	d := DTypeOf[T]()
	if d != t.DType && !(d == Uint8 && (t.DType.Packed() || t.DType.Bits() == 8 && t.DType.IsFloat())) {
		panic(fmt.Sprintf("tensor.Of: %v read as %v", t.DType, d))
	}
	b := t.Bytes()
	if len(b) == 0 {
		return nil
	}
	size := uintptr(d.Bits() / 8)
	p := unsafe.Pointer(unsafe.SliceData(b))
	if uintptr(p)%size != 0 {
		panic("tensor.Of: bytes are not aligned for " + d.String())
	}
	// Invariant: p is aligned for T and the slice stays within b. Bools are
	// stored as 0 or 1; readers of files normalise them.
	return unsafe.Slice((*T)(p), uintptr(len(b))/size)
}

// Words is the bytes of a tensor of 4-byte elements of any type, for code that
// moves elements and does not compute. It panics for other element sizes.
func Words(t *Tensor) []uint32 {
	b := t.Bytes()
	if t.DType.Bits() != 32 || len(b)%4 != 0 {
		panic("tensor.Words: " + t.DType.String())
	}
	if len(b) == 0 {
		return nil
	}
	p := unsafe.Pointer(unsafe.SliceData(b))
	if uintptr(p)%4 != 0 {
		panic("tensor.Words: bytes are not aligned")
	}
	// Invariant: as in Of, for an element type of 4 bytes.
	return unsafe.Slice((*uint32)(p), len(b)/4)
}
