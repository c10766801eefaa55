package data

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"whit/card"
	"whit/tensor"
)

// array is a dataset of one resident array, converted to float32 at every read.
type array struct {
	x      *tensor.Tensor
	shape  []int
	n      int // values of a sample
	y      []int32
	labels []string
	t      *tensor.Tensor // targets, or nil
	group  []int32        // nil: none
}

func (a *array) Len() int         { return a.x.Shape[0] }
func (a *array) Shape() []int     { return slices.Clone(a.shape) }
func (a *array) Labels() []string { return a.labels }

func (a *array) Hash(i int) [32]byte {
	k := a.n * a.x.DType.Bits() / 8
	return sha256.Sum256(a.x.Bytes()[i*k : (i+1)*k])
}

func (a *array) Read(ctx context.Context, idx []int, x []float32, y []int32) error {
	if err := checkRead(a.Len(), a.n, idx, x, y); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for k, i := range idx {
		toFloat(x[k*a.n:(k+1)*a.n], a.x, i*a.n)
		if y != nil {
			y[k] = -1
			if a.y != nil {
				y[k] = a.y[i]
			}
		}
	}
	return nil
}

func (a *array) TargetShape() []int { return slices.Clone([]int(a.t.Shape[1:])) }

func (a *array) ReadTargets(ctx context.Context, idx []int, t []float32) error {
	n := a.t.Len() / a.t.Shape[0]
	if err := checkRead(a.Len(), n, idx, t, nil); err != nil {
		return err
	}
	for k, i := range idx {
		toFloat(t[k*n:(k+1)*n], a.t, i*n)
	}
	return ctx.Err()
}

type number interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

func cast[T number](dst []float32, src []T) {
	for i := range dst {
		dst[i] = float32(src[i])
	}
}

// toFloat converts the values of t from the at-th on.
func toFloat(dst []float32, t *tensor.Tensor, at int) {
	switch t.DType {
	case tensor.Float32:
		copy(dst, tensor.Of[float32](t)[at:])
	case tensor.Float64:
		cast(dst, tensor.Of[float64](t)[at:])
	case tensor.Float16:
		for i, h := range tensor.Of[tensor.F16](t)[at : at+len(dst)] {
			dst[i] = h.Float32()
		}
	case tensor.Int8:
		cast(dst, tensor.Of[int8](t)[at:])
	case tensor.Int16:
		cast(dst, tensor.Of[int16](t)[at:])
	case tensor.Int32:
		cast(dst, tensor.Of[int32](t)[at:])
	case tensor.Int64:
		cast(dst, tensor.Of[int64](t)[at:])
	case tensor.Uint16:
		cast(dst, tensor.Of[uint16](t)[at:])
	case tensor.Uint32:
		cast(dst, tensor.Of[uint32](t)[at:])
	case tensor.Uint64:
		cast(dst, tensor.Of[uint64](t)[at:])
	default: // bool and uint8 are bytes
		cast(dst, t.Bytes()[at:])
	}
}

// classesOf reads y: [N] or [N,1] integers, at least -1 (none).
func classesOf(t *tensor.Tensor, n int) ([]int32, error) {
	if t.Len() != n || len(t.Shape) < 1 || t.Shape[0] != n {
		return nil, fmt.Errorf("%w: y is %v for %d samples, want one class a sample", ErrLabels, t.Shape, n)
	}
	if !t.DType.IsInt() {
		return nil, fmt.Errorf("%w: y is of type %v, want integers", ErrLabels, t.DType)
	}
	y := make([]int32, n)
	for i := range y {
		var v int64
		switch t.DType {
		case tensor.Int8:
			v = int64(tensor.Of[int8](t)[i])
		case tensor.Int16:
			v = int64(tensor.Of[int16](t)[i])
		case tensor.Int32:
			v = int64(tensor.Of[int32](t)[i])
		case tensor.Int64:
			v = tensor.Of[int64](t)[i]
		case tensor.Uint8:
			v = int64(t.Bytes()[i])
		case tensor.Uint16:
			v = int64(tensor.Of[uint16](t)[i])
		case tensor.Uint32:
			v = int64(tensor.Of[uint32](t)[i])
		case tensor.Uint64:
			v = int64(min(tensor.Of[uint64](t)[i], 1<<62))
		}
		if v < -1 || v >= card.MaxLabels {
			return nil, fmt.Errorf("%w: y[%d] is %d", ErrLabels, i, v)
		}
		y[i] = int32(v)
	}
	return y, nil
}

