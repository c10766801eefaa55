package optest

import (
	"math"

	"whit/tensor"
)

func init() {
	f := tensor.Float32
	type attrs = map[string]any
	one := func(t *tensor.Tensor) []*tensor.Tensor { return []*tensor.Tensor{t} }
	in := func(t ...*tensor.Tensor) []*tensor.Tensor { return t }
	i64 := func(shape []int, v ...int64) *tensor.Tensor { return tensor.From(v, shape...) }
	red := func(r string) attrs { return attrs{"reduction": r} }
	ign := func(r string, i int64) attrs { return attrs{"reduction": r, "ignore_index": i} }

	x := F32([]float32{-1, -2, -3, -4, -5, -6}, 3, 2)
	l := i64([]int{3}, 0, 1, 0)
	w := F32([]float32{1, 3}, 2)
	Add(
		Case{Name: "nll", Op: "NegativeLogLikelihoodLoss", In: in(x, l), Grad: []int{0}, Want: one(F32([]float32{10. / 3}))},
		Case{Name: "nll/none", Op: "NegativeLogLikelihoodLoss", Attrs: red("none"), In: in(x, l), Grad: []int{0}, Want: one(F32([]float32{1, 4, 5}, 3))},
		Case{Name: "nll/sum", Op: "NegativeLogLikelihoodLoss", Attrs: red("sum"), In: in(x, l, w), Grad: []int{0}, Want: one(F32([]float32{18}))},
		Case{Name: "nll/weights", Op: "NegativeLogLikelihoodLoss", In: in(x, l, w), Grad: []int{0}, Want: one(F32([]float32{3.6}))},
		Case{Name: "nll/ignore", Op: "NegativeLogLikelihoodLoss", Attrs: ign("mean", -7), In: in(x, i64([]int{3}, 0, -7, 0), w), Grad: []int{0}, Want: one(F32([]float32{3}))},
		Case{Name: "nll/ignore_none", Op: "NegativeLogLikelihoodLoss", Attrs: ign("none", 1), In: in(x, l), Grad: []int{0}, Want: one(F32([]float32{1, 0, 5}, 3))},
		Case{Name: "nll/int32", Op: "NegativeLogLikelihoodLoss", In: in(x, tensor.From([]int32{0, 1, 0}, 3)), Want: one(F32([]float32{10. / 3}))},
		Case{Name: "nll/3d", Op: "NegativeLogLikelihoodLoss", Attrs: red("none"), In: in(F32([]float32{1, 2, 3, 4}, 1, 2, 2), i64([]int{1, 2}, 1, 0)),
			Want: one(F32([]float32{-3, -2}, 1, 2))},
		Case{Name: "nll/5d", Op: "NegativeLogLikelihoodLoss", In: in(Rand(1, f, 2, 3, 2, 1, 2), i64([]int{2, 2, 1, 2}, 0, 1, 2, 0, 1, 2, 2, 1), Rand(2, f, 3)), Grad: []int{0}},
		Case{Name: "nll/all_ignored", Op: "NegativeLogLikelihoodLoss", Attrs: ign("mean", 0), In: in(x, i64([]int{3}, 0, 0, 0)), Want: one(F32([]float32{float32(math.NaN())}))},
		Case{Name: "nll/fails/label", Op: "NegativeLogLikelihoodLoss", In: in(x, i64([]int{3}, 0, 2, 0)), Err: true},
		Case{Name: "nll/fails/negative", Op: "NegativeLogLikelihoodLoss", In: in(x, i64([]int{3}, 0, -1, 0)), Err: true},
		Case{Name: "nll/fails/shape", Op: "NegativeLogLikelihoodLoss", In: in(x, i64([]int{2}, 0, 1)), Err: true},
		Case{Name: "nll/fails/weights", Op: "NegativeLogLikelihoodLoss", In: in(x, l, Rand(1, f, 3)), Err: true},
		Case{Name: "nll/fails/reduction", Op: "NegativeLogLikelihoodLoss", Attrs: red("max"), In: in(x, l), Err: true},
		Case{Name: "nll/fails/vector", Op: "NegativeLogLikelihoodLoss", In: in(Rand(1, f, 3), l), Err: true},
		Case{Name: "nll/fails/float_labels", Op: "NegativeLogLikelihoodLoss", In: in(x, Rand(1, f, 3)), Err: true},
		Case{Name: "nllgrad", Domain: "whit", Op: "NegativeLogLikelihoodLossGrad", In: in(F32([]float32{3}), x, l), Want: one(F32([]float32{-1, 0, 0, -1, -1, 0}, 3, 2))},
		Case{Name: "nllgrad/fails", Domain: "whit", Op: "NegativeLogLikelihoodLossGrad", Attrs: red("none"), In: in(F32([]float32{3}), x, l), Err: true},

		// softmax(0, ln 3) is 1/4, 3/4.
		Case{Name: "sce", Op: "SoftmaxCrossEntropyLoss", In: in(F32([]float32{0, 1.0986123, 1e4, 1e4 + 1.0986123}, 2, 2), i64([]int{2}, 0, 1)), Outs: 2, Tol: 1e-3,
			Want: in(F32([]float32{.8369882}), F32([]float32{-1.3862944, -.2876821, -1.3862944, -.2876821}, 2, 2))},
		Case{Name: "sce/none", Op: "SoftmaxCrossEntropyLoss", Attrs: red("none"), In: in(F32([]float32{0, 1.0986123}, 1, 2), i64([]int{1}, 0)), Grad: []int{0},
			Want: one(F32([]float32{1.3862944}, 1))},
		Case{Name: "sce/10", Op: "SoftmaxCrossEntropyLoss", In: in(Rand(1, f, 5, 10), i64([]int{5}, 3, 9, 0, 3, 1)), Grad: []int{0}},
		Case{Name: "sce/sum", Op: "SoftmaxCrossEntropyLoss", Attrs: red("sum"), In: in(Rand(1, f, 5, 3), i64([]int{5}, 2, 1, 0, 0, 1), F32([]float32{1, 2, 3}, 3)), Grad: []int{0}},
		Case{Name: "sce/ignore", Op: "SoftmaxCrossEntropyLoss", Attrs: ign("mean", 2), In: in(Rand(1, f, 5, 3), i64([]int{5}, 2, 1, 0, 2, 1), F32([]float32{1, 2, 3}, 3)), Grad: []int{0}},
		Case{Name: "sce/4d", Op: "SoftmaxCrossEntropyLoss", Attrs: red("none"), In: in(Rand(1, f, 2, 3, 1, 2), i64([]int{2, 1, 2}, 2, 1, 0, 2)), Grad: []int{0}},
		Case{Name: "sce/fails/label", Op: "SoftmaxCrossEntropyLoss", In: in(x, i64([]int{3}, 0, 2, 0)), Err: true},
		Case{Name: "scegrad", Domain: "whit", Op: "SoftmaxCrossEntropyLossGrad", In: in(F32([]float32{4}), F32([]float32{0, 1.0986123}, 1, 2), i64([]int{1}, 0)), Tol: 1e-2,
			Want: one(F32([]float32{-3, 3}, 1, 2))},
	)

	t, no := tensor.Scalar(true), tensor.Scalar(false)
	half := F32([]float32{.5})
	Add(
		Case{Name: "dropout/inference", Op: "Dropout", In: one(F32([]float32{1, 2}, 2)), Outs: 2, Grad: []int{0}, Want: in(F32([]float32{1, 2}, 2), tensor.From([]bool{true, true}, 2))},
		Case{Name: "dropout/off", Op: "Dropout", In: in(F32([]float32{1, 2}, 2), half, no), Want: one(F32([]float32{1, 2}, 2))},
		Case{Name: "dropout/ratio0", Op: "Dropout", In: in(F32([]float32{1, 2}, 2), F32([]float32{0}), t), Want: one(F32([]float32{1, 2}, 2))},
		Case{Name: "dropout/training", Op: "Dropout", Attrs: attrs{"seed": int64(1)}, In: in(Rand(1, f, 3, 5), half, t), Outs: 2, Grad: []int{0}},
		Case{Name: "dropout/fails/ratio", Op: "Dropout", In: in(Rand(1, f, 3, 5), F32([]float32{1}), t), Err: true},
		Case{Name: "dropout/fails/ratios", Op: "Dropout", In: in(Rand(1, f, 3, 5), F32([]float32{.5, .5}, 2), t), Err: true},
		Case{Name: "dropout/fails/mode", Op: "Dropout", In: in(Rand(1, f, 3, 5), half, half), Err: true},
		Case{Name: "whit.dropout", Domain: "whit", Op: "Dropout", Attrs: attrs{"seed": int64(1), "node": int64(2), "ratio": float32(.25)},
			In: in(Fill(3, 3, 5), tensor.Scalar(int64(7))), Outs: 2, Grad: []int{0}},
		Case{Name: "whit.dropout/fails/ratio", Domain: "whit", Op: "Dropout", Attrs: attrs{"ratio": float32(1)}, In: in(Fill(3, 3, 5), tensor.Scalar(int64(7))), Err: true},
		Case{Name: "whit.dropout/fails/step", Domain: "whit", Op: "Dropout", In: in(Fill(3, 3, 5), F32([]float32{1})), Err: true},
	)
}
