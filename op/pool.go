package op

import (
	"maps"
	"math"
	"slices"

	"whit/graph"
	"whit/tensor"
)

// The pools reduce a window of x [N,C,in...] to an element of y [N,C,out...]; the
// padding never takes part, but for AveragePool's divisor where count_include_pad
// says so. With ceil_mode a last window may hang over the end, which is no padding.
func init() {
	// MaxPool is the largest element of the window; NaN wins. The optional second
	// output is where it was: the first one of equals, as an index into all of x
	// (storage_order 1: with the spatial axes in column-major order). A window that
	// holds padding only gives the type's least value, and the index -1.
	Register(Op{
		Name:  "MaxPool",
		Infer: inferMaxPool,
		Ref:   numbers{f32: refMaxPool[float32], f64: refMaxPool[float64], i8: refMaxPool[int8], u8: refMaxPool[uint8]}.ref,
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			if grads[0] == nil {
				return []*graph.Value{nil}, nil
			}
			return []*graph.Value{g.Add(graph.Domain, "MaxPoolGrad", maps.Clone(n.Attrs), grads[0], n.In[0])}, nil
		},
		Channels: passLeading,
	})
	// MaxPoolGrad gives dy to the element of x that MaxPool chose: inputs dy and x,
	// the attributes of the MaxPool.
	Register(Op{
		Domain: graph.Domain, Name: "MaxPoolGrad",
		Infer: inferPoolGrad,
		Ref:   float(refMaxPoolGrad[float32], refMaxPoolGrad[float64]),
	})
	// AveragePool is the mean of the window.
	Register(Op{
		Name:  "AveragePool",
		Infer: inferPool,
		Ref:   refAveragePool,
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			return []*graph.Value{g.Add(graph.Domain, "AveragePoolGrad", maps.Clone(n.Attrs), grads[0], n.In[0])}, nil
		},
		Channels: passLeading,
	})
	// AveragePoolGrad spreads dy evenly over the window: inputs dy and x (of which
	// only the type is used), the attributes of the AveragePool.
	Register(Op{
		Domain: graph.Domain, Name: "AveragePoolGrad",
		Infer: inferPoolGrad,
		Ref:   refAveragePoolGrad,
	})
	// LpPool is (Σ |x|^p)^(1/p) over the window.
	Register(Op{
		Name: "LpPool",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if n.Int("p", 2) < 1 {
				return nil, Errorf(n, "p is %d, want at least 1", n.Int("p", 2))
			}
			return inferPool(n)
		},
		Ref:      refLpPool,
		Channels: passLeading,
	})
}

// passLeading couples batch and channels of input 0 to those of output 0 and, where
// the operator has it, of a pool's output 1.
func passLeading(n *graph.Node) []Coupling {
	cs := []Coupling{{From: Port{}, To: Port{Out: true}}, {From: Port{Axis: 1}, To: Port{Out: true, Axis: 1}}}
	if n.Op == "MaxPool" && len(n.Out) > 1 && n.Out[1] != nil {
		cs = append(cs, Coupling{From: Port{}, To: Port{Out: true, Index: 1}}, Coupling{From: Port{Axis: 1}, To: Port{Out: true, Index: 1, Axis: 1}})
	}
	return cs
}

// poolWindow is the geometry of the pool n over x, and y's shape.
func poolWindow(n *graph.Node, x tensor.Shape) (*window, tensor.Shape, error) {
	k := n.Ints("kernel_shape")
	if len(x) < 3 || len(k) != len(x)-2 {
		return nil, nil, Errorf(n, "x has shape %v and kernel_shape is %v: want a kernel of rank at least 1, and x of two axes more", x, k)
	}
	kernel := make([]int, len(k))
	for i, v := range k {
		kernel[i] = int(min(v, maxWindow+1))
	}
	w, err := newWindow(n, x[2:], kernel, n.Int("ceil_mode", 0) != 0)
	if err != nil {
		return nil, nil, err
	}
	return w, append(tensor.Shape{x[0], x[1]}, w.out...), nil
}

func inferPool(n *graph.Node) ([]tensor.Type, error) {
	if err := Want(n, 1, 1, Floats...); err != nil {
		return nil, err
	}
	return poolTypes(n)
}

func poolTypes(n *graph.Node) ([]tensor.Type, error) {
	_, y, err := poolWindow(n, n.In[0].Type.Shape)
	return []tensor.Type{{DType: n.In[0].Type.DType, Shape: y}}, err
}

