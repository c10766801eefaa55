package optest

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

func init() {
	f := func(v ...float32) *tensor.Tensor { return vec(v...) }
	ten := func(seed uint64, shape ...int) *tensor.Tensor { return Rand(seed, tensor.Float32, shape...) }
	s0 := func(v float32) *tensor.Tensor { return of([]int{}, v) }
	ints := func(v ...int64) map[string]any { return map[string]any{"perm": v} }
	attr := func(kv ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(kv); i += 2 {
			v := kv[i+1]
			if x, ok := v.(int); ok {
				v = int64(x)
			}
			m[kv[i].(string)] = v
		}
		return m
	}
	x23 := of([]int{2, 3}, float32(1), 2, 3, 4, 5, 6)

	Add(
		Case{Name: "identity", Op: "Identity", In: in(x23), Want: in(x23), Grad: []int{0}},
		Case{Name: "identity/bool", Op: "Identity", In: in(vec(true, false)), Want: in(vec(true, false))},

		Case{Name: "reshape", Op: "Reshape", In: in(x23, i64(3, 2)), Want: in(of([]int{3, 2}, float32(1), 2, 3, 4, 5, 6)), Grad: []int{0}},
		Case{Name: "reshape/infer", Op: "Reshape", In: in(ten(1, 2, 3, 4, 5), i64(0, -1)), Grad: []int{0}},
		Case{Name: "reshape/zero", Op: "Reshape", In: in(ten(1, 2, 3), i64(0, 3, 1)), Want: in(ten(1, 2, 3).Reshape(2, 3, 1))},
		Case{Name: "reshape/allowzero", Op: "Reshape", Attrs: attr("allowzero", 1), In: in(ten(1, 0, 3), i64(3, 0)), Want: in(ten(1, 3, 0))},
		Case{Name: "reshape/scalar", Op: "Reshape", In: in(f(4), i64()), Want: in(s0(4)), Grad: []int{0}},
		Case{Name: "reshape/empty", Op: "Reshape", In: in(ten(1, 0, 3), i64(0, -1)), Want: in(tensor.New(tensor.Float32, 0, 0))},
		Case{Name: "reshape/two", Op: "Reshape", In: in(x23, i64(-1, -1)), Err: true},
		Case{Name: "reshape/count", Op: "Reshape", In: in(x23, i64(4, -1)), Err: true},
		Case{Name: "reshape/beyond", Op: "Reshape", In: in(f(1, 2), i64(2, 0)), Err: true},
		Case{Name: "reshape/negative", Op: "Reshape", In: in(f(1, 2), i64(-2)), Err: true},
		Case{Name: "reshape/huge", Op: "Reshape", In: in(f(1, 2), i64(math.MaxInt64, math.MaxInt64)), Err: true},
		Case{Name: "reshape/float", Op: "Reshape", In: in(f(1, 2), f(2)), Err: true},
		Case{Name: "reshape/matrix", Op: "Reshape", In: in(f(1, 2), of([]int{1, 1}, int64(2))), Err: true},

		Case{Name: "flatten", Op: "Flatten", In: in(ten(1, 2, 3, 4, 5)), Want: in(ten(1, 2, 3, 4, 5).Reshape(2, 60)), Grad: []int{0}},
		Case{Name: "flatten/axis0", Op: "Flatten", Attrs: attr("axis", 0), In: in(ten(1, 2, 3)), Want: in(ten(1, 2, 3).Reshape(1, 6))},
		Case{Name: "flatten/negative", Op: "Flatten", Attrs: attr("axis", -1), In: in(ten(1, 2, 3, 4)), Want: in(ten(1, 2, 3, 4).Reshape(6, 4))},
		Case{Name: "flatten/end", Op: "Flatten", Attrs: attr("axis", 2), In: in(ten(1, 2, 3)), Want: in(ten(1, 2, 3).Reshape(6, 1))},
		Case{Name: "flatten/range", Op: "Flatten", Attrs: attr("axis", 3), In: in(ten(1, 2, 3)), Err: true},

		Case{Name: "squeeze", Op: "Squeeze", In: in(ten(1, 1, 3, 1), i64(0)), Want: in(ten(1, 1, 3, 1).Reshape(3, 1)), Grad: []int{0}},
		Case{Name: "squeeze/all", Op: "Squeeze", In: in(ten(1, 1, 3, 1)), Want: in(ten(1, 1, 3, 1).Reshape(3))},
		Case{Name: "squeeze/negative", Op: "Squeeze", In: in(ten(1, 1, 3, 1), i64(-1)), Want: in(ten(1, 1, 3, 1).Reshape(1, 3))},
		Case{Name: "squeeze/notone", Op: "Squeeze", In: in(ten(1, 1, 3), i64(1)), Err: true},
		Case{Name: "squeeze/range", Op: "Squeeze", In: in(ten(1, 1, 3), i64(2)), Err: true},
		Case{Name: "unsqueeze", Op: "Unsqueeze", In: in(ten(1, 3, 4), i64(0, -1)), Want: in(ten(1, 3, 4).Reshape(1, 3, 4, 1)), Grad: []int{0}},
		Case{Name: "unsqueeze/range", Op: "Unsqueeze", In: in(ten(1, 3, 4), i64(4, 2)), Err: true},
		Case{Name: "unsqueeze/unsorted", Op: "Unsqueeze", In: in(ten(1, 3, 4), i64(3, 1)), Want: in(ten(1, 3, 4).Reshape(3, 1, 4, 1))},
		Case{Name: "unsqueeze/twice", Op: "Unsqueeze", In: in(ten(1, 3, 4), i64(0, -4)), Err: true},

		Case{Name: "transpose", Op: "Transpose", In: in(x23), Want: in(of([]int{3, 2}, float32(1), 4, 2, 5, 3, 6)), Grad: []int{0}},
		Case{Name: "transpose/perm", Op: "Transpose", Attrs: ints(2, 0, 1), In: in(of([]int{1, 2, 3}, float32(1), 2, 3, 4, 5, 6)),
			Want: in(of([]int{3, 1, 2}, float32(1), 4, 2, 5, 3, 6)), Grad: []int{0}},
		Case{Name: "transpose/rank5", Op: "Transpose", Attrs: ints(0, 3, 1, 4, 2), In: in(ten(1, 2, 3, 4, 5, 3)), Grad: []int{0}},
		Case{Name: "transpose/int8", Op: "Transpose", In: in(of([]int{2, 2}, int8(1), 2, 3, 4)), Want: in(of([]int{2, 2}, int8(1), 3, 2, 4))},
		Case{Name: "transpose/bool", Op: "Transpose", In: in(of([]int{2, 2}, true, true, false, false)), Want: in(of([]int{2, 2}, true, false, true, false))},
		Case{Name: "transpose/empty", Op: "Transpose", In: in(ten(1, 0, 3)), Want: in(ten(1, 3, 0))},
		Case{Name: "transpose/scalar", Op: "Transpose", In: in(s0(3)), Want: in(s0(3)), Grad: []int{0}},
		Case{Name: "transpose/twice", Op: "Transpose", Attrs: ints(0, 0), In: in(x23), Err: true},
		Case{Name: "transpose/short", Op: "Transpose", Attrs: ints(0), In: in(x23), Err: true},
		Case{Name: "transpose/range", Op: "Transpose", Attrs: ints(0, 2), In: in(x23), Err: true},

		Case{Name: "concat", Op: "Concat", Attrs: attr("axis", 0), In: in(f(1, 2), f(3), f(4, 5)), Want: in(f(1, 2, 3, 4, 5)), Grad: []int{0, 1, 2}},
		Case{Name: "concat/axis1", Op: "Concat", Attrs: attr("axis", -2), In: in(ten(1, 2, 3, 4), ten(2, 2, 1, 4), ten(3, 2, 0, 4)), Grad: []int{0, 1}},
		Case{Name: "concat/inner", Op: "Concat", Attrs: attr("axis", 1), In: in(of([]int{2, 1}, int64(1), 4), of([]int{2, 2}, int64(2), 3, 5, 6)),
			Want: in(of([]int{2, 3}, int64(1), 2, 3, 4, 5, 6))},
		Case{Name: "concat/one", Op: "Concat", Attrs: attr("axis", 0), In: in(f(1, 2)), Want: in(f(1, 2)), Grad: []int{0}},
		Case{Name: "concat/none", Op: "Concat", Attrs: attr("axis", 0), Err: true},
		Case{Name: "concat/noaxis", Op: "Concat", In: in(f(1, 2)), Err: true},
		Case{Name: "concat/shapes", Op: "Concat", Attrs: attr("axis", 0), In: in(ten(1, 2, 3), ten(1, 2, 4)), Err: true},
		Case{Name: "concat/ranks", Op: "Concat", Attrs: attr("axis", 0), In: in(ten(1, 2, 3), ten(1, 2)), Err: true},
		Case{Name: "concat/types", Op: "Concat", Attrs: attr("axis", 0), In: in(f(1), i64(1)), Err: true},

		Case{Name: "split", Op: "Split", Outs: 2, In: in(f(1, 2, 3, 4, 5, 6), i64(2, 4)), Want: in(f(1, 2), f(3, 4, 5, 6)), Grad: []int{0}},
		Case{Name: "split/equal", Op: "Split", Outs: 3, Attrs: attr("num_outputs", 3), In: in(f(1, 2, 3, 4, 5, 6)), Want: in(f(1, 2), f(3, 4), f(5, 6)), Grad: []int{0}},
		Case{Name: "split/uneven", Op: "Split", Outs: 4, Attrs: attr("num_outputs", 4), In: in(f(1, 2, 3, 4, 5, 6, 7)), Want: in(f(1, 2), f(3, 4), f(5, 6), f(7))},
		Case{Name: "split/axis", Op: "Split", Outs: 2, Attrs: attr("axis", -1), In: in(of([]int{2, 3}, float32(1), 2, 3, 4, 5, 6), i64(1, 2)),
			Want: in(of([]int{2, 1}, float32(1), 4), of([]int{2, 2}, float32(2), 3, 5, 6)), Grad: []int{0}},
		Case{Name: "split/zero", Op: "Split", Outs: 3, In: in(ten(1, 0), i64(0, 0, 0)), Want: in(ten(1, 0), ten(1, 0), ten(1, 0))},
		Case{Name: "split/sum", Op: "Split", Outs: 2, In: in(f(1, 2, 3), i64(1, 1)), Err: true},
		Case{Name: "split/negative", Op: "Split", Outs: 2, In: in(f(1, 2, 3), i64(4, -1)), Err: true},
		Case{Name: "split/both", Op: "Split", Outs: 2, Attrs: attr("num_outputs", 2), In: in(f(1, 2, 3), i64(1, 2)), Err: true},
		Case{Name: "split/parts", Op: "Split", Outs: 1, Attrs: attr("num_outputs", 0), In: in(f(1, 2, 3)), Err: true},

		Case{Name: "expand", Op: "Expand", In: in(of([]int{3, 1}, float32(1), 2, 3), i64(3, 2)), Want: in(of([]int{3, 2}, float32(1), 1, 2, 2, 3, 3)), Grad: []int{0}},
		Case{Name: "expand/twoway", Op: "Expand", In: in(ten(1, 3, 1), i64(2, 1, 6)), Grad: []int{0}},
		Case{Name: "expand/one", Op: "Expand", In: in(ten(1, 3, 2), i64(1)), Want: in(ten(1, 3, 2))},
		Case{Name: "expand/zero", Op: "Expand", In: in(ten(1, 3, 1), i64(3, 0)), Want: in(tensor.New(tensor.Float32, 3, 0))},
		Case{Name: "expand/shapes", Op: "Expand", In: in(ten(1, 3, 2), i64(3)), Err: true},
		Case{Name: "expand/negative", Op: "Expand", In: in(ten(1, 3, 1), i64(3, -1)), Err: true},
		Case{Name: "expand/huge", Op: "Expand", In: in(f(1), i64(1<<40, 1<<40)), Err: true},
		Case{Name: "tile", Op: "Tile", In: in(of([]int{2, 2}, float32(0), 1, 2, 3), i64(2, 2)),
			Want: in(of([]int{4, 4}, float32(0), 1, 0, 1, 2, 3, 2, 3, 0, 1, 0, 1, 2, 3, 2, 3)), Grad: []int{0}},
		Case{Name: "tile/rank3", Op: "Tile", In: in(ten(1, 2, 1, 3), i64(1, 4, 2)), Grad: []int{0}},
		Case{Name: "tile/none", Op: "Tile", In: in(ten(1, 2, 3), i64(0, 1)), Want: in(tensor.New(tensor.Float32, 0, 3))},
		Case{Name: "tile/scalar", Op: "Tile", In: in(s0(2), i64()), Want: in(s0(2)), Grad: []int{0}},
		Case{Name: "tile/short", Op: "Tile", In: in(ten(1, 2, 3), i64(2)), Err: true},
		Case{Name: "tile/negative", Op: "Tile", In: in(f(1), i64(-1)), Err: true},
		Case{Name: "tile/huge", Op: "Tile", In: in(f(1, 2), i64(math.MaxInt64)), Err: true},

		Case{Name: "gather", Op: "Gather", In: in(of([]int{3, 2}, float32(1.0), 1.2, 2.3, 3.4, 4.5, 5.7), of([]int{2, 2}, int64(0), 1, 1, 2)),
			Want: in(of([]int{2, 2, 2}, float32(1.0), 1.2, 2.3, 3.4, 2.3, 3.4, 4.5, 5.7)), Grad: []int{0}},
		Case{Name: "gather/axis1", Op: "Gather", Attrs: attr("axis", 1), In: in(ten(1, 3, 3), of([]int{1, 2}, int64(0), 2)), Grad: []int{0}},
		Case{Name: "gather/negative", Op: "Gather", In: in(f(1, 2, 3), of([]int{2}, int32(-1), 0)), Want: in(f(3, 1))},
		Case{Name: "gather/scalar", Op: "Gather", In: in(i64(5, 6, 7), of([]int{}, int64(1))), Want: in(of([]int{}, int64(6)))},
		Case{Name: "gather/codebook", Op: "Gather", In: in(f(-1, 0, 2, 5), of([]int{2, 3}, int32(3), 0, 0, 1, 3, 3)),
			Want: in(of([]int{2, 3}, float32(5), -1, -1, 0, 5, 5)), Grad: []int{0}},
		Case{Name: "gather/range", Op: "Gather", In: in(f(1, 2, 3), i64(3)), Err: true},
		Case{Name: "gather/floatindex", Op: "Gather", In: in(f(1, 2, 3), f(1)), Err: true},
		Case{Name: "gather/nothing", Op: "Gather", In: in(tensor.New(tensor.Float32, 0), i64(0)), Err: true},
		Case{Name: "gathergrad", Domain: graph.Domain, Op: "GatherGrad", In: in(of([]int{2, 2}, float32(1), 2, 3, 4), of([]int{2, 2}, int64(0), 2, 2, 0), i64(4)),
			Want: in(f(5, 0, 5, 0)), Grad: []int{0}},
		Case{Name: "gathergrad/axis", Domain: graph.Domain, Op: "GatherGrad", Attrs: attr("axis", -2), In: in(ten(1, 2, 5, 3), i64(1, -1, 1, 0, 3), i64(2, 4, 3)), Grad: []int{0}},
		Case{Name: "gathergrad/shape", Domain: graph.Domain, Op: "GatherGrad", In: in(f(1, 2), i64(0), i64(4)), Err: true},
		Case{Name: "gathergrad/range", Domain: graph.Domain, Op: "GatherGrad", In: in(f(1), i64(4), i64(4)), Err: true},
		Case{Name: "gatherelements", Op: "GatherElements", Attrs: attr("axis", 1), In: in(of([]int{2, 2}, float32(1), 2, 3, 4), of([]int{2, 2}, int64(0), 0, 1, 0)),
			Want: in(of([]int{2, 2}, float32(1), 1, 4, 3)), Grad: []int{0}},
		Case{Name: "gatherelements/axis0", Op: "GatherElements", In: in(of([]int{3, 3}, float32(1), 2, 3, 4, 5, 6, 7, 8, 9), of([]int{2, 3}, int64(-1), -2, 0, -2, 0, 0)),
			Want: in(of([]int{2, 3}, float32(7), 5, 3, 4, 2, 3)), Grad: []int{0}},
		Case{Name: "gatherelements/shape", Op: "GatherElements", In: in(x23, of([]int{1, 4}, int64(0), 0, 0, 0)), Err: true},
		Case{Name: "gatherelements/range", Op: "GatherElements", In: in(x23, of([]int{1, 1}, int64(2))), Err: true},
		Case{Name: "gathernd", Op: "GatherND", In: in(of([]int{2, 2}, int32(0), 1, 2, 3), of([]int{2, 2}, int64(0), 0, 1, 1)), Want: in(vec[int32](0, 3))},
		Case{Name: "gathernd/slices", Op: "GatherND", In: in(of([]int{2, 2, 2}, float32(0), 1, 2, 3, 4, 5, 6, 7), of([]int{2, 1, 2}, int64(0), 1, 1, 0)),
			Want: in(of([]int{2, 1, 2}, float32(2), 3, 4, 5)), Grad: []int{0}},
		Case{Name: "gathernd/batch", Op: "GatherND", Attrs: attr("batch_dims", 1), In: in(of([]int{2, 2, 2}, float32(0), 1, 2, 3, 4, 5, 6, 7), of([]int{2, 1}, int64(1), 0)),
			Want: in(of([]int{2, 2}, float32(2), 3, 4, 5))},
		Case{Name: "gathernd/tuple", Op: "GatherND", In: in(x23, of([]int{1, 3}, int64(0), 0, 0)), Err: true},
		Case{Name: "gathernd/range", Op: "GatherND", In: in(x23, of([]int{1, 2}, int64(0), 3)), Err: true},
		Case{Name: "scatterelements", Op: "ScatterElements", Attrs: attr("axis", 1), In: in(of([]int{1, 5}, float32(1), 2, 3, 4, 5), of([]int{1, 2}, int64(1), 3), of([]int{1, 2}, float32(1.1), 2.1)),
			Want: in(of([]int{1, 5}, float32(1), 1.1, 3, 2.1, 5))},
		Case{Name: "scatterelements/add", Op: "ScatterElements", Attrs: attr("axis", 1, "reduction", "add"), In: in(of([]int{1, 5}, float32(1), 2, 3, 4, 5), of([]int{1, 2}, int64(1), -4), of([]int{1, 2}, float32(1), 2)),
			Want: in(of([]int{1, 5}, float32(1), 5, 3, 4, 5)), Grad: []int{0, 2}},
		Case{Name: "scatterelements/max", Op: "ScatterElements", Attrs: attr("reduction", "max"), In: in(vec[int32](1, 2, 3), i64(0, 0, 2), vec[int32](5, 4, 1)), Want: in(vec[int32](5, 2, 3))},
		Case{Name: "scatterelements/mul", Op: "ScatterElements", Attrs: attr("reduction", "mul"), In: in(f(1, 2, 3), i64(1, 1), f(5, 4)), Want: in(f(1, 40, 3))},
		Case{Name: "scatterelements/updates", Op: "ScatterElements", In: in(f(1, 2, 3), i64(1, 1), f(5)), Err: true},
		Case{Name: "scatterelements/reduction", Op: "ScatterElements", Attrs: attr("reduction", "mean"), In: in(f(1, 2, 3), i64(1), f(5)), Err: true},
		Case{Name: "scatternd", Op: "ScatterND", In: in(f(1, 2, 3, 4, 5, 6, 7, 8), of([]int{4, 1}, int64(4), 3, 1, 7), f(9, 10, 11, 12)), Want: in(f(1, 11, 3, 10, 9, 6, 7, 12))},
		Case{Name: "scatternd/add", Op: "ScatterND", Attrs: attr("reduction", "add"), In: in(ten(1, 3, 2), of([]int{2, 1}, int64(0), 0), ten(2, 2, 2)), Grad: []int{0, 2}},
		Case{Name: "scatternd/range", Op: "ScatterND", In: in(f(1, 2), of([]int{1, 1}, int64(2)), f(9)), Err: true},
		Case{Name: "scatternd/updates", Op: "ScatterND", In: in(f(1, 2), of([]int{1, 1}, int64(1)), f(9, 8)), Err: true},

		Case{Name: "constant", Op: "Constant", Attrs: map[string]any{"value": x23}, Want: in(x23)},
		Case{Name: "constant/int", Op: "Constant", Attrs: attr("value_int", 7), Want: in(of([]int{}, int64(7)))},
		Case{Name: "constant/ints", Op: "Constant", Attrs: attr("value_ints", []int64{7, 8}), Want: in(i64(7, 8))},
		Case{Name: "constant/float", Op: "Constant", Attrs: attr("value_float", float32(7.5)), Want: in(s0(7.5))},
		Case{Name: "constant/floats", Op: "Constant", Attrs: attr("value_floats", []float32{7, 8}), Want: in(f(7, 8))},
		Case{Name: "constant/string", Op: "Constant", Attrs: attr("value_string", "x"), Err: true},
		Case{Name: "constant/none", Op: "Constant", Err: true},
		Case{Name: "constantofshape", Op: "ConstantOfShape", Attrs: map[string]any{"value": f(1.5)}, In: in(i64(2, 3)), Want: in(of([]int{2, 3}, float32(1.5), 1.5, 1.5, 1.5, 1.5, 1.5))},
		Case{Name: "constantofshape/default", Op: "ConstantOfShape", In: in(i64(2)), Want: in(f(0, 0))},
		Case{Name: "constantofshape/zero", Op: "ConstantOfShape", Attrs: map[string]any{"value": vec[int32](1)}, In: in(i64(0)), Want: in(tensor.New(tensor.Int32, 0))},
		Case{Name: "constantofshape/scalar", Op: "ConstantOfShape", In: in(i64()), Want: in(s0(0))},
		Case{Name: "constantofshape/value", Op: "ConstantOfShape", Attrs: map[string]any{"value": f(1, 2)}, In: in(i64(2)), Err: true},
		Case{Name: "constantofshape/negative", Op: "ConstantOfShape", In: in(i64(-2)), Err: true},
		Case{Name: "shape", Op: "Shape", In: in(ten(1, 3, 4, 5)), Want: in(i64(3, 4, 5))},
		Case{Name: "shape/range", Op: "Shape", Attrs: attr("start", 1, "end", -1), In: in(ten(1, 3, 4, 5)), Want: in(i64(4))},
		Case{Name: "shape/clamped", Op: "Shape", Attrs: attr("start", -10, "end", 10), In: in(ten(1, 3, 4, 5)), Want: in(i64(3, 4, 5))},
		Case{Name: "shape/empty", Op: "Shape", Attrs: attr("start", 2, "end", 1), In: in(ten(1, 3, 4, 5)), Want: in(i64())},
		Case{Name: "size", Op: "Size", In: in(ten(1, 3, 4, 5)), Want: in(of([]int{}, int64(60)))},
	)
	const (
		f32t, u8t, i8t, i32t, i64t, boolt, f16t, f64t, bf16t = 1, 2, 3, 6, 7, 9, 10, 11, 16
	)
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	Add(
		Case{Name: "cast/f32i32", F32Only: true, Op: "Cast", Attrs: attr("to", i32t), In: in(f(1.9, -1.9, nan, inf, -3e9)), Want: in(vec[int32](1, -1, 0, math.MaxInt32, math.MinInt32))},
		Case{Name: "cast/f32i64", F32Only: true, Op: "Cast", Attrs: attr("to", i64t), In: in(f(1.9, inf)), Want: in(i64(1, math.MaxInt64))},
		Case{Name: "cast/f32u8", F32Only: true, Op: "Cast", Attrs: attr("to", u8t), In: in(f(255.9, -1, 300)), Want: in(vec[uint8](255, 0, 255))},
		Case{Name: "cast/f32bool", Op: "Cast", Attrs: attr("to", boolt), In: in(f(0, -0.5, nan)), Want: in(vec(false, true, true))},
		Case{Name: "cast/boolf32", Op: "Cast", Attrs: attr("to", f32t), In: in(vec(true, false)), Want: in(f(1, 0))},
		Case{Name: "cast/i64i8", Op: "Cast", Attrs: attr("to", i8t), In: in(i64(200, -129)), Want: in(vec[int8](-56, 127))},
		Case{Name: "cast/i8u64", Op: "Cast", Attrs: attr("to", 13), In: in(vec[int8](-1)), Want: in(vec[uint64](math.MaxUint64))},
		Case{Name: "cast/i64f32", Op: "Cast", Attrs: attr("to", f32t), In: in(i64(1<<24+1, -5)), Want: in(f(1<<24, -5))},
		Case{Name: "cast/u64f32", Op: "Cast", Attrs: attr("to", f32t), In: in(vec[uint64](math.MaxUint64, 3)), Want: in(f(1<<63*2, 3))},
		Case{Name: "cast/i64bf16", Op: "Cast", Attrs: attr("to", bf16t), In: in(i64(1<<62+1<<54+1, -257, 1<<62+1<<54)),
			Want: in(vec(tensor.ToBF16(1<<62+1<<55), tensor.ToBF16(-256), tensor.ToBF16(1<<62))), Tol: 1e-9},
		Case{Name: "cast/u64bf16", Op: "Cast", Attrs: attr("to", bf16t), In: in(vec[uint64](1<<62 + 1<<54 + 1)), Want: in(vec(tensor.ToBF16(1<<62 + 1<<55))), Tol: 1e-9},
		Case{Name: "cast/f32f16", F32Only: true, Op: "Cast", Attrs: attr("to", f16t), In: in(f(65504, 65520, -1e9, 1+1.0/2048)),
			Want: in(vec[tensor.F16](0x7bff, 0x7c00, 0xfc00, 0x3c00))},
		Case{Name: "cast/f64f16", Op: "Cast", Attrs: attr("to", f16t), In: in(vec(1 + 1.0/2048 + 1e-12)), Want: in(vec[tensor.F16](0x3c01))},
		Case{Name: "cast/f32f64", F32Only: true, Op: "Cast", Attrs: attr("to", f64t), In: in(f(0.1)), Want: in(vec(float64(float32(0.1)))), Grad: []int{0}},
		Case{Name: "cast/same", Op: "Cast", F32Only: true, Attrs: attr("to", f32t), In: in(f(1, 2)), Want: in(f(1, 2))},
		Case{Name: "cast/none", Op: "Cast", In: in(f(1)), Err: true},
		Case{Name: "cast/string", Op: "Cast", Attrs: attr("to", 8), In: in(f(1)), Err: true},
		Case{Name: "cast/mode", Op: "Cast", Attrs: attr("to", f32t, "round_mode", "sideways"), In: in(f(1)), Err: true},
		Case{Name: "castlike", Op: "CastLike", F32Only: true, In: in(f(1.5, 2), i64(0)), Want: in(i64(1, 2))},
		Case{Name: "castlike/grad", Op: "CastLike", In: in(f(1.5, 2), f(0)), Grad: []int{0}},
	)
}
