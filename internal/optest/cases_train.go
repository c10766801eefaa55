package optest

import "whit/tensor"

func init() {
	w := "whit"
	x := func(seed uint64, shape ...int) *tensor.Tensor { return Rand(seed, tensor.Float32, shape...) }
	labels := tensor.From([]int32{2, 0, -1, 4, 1}, 5)
	soft := F32([]float32{.1, .2, .3, .2, .2, 0, 1, 0, 0, 0, .2, .2, .2, .2, .2, .5, .5, 0, 0, 0, 0, 0, 0, 0, 1}, 5, 5)
	smooth := map[string]any{"smoothing": float32(0.1)}
	both := map[string]any{"smoothing": float32(0.1), "alpha": float32(0.25)}
	Add(
		Case{Name: "softmaxxent", Domain: w, Op: "SoftmaxXent", Outs: 2,
			In:   []*tensor.Tensor{F32([]float32{0, 0, 1, 3, 1, 3}, 3, 2), tensor.From([]int32{0, 1, -1}, 3)},
			Want: []*tensor.Tensor{F32([]float32{0.410038}), F32([]float32{0.693147, 0.126928, 0}, 3)}},
		Case{Name: "softmaxxent/grad", Domain: w, Op: "SoftmaxXent", Outs: 2, In: []*tensor.Tensor{x(1, 5, 5), labels}, Grad: []int{0}},
		Case{Name: "softmaxxent/smooth", Domain: w, Op: "SoftmaxXent", Outs: 2, Attrs: smooth, In: []*tensor.Tensor{x(2, 5, 5), labels}, Grad: []int{0}},
		Case{Name: "softmaxxent/soft", Domain: w, Op: "SoftmaxXent", Outs: 2, Attrs: both, In: []*tensor.Tensor{x(3, 5, 5), labels, soft}, Grad: []int{0}},
		Case{Name: "softmaxxent/taught", Domain: w, Op: "SoftmaxXent", Outs: 2, Attrs: map[string]any{"alpha": float32(1)}, // labels do not matter
			In:   []*tensor.Tensor{F32([]float32{0, 0, 1, 3}, 2, 2), tensor.From([]int32{-1, 0}, 2), F32([]float32{.5, .5, 0, 1}, 2, 2)},
			Want: []*tensor.Tensor{F32([]float32{0.410038}), F32([]float32{0.693147, 0.126928}, 2)}, Grad: []int{0}},
		Case{Name: "softmaxxent/one", Domain: w, Op: "SoftmaxXent", Outs: 1, In: []*tensor.Tensor{x(3, 5, 5), labels}, Grad: []int{0}},
		Case{Name: "softmaxxent/none", Domain: w, Op: "SoftmaxXent", Outs: 2, In: []*tensor.Tensor{x(3, 2, 5), tensor.From([]int32{-1, -1}, 2)},
			Want: []*tensor.Tensor{F32([]float32{0}), F32([]float32{0, 0}, 2)}},
		Case{Name: "softmaxxent/large", Domain: w, Op: "SoftmaxXent", Outs: 2, F32Only: true, In: []*tensor.Tensor{F32([]float32{1e30, -1e30}, 1, 2), tensor.From([]int32{0}, 1)},
			Want: []*tensor.Tensor{F32([]float32{0}), F32([]float32{0}, 1)}},
		Case{Name: "softmaxxent/label", Domain: w, Op: "SoftmaxXent", Outs: 2, Err: true, In: []*tensor.Tensor{x(3, 1, 5), tensor.From([]int32{5}, 1)}},
		Case{Name: "softmaxxentgrad", Domain: w, Op: "SoftmaxXentGrad",
			In:   []*tensor.Tensor{F32([]float32{0, 0, 1, 3}, 2, 2), tensor.From([]int32{0, 1}, 2), nil, F32([]float32{2})},
			Want: []*tensor.Tensor{F32([]float32{-0.5, 0.5, 0.119203, -0.119203}, 2, 2)}},
		Case{Name: "codebook", Op: "Gather", ConstIn: []int{1}, In: []*tensor.Tensor{x(1, 5), tensor.From([]int32{0, 4, -1, 2, -5, 1}, 2, 3)}, Grad: []int{0}},
		Case{Name: "codebook/grad", Domain: w, Op: "GatherGrad", ConstIn: []int{1, 2},
			In:   []*tensor.Tensor{F32([]float32{1, 2, 4, 8, 0, 16}, 2, 3), tensor.From([]int64{0, 1, -1, 1, 1, 0}, 2, 3), tensor.Ints(4)},
			Want: []*tensor.Tensor{F32([]float32{17, 10, 0, 4}, 4)}},
		Case{Name: "gradsum", Domain: w, Op: "GradSum", In: []*tensor.Tensor{F32([]float32{1, 2}, 2), F32([]float32{3, 5}, 2), F32([]float32{-1, 1}, 2)},
			Want: []*tensor.Tensor{F32([]float32{3, 8}, 2)}, Grad: []int{0, 1, 2}},
		Case{Name: "assign", Domain: w, Op: "Assign", Outs: -1, In: []*tensor.Tensor{x(5, 2, 3), x(6, 2, 3)}},
		Case{Name: "assign/type", Domain: w, Op: "Assign", Outs: -1, In: []*tensor.Tensor{x(5, 2, 3), x(6, 3, 2)}, Err: true},
		Case{Name: "ema", Domain: w, Op: "EMA", Outs: -1, F32Only: true, In: []*tensor.Tensor{x(5, 2, 3), x(6, 2, 3), F32([]float32{0.1})}},
		Case{Name: "sgd", Domain: w, Op: "SGD", Outs: -1, F32Only: true, In: []*tensor.Tensor{x(5, 7), x(6, 7), nil, x(7, 4)}},
		Case{Name: "sgd/momentum", Domain: w, Op: "SGD", Outs: -1, F32Only: true, Attrs: map[string]any{"momentum": float32(0.9), "nesterov": int64(1)},
			In: []*tensor.Tensor{x(5, 7), x(6, 7), x(8, 7), x(7, 4), x(9, 7)}},
		Case{Name: "sgd/buffer", Domain: w, Op: "SGD", Outs: -1, Err: true, In: []*tensor.Tensor{x(5, 7), x(6, 7), x(8, 7), x(7, 4)}},
		Case{Name: "adamw", Domain: w, Op: "AdamW", Outs: -1, F32Only: true,
			In: []*tensor.Tensor{x(5, 7), x(6, 7), x(8, 7), F32([]float32{0, 1, 2, 3, 4, 5, 6}, 7), x(7, 4), x(9, 7)}},
		Case{Name: "adamw/hyper", Domain: w, Op: "AdamW", Outs: -1, Err: true, In: []*tensor.Tensor{x(5, 7), x(6, 7), x(8, 7), x(9, 7), x(7, 3)}},
	)
}
