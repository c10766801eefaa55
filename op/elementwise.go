package op

import (
	"whit/graph"
	"whit/tensor"
)

// inferBroadcast is the type rule of elementwise operators on inputs of one
// element type whose shapes broadcast; result is the output's element type,
// Invalid for the inputs'.
func inferBroadcast(minIn, maxIn int, allowed []tensor.DType, result tensor.DType) func(*graph.Node) ([]tensor.Type, error) {
	return func(n *graph.Node) ([]tensor.Type, error) {
		if err := Want(n, minIn, maxIn, allowed...); err != nil {
			return nil, err
		}
		shapes := make([]tensor.Shape, len(n.In))
		for i, v := range n.In {
			if v == nil {
				return nil, Errorf(n, "input %d is missing", i)
			}
			if v.Type.DType != n.In[0].Type.DType {
				return nil, Errorf(n, "input %d is %v, input 0 %v", i, v.Type.DType, n.In[0].Type.DType)
			}
			shapes[i] = v.Type.Shape
		}
		s, err := broadcastShapes(n, shapes...)
		if err != nil {
			return nil, err
		}
		d := n.In[0].Type.DType
		if result != tensor.Invalid {
			d = result
		}
		return []tensor.Type{{DType: d, Shape: s}}, nil
	}
}

// binary writes y = f(a, b), broadcast.
func binary[A, B, Y tensor.Elem](in, out []*tensor.Tensor, f func(A, B) Y) error {
	a, b, y := vals[A](in[0]), vals[B](in[1]), vals[Y](out[0])
	s := out[0].Shape
	walk(s, [][]int{broadcastStrides(in[0].Shape, s), broadcastStrides(in[1].Shape, s)}, func(pos int, off []int, n int, step []int) {
		i, j := off[0], off[1]
		si, sj := step[0], step[1]
		for k := range y[pos : pos+n] {
			y[pos+k] = f(a[i], b[j])
			i += si
			j += sj
		}
	})
	return nil
}

// forms are the instances of one two-operand formula. Integers are computed in 64
// bits and cut to their own width, which is how they wrap. nil: the type is not accepted.
type forms struct {
	f32 func(a, b float32) float32
	f64 func(a, b float64) float64
	i64 func(a, b int64) int64
	u64 func(a, b uint64) uint64
}

func (f forms) ref(n *graph.Node, in, out []*tensor.Tensor) error {
	return numbers{
		f32: func(_ *graph.Node, in, out []*tensor.Tensor) error { return binary(in, out, f.f32) },
		f64: func(_ *graph.Node, in, out []*tensor.Tensor) error { return binary(in, out, f.f64) },
		i8:  narrowed[int8](f.i64), i16: narrowed[int16](f.i64), i32: narrowed[int32](f.i64), i64: narrowed[int64](f.i64),
		u8: narrowed[uint8](f.u64), u16: narrowed[uint16](f.u64), u32: narrowed[uint32](f.u64), u64: narrowed[uint64](f.u64),
	}.ref(n, in, out)
}

// narrowed computes in the wide integer type W and keeps T's low bits.
func narrowed[T Integer, W int64 | uint64](f func(a, b W) W) ref {
	if f == nil {
		return nil
	}
	return func(_ *graph.Node, in, out []*tensor.Tensor) error {
		return binary(in, out, func(a, b T) T { return T(f(W(a), W(b))) })
	}
}

// predicate are the instances of one comparison.
type predicate struct {
	f64 func(a, b float64) bool // float32 and narrower are exact in float64
	i64 func(a, b int64) bool
	u64 func(a, b uint64) bool
	b   func(a, b bool) bool
}

func (p predicate) ref(n *graph.Node, in, out []*tensor.Tensor) error {
	switch d := in[0].DType; {
	case d == tensor.Bool:
		return binary(in, out, p.b)
	case d.IsSmallFloat():
		return viaF32(compared[float32](p.f64))(n, in, out)
	}
	return numbers{f32: compared[float32](p.f64), f64: compared[float64](p.f64),
		i8: compared[int8](p.i64), i16: compared[int16](p.i64), i32: compared[int32](p.i64), i64: compared[int64](p.i64),
		u8: compared[uint8](p.u64), u16: compared[uint16](p.u64), u32: compared[uint32](p.u64), u64: compared[uint64](p.u64),
	}.ref(n, in, out)
}

