package optest

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

func init() {
	ten := func(seed uint64, shape ...int) *tensor.Tensor { return Rand(seed, tensor.Float32, shape...) }
	a := func(kv ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(kv); i += 2 {
			if k, ok := kv[i+1].(int); ok {
				kv[i+1] = int64(k)
			}
			m[kv[i].(string)] = kv[i+1]
		}
		return m
	}
	s0 := func(v int64) *tensor.Tensor { return of([]int{}, v) }
	f := func(v ...float32) *tensor.Tensor { return vec(v...) }
	wave := of([]int{1, 4, 1}, float32(1), 2, 3, 4)
	Add(
		Case{Name: "dft", Op: "DFT", In: in(wave), Want: in(of([]int{1, 4, 2}, float32(10), 0, -2, 2, -2, 0, -2, -2))},
		Case{Name: "dft/onesided", Op: "DFT", Attrs: a("onesided", 1), In: in(wave, s0(2)), Want: in(of([]int{1, 2, 2}, float32(3), 0, -1, 0))},
		Case{Name: "dft/inverse", Op: "DFT", Attrs: a("inverse", 1), In: in(of([]int{1, 4, 2}, float32(10), 0, -2, 2, -2, 0, -2, -2), nil, s0(1)), Want: in(of([]int{1, 4, 2}, float32(1), 0, 2, 0, 3, 0, 4, 0))},
		Case{Name: "dft/real", Op: "DFT", Attrs: a("inverse", 1, "onesided", 1), In: in(of([]int{1, 3, 2}, float32(10), 9, -2, 2, -2, 9)), Want: in(of([]int{1, 4, 1}, float32(1), 2, 3, 4))},
		Case{Name: "dft/pad", Op: "DFT", Tol: 1e-4, In: in(ten(1, 2, 6, 3, 2), s0(41), s0(-3))},
		Case{Name: "dft/prime", Op: "DFT", Tol: 1e-4, Attrs: a("inverse", 1), In: in(ten(1, 2, 37, 3, 2), nil, s0(1))},
		Case{Name: "dft/axis", Op: "DFT", In: in(wave, nil, s0(2)), Err: true},
		Case{Name: "dft/length", Op: "DFT", In: in(wave, s0(0)), Err: true},
		Case{Name: "dft/complex", Op: "DFT", Attrs: a("onesided", 1), In: in(ten(1, 1, 4, 2)), Err: true},
		Case{Name: "dft/parts", Op: "DFT", In: in(ten(1, 1, 4, 3)), Err: true},

		Case{Name: "stft", Op: "STFT", In: in(wave, s0(2), f(1, .5)), Want: in(of([]int{1, 2, 2, 2}, float32(2), 0, 0, 0, 5, 0, 1, 0))},
		Case{Name: "stft/complex", Op: "STFT", Tol: 1e-4, Attrs: a("onesided", 0), In: in(ten(1, 2, 9, 2), s0(3), nil, s0(5))},
		Case{Name: "stft/whole", Op: "STFT", Tol: 1e-4, In: in(ten(1, 1, 6, 1), s0(1))},
		Case{Name: "stft/long", Op: "STFT", In: in(wave, s0(1), nil, s0(5)), Err: true},
		Case{Name: "stft/step", Op: "STFT", In: in(wave, s0(0), nil, s0(2)), Err: true},
		Case{Name: "stft/window", Op: "STFT", In: in(wave, s0(1), f(1, 1), s0(3)), Err: true},

		Case{Name: "mel", Op: "MelWeightMatrix", F32Only: true, In: in(s0(2), s0(8), s0(8000), of([]int{}, float32(0)), of([]int{}, float32(4000)))},
		Case{Name: "mel/edge", Op: "MelWeightMatrix", F32Only: true, In: in(s0(2), s0(8), s0(100), of([]int{}, float32(0)), of([]int{}, float32(4000))), Err: true},
		Case{Name: "mel/bands", Op: "MelWeightMatrix", F32Only: true, In: in(s0(-2), s0(8), s0(8000), of([]int{}, float32(0)), of([]int{}, float32(4000))), Err: true},
		Case{Name: "mel/rate", Op: "MelWeightMatrix", F32Only: true, In: in(s0(2), s0(8), s0(0), of([]int{}, float32(0)), of([]int{}, float32(4000))), Err: true},

		Case{Name: "tfidf", Op: "TfIdfVectorizer", Attrs: a("mode", "TF", "min_gram_length", 1, "max_gram_length", 2, "max_skip_count", 1, "ngram_counts", []int64{0, 2}, "ngram_indexes", []int64{0, 1, 3}, "pool_int64s", []int64{1, 2, 1, 3}),
			In: in(of([]int{2, 3}, int64(1), 2, 3, 1, 3, 1)), Want: in(of([]int{2, 4}, float32(1), 1, 0, 1, 2, 0, 0, 1))},
		Case{Name: "tfidf/weights", Op: "TfIdfVectorizer", Attrs: a("mode", "TFIDF", "ngram_counts", []int64{0}, "ngram_indexes", []int64{1, 0}, "pool_int64s", []int64{1, 2}, "weights", []float32{.5, 2}, "min_gram_length", 1, "max_gram_length", 1, "max_skip_count", 0),
			In: in(vec[int32](1, 1, 2)), Want: in(f(2, 1))},
		Case{Name: "tfidf/pool", Op: "TfIdfVectorizer", Attrs: a("mode", "TF", "ngram_counts", []int64{0, 1}, "ngram_indexes", []int64{0, 1}, "pool_int64s", []int64{1, 2}, "min_gram_length", 1, "max_gram_length", 2, "max_skip_count", 0), In: in(i64(1)), Err: true},
		Case{Name: "tfidf/mode", Op: "TfIdfVectorizer", Attrs: a("ngram_counts", []int64{0}, "ngram_indexes", []int64{0}, "pool_int64s", []int64{1}), In: in(i64(1)), Err: true},

		Case{Name: "einsum", Op: "Einsum", Attrs: a("equation", "ij, jk -> ik"), In: in(of([]int{2, 2}, float32(1), 2, 3, 4), of([]int{2, 1}, float32(5), 6)), Want: in(of([]int{2, 1}, float32(17), 39)), Grad: []int{0, 1}},
		Case{Name: "einsum/implicit", Op: "Einsum", Attrs: a("equation", "ba"), In: in(ten(1, 2, 3))},
		Case{Name: "einsum/diagonal", Op: "Einsum", Attrs: a("equation", "ii->i"), In: in(of([]int{2, 2}, int8(100), 2, 3, 100)), Want: in(vec[int8](100, 100))},
		Case{Name: "einsum/trace", Op: "Einsum", Attrs: a("equation", "ii"), In: in(of([]int{2, 2}, int8(100), 2, 3, 100)), Want: in(of([]int{}, int8(-56)))},
		Case{Name: "einsum/dots", Op: "Einsum", Attrs: a("equation", "...ij,...jk->...ik"), In: in(ten(1, 2, 1, 2, 3), ten(2, 4, 3, 2))},
		Case{Name: "einsum/dotsimplicit", Op: "Einsum", Attrs: a("equation", "i...,i..."), In: in(of([]int{2, 1}, float32(1), 2), f(3, 4)), Want: in(f(11))},
		Case{Name: "einsum/three", Op: "Einsum", Attrs: a("equation", "bi,bj,ijk->bk"), Tol: 1e-4, In: in(ten(1, 3, 2), ten(2, 3, 4), ten(3, 2, 4, 5)), Grad: []int{0, 1, 2}},
		Case{Name: "einsum/stretch", Op: "Einsum", Attrs: a("equation", "ij,ij->ij"), In: in(ten(1, 2, 1), ten(2, 2, 3)), Grad: []int{0, 1}},
		Case{Name: "einsum/chain", Op: "Einsum", Attrs: a("equation", "a,b,c,d,e->"), In: in(f(1, 2), f(1, 1), f(2, 1), f(1), f(.5, .5)), Want: in(of([]int{}, float32(18)))},
		Case{Name: "einsum/empty", Op: "Einsum", Attrs: a("equation", "ij->i"), In: in(ten(1, 2, 0)), Want: in(f(0, 0))},
		Case{Name: "einsum/sizes", Op: "Einsum", Attrs: a("equation", "ij,jk->ik"), In: in(ten(1, 2, 2), ten(1, 3, 1)), Err: true},
		Case{Name: "einsum/terms", Op: "Einsum", Attrs: a("equation", "ij->ik"), In: in(ten(1, 2, 2)), Err: true},
		Case{Name: "einsum/ranks", Op: "Einsum", Attrs: a("equation", "ijk->ik"), In: in(ten(1, 2, 2)), Err: true},
		Case{Name: "einsum/letters", Op: "Einsum", Attrs: a("equation", "i1->i"), In: in(ten(1, 2, 2)), Err: true},
		Case{Name: "einsum/twice", Op: "Einsum", Attrs: a("equation", "ij->ii"), In: in(ten(1, 2, 2)), Err: true},

		Case{Name: "det", Op: "Det", In: in(of([]int{2, 2, 2}, float32(0), 2, 3, 4, 1, 2, 2, 4)), Want: in(f(-6, 0))},
		Case{Name: "det/none", Op: "Det", In: in(of([]int{0, 0}, []float32{}...)), Want: in(of([]int{}, float32(1)))},
		Case{Name: "det/square", Op: "Det", In: in(ten(1, 2, 3)), Err: true},

		Case{Name: "col2im", Op: "Col2Im", In: in(of([]int{1, 2, 3}, float32(1), 2, 3, 10, 20, 30), i64(1, 4), i64(1, 2)), Want: in(of([]int{1, 1, 1, 4}, float32(1), 12, 23, 30))},
		Case{Name: "col2im/all", Op: "Col2Im", Attrs: a("pads", []int64{1, 0, 0, 1}, "strides", []int64{2, 1}, "dilations", []int64{1, 2}), In: in(ten(1, 2, 12, 6), i64(3, 4), i64(2, 2))},
		Case{Name: "col2im/int8wraps", Op: "Col2Im", In: in(of([]int{1, 2, 2}, int8(1), 100, 100, 3), i64(3), i64(2)), Want: in(of([]int{1, 1, 3}, int8(1), -56, 3))},
		Case{Name: "col2im/columns", Op: "Col2Im", In: in(ten(1, 1, 2, 2), i64(1, 4), i64(1, 2)), Err: true},
		Case{Name: "col2im/block", Op: "Col2Im", In: in(ten(1, 1, 2, 3), i64(1, 4), i64(1, 0)), Err: true},
	)
}

