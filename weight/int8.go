package weight

import (
	"fmt"
	"math"

	"whit/tensor"
)

// Int8 holds integers of 8 bits or fewer with a scale for the whole tensor, for each
// slice along one axis, or for each group of indices of that axis:
//
//	w[i] = float32(int32(q[i]) - zero[c]) * scale[c]
//
// one rounding, in the product. It stands for float32: what ONNX says by a
// DequantizeLinear of constants. A weight of 3, 5, 6 or 7 bits is an Int8 whose levels
// keep to a smaller range than their type's.
type Int8 struct {
	// Q holds the levels, signed or unsigned integers of 8, 4 or 2 bits, and has the
	// weight's shape. Levels below a byte are packed, see [PackLevels].
	Q *tensor.Tensor
	// Axis is the axis along which Scale and Zero vary, or PerTensor.
	Axis int
	// Group, if not 0, is the number of consecutive indices of Axis that share a scale
	// (ONNX's block_size); every index of the other axes has scales of its own.
	Group int
	// Scale has one element (PerTensor), Q.Shape[Axis] elements, or with Group those of a
	// tensor of Q's shape with the axis cut down to its groups ([Int8.ScaleShape]), row-major; all finite and not zero.
	Scale []float32
	// Zero are the zero points, as many as Scale, within Q's element type; nil means 0.
	Zero []int32
}

// PerTensor is Int8.Axis of a weight with a single scale.
const PerTensor = -1

// NewInt8 makes an Int8 with a scale for the whole tensor or for each index of axis over
// its arguments, which it keeps, and checks it.
func NewInt8(q *tensor.Tensor, axis int, scale []float32, zero []int32) (Int8, error) {
	return NewGrouped(q, axis, 0, scale, zero)
}

// NewGrouped is NewInt8 with a scale for each group of indices of axis.
func NewGrouped(q *tensor.Tensor, axis, group int, scale []float32, zero []int32) (Int8, error) {
	w := Int8{Q: q, Axis: axis, Group: group, Scale: scale, Zero: zero}
	return w, w.check()
}

// PackLevels is a tensor of levels of type d, an integer of 8, 4 or 2 bits, for [Int8.Q].
func PackLevels(d tensor.DType, levels []int32, shape ...int) (*tensor.Tensor, error) {
	if !isLevel(d) {
		return nil, fmt.Errorf("%w: levels of type %v", ErrInvalid, d)
	}
	if s := tensor.Shape(shape); s.Check() != nil || s.NumElements() != len(levels) {
		return nil, fmt.Errorf("%w: %d levels of shape %v", ErrInvalid, len(levels), s)
	}
	q := tensor.New(d, shape...)
	lo, hi := levelLimits(d)
	bits := d.Bits()
	per, b := 8/bits, q.Bytes()
	for i, v := range levels {
		if v < lo || v > hi {
			return nil, fmt.Errorf("%w: level %d outside %v", ErrInvalid, v, d)
		}
		b[i/per] |= byte(v) & (1<<bits - 1) << (i % per * bits)
	}
	return q, nil
}

func isLevel(d tensor.DType) bool { return d.IsInt() && d.Bits() <= 8 }

// levelLimits is the range of an integer type of at most 8 bits.
func levelLimits(d tensor.DType) (lo, hi int32) {
	b := d.Bits()
	if d.IsSigned() {
		return -1 << (b - 1), 1<<(b-1) - 1
	}
	return 0, 1<<b - 1
}

// ScaleShape is the shape that Scale and Zero have in ONNX: none, one dimension, or Q's
// shape with groups for the axis.
func (w Int8) ScaleShape() tensor.Shape {
	switch {
	case w.Axis == PerTensor:
		return tensor.Shape{}
	case w.Group == 0:
		return tensor.Shape{w.Q.Shape[w.Axis]}
	}
	s := w.Q.Shape.Clone()
	s[w.Axis] = (s[w.Axis]-1)/w.Group + 1
	if w.Q.Shape[w.Axis] == 0 {
		s[w.Axis] = 0
	}
	return s
}

func (w Int8) check() error {
	if w.Q == nil || !isLevel(w.Q.DType) {
		return fmt.Errorf("%w: int8 levels must be integers of at most 8 bits", ErrInvalid)
	}
	if w.Axis != PerTensor && (w.Axis < 0 || w.Axis >= len(w.Q.Shape)) {
		return fmt.Errorf("%w: scale axis %d of shape %v", ErrInvalid, w.Axis, w.Q.Shape)
	}
	if w.Group < 0 || w.Group > 0 && w.Axis == PerTensor {
		return fmt.Errorf("%w: groups of %d along axis %d", ErrInvalid, w.Group, w.Axis)
	}
	if n := w.ScaleShape().NumElements(); len(w.Scale) != n || w.Zero != nil && len(w.Zero) != n {
		return fmt.Errorf("%w: %d scales and %d zero points, want %d", ErrInvalid, len(w.Scale), len(w.Zero), n)
	}
	for _, s := range w.Scale {
		if s == 0 || s != s || math.IsInf(float64(s), 0) {
			return fmt.Errorf("%w: scale %v", ErrInvalid, s)
		}
	}
	lo, hi := levelLimits(w.Q.DType)
	for _, z := range w.Zero {
		if z < lo || z > hi {
			return fmt.Errorf("%w: zero point %d outside %v", ErrInvalid, z, w.Q.DType)
		}
	}
	return nil
}

// Kind implements Weight: the width of a level, "int8", "int4" or "int2".
func (w Int8) Kind() string { return fmt.Sprintf("int%d", w.Q.DType.Bits()) }

// Type implements Weight.
func (w Int8) Type() tensor.Type { return tensor.Type{DType: tensor.Float32, Shape: w.Q.Shape} }

// Dense implements Weight.
func (w Int8) Dense() *tensor.Tensor {
	t := tensor.New(tensor.Float32, w.Q.Shape...)
	out := tensor.Of[float32](t)
	if len(out) == 0 {
		return t
	}
	zero := func(c int) int32 {
		if w.Zero == nil {
			return 0
		}
		return w.Zero[c]
	}
	channels, inner := 1, len(out)
	if w.Axis != PerTensor {
		channels, inner = w.Q.Shape[w.Axis], w.Q.Shape[w.Axis+1:].NumElements()
	}
	if w.Group > 0 {
		groups := (channels-1)/w.Group + 1
		for i := range out {
			outer, c := i/inner/channels, i/inner%channels
			k := (outer*groups+c/w.Group)*inner + i%inner
			out[i] = float32(w.Level(i)-zero(k)) * w.Scale[k]
		}
		return t
	}
	for i := 0; i < len(out); {
		for c := range channels {
			z := zero(c)
			for range inner {
				out[i] = float32(w.Level(i)-z) * w.Scale[c]
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

// Level is the integer of element i in row-major order.
func (w Int8) Level(i int) int32 {
	d := w.Q.DType
	bits := d.Bits()
	per := 8 / bits
	v := w.Q.Bytes()[i/per] >> (i % per * bits) << (8 - bits)
	if d.IsSigned() {
		return int32(int8(v) >> (8 - bits))
	}
	return int32(v >> (8 - bits))
}
