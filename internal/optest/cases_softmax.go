package optest

import (
	"math"

	"whit/tensor"
)

func init() {
	f := tensor.Float32
	type attrs = map[string]any
	one := func(t *tensor.Tensor) []*tensor.Tensor { return []*tensor.Tensor{t} }
	big, inf, nan := float32(1e4), float32(math.Inf(1)), float32(math.NaN())
	x := F32([]float32{0, 1, 2, 3, big, big + 1, big + 2, big + 3}, 2, 4)
	p := []float32{0.032058604, 0.08714432, 0.23688284, 0.6439143}
	l := []float32{-3.4401896, -2.4401896, -1.4401897, -0.44018966}
	small := F32([]float32{0, 1, 2, 3, 0, 1, 2, 3}, 2, 4)
	Add(
		// Of width 16 bit, big + 1 is big.
		Case{Name: "softmax/stable", Op: "Softmax", In: one(x), Want: one(F32(append(append([]float32{}, p...), p...), 2, 4))},
		Case{Name: "softmax/axis0", Op: "Softmax", Attrs: attrs{"axis": int64(0)}, In: one(small), Grad: []int{0},
			Want: one(F32([]float32{.5, .5, .5, .5, .5, .5, .5, .5}, 2, 4))},
		Case{Name: "softmax/middle", Op: "Softmax", Attrs: attrs{"axis": int64(-2)}, In: one(Rand(1, f, 3, 5, 7)), Grad: []int{0}},
		Case{Name: "softmax/10", Op: "Softmax", In: one(Rand(2, f, 13, 10)), Grad: []int{0}},
		Case{Name: "softmax/1000", Op: "Softmax", In: one(Rand(3, f, 2, 1003))},
		Case{Name: "softmax/scalar", Op: "Softmax", In: one(F32([]float32{3})), Want: one(F32([]float32{1}))},
		Case{Name: "softmax/empty", Op: "Softmax", In: one(F32(nil, 2, 0))},
		Case{Name: "softmax/infinite", Op: "Softmax", In: one(F32([]float32{-inf, 0, nan, 0, -inf, -inf}, 3, 2)),
			Want: one(F32([]float32{0, 1, nan, nan, nan, nan}, 3, 2))},
		Case{Name: "softmax/fails/axis", Op: "Softmax", Attrs: attrs{"axis": int64(2)}, In: one(x), Err: true},
		Case{Name: "softmax/fails/integers", Op: "Softmax", In: one(Rand(1, tensor.Int32, 3)), Err: true},
		Case{Name: "softmaxgrad", Domain: "whit", Op: "SoftmaxGrad", In: []*tensor.Tensor{F32([]float32{4, 8}, 2), F32([]float32{.25, .75}, 2)},
			Want: one(F32([]float32{-.75, .75}, 2))},
		Case{Name: "softmaxgrad/fails", Domain: "whit", Op: "SoftmaxGrad", In: []*tensor.Tensor{x, Rand(1, f, 4, 2)}, Err: true},
		Case{Name: "logsoftmax/stable", Op: "LogSoftmax", In: one(x), Want: one(F32(append(append([]float32{}, l...), l...), 2, 4))},
		Case{Name: "logsoftmax/middle", Op: "LogSoftmax", Attrs: attrs{"axis": int64(1)}, In: one(Rand(1, f, 3, 5, 7)), Grad: []int{0}},
		Case{Name: "logsoftmax/10", Op: "LogSoftmax", In: one(Rand(2, f, 13, 10)), Grad: []int{0}},
		Case{Name: "logsoftmaxgrad", Domain: "whit", Op: "LogSoftmaxGrad", In: []*tensor.Tensor{F32([]float32{4, 8}, 2), F32([]float32{0, 0}, 2)},
			Want: one(F32([]float32{-8, -4}, 2))},
		Case{Name: "hardmax", Op: "Hardmax", In: one(F32([]float32{1, 3, 3, 2, 0, 0}, 2, 3)), Want: one(F32([]float32{0, 1, 0, 1, 0, 0}, 2, 3))},
		Case{Name: "hardmax/axis0", Op: "Hardmax", Attrs: attrs{"axis": int64(0)}, In: one(F32([]float32{1, 3, 3, 2, 0, 0}, 2, 3)),
			Want: one(F32([]float32{0, 1, 1, 1, 0, 0}, 2, 3))},
	)
}