// openNPZ reads x and y, or x_train, y_train, x_test, y_test. Integers y are classes, floats of
// more than two dimensions are targets.
func openNPZ(name string, c *card.Card, in []int, opt Options) (Sets, error) {
	base := filepath.Base(name)
	f, err := os.Open(name)
	if err != nil {
		return Sets{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Sets{}, err
	}
	list, err := tensor.ReadNPZ(f, st.Size())
	if err != nil {
		return Sets{}, fmt.Errorf("%s: %w", base, err)
	}
	arrays := map[string]*tensor.Tensor{}
	var names []string
	for _, a := range list {
		arrays[a.Name] = a.T
		names = append(names, a.Name)
	}
	var labels []string
	if c != nil {
		labels = c.Labels
	}
	open := func(suffix string) (*array, error) {
		x, y := arrays["x"+suffix], arrays["y"+suffix]
		if x == nil {
			return nil, nil
		}
		if len(x.Shape) < 2 || x.Len() == 0 {
			return nil, fmt.Errorf("%w: x%s is %v, want samples along the first dimension", ErrCorrupt, suffix, x.Type)
		}
		a := &array{x: x, n: x.Len() / x.Shape[0]}
		var err error
		if a.shape, err = fit(x.Shape[1:], in); err != nil {
			return nil, err
		}
		if g := arrays["group"+suffix]; g != nil {
			if a.group, err = classesOf(g, x.Shape[0]); err != nil {
				return nil, fmt.Errorf("group%s: %w", suffix, err)
			}
		}
		if y != nil && y.DType.IsFloat() && len(y.Shape) > 2 {
			if y.Shape[0] != x.Shape[0] || y.Len() == 0 {
				return nil, fmt.Errorf("%w: y%s is %v for %d samples, want a target for each", ErrCorrupt, suffix, y.Shape, x.Shape[0])
			}
			a.t = y
		} else if y != nil {
			if a.y, err = classesOf(y, x.Shape[0]); err != nil {
				return nil, err
			}
			top := int32(-1)
			for _, v := range a.y {
				top = max(top, v)
			}
			a.labels = labels
			if len(labels) == 0 {
				a.labels = digits(max(opt.Classes, int(top)+1))
			}
			if int(top) >= len(a.labels) || opt.Classes > 0 && int(top) >= opt.Classes {
				return nil, fmt.Errorf("%w: y%s has the class %d, the network has %d", ErrLabels, suffix, top, max(opt.Classes, len(a.labels)))
			}
		}
		return a, nil
	}
	var got [3]*array
	for i, s := range []string{"", "_train", "_test"} {
		if got[i], err = open(s); err != nil {
			return Sets{}, fmt.Errorf("%s: %w", base, err)
		}
	}
	mix := func(a *array) Dataset { return Subset(a, mixed(a.Len(), a.Name)) }
	switch {
	case got[0] != nil:
		return Sets{All: mix(got[0])}, nil
	case got[1] != nil && got[2] != nil:
		// One list of labels for both.
		if len(labels) == 0 {
			if len(got[1].labels) > len(got[2].labels) {
				got[2].labels = got[1].labels
			} else {
				got[1].labels = got[2].labels
			}
		}
		return Sets{Train: mix(got[1]), Test: mix(got[2])}, nil
	}
	return Sets{}, fmt.Errorf("%s: %w: no array x (optional y), nor x_train and x_test; found %s", base, ErrCorrupt, few(names))
}

// fit is the shape in which samples enter the network: in with its unknown dimensions
// filled, or the samples' own.
func fit(sample tensor.Shape, in []int) ([]int, error) {
	if len(in) == 0 {
		return slices.Clone([]int(sample)), nil
	}
	out := slices.Clone(in)
	if len(in) == len(sample) {
		for i, d := range out {
			if d < 1 {
				out[i] = sample[i]
			}
		}
	} else {
		open, rest := -1, sample.NumElements()
		for i, d := range out {
			if d < 1 && open < 0 {
				open = i
			} else if d < 1 || rest%d != 0 {
				return nil, fmt.Errorf("samples of shape %v do not fit an input of shape %v", sample, in)
			} else {
				rest /= d
			}
		}
		if open >= 0 {
			out[open] = rest
		}
	}
	if product(out) != sample.NumElements() || !slices.Equal(out, []int(sample)) && len(out) == len(sample) {
		return nil, fmt.Errorf("samples of shape %v do not fit an input of shape %v", sample, in)
	}
	return out, nil
}