func compared[T Number, W float64 | int64 | uint64](f func(a, b W) bool) ref {
	return func(_ *graph.Node, in, out []*tensor.Tensor) error {
		return binary(in, out, func(a, b T) bool { return f(W(a), W(b)) })
	}
}

// unaryForms are the instances of one formula of one operand; f32 nil means f64 rounded.
type unaryForms struct {
	f32 func(float32) float32
	f64 func(float64) float64
	i64 func(int64) int64
	u64 func(uint64) uint64
}

func (f unaryForms) ref(n *graph.Node, in, out []*tensor.Tensor) error {
	f32 := f.f32
	if f32 == nil {
		f32 = func(x float32) float32 { return float32(f.f64(float64(x))) }
	}
	return numbers{f32: mapped(f32), f64: mapped(f.f64),
		i8: narrowed1[int8](f.i64), i16: narrowed1[int16](f.i64), i32: narrowed1[int32](f.i64), i64: narrowed1[int64](f.i64),
		u8: narrowed1[uint8](f.u64), u16: narrowed1[uint16](f.u64), u32: narrowed1[uint32](f.u64), u64: narrowed1[uint64](f.u64),
	}.ref(n, in, out)
}

func mapped[X, Y tensor.Elem](f func(X) Y) ref {
	return func(_ *graph.Node, in, out []*tensor.Tensor) error {
		y := vals[Y](out[0])
		for i, x := range vals[X](in[0]) {
			y[i] = f(x)
		}
		return nil
	}
}

func narrowed1[T Integer, W int64 | uint64](f func(W) W) ref {
	if f == nil {
		return nil
	}
	return mapped(func(x T) T { return T(f(W(x))) })
}

// SumTo is dy summed to the shape given by input 1 (an int64 vector), which
// broadcasts to dy's: the gradient of a broadcast. Sums are float64, in row-major order.
func init() {
	Register(Op{
		Domain: graph.Domain, Name: "SumTo",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 2); err != nil {
				return nil, err
			}
			dy := n.In[0].Type
			if err := floatInput(n, 0); err != nil {
				return nil, err
			}
			to, err := vector(n, 1, "shape")
			if err != nil {
				return nil, err
			}
			s := make(tensor.Shape, len(to))
			off := len(dy.Shape) - len(to)
			for i, d := range to {
				if off < 0 || d != 1 && d != int64(dy.Shape[off+i]) {
					return nil, Errorf(n, "shape %v does not broadcast to %v", to, dy.Shape)
				}
				s[i] = int(d)
			}
			return []tensor.Type{{DType: dy.DType, Shape: s}}, nil
		},
		Ref: float(sumToShape[float32], sumToShape[float64]),
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			return []*graph.Value{g.Add("", "Expand", nil, grads[0], shapeOf(g, n.In[0])), nil}, nil
		},
	})
}

func sumToShape[T Float](_ *graph.Node, in, out []*tensor.Tensor) error {
	dy, y := vals[T](in[0]), vals[T](out[0])
	if in[0].Len() == out[0].Len() {
		copy(y, dy)
		return nil
	}
	acc := make([]float64, len(y))
	walk(in[0].Shape, [][]int{broadcastStrides(out[0].Shape, in[0].Shape)}, func(pos int, off []int, n int, step []int) {
		o, s := off[0], step[0]
		for _, v := range dy[pos : pos+n] {
			acc[o] += float64(v)
			o += s
		}
	})
	for i, v := range acc {
		y[i] = T(v)
	}
	return nil
}

// floatInput checks that input i is of a float type.
func floatInput(n *graph.Node, i int) error { return inputType(n, i, Floats) }

// inputType checks that input i, where present, has one of the element types.
func inputType(n *graph.Node, i int, allowed []tensor.DType) error {
	v := n.Input(i)
	if v == nil {
		return nil
	}
	for _, d := range allowed {
		if v.Type.DType == d {
			return nil
		}
	}
	return Unsupported(n, "input %d is %v", i, v.Type.DType)
}
