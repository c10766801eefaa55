package weight

import (
	"fmt"
	"math/bits"

	"whit/tensor"
)

// Sparse stores the elements that a bit mask names; the others are zero.
type Sparse struct {
	Shape tensor.Shape
	// Mask has one bit an element in row-major order: bit i%64 of word i/64 says
	// that element i is stored. Bits beyond the last element are zero.
	Mask []uint64
	// Values are the stored elements in order: a rank-1 weight of float32 or another
	// float type that is dense, int8 (PerTensor or along its axis 0, without groups) or a codebook.
	Values Weight
}

// NewSparse makes a Sparse over its arguments, which it keeps, and checks it.
func NewSparse(shape tensor.Shape, mask []uint64, values Weight) (Sparse, error) {
	w := Sparse{Shape: shape, Mask: mask, Values: values}
	return w, w.check()
}

// MaskWords is the number of words of a mask of n elements.
func MaskWords(n int) int { return (n + 63) / 64 }

// NonZero is the mask of a float32 tensor's elements that differ from zero; -0 is zero.
func NonZero(t *tensor.Tensor) []uint64 {
	m := make([]uint64, MaskWords(t.Len()))
	for i, v := range tensor.Of[float32](t) {
		if v != 0 {
			m[i/64] |= 1 << (i % 64)
		}
	}
	return m
}

// SparseOf stores the elements of a float32 tensor that mask names, as dense
// values; a nil mask names those that differ from zero.
func SparseOf(t *tensor.Tensor, mask []uint64) (Sparse, error) {
	if t.DType != tensor.Float32 {
		return Sparse{}, fmt.Errorf("%w: sparse of %v, want float32", ErrInvalid, t.DType)
	}
	if mask == nil {
		mask = NonZero(t)
	}
	if err := checkMask(t.Len(), mask); err != nil {
		return Sparse{}, err
	}
	v := make([]float32, 0, count(mask))
	x := tensor.Of[float32](t)
	each(mask, func(i int) { v = append(v, x[i]) })
	return NewSparse(t.Shape.Clone(), mask, Dense{tensor.From(v, len(v))})
}

func checkMask(n int, mask []uint64) error {
	if len(mask) != MaskWords(n) {
		return fmt.Errorf("%w: mask of %d words for %d elements", ErrInvalid, len(mask), n)
	}
	if r := n % 64; r != 0 && mask[len(mask)-1]>>r != 0 {
		return fmt.Errorf("%w: mask has bits beyond element %d", ErrInvalid, n)
	}
	return nil
}

func (w Sparse) check() error {
	if err := w.Shape.Check(); err != nil {
		return fmt.Errorf("%w: %v", ErrInvalid, err)
	}
	if err := checkMask(w.Shape.NumElements(), w.Mask); err != nil {
		return err
	}
	switch v := w.Values.(type) {
	case Dense, Codebook:
	case Int8:
		if v.Group != 0 {
			return fmt.Errorf("%w: sparse values in groups", ErrInvalid)
		}
	default:
		return fmt.Errorf("%w: sparse values held as %T", ErrInvalid, w.Values)
	}
	if err := Check(w.Values); err != nil {
		return err
	}
	t := w.Values.Type()
	if n := count(w.Mask); len(t.Shape) != 1 || t.Shape[0] != n || !t.DType.IsFloat() || t.DType.Packed() {
		return fmt.Errorf("%w: sparse values are %v, want %d floats", ErrInvalid, t, n)
	}
	return nil
}

func count(mask []uint64) (n int) {
	for _, m := range mask {
		n += bits.OnesCount64(m)
	}
	return n
}

func each(mask []uint64, f func(i int)) {
	for k, m := range mask {
		for ; m != 0; m &= m - 1 {
			f(k*64 + bits.TrailingZeros64(m))
		}
	}
}

// NNZ is the number of stored elements.
func (w Sparse) NNZ() int { return w.Values.Type().Shape[0] }

// Each calls f with the position (row-major, ascending) of every stored element;
// the k-th call is about the k-th of Values.
func (w Sparse) Each(f func(i int)) { each(w.Mask, f) }

// Stored reports whether element i is stored.
func (w Sparse) Stored(i int) bool { return w.Mask[i/64]>>(i%64)&1 == 1 }

// Kind implements Weight.
func (Sparse) Kind() string { return "sparse" }

// Type implements Weight.
func (w Sparse) Type() tensor.Type {
	return tensor.Type{DType: w.Values.Type().DType, Shape: w.Shape}
}

// Dense implements Weight.
func (w Sparse) Dense() *tensor.Tensor {
	t := tensor.New(w.Type().DType, w.Shape...)
	v := w.Values.Dense().Bytes()
	size := t.DType.Bits() / 8
	b, k := t.Bytes(), 0
	w.Each(func(i int) {
		copy(b[i*size:(i+1)*size], v[k:])
		k += size
	})
	return t
}

// Bytes implements Weight.
func (w Sparse) Bytes() int64 { return 8*int64(len(w.Mask)) + w.Values.Bytes() }
