package optest

import "whit/tensor"

func init() {
	f := tensor.Float32
	ints := func(v ...int64) []int64 { return v }
	type attrs = map[string]any
	one := func(t *tensor.Tensor) []*tensor.Tensor { return []*tensor.Tensor{t} }
	x33 := F32([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9}, 1, 1, 3, 3)
	x44 := F32([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, 1, 1, 4, 4)
	ties := F32([]float32{1, 1, 0, 1, 1, 0, 0, 0, 0}, 1, 1, 3, 3)
	k2, k3 := ints(2, 2), ints(3, 3)

	Add(
		Case{Name: "maxpool/plain", Op: "MaxPool", Attrs: attrs{"kernel_shape": k2, "strides": k2}, In: one(x44), Outs: 2, Grad: []int{0},
			Want: []*tensor.Tensor{F32([]float32{6, 8, 14, 16}, 1, 1, 2, 2), tensor.From([]int64{5, 7, 13, 15}, 1, 1, 2, 2)}},
		Case{Name: "maxpool/column_major", Op: "MaxPool", Attrs: attrs{"kernel_shape": k2, "strides": k2, "storage_order": int64(1)}, In: one(x44), Outs: 2,
			Want: []*tensor.Tensor{F32([]float32{6, 8, 14, 16}, 1, 1, 2, 2), tensor.From([]int64{5, 13, 7, 15}, 1, 1, 2, 2)}},
		Case{Name: "maxpool/ties", Op: "MaxPool", Attrs: attrs{"kernel_shape": k2}, In: one(ties), Outs: 2,
			Want: []*tensor.Tensor{F32([]float32{1, 1, 1, 1}, 1, 1, 2, 2), tensor.From([]int64{0, 1, 3, 4}, 1, 1, 2, 2)}},
		// The third window would start in the padding behind the input.
		Case{Name: "maxpool/ceil", Op: "MaxPool", Attrs: attrs{"kernel_shape": ints(2), "strides": ints(3), "pads": ints(1, 1), "ceil_mode": int64(1)},
			In: one(F32([]float32{1, 2, 3, 4, 5}, 1, 1, 5)), Want: one(F32([]float32{1, 4}, 1, 1, 2))},
		Case{Name: "maxpool/ceil2", Op: "MaxPool", Attrs: attrs{"kernel_shape": k3, "strides": k2, "ceil_mode": int64(1)}, In: one(x44), Grad: []int{0},
			Want: one(F32([]float32{11, 12, 15, 16}, 1, 1, 2, 2))},
		Case{Name: "maxpool/pads", Op: "MaxPool", Attrs: attrs{"kernel_shape": k3, "pads": ints(1, 1, 1, 1)}, In: one(x33),
			Want: one(F32([]float32{5, 6, 6, 8, 9, 9, 8, 9, 9}, 1, 1, 3, 3))},
		Case{Name: "maxpool/negative", Op: "MaxPool", Attrs: attrs{"kernel_shape": k2, "pads": ints(1, 1, 0, 0), "strides": k2},
			In: one(F32([]float32{-1, -2, -3, -4}, 1, 1, 2, 2)), Want: one(F32([]float32{-1}, 1, 1, 1, 1))},
		Case{Name: "maxpool/dilations", Op: "MaxPool", Attrs: attrs{"kernel_shape": k2, "dilations": k2}, In: one(x44),
			Want: one(F32([]float32{11, 12, 15, 16}, 1, 1, 2, 2))},
		Case{Name: "maxpool/same_lower", Op: "MaxPool", Attrs: attrs{"kernel_shape": k2, "auto_pad": "SAME_LOWER"}, In: one(x33),
			Want: one(F32([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9}, 1, 1, 3, 3))},
		Case{Name: "maxpool/same_upper", Op: "MaxPool", Attrs: attrs{"kernel_shape": k2, "auto_pad": "SAME_UPPER", "strides": k2}, In: one(x33),
			Want: one(F32([]float32{5, 6, 8, 9}, 1, 1, 2, 2))},
		Case{Name: "maxpool/uint8", Op: "MaxPool", Attrs: attrs{"kernel_shape": ints(2)}, In: one(tensor.From([]uint8{200, 3, 100}, 1, 1, 3)),
			Want: one(tensor.From([]uint8{200, 100}, 1, 1, 2))},
		Case{Name: "maxpool/int8", Op: "MaxPool", Attrs: attrs{"kernel_shape": ints(2), "pads": ints(1, 1)}, In: one(tensor.From([]int8{-128, -5}, 1, 1, 2)),
			Want: one(tensor.From([]int8{-128, -5, -5}, 1, 1, 3))},
		Case{Name: "maxpool/odd", Op: "MaxPool", Attrs: attrs{"kernel_shape": ints(3, 2), "strides": ints(2, 3), "pads": ints(1, 0, 0, 1), "dilations": ints(1, 2), "ceil_mode": int64(1)},
			In: one(Rand(1, f, 2, 3, 8, 9)), Outs: 2, Grad: []int{0}},
		Case{Name: "maxpool/1d", Op: "MaxPool", Attrs: attrs{"kernel_shape": ints(3), "strides": ints(2)}, In: one(Rand(2, f, 2, 3, 11)), Grad: []int{0}},
		Case{Name: "maxpool/3d", Op: "MaxPool", Attrs: attrs{"kernel_shape": ints(2, 3, 2), "strides": ints(1, 2, 2), "storage_order": int64(1)},
			In: one(Rand(3, f, 2, 2, 4, 5, 6)), Outs: 2, Grad: []int{0}},
		Case{Name: "maxpool/3x3s2", Op: "MaxPool", Attrs: attrs{"kernel_shape": k3, "strides": k2, "pads": ints(1, 1, 1, 1)}, In: one(Rand(4, f, 2, 19, 13, 15)), Grad: []int{0}},
		Case{Name: "maxpool/2x2s2", Op: "MaxPool", Attrs: attrs{"kernel_shape": k2, "strides": k2}, In: one(Rand(5, f, 3, 20, 12, 12)), Grad: []int{0}},
		Case{Name: "maxpool/batch0", Op: "MaxPool", Attrs: attrs{"kernel_shape": k2}, In: one(Rand(1, f, 0, 2, 3, 3)), Outs: 2},
		Case{Name: "maxpool/empty_window", Op: "MaxPool", Attrs: attrs{"kernel_shape": ints(1), "pads": ints(1, 0)}, In: one(tensor.From([]int8{7}, 1, 1, 1)), Outs: 2,
			Want: []*tensor.Tensor{tensor.From([]int8{-128, 7}, 1, 1, 2), tensor.From([]int64{-1, 0}, 1, 1, 2)}},
		Case{Name: "maxpool/huge_kernel", Op: "MaxPool", Attrs: attrs{"kernel_shape": ints(1<<30, 1<<30), "pads": ints(1<<29, 1<<29, 1<<29, 1<<29)}, In: one(x44), Outs: 2, Grad: []int{0},
			Want: []*tensor.Tensor{F32([]float32{16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16}, 1, 1, 5, 5)}},
		Case{Name: "maxpool/fails/kernel", Op: "MaxPool", In: one(x33), Err: true},
		Case{Name: "maxpool/fails/rank", Op: "MaxPool", Attrs: attrs{"kernel_shape": ints(2)}, In: one(x33), Err: true},
		Case{Name: "maxpool/fails/kernel0", Op: "MaxPool", Attrs: attrs{"kernel_shape": ints(0, 2)}, In: one(x33), Err: true},
		Case{Name: "maxpool/fails/huge", Op: "MaxPool", Attrs: attrs{"kernel_shape": ints(1<<62, 2)}, In: one(x33), Err: true},
		Case{Name: "maxpool/fails/large", Op: "MaxPool", Attrs: attrs{"kernel_shape": ints(4, 2)}, In: one(x33), Err: true},
		Case{Name: "maxpool/fails/order", Op: "MaxPool", Attrs: attrs{"kernel_shape": k2, "storage_order": int64(2)}, In: one(x33), Err: true},
		Case{Name: "maxpool/fails/int32", Op: "MaxPool", Attrs: attrs{"kernel_shape": k2}, In: one(Rand(1, tensor.Int32, 1, 1, 3, 3)), Err: true},
		Case{Name: "maxpoolgrad/ties", Domain: "whit", Op: "MaxPoolGrad", Attrs: attrs{"kernel_shape": k2},
			In:   []*tensor.Tensor{F32([]float32{1, 10, 100, 1000}, 1, 1, 2, 2), ties},
			Want: one(F32([]float32{1, 10, 0, 100, 1000, 0, 0, 0, 0}, 1, 1, 3, 3))},
		Case{Name: "maxpoolgrad/overlap", Domain: "whit", Op: "MaxPoolGrad", Attrs: attrs{"kernel_shape": k2},
			In:   []*tensor.Tensor{F32([]float32{1, 10, 100, 1000}, 1, 1, 2, 2), F32([]float32{0, 0, 0, 0, 5, 0, 0, 0, 0}, 1, 1, 3, 3)},
			Want: one(F32([]float32{0, 0, 0, 0, 1111, 0, 0, 0, 0}, 1, 1, 3, 3))},
		Case{Name: "maxpoolgrad/fails", Domain: "whit", Op: "MaxPoolGrad", Attrs: attrs{"kernel_shape": k2}, In: []*tensor.Tensor{x33, x33}, Err: true},
	)

	Add(
		Case{Name: "averagepool/plain", Op: "AveragePool", Attrs: attrs{"kernel_shape": k2, "strides": k2}, In: one(x44), Grad: []int{0},
			Want: one(F32([]float32{3.5, 5.5, 11.5, 13.5}, 1, 1, 2, 2))},
		Case{Name: "averagepool/pads", Op: "AveragePool", Attrs: attrs{"kernel_shape": k3, "pads": ints(1, 1, 1, 1), "strides": k2}, In: one(x33), Grad: []int{0},
			Want: one(F32([]float32{3, 4, 6, 7}, 1, 1, 2, 2))},
		Case{Name: "averagepool/count", Op: "AveragePool", Attrs: attrs{"kernel_shape": k3, "pads": ints(1, 1, 1, 1), "strides": k2, "count_include_pad": int64(1)},
			In: one(x33), Grad: []int{0}, Tol: 1e-6, Want: one(F32([]float32{12. / 9, 16. / 9, 24. / 9, 28. / 9}, 1, 1, 2, 2))},
		// What hangs over the end is no padding and never counts.
		Case{Name: "averagepool/ceil", Op: "AveragePool", Attrs: attrs{"kernel_shape": ints(3), "strides": ints(2), "ceil_mode": int64(1)},
			In: one(F32([]float32{1, 2, 3, 4}, 1, 1, 4)), Grad: []int{0}, Want: one(F32([]float32{2, 3.5}, 1, 1, 2))},
		Case{Name: "averagepool/ceil_count", Op: "AveragePool", Attrs: attrs{"kernel_shape": ints(4), "strides": ints(3), "pads": ints(1, 1), "ceil_mode": int64(1), "count_include_pad": int64(1)},
			In: one(F32([]float32{1, 2, 3, 4}, 1, 1, 4)), Grad: []int{0}, Want: one(F32([]float32{1.5, 7. / 3}, 1, 1, 2))},
		Case{Name: "averagepool/dilations", Op: "AveragePool", Attrs: attrs{"kernel_shape": k2, "dilations": k2}, In: one(x44),
			Want: one(F32([]float32{6, 7, 10, 11}, 1, 1, 2, 2))},
		Case{Name: "averagepool/same_lower", Op: "AveragePool", Attrs: attrs{"kernel_shape": ints(2), "auto_pad": "SAME_LOWER"}, In: one(F32([]float32{1, 2, 4}, 1, 1, 3)), Grad: []int{0},
			Want: one(F32([]float32{1, 1.5, 3}, 1, 1, 3))},
		Case{Name: "averagepool/empty_window", Op: "AveragePool", Attrs: attrs{"kernel_shape": ints(1), "pads": ints(1, 0)}, In: one(F32([]float32{7}, 1, 1, 1)), Grad: []int{0},
			Want: one(F32([]float32{0, 7}, 1, 1, 2))},
		Case{Name: "averagepool/odd", Op: "AveragePool", Attrs: attrs{"kernel_shape": ints(3, 2), "strides": ints(2, 3), "pads": ints(1, 0, 2, 1), "dilations": ints(1, 2), "ceil_mode": int64(1)},
			In: one(Rand(1, f, 2, 3, 8, 9)), Grad: []int{0}},
		Case{Name: "averagepool/3d", Op: "AveragePool", Attrs: attrs{"kernel_shape": ints(2, 3, 2), "pads": ints(1, 1, 0, 0, 1, 1), "count_include_pad": int64(1)},
			In: one(Rand(2, f, 1, 2, 4, 3, 5)), Grad: []int{0}},
		Case{Name: "averagepool/fails/integers", Op: "AveragePool", Attrs: attrs{"kernel_shape": k2}, In: one(Rand(1, tensor.Int8, 1, 1, 3, 3)), Err: true},
		Case{Name: "averagepoolgrad", Domain: "whit", Op: "AveragePoolGrad", Attrs: attrs{"kernel_shape": k2},
			In:   []*tensor.Tensor{F32([]float32{4, 8, 12, 16}, 1, 1, 2, 2), x33},
			Want: one(F32([]float32{1, 3, 2, 4, 10, 6, 3, 7, 4}, 1, 1, 3, 3))},
		Case{Name: "averagepoolgrad/fails", Domain: "whit", Op: "AveragePoolGrad", Attrs: attrs{"kernel_shape": k2}, In: []*tensor.Tensor{x33, x33}, Err: true},
		Case{Name: "lppool", Op: "LpPool", Attrs: attrs{"kernel_shape": ints(2)}, In: one(F32([]float32{3, -4, 0}, 1, 1, 3)), Want: one(F32([]float32{5, 4}, 1, 1, 2))},
		Case{Name: "lppool/p1", Op: "LpPool", Attrs: attrs{"kernel_shape": k2, "p": int64(1), "pads": ints(1, 1, 0, 0)}, In: one(x33),
			Want: one(F32([]float32{1, 3, 5, 5, 12, 16, 11, 24, 28}, 1, 1, 3, 3))},
		Case{Name: "lppool/fails/p", Op: "LpPool", Attrs: attrs{"kernel_shape": k2, "p": int64(0)}, In: one(x33), Err: true},
	)

	at := tensor.From([]int64{5, 7, 13, 15}, 1, 1, 2, 2)
	x22 := F32([]float32{1, 2, 3, 4}, 1, 1, 2, 2)
	Add(
		Case{Name: "maxunpool", Op: "MaxUnpool", Attrs: attrs{"kernel_shape": k2, "strides": k2}, In: []*tensor.Tensor{x22, at},
			Want: one(F32([]float32{0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 3, 0, 4}, 1, 1, 4, 4))},
		Case{Name: "maxunpool/output_shape", Op: "MaxUnpool", Attrs: attrs{"kernel_shape": ints(2)}, In: []*tensor.Tensor{F32([]float32{5}, 1, 1, 1), tensor.From([]int64{1}, 1, 1, 1), tensor.Ints(1, 1, 4)},
			Want: one(F32([]float32{0, 5, 0, 0}, 1, 1, 4))},
		Case{Name: "maxunpool/fails/index", Op: "MaxUnpool", Attrs: attrs{"kernel_shape": k2}, In: []*tensor.Tensor{x22, at}, Err: true},
		Case{Name: "maxunpool/fails/shape", Op: "MaxUnpool", Attrs: attrs{"kernel_shape": k2, "strides": k2}, In: []*tensor.Tensor{x22, at, tensor.Ints(1, 1, 3, 4)}, Err: true},
		Case{Name: "maxunpool/fails/pads", Op: "MaxUnpool", Attrs: attrs{"kernel_shape": k2, "pads": ints(2, 2, 2, 2)}, In: []*tensor.Tensor{x22, at}, Err: true},
	)
}
