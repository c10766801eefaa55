package optest

import "whit/tensor"

func init() {
	f := tensor.Float32
	ints := func(v ...int64) []int64 { return v }
	x33 := F32([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9}, 1, 1, 3, 3)
	ones := F32([]float32{1, 1, 1, 1}, 1, 1, 2, 2)
	conv := func(name string, attrs map[string]any, in ...*tensor.Tensor) Case {
		c := Case{Name: "conv/" + name, Op: "Conv", Attrs: attrs, In: in}
		for i := range in {
			c.Grad = append(c.Grad, i)
		}
		return c
	}
	want := func(c Case, w *tensor.Tensor) Case { c.Want = []*tensor.Tensor{w}; return c }
	fail := func(name string, attrs map[string]any, in ...*tensor.Tensor) Case {
		return Case{Name: "conv/fails/" + name, Op: "Conv", Attrs: attrs, In: in, Err: true}
	}
	Add(
		want(conv("valid", nil, x33, ones), F32([]float32{12, 16, 24, 28}, 1, 1, 2, 2)),
		want(conv("bias", nil, x33, ones, F32([]float32{.5}, 1)), F32([]float32{12.5, 16.5, 24.5, 28.5}, 1, 1, 2, 2)),
		want(conv("pads", map[string]any{"pads": ints(1, 0, 0, 1)}, x33, ones),
			F32([]float32{3, 5, 3, 12, 16, 9, 24, 28, 15}, 1, 1, 3, 3)),
		want(conv("strides", map[string]any{"strides": ints(2, 1), "pads": ints(1, 0, 0, 0)}, x33, ones),
			F32([]float32{3, 5, 24, 28}, 1, 1, 2, 2)),
		want(conv("dilations", map[string]any{"dilations": ints(2, 1)}, x33, ones), F32([]float32{18, 22}, 1, 1, 1, 2)),
		want(conv("same_upper", map[string]any{"auto_pad": "SAME_UPPER"}, x33, ones),
			F32([]float32{12, 16, 9, 24, 28, 15, 15, 17, 9}, 1, 1, 3, 3)),
		want(conv("same_lower", map[string]any{"auto_pad": "SAME_LOWER"}, x33, ones),
			F32([]float32{1, 3, 5, 5, 12, 16, 11, 24, 28}, 1, 1, 3, 3)),
		want(conv("auto_valid", map[string]any{"auto_pad": "VALID", "kernel_shape": ints(2, 2)}, x33, ones),
			F32([]float32{12, 16, 24, 28}, 1, 1, 2, 2)),
		want(conv("1d", map[string]any{"pads": ints(1, 1)}, F32([]float32{1, 2, 3}, 1, 1, 3), F32([]float32{1, 10, 100}, 1, 1, 3)),
			F32([]float32{210, 321, 32}, 1, 1, 3)),
		want(conv("groups", map[string]any{"group": int64(2)}, F32([]float32{1, 2, 3, 4}, 1, 4, 1), F32([]float32{1, 10, 100, 1000}, 2, 2, 1)),
			F32([]float32{21, 4300}, 1, 2, 1)),
		want(conv("same_empty", map[string]any{"auto_pad": "SAME_UPPER"}, Rand(1, f, 1, 1, 3, 0), Rand(2, f, 1, 1, 8, 2)), tensor.New(f, 1, 1, 3, 0)),
		conv("odd", map[string]any{"pads": ints(2, 0, 1, 3), "strides": ints(2, 3), "dilations": ints(1, 2)},
			Rand(1, f, 2, 3, 7, 9), Rand(2, f, 4, 3, 3, 2), Rand(3, f, 4)),
		conv("grouped", map[string]any{"pads": ints(1, 1, 1, 1), "group": int64(3), "strides": ints(2, 2)},
			Rand(4, f, 2, 6, 5, 6), Rand(5, f, 9, 2, 3, 3), Rand(6, f, 9)),
		conv("depthwise", map[string]any{"pads": ints(1, 1, 1, 1), "group": int64(5)},
			Rand(7, f, 1, 5, 6, 5), Rand(8, f, 10, 1, 3, 3), Rand(9, f, 10)),
		conv("1x1", nil, Rand(10, f, 2, 17, 3, 5), Rand(11, f, 6, 17, 1, 1), Rand(12, f, 6)),
		conv("1x1strided", map[string]any{"strides": ints(2, 2)}, Rand(10, f, 2, 7, 5, 5), Rand(11, f, 6, 7, 1, 1)),
		conv("3x3", map[string]any{"pads": ints(1, 1, 1, 1)}, Rand(13, f, 1, 16, 9, 11), Rand(14, f, 19, 16, 3, 3), Rand(15, f, 19)),
		conv("5x5", nil, Rand(16, f, 2, 1, 12, 12), Rand(17, f, 20, 1, 5, 5), Rand(18, f, 20)),
		conv("7x7s2", map[string]any{"pads": ints(3, 3, 3, 3), "strides": ints(2, 2)}, Rand(19, f, 1, 3, 15, 15), Rand(20, f, 8, 3, 7, 7)),
		conv("3d", map[string]any{"pads": ints(1, 0, 0, 0, 1, 1), "strides": ints(1, 2, 1)},
			Rand(21, f, 2, 2, 3, 4, 5), Rand(22, f, 3, 2, 2, 2, 3), Rand(23, f, 3)),
		conv("paddingonly", map[string]any{"pads": ints(3, 3, 3, 3)}, Rand(24, f, 1, 1, 1, 2), Rand(25, f, 1, 1, 2, 2)),
		conv("same_strided", map[string]any{"auto_pad": "SAME_UPPER", "strides": ints(3, 2), "dilations": ints(2, 1)},
			Rand(26, f, 1, 2, 8, 7), Rand(27, f, 2, 2, 3, 4)),
		Case{Name: "conv/batch0", Op: "Conv", In: []*tensor.Tensor{Rand(1, f, 0, 2, 4, 4), Rand(2, f, 3, 2, 3, 3), Rand(3, f, 3)}},
		Case{Name: "conv/channels0", Op: "Conv", In: []*tensor.Tensor{Rand(1, f, 1, 0, 2, 2), Rand(2, f, 2, 0, 2, 2), F32([]float32{1, 2}, 2)},
			Want: []*tensor.Tensor{F32([]float32{1, 2}, 1, 2, 1, 1)}},
		fail("channels", nil, Rand(1, f, 1, 3, 4, 4), Rand(2, f, 2, 2, 3, 3)),
		fail("group0", map[string]any{"group": int64(0)}, x33, ones),
		fail("group", map[string]any{"group": int64(2)}, Rand(1, f, 1, 4, 4, 4), Rand(2, f, 3, 2, 3, 3)),
		fail("rank", nil, Rand(1, f, 3, 3), Rand(2, f, 3, 3)),
		fail("ranks", nil, x33, Rand(2, f, 1, 1, 2)),
		fail("kernel", nil, x33, Rand(2, f, 1, 1, 4, 4)),
		fail("kernel0", nil, x33, Rand(2, f, 1, 1, 0, 1)),
		fail("kernel_shape", map[string]any{"kernel_shape": ints(3, 2)}, x33, ones),
		fail("bias", nil, x33, ones, Rand(1, f, 2)),
		fail("pads", map[string]any{"pads": ints(1, 1)}, x33, ones),
		fail("negative", map[string]any{"pads": ints(0, 0, -1, 0)}, x33, ones),
		fail("huge", map[string]any{"pads": ints(0, 0, 1<<62, 1<<62)}, x33, ones),
		fail("strides", map[string]any{"strides": ints(0, 1)}, x33, ones),
		fail("dilations", map[string]any{"dilations": ints(1, 1<<40)}, x33, ones),
		fail("auto_pad", map[string]any{"auto_pad": "SAME"}, x33, ones),
		fail("types", nil, x33, Rand(1, tensor.Float64, 1, 1, 2, 2)),
		fail("integers", nil, Rand(1, tensor.Int32, 1, 1, 3, 3), Rand(1, tensor.Int32, 1, 1, 2, 2)),
	)

	grad := map[string]any{"pads": ints(1, 0, 0, 1), "strides": ints(2, 1), "group": int64(2)}
	gx, gw := Rand(31, f, 2, 4, 5, 4), Rand(32, f, 6, 2, 2, 3)
	Add(
		Case{Name: "convgradx", Domain: "whit", Op: "ConvGradX",
			In:   []*tensor.Tensor{F32([]float32{1, 2, 3, 4}, 1, 1, 2, 2), F32([]float32{1, 10, 100, 1000}, 1, 1, 2, 2), x33},
			Want: []*tensor.Tensor{F32([]float32{1, 12, 20, 103, 1234, 2040, 300, 3400, 4000}, 1, 1, 3, 3)}},
		Case{Name: "convgradx/grouped", Domain: "whit", Op: "ConvGradX", Attrs: grad, In: []*tensor.Tensor{Rand(33, f, 2, 6, 3, 3), gw, gx}},
		Case{Name: "convgradx/turned", Domain: "whit", Op: "ConvGradX", Attrs: map[string]any{"pads": ints(1, 1, 1, 1)},
			In: []*tensor.Tensor{Rand(34, f, 2, 5, 7, 6), Rand(35, f, 5, 19, 3, 3), Rand(36, f, 2, 19, 7, 6)}},
		Case{Name: "convgradx/turned_odd", Domain: "whit", Op: "ConvGradX", Attrs: map[string]any{"pads": ints(0, 2, 3, 1), "dilations": ints(2, 1), "group": int64(2)},
			In: []*tensor.Tensor{Rand(34, f, 2, 6, 5, 6), Rand(35, f, 6, 9, 3, 4), Rand(36, f, 2, 18, 6, 6)}},
		Case{Name: "convgradx/overhung", Domain: "whit", Op: "ConvGradX", Attrs: map[string]any{"pads": ints(3, 3, 3, 3)},
			In: []*tensor.Tensor{Rand(34, f, 1, 3, 9, 8), Rand(35, f, 3, 8, 2, 2), Rand(36, f, 1, 8, 4, 3)}},
		Case{Name: "convgradx/fails", Domain: "whit", Op: "ConvGradX", Attrs: grad, In: []*tensor.Tensor{Rand(33, f, 2, 6, 3, 4), gw, gx}, Err: true},
		Case{Name: "convgradw", Domain: "whit", Op: "ConvGradW",
			In:   []*tensor.Tensor{F32([]float32{1, 0, 0, 10}, 1, 1, 2, 2), x33, ones},
			Want: []*tensor.Tensor{F32([]float32{51, 62, 84, 95}, 1, 1, 2, 2)}},
		Case{Name: "convgradw/grouped", Domain: "whit", Op: "ConvGradW", Attrs: grad, In: []*tensor.Tensor{Rand(33, f, 2, 6, 3, 3), gx, gw}},
		Case{Name: "convgradw/channels", Domain: "whit", Op: "ConvGradW", Attrs: map[string]any{"pads": ints(1, 1, 1, 1)},
			In: []*tensor.Tensor{Rand(34, f, 3, 16, 7, 6), Rand(35, f, 3, 5, 7, 6), Rand(36, f, 16, 5, 3, 3)}},
		Case{Name: "convgradw/channels_odd", Domain: "whit", Op: "ConvGradW", Attrs: map[string]any{"pads": ints(0, 2, 3, 1), "dilations": ints(2, 1), "strides": ints(1, 2), "group": int64(2)},
			In: []*tensor.Tensor{Rand(34, f, 2, 38, 5, 3), Rand(35, f, 2, 8, 6, 6), Rand(36, f, 38, 4, 3, 4)}},
		Case{Name: "convgradw/images", Domain: "whit", Op: "ConvGradW",
			In: []*tensor.Tensor{Rand(34, f, 70, 8, 4, 5), Rand(35, f, 70, 3, 4, 5), Rand(36, f, 8, 3, 1, 1)}, Tol: 1e-5},
		Case{Name: "convgradw/rows", Domain: "whit", Op: "ConvGradW", Attrs: map[string]any{"dilations": ints(1, 2)},
			In: []*tensor.Tensor{Rand(34, f, 2, 32, 9, 40), Rand(35, f, 2, 7, 11, 44), Rand(36, f, 32, 7, 3, 3)}, Tol: 5e-5},
		Case{Name: "convgradw/fails", Domain: "whit", Op: "ConvGradW", Attrs: grad, In: []*tensor.Tensor{Rand(33, f, 2, 4, 3, 3), gx, gw}, Err: true},
		// Winograd: errors are relative to the largest number, here about 20 and 80, not to each one.
		Case{Name: "convgradx/winograd", Domain: "whit", Op: "ConvGradX", Attrs: map[string]any{"pads": ints(1, 1, 1, 1)},
			In: []*tensor.Tensor{Rand(34, f, 5, 24, 9, 14), Rand(35, f, 24, 40, 3, 3), Rand(36, f, 5, 40, 9, 14)}, Tol: 3e-4},
		Case{Name: "convgradx/winograd_pads", Domain: "whit", Op: "ConvGradX", Attrs: map[string]any{"pads": ints(0, 2, 1, 1)},
			In: []*tensor.Tensor{Rand(34, f, 3, 16, 11, 13), Rand(35, f, 16, 16, 3, 3), Rand(36, f, 3, 16, 12, 12)}, Tol: 3e-4},
		Case{Name: "convgradw/winograd", Domain: "whit", Op: "ConvGradW", Attrs: map[string]any{"pads": ints(1, 1, 1, 1)},
			In: []*tensor.Tensor{Rand(34, f, 31, 40, 10, 13), Rand(35, f, 31, 24, 10, 13), Rand(36, f, 40, 24, 3, 3)}, Tol: 1e-3},
		Case{Name: "convgradw/winograd_pads", Domain: "whit", Op: "ConvGradW", Attrs: map[string]any{"pads": ints(0, 2, 1, 1)},
			In: []*tensor.Tensor{Rand(34, f, 24, 64, 15, 16), Rand(35, f, 24, 64, 16, 15), Rand(36, f, 64, 64, 3, 3)}, Tol: 1e-3},
		Case{Name: "biasgrad", Domain: "whit", Op: "BiasGrad", In: []*tensor.Tensor{F32([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 2, 2, 2)},
			Want: []*tensor.Tensor{F32([]float32{14, 22}, 2)}},
		Case{Name: "biasgrad/matrix", Domain: "whit", Op: "BiasGrad", In: []*tensor.Tensor{F32([]float32{1, 2, 3, 4}, 2, 2)},
			Want: []*tensor.Tensor{F32([]float32{4, 6}, 2)}},
		Case{Name: "biasgrad/rank", Domain: "whit", Op: "BiasGrad", In: []*tensor.Tensor{F32([]float32{1, 2}, 2)}, Err: true},
	)

	transpose := func(name string, attrs map[string]any, w *tensor.Tensor, in ...*tensor.Tensor) Case {
		c := Case{Name: "convtranspose/" + name, Op: "ConvTranspose", Attrs: attrs, In: in}
		for i := range in {
			c.Grad = append(c.Grad, i)
		}
		if w != nil {
			c.Want = []*tensor.Tensor{w}
		}
		return c
	}
	fails := func(name string, attrs map[string]any, in ...*tensor.Tensor) Case {
		return Case{Name: "convtranspose/fails/" + name, Op: "ConvTranspose", Attrs: attrs, In: in, Err: true}
	}
	x2, w2 := F32([]float32{1, 2, 3, 4}, 1, 1, 2, 2), F32([]float32{1, 10, 100, 1000}, 1, 1, 2, 2)
	Add(
		transpose("plain", nil, F32([]float32{1, 12, 20, 103, 1234, 2040, 300, 3400, 4000}, 1, 1, 3, 3), x2, w2),
		transpose("bias", map[string]any{"pads": ints(1, 0, 0, 1)}, F32([]float32{103.5, 1234.5, 300.5, 3400.5}, 1, 1, 2, 2), x2, w2, F32([]float32{.5}, 1)),
		transpose("strides", map[string]any{"strides": ints(2, 1), "output_padding": ints(1, 0)},
			F32([]float32{1, 12, 20, 100, 1200, 2000, 3, 34, 40, 300, 3400, 4000, 0, 0, 0}, 1, 1, 5, 3), x2, w2),
		transpose("dilations", map[string]any{"dilations": ints(2)}, F32([]float32{1, 2, 10, 20}, 1, 1, 4), F32([]float32{1, 2}, 1, 1, 2), F32([]float32{1, 10}, 1, 1, 2)),
		transpose("same_upper", map[string]any{"auto_pad": "SAME_UPPER", "strides": ints(2)}, F32([]float32{1, 10, 102, 20}, 1, 1, 4),
			F32([]float32{1, 2}, 1, 1, 2), F32([]float32{1, 10, 100}, 1, 1, 3)),
		transpose("same_lower", map[string]any{"auto_pad": "SAME_LOWER", "strides": ints(2)}, F32([]float32{10, 102, 20, 200}, 1, 1, 4),
			F32([]float32{1, 2}, 1, 1, 2), F32([]float32{1, 10, 100}, 1, 1, 3)),
		transpose("same_short", map[string]any{"auto_pad": "SAME_LOWER", "strides": ints(3)}, F32([]float32{1, 10, 0, 2, 20}, 1, 1, 5),
			F32([]float32{1, 2}, 1, 1, 2), F32([]float32{1, 10}, 1, 1, 2)),
		transpose("output_shape", map[string]any{"output_shape": ints(3), "strides": ints(2)}, F32([]float32{10, 102, 20}, 1, 1, 3),
			F32([]float32{1, 2}, 1, 1, 2), F32([]float32{1, 10, 100}, 1, 1, 3)),
		transpose("output_large", map[string]any{"output_shape": ints(6)}, F32([]float32{1, 12, 20, 0, 0, 0}, 1, 1, 6),
			F32([]float32{1, 2}, 1, 1, 2), F32([]float32{1, 10}, 1, 1, 2)),
		transpose("groups", map[string]any{"group": int64(2)}, F32([]float32{1, 10, 200, 2000}, 1, 4, 1), F32([]float32{1, 2}, 1, 2, 1), F32([]float32{1, 10, 100, 1000}, 2, 2, 1)),
		transpose("odd", map[string]any{"pads": ints(2, 0, 1, 3), "strides": ints(2, 3), "dilations": ints(1, 2), "group": int64(2), "output_padding": ints(1, 0)}, nil,
			Rand(1, f, 2, 4, 3, 4), Rand(2, f, 4, 3, 3, 2), Rand(3, f, 6)),
		transpose("3d", map[string]any{"strides": ints(1, 2, 1)}, nil, Rand(4, f, 1, 2, 2, 3, 2), Rand(5, f, 2, 3, 2, 2, 3)),
		Case{Name: "convtranspose/empty", Op: "ConvTranspose", In: []*tensor.Tensor{Rand(1, f, 0, 2, 3), Rand(1, f, 2, 2, 3)}},
		fails("channels", nil, Rand(1, f, 1, 3, 4), Rand(2, f, 2, 3, 3)),
		fails("group", map[string]any{"group": int64(3)}, Rand(1, f, 1, 4, 4), Rand(2, f, 4, 3, 3)),
		fails("pads", map[string]any{"pads": ints(3, 3, 3, 3)}, x2, w2),
		fails("output_padding", map[string]any{"output_padding": ints(-1, 0)}, x2, w2),
		fails("output_shape", map[string]any{"output_shape": ints(1<<40, 1)}, x2, w2),
		fails("kernel_shape", map[string]any{"kernel_shape": ints(2)}, x2, w2),
		fails("bias", nil, x2, w2, Rand(1, f, 2)),
		fails("kernel0", nil, x2, Rand(2, f, 1, 1, 0, 1)),
		Case{Name: "convtransposegradx", Domain: "whit", Op: "ConvTransposeGradX", In: []*tensor.Tensor{x33, ones, x2},
			Want: []*tensor.Tensor{F32([]float32{12, 16, 24, 28}, 1, 1, 2, 2)}},
		Case{Name: "convtransposegradw", Domain: "whit", Op: "ConvTransposeGradW", In: []*tensor.Tensor{x33, F32([]float32{1, 0, 0, 10}, 1, 1, 2, 2), ones},
			Want: []*tensor.Tensor{F32([]float32{51, 62, 84, 95}, 1, 1, 2, 2)}},
		Case{Name: "convtransposegradw/fails", Domain: "whit", Op: "ConvTransposeGradW", In: []*tensor.Tensor{x2, x2, ones}, Err: true},
	)
}
