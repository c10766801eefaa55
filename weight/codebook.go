package weight

import (
	"fmt"
	"math"
	"slices"

	"whit/tensor"
)

// Codebook shares a few values among many weights (Han, Mao, Dally: Deep
// Compression, 2016, section 3): w[i] = Centroids[Indices[i]]. It stands for
// float32.
type Codebook struct {
	// Indices are uint8 or uint16, all below len(Centroids), and have the weight's shape.
	Indices *tensor.Tensor
	// Centroids are at most 65,536 values. Coders do best where they ascend ([Codebook.Sorted]).
	Centroids []float32
}

// NewCodebook makes a Codebook over its arguments, which it keeps, and checks it.
func NewCodebook(indices *tensor.Tensor, centroids []float32) (Codebook, error) {
	w := Codebook{Indices: indices, Centroids: centroids}
	return w, w.check()
}

// CodebookOf makes the exact codebook of a float32 tensor: its distinct values
// (by bits) in ascending order, NaNs last. ok is false where they are more than max
// or 65,536.
func CodebookOf(t *tensor.Tensor, max int) (w Codebook, ok bool) {
	if t.DType != tensor.Float32 {
		return Codebook{}, false
	}
	x := tensor.Of[float32](t)
	seen := map[uint32]int{}
	var c []float32
	for _, v := range x {
		b := math.Float32bits(v)
		if _, found := seen[b]; !found {
			if len(c) == min(max, 1<<16) {
				return Codebook{}, false
			}
			seen[b] = 0
			c = append(c, v)
		}
	}
	slices.SortFunc(c, compareCentroids)
	for i, v := range c {
		seen[math.Float32bits(v)] = i
	}
	d := tensor.Uint8
	if len(c) > 256 {
		d = tensor.Uint16
	}
	q := tensor.New(d, t.Shape...)
	for i, v := range x {
		setIndex(q, i, seen[math.Float32bits(v)])
	}
	return Codebook{q, c}, true
}

// compareCentroids orders by value, -0 before 0, NaNs last, all by bits where
// that leaves a tie.
func compareCentroids(a, b float32) int {
	an, bn := a != a, b != b
	switch {
	case an != bn:
		if an {
			return 1
		}
		return -1
	case !an && a < b:
		return -1
	case !an && a > b:
		return 1
	}
	x, y := math.Float32bits(a), math.Float32bits(b)
	switch {
	case x == y:
		return 0
	case x > y: // of two zeros the one with the sign bit comes first
		return -1
	}
	return 1
}

func (w Codebook) check() error {
	if w.Indices == nil || w.Indices.DType != tensor.Uint8 && w.Indices.DType != tensor.Uint16 {
		return fmt.Errorf("%w: codebook indices must be uint8 or uint16", ErrInvalid)
	}
	n := len(w.Centroids)
	if n > 1<<16 || n == 0 && w.Indices.Len() > 0 {
		return fmt.Errorf("%w: %d centroids", ErrInvalid, n)
	}
	for i := range w.Indices.Len() {
		if k := w.Index(i); k >= n {
			return fmt.Errorf("%w: index %d of %d centroids", ErrInvalid, k, n)
		}
	}
	return nil
}

// Index is the index of element i in row-major order.
func (w Codebook) Index(i int) int {
	b := w.Indices.Bytes()
	if w.Indices.DType == tensor.Uint8 {
		return int(b[i])
	}
	return int(b[2*i]) | int(b[2*i+1])<<8
}

func setIndex(q *tensor.Tensor, i, k int) {
	b := q.Bytes()
	if q.DType == tensor.Uint8 {
		b[i] = byte(k)
		return
	}
	b[2*i], b[2*i+1] = byte(k), byte(k>>8)
}

// Sorted is the same weight with ascending centroids, those that nobody uses and
// duplicates dropped, and indices of the narrowest type.
func (w Codebook) Sorted() Codebook {
	used := make([]bool, len(w.Centroids))
	n := w.Indices.Len()
	for i := range n {
		used[w.Index(i)] = true
	}
	var c []float32
	for k, u := range used {
		if u {
			c = append(c, w.Centroids[k])
		}
	}
	slices.SortFunc(c, compareCentroids)
	c = slices.CompactFunc(c, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })
	to := make([]int, len(w.Centroids))
	for k := range to {
		to[k], _ = slices.BinarySearchFunc(c, w.Centroids[k], compareCentroids)
	}
	d := tensor.Uint8
	if len(c) > 256 {
		d = tensor.Uint16
	}
	q := tensor.New(d, w.Indices.Shape...)
	for i := range n {
		setIndex(q, i, to[w.Index(i)])
	}
	return Codebook{q, c}
}

// Kind implements Weight.
func (Codebook) Kind() string { return "codebook" }

// Type implements Weight.
func (w Codebook) Type() tensor.Type {
	return tensor.Type{DType: tensor.Float32, Shape: w.Indices.Shape}
}

// Dense implements Weight.
func (w Codebook) Dense() *tensor.Tensor {
	t := tensor.New(tensor.Float32, w.Indices.Shape...)
	out := tensor.Of[float32](t)
	for i := range out {
		out[i] = w.Centroids[w.Index(i)]
	}
	return t
}

// Bytes implements Weight.
func (w Codebook) Bytes() int64 {
	return int64(len(w.Indices.Bytes())) + 4*int64(len(w.Centroids))
}
