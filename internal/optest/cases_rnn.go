package optest

import "whit/tensor"

func init() {
	ten := func(seed uint64, shape ...int) *tensor.Tensor { return Rand(seed, tensor.Float32, shape...) }
	o := func(v ...float32) *tensor.Tensor { return of([]int{1, len(v), 1}, v...) }
	x := of([]int{2, 1, 1}, float32(1), 2)
	both := map[string]any{"direction": "bidirectional"}
	Add(
		// h = x/2 + h, without a bend.
		Case{Name: "rnn", Op: "RNN", Outs: 2, Attrs: map[string]any{"activations": []string{"Affine"}}, In: in(x, o(.5), o(1)), Want: in(of([]int{2, 1, 1, 1}, float32(.5), 1.5), o(1.5))},
		Case{Name: "rnn/reverse", Op: "RNN", Outs: 2, Attrs: map[string]any{"activations": []string{"Affine"}, "direction": "reverse"}, In: in(x, o(.5), o(1)), Want: in(of([]int{2, 1, 1, 1}, float32(1.5), 1), o(1.5))},
		Case{Name: "rnn/lengths", Op: "RNN", Outs: 2, Attrs: both, In: in(ten(1, 4, 2, 3), ten(2, 2, 5, 3), ten(3, 2, 5, 5), ten(4, 2, 10), vec[int32](4, 2), ten(5, 2, 2, 5))},
		Case{Name: "rnn/batch", Op: "RNN", Outs: 2, Attrs: map[string]any{"layout": int64(1), "clip": float32(.5)}, In: in(ten(1, 2, 4, 3), ten(2, 1, 5, 3), ten(3, 1, 5, 5))},
		Case{Name: "rnn/activation", Op: "RNN", Attrs: map[string]any{"activations": []string{"Sine"}}, In: in(x, o(.5), o(1)), Err: true},
		Case{Name: "rnn/weights", Op: "RNN", In: in(x, o(.5, 1), o(1)), Err: true},
		Case{Name: "gru", Op: "GRU", Outs: 2, In: in(x, o(0, 0, 0), o(0, 0, 0), nil, nil, o(2)), Want: in(of([]int{2, 1, 1, 1}, float32(1), .5), o(.5))},
		Case{Name: "gru/both", Op: "GRU", Outs: 2, Attrs: both, In: in(ten(1, 4, 2, 3), ten(2, 2, 15, 3), ten(3, 2, 15, 5), ten(4, 2, 30))},
		Case{Name: "gru/linear", Op: "GRU", Outs: 2, Attrs: map[string]any{"linear_before_reset": int64(1), "layout": int64(1)}, In: in(ten(1, 2, 4, 3), ten(2, 1, 15, 3), ten(3, 1, 15, 5), ten(4, 1, 30))},
		Case{Name: "gru/weights", Op: "GRU", In: in(x, o(.5), o(1)), Err: true},
		Case{Name: "lstm", Op: "LSTM", Outs: 3, In: in(x, o(0, 0, 0, 0), o(0, 0, 0, 0), nil, nil, nil, o(2)), Want: in(of([]int{2, 1, 1, 1}, float32(.3807971), .2310586), o(.2310586), o(.5))},
		Case{Name: "lstm/both", Op: "LSTM", Outs: 3, Attrs: both, In: in(ten(1, 4, 2, 3), ten(2, 2, 20, 3), ten(3, 2, 20, 5), ten(4, 2, 40), vec[int32](3, 0), ten(5, 2, 2, 5), ten(6, 2, 2, 5), ten(7, 2, 15))},
		Case{Name: "lstm/layout", Op: "LSTM", In: in(x, o(0, 0, 0, 0), o(0, 0, 0, 0)), Attrs: map[string]any{"layout": int64(2)}, Err: true},
	)
}