func init() {
	ten := func(seed uint64, shape ...int) *tensor.Tensor { return Rand(seed, tensor.Float32, shape...) }
	f := func(v ...float32) *tensor.Tensor { return vec(v...) }
	i1 := int64(1)
	nan := float32(math.NaN())
	m := func(kv ...any) map[string]any {
		a := map[string]any{}
		for i := 0; i < len(kv); i += 2 {
			a[kv[i].(string)] = kv[i+1]
		}
		return a
	}
	Add(
		Case{Name: "unique", Op: "Unique", Outs: 4, F32Only: true, In: in(f(2, 1, 1, nan, 3, nan)), Want: in(f(1, 2, 3, nan, nan), i64(1, 0, 4, 3, 5), i64(1, 0, 0, 3, 2, 4), i64(2, 1, 1, 1, 1))},
		Case{Name: "unique/first", Op: "Unique", Outs: 4, Attrs: m("sorted", int64(0)), In: in(vec[uint64](1<<63, 1, 1<<63)), Want: in(vec[uint64](1<<63, 1), i64(0, 1), i64(0, 1, 0), i64(2, 1))},
		Case{Name: "unique/axis", Op: "Unique", Outs: 4, Attrs: m("axis", int64(-1)), In: in(of([]int{2, 3}, int32(2), 1, 2, 4, 5, 4)), Want: in(of([]int{2, 2}, int32(1), 2, 5, 4), i64(1, 0), i64(1, 0, 1), i64(1, 2))},
		Case{Name: "unique/bool", Op: "Unique", In: in(vec(true, false, true)), Want: in(vec(false, true))},
		Case{Name: "unique/empty", Op: "Unique", In: in(of([]int{0, 2}, []float32{}...)), Want: in(of([]int{0}, []float32{}...))},
		Case{Name: "unique/range", Op: "Unique", Attrs: m("axis", i1), In: in(f(1)), Err: true},

		Case{Name: "reversesequence", Op: "ReverseSequence", In: in(of([]int{3, 2}, float32(1), 2, 3, 4, 5, 6), i64(2, 3)), Want: in(of([]int{3, 2}, float32(3), 6, 1, 4, 5, 2)), Grad: []int{0}},
		Case{Name: "reversesequence/batch", Op: "ReverseSequence", Attrs: m("batch_axis", int64(0), "time_axis", i1), In: in(ten(1, 2, 3, 2), i64(0, 3)), Grad: []int{0}},
		Case{Name: "reversesequence/long", Op: "ReverseSequence", In: in(ten(1, 3, 2), i64(2, 4)), Err: true},
		Case{Name: "reversesequence/axes", Op: "ReverseSequence", Attrs: m("batch_axis", int64(0)), In: in(ten(1, 3, 2), i64(1, 1, 1)), Err: true},

		Case{Name: "centercroppad", Op: "CenterCropPad", In: in(of([]int{2, 3}, float32(1), 2, 3, 4, 5, 6), i64(5, 2)), Want: in(of([]int{5, 2}, float32(0), 0, 1, 2, 4, 5, 0, 0, 0, 0)), Grad: []int{0}},
		Case{Name: "centercroppad/axes", Op: "CenterCropPad", Attrs: m("axes", []int64{-1}), In: in(vec[int8](1, 2, 3, 4), i64(1)), Want: in(vec[int8](2))},
		Case{Name: "centercroppad/nothing", Op: "CenterCropPad", In: in(vec[int8](1, 2), i64(0)), Want: in(of([]int{0}, []int8{}...))},
		Case{Name: "centercroppad/sizes", Op: "CenterCropPad", In: in(vec[int8](1, 2), i64(1, 2)), Err: true},

		Case{Name: "tensorscatter", Op: "TensorScatter", In: in(of([]int{1, 3, 1}, float32(1), 2, 3), of([]int{1, 2, 1}, float32(8), 9), i64(1)), Want: in(of([]int{1, 3, 1}, float32(1), 8, 9))},
		Case{Name: "tensorscatter/circular", Op: "TensorScatter", Attrs: m("mode", "circular", "axis", i1), In: in(of([]int{2, 3}, int8(1), 2, 3, 4, 5, 6), of([]int{2, 2}, int8(7), 8, 9, 10), i64(2, -1)), Want: in(of([]int{2, 3}, int8(8), 2, 7, 10, 5, 9))},
		Case{Name: "tensorscatter/start", Op: "TensorScatter", In: in(ten(1, 1, 3, 1), ten(2, 1, 3, 1)), Want: in(ten(2, 1, 3, 1))},
		Case{Name: "tensorscatter/past", Op: "TensorScatter", In: in(ten(1, 1, 3, 1), ten(2, 1, 2, 1), i64(2)), Err: true},
		Case{Name: "tensorscatter/axis", Op: "TensorScatter", Attrs: m("axis", int64(0)), In: in(ten(1, 1, 3, 1), ten(2, 1, 3, 1)), Err: true},

		Case{Name: "rotary", Op: "RotaryEmbedding", In: in(of([]int{1, 1, 1, 3}, float32(1), 2, 3), of([]int{1, 1, 1}, float32(0)), of([]int{1, 1, 1}, float32(1))), Attrs: m("rotary_embedding_dim", int64(2)), Want: in(of([]int{1, 1, 1, 3}, float32(-2), 1, 3)), Grad: []int{}},
		Case{Name: "rotary/heads", Op: "RotaryEmbedding", ConstIn: []int{1, 2}, Attrs: m("num_heads", int64(2), "interleaved", i1), In: in(ten(1, 2, 3, 8), ten(2, 5, 2), ten(3, 5, 2), of([]int{2, 3}, int64(0), 1, 2, 4, 3, 2)), Grad: []int{0}},
		Case{Name: "rotary/position", Op: "RotaryEmbedding", Attrs: m("num_heads", int64(2)), In: in(ten(1, 1, 1, 8), ten(2, 5, 2), ten(3, 5, 2), of([]int{1, 1}, int64(5))), Err: true},
		Case{Name: "rotary/odd", Op: "RotaryEmbedding", In: in(ten(1, 1, 1, 1, 3), ten(2, 1, 1, 1), ten(3, 1, 1, 1)), Err: true},

		Case{Name: "swiglu", Op: "SwiGLU", Attrs: m("alpha", float32(2)), In: in(f(0, 1, -1), f(1, 2, 3)), Want: in(f(0, 1.7615942, -.35760877)), Grad: []int{0, 1}},
		Case{Name: "swiglu/shapes", Op: "SwiGLU", In: in(f(0, 1, -1), f(1)), Err: true},

		// k ⊗ v is added twice; what the last one reads is q·(sum).
		Case{Name: "linearattention", Op: "LinearAttention", Outs: 2, Attrs: m("q_num_heads", i1, "kv_num_heads", i1, "update_rule", "linear", "scale", float32(1)), In: in(of([]int{1, 2, 1}, float32(1), 2), of([]int{1, 2, 1}, float32(3), 4), of([]int{1, 2, 1}, float32(5), 6)),
			Want: in(of([]int{1, 2, 1}, float32(15), 78), of([]int{1, 1, 1, 1}, float32(39)))},
		Case{Name: "linearattention/delta", Op: "LinearAttention", Outs: 2, Attrs: m("q_num_heads", i1, "kv_num_heads", i1, "update_rule", "delta", "scale", float32(1)), In: in(of([]int{1, 1, 1}, float32(1)), of([]int{1, 1, 1}, float32(2)), of([]int{1, 1, 1}, float32(5)), of([]int{1, 1, 1, 1}, float32(1)), nil, of([]int{1, 1, 1}, float32(.5))),
			Want: in(of([]int{1, 1, 1}, float32(4)), of([]int{1, 1, 1, 1}, float32(4)))},
		linear("linearattention/gated", "gated", ten(5, 2, 3, 4), nil),
		linear("linearattention/both", "gated_delta", ten(5, 2, 3, 2), ten(6, 2, 3, 1)),
		linear("linearattention/missing", "gated", nil, nil),

		Case{Name: "causalconv", Op: "CausalConvWithState", Outs: 2, In: in(of([]int{1, 1, 3}, float32(1), 2, 3), of([]int{1, 1, 2}, float32(10), 1), f(.5), of([]int{1, 1, 1}, float32(4))), Want: in(of([]int{1, 1, 3}, float32(41.5), 12.5, 23.5), of([]int{1, 1, 1}, float32(3)))},
		Case{Name: "causalconv/short", Op: "CausalConvWithState", Outs: 2, Attrs: m("activation", "silu"), In: in(ten(1, 2, 3, 2), ten(2, 3, 1, 5), nil, ten(3, 2, 3, 4))},
		Case{Name: "causalconv/state", Op: "CausalConvWithState", In: in(ten(1, 2, 3, 2), ten(2, 3, 1, 5), nil, ten(3, 2, 3, 5)), Err: true},
		Case{Name: "causalconv/activation", Op: "CausalConvWithState", Attrs: m("activation", "gelu"), In: in(ten(1, 2, 3, 2), ten(2, 3, 1, 5)), Err: true},
	)
	// Draws are checked by their moments (TestRandom).
	for _, op := range []string{"RandomNormalLike", "RandomUniformLike", "Bernoulli"} {
		Add(Case{Name: op, Op: op, F32Only: true, In: in(within(1, 1, 3, 5))},
			Case{Name: op + "/dtype", Op: op, Attrs: m("dtype", int64(11), "seed", float32(2)), In: in(within(1, 1, 3))},
			Case{Name: op + "/string", Op: op, Attrs: m("dtype", int64(8)), In: in(within(1, 1, 3)), Err: true})
	}
	for _, op := range []string{"RandomNormal", "RandomUniform"} {
		Add(Case{Name: op, Op: op, Attrs: m("shape", []int64{3, 5})}, Case{Name: op + "/shape", Op: op, Attrs: m("shape", []int64{3, -5}), Err: true})
	}
	Add(Case{Name: "multinomial", Op: "Multinomial", F32Only: true, Attrs: m("sample_size", int64(7)), In: in(ten(1, 2, 3))},
		Case{Name: "multinomial/certain", Op: "Multinomial", F32Only: true, Attrs: m("sample_size", int64(2), "dtype", int64(7)), In: in(of([]int{1, 3}, float32(-200), 0, -200)), Want: in(of([]int{1, 2}, int64(1), 1))},
		Case{Name: "multinomial/classes", Op: "Multinomial", In: in(of([]int{1, 0}, []float32{}...)), Err: true})

	double := bodyOf("double", 2, func(g *graph.Graph, in []*graph.Value) []*graph.Value {
		return []*graph.Value{g.Add("", "Mul", nil, in[0], in[1])}
	})
	wrong := bodyOf("wrong", 1, func(g *graph.Graph, in []*graph.Value) []*graph.Value {
		return []*graph.Value{g.Add("", "Shape", nil, in[0])}
	})
	one := func(v ...float32) *tensor.Tensor { return of([]int{1, 1, len(v), 1}, v...) }
	l3 := float32(math.Log(3))
	flex := func(name string, attrs map[string]any, want *tensor.Tensor, in ...*tensor.Tensor) Case {
		return Case{Name: "flexattention" + name, Domain: "ai.onnx.preview", Op: "FlexAttention", Attrs: attrs, F32Only: attrs != nil, In: in, Want: []*tensor.Tensor{want}, Err: want == nil}
	}
	Add(
		flex("", nil, one(7), one(1), one(0, l3), one(4, 8)),
		flex("/score", m("score_mod", double, graph.CapturesAttr, i1), one(7.6), one(1), one(0, l3), one(4, 8), f(2)),
		flex("/prob", m("prob_mod", double, graph.CapturesAttr, i1, "scale", float32(1)), one(14), one(1), one(0, l3), one(4, 8), f(2)),
		flex("/type", m("score_mod", wrong), nil, one(1), one(0, l3), one(4, 8)),
		flex("/shapes", m("scale", float32(1)), nil, one(1), one(0, l3), one(4)),
	)
}

// linear is a LinearAttention of 4 heads of queries, 2 of keys; the gated rules want
// a decay.
func linear(name, rule string, decay, beta *tensor.Tensor) Case {
	ten := func(seed uint64, shape ...int) *tensor.Tensor { return Rand(seed, tensor.Float32, shape...) }
	return Case{Name: name, Op: "LinearAttention", Outs: 2, F32Only: true, Tol: 1e-4, Err: decay == nil, Attrs: map[string]any{"q_num_heads": int64(4), "kv_num_heads": int64(2), "update_rule": rule},
		In: in(ten(1, 2, 3, 8), ten(2, 2, 3, 4), ten(3, 2, 3, 6), ten(4, 2, 2, 2, 3), decay, beta)}
}
