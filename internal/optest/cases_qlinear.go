package optest

import (
	"whit/graph"
	"whit/tensor"
)

// Operators between quantised values of 8 bits. Results are exact: every kernel gives the
// integers of the reference.
func init() {
	ints := func(v ...int64) []int64 { return v }
	s := func(v float32) *tensor.Tensor { return of([]int{}, v) }
	zero := func(d tensor.DType, v int) *tensor.Tensor {
		t := tensor.New(d)
		t.Bytes()[0] = byte(v)
		return t
	}
	u8, i8 := tensor.Uint8, tensor.Int8
	scales := func(n int) *tensor.Tensor {
		t := tensor.New(tensor.Float32, n)
		for i := range n {
			tensor.Of[float32](t)[i] = 0.01 + 0.001*float32(i%7)
		}
		return t
	}
	bias := func(n int) *tensor.Tensor {
		t := Rand(99, tensor.Int32, n)
		for i, v := range tensor.Of[int32](t) {
			tensor.Of[int32](t)[i] = v * 100
		}
		return t
	}
	// clipped is the operator and a Clip of its integers.
	clipped := func(c Case, lo, hi *tensor.Tensor) Case {
		b := graph.New("body")
		var vs []*graph.Value
		for i, t := range c.In {
			vs = append(vs, b.AddInput("body_"+string(rune('a'+i)), t.DType, t.Shape...))
		}
		y := b.Add(c.Domain, c.Op, c.Attrs, vs...)
		b.Outputs = []*graph.Value{b.Add("", "Clip", nil, y, b.NewConst("lo", lo), b.NewConst("hi", hi))}
		c.Name, c.Domain, c.Op, c.Attrs = "fused/"+c.Name, graph.Domain, "Fused", map[string]any{"body": b}
		return c
	}
	conv := func(name string, xt, wt, yt tensor.DType, zx, zw, zy int, x, w []int, attrs map[string]any) {
		in := []*tensor.Tensor{Rand(1, xt, x...), s(0.02), zero(xt, zx), Rand(2, wt, w...), scales(w[0]), zeroVec(wt, w[0], zw), s(0.3), zero(yt, zy), bias(w[0])}
		c := Case{Name: "qlinearconv/" + name, Op: "QLinearConv", Attrs: attrs, In: in, F32Only: true, ConstIn: []int{1, 2, 3, 4, 5, 6, 7, 8}}
		Add(c)
		slopes := Rand(5, tensor.Float32, w[0])
		Add(Case{Name: "qlinearconvprelu/" + name, Domain: graph.Domain, Op: "QLinearConvPRelu", Attrs: attrs, In: append(in[:len(in):len(in)], slopes), F32Only: true, ConstIn: []int{1, 2, 3, 4, 5, 6, 7, 8, 9}})
		Add(clipped(c, zero(yt, zy), zero(yt, zy+60)))
	}
	p1 := ints(1, 1, 1, 1)
	conv("1x1", u8, i8, u8, 120, 0, 3, []int{3, 40, 5, 7}, []int{70, 40, 1, 1}, nil)
	conv("1x1s2", u8, i8, u8, 120, 0, 3, []int{1, 19, 5, 7}, []int{16, 19, 1, 1}, map[string]any{"strides": ints(2, 2)})
	conv("1x1deep", u8, i8, u8, 90, 0, 7, []int{2, 72, 5, 7}, []int{70, 72, 1, 1}, nil)
	conv("3x3deep", u8, i8, i8, 33, 0, -5, []int{1, 64, 7, 7}, []int{40, 64, 3, 3}, map[string]any{"pads": p1})
	conv("3x3groups", i8, i8, i8, 4, 0, 2, []int{1, 96, 6, 7}, []int{40, 48, 3, 3}, map[string]any{"pads": p1, "group": int64(2)})
	conv("pixel", i8, i8, i8, -3, 0, 5, []int{1, 50, 1, 1}, []int{33, 50, 1, 1}, nil)
	conv("3x3", u8, i8, u8, 255, 0, 0, []int{2, 32, 14, 14}, []int{48, 32, 3, 3}, map[string]any{"pads": p1})
	// As large as Winograd's F(4x4) wants where bytes have dot products: several blocks, and parts of the panels.
	conv("3x3blocks", i8, i8, i8, -7, 0, 11, []int{1, 72, 18, 23}, []int{104, 72, 3, 3}, map[string]any{"pads": p1})
	conv("3x3parts", u8, i8, u8, 130, 0, 3, []int{1, 96, 16, 14}, []int{128, 96, 3, 3}, map[string]any{"pads": p1})
	conv("3x3tails", i8, u8, i8, 17, 128, -7, []int{2, 5, 9, 8}, []int{21, 5, 3, 3}, map[string]any{"pads": p1, "strides": ints(2, 1)})
	conv("3x3odd", i8, i8, u8, -7, 0, 100, []int{2, 20, 9, 11}, []int{40, 20, 3, 3}, map[string]any{"pads": ints(1, 0, 1, 2)})
	conv("7x7s2", u8, i8, u8, 114, 0, 0, []int{1, 3, 21, 30}, []int{24, 3, 7, 7}, map[string]any{"pads": ints(3, 3, 3, 3), "strides": ints(2, 2)})
	conv("wide", u8, u8, u8, 9, 77, 30, []int{1, 6, 6, 6}, []int{9, 6, 3, 2}, map[string]any{"dilations": ints(2, 1), "pads": ints(0, 1, 2, 0)})
	conv("groups", u8, i8, i8, 128, 0, 10, []int{1, 12, 6, 26}, []int{66, 6, 3, 3}, map[string]any{"pads": p1, "group": int64(2)})
	conv("depthwise3x3", u8, i8, u8, 100, 0, 4, []int{2, 35, 7, 16}, []int{35, 1, 3, 3}, map[string]any{"pads": p1, "group": int64(35)})
	conv("depthwise3x3s2", i8, i8, u8, -100, 0, 4, []int{1, 32, 9, 15}, []int{32, 1, 3, 3}, map[string]any{"pads": p1, "strides": ints(2, 2), "group": int64(32)})
	conv("depthwise3x3 blocks", i8, u8, i8, 30, 100, -60, []int{1, 20, 23, 90}, []int{20, 1, 3, 3}, map[string]any{"pads": ints(0, 1, 2, 0), "group": int64(20)})
	conv("depthwise3x3s2 blocks", u8, i8, u8, 255, 0, 4, []int{2, 16, 24, 150}, []int{16, 1, 3, 3}, map[string]any{"pads": ints(2, 0, 0, 1), "strides": ints(2, 2), "group": int64(16)})
	conv("depthwise3x3 padding", u8, i8, u8, 9, 0, 4, []int{1, 16, 1, 2}, []int{16, 1, 3, 3}, map[string]any{"pads": ints(3, 4, 3, 5), "group": int64(16)})
	conv("depthwise5x5", u8, u8, i8, 0, 3, -128, []int{1, 9, 9, 15}, []int{9, 1, 5, 5}, map[string]any{"pads": ints(2, 2, 2, 2), "dilations": ints(1, 2), "group": int64(9)})
	conv("depthwise4", u8, i8, u8, 100, 0, 4, []int{1, 16, 4, 5}, []int{16, 1, 2, 2}, map[string]any{"group": int64(16)})

	whit := func(name, op string, attrs map[string]any, consts []int, in ...*tensor.Tensor) {
		Add(Case{Name: name, Domain: graph.Domain, Op: op, Attrs: attrs, In: in, F32Only: true, ConstIn: consts})
	}
	for _, d := range []tensor.DType{u8, i8} {
		n := "/" + d.String()
		whit("qlinearadd"+n, "QLinearAdd", nil, []int{1, 2, 4, 5, 6, 7}, Rand(1, d, 2, 35, 5, 6), s(0.02), zero(d, 17), Rand(2, u8, 2, 35, 5, 6), s(0.05), zero(u8, 99), s(0.06), zero(d, 3))
		whit("qlinearadd/flat"+n, "QLinearAdd", nil, []int{1, 2, 4, 5, 6, 7}, Rand(1, d, 300), s(0.02), zero(d, 17), Rand(2, i8, 300), s(0.05), zero(i8, 9), s(0.06), zero(u8, 130))
		mul := func(name string, a, b *tensor.Tensor) {
			zero := func(t *tensor.Tensor) *tensor.Tensor { return zero(t.DType, 17) }
			whit("qlinearmul/"+name+n, "QLinearMul", nil, []int{1, 2, 4, 5, 6, 7}, a, s(0.02), zero(a), b, s(0.05), zero(b), s(0.13), zero(a))
		}
		mul("same", Rand(1, d, 2, 35, 5, 6), Rand(2, u8, 2, 35, 5, 6))
		mul("flat", Rand(1, d, 300), Rand(2, i8, 300))
		mul("channels", Rand(1, d, 2, 35, 5, 6), Rand(2, u8, 2, 35, 1, 1))
		mul("channels of all", Rand(1, d, 2, 35, 15, 6), Rand(2, i8, 35, 1, 1))
		mul("channels first", Rand(2, u8, 1, 64, 1, 1), Rand(1, d, 2, 64, 5, 6))
		mul("number", Rand(1, d, 2, 35, 5, 6), Rand(2, u8, 1))
		mul("rows", Rand(1, d, 7, 90), Rand(2, i8, 1, 90))
		mul("stretched", Rand(1, d, 2, 5, 1, 6), Rand(2, u8, 5, 4, 1))
		for _, k := range []int{len(cases) - 6, len(cases) - 8} {
			Add(clipped(cases[k], zero(d, 20), zero(d, 90)))
		}
		whit("qtable"+n, "QTable", nil, []int{1}, Rand(1, d, 2, 35, 5, 6), Rand(3, d, 256))
		whit("qtable/channels"+n, "QTable", nil, []int{1}, Rand(1, d, 2, 35, 5, 6), Rand(3, u8, 35, 256))
		pool := func(name string, attrs map[string]any) {
			whit("qlinearaveragepool/"+name+n, "QLinearAveragePool", attrs, []int{1, 2, 3, 4}, Rand(1, d, 2, 21, 8, 9), s(0.02), zero(d, 17), s(0.01), zero(u8, 99))
		}
		pool("3x3", map[string]any{"kernel_shape": ints(3, 3), "pads": p1})
		pool("counted", map[string]any{"kernel_shape": ints(3, 2), "pads": p1, "strides": ints(2, 2), "count_include_pad": int64(1), "ceil_mode": int64(1)})
		pool("beside", map[string]any{"kernel_shape": ints(3, 1), "pads": p1, "strides": ints(2, 2), "count_include_pad": int64(1), "ceil_mode": int64(1)}) // windows of padding only
		whit("qlinearglobalaveragepool"+n, "QLinearGlobalAveragePool", nil, []int{1, 2, 3, 4}, Rand(1, d, 2, 70, 7, 5), s(0.02), zero(d, 17), s(0.001), zero(u8, 99))
		Add(Case{Name: "nhwc/maxpool3x3s2" + n, Op: "MaxPool", Attrs: map[string]any{"kernel_shape": ints(3, 3), "strides": ints(2, 2), "pads": p1, "ceil_mode": int64(1)},
			In: []*tensor.Tensor{Rand(12, d, 2, 21, 8, 9)}},
			Case{Name: "nhwc/maxpool2x2" + n, Op: "MaxPool", Attrs: map[string]any{"kernel_shape": ints(2, 2), "strides": ints(2, 2)}, In: []*tensor.Tensor{Rand(12, d, 1, 32, 8, 9)}},
			Case{Name: "nhwc/concat" + n, Op: "Concat", Attrs: map[string]any{"axis": int64(1)}, In: []*tensor.Tensor{Rand(1, d, 2, 11, 5, 6), Rand(2, d, 2, 3, 5, 6)}},
			Case{Name: "nhwc/split" + n, Op: "Split", Outs: 2, Attrs: map[string]any{"axis": int64(1)}, In: []*tensor.Tensor{Rand(1, d, 2, 12, 4, 6), tensor.From([]int64{5, 7}, 2)}, ConstIn: []int{1}},
			Case{Name: "nhwc/transpose" + n, Op: "Transpose", Attrs: map[string]any{"perm": ints(0, 2, 3, 1)}, In: []*tensor.Tensor{Rand(1, d, 2, 12, 4, 6)}},
			Case{Name: "nhwc/depthtospace" + n, Op: "DepthToSpace", Attrs: map[string]any{"blocksize": int64(2), "mode": "CRD"}, In: []*tensor.Tensor{Rand(1, d, 2, 12, 4, 6)}},
			Case{Name: "nhwc/depthtospace/deep" + n, Op: "DepthToSpace", Attrs: map[string]any{"blocksize": int64(2), "mode": "CRD"}, In: []*tensor.Tensor{Rand(1, d, 2, 40, 4, 6)}},
			Case{Name: "quantize/image" + n, Op: "QuantizeLinear", In: []*tensor.Tensor{Rand(1, tensor.Float32, 2, 19, 5, 21), s(0.013), zero(d, 40)}, F32Only: true},
			Case{Name: "quantize/rgb" + n, Op: "QuantizeLinear", In: []*tensor.Tensor{Rand(1, tensor.Float32, 2, 3, 5, 21), s(0.013), zero(d, 40)}, F32Only: true},
			Case{Name: "quantize/gray" + n, Op: "QuantizeLinear", In: []*tensor.Tensor{Rand(1, tensor.Float32, 2, 1, 5, 21), s(0.013), zero(d, 40)}, F32Only: true},
			Case{Name: "quantize/flat" + n, Op: "QuantizeLinear", In: []*tensor.Tensor{Rand(1, tensor.Float32, 777), s(0.013), zero(d, 40)}, F32Only: true},
			Case{Name: "dequantize/image" + n, Op: "DequantizeLinear", In: []*tensor.Tensor{Rand(1, d, 2, 19, 5, 21), s(0.013), zero(d, 40)}, F32Only: true})
	}
	whit("qlinearadd/shapes", "QLinearAdd", nil, nil, Rand(1, u8, 3), s(1), zero(u8, 0), Rand(2, u8, 4), s(1), zero(u8, 0), s(1), zero(u8, 0))
	whit("qlinearmul/shapes", "QLinearMul", nil, nil, Rand(1, u8, 3), s(1), zero(u8, 0), Rand(2, u8, 4), s(1), zero(u8, 0), s(1), zero(u8, 0))
	whit("qlinearconvprelu/slopes", "QLinearConvPRelu", nil, nil, Rand(1, u8, 1, 2, 3, 3), s(1), zero(u8, 0), Rand(2, i8, 4, 2, 1, 1), s(1), zero(i8, 0), s(1), zero(u8, 0), bias(4), Rand(3, tensor.Float32, 3))
	whit("qtable/short", "QTable", nil, nil, Rand(1, u8, 3), Rand(2, u8, 255))
	whit("qlinearaveragepool/type", "QLinearAveragePool", map[string]any{"kernel_shape": ints(2, 2)}, nil, Rand(1, u8, 1, 1, 3, 3), s(1), zero(i8, 0), s(1), zero(u8, 0))
	whit("qlinearglobalaveragepool/rank", "QLinearGlobalAveragePool", nil, nil, Rand(1, u8, 1, 3), s(1), zero(u8, 0), s(1), zero(u8, 0))
	for i := len(cases) - 6; i < len(cases); i++ {
		cases[i].Err = true
	}
}

func zeroVec(d tensor.DType, n, v int) *tensor.Tensor {
	t := tensor.New(d, n)
	for i := range n {
		t.Bytes()[i] = byte(v)
	}
	return t
}