func inferMaxPool(n *graph.Node) ([]tensor.Type, error) {
	if err := Want(n, 1, 1, append([]tensor.DType{tensor.Int8, tensor.Uint8}, Floats...)...); err != nil {
		return nil, err
	}
	if s := n.Int("storage_order", 0); s != 0 && s != 1 {
		return nil, Errorf(n, "storage_order is %d, want 0 or 1", s)
	}
	ts, err := poolTypes(n)
	if err != nil {
		return nil, err
	}
	return append(ts, tensor.Type{DType: tensor.Int64, Shape: ts[0].Shape}), nil
}

func inferPoolGrad(n *graph.Node) ([]tensor.Type, error) {
	if err := Want(n, 2, 2, Floats...); err != nil {
		return nil, err
	}
	if err := oneType(n, 0, 1); err != nil {
		return nil, err
	}
	_, y, err := poolWindow(n, n.In[1].Type.Shape)
	if err != nil {
		return nil, err
	}
	if !y.Equal(n.In[0].Type.Shape) {
		return nil, Errorf(n, "dy has shape %v, want %v", n.In[0].Type.Shape, y)
	}
	return []tensor.Type{n.In[1].Type}, nil
}

// eachWindow calls f for every tap and every channel of every image (plane) with
// the offsets of the channel in x and y and the segments of the tap; for one
// output, taps come in row-major order.
func eachWindow(w *window, planes int, f func(x, y int, segs []segment)) {
	nx, ny := tensor.Shape(w.in).NumElements(), tensor.Shape(w.out).NumElements()
	if nx == 0 || ny == 0 || planes == 0 {
		return
	}
	taps, count, at := make([][]int, len(w.kernel)), make([]int, len(w.kernel)), make([]int, len(w.kernel))
	for a := range taps {
		if taps[a] = w.meeting(a); len(taps[a]) == 0 {
			return
		}
		count[a] = len(taps[a])
	}
	tap := make([]int, len(at))
	var segs []segment
	for more := true; more; more = step(at, count) {
		for a, k := range at {
			tap[a] = taps[a][k]
		}
		segs = w.segments(tap, segs)
		for p := range planes {
			f(p*nx, p*ny, segs)
		}
	}
}

// meeting lists the kernel taps of axis a that meet the input anywhere, in order.
// A kernel may be far larger than the input, with as large pads.
func (w *window) meeting(a int) []int {
	var taps []int
	add := func(t int) {
		shift := w.begin[a] - t*w.dilation[a]
		if max(0, ceilDiv(shift, w.stride[a])) < min(w.out[a], floorDiv(w.in[a]-1+shift, w.stride[a])+1) {
			taps = append(taps, t)
		}
	}
	if w.kernel[a]/max(1, w.in[a]) <= w.out[a] {
		for t := range w.kernel[a] {
			add(t)
		}
		return taps
	}
	for o := range w.out[a] {
		for i := range w.in[a] {
			if d := i + w.begin[a] - o*w.stride[a]; d >= 0 && d%w.dilation[a] == 0 && d/w.dilation[a] < w.kernel[a] {
				taps = append(taps, d/w.dilation[a])
			}
		}
	}
	slices.Sort(taps)
	return slices.Compact(taps)
}

// scanMax fills y with the windows' maxima and returns where they are in x, -1 for
// an empty window.
func scanMax[T Number](w *window, planes int, x, y []T) []int {
	at := make([]int, len(y))
	low := least[T]()
	for i := range y {
		y[i], at[i] = low, -1
	}
	s := w.stride[len(w.stride)-1]
	eachWindow(w, planes, func(px, py int, segs []segment) {
		for _, g := range segs {
			for i := range g.n {
				k, o := px+g.in+i*s, py+g.out+i
				if v := x[k]; at[o] < 0 || v > y[o] || v != v && y[o] == y[o] {
					y[o], at[o] = v, k
				}
			}
		}
	})
	return at
}

// least is T's smallest value: -Inf for floats.
func least[T Number]() T {
	var z T
	switch p := any(&z).(type) {
	case *float32:
		*p = float32(math.Inf(-1))
	case *float64:
		*p = math.Inf(-1)
	case *int8:
		*p = math.MinInt8
	case *int16:
		*p = math.MinInt16
	case *int32:
		*p = math.MinInt32
	case *int64:
		*p = math.MinInt64
	}
	return z
}

