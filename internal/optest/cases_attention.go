package optest

import (
	"math"

	"whit/tensor"
)

func init() {
	ten := func(seed uint64, shape ...int) *tensor.Tensor { return Rand(seed, tensor.Float32, shape...) }
	one := func(v ...float32) *tensor.Tensor { return of([]int{1, 1, len(v), 1}, v...) }
	l3 := float32(math.Log(3))
	i1 := int64(1)
	Add(
		// Scores 0 and ln 3 weigh 1/4 and 3/4.
		Case{Name: "attention", Op: "Attention", In: in(one(1), one(0, l3), one(4, 8)), Want: in(one(7))},
		Case{Name: "attention/bool", Op: "Attention", In: in(one(1, 1), one(0, l3), one(4, 8), of([]int{2, 2}, true, false, false, false)), Want: in(one(4, 0))},
		Case{Name: "attention/causal", Op: "Attention", Attrs: map[string]any{"is_causal": i1}, In: in(one(1, 1), one(0, l3), one(4, 8)), Want: in(one(4, 7))},
		Case{Name: "attention/past", Op: "Attention", Outs: 4, Attrs: map[string]any{"is_causal": i1, "qk_matmul_output_mode": int64(3)}, In: in(one(1), one(l3), one(8), nil, one(0), one(4)),
			Want: in(one(7), one(0, l3), one(4, 8), of([]int{1, 1, 1, 2}, float32(.25), .75))},
		Case{Name: "attention/nonpad", Op: "Attention", In: in(one(1), one(0, l3), one(4, 8), nil, nil, nil, i64(1)), Want: in(one(4))},
		Case{Name: "attention/groups", Op: "Attention", Outs: 4, Attrs: map[string]any{"q_num_heads": int64(4), "kv_num_heads": int64(2), "softcap": float32(2), "scale": float32(.3), "left_window_size": i1, "right_window_size": i1},
			In: in(ten(1, 2, 3, 8), ten(2, 2, 4, 4), ten(3, 2, 4, 6), ten(4, 4, 1, 3))},
		Case{Name: "attention/heads", Op: "Attention", In: in(ten(1, 2, 3, 8), ten(2, 2, 4, 4), ten(3, 2, 4, 6)), Err: true},
		Case{Name: "attention/mask", Op: "Attention", In: in(one(1), one(0, 1), one(4, 8), of([]int{3}, true, true, true)), Err: true},

		Case{Name: "gridsample", Op: "GridSample", F32Only: true, In: in(of([]int{1, 1, 2, 2}, float32(1), 2, 3, 4), of([]int{1, 1, 3, 2}, float32(0), 0, -0.5, -0.5, -1, -1)),
			Want: in(of([]int{1, 1, 1, 3}, float32(2.5), 1, 0.25))},
		Case{Name: "gridsample/align", Op: "GridSample", F32Only: true, Attrs: map[string]any{"align_corners": i1, "padding_mode": "reflection"}, In: in(of([]int{1, 1, 2, 2}, float32(1), 2, 3, 4), of([]int{1, 1, 2, 2}, float32(-1), 1, 3, -1)),
			Want: in(of([]int{1, 1, 1, 2}, float32(3), 1))},
		Case{Name: "gridsample/nearest", Op: "GridSample", F32Only: true, Attrs: map[string]any{"mode": "nearest", "padding_mode": "border"}, In: in(ten(1, 2, 3, 4, 5), ten(2, 2, 3, 3, 2))},
		Case{Name: "gridsample/cubic", Op: "GridSample", F32Only: true, Attrs: map[string]any{"mode": "cubic", "padding_mode": "reflection"}, In: in(ten(1, 2, 3, 4, 5), ten(2, 2, 3, 3, 2))},
		Case{Name: "gridsample/volume", Op: "GridSample", F32Only: true, In: in(ten(1, 1, 2, 3, 4, 5), ten(2, 1, 2, 3, 3, 3))},
		Case{Name: "gridsample/nowhere", Op: "GridSample", F32Only: true, In: in(ten(1, 1, 1, 2), of([]int{1, 2, 1}, float32(math.NaN()), float32(math.Inf(1)))), Want: in(of([]int{1, 1, 2}, float32(0), 0))},
		Case{Name: "gridsample/rank", Op: "GridSample", In: in(ten(1, 2, 3, 4, 5), ten(2, 2, 3, 3, 3)), Err: true},
	)
}
