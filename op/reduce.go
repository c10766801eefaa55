package op

import (
	"math"
	"slices"

	"whit/graph"
	"whit/tensor"
)

// The reductions over the axes of input 1 (all axes where it is absent or empty,
// none where noop_with_empty_axes is set); keepdims 1 keeps them as 1. Floats
// accumulate in float64 in row-major order and round once; integers wrap.
func init() {
	arith := append([]tensor.DType{tensor.Int32, tensor.Int64, tensor.Uint32, tensor.Uint64}, Floats...)
	order := append([]tensor.DType{tensor.Bool, tensor.Int8, tensor.Uint8}, arith...)
	type vjp = func(g *graph.Graph, n *graph.Node, dy *graph.Value) *graph.Value

	reg := func(name string, allowed []tensor.DType, r reduction, d vjp) {
		o := Op{
			Name:     name,
			Infer:    inferReduce(allowed),
			Ref:      r.ref,
			Channels: reduceChannels,
		}
		if d != nil {
			o.VJP = func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
				ds := make([]*graph.Value, len(n.In))
				if wantsGrad(n.In[0]) && dtypeOf(n.In[0]).IsFloat() {
					ds[0] = d(g, n, grads[0])
				}
				return ds, nil
			}
		}
		Register(o)
	}
	add := func(a, b float64) float64 { return a + b }
	addI := func(a, b uint64) uint64 { return a + b }
	mul := func(g *graph.Graph, a, b *graph.Value) *graph.Value { return g.Add("", "Mul", nil, a, b) }

	reg("ReduceSum", arith, reduction{f: add, i: addI}, func(g *graph.Graph, n *graph.Node, dy *graph.Value) *graph.Value {
		return unreduce(g, n, dy, false)
	})
	reg("ReduceMean", arith, reduction{f: add, i: addI, mean: true}, func(g *graph.Graph, n *graph.Node, dy *graph.Value) *graph.Value {
		return unreduce(g, n, dy, true)
	})
	reg("ReduceSumSquare", arith, reduction{f: add, i: addI, pre: func(x float64) float64 { return x * x }, preI: func(x int64, _ bool) uint64 { return uint64(x * x) }},
		func(g *graph.Graph, n *graph.Node, dy *graph.Value) *graph.Value {
			return mul(g, unreduce(g, n, mul(g, dy, scalar(g, 2, dy)), false), n.In[0])
		})
	reg("ReduceL1", arith, reduction{f: add, i: addI, pre: math.Abs, preI: func(x int64, signed bool) uint64 {
		if signed && x < 0 {
			x = -x
		}
		return uint64(x)
	}},
		func(g *graph.Graph, n *graph.Node, dy *graph.Value) *graph.Value {
			return mul(g, unreduce(g, n, dy, false), g.Add("", "Sign", nil, n.In[0]))
		})
	// dx = dy·x/y, and 0 where y is 0.
	reg("ReduceL2", arith, reduction{f: add, pre: func(x float64) float64 { return x * x }, post: math.Sqrt},
		func(g *graph.Graph, n *graph.Node, dy *graph.Value) *graph.Value {
			y := g.Add("", "Max", nil, n.Out[0], scalar(g, 1e-30, n.In[0]))
			return mul(g, unreduce(g, n, g.Add("", "Div", nil, dy, y), false), n.In[0])
		})
	reg("ReduceLogSum", Floats, reduction{f: add, post: math.Log}, func(g *graph.Graph, n *graph.Node, dy *graph.Value) *graph.Value {
		return unreduce(g, n, g.Add("", "Div", nil, dy, g.Add("", "Exp", nil, n.Out[0])), false)
	})
	reg("ReduceLogSumExp", Floats, reduction{logSumExp: true}, func(g *graph.Graph, n *graph.Node, dy *graph.Value) *graph.Value {
		p := g.Add("", "Exp", nil, g.Add("", "Sub", nil, n.In[0], unreduce(g, n, n.Out[0], false)))
		return mul(g, unreduce(g, n, dy, false), p)
	})
	// The gradient of an extreme goes in equal parts to the elements that attain it.
	extreme := func(g *graph.Graph, n *graph.Node, dy *graph.Value) *graph.Value {
		hit := g.Add("", "CastLike", nil, g.Add("", "Equal", nil, n.In[0], unreduce(g, n, n.Out[0], false)), n.In[0])
		count := g.Add("", "ReduceSum", n.Attrs, append([]*graph.Value{hit}, n.In[1:]...)...)
		return mul(g, unreduce(g, n, g.Add("", "Div", nil, dy, count), false), hit)
	}
	reg("ReduceMax", order, reduction{isMax: true}, extreme)
	reg("ReduceMin", order, reduction{isMin: true}, extreme)
	// The gradient dy·y/x is not defined at x = 0.
	reg("ReduceProd", arith, reduction{f: func(a, b float64) float64 { return a * b }, i: func(a, b uint64) uint64 { return a * b }, start: 1, startI: 1},
		func(g *graph.Graph, n *graph.Node, dy *graph.Value) *graph.Value {
			return g.Add("", "Div", nil, unreduce(g, n, mul(g, dy, n.Out[0]), false), n.In[0])
		})

	// Unreduce is the gradient of ReduceSum (and, with mean 1, of ReduceMean): dy
	// stretched along the reduced axes to the shape of the reduction's input. Inputs
	// dy, that shape (int64 vector), axes; attributes as the reduction's.
	Register(Op{
		Domain: graph.Domain, Name: "Unreduce",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 3); err != nil {
				return nil, err
			}
			if err := floatInput(n, 0); err != nil {
				return nil, err
			}
			s, err := shapeInput(n, 1)
			if err != nil {
				return nil, err
			}
			axes, err := reduceAxes(n, 2, len(s))
			if err != nil {
				return nil, err
			}
			if r := reducedShape(n, s, axes); !r.Equal(n.In[0].Type.Shape) {
				return nil, Errorf(n, "gradient has shape %v, want %v", n.In[0].Type.Shape, r)
			}
			return []tensor.Type{{DType: n.In[0].Type.DType, Shape: s}}, nil
		},
		Ref: float(unreduceTo[float32], unreduceTo[float64]),
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			name := "ReduceSum"
			if n.Int("mean", 0) != 0 {
				name = "ReduceMean"
			}
			attrs := map[string]any{"keepdims": n.Int("keepdims", 1), "noop_with_empty_axes": n.Int("noop_with_empty_axes", 0)}
			ds := make([]*graph.Value, len(n.In))
			ds[0] = g.Add("", name, attrs, append([]*graph.Value{grads[0]}, n.In[2:]...)...)
			return ds, nil
		},
	})
}

