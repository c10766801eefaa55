package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// Slice reads x from starts to ends (exclusive) by steps along axes: inputs x,
// starts, ends, axes, steps, the last two optional. Negative positions count from
// the end; positions beyond the ends are clamped; negative steps run backwards.
func init() {
	Register(Op{
		Name: "Slice",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 3, 5); err != nil {
				return nil, err
			}
			if err := inputType(n, 0, wholeTypes); err != nil {
				return nil, err
			}
			x := n.In[0].Type
			r, err := slicesOf(n, 1, x.Shape)
			if err != nil {
				return nil, err
			}
			return []tensor.Type{{DType: x.DType, Shape: r.shape(x.Shape)}}, nil
		},
		Ref: moves(slice[uint8], slice[uint16], slice[uint32], slice[uint64]),
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			ds := make([]*graph.Value, len(n.In))
			if wantsGrad(n.In[0]) {
				ds[0] = g.Add(graph.Domain, "SliceGrad", nil, append([]*graph.Value{grads[0], shapeOf(g, n.In[0])}, n.In[1:]...)...)
			}
			return ds, nil
		},
		// A channel outside the slice is nowhere in the output.
		Channels: func(n *graph.Node) []Coupling {
			x := n.In[0].Type.Shape
			r, err := slicesOf(n, 1, x)
			if err != nil {
				return nil
			}
			cs := []Coupling{}
			for k := range x {
				c := Coupling{From: Port{Out: true, Axis: k}, To: Port{Axis: k}}
				if s := r[k]; s.count != x[k] || s.step != 1 {
					c.Map = func(c int) []int { return []int{s.start + c*s.step} }
				}
				cs = append(cs, c)
			}
			return cs
		},
	})

	// SliceGrad puts dy into zeros: inputs dy, the shape of x (int64 vector), then
	// Slice's starts, ends, axes and steps.
	Register(Op{
		Domain: graph.Domain, Name: "SliceGrad",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 4, 6); err != nil {
				return nil, err
			}
			if err := floatInput(n, 0); err != nil {
				return nil, err
			}
			s, err := shapeInput(n, 1)
			if err != nil {
				return nil, err
			}
			r, err := slicesOf(n, 2, s)
			if err != nil {
				return nil, err
			}
			if dy := n.In[0].Type; !dy.Shape.Equal(r.shape(s)) {
				return nil, Errorf(n, "gradient has shape %v, want %v", dy.Shape, r.shape(s))
			}
			return []tensor.Type{{DType: n.In[0].Type.DType, Shape: s}}, nil
		},
		Ref: moves(sliceGrad[uint8], sliceGrad[uint16], sliceGrad[uint32], sliceGrad[uint64]),
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			ds := make([]*graph.Value, len(n.In))
			ds[0] = g.Add("", "Slice", nil, append([]*graph.Value{grads[0]}, n.In[2:]...)...)
			return ds, nil
		},
	})
}

// span is count positions from start by step along one axis.
type span struct{ start, step, count int }

type spans []span

func (r spans) shape(x tensor.Shape) tensor.Shape {
	s := make(tensor.Shape, len(x))
	for k := range s {
		s[k] = r[k].count
	}
	return s
}

// at is the offset of the first element and the strides through a row-major x.
func (r spans) at(x tensor.Shape) (off int, st []int) {
	st = x.Strides()
	for k, s := range r {
		off += s.start * st[k]
		st[k] *= s.step
	}
	return off, st
}

// slicesOf is what Slice takes of shape x along every axis; inputs i to i+3 are
// starts, ends, axes, steps.
func slicesOf(n *graph.Node, i int, x tensor.Shape) (spans, error) {
	starts, err := vector(n, i, "starts")
	if err != nil {
		return nil, err
	}
	ends, err := vector(n, i+1, "ends")
	if err != nil {
		return nil, err
	}
	axes, err := vector(n, i+2, "axes")
	if err != nil {
		return nil, err
	}
	steps, err := vector(n, i+3, "steps")
	if err != nil {
		return nil, err
	}
	if n.Input(i+2) == nil {
		if len(starts) > len(x) {
			return nil, Errorf(n, "%d starts for rank %d", len(starts), len(x))
		}
		for k := range starts {
			axes = append(axes, int64(k))
		}
	}
	if n.Input(i+3) == nil {
		for range starts {
			steps = append(steps, 1)
		}
	}
	if len(ends) != len(starts) || len(axes) != len(starts) || len(steps) != len(starts) {
		return nil, Errorf(n, "%d starts, %d ends, %d axes, %d steps", len(starts), len(ends), len(axes), len(steps))
	}
	ks, err := normAxes(n, axes, len(x))
	if err != nil {
		return nil, err
	}
	r := make(spans, len(x))
	for k, d := range x {
		r[k] = span{0, 1, d}
	}
	for j, k := range ks {
		d, step := int64(x[k]), steps[j]
		if step == 0 {
			return nil, Errorf(n, "a step is 0")
		}
		step = max(step, -math.MaxInt64) // so that it can be negated
		lo, hi := int64(0), d            // where positions are clamped to
		if step < 0 {
			lo, hi = -1, d-1
		}
		place := func(p int64) int64 {
			if p < 0 {
				p += d
			}
			return min(max(p, lo), hi)
		}
		s, e := place(starts[j]), place(ends[j])
		var count int64
		if step > 0 && e > s {
			count = (e-s-1)/step + 1
		} else if step < 0 && e < s {
			count = (s-e-1)/-step + 1
		}
		if count <= 1 {
			step = 1 // never taken, and may be huge
		}
		if count == 0 {
			s = 0
		}
		r[k] = span{int(s), int(step), int(count)}
	}
	return r, nil
}

// SliceSpans is where a bound Slice, or the Slice whose gradient n is, starts along
// every axis of its input, and its step, which is not 0.
func SliceSpans(n *graph.Node) (starts, steps []int, err error) {
	i, x := 1, n.In[0].Type.Shape
	if n.Op == "SliceGrad" {
		i, x = 2, n.Out[0].Type.Shape
	}
	r, err := slicesOf(n, i, x)
	for _, s := range r {
		starts, steps = append(starts, s.start), append(steps, s.step)
	}
	return starts, steps, err
}

func slice[T word](n *graph.Node, in, out []*tensor.Tensor) error {
	r, err := slicesOf(n, 1, in[0].Shape)
	if err != nil {
		return err
	}
	off, st := r.at(in[0].Shape)
	stridedCopy(words[T](out[0]), out[0].Shape, words[T](in[0]), off, st)
	return nil
}

func sliceGrad[T word](n *graph.Node, in, out []*tensor.Tensor) error {
	r, err := slicesOf(n, 2, out[0].Shape)
	if err != nil {
		return err
	}
	off, st := r.at(out[0].Shape)
	dy, dx := words[T](in[0]), words[T](out[0])
	clear(dx)
	each(in[0].Shape, st, func(i, o int) { dx[off+o] = dy[i] })
	return nil
}
