package optest

import "whit/tensor"

func init() {
	f := tensor.Float32
	type attrs = map[string]any
	one := func(t *tensor.Tensor) []*tensor.Tensor { return []*tensor.Tensor{t} }
	v4 := F32([]float32{1, 2, 3, 4}, 1, 1, 4)
	v2 := F32([]float32{0, 4}, 2)
	ramp := F32([]float32{0, 10, 20, 30, 40}, 5)
	// Scales and sizes are constants; scales stay float32 in every variant.
	scaled := func(name string, a attrs, x *tensor.Tensor, w *tensor.Tensor, scales ...float32) Case {
		c := Case{Name: "resize/" + name, Op: "Resize", Attrs: a, F32Only: true,
			In: []*tensor.Tensor{x, nil, F32(scales, len(scales))}, ConstIn: []int{2}}
		if w != nil {
			c.Want = one(w)
		}
		return c
	}
	sized := func(name string, a attrs, x *tensor.Tensor, w *tensor.Tensor, sizes ...int64) Case {
		c := Case{Name: "resize/" + name, Op: "Resize", Attrs: a, In: []*tensor.Tensor{x, nil, nil, tensor.Ints(sizes...)}, ConstIn: []int{3}}
		if x.DType.IsFloat() {
			c.Grad = []int{0}
		}
		if w != nil {
			c.Want = one(w)
		}
		return c
	}
	fail := func(c Case) Case { c.Err, c.Name, c.Grad = true, "resize/fails/"+c.Name[7:], nil; return c }
	mode := func(mode, coordinate string, more ...any) attrs {
		a := attrs{"mode": mode}
		if coordinate != "" {
			a["coordinate_transformation_mode"] = coordinate
		}
		for i := 0; i < len(more); i += 2 {
			a[more[i].(string)] = more[i+1]
		}
		return a
	}
	yes := int64(1)

	Add(
		scaled("nearest2", nil, v4, F32([]float32{1, 1, 2, 2, 3, 3, 4, 4}, 1, 1, 8), 1, 1, 2),
		scaled("nearest_asymmetric", mode("nearest", "asymmetric", "nearest_mode", "floor"), v4, F32([]float32{1, 2}, 1, 1, 2), 1, 1, .6),
		scaled("seven", nil, Rand(1, f, 10), nil, .7),
		sized("nearest_floor", mode("nearest", "half_pixel", "nearest_mode", "floor"), ramp, F32([]float32{0, 20, 30}, 3), 3),
		sized("nearest_ceil", mode("nearest", "half_pixel", "nearest_mode", "ceil"), ramp, F32([]float32{10, 20, 40}, 3), 3),
		// Source places 0.5, 2.5, 4.5 and the like are ties.
		sized("nearest_prefer_floor", mode("nearest", "", "nearest_mode", "round_prefer_floor"), F32([]float32{0, 1, 2, 3}, 4), F32([]float32{0, 2}, 2), 2),
		sized("nearest_prefer_ceil", mode("nearest", "", "nearest_mode", "round_prefer_ceil"), F32([]float32{0, 1, 2, 3}, 4), F32([]float32{1, 3}, 2), 2),
		sized("nearest_bool", nil, tensor.From([]bool{true, false}, 2), tensor.From([]bool{true, true, false, false}, 4), 4),
		sized("nearest_int16", nil, tensor.From([]int16{-5, 300}, 2), tensor.From([]int16{-5, -5, 300, 300}, 4), 4),
		sized("linear", mode("linear", ""), v2, F32([]float32{0, 1, 3, 4}, 4), 4),
		sized("linear_align", mode("linear", "align_corners"), v2, F32([]float32{0, 2, 4}, 3), 3),
		sized("linear_align_one", mode("linear", "align_corners"), ramp, F32([]float32{0}, 1), 1),
		sized("linear_asymmetric", mode("linear", "asymmetric"), v2, F32([]float32{0, 2, 4, 4}, 4), 4),
		sized("linear_pytorch_one", mode("linear", "pytorch_half_pixel"), ramp, F32([]float32{0}, 1), 1),
		sized("linear_pytorch", mode("linear", "pytorch_half_pixel"), v2, F32([]float32{0, 1, 3, 4}, 4), 4),
		// The output is 2.5 long before it is made whole.
		scaled("linear_align_fraction", mode("linear", "align_corners"), ramp, F32([]float32{0, 26.666667}, 2), .5),
		scaled("linear_pytorch_fraction", mode("linear", "pytorch_half_pixel"), ramp, F32([]float32{0}, 1), .3),
		scaled("linear_symmetric", mode("linear", "half_pixel_symmetric"), ramp, F32([]float32{10, 30}, 2), .5),
		scaled("linear_half_pixel", mode("linear", "half_pixel"), ramp, F32([]float32{5, 25}, 2), .5),
		sized("linear_int8", mode("linear", ""), tensor.From([]int8{-3, 4}, 2), tensor.From([]int8{-3, -1, 2, 4}, 4), 4),
		sized("linear_uint8", mode("linear", ""), tensor.From([]uint8{0, 255}, 2), tensor.From([]uint8{0, 64, 191, 255}, 4), 4),
		sized("linear_antialias", mode("linear", "", "antialias", yes), ramp, F32([]float32{8.8, 31.2}, 2), 2),
		sized("linear_antialias_outside", mode("linear", "", "antialias", yes, "exclude_outside", yes), F32([]float32{0, 6, 12, 18}, 4), F32([]float32{30. / 7, 96. / 7}, 2), 2),
		sized("cubic", mode("cubic", ""), v2, F32([]float32{-.421875, .90625, 3.09375, 4.421875}, 4), 4),
		sized("cubic_outside", mode("cubic", "asymmetric", "exclude_outside", yes, "cubic_coeff_a", float32(-.5)), v2, F32([]float32{0, 2, 4, 4.5}, 4), 4),
		sized("cubic_uint8", mode("cubic", ""), tensor.From([]uint8{0, 255}, 2), tensor.From([]uint8{0, 58, 197, 255}, 4), 4),
		sized("cubic_antialias", mode("cubic", "", "antialias", yes), Rand(1, f, 2, 7, 6), nil, 2, 3, 4),
		sized("cubic_2d", mode("cubic", "align_corners"), Rand(1, f, 1, 2, 4, 5), nil, 1, 2, 9, 7),
		sized("linear_3d", mode("linear", "half_pixel"), Rand(1, f, 1, 2, 3, 4, 5), nil, 1, 2, 5, 3, 7),
		sized("linear_symmetric_2d", mode("linear", "half_pixel_symmetric"), Rand(1, f, 1, 2, 4, 5), nil, 1, 2, 7, 3),
		sized("linear_channels", mode("linear", ""), Rand(1, f, 2, 3, 4), nil, 3, 5, 4),
		sized("axes", mode("linear", "", "axes", []int64{-1, 1}), Rand(1, f, 2, 3, 4), nil, 8, 2),
		sized("not_larger", mode("nearest", "", "keep_aspect_ratio_policy", "not_larger"), Rand(1, f, 4, 2), nil, 7, 5),
		sized("not_smaller", mode("linear", "", "keep_aspect_ratio_policy", "not_smaller", "axes", []int64{1, 2}), Rand(1, f, 2, 4, 2), nil, 7, 3),
		sized("empty", nil, Rand(1, f, 0, 2), nil, 0, 4),
		sized("empty_wide", nil, Rand(1, f, 0, 2), nil, 0, 1<<20),
		Case{Name: "resize/empty_scales", Op: "Resize", In: []*tensor.Tensor{v2, F32(nil, 0), F32(nil, 0), tensor.Ints(4)}, F32Only: true,
			Want: one(F32([]float32{0, 0, 4, 4}, 4))},
		Case{Name: "resize/crop", Op: "Resize", Attrs: mode("linear", "tf_crop_and_resize", "extrapolation_value", float32(-7)), F32Only: true,
			In:   []*tensor.Tensor{ramp, F32([]float32{.25, 1.25}, 2), nil, tensor.Ints(5)},
			Want: one(F32([]float32{10, 20, 30, 40, -7}, 5))},
		Case{Name: "resize/crop_one", Op: "Resize", Attrs: mode("linear", "tf_crop_and_resize"),
			In:   []*tensor.Tensor{ramp, F32([]float32{.25, .5}, 2), nil, tensor.Ints(1)},
			Want: one(F32([]float32{15}, 1))},
		Case{Name: "resize/crop_nearest", Op: "Resize", Attrs: mode("nearest", "tf_crop_and_resize", "extrapolation_value", float32(-7), "axes", []int64{1}),
			In:   []*tensor.Tensor{tensor.From([]uint8{1, 2, 3, 4, 5, 6}, 2, 3), F32([]float32{.5, 1.5}, 2), nil, tensor.Ints(3)},
			Want: one(tensor.From([]uint8{2, 3, 0, 5, 6, 0}, 2, 3))},
		fail(sized("empty_huge", nil, Rand(1, f, 0, 2), nil, 0, 1<<40)),
		fail(sized("mode", mode("area", ""), v2, nil, 4)),
		fail(sized("coordinates", mode("linear", "tf_half_pixel_for_nn"), v2, nil, 4)),
		fail(sized("nearest_mode", attrs{"nearest_mode": "round"}, v2, nil, 4)),
		fail(sized("policy", attrs{"keep_aspect_ratio_policy": "keep"}, v2, nil, 4)),
		fail(sized("antialias", attrs{"antialias": yes}, v2, nil, 4)),
		fail(sized("linear_bool", mode("linear", ""), tensor.From([]bool{true, false}, 2), nil, 4)),
		fail(sized("count", nil, v2, nil, 4, 4)),
		fail(sized("negative", nil, v2, nil, -1)),
		fail(sized("huge", nil, v2, nil, 1<<62)),
		fail(sized("from_nothing", nil, Rand(1, f, 0), nil, 2)),
		fail(sized("axes", attrs{"axes": []int64{0, 0}}, Rand(1, f, 2, 2), nil, 2, 2)),
		fail(sized("axis", attrs{"axes": []int64{2}}, Rand(1, f, 2, 2), nil, 2)),
		fail(scaled("zero", nil, v2, nil, 0)),
		fail(scaled("big", nil, v2, nil, 1e20)),
		fail(sized("roi", mode("linear", "tf_crop_and_resize"), v2, nil, 4)),
		fail(Case{Name: "resize/both", Op: "Resize", In: []*tensor.Tensor{v2, nil, F32([]float32{2}, 1), tensor.Ints(4)}}),
		fail(Case{Name: "resize/neither", Op: "Resize", In: one(v2)}),
		Case{Name: "resizegrad", Domain: "whit", Op: "ResizeGrad", Attrs: mode("linear", ""), ConstIn: []int{4},
			In: []*tensor.Tensor{F32([]float32{1, 1, 1, 5}, 4), v2, nil, nil, tensor.Ints(4)}, Want: one(F32([]float32{2, 6}, 2))},
		Case{Name: "resizegrad/fails", Domain: "whit", Op: "ResizeGrad", Attrs: mode("linear", ""),
			In: []*tensor.Tensor{F32([]float32{1, 1, 1}, 3), v2, nil, nil, tensor.Ints(4)}, Err: true},
	)
}

func init() {
	image := Rand(8, tensor.Float32, 2, 5, 4, 3)
	for _, c := range []struct {
		name  string
		attrs map[string]any
	}{
		{"asymmetric", map[string]any{"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}},
		{"half pixel", map[string]any{"mode": "nearest"}},
	} {
		name, attrs := c.name, c.attrs
		Add(Case{Name: "nhwc/resize/" + name, Op: "Resize", Attrs: attrs, In: []*tensor.Tensor{image, nil, F32([]float32{1, 1, 2, 2}, 4)}, ConstIn: []int{2}, F32Only: true},
			Case{Name: "nhwc/resize/down " + name, Op: "Resize", Attrs: attrs, In: []*tensor.Tensor{image, nil, nil, tensor.Ints(2, 5, 3, 7)}, ConstIn: []int{3}, F32Only: true})
	}
}
