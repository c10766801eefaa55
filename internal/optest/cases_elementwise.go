package optest

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// in is a list of inputs, nil where absent.
func in(ts ...*tensor.Tensor) []*tensor.Tensor { return ts }

// of makes a tensor of literal values.
func of[T tensor.Elem](shape []int, v ...T) *tensor.Tensor { return tensor.From(v, shape...) }

// vec is of a vector.
func vec[T tensor.Elem](v ...T) *tensor.Tensor { return tensor.From(v, len(v)) }

// i64 is an int64 vector.
func i64(v ...int64) *tensor.Tensor { return tensor.Ints(v...) }

// positive is Rand made positive: |x| + 0.1.
func positive(seed uint64, shape ...int) *tensor.Tensor {
	t := Rand(seed, tensor.Float32, shape...)
	for i, x := range tensor.Of[float32](t) {
		tensor.Of[float32](t)[i] = float32(math.Abs(float64(x))) + 0.1
	}
	return t
}

// within is Rand squashed into (-limit, limit).
func within(limit float64, seed uint64, shape ...int) *tensor.Tensor {
	t := Rand(seed, tensor.Float32, shape...)
	for i, x := range tensor.Of[float32](t) {
		tensor.Of[float32](t)[i] = float32(limit * math.Tanh(float64(x)))
	}
	return t
}