// reduction is one formula: post(fold f over pre(x)) from start; or one of the
// special forms.
type reduction struct {
	f            func(a, b float64) float64
	i            func(a, b uint64) uint64 // nil: integers go through float64
	pre, post    func(float64) float64
	preI         func(x int64, signed bool) uint64
	start        float64
	startI       uint64
	mean         bool // divided by the count
	isMax, isMin bool // extremes, NaN where there is one
	logSumExp    bool
}

func unreduce(g *graph.Graph, n *graph.Node, dy *graph.Value, mean bool) *graph.Value {
	attrs := map[string]any{"keepdims": n.Int("keepdims", 1), "noop_with_empty_axes": n.Int("noop_with_empty_axes", 0)}
	if mean {
		attrs["mean"] = int64(1)
	}
	return g.Add(graph.Domain, "Unreduce", attrs, append([]*graph.Value{dy, shapeOf(g, n.In[0])}, n.In[1:]...)...)
}

func inferReduce(allowed []tensor.DType) func(*graph.Node) ([]tensor.Type, error) {
	return func(n *graph.Node) ([]tensor.Type, error) {
		if err := Want(n, 1, 2); err != nil {
			return nil, err
		}
		if err := inputType(n, 0, allowed); err != nil {
			return nil, err
		}
		x := n.In[0].Type
		axes, err := reduceAxes(n, 1, len(x.Shape))
		if err != nil {
			return nil, err
		}
		return []tensor.Type{{DType: x.DType, Shape: reducedShape(n, x.Shape, axes)}}, nil
	}
}

