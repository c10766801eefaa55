package optest

import "whit/tensor"

func init() {
	Add(Case{Name: "relu", Op: "Relu", In: []*tensor.Tensor{F32([]float32{-1, 0, 2, -3}, 4)},
		Want: []*tensor.Tensor{F32([]float32{0, 0, 2, 0}, 4)}})
	Add(Case{Name: "relu/rank4", Op: "Relu", In: []*tensor.Tensor{Rand(1, tensor.Float32, 2, 3, 5, 7)}, Grad: []int{0}})
	Add(Case{Name: "relugrad", Domain: "whit", Op: "ReluGrad",
		In:   []*tensor.Tensor{F32([]float32{1, 2, 3}, 3), F32([]float32{0, 1, 0}, 3)},
		Want: []*tensor.Tensor{F32([]float32{0, 2, 0}, 3)}})
}
