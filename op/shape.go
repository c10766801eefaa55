package op

import (
	"slices"

	"whit/graph"
	"whit/tensor"
)

// normAxis is axis a of a value of that rank as 0..rank-1; negative axes count
// from the end.
func normAxis(n *graph.Node, a int64, rank int) (int, error) {
	if a < -int64(rank) || a >= int64(rank) {
		return 0, Errorf(n, "axis %d is out of range for rank %d", a, rank)
	}
	if a < 0 {
		a += int64(rank)
	}
	return int(a), nil
}

// normAxes is normAxis over a list whose axes must differ.
func normAxes(n *graph.Node, axes []int64, rank int) ([]int, error) {
	out := make([]int, 0, min(len(axes), rank))
	for _, a := range axes {
		k, err := normAxis(n, a, rank)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out, k) {
			return nil, Errorf(n, "axis %d is listed twice", a)
		}
		out = append(out, k)
	}
	return out, nil
}

// vector checks that input i, where present, has rank 1 and returns its integers.
// where says what the input is called in errors. A scalar named "axes" is a list of
// one: the functions of ONNX's own AffineGrid write it so.
func vector(n *graph.Node, i int, where string) ([]int64, error) {
	v := n.Input(i)
	if v == nil {
		return nil, nil
	}
	if len(v.Type.Shape) != 1 && !(len(v.Type.Shape) == 0 && where == "axes") {
		return nil, Errorf(n, "%s has shape %v, want a vector", where, v.Type.Shape)
	}
	if d := v.Type.DType; d != tensor.Int64 && d != tensor.Int32 {
		return nil, Unsupported(n, "%s is %v, want int64 or int32", where, d)
	}
	return Ints(n, i)
}

// broadcastShapes is numpy's rule: shapes align at the right, and a dimension of 1 stretches.
func broadcastShapes(n *graph.Node, shapes ...tensor.Shape) (tensor.Shape, error) {
	rank := 0
	for _, s := range shapes {
		rank = max(rank, len(s))
	}
	out := make(tensor.Shape, rank)
	for i := range out {
		out[i] = 1
	}
	for _, s := range shapes {
		o := out[rank-len(s):]
		for i, d := range s {
			switch {
			case d == o[i] || d == 1:
			case o[i] == 1:
				o[i] = d
			default:
				return nil, Errorf(n, "shapes %v do not broadcast", shapes)
			}
		}
	}
	return out, nil
}

// broadcastStrides are the strides that read a row-major value of shape in as if
// it had shape out, to which it broadcasts: 0 along stretched axes.
func broadcastStrides(in, out tensor.Shape) []int {
	st := make([]int, len(out))
	off := len(out) - len(in)
	for i, s := range in.Strides() {
		if in[i] != 1 {
			st[off+i] = s
		}
	}
	return st
}

// broadcastChannels couples every axis of every input that is not stretched to
// the output's axis it is aligned with.
func broadcastChannels(n *graph.Node) []Coupling {
	var cs []Coupling
	for i, v := range n.In {
		if v == nil {
			continue
		}
		cs = append(cs, alignedChannels(i, v.Type.Shape, n.Out[0].Type.Shape)...)
	}
	return cs
}

func alignedChannels(input int, in, out tensor.Shape) []Coupling {
	var cs []Coupling
	off := len(out) - len(in)
	for a, d := range in {
		if off+a >= 0 && d == out[off+a] {
			cs = append(cs, Coupling{From: Port{Index: input, Axis: a}, To: Port{Out: true, Axis: off + a}})
		}
	}
	return cs
}

// walk visits the index space shape in row-major order, one innermost run at a
// time: row gets the position of the run in the row-major output, the offset of
// each operand at its first element, the number of elements, and each operand's
// step. strides holds one list an operand. Axes that all operands run through
// evenly are joined first, so that runs are long. off and step are reused.
func walk(shape tensor.Shape, strides [][]int, row func(pos int, off []int, n int, step []int)) {
	total := shape.NumElements()
	if total == 0 {
		return
	}
	k := len(strides)
	// Join axes from the innermost out.
	var dims []int  // innermost first
	var sts [][]int // sts[axis][operand]
	for a := len(shape) - 1; a >= 0; a-- {
		if shape[a] == 1 {
			continue
		}
		st := make([]int, k)
		joins := len(dims) > 0
		for o := range strides {
			st[o] = strides[o][a]
			joins = joins && st[o] == sts[len(sts)-1][o]*dims[len(dims)-1]
		}
		if joins {
			dims[len(dims)-1] *= shape[a]
			continue
		}
		dims, sts = append(dims, shape[a]), append(sts, st)
	}
	if len(dims) == 0 {
		dims, sts = []int{1}, [][]int{make([]int, k)}
	}
	off, idx := make([]int, k), make([]int, len(dims))
	for pos := 0; ; {
		row(pos, off, dims[0], sts[0])
		pos += dims[0]
		if pos >= total {
			return
		}
		for a := 1; a < len(dims); a++ {
			idx[a]++
			for o := range off {
				off[o] += sts[a][o]
			}
			if idx[a] < dims[a] {
				break
			}
			idx[a] = 0
			for o := range off {
				off[o] -= sts[a][o] * dims[a]
			}
		}
	}
}