// reduceAxes reports, for each axis, whether it is reduced. Input i holds the axes.
func reduceAxes(n *graph.Node, i, rank int) ([]bool, error) {
	list, err := vector(n, i, "axes")
	if err != nil {
		return nil, err
	}
	ks, err := normAxes(n, list, rank)
	if err != nil {
		return nil, err
	}
	axes := make([]bool, rank)
	for k := range axes {
		axes[k] = slices.Contains(ks, k) || len(ks) == 0 && n.Int("noop_with_empty_axes", 0) == 0
	}
	return axes, nil
}

func reducedShape(n *graph.Node, x tensor.Shape, axes []bool) tensor.Shape {
	s, keep := tensor.Shape{}, n.Int("keepdims", 1) != 0
	for k, d := range x {
		switch {
		case !axes[k]:
			s = append(s, d)
		case keep:
			s = append(s, 1)
		}
	}
	return s
}

// keptStrides are the strides that address the reduced value along x's axes: 0 along reduced ones.
func keptStrides(x tensor.Shape, axes []bool) []int {
	kept := x.Clone()
	for k := range kept {
		if axes[k] {
			kept[k] = 1
		}
	}
	st := kept.Strides()
	for k := range st {
		if axes[k] {
			st[k] = 0
		}
	}
	return st
}

func (r reduction) ref(n *graph.Node, in, out []*tensor.Tensor) error {
	x, y := in[0], out[0]
	axes, err := reduceAxes(n, 1, len(x.Shape))
	if err != nil {
		return err
	}
	st := keptStrides(x.Shape, axes)
	switch {
	case x.DType == tensor.Bool || r.isMax || r.isMin:
		return r.extremes(n, st, x, y)
	case x.DType.IsInt() && r.i != nil:
		r.ints(st, x, y)
		return nil
	}
	if x.DType.IsInt() {
		x = asFloat64(x)
	}
	v := wide(x)
	acc := make([]float64, y.Len())
	if r.logSumExp {
		logSumExp(acc, x.Shape, st, v)
	} else {
		for i := range acc {
			acc[i] = r.start
		}
		each(x.Shape, st, func(i, o int) {
			e := v[i]
			if r.pre != nil {
				e = r.pre(e)
			}
			acc[o] = r.f(acc[o], e)
		})
		for i, a := range acc {
			if r.mean {
				a /= float64(x.Len()) / float64(y.Len())
			}
			if r.post != nil {
				a = r.post(a)
			}
			acc[i] = a
		}
	}
	if y.DType.IsInt() {
		fromFloats(y, acc, castOptions{})
		return nil
	}
	narrow(y, acc)
	return nil
}

// each calls f with every element's position and the position that st gives it.
func each(shape tensor.Shape, st []int, f func(i, o int)) {
	walk(shape, [][]int{st}, func(pos int, off []int, n int, step []int) {
		o := off[0]
		for i := pos; i < pos+n; i++ {
			f(i, o)
			o += step[0]
		}
	})
}

// logSumExp is max + log(sum(exp(x - max))), which does not overflow.
func logSumExp(acc []float64, shape tensor.Shape, st []int, v []float64) {
	top := make([]float64, len(acc))
	for i := range top {
		top[i] = math.Inf(-1)
	}
	each(shape, st, func(i, o int) { top[o] = max(top[o], v[i]) })
	each(shape, st, func(i, o int) {
		if d := v[i] - top[o]; !math.IsInf(top[o], 0) {
			acc[o] += math.Exp(d)
		}
	})
	for o := range acc {
		if math.IsInf(top[o], 0) {
			acc[o] = top[o]
		} else {
			acc[o] = top[o] + math.Log(acc[o])
		}
	}
}

