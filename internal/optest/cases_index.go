package optest

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

func init() {
	f := func(v ...float32) *tensor.Tensor { return vec(v...) }
	ten := func(seed uint64, shape ...int) *tensor.Tensor { return Rand(seed, tensor.Float32, shape...) }
	a := func(kv ...any) map[string]any {
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
	s0 := func(v int64) *tensor.Tensor { return of([]int{}, v) }
	x24 := of([]int{2, 4}, float32(1), 2, 3, 4, 5, 6, 7, 8)
	nan := float32(math.NaN())
	const far = math.MaxInt64

	Add(
		Case{Name: "slice", Op: "Slice", In: in(x24, i64(1, 0), i64(2, 3), i64(0, 1), i64(1, 2)), Want: in(of([]int{1, 2}, float32(5), 7)), Grad: []int{0}},
		Case{Name: "slice/clamped", Op: "Slice", In: in(x24, i64(0, 1), i64(-1, 1000)), Want: in(of([]int{1, 3}, float32(2), 3, 4)), Grad: []int{0}},
		Case{Name: "slice/backwards", Op: "Slice", In: in(f(1, 2, 3, 4, 5), i64(-1), i64(-far), i64(0), i64(-2)), Want: in(f(5, 3, 1)), Grad: []int{0}},
		Case{Name: "slice/reversed", Op: "Slice", In: in(of([]int{2, 3}, float32(1), 2, 3, 4, 5, 6), i64(far), i64(math.MinInt64), i64(-1), i64(-1)), Want: in(of([]int{2, 3}, float32(3), 2, 1, 6, 5, 4))},
		Case{Name: "slice/hugestep", Op: "Slice", In: in(f(1, 2, 3), i64(1), i64(far), i64(0), i64(far)), Want: in(f(2)), Grad: []int{0}},
		Case{Name: "slice/hugeback", Op: "Slice", In: in(f(1, 2, 3), i64(1), i64(math.MinInt64), i64(0), i64(math.MinInt64)), Want: in(f(2))},
		Case{Name: "slice/empty", Op: "Slice", In: in(f(1, 2, 3), i64(5), i64(9)), Want: in(tensor.New(tensor.Float32, 0))},
		Case{Name: "slice/int32", Op: "Slice", In: in(vec(true, false, true), vec[int32](1), vec[int32](3)), Want: in(vec(false, true))},
		Case{Name: "slice/rank4", Op: "Slice", In: in(ten(1, 2, 5, 4, 6), i64(1, -1), i64(4, -5), i64(1, 3), i64(1, -2)), Grad: []int{0}},
		Case{Name: "slice/step0", Op: "Slice", In: in(f(1, 2, 3), i64(0), i64(1), i64(0), i64(0)), Err: true},
		Case{Name: "slice/axis", Op: "Slice", In: in(f(1, 2, 3), i64(0), i64(1), i64(1)), Err: true},
		Case{Name: "slice/twice", Op: "Slice", In: in(f(1, 2, 3), i64(0, 0), i64(1, 1), i64(0, 0)), Err: true},
		Case{Name: "slice/lengths", Op: "Slice", In: in(x24, i64(0, 0), i64(1)), Err: true},
		Case{Name: "slice/many", Op: "Slice", In: in(f(1, 2, 3), i64(0, 0), i64(1, 1)), Err: true},
		Case{Name: "slice/float", Op: "Slice", In: in(f(1, 2, 3), f(0), f(1)), Err: true},
		Case{Name: "slicegrad", Domain: graph.Domain, Op: "SliceGrad", In: in(f(7, 8), i64(4), i64(-1), i64(-far), i64(0), i64(-2)), Want: in(f(0, 8, 0, 7)), Grad: []int{0}},
		Case{Name: "slicegrad/rank4", Domain: graph.Domain, Op: "SliceGrad", In: in(ten(1, 2, 3, 4, 3), i64(2, 5, 4, 6), i64(1, -1), i64(4, -6), i64(1, 3), i64(1, -2)), Grad: []int{0}},
		Case{Name: "slicegrad/shape", Domain: graph.Domain, Op: "SliceGrad", In: in(f(7, 8), i64(4), i64(0), i64(1)), Err: true},

		Case{Name: "pad", Op: "Pad", In: in(of([]int{3, 2}, float32(1), 2, 3, 4, 5, 6), i64(0, 2, 0, 1), of([]int{}, float32(9))),
			Want: in(of([]int{3, 5}, float32(9), 9, 1, 2, 9, 9, 9, 3, 4, 9, 9, 9, 5, 6, 9)), Grad: []int{0}},
		Case{Name: "pad/reflect", Op: "Pad", Attrs: a("mode", "reflect"), In: in(f(1, 2, 3), i64(5, 3)), Want: in(f(2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2)), Grad: []int{0}},
		Case{Name: "pad/reflectone", Op: "Pad", Attrs: a("mode", "reflect"), In: in(f(4), i64(1, 1)), Want: in(f(4, 4, 4))},
		Case{Name: "pad/edge", Op: "Pad", Attrs: a("mode", "edge"), In: in(f(1, 2, 3), i64(2, 1)), Want: in(f(1, 1, 1, 2, 3, 3)), Grad: []int{0}},
		Case{Name: "pad/wrap", Op: "Pad", Attrs: a("mode", "wrap"), In: in(f(1, 2, 3), i64(2, 4)), Want: in(f(2, 3, 1, 2, 3, 1, 2, 3, 1)), Grad: []int{0}},
		Case{Name: "pad/negative", Op: "Pad", In: in(f(1, 2, 3, 4), i64(-1, -2)), Want: in(f(2)), Grad: []int{0}},
		Case{Name: "pad/mixed", Op: "Pad", In: in(f(1, 2, 3, 4), i64(2, -3)), Want: in(f(0, 0, 1)), Grad: []int{0}},
		Case{Name: "pad/cutedge", Op: "Pad", Attrs: a("mode", "edge"), In: in(f(1, 2, 3, 4), i64(-1, 1)), Want: in(f(2, 3, 4, 4))},
		Case{Name: "pad/axes", Op: "Pad", In: in(ten(1, 2, 3, 4), i64(1, 0, 2, 1), nil, i64(-1, 0)), Grad: []int{0}},
		Case{Name: "pad/rank4", Op: "Pad", Attrs: a("mode", "reflect"), In: in(ten(1, 2, 3, 4, 5), i64(0, 0, 1, 2, 0, 0, 3, 1)), Grad: []int{0}},
		Case{Name: "pad/bool", Op: "Pad", In: in(vec(true), i64(1, 0), of([]int{}, true)), Want: in(vec(true, true))},
		Case{Name: "pad/scalar", Op: "Pad", In: in(of([]int{}, float32(2)), i64()), Want: in(of([]int{}, float32(2))), Grad: []int{0}},
		Case{Name: "pad/count", Op: "Pad", In: in(f(1), i64(1)), Err: true},
		Case{Name: "pad/cut", Op: "Pad", In: in(f(1, 2), i64(-3, 5)), Err: true},
		Case{Name: "pad/huge", Op: "Pad", In: in(f(1, 2), i64(far, far)), Err: true},
		Case{Name: "pad/mode", Op: "Pad", Attrs: a("mode", "mirror"), In: in(f(1, 2), i64(1, 1)), Err: true},
		Case{Name: "pad/nothing", Op: "Pad", Attrs: a("mode", "edge"), In: in(tensor.New(tensor.Float32, 0), i64(1, 1)), Err: true},
		Case{Name: "pad/fill", Op: "Pad", In: in(f(1, 2), i64(1, 1), i64(3)), Err: true},
		Case{Name: "padgrad", Domain: graph.Domain, Op: "PadGrad", Attrs: a("mode", "edge"), In: in(f(1, 2, 4, 8), i64(2), i64(1, 1)), Want: in(f(3, 12))},
		Case{Name: "pad/channels", Op: "Pad", In: in(ten(1, 2, 3, 4, 5), i64(0, 2, 0, 0, 0, 3, 0, 0)), Grad: []int{0}},
		Case{Name: "pad/around", Op: "Pad", In: in(ten(1, 2, 3, 4, 5), i64(0, 2, -1, 1, 0, -1, 2, 0), of([]int{}, float32(3))), Grad: []int{0}},
		Case{Name: "pad/gone", Op: "Pad", In: in(f(1, 2, 3), i64(-2, -1))},
		Case{Name: "pad/byte", Op: "Pad", In: in(of([]int{1, 2, 2, 1}, uint8(1), 2, 3, 4), i64(0, 1, 0, 1, 0, 0, 0, 0), of([]int{}, uint8(7)))},
		Case{Name: "padgrad/channels", Domain: graph.Domain, Op: "PadGrad", In: in(ten(1, 2, 8, 4, 5), i64(2, 3, 4, 5), i64(0, 2, 0, 0, 0, 3, 0, 0))},
		Case{Name: "padgrad/cut", Domain: graph.Domain, Op: "PadGrad", In: in(ten(1, 2, 4, 5, 6), i64(2, 3, 4, 5), i64(0, 2, -1, 1, 0, -1, 2, 0))},
		Case{Name: "padgrad/shape", Domain: graph.Domain, Op: "PadGrad", In: in(f(1, 2, 4), i64(2), i64(1, 1)), Err: true},

		Case{Name: "argmax", Op: "ArgMax", Attrs: a("axis", 1), In: in(of([]int{2, 2}, float32(2), 2, 3, 10)), Want: in(of([]int{2, 1}, int64(0), 1))},
		Case{Name: "argmax/last", Op: "ArgMax", Attrs: a("axis", -1, "keepdims", 0, "select_last_index", 1), In: in(of([]int{2, 2}, float32(2), 2, 3, 10)), Want: in(i64(1, 1))},
		Case{Name: "argmax/nan", Op: "ArgMax", In: in(f(1, nan, 3)), Want: in(i64(1))},
		Case{Name: "argmax/uint64", Op: "ArgMax", In: in(vec[uint64](1, math.MaxUint64)), Want: in(i64(1))},
		Case{Name: "argmax/rank3", Op: "ArgMax", Attrs: a("axis", 1), In: in(ten(1, 2, 5, 3))},
		Case{Name: "argmax/empty", Op: "ArgMax", In: in(tensor.New(tensor.Float32, 0, 2)), Err: true},
		Case{Name: "argmax/axis", Op: "ArgMax", Attrs: a("axis", 1), In: in(f(1)), Err: true},
		Case{Name: "argmin", Op: "ArgMin", Attrs: a("axis", 0, "keepdims", 0), In: in(of([]int{2, 2}, float32(2), 1, 3, 0)), Want: in(i64(0, 1))},
		Case{Name: "argmin/last", Op: "ArgMin", Attrs: a("select_last_index", 1), In: in(vec[int8](1, -5, -5)), Want: in(i64(2))},

		Case{Name: "cumsum", Op: "CumSum", In: in(f(1, 2, 3, 4), s0(0)), Want: in(f(1, 3, 6, 10)), Grad: []int{0}},
		Case{Name: "cumsum/exclusive", Op: "CumSum", Attrs: a("exclusive", 1), In: in(f(1, 2, 3, 4), s0(0)), Want: in(f(0, 1, 3, 6)), Grad: []int{0}},
		Case{Name: "cumsum/reverse", Op: "CumSum", Attrs: a("reverse", 1), In: in(f(1, 2, 3, 4), s0(-1)), Want: in(f(10, 9, 7, 4)), Grad: []int{0}},
		Case{Name: "cumsum/both", Op: "CumSum", Attrs: a("reverse", 1, "exclusive", 1), In: in(ten(1, 2, 3, 4), s0(1)), Grad: []int{0}},
		Case{Name: "cumsum/int32wraps", Op: "CumSum", In: in(vec[int32](math.MaxInt32, 1), s0(0)), Want: in(vec[int32](math.MaxInt32, math.MinInt32))},
		Case{Name: "cumsum/axis", Op: "CumSum", In: in(f(1), s0(1)), Err: true},
		Case{Name: "cumprod", Op: "CumProd", In: in(f(1, 2, 3, 4), s0(0)), Want: in(f(1, 2, 6, 24))},
		Case{Name: "cumprod/exclusive", Op: "CumProd", Attrs: a("exclusive", 1, "reverse", 1), In: in(f(1, 2, 3, 4), s0(0)), Want: in(f(24, 12, 4, 1))},

		Case{Name: "range", Op: "Range", In: in(s0(10), s0(4), s0(-2)), Want: in(i64(10, 8, 6))},
		Case{Name: "range/float", Op: "Range", F32Only: true, In: in(of([]int{}, float32(1)), of([]int{}, float32(5)), of([]int{}, float32(1.5))), Want: in(f(1, 2.5, 4))},
		Case{Name: "range/int16", Op: "Range", In: in(of([]int{}, int16(-32768)), of([]int{}, int16(32767)), of([]int{}, int16(30000))), Want: in(vec[int16](-32768, -2768, 27232))},
		Case{Name: "range/empty", Op: "Range", In: in(s0(3), s0(3), s0(1)), Want: in(i64())},
		Case{Name: "range/zero", Op: "Range", In: in(s0(3), s0(4), s0(0)), Err: true},
		Case{Name: "range/huge", Op: "Range", In: in(s0(math.MinInt64), s0(far), s0(1)), Err: true},
		Case{Name: "range/nan", Op: "Range", In: in(of([]int{}, nan), of([]int{}, nan), of([]int{}, nan)), Err: true},
		Case{Name: "range/types", Op: "Range", In: in(s0(3), of([]int{}, float32(4)), s0(0)), Err: true},

		Case{Name: "eyelike", Op: "EyeLike", Attrs: a("k", 1), In: in(ten(1, 2, 3)), Want: in(of([]int{2, 3}, float32(0), 1, 0, 0, 0, 1))},
		Case{Name: "eyelike/dtype", Op: "EyeLike", Attrs: a("dtype", 9, "k", -1), In: in(Rand(1, tensor.Int32, 2, 2)), Want: in(of([]int{2, 2}, false, false, true, false))},
		Case{Name: "eyelike/far", Op: "EyeLike", Attrs: a("k", far), In: in(ten(1, 1, 1)), Want: in(of([]int{1, 1}, float32(0)))},
		Case{Name: "eyelike/rank", Op: "EyeLike", In: in(f(1)), Err: true},
		Case{Name: "trilu", Op: "Trilu", In: in(of([]int{2, 3}, float32(1), 2, 3, 4, 5, 6)), Want: in(of([]int{2, 3}, float32(1), 2, 3, 0, 5, 6)), Grad: []int{0}},
		Case{Name: "trilu/lower", Op: "Trilu", Attrs: a("upper", 0), In: in(of([]int{2, 3}, int64(1), 2, 3, 4, 5, 6), s0(-1)), Want: in(of([]int{2, 3}, int64(0), 0, 0, 4, 0, 0))},
		Case{Name: "trilu/batch", Op: "Trilu", In: in(ten(1, 2, 3, 4), s0(1)), Grad: []int{0}},
		Case{Name: "trilu/far", Op: "Trilu", In: in(ten(1, 2, 2), s0(far)), Want: in(tensor.New(tensor.Float32, 2, 2))},
		Case{Name: "trilu/empty", Op: "Trilu", In: in(tensor.New(tensor.Float32, 2, 0)), Want: in(tensor.New(tensor.Float32, 2, 0))},
		Case{Name: "trilu/rank", Op: "Trilu", In: in(f(1)), Err: true},
		Case{Name: "topk", Op: "TopK", Outs: 2, In: in(of([]int{2, 4}, float32(0), 1, 3, 2, 7, 6, 7, 5), i64(3)),
			Want: in(of([]int{2, 3}, float32(3), 2, 1, 7, 7, 6), of([]int{2, 3}, int64(2), 3, 1, 0, 2, 1))},
		Case{Name: "topk/grad", Op: "TopK", Outs: 2, Attrs: a("axis", 0), In: in(ten(1, 4, 3), i64(2)), Grad: []int{0}},
		Case{Name: "topk/smallest", Op: "TopK", Outs: 2, Attrs: a("largest", 0), In: in(vec[int64](4, -1, 2), i64(2)), Want: in(i64(-1, 2), i64(1, 2))},
		Case{Name: "topk/many", Op: "TopK", Outs: 2, In: in(f(1, 2), i64(3)), Err: true},
		Case{Name: "nonzero", Op: "NonZero", In: in(of([]int{2, 2}, true, false, true, true)), Want: in(of([]int{2, 3}, int64(0), 1, 1, 0, 0, 1))},
		Case{Name: "nonzero/float", Op: "NonZero", In: in(f(0, nan, 2)), Want: in(of([]int{1, 2}, int64(1), 2))},

		Case{Name: "depthtospace", Op: "DepthToSpace", Attrs: a("blocksize", 2), In: in(of([]int{1, 8, 1, 2}, float32(0), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)),
			Want: in(of([]int{1, 2, 2, 4}, float32(0), 4, 1, 5, 8, 12, 9, 13, 2, 6, 3, 7, 10, 14, 11, 15)), Grad: []int{0}},
		Case{Name: "depthtospace/crd", Op: "DepthToSpace", Attrs: a("blocksize", 2, "mode", "CRD"), In: in(of([]int{1, 8, 1, 2}, float32(0), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)),
			Want: in(of([]int{1, 2, 2, 4}, float32(0), 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15)), Grad: []int{0}},
		Case{Name: "depthtospace/channels", Op: "DepthToSpace", Attrs: a("blocksize", 2), In: in(ten(1, 1, 6, 2, 2)), Err: true},
		Case{Name: "depthtospace/rank", Op: "DepthToSpace", Attrs: a("blocksize", 2), In: in(ten(1, 4, 2, 2)), Err: true},
		Case{Name: "depthtospace/block", Op: "DepthToSpace", In: in(ten(1, 1, 4, 2, 2)), Err: true},
		Case{Name: "spacetodepth", Op: "SpaceToDepth", Attrs: a("blocksize", 2), In: in(of([]int{1, 2, 2, 4}, float32(0), 4, 1, 5, 8, 12, 9, 13, 2, 6, 3, 7, 10, 14, 11, 15)),
			Want: in(of([]int{1, 8, 1, 2}, float32(0), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)), Grad: []int{0}},
		Case{Name: "spacetodepth/crd", Op: "SpaceToDepth", Attrs: a("blocksize", 3, "mode", "CRD"), In: in(ten(1, 2, 3, 6, 3)), Grad: []int{0}},
		Case{Name: "spacetodepth/size", Op: "SpaceToDepth", Attrs: a("blocksize", 2), In: in(ten(1, 1, 1, 3, 2)), Err: true},
		Case{Name: "spacetodepth/mode", Op: "SpaceToDepth", Attrs: a("blocksize", 2, "mode", "x"), In: in(ten(1, 1, 1, 2, 2)), Err: true},
	)

	// An If on captures: then x+y, else -x, shapes alike; and one whose branch does
	// shape arithmetic on its capture.
	then := graph.New("then")
	tx, ty := then.AddInput("then_x", tensor.Invalid, -1), then.AddInput("then_y", tensor.Invalid, -1)
	sum := then.Add("", "Add", nil, tx, ty)
	sum.Name = "then_sum"
	then.Outputs = []*graph.Value{sum}
	els := graph.New("else")
	ex := els.AddInput("else_x", tensor.Invalid, -1)
	neg := els.Add("", "Neg", nil, ex)
	neg.Name = "else_neg"
	els.Outputs = []*graph.Value{neg}
	flat := graph.New("flat")
	fx := flat.AddInput("flat_x", tensor.Invalid)
	size := flat.Add("", "Reshape", nil, flat.Add("", "Size", nil, fx), flat.NewConst("flat_one", i64(1)))
	res := flat.Add("", "Reshape", nil, fx, size)
	for i, n := range flat.Nodes {
		n.Out[0].Name = "flat_" + string(rune('a'+i))
	}
	flat.Outputs = []*graph.Value{res}

	yes, no := of([]int{}, true), of([]int{}, false)
	branches := map[string]any{"then_branch": then, "else_branch": els}
	Add(
		Case{Name: "if/then", Op: "If", Attrs: branches, In: in(yes, f(1, 2), f(3, 4), f(5, 6)), Want: in(f(4, 6))},
		Case{Name: "if/else", Op: "If", Attrs: branches, In: in(no, f(1, 2), f(3, 4), f(5, 6)), Want: in(f(-5, -6))},
		Case{Name: "if/shapes", Op: "If", Attrs: branches, In: in(no, f(1, 2), f(3, 4), f(5, 6, 7)), Want: in(f(-5, -6, -7))},
		Case{Name: "if/arithmetic", Op: "If", Attrs: map[string]any{"then_branch": flat, "else_branch": els}, In: in(yes, of([]int{2, 2}, float32(1), 2, 3, 4), f(5)),
			Want: in(f(1, 2, 3, 4))},
		Case{Name: "if/cond", Op: "If", Attrs: branches, In: in(f(1), f(1, 2), f(3, 4), f(5, 6)), Err: true},
		Case{Name: "if/captures", Op: "If", Attrs: branches, In: in(yes, f(1, 2), f(3, 4)), Err: true},
		Case{Name: "if/branch", Op: "If", Attrs: map[string]any{"then_branch": then}, In: in(yes, f(1, 2), f(3, 4)), Err: true},
		Case{Name: "if/inner", Op: "If", Attrs: branches, In: in(yes, f(1, 2), f(3, 4, 5), f(1)), Err: true},
	)
}
