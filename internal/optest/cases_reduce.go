package optest

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

func init() {
	f := func(v ...float32) *tensor.Tensor { return vec(v...) }
	ten := func(seed uint64, shape ...int) *tensor.Tensor { return Rand(seed, tensor.Float32, shape...) }
	drop := map[string]any{"keepdims": int64(0)}
	noop := map[string]any{"noop_with_empty_axes": int64(1)}
	x := of([]int{3, 2, 2}, float32(1), 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	s0 := func(v float32) *tensor.Tensor { return of([]int{}, v) }
	inf := float32(math.Inf(1))

	// Each over axis 1, dropped, of the numbers 1 to 12 as [3,2,2].
	for _, r := range []struct {
		op   string
		want []float32
	}{
		{"ReduceSum", []float32{4, 6, 12, 14, 20, 22}},
		{"ReduceMean", []float32{2, 3, 6, 7, 10, 11}},
		{"ReduceMax", []float32{3, 4, 7, 8, 11, 12}},
		{"ReduceMin", []float32{1, 2, 5, 6, 9, 10}},
		{"ReduceProd", []float32{3, 8, 35, 48, 99, 120}},
		{"ReduceSumSquare", []float32{10, 20, 74, 100, 202, 244}},
		{"ReduceL1", []float32{4, 6, 12, 14, 20, 22}},
		{"ReduceL2", []float32{3.1622777, 4.472136, 8.602325, 10, 14.21267, 15.6205}},
		{"ReduceLogSum", []float32{1.3862944, 1.7917595, 2.4849067, 2.6390573, 2.9957323, 3.0910425}},
		{"ReduceLogSumExp", []float32{3.126928, 4.126928, 7.126928, 8.126928, 11.126928, 12.126928}},
	} {
		Add(
			Case{Name: r.op, Op: r.op, Attrs: drop, In: in(x, i64(1)), Want: in(of([]int{3, 2}, r.want...))},
			Case{Name: r.op + "/grad", Op: r.op, Attrs: drop, In: in(positive(3, 3, 4, 5), i64(0, -1)), Grad: []int{0}, GradTol: 1e-4},
			Case{Name: r.op + "/keep", Op: r.op, In: in(positive(3, 3, 4, 5), i64(1)), Grad: []int{0}, GradTol: 1e-4},
			Case{Name: r.op + "/all", Op: r.op, In: in(positive(4, 3, 4)), Grad: []int{0}, GradTol: 1e-4},
			Case{Name: r.op + "/noop", Op: r.op, Attrs: noop, In: in(positive(4, 3, 4), i64()), Grad: []int{0}, GradTol: 1e-4},
			Case{Name: r.op + "/scalar", Op: r.op, In: in(s0(1.5)), Grad: []int{0}},
			Case{Name: r.op + "/axis", Op: r.op, In: in(x, i64(3)), Err: true},
			Case{Name: r.op + "/twice", Op: r.op, In: in(x, i64(1, -2)), Err: true},
			Case{Name: r.op + "/axes", Op: r.op, In: in(x, of([]int{1, 1}, int64(1))), Err: true},
			Case{Name: r.op + "/int16", Op: r.op, In: in(vec[int16](1)), Err: true},
		)
	}
	Add(
		Case{Name: "reducesum/int32wraps", Op: "ReduceSum", In: in(vec[int32](math.MaxInt32, 2)), Want: in(vec[int32](math.MinInt32 + 1))},
		Case{Name: "reducesum/empty", Op: "ReduceSum", In: in(ten(1, 2, 0, 3), i64(1)), Want: in(of([]int{2, 1, 3}, float32(0), 0, 0, 0, 0, 0))},
		Case{Name: "reducesum/noop", Op: "ReduceSum", Attrs: noop, In: in(f(1, 2)), Want: in(f(1, 2))},
		Case{Name: "reducemean/int64", Op: "ReduceMean", In: in(i64(-3, -4)), Want: in(i64(-3))},
		Case{Name: "reducemean/uint64", Op: "ReduceMean", In: in(vec[uint64](math.MaxUint64, 0)), Want: in(vec[uint64](math.MaxInt64))},
		Case{Name: "reducemax/bool", Op: "ReduceMax", In: in(of([]int{2, 2}, true, false, false, false), i64(1)), Want: in(of([]int{2, 1}, true, false))},
		Case{Name: "reducemin/bool", Op: "ReduceMin", In: in(of([]int{2, 2}, true, false, true, true), i64(1)), Want: in(of([]int{2, 1}, false, true))},
		Case{Name: "reducemax/uint64", Op: "ReduceMax", In: in(vec[uint64](1, math.MaxUint64)), Want: in(vec[uint64](math.MaxUint64))},
		Case{Name: "reducemax/int8", Op: "ReduceMax", In: in(vec[int8](-1, -128)), Want: in(vec[int8](-1))},
		Case{Name: "reducemax/nan", Op: "ReduceMax", In: in(f(1, float32(math.NaN()), 3)), Want: in(f(float32(math.NaN())))},
		Case{Name: "reducemax/empty", Op: "ReduceMax", In: in(ten(1, 0, 2), i64(0)), Want: in(of([]int{1, 2}, -inf, -inf))},
		Case{Name: "reducemin/emptyint", Op: "ReduceMin", In: in(tensor.New(tensor.Int32, 0)), Want: in(vec[int32](math.MaxInt32))},
		Case{Name: "reduceprod/empty", Op: "ReduceProd", In: in(ten(1, 0)), Want: in(f(1))},
		Case{Name: "reduceprod/int32", Op: "ReduceProd", In: in(vec[int32](-3, 4)), Want: in(vec[int32](-12))},
		Case{Name: "reducel1/int32", Op: "ReduceL1", In: in(vec[int32](-3, 4)), Want: in(vec[int32](7))},
		Case{Name: "reducel1/uint64", Op: "ReduceL1", In: in(vec[uint64](1<<63, 4)), Want: in(vec[uint64](1<<63 + 4))},
		Case{Name: "reducel2/int32", Op: "ReduceL2", In: in(vec[int32](-3, 4)), Want: in(vec[int32](5))},
		Case{Name: "reducel2/zero", Op: "ReduceL2", In: in(f(0, 0)), Want: in(f(0))},
		Case{Name: "reducesumsquare/int64", Op: "ReduceSumSquare", In: in(i64(-3, 4)), Want: in(i64(25))},
		Case{Name: "reducelogsumexp/large", Op: "ReduceLogSumExp", In: in(f(1000, 1000)), Want: in(f(1000.6931)), F32Only: true},
		Case{Name: "reducelogsumexp/inf", Op: "ReduceLogSumExp", In: in(f(-inf, -inf)), Want: in(f(-inf))},

		Case{Name: "unreduce", Domain: graph.Domain, Op: "Unreduce", Attrs: drop, In: in(f(1, 2), i64(2, 3), i64(1)),
			Want: in(of([]int{2, 3}, float32(1), 1, 1, 2, 2, 2)), Grad: []int{0}},
		Case{Name: "unreduce/mean", Domain: graph.Domain, Op: "Unreduce", Attrs: map[string]any{"mean": int64(1)}, In: in(of([]int{1, 1}, float32(6)), i64(2, 3)),
			Want: in(of([]int{2, 3}, float32(1), 1, 1, 1, 1, 1)), Grad: []int{0}},
		Case{Name: "unreduce/shape", Domain: graph.Domain, Op: "Unreduce", In: in(f(1, 2), i64(2, 3), i64(1)), Err: true},
	)
}