// ints reduces integers modulo 2^64, and keeps the low bits; a mean truncates.
func (r reduction) ints(st []int, x, y *tensor.Tensor) {
	v, acc := ints64(x), make([]int64, y.Len())
	for i := range acc {
		acc[i] = int64(r.startI)
	}
	each(x.Shape, st, func(i, o int) {
		e := uint64(v[i])
		if r.preI != nil {
			e = r.preI(v[i], x.DType.IsSigned())
		}
		acc[o] = int64(r.i(uint64(acc[o]), e))
	})
	if r.mean && y.Len() > 0 && x.Len() > 0 {
		count := int64(x.Len() / y.Len())
		for o := range acc {
			if x.DType.IsSigned() {
				acc[o] /= count
			} else {
				acc[o] = int64(uint64(acc[o]) / uint64(count))
			}
		}
	}
	fromInts(y, tensor.From(acc, len(acc)).Reshape(y.Shape...), castOptions{})
}

// extremes takes maxima or minima, exactly in every type. Nothing to reduce gives
// the type's least (greatest) value, infinite for floats.
func (r reduction) extremes(n *graph.Node, st []int, x, y *tensor.Tensor) error {
	switch {
	case x.DType == tensor.Bool:
		a, b := words[uint8](x), words[uint8](y)
		fill(b, uint8(boolInt(r.isMin)))
		each(x.Shape, st, func(i, o int) {
			if r.isMax {
				b[o] = max(b[o], a[i])
			} else {
				b[o] = min(b[o], a[i])
			}
		})
		return nil
	case x.DType.IsSmallFloat():
		return viaF32(func(n *graph.Node, in, out []*tensor.Tensor) error { return r.extremes(n, st, in[0], out[0]) })(n, []*tensor.Tensor{x}, []*tensor.Tensor{y})
	}
	inf32 := float32(math.Inf(1))
	switch x.DType {
	case tensor.Float32:
		extremesOf(r.isMax, st, x, y, -inf32, inf32)
	case tensor.Float64:
		extremesOf(r.isMax, st, x, y, math.Inf(-1), math.Inf(1))
	case tensor.Int8:
		extremesOf[int8](r.isMax, st, x, y, math.MinInt8, math.MaxInt8)
	case tensor.Int32:
		extremesOf[int32](r.isMax, st, x, y, math.MinInt32, math.MaxInt32)
	case tensor.Int64:
		extremesOf[int64](r.isMax, st, x, y, math.MinInt64, math.MaxInt64)
	case tensor.Uint8:
		extremesOf[uint8](r.isMax, st, x, y, 0, math.MaxUint8)
	case tensor.Uint32:
		extremesOf[uint32](r.isMax, st, x, y, 0, math.MaxUint32)
	case tensor.Uint64:
		extremesOf[uint64](r.isMax, st, x, y, 0, math.MaxUint64)
	default:
		return Unsupported(n, "element type %v", x.DType)
	}
	return nil
}

func extremesOf[T Number](isMax bool, st []int, x, y *tensor.Tensor, least, greatest T) {
	a, b := vals[T](x), vals[T](y)
	if isMax {
		fill(b, least)
		each(x.Shape, st, func(i, o int) { b[o] = max(b[o], a[i]) })
		return
	}
	fill(b, greatest)
	each(x.Shape, st, func(i, o int) { b[o] = min(b[o], a[i]) })
}

func fill[T any](s []T, v T) {
	for i := range s {
		s[i] = v
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func unreduceTo[T Float](n *graph.Node, in, out []*tensor.Tensor) error {
	s := out[0].Shape
	axes, err := reduceAxes(n, 2, len(s))
	if err != nil {
		return err
	}
	dy, dx := vals[T](in[0]), vals[T](out[0])
	count := 1.0
	if n.Int("mean", 0) != 0 && len(dy) > 0 {
		count = float64(len(dx)) / float64(len(dy))
	}
	each(s, keptStrides(s, axes), func(i, o int) { dx[i] = T(float64(dy[o]) / count) })
	return nil
}

// reduceChannels couples the axes that are not reduced.
func reduceChannels(n *graph.Node) []Coupling {
	x := n.In[0].Type.Shape
	axes, err := reduceAxes(n, 1, len(x))
	if err != nil {
		return nil
	}
	cs, o, keep := []Coupling{}, 0, n.Int("keepdims", 1) != 0
	for k := range x {
		if !axes[k] {
			cs = append(cs, Coupling{From: Port{Axis: k}, To: Port{Out: true, Axis: o}})
		}
		if !axes[k] || keep {
			o++
		}
	}
	return cs
}