func refMaxPool[T Number](n *graph.Node, in, out []*tensor.Tensor) error {
	w, ys, err := poolWindow(n, in[0].Shape)
	if err != nil {
		return err
	}
	y := out[0]
	if y == nil {
		y = tensor.New(in[0].DType, ys...)
	}
	at := scanMax(w, ys[0]*ys[1], tensor.Of[T](in[0]), tensor.Of[T](y))
	if len(out) < 2 || out[1] == nil {
		return nil
	}
	idx, plane := tensor.Of[int64](out[1]), tensor.Shape(w.in).NumElements()
	for o, k := range at {
		if k >= 0 && n.Int("storage_order", 0) == 1 {
			rest, scale, column := k%plane, plane, k-k%plane
			for a := len(w.in) - 1; a >= 0; a-- {
				scale /= w.in[a]
				column += rest % w.in[a] * scale
				rest /= w.in[a]
			}
			k = column
		}
		idx[o] = int64(k)
	}
	return nil
}

func refMaxPoolGrad[T Float](n *graph.Node, in, out []*tensor.Tensor) error {
	w, ys, err := poolWindow(n, in[1].Shape)
	if err != nil {
		return err
	}
	at := scanMax(w, ys[0]*ys[1], tensor.Of[T](in[1]), make([]T, ys.NumElements()))
	dx := make([]float64, in[1].Len())
	for o, v := range tensor.Of[T](in[0]) {
		if at[o] >= 0 {
			dx[at[o]] += float64(v)
		}
	}
	narrow(out[0], dx)
	return nil
}

// counts is the number of elements of each output's window: those inside the
// input, or with pads those inside the padded input.
func (w *window) counts(pads bool) []float64 {
	c := make([]float64, tensor.Shape(w.out).NumElements())
	for i := range c {
		c[i] = 1
	}
	inner := len(c)
	for a, size := range w.out {
		inner /= size
		lo, hi := 0, w.in[a]
		if pads {
			lo, hi = -w.begin[a], w.in[a]+w.end[a]
		}
		for o := range size {
			start := o*w.stride[a] - w.begin[a]
			first := max(0, ceilDiv(lo-start, w.dilation[a]))
			last := min(w.kernel[a], floorDiv(hi-1-start, w.dilation[a])+1)
			k := float64(max(0, last-first))
			for i := o * inner; i < len(c); i += size * inner {
				for j := range inner {
					c[i+j] *= k
				}
			}
		}
	}
	return c
}

func refAveragePool(n *graph.Node, in, out []*tensor.Tensor) error {
	w, ys, err := poolWindow(n, in[0].Shape)
	if err != nil {
		return err
	}
	x, y := wide(in[0]), make([]float64, ys.NumElements())
	s := w.stride[len(w.stride)-1]
	eachWindow(w, ys[0]*ys[1], func(px, py int, segs []segment) {
		for _, g := range segs {
			for i := range g.n {
				y[py+g.out+i] += x[px+g.in+i*s]
			}
		}
	})
	if len(y) == 0 {
		return nil // counts may still be of any size
	}
	c := w.counts(n.Int("count_include_pad", 0) != 0)
	for i := range y {
		if k := c[i%len(c)]; k > 0 { // an empty window is 0
			y[i] /= k
		}
	}
	narrow(out[0], y)
	return nil
}

func refAveragePoolGrad(n *graph.Node, in, out []*tensor.Tensor) error {
	w, ys, err := poolWindow(n, in[1].Shape)
	if err != nil {
		return err
	}
	dy, dx := wide(in[0]), make([]float64, in[1].Len())
	var c []float64
	if len(dy) > 0 {
		c = w.counts(n.Int("count_include_pad", 0) != 0)
	}
	s := w.stride[len(w.stride)-1]
	eachWindow(w, ys[0]*ys[1], func(px, py int, segs []segment) {
		for _, g := range segs {
			for i := range g.n {
				dx[px+g.in+i*s] += dy[py+g.out+i] / c[g.out+i]
			}
		}
	})
	narrow(out[0], dx)
	return nil
}

func refLpPool(n *graph.Node, in, out []*tensor.Tensor) error {
	w, ys, err := poolWindow(n, in[0].Shape)
	if err != nil {
		return err
	}
	p := float64(n.Int("p", 2))
	x, y := wide(in[0]), make([]float64, ys.NumElements())
	s := w.stride[len(w.stride)-1]
	eachWindow(w, ys[0]*ys[1], func(px, py int, segs []segment) {
		for _, g := range segs {
			for i := range g.n {
				y[py+g.out+i] += math.Pow(math.Abs(x[px+g.in+i*s]), p)
			}
		}
	})
	for i, v := range y {
		y[i] = math.Pow(v, 1/p)
	}
	narrow(out[0], y)
	return nil
}
