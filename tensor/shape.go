package tensor

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// MaxRank is the largest rank that whit accepts.
const MaxRank = 16

// Shape is the list of dimensions, outermost first, in elements. An empty
// shape is a scalar. Dimensions are never negative.
type Shape []int

// NumElements is the product of the dimensions, 1 for a scalar. Shapes from
// outside must pass [Shape.Check] first: NumElements does not look for overflow.
func (s Shape) NumElements() int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

// maxBesideZero bounds the product of the other dimensions of a shape with a zero:
// loops over rows without elements take time, though no memory.
const maxBesideZero = 1 << 26

// Check reports negative dimensions, ranks over MaxRank and element counts that
// overflow an int64 when multiplied by 8 bytes. A zero does not excuse the other
// dimensions: views may drop it, and their product is bounded.
func (s Shape) Check() error {
	if len(s) > MaxRank {
		return fmt.Errorf("rank %d is over the limit of %d", len(s), MaxRank)
	}
	n, zero := uint64(1), false
	for _, d := range s {
		if d < 0 {
			return fmt.Errorf("shape %v has a negative dimension", []int(s))
		}
		if d == 0 {
			zero = true
			continue
		}
		if uint64(d) > math.MaxInt64/8/n {
			return fmt.Errorf("shape %v has too many elements", []int(s))
		}
		n *= uint64(d)
	}
	if zero && n > maxBesideZero {
		return fmt.Errorf("shape %v has no elements and too large dimensions", []int(s))
	}
	return nil
}

// Equal reports whether both shapes have the same rank and dimensions.
func (s Shape) Equal(t Shape) bool { return slices.Equal(s, t) }

// Clone returns a copy.
func (s Shape) Clone() Shape { return append(make(Shape, 0, len(s)), s...) }

// Strides are the row-major strides in elements.
func (s Shape) Strides() []int {
	st, n := make([]int, len(s)), 1
	for i := len(s) - 1; i >= 0; i-- {
		st[i] = n
		n *= s[i]
	}
	return st
}

// String is for example "[1,3,224,224]".
func (s Shape) String() string {
	var b strings.Builder
	b.WriteByte('[')
	for i, d := range s {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(d))
	}
	b.WriteByte(']')
	return b.String()
}

// Type is what is known of a tensor before its data: element type and shape.
type Type struct {
	DType DType
	Shape Shape
}

// NumBytes is the storage size: elements times bits, rounded up to bytes. It does
// not overflow for shapes that pass [Shape.Check].
func (t Type) NumBytes() int {
	n, bits := t.Shape.NumElements(), t.DType.Bits()
	if bits >= 8 {
		return n * (bits / 8)
	}
	return (n*bits + 7) / 8
}

// Equal reports whether element type and shape agree.
func (t Type) Equal(u Type) bool { return t.DType == u.DType && t.Shape.Equal(u.Shape) }

// String is for example "float32[1,3,224,224]".
func (t Type) String() string { return t.DType.String() + t.Shape.String() }
