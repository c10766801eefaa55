package weight

import (
	"errors"
	"fmt"
)

// ErrInvalid is the root of errors about weights whose parts do not fit together.
var ErrInvalid = errors.New("invalid weight")

// Check reports what breaks the rules that the encodings' fields state. The
// constructors call it; a weight that was put together by hand should pass it.
func Check(w Weight) error {
	switch w := w.(type) {
	case Dense:
		if w.T == nil || !w.T.DType.IsFloat() {
			return fmt.Errorf("%w: dense weight without a float tensor", ErrInvalid)
		}
		return nil
	case Int8:
		return w.check()
	case Codebook:
		return w.check()
	case Sparse:
		return w.check()
	}
	return fmt.Errorf("%w: unknown encoding %T", ErrInvalid, w)
}

// Density is the share of elements that are stored (sparse) or not the level of
// zero (int8, a codebook with a centroid of zero), 0..1; 1 for an empty weight.
func Density(w Weight) float64 {
	n := w.Type().Shape.NumElements()
	if n == 0 {
		return 1
	}
	zero := 0
	switch w := w.(type) {
	case Sparse:
		return float64(w.NNZ()) / float64(n)
	case Codebook:
		for i := range n {
			if w.Centroids[w.Index(i)] == 0 {
				zero++
			}
		}
	default:
		d := w.Dense()
		size := d.DType.Bits() / 8
		if size == 0 {
			return 1
		}
		for b := d.Bytes(); len(b) >= size; b = b[size:] {
			if isZero(b[:size]) {
				zero++
			}
		}
	}
	return 1 - float64(zero)/float64(n)
}

// isZero reports whether a little-endian IEEE float is 0 or -0.
func isZero(b []byte) bool {
	for _, x := range b[:len(b)-1] {
		if x != 0 {
			return false
		}
	}
	return b[len(b)-1]&0x7f == 0
}
