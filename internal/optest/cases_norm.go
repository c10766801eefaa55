package optest

import "whit/tensor"

func init() {
	f := tensor.Float32
	type attrs = map[string]any
	one := func(t *tensor.Tensor) []*tensor.Tensor { return []*tensor.Tensor{t} }
	in := func(t ...*tensor.Tensor) []*tensor.Tensor { return t }
	train := attrs{"training_mode": int64(1)}
	x := F32([]float32{1, 3, 5, 7, 2, 2, 4, 4}, 2, 2, 2) // channel 0: 1 3 2 2, channel 1: 5 7 4 4
	positive := func(seed uint64, n int) *tensor.Tensor {
		t := Rand(seed, f, n)
		for i, v := range tensor.Of[float32](t) {
			tensor.Of[float32](t)[i] = v*v + .25
		}
		return t
	}
	two := F32([]float32{2, .5}, 2)
	bias := F32([]float32{1, -1}, 2)
	mean, variance := F32([]float32{1, 3}, 2), F32([]float32{4, .25}, 2)
	eps0 := float32(0)

	Add(
		Case{Name: "batchnorm", Op: "BatchNormalization", Attrs: attrs{"epsilon": eps0}, In: in(x, two, bias, mean, variance), Grad: []int{0, 1, 2},
			Want: one(F32([]float32{1, 3, 1, 3, 2, 2, 0, 0}, 2, 2, 2))},
		// Channel 0 has mean 2 and variance 1/2, channel 1 mean 5 and variance 3/2.
		Case{Name: "batchnorm/training", Op: "BatchNormalization", Attrs: attrs{"training_mode": int64(1), "momentum": float32(.5), "epsilon": float32(.5)},
			In: in(x, two, bias, mean, variance), Outs: 3, Tol: 1e-6,
			Want: in(F32([]float32{-1, 3, -1, -.29289323, 1, 1, -1.3535534, -1.3535534}, 2, 2, 2), F32([]float32{1.5, 4}, 2), F32([]float32{2.25, .875}, 2))},
		Case{Name: "batchnorm/odd", Op: "BatchNormalization", In: in(Rand(1, f, 2, 5, 3, 7), Rand(2, f, 5), Rand(3, f, 5), Rand(4, f, 5), positive(5, 5)), Grad: []int{0, 1, 2}},
		Case{Name: "batchnorm/trainodd", Op: "BatchNormalization", Attrs: train, In: in(Rand(1, f, 2, 5, 3, 7), Rand(2, f, 5), Rand(3, f, 5), Rand(4, f, 5), positive(5, 5)), Grad: []int{0, 1, 2}, GradTol: 1e-4},
		Case{Name: "batchnorm/matrix", Op: "BatchNormalization", Attrs: train, In: in(Rand(1, f, 7, 3), Rand(2, f, 3), Rand(3, f, 3), Rand(4, f, 3), positive(5, 3)), Grad: []int{0, 1, 2}, GradTol: 1e-4},
		Case{Name: "batchnorm/vector", Op: "BatchNormalization", Attrs: attrs{"epsilon": eps0},
			In:   in(F32([]float32{1, 2}, 2), F32([]float32{3}, 1), F32([]float32{1}, 1), F32([]float32{1}, 1), F32([]float32{9}, 1)),
			Want: one(F32([]float32{1, 2}, 2))},
		Case{Name: "batchnorm/types", Op: "BatchNormalization", Attrs: attrs{"training_mode": int64(1), "epsilon": float32(.5)}, Outs: 3, F32Only: true,
			In:   in(tensor.From([]tensor.F16{tensor.ToF16(1), tensor.ToF16(2)}, 2, 1), F32([]float32{2}, 1), F32([]float32{1}, 1), tensor.From([]float64{1}, 1), tensor.From([]float64{1}, 1)),
			Want: in(tensor.From([]tensor.F16{tensor.ToF16(-.1547005), tensor.ToF16(2.1547005)}, 2, 1), nil, tensor.From([]float64{.925}, 1)), Tol: 1e-3},
		Case{Name: "batchnorm/batch0", Op: "BatchNormalization", In: in(Rand(1, f, 0, 2, 2), two, bias, mean, variance)},
		Case{Name: "batchnorm/fails/batch0", Op: "BatchNormalization", Attrs: train, In: in(Rand(1, f, 0, 2, 2), two, bias, mean, variance), Err: true},
		Case{Name: "batchnorm/fails/scale", Op: "BatchNormalization", In: in(x, Rand(1, f, 3), bias, mean, variance), Err: true},
		Case{Name: "batchnorm/fails/inputs", Op: "BatchNormalization", In: in(x, two, bias, mean), Err: true},
		Case{Name: "batchnormgrad", Domain: "whit", Op: "BatchNormalizationGrad", Attrs: attrs{"epsilon": eps0}, In: in(Fill(1, 2, 2, 2), x, two, mean, variance), Outs: 3,
			Want: in(F32([]float32{1, 1, 1, 1, 1, 1, 1, 1}, 2, 2, 2), F32([]float32{2, 16}, 2), F32([]float32{4, 4}, 2))},
		Case{Name: "batchnormgrad/training", Domain: "whit", Op: "BatchNormalizationGrad", Attrs: train, In: in(Fill(1, 2, 2, 2), x, two), Outs: 3,
			Want: in(Fill(0, 2, 2, 2), Fill(0, 2), Fill(4, 2))},
		Case{Name: "batchnormgrad/images", Domain: "whit", Op: "BatchNormalizationGrad", Attrs: train, In: in(Rand(1, f, 3, 5, 4, 7), Rand(2, f, 3, 5, 4, 7), Rand(3, f, 5)), Outs: 3},
		Case{Name: "batchnorm/images", Op: "BatchNormalization", Attrs: attrs{"training_mode": int64(1), "momentum": float32(.7)}, Outs: 3,
			In: in(Rand(1, f, 3, 5, 4, 7), Rand(2, f, 5), Rand(3, f, 5), Rand(4, f, 5), positive(5, 5))},
		Case{Name: "batchnorm/wide", Op: "BatchNormalization", Attrs: attrs{"training_mode": int64(1), "momentum": float32(.7)}, Outs: 3,
			In: in(Rand(1, f, 3, 27, 4, 7), Rand(2, f, 27), Rand(3, f, 27), Rand(4, f, 27), positive(5, 27))},
		Case{Name: "batchnorm/constant", Op: "BatchNormalization", Attrs: attrs{"training_mode": int64(1)}, Outs: 3,
			In: in(Fill(1000.7, 3, 8, 4, 7), Rand(2, f, 8), Rand(3, f, 8), Rand(4, f, 8), positive(5, 8))},
		Case{Name: "batchnormgrad/wide", Domain: "whit", Op: "BatchNormalizationGrad", Attrs: train, In: in(Rand(1, f, 3, 27, 4, 7), Rand(2, f, 3, 27, 4, 7), Rand(3, f, 27)), Outs: 3},
		Case{Name: "batchnormgrad/fails", Domain: "whit", Op: "BatchNormalizationGrad", Attrs: train, In: in(Rand(1, f, 2, 2), x, two), Outs: 3, Err: true},

		Case{Name: "instancenorm", Op: "InstanceNormalization", Attrs: attrs{"epsilon": eps0}, In: in(F32([]float32{1, 3, 2, 6}, 1, 2, 2), two, bias), Grad: []int{0, 1, 2},
			Want: one(F32([]float32{-1, 3, -1.5, -.5}, 1, 2, 2))},
		Case{Name: "instancenorm/odd", Op: "InstanceNormalization", In: in(Rand(1, f, 2, 3, 4, 5), Rand(2, f, 3), Rand(3, f, 3)), Grad: []int{0, 1, 2}, GradTol: 1e-4},
		Case{Name: "instancenorm/fails", Op: "InstanceNormalization", In: in(Rand(1, f, 2, 3), Rand(2, f, 3), Rand(3, f, 3)), Err: true},
		Case{Name: "instancenormgrad", Domain: "whit", Op: "InstanceNormalizationGrad", In: in(Fill(1, 1, 2, 2), F32([]float32{1, 3, 2, 6}, 1, 2, 2), two), Outs: 3,
			Want: in(Fill(0, 1, 2, 2), Fill(0, 2), Fill(2, 2))},

		Case{Name: "groupnorm", Op: "GroupNormalization", Attrs: attrs{"epsilon": eps0, "num_groups": int64(1)}, In: in(F32([]float32{1, 1, 3, 3}, 1, 2, 2), two, bias), Grad: []int{0, 1, 2},
			Want: one(F32([]float32{-1, -1, -.5, -.5}, 1, 2, 2))},
		Case{Name: "groupnorm/odd", Op: "GroupNormalization", Attrs: attrs{"num_groups": int64(3)}, In: in(Rand(1, f, 2, 6, 3, 5), Rand(2, f, 6), Rand(3, f, 6)), Grad: []int{0, 1, 2}, GradTol: 1e-4},
		Case{Name: "groupnorm/fails/groups", Op: "GroupNormalization", Attrs: attrs{"num_groups": int64(4)}, In: in(Rand(1, f, 2, 6, 3), Rand(2, f, 6), Rand(3, f, 6)), Err: true},
		Case{Name: "groupnorm/fails/none", Op: "GroupNormalization", In: in(Rand(1, f, 2, 6, 3), Rand(2, f, 6), Rand(3, f, 6)), Err: true},
		Case{Name: "groupnormgrad", Domain: "whit", Op: "GroupNormalizationGrad", Attrs: attrs{"epsilon": eps0, "num_groups": int64(1)}, In: in(Fill(1, 1, 2, 2), F32([]float32{1, 1, 3, 3}, 1, 2, 2), two), Outs: 3,
			Want: in(Fill(0, 1, 2, 2), F32([]float32{-2, 2}, 2), Fill(2, 2))},

		Case{Name: "layernorm", Op: "LayerNormalization", Attrs: attrs{"epsilon": eps0}, In: in(F32([]float32{1, 3, 2, 6}, 2, 2), two, bias), Grad: []int{0, 1, 2},
			Want: one(F32([]float32{-1, -.5, -1, -.5}, 2, 2))},
		Case{Name: "layernorm/stats", Op: "LayerNormalization", Attrs: attrs{"epsilon": eps0}, In: in(F32([]float32{1, 3, 2, 6}, 2, 2), two), Outs: 3, F32Only: true,
			Want: in(F32([]float32{-2, .5, -2, .5}, 2, 2), F32([]float32{2, 4}, 2, 1), F32([]float32{1, .5}, 2, 1))},
		Case{Name: "layernorm/stash", Op: "LayerNormalization", Attrs: attrs{"epsilon": eps0, "stash_type": int64(16)}, In: in(F32([]float32{1, 3, 2, 6}, 2, 2), two), Outs: 3, F32Only: true,
			Want: in(nil, tensor.From([]tensor.BF16{tensor.ToBF16(2), tensor.ToBF16(4)}, 2, 1))},
		Case{Name: "layernorm/axis", Op: "LayerNormalization", Attrs: attrs{"axis": int64(1)}, In: in(Rand(1, f, 3, 4, 5), Rand(2, f, 4, 5), Rand(3, f, 4, 5)), Grad: []int{0, 1, 2}, GradTol: 1e-4},
		Case{Name: "layernorm/broadcast", Op: "LayerNormalization", Attrs: attrs{"axis": int64(-2)}, In: in(Rand(1, f, 3, 4, 5), Rand(2, f, 3, 1, 5)), Grad: []int{0, 1}, GradTol: 1e-4},
		Case{Name: "layernorm/scalar", Op: "LayerNormalization", In: in(Rand(1, f, 3, 4), Rand(2, f), Rand(3, f)), Grad: []int{0, 1, 2}, GradTol: 1e-4},
		Case{Name: "layernorm/empty", Op: "LayerNormalization", In: in(Rand(1, f, 3, 0), Rand(2, f, 0)), Outs: 3, F32Only: true},
		Case{Name: "layernorm/fails/scale", Op: "LayerNormalization", In: in(Rand(1, f, 3, 4), Rand(2, f, 3)), Err: true},
		Case{Name: "layernorm/fails/stretch", Op: "LayerNormalization", In: in(Rand(1, f, 1, 4), Rand(2, f, 3, 4)), Err: true},
		Case{Name: "layernorm/fails/axis", Op: "LayerNormalization", Attrs: attrs{"axis": int64(2)}, In: in(Rand(1, f, 3, 4), Rand(2, f, 4)), Err: true},
		Case{Name: "layernormgrad", Domain: "whit", Op: "LayerNormalizationGrad", In: in(Fill(1, 1, 2), F32([]float32{1, 3}, 1, 2), F32([]float32{2, 2}, 2)), Outs: 3,
			Want: in(Fill(0, 1, 2), F32([]float32{-1, 1}, 2), Fill(1, 2)), Tol: 1e-4},

		Case{Name: "rmsnorm", Op: "RMSNormalization", Attrs: attrs{"epsilon": eps0}, In: in(F32([]float32{3, 4}, 1, 2), F32([]float32{5, 10}, 2)), Grad: []int{0, 1},
			Want: one(F32([]float32{4.2426407, 11.313708}, 1, 2))},
		Case{Name: "rmsnorm/axis", Op: "RMSNormalization", Attrs: attrs{"axis": int64(1)}, In: in(Rand(1, f, 3, 4, 5), Rand(2, f, 4, 5)), Grad: []int{0, 1}, GradTol: 1e-4},
		Case{Name: "rmsnormgrad", Domain: "whit", Op: "RMSNormalizationGrad", Attrs: attrs{"epsilon": eps0}, In: in(F32([]float32{3, 4}, 1, 2), F32([]float32{3, 4}, 1, 2), F32([]float32{1, 1}, 2)), Outs: 2,
			Want: in(Fill(0, 1, 2), F32([]float32{2.5455844, 4.525483}, 2))},

		Case{Name: "lrn", Op: "LRN", Attrs: attrs{"size": int64(3), "alpha": float32(3), "beta": float32(.5), "bias": float32(4)},
			In: one(F32([]float32{1, 2, 4}, 1, 3, 1)), Want: one(F32([]float32{1. / 3, .4, .8164966}, 1, 3, 1))},
		Case{Name: "lrn/even", Op: "LRN", Attrs: attrs{"size": int64(2), "alpha": float32(2), "beta": float32(1), "bias": float32(0)},
			In: one(F32([]float32{1, 2, 4}, 1, 3)), Grad: []int{0}, Want: one(F32([]float32{.2, .1, .25}, 1, 3))},
		Case{Name: "lrn/odd", Op: "LRN", Attrs: attrs{"size": int64(5), "alpha": float32(1)}, In: one(Rand(1, f, 2, 7, 3, 5)), Grad: []int{0}},
		Case{Name: "lrn/huge", Op: "LRN", Attrs: attrs{"size": int64(1 << 62)}, In: one(Rand(1, f, 2, 7, 3))},
		Case{Name: "lrn/fails", Op: "LRN", In: one(Rand(1, f, 2, 7)), Err: true},
		Case{Name: "lrngrad", Domain: "whit", Op: "LRNGrad", Attrs: attrs{"size": int64(1), "alpha": float32(1), "beta": float32(1), "bias": float32(0)},
			In: in(F32([]float32{8, 8}, 1, 2), F32([]float32{1, 2}, 1, 2)), Want: one(F32([]float32{-8, -2}, 1, 2))},
		Case{Name: "lpnorm/odd", Op: "LpNormalization", Attrs: attrs{"axis": int64(1)}, In: one(Rand(1, f, 2, 7, 3)), Grad: []int{0}},
		Case{Name: "lpnorm/odd1", Op: "LpNormalization", Attrs: attrs{"axis": int64(1), "p": int64(1)}, In: one(Rand(1, f, 2, 7, 3)), Grad: []int{0}},
		Case{Name: "lpnormgrad", Domain: "whit", Op: "LpNormalizationGrad", In: in(F32([]float32{1, 0, 1, 1}, 2, 2), F32([]float32{3, 4, 0, 0}, 2, 2)),
			Want: one(F32([]float32{.128, -.096, 0, 0}, 2, 2))},
		Case{Name: "lpnorm", Op: "LpNormalization", In: one(F32([]float32{3, -4, 0, 0}, 2, 2)), Want: one(F32([]float32{.6, -.8, 0, 0}, 2, 2))},
		Case{Name: "lpnorm/1", Op: "LpNormalization", Attrs: attrs{"p": int64(1), "axis": int64(0)}, In: one(F32([]float32{3, -4, 1, 4}, 2, 2)),
			Want: one(F32([]float32{.75, -.5, .25, .5}, 2, 2))},
		Case{Name: "lpnorm/fails", Op: "LpNormalization", Attrs: attrs{"p": int64(3)}, In: one(Rand(1, f, 2, 7)), Err: true},
	)

	Add(
		Case{Name: "mvn", Op: "MeanVarianceNormalization", Attrs: attrs{"axes": []int64{0, -1}}, In: one(F32([]float32{1, 2, 3, 2, 1, 0, 3, 2}, 2, 2, 2)),
			Want: one(F32([]float32{0, 1.4142135, 1, -1, 0, -1.4142135, 1, -1}, 2, 2, 2))},
		Case{Name: "mvn/default", Op: "MeanVarianceNormalization", In: one(Rand(1, f, 2, 3, 4, 5))},
		Case{Name: "mvn/fails", Op: "MeanVarianceNormalization", In: one(Rand(1, f, 2, 3)), Err: true},
	)

	Add(
		Case{Name: "globalaveragepool", Op: "GlobalAveragePool", In: one(F32([]float32{1, 2, 3, 6, 0, 0, 0, 2}, 1, 2, 2, 2)), Grad: []int{0},
			Want: one(F32([]float32{3, .5}, 1, 2, 1, 1))},
		Case{Name: "globalaveragepool/7x7", Op: "GlobalAveragePool", In: one(Rand(1, f, 2, 19, 7, 7)), Grad: []int{0}},
		Case{Name: "globalaveragepool/fails/empty", Op: "GlobalAveragePool", In: one(Rand(1, f, 2, 3, 0)), Err: true},
		Case{Name: "globalaveragepool/fails/rank", Op: "GlobalAveragePool", In: one(Rand(1, f, 2)), Err: true},
		Case{Name: "globalaveragepoolgrad", Domain: "whit", Op: "GlobalAveragePoolGrad", In: in(F32([]float32{3}, 1, 1, 1), Fill(7, 1, 1, 2)), Want: one(F32([]float32{1.5, 1.5}, 1, 1, 2))},
		Case{Name: "globalaveragepoolgrad/images", Domain: "whit", Op: "GlobalAveragePoolGrad", In: in(Rand(1, f, 3, 5, 1, 1), Rand(2, f, 3, 5, 3, 4))},
		Case{Name: "globalaveragepoolgrad/fails", Domain: "whit", Op: "GlobalAveragePoolGrad", In: in(F32([]float32{3}, 1, 1, 1), Fill(7, 1, 2, 2)), Err: true},
		Case{Name: "globalmaxpool", Op: "GlobalMaxPool", In: one(F32([]float32{1, 2, 6, 3, -1, -2, -1, -2}, 1, 2, 2, 2)), Grad: nil, Want: one(F32([]float32{6, -1}, 1, 2, 1, 1))},
		Case{Name: "globalmaxpool/3d", Op: "GlobalMaxPool", In: one(Rand(1, f, 2, 3, 2, 3, 2)), Grad: []int{0}},
		Case{Name: "globalmaxpoolgrad", Domain: "whit", Op: "GlobalMaxPoolGrad", In: in(F32([]float32{3}, 1, 1, 1), F32([]float32{1, 2, 2}, 1, 1, 3)), Want: one(F32([]float32{0, 3, 0}, 1, 1, 3))},
		Case{Name: "globallppool", Op: "GlobalLpPool", In: one(F32([]float32{3, -4}, 1, 1, 2)), Want: one(F32([]float32{5}, 1, 1, 1))},
	)
}

// Fill makes a float32 tensor of one value.
func Fill(v float32, shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.Float32, shape...)
	for i := range tensor.Of[float32](t) {
		tensor.Of[float32](t)[i] = v
	}
	return t
}
