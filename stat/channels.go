package stat

import (
	"fmt"
	"slices"

	"whit/tensor"
)

// Channels shows To some channels only: what is left, in another model, of those that were cut.
type Channels struct {
	Keep []int // ascending; nil: all
	Axis int   // negative: from the last
	To   Observer
}

// Observe implements Observer.
func (c *Channels) Observe(x *tensor.Tensor) error {
	if c.Keep == nil {
		return c.To.Observe(x)
	}
	axis := c.Axis
	if axis < 0 {
		axis += len(x.Shape)
	}
	if axis < 0 || axis >= len(x.Shape) || len(c.Keep) > x.Shape[axis] {
		return fmt.Errorf("channels: %d of axis %d of a value %v", len(c.Keep), c.Axis, x.Shape)
	}
	s := x.Shape.Clone()
	s[axis] = len(c.Keep)
	y := tensor.New(tensor.Float32, s...)
	inner := s[axis+1:].NumElements()
	from, to := tensor.Of[float32](x), tensor.Of[float32](y)
	for i := 0; inner > 0 && i*inner < len(from); i++ {
		if _, ok := slices.BinarySearch(c.Keep, i%x.Shape[axis]); ok {
			to = to[copy(to, from[i*inner:][:inner]):]
		}
	}
	return c.To.Observe(y)
}
