package optest

import "whit/tensor"

func init() {
	f := tensor.Float32
	a23 := F32([]float32{1, 2, 3, 4, 5, 6}, 2, 3)
	b32 := F32([]float32{1, 4, 2, 5, 3, 6}, 3, 2)
	b23 := F32([]float32{1, 2, 3, 4, 5, 6}, 2, 3)
	ab := F32([]float32{14, 32, 32, 77}, 2, 2)
	t1 := int64(1)

	for _, c := range []struct {
		name  string
		attrs map[string]any
		in    []*tensor.Tensor
		want  *tensor.Tensor
	}{
		{"plain", nil, []*tensor.Tensor{a23, b32}, ab},
		{"transB", map[string]any{"transB": t1}, []*tensor.Tensor{a23, b23}, ab},
		{"transA", map[string]any{"transA": t1}, []*tensor.Tensor{b32, b32}, ab},
		{"transAB", map[string]any{"transA": t1, "transB": t1}, []*tensor.Tensor{b32, a23}, ab},
		{"row", nil, []*tensor.Tensor{a23, b32, F32([]float32{10, 20}, 2)}, F32([]float32{24, 52, 42, 97}, 2, 2)},
		{"column", nil, []*tensor.Tensor{a23, b32, F32([]float32{10, 20}, 2, 1)}, F32([]float32{24, 42, 52, 97}, 2, 2)},
		{"scalar", nil, []*tensor.Tensor{a23, b32, F32([]float32{1})}, F32([]float32{15, 33, 33, 78}, 2, 2)},
		{"one", nil, []*tensor.Tensor{a23, b32, F32([]float32{1}, 1)}, F32([]float32{15, 33, 33, 78}, 2, 2)},
		{"full", map[string]any{"alpha": float32(.5), "beta": float32(2)}, []*tensor.Tensor{a23, b32, F32([]float32{1, 2, 3, 4}, 2, 2)},
			F32([]float32{9, 20, 22, 46.5}, 2, 2)},
		{"all", map[string]any{"alpha": float32(.25), "beta": float32(.35), "transA": t1, "transB": t1},
			[]*tensor.Tensor{Rand(1, f, 4, 3), Rand(2, f, 5, 4), Rand(3, f, 1, 5)}, nil},
		{"tails", map[string]any{"transB": t1}, []*tensor.Tensor{Rand(4, f, 7, 37), Rand(5, f, 19, 37), Rand(6, f, 19)}, nil},
		{"wide", nil, []*tensor.Tensor{Rand(7, f, 13, 70), Rand(8, f, 70, 33), Rand(9, f, 33)}, nil},
		{"vector", nil, []*tensor.Tensor{Rand(10, f, 1, 50), Rand(11, f, 50, 10), Rand(12, f, 10)}, nil},
	} {
		k := Case{Name: "gemm/" + c.name, Op: "Gemm", Attrs: c.attrs, In: c.in}
		for i := range c.in {
			k.Grad = append(k.Grad, i)
		}
		if c.want != nil {
			k.Want = []*tensor.Tensor{c.want}
		}
		Add(k)
	}
	Add(
		Case{Name: "gemm/int32", Op: "Gemm", Attrs: map[string]any{"alpha": float32(-2)},
			In: []*tensor.Tensor{tensor.From([]int32{1 << 30, 1}, 1, 2), tensor.From([]int32{2, 3}, 2, 1), tensor.From([]int32{5}, 1)},
			// (2^31 + 3)·-2 + 5, modulo 2^32
			Want: []*tensor.Tensor{tensor.From([]int32{-1}, 1, 1)}},
		Case{Name: "gemm/uint64", Op: "Gemm", In: []*tensor.Tensor{tensor.From([]uint64{1 << 63, 3}, 1, 2), tensor.From([]uint64{2, 5}, 2, 1)},
			Want: []*tensor.Tensor{tensor.From([]uint64{15}, 1, 1)}},
		Case{Name: "gemm/k0", Op: "Gemm", In: []*tensor.Tensor{Rand(1, f, 2, 0), Rand(1, f, 0, 3), F32([]float32{1, 2, 3}, 3)},
			Want: []*tensor.Tensor{F32([]float32{1, 2, 3, 1, 2, 3}, 2, 3)}},
		Case{Name: "gemm/fails/k", Op: "Gemm", In: []*tensor.Tensor{a23, a23}, Err: true},
		Case{Name: "gemm/fails/transB", Op: "Gemm", Attrs: map[string]any{"transB": t1}, In: []*tensor.Tensor{a23, b32}, Err: true},
		Case{Name: "gemm/fails/rank", Op: "Gemm", In: []*tensor.Tensor{Rand(1, f, 2, 2, 3), b32}, Err: true},
		Case{Name: "gemm/fails/bias", Op: "Gemm", In: []*tensor.Tensor{a23, b32, Rand(1, f, 3)}, Err: true},
		Case{Name: "gemm/fails/biasrank", Op: "Gemm", In: []*tensor.Tensor{a23, b32, Rand(1, f, 1, 2, 2)}, Err: true},
		Case{Name: "gemm/fails/alpha", Op: "Gemm", Attrs: map[string]any{"alpha": float32(.5)},
			In: []*tensor.Tensor{Rand(1, tensor.Int32, 2, 2), Rand(1, tensor.Int32, 2, 2)}, Err: true},
		Case{Name: "gemm/fails/types", Op: "Gemm", In: []*tensor.Tensor{a23, Rand(1, tensor.Float64, 3, 2)}, Err: true},
		Case{Name: "gemmgradc", Domain: "whit", Op: "GemmGradC", Attrs: map[string]any{"beta": float32(2)},
			In: []*tensor.Tensor{a23, Rand(1, f, 2, 1)}, Want: []*tensor.Tensor{F32([]float32{12, 30}, 2, 1)}},
		Case{Name: "gemmgradc/row", Domain: "whit", Op: "GemmGradC",
			In: []*tensor.Tensor{a23, Rand(1, f, 1, 3)}, Want: []*tensor.Tensor{F32([]float32{5, 7, 9}, 1, 3)}},
		Case{Name: "gemmgradc/scalar", Domain: "whit", Op: "GemmGradC",
			In: []*tensor.Tensor{a23, Rand(1, f)}, Want: []*tensor.Tensor{F32([]float32{21})}},
		Case{Name: "gemmgradc/fails", Domain: "whit", Op: "GemmGradC", In: []*tensor.Tensor{a23, Rand(1, f, 2)}, Err: true},
	)

	for _, c := range []struct {
		name string
		a, b *tensor.Tensor
		want *tensor.Tensor
	}{
		{"2d", a23, b32, ab},
		{"vectors", F32([]float32{1, 2, 3}, 3), F32([]float32{4, 5, 6}, 3), F32([]float32{32})},
		{"rowvector", F32([]float32{1, 2, 3}, 3), b32, F32([]float32{14, 32}, 2)},
		{"columnvector", a23, F32([]float32{1, 0, 2}, 3), F32([]float32{7, 16}, 2)},
		{"batch", Rand(1, f, 2, 3, 4), Rand(2, f, 2, 4, 5), nil},
		{"batchA", Rand(1, f, 2, 3, 4), Rand(2, f, 4, 5), nil},
		{"batchB", Rand(1, f, 3, 4), Rand(2, f, 2, 4, 5), nil},
		{"broadcast", Rand(1, f, 2, 1, 3, 4), Rand(2, f, 5, 4, 2), nil},
		{"vectorbatch", Rand(1, f, 4), Rand(2, f, 2, 3, 4, 5), nil},
		{"batchvector", Rand(1, f, 2, 3, 4), Rand(2, f, 4), nil},
		{"tails", Rand(3, f, 17, 23), Rand(4, f, 23, 9), nil},
	} {
		k := Case{Name: "matmul/" + c.name, Op: "MatMul", In: []*tensor.Tensor{c.a, c.b}, Grad: []int{0, 1}}
		if c.want != nil {
			k.Want = []*tensor.Tensor{c.want}
		}
		Add(k)
	}
	Add(
		Case{Name: "matmul/int64", Op: "MatMul", In: []*tensor.Tensor{tensor.From([]int64{1, -2}, 1, 2), tensor.From([]int64{3, 4, 5, 6}, 2, 2)},
			Want: []*tensor.Tensor{tensor.From([]int64{-7, -8}, 1, 2)}},
		Case{Name: "matmul/k0", Op: "MatMul", In: []*tensor.Tensor{Rand(1, f, 1, 0), Rand(1, f, 0, 2)}, Want: []*tensor.Tensor{F32([]float32{0, 0}, 1, 2)}},
		Case{Name: "matmul/batch0", Op: "MatMul", In: []*tensor.Tensor{Rand(1, f, 0, 2, 3), Rand(1, f, 3, 2)}},
		Case{Name: "matmul/fails/k", Op: "MatMul", In: []*tensor.Tensor{a23, a23}, Err: true},
		Case{Name: "matmul/fails/scalar", Op: "MatMul", In: []*tensor.Tensor{F32([]float32{1}), a23}, Err: true},
		Case{Name: "matmul/fails/batch", Op: "MatMul", In: []*tensor.Tensor{Rand(1, f, 2, 2, 2), Rand(1, f, 3, 2, 2)}, Err: true},
		Case{Name: "matmul/fails/int8", Op: "MatMul", In: []*tensor.Tensor{Rand(1, tensor.Int8, 2, 2), Rand(1, tensor.Int8, 2, 2)}, Err: true},
		Case{Name: "matmulgrada", Domain: "whit", Op: "MatMulGradA", In: []*tensor.Tensor{F32([]float32{1, 2, 3, 4}, 2, 2), b32, a23},
			Want: []*tensor.Tensor{F32([]float32{9, 12, 15, 19, 26, 33}, 2, 3)}},
		Case{Name: "matmulgrada/fails", Domain: "whit", Op: "MatMulGradA", In: []*tensor.Tensor{F32([]float32{1, 2}, 1, 2), b32, a23}, Err: true},
		Case{Name: "matmulgradb", Domain: "whit", Op: "MatMulGradB", In: []*tensor.Tensor{F32([]float32{1, 2, 3, 4}, 2, 2), a23, b32},
			Want: []*tensor.Tensor{F32([]float32{13, 18, 17, 24, 21, 30}, 3, 2)}},
	)
}
