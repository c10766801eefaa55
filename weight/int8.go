package weight

import (
	"fmt"
	"math"

	"whit/tensor"
)

// Int8 holds integers of 8 bits or fewer with a scale for the whole tensor or
// for each slice along one axis:
//
//	w[i] = float32(int32(q[i]) - zero[c]) * scale[c]
//
// one rounding, in the product. It stands for float32. A weight of fewer bits is
// an Int8 whose levels keep to a smaller range.
type Int8 struct {
	// Q holds the levels, int8 or uint8, and has the weight's shape.
	Q *tensor.Tensor
	// Axis is the axis along which Scale and Zero vary, or PerTensor.
	Axis int
	// Scale has one element (PerTensor) or Q.Shape[Axis] elements, all finite and not zero.
	Scale []float32
	// Zero are the zero points, as many as Scale, within Q's element type; nil means 0.
	Zero []int32
}

// PerTensor is Int8.Axis of a weight with a single scale.
const PerTensor = -1

// NewInt8 makes an Int8 over its arguments, which it keeps, and checks it.
func NewInt8(q *tensor.Tensor, axis int, scale []float32, zero []int32) (Int8, error) {
	w := Int8{Q: q, Axis: axis, Scale: scale, Zero: zero}
	return w, w.check()
}

func (w Int8) check() error {
	if w.Q == nil || w.Q.DType != tensor.Int8 && w.Q.DType != tensor.Uint8 {
		return fmt.Errorf("%w: int8 levels must be int8 or uint8", ErrInvalid)
	}
	n := 1
	if w.Axis != PerTensor {
		if w.Axis < 0 || w.Axis >= len(w.Q.Shape) {
			return fmt.Errorf("%w: scale axis %d of shape %v", ErrInvalid, w.Axis, w.Q.Shape)
		}
		n = w.Q.Shape[w.Axis]
	}
	if len(w.Scale) != n || w.Zero != nil && len(w.Zero) != n {
		return fmt.Errorf("%w: %d scales and %d zero points, want %d", ErrInvalid, len(w.Scale), len(w.Zero), n)
	}
	for _, s := range w.Scale {
		if s == 0 || s != s || math.IsInf(float64(s), 0) {
			return fmt.Errorf("%w: scale %v", ErrInvalid, s)
		}
	}
	lo, hi := int32(-128), int32(127)
	if w.Q.DType == tensor.Uint8 {
		lo, hi = 0, 255
	}
	for _, z := range w.Zero {
		if z < lo || z > hi {
			return fmt.Errorf("%w: zero point %d outside %v", ErrInvalid, z, w.Q.DType)
		}
	}
	return nil
}

// Kind implements Weight.
func (Int8) Kind() string { return "int8" }

// Type implements Weight.
func (w Int8) Type() tensor.Type { return tensor.Type{DType: tensor.Float32, Shape: w.Q.Shape} }

// Dense implements Weight.
func (w Int8) Dense() *tensor.Tensor {
	t := tensor.New(tensor.Float32, w.Q.Shape...)
	out := tensor.Of[float32](t)
	if len(out) == 0 {
		return t
	}
	channels, inner := 1, len(out)
	if w.Axis != PerTensor {
		channels, inner = w.Q.Shape[w.Axis], 1
		for _, d := range w.Q.Shape[w.Axis+1:] {
			inner *= d
		}
	}
	level := levels(w.Q)
	for i := 0; i < len(out); {
		for c := range channels {
			var z int32
			if w.Zero != nil {
				z = w.Zero[c]
			}
			for range inner {
				out[i] = float32(level(i)-z) * w.Scale[c]
				i++
			}
		}
	}
	return t
}

// Bytes implements Weight.
func (w Int8) Bytes() int64 {
	return int64(len(w.Q.Bytes())) + 4*int64(len(w.Scale)) + 4*int64(len(w.Zero))
}

// levels reads an int8 or uint8 tensor.
func levels(q *tensor.Tensor) func(i int) int32 {
	b := q.Bytes()
	if q.DType == tensor.Uint8 {
		return func(i int) int32 { return int32(b[i]) }
	}
	return func(i int) int32 { return int32(int8(b[i])) }
}