// vals is the typed view of exactly the tensor's elements.
func vals[T tensor.Elem](t *tensor.Tensor) []T { return tensor.Of[T](t)[:t.Len()] }

// word is the types that hold an element's bits where only its place matters.
type word interface {
	uint8 | uint16 | uint32 | uint64
}

// words views the tensor's elements as bits. T must have the elements' size.
func words[T word](t *tensor.Tensor) []T {
	v, err := tensor.View(tensor.Type{DType: tensor.DTypeOf[T](), Shape: tensor.Shape{t.Len()}}, t.Bytes())
	if err != nil {
		panic(err) // T has another size: a programmer's mistake
	}
	return vals[T](v)
}

// moves makes a reference that moves elements without looking at them, from the
// instances of one generic function by element size. The element type is out[0]'s.
func moves(f8, f16, f32, f64 ref) ref {
	return func(n *graph.Node, in, out []*tensor.Tensor) error {
		var t *tensor.Tensor
		for _, o := range out {
			if o != nil {
				t = o
				break
			}
		}
		if t == nil {
			return nil
		}
		switch t.DType.Bits() {
		case 8:
			return f8(n, in, out)
		case 16:
			return f16(n, in, out)
		case 32:
			return f32(n, in, out)
		case 64:
			return f64(n, in, out)
		}
		return Unsupported(n, "element type %v", t.DType)
	}
}

// wholeTypes are the element types of at least a byte, which can be moved one by one.
var wholeTypes = func() []tensor.DType {
	var ds []tensor.DType
	for d := tensor.Bool; int(d) < tensor.NumDTypes; d++ {
		if !d.Packed() {
			ds = append(ds, d)
		}
	}
	return ds
}()

// stridedCopy writes out, row-major of shape, with out[i] = in[off + i·strides].
func stridedCopy[T word](out []T, shape tensor.Shape, in []T, off int, strides []int) {
	walk(shape, [][]int{strides}, func(pos int, o []int, n int, step []int) {
		p, dst := off+o[0], out[pos:pos+n]
		switch s := step[0]; s {
		case 1:
			copy(dst, in[p:p+n])
		case 0:
			x := in[p]
			for i := range dst {
				dst[i] = x
			}
		default:
			for i := range dst {
				dst[i] = in[p]
				p += s
			}
		}
	})
}

// The rest are helpers of gradients: they build nodes that stay right when the
// graph is bound to other shapes.

// wantsGrad reports whether a gradient for v is of any use: constants have none.
func wantsGrad(v *graph.Value) bool { return v != nil && v.Kind != graph.Const }

// dtypeOf is v's element type where it is known, else float32.
func dtypeOf(v *graph.Value) tensor.DType {
	switch {
	case v.Bound():
		return v.Type.DType
	case v.Decl.DType != tensor.Invalid:
		return v.Decl.DType
	}
	return tensor.Float32
}

// scalar is the constant x of rank 0 in the element type of like.
func scalar(g *graph.Graph, x float64, like *graph.Value) *graph.Value {
	t := tensor.New(dtypeOf(like))
	tensor.Convert(t, tensor.Scalar(x))
	return g.NewConst("", t)
}

// shapeOf is the value's shape as an int64 vector: a constant where the shape is
// fixed, else a Shape node, which compiling folds.
func shapeOf(g *graph.Graph, v *graph.Value) *graph.Value {
	if v.Kind != graph.Computed && v.Kind != graph.Input {
		s := make([]int64, len(v.Type.Shape))
		for i, d := range v.Type.Shape {
			s[i] = int64(d)
		}
		return g.NewConst("", tensor.Ints(s...))
	}
	return g.Add("", "Shape", nil, v)
}

// sumTo is dy summed over the axes along which v was stretched to dy's shape, in
// v's shape. Where the bound shapes are equal and have no dimension of 1, which
// another binding could stretch, it is dy itself.
func sumTo(g *graph.Graph, dy, v *graph.Value, out *graph.Value) *graph.Value {
	if v.Bound() && out.Bound() && v.Type.Shape.Equal(out.Type.Shape) && !slices.Contains(v.Type.Shape, 1) {
		return dy
	}
	return g.Add(graph.Domain, "SumTo", nil, dy, shapeOf(g, v))
}