func init() {
	f := func(v ...float32) *tensor.Tensor { return vec(v...) }
	ten := func(seed uint64, shape ...int) *tensor.Tensor { return Rand(seed, tensor.Float32, shape...) }
	nan, inf := float32(math.NaN()), float32(math.Inf(1))

	Add(
		Case{Name: "add", Op: "Add", In: in(f(1, 2, 3), f(4, 5, -7)), Want: in(f(5, 7, -4)), Grad: []int{0, 1}},
		Case{Name: "add/broadcast", Op: "Add", In: in(ten(1, 2, 3, 4, 5), ten(2, 3, 1, 1)), Grad: []int{0, 1}},
		Case{Name: "add/both", Op: "Add", In: in(ten(1, 3, 1, 5), ten(2, 4, 1)), Grad: []int{0, 1}},
		Case{Name: "add/scalar", Op: "Add", In: in(of([]int{}, float32(2)), of([]int{2, 2}, float32(1), 2, 3, 4)),
			Want: in(of([]int{2, 2}, float32(3), 4, 5, 6)), Grad: []int{0, 1}},
		Case{Name: "add/empty", Op: "Add", In: in(ten(1, 0, 3), ten(2, 1, 3)), Want: in(tensor.New(tensor.Float32, 0, 3))},
		Case{Name: "add/const", Op: "Add", In: in(ten(1, 2, 3), ten(2, 3)), ConstIn: []int{1}, Grad: []int{0}},
		Case{Name: "add/int8wraps", Op: "Add", In: in(vec[int8](127, -128, 3), vec[int8](1, -1, 4)), Want: in(vec[int8](-128, 127, 7))},
		Case{Name: "add/uint16wraps", Op: "Add", In: in(vec[uint16](65535), vec[uint16](2)), Want: in(vec[uint16](1))},
		Case{Name: "add/int64", Op: "Add", In: in(vec[int64](math.MaxInt64), vec[int64](1)), Want: in(vec[int64](math.MinInt64))},
		Case{Name: "add/shapes", Op: "Add", In: in(ten(1, 2, 3), ten(2, 2)), Err: true},
		Case{Name: "add/types", Op: "Add", In: in(f(1), vec[int32](1)), Err: true},
		Case{Name: "add/bool", Op: "Add", In: in(vec(true), vec(true)), Err: true},
		Case{Name: "add/one", Op: "Add", In: in(f(1)), Err: true},

		Case{Name: "sub", Op: "Sub", In: in(f(1, 2, 3), f(3, 2, 1)), Want: in(f(-2, 0, 2)), Grad: []int{0, 1}},
		Case{Name: "sub/broadcast", Op: "Sub", In: in(ten(1, 3, 4, 5), ten(2, 5)), Grad: []int{0, 1}},
		Case{Name: "sub/uint8wraps", Op: "Sub", In: in(vec[uint8](1), vec[uint8](2)), Want: in(vec[uint8](255))},

		Case{Name: "mul", Op: "Mul", In: in(f(1, 2, 3), f(4, 5, 6)), Want: in(f(4, 10, 18)), Grad: []int{0, 1}},
		Case{Name: "mul/broadcast", Op: "Mul", In: in(ten(1, 2, 3, 4), ten(2, 3, 1)), Grad: []int{0, 1}},
		Case{Name: "mul/mask", Op: "Mul", In: in(ten(1, 4, 5), f(1, 0, 1, 0, 1)), ConstIn: []int{1}, Grad: []int{0}},
		Case{Name: "mul/int32wraps", Op: "Mul", In: in(vec[int32](1<<30, -3), vec[int32](4, 5)), Want: in(vec[int32](0, -15))},

		Case{Name: "div", Op: "Div", In: in(f(3, 4, 1, -1, 0), f(1, 2, 0, 0, 0)), Want: in(f(3, 2, inf, -inf, nan))},
		Case{Name: "div/grad", Op: "Div", In: in(ten(1, 2, 3, 4), positive(2, 3, 1)), Grad: []int{0, 1}},
		Case{Name: "div/int32", Op: "Div", In: in(vec[int32](-7, 7, 5, math.MinInt32), vec[int32](2, -2, 0, -1)), Want: in(vec[int32](-3, -3, 0, math.MinInt32))},
		Case{Name: "div/uint64", Op: "Div", In: in(vec[uint64](math.MaxUint64, 7), vec[uint64](2, 0)), Want: in(vec[uint64](math.MaxInt64, 0))},

		Case{Name: "pow", Op: "Pow", In: in(f(1, 2, 3), f(4, 5, 6)), Want: in(f(1, 32, 729))},
		Case{Name: "pow/grad", Op: "Pow", In: in(positive(1, 3, 4), ten(2, 4)), Grad: []int{0, 1}, GradTol: 1e-4},
		Case{Name: "pow/intexponent", Op: "Pow", In: in(f(1, -2, 3), vec[int64](4, 5, -1)), Want: in(f(1, -32, 1.0/3)), Grad: []int{0}},
		Case{Name: "pow/int", Op: "Pow", In: in(vec[int32](2, -3, 2, -1), vec[int64](10, 3, -1, -3)), Want: in(vec[int32](1024, -27, 0, -1))},
		Case{Name: "pow/intfloat", Op: "Pow", In: in(vec[int64](1, 2, 3), f(4, 5, 6)), Want: in(vec[int64](1, 32, 729))},
		Case{Name: "pow/types", Op: "Pow", In: in(vec[int8](2), f(1)), Err: true},

		Case{Name: "pow/mixedfloat", Op: "Pow", F32Only: true, In: in(f(2, 4), vec(0.5, 0.5)), Want: in(f(1.4142135, 2))},
		Case{Name: "pow/halfexponent", Op: "Pow", F32Only: true, In: in(f(4, 9), vec(tensor.ToF16(0.5))), Want: in(f(2, 3)), Grad: []int{0}},
		Case{Name: "pow/uintexponent", Op: "Pow", In: in(vec[int64](1, -1, 3), vec[uint64](math.MaxUint64, math.MaxUint64, 2)), Want: in(vec[int64](1, -1, 9))},
		Case{Name: "pow/shapes", Op: "Pow", In: in(f(1, 2), f(1, 2, 3)), Err: true},
		Case{Name: "mod", Op: "Mod", In: in(vec[int32](-4, 7, 5, 4, -7, 8), vec[int32](2, -3, 8, -2, 3, 5)), Want: in(vec[int32](0, -2, 5, 0, 2, 3))},
		Case{Name: "mod/fmod", Op: "Mod", Attrs: map[string]any{"fmod": int64(1)},
			In: in(vec[int64](-4, 7, 5, 4, -7, 8), vec[int64](2, -3, 8, -2, 3, 0)), Want: in(vec[int64](0, 1, 5, 0, -1, 0))},
		Case{Name: "mod/float", Op: "Mod", In: in(f(-4.5, 5, 3, inf, 1, -1), f(2, -3, inf, 2, 0, inf)), Want: in(f(1.5, -1, 3, nan, nan, inf))},
		Case{Name: "mod/floatfmod", Op: "Mod", Attrs: map[string]any{"fmod": int64(1)}, In: in(f(-4.5, 5, 3), f(2, -3, inf)), Want: in(f(-0.5, 2, 3))},
		Case{Name: "mod/zeros", Op: "Mod", In: in(f(0, 0, nan, 1), f(inf, -inf, inf, nan)), Want: in(f(0, 0, nan, nan))},
		Case{Name: "mod/uint8", Op: "Mod", In: in(vec[uint8](200, 5), vec[uint8](7, 0)), Want: in(vec[uint8](4, 0))},
		Case{Name: "mod/attr", Op: "Mod", Attrs: map[string]any{"fmod": int64(2)}, In: in(f(1), f(1)), Err: true},

		Case{Name: "max", Op: "Max", In: in(f(3, 2, nan), f(1, 4, 4), f(2, 5, 3)), Want: in(f(3, 5, nan))},
		Case{Name: "max/grad", Op: "Max", In: in(ten(1, 3, 4), ten(2, 4), ten(3, 3, 1)), Grad: []int{0, 1, 2}},
		Case{Name: "max/one", Op: "Max", In: in(f(1, 2)), Want: in(f(1, 2)), Grad: []int{0}},
		Case{Name: "max/uint64", Op: "Max", In: in(vec[uint64](math.MaxUint64), vec[uint64](1)), Want: in(vec[uint64](math.MaxUint64))},
		Case{Name: "max/none", Op: "Max", Err: true},
		Case{Name: "min", Op: "Min", In: in(f(3, 2, 1), f(1, nan, 4), f(2, 5, 0)), Want: in(f(1, nan, 0))},
		Case{Name: "min/grad", Op: "Min", In: in(ten(1, 3, 4), ten(2, 4)), Grad: []int{0, 1}},
		Case{Name: "min/int8", Op: "Min", In: in(vec[int8](-1, 5), vec[int8](3)), Want: in(vec[int8](-1, 3))},
		Case{Name: "sum", Op: "Sum", In: in(f(3, 0, 2), f(1, 3, 4), f(2, 6, 6)), Want: in(f(6, 9, 12)), Grad: []int{0, 1, 2}},
		Case{Name: "mean", Op: "Mean", In: in(f(3, 0, 2), f(1, 3, 4), f(2, 6, 6)), Want: in(f(2, 3, 4)), Grad: []int{0, 1, 2}},
		Case{Name: "mean/broadcast", Op: "Mean", In: in(ten(1, 3, 4), ten(2, 1, 4)), Grad: []int{0, 1}},

		Case{Name: "equal", Op: "Equal", In: in(f(1, nan, 3), f(1, nan, 2)), Want: in(vec(true, false, false))},
		Case{Name: "equal/bool", Op: "Equal", In: in(vec(true, false), vec(true, true)), Want: in(vec(true, false))},
		Case{Name: "equal/int64", Op: "Equal", In: in(vec[int64](1<<53, 5), vec[int64](1<<53+1, 5)), Want: in(vec(false, true))},
		Case{Name: "less", Op: "Less", In: in(of([]int{2, 1}, float32(1), 3), f(2, 3)), Want: in(of([]int{2, 2}, true, true, false, false))},
		Case{Name: "lessorequal", Op: "LessOrEqual", In: in(vec[int8](-1, 2, 3), vec[int8](2, 2, 2)), Want: in(vec(true, true, false))},
		Case{Name: "greater", Op: "Greater", In: in(vec[uint64](math.MaxUint64, 2), vec[uint64](2, 2)), Want: in(vec(true, false))},
		Case{Name: "greaterorequal", Op: "GreaterOrEqual", In: in(f(1, nan), f(1, 0)), Want: in(vec(true, false))},
		Case{Name: "less/bool", Op: "Less", In: in(vec(true), vec(true)), Err: true},
		Case{Name: "and", Op: "And", In: in(vec(true, true, false), vec(true, false, false)), Want: in(vec(true, false, false))},
		Case{Name: "or", Op: "Or", In: in(vec(true, true, false), vec(true, false, false)), Want: in(vec(true, true, false))},
		Case{Name: "xor", Op: "Xor", In: in(of([]int{2, 1}, true, false), vec(true, false)), Want: in(of([]int{2, 2}, false, true, true, false))},
		Case{Name: "equal/float16", Op: "Equal", In: in(vec(tensor.ToF16(1)), vec(tensor.ToF16(2))), Want: in(vec(false))},
		Case{Name: "not", Op: "Not", In: in(vec(true, false)), Want: in(vec(false, true))},
		Case{Name: "and/float", Op: "And", In: in(f(1), f(1)), Err: true},
		Case{Name: "where", Op: "Where", In: in(of([]int{2, 2}, true, false, true, true), of([]int{2, 2}, float32(1), 2, 3, 4), of([]int{2, 2}, float32(9), 8, 7, 6)),
			Want: in(of([]int{2, 2}, float32(1), 8, 3, 4)), Grad: []int{1, 2}},
		Case{Name: "where/broadcast", Op: "Where", In: in(Rand(1, tensor.Bool, 3, 1), ten(2, 2, 1, 4), of([]int{}, float32(5))), Grad: []int{1, 2}},
		Case{Name: "where/int64", Op: "Where", In: in(vec(true, false), vec[int64](1, 2), vec[int64](3, 4)), Want: in(vec[int64](1, 4))},
		Case{Name: "where/types", Op: "Where", In: in(vec(true), f(1), vec[int64](3)), Err: true},
		Case{Name: "where/cond", Op: "Where", In: in(f(1), f(1), f(3)), Err: true},

		Case{Name: "neg", Op: "Neg", In: in(f(-4, 2)), Want: in(f(4, -2)), Grad: []int{0}},
		Case{Name: "neg/int8", Op: "Neg", In: in(vec[int8](-128, 5)), Want: in(vec[int8](-128, -5))},
		Case{Name: "neg/uint8", Op: "Neg", In: in(vec[uint8](1)), Err: true},
		Case{Name: "abs", Op: "Abs", In: in(f(-4, 2, -inf)), Want: in(f(4, 2, inf))},
		Case{Name: "abs/grad", Op: "Abs", In: in(ten(1, 3, 5)), Grad: []int{0}},
		Case{Name: "abs/int16", Op: "Abs", In: in(vec[int16](-5, 7)), Want: in(vec[int16](5, 7))},
		Case{Name: "sign", Op: "Sign", In: in(f(-4, 0, 2)), Want: in(f(-1, 0, 1))},
		Case{Name: "sign/uint8", Op: "Sign", In: in(vec[uint8](0, 200)), Want: in(vec[uint8](0, 1))},
		Case{Name: "sqrt", Op: "Sqrt", In: in(f(1, 4, 9)), Want: in(f(1, 2, 3)), Grad: []int{0}},
		Case{Name: "exp", Op: "Exp", In: in(f(-1, 0, 1)), Want: in(f(0.36787944, 1, 2.7182817)), Grad: []int{0}},
		Case{Name: "log", Op: "Log", In: in(f(1, 10)), Want: in(f(0, 2.3025851)), Grad: []int{0}},
		Case{Name: "reciprocal", Op: "Reciprocal", In: in(f(-4, 2)), Want: in(f(-0.25, 0.5)), Grad: []int{0}},
		Case{Name: "floor", Op: "Floor", In: in(f(-1.5, 1.2, 2)), Want: in(f(-2, 1, 2))},
		Case{Name: "ceil", Op: "Ceil", In: in(f(-1.5, 1.2)), Want: in(f(-1, 2))},
		Case{Name: "round", Op: "Round", In: in(f(0.1, 0.5, 0.9, 1.2, 1.5, 1.8, 2.3, 2.5, 2.7, -1.1, -1.5, -1.9, -2.2, -2.5, -2.8)),
			Want: in(f(0, 0, 1, 1, 2, 2, 2, 2, 3, -1, -2, -2, -2, -2, -3))},
		Case{Name: "round/int", Op: "Round", In: in(i64(1)), Err: true},
		Case{Name: "isnan", Op: "IsNaN", In: in(f(3, nan, 4, nan)), Want: in(vec(false, true, false, true))},
		Case{Name: "isnan/float8", Op: "IsNaN", In: in(narrowT(tensor.Float8E4M3FN, 3, 0x7f, 0x7e, 0)), Want: in(vec(true, false, false))},
		Case{Name: "isinf/float8", Op: "IsInf", In: in(narrowT(tensor.Float8E5M2, 4, 0x7f, 0x7c, 0xfc, 0x7b)), Want: in(vec(false, true, true, false))},
		Case{Name: "isinf", Op: "IsInf", In: in(f(-1.7, nan, inf, -inf)), Want: in(vec(false, false, true, true))},
		Case{Name: "isinf/positive", Op: "IsInf", Attrs: map[string]any{"detect_negative": int64(0)}, In: in(f(inf, -inf)), Want: in(vec(true, false))},

		Case{Name: "sumto", Domain: graph.Domain, Op: "SumTo", In: in(of([]int{2, 3}, float32(1), 2, 3, 4, 5, 6), i64(3)), Want: in(f(5, 7, 9)), Grad: []int{0}},
		Case{Name: "sumto/middle", Domain: graph.Domain, Op: "SumTo", In: in(ten(1, 2, 3, 4), i64(3, 1)), Grad: []int{0}},
		Case{Name: "sumto/same", Domain: graph.Domain, Op: "SumTo", In: in(f(1, 2), i64(2)), Want: in(f(1, 2))},
		Case{Name: "sumto/scalar", Domain: graph.Domain, Op: "SumTo", In: in(f(1, 2), i64()), Want: in(of([]int{}, float32(3)))},
		Case{Name: "sumto/shape", Domain: graph.Domain, Op: "SumTo", In: in(f(1, 2), i64(3)), Err: true},

		Case{Name: "clip", Op: "Clip", In: in(f(-2, 0, 2, nan), of([]int{}, float32(-1)), of([]int{}, float32(1))), Want: in(f(-1, 0, 1, nan))},
		Case{Name: "clip/grad", Op: "Clip", In: in(ten(1, 3, 5), of([]int{}, float32(-0.5)), of([]int{}, float32(0.6))), ConstIn: []int{1, 2}, Grad: []int{0}},
		Case{Name: "clip/max", Op: "Clip", In: in(f(-2, 0, 2), nil, of([]int{}, float32(1))), Want: in(f(-2, 0, 1)), Grad: []int{0}},
		Case{Name: "clip/none", Op: "Clip", In: in(f(-2, 0, 2)), Want: in(f(-2, 0, 2)), Grad: []int{0}},
		Case{Name: "clip/crossed", Op: "Clip", In: in(f(-2, 0, 6), of([]int{}, float32(2)), of([]int{}, float32(1))), Want: in(f(1, 1, 1))},
		Case{Name: "clip/int8", Op: "Clip", In: in(vec[int8](-100, 5, 100), of([]int{}, int8(-3)), nil), Want: in(vec[int8](-3, 5, 100))},
		Case{Name: "clip/bound", Op: "Clip", In: in(f(-2, 0, 6), f(1, 2)), Err: true},
		Case{Name: "clip/type", Op: "Clip", In: in(f(-2, 0, 6), vec[int8](1)), Err: true},
		Case{Name: "clipgrad", Domain: graph.Domain, Op: "ClipGrad", In: in(f(1, 2, 3), f(-2, 0.5, 2), of([]int{}, float32(-1)), of([]int{}, float32(1))), Want: in(f(0, 2, 0))},
	)

	// Operators with a gradient operator of their own: value and slope at a point.
	for _, u := range []struct {
		op       string
		x, y, dy float32
		around   *tensor.Tensor
	}{
		{"Erf", 0.5, 0.5204999, 0.8787826, ten(5, 3, 5)},
		{"Sin", 0.5, 0.4794255, 0.8775826, ten(5, 3, 5)},
		{"Cos", 0.5, 0.8775826, -0.4794255, ten(5, 3, 5)},
		{"Tan", 0.5, 0.5463025, 1.2984464, within(1.2, 5, 3, 5)},
		{"Asin", 0.5, 0.5235988, 1.1547005, within(0.9, 5, 3, 5)},
		{"Acos", 0.5, 1.0471976, -1.1547005, within(0.9, 5, 3, 5)},
		{"Atan", 0.5, 0.4636476, 0.8, ten(5, 3, 5)},
		{"Sinh", 0.5, 0.5210953, 1.1276260, ten(5, 3, 5)},
		{"Cosh", 0.5, 1.1276260, 0.5210953, ten(5, 3, 5)},
		{"Asinh", 0.5, 0.4812118, 0.8944272, ten(5, 3, 5)},
		{"Acosh", 1.5, 0.9624237, 0.8944272, F32([]float32{1.2, 2, 3.5}, 3)},
		{"Atanh", 0.5, 0.5493061, 1.3333334, within(0.9, 5, 3, 5)},
	} {
		Add(
			Case{Name: u.op, Op: u.op, In: in(f(u.x)), Want: in(f(u.y))},
			Case{Name: u.op + "/grad", Op: u.op, In: in(u.around), Grad: []int{0}, GradTol: 1e-4},
			Case{Name: u.op + "/int", Op: u.op, In: in(i64(1)), Err: true},
			Case{Name: u.op + "Grad", Domain: graph.Domain, Op: u.op + "Grad", In: in(f(2), f(u.x)), Want: in(f(2 * u.dy))},
		)
	}
}
