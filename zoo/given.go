package zoo

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"whit/graph"
	"whit/tensor"
	"whit/weight"
)

// ErrCorrupt means that a file of weights is damaged, or not the one of its network.
var ErrCorrupt = errors.New("corrupt weights")

// given are the trained weights of a network by name. A builder takes each once; a
// builder whose given is nil draws them.
type given struct {
	w   map[string]*tensor.Tensor
	err error // the first
}

// newGiven takes float32 tensors; the order does not matter.
func newGiven(list []tensor.Named) (*given, error) {
	s := &given{w: map[string]*tensor.Tensor{}}
	for _, n := range list {
		if n.T.DType != tensor.Float32 || s.w[n.Name] != nil {
			return nil, fmt.Errorf("%w: tensor %q is %v, or there twice; want float32", ErrCorrupt, n.Name, n.T.DType)
		}
		s.w[n.Name] = n.T
	}
	return s, nil
}

// tensor takes the tensor of that name and shape out.
func (s *given) tensor(name string, shape ...int) *tensor.Tensor {
	t := s.w[name]
	delete(s.w, name)
	if t != nil && t.Shape.Equal(shape) {
		return t
	}
	if s.err == nil {
		found := "is not there"
		if t != nil {
			found = "is " + t.Shape.String()
		}
		s.err = fmt.Errorf("%w: tensor %q %s, want %v", ErrCorrupt, name, found, shape)
	}
	return tensor.New(tensor.Float32, 0)
}

// few is up to how many values a large weight is held as a codebook: what 8 bits hold.
const few, large = 256, 4096

// value is the constant of that name and shape. A large weight of few values, which
// was quantised, is held as a codebook of exactly those.
func (s *given) value(g *graph.Graph, name string, shape ...int) *graph.Value {
	t := s.tensor(name, shape...)
	if t.Len() >= large {
		if c, ok := weight.CodebookOf(t, few); ok {
			return g.NewWeight(name, c)
		}
	}
	return g.NewConst(name, t)
}

// done reports what was wrong, or has not been taken.
func (s *given) done() error {
	if s == nil {
		return nil
	}
	if s.err == nil && len(s.w) > 0 {
		return fmt.Errorf("%w: tensor %q does not belong to the network", ErrCorrupt, slices.Sorted(maps.Keys(s.w))[0])
	}
	return s.err
}
