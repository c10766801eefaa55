package optest

import "whit/tensor"

func init() {
	f := func(v ...float32) *tensor.Tensor { return vec(v...) }
	s := func(v float32) *tensor.Tensor { return of([]int{}, v) }
	u8 := func(v ...uint8) *tensor.Tensor { return vec(v...) }
	i8 := func(v ...int8) *tensor.Tensor { return vec(v...) }
	x23 := of([]int{2, 3}, float32(-1), 0.5, 1.5, 2.5, 200, -200)
	Add(
		Case{Name: "quantize", Op: "QuantizeLinear", F32Only: true, In: in(x23, s(1), of([]int{}, uint8(3))), Want: in(of([]int{2, 3}, uint8(2), 3, 5, 5, 203, 0))},
		Case{Name: "quantize/default", Op: "QuantizeLinear", F32Only: true, In: in(f(-1, 0.5, 300), s(0.5)), Want: in(u8(0, 1, 255))},
		Case{Name: "quantize/axis", Op: "QuantizeLinear", Attrs: map[string]any{"axis": int64(0)}, F32Only: true, In: in(x23, f(1, 2), i8(0, -1)), Want: in(of([]int{2, 3}, int8(-1), 0, 2, 0, 99, -101))},
		Case{Name: "quantize/blocked", Op: "QuantizeLinear", Attrs: map[string]any{"axis": int64(1), "block_size": int64(2), "output_dtype": int64(5)}, F32Only: true,
			In: in(x23, of([]int{2, 2}, float32(1), 2, 4, 0.5)), Want: in(of([]int{2, 3}, int16(-1), 0, 1, 1, 50, -400))},
		Case{Name: "quantize/int4", Op: "QuantizeLinear", Attrs: map[string]any{"output_dtype": int64(22)}, F32Only: true, In: in(f(-9, 3, 9), s(1)), Want: in(narrowT(tensor.Int4, 3, 0x38, 0x07))},
		Case{Name: "quantize/e4m3", Op: "QuantizeLinear", F32Only: true, In: in(f(2, 1e6), s(2), tensor.New(tensor.Float8E4M3FN)), Want: in(narrowT(tensor.Float8E4M3FN, 2, 0x38, 0x7e))},
		Case{Name: "quantize/zeroscale", Op: "QuantizeLinear", F32Only: true, In: in(f(1, 0, -1), s(0), of([]int{}, uint8(7))), Want: in(u8(255, 7, 0))},
		Case{Name: "quantize/scales", Op: "QuantizeLinear", In: in(x23, f(1, 2)), Err: true},
		Case{Name: "quantize/zeropoint", Op: "QuantizeLinear", In: in(x23, s(1), u8(1, 2, 3)), Err: true},
		Case{Name: "dequantize", Op: "DequantizeLinear", F32Only: true, In: in(u8(0, 3, 255), s(2), of([]int{}, uint8(128))), Want: in(f(-256, -250, 254))},
		Case{Name: "dequantize/axis", Op: "DequantizeLinear", F32Only: true, In: in(of([]int{2, 2}, int8(1), 2, 3, 4), f(2, 4), i8(0, 1)), Want: in(of([]int{2, 2}, float32(2), 4, 6, 12))},
		Case{Name: "dequantize/blocked", Op: "DequantizeLinear", Attrs: map[string]any{"axis": int64(0), "block_size": int64(2)}, F32Only: true,
			In: in(vec[uint16](1, 2, 3), f(2, 4), vec[uint16](0, 1)), Want: in(f(2, 4, 8))},
		Case{Name: "dequantize/int32", Op: "DequantizeLinear", F32Only: true, In: in(vec[int32](1<<20, -3), s(0.5)), Want: in(f(1<<19, -1.5))},
		Case{Name: "dequantize/int4", Op: "DequantizeLinear", F32Only: true, In: in(narrowT(tensor.Int4, 3, 0x38, 0x07), s(2)), Want: in(f(-16, 6, 14))},
		Case{Name: "dequantize/type", Op: "DequantizeLinear", In: in(vec[int64](1), s(2)), Err: true},
		Case{Name: "dequantize/mixed", Op: "DequantizeLinear", In: in(i8(1), s(2), of([]int{}, uint8(1))), Err: true},
		Case{Name: "dynamicquantize", Op: "DynamicQuantizeLinear", F32Only: true, In: in(f(0, 2, -3, -2.5, 1.34, 0.5)), Outs: 3,
			Want: in(u8(153, 255, 0, 26, 221, 179), s(5.0/255), of([]int{}, uint8(153)))},
		Case{Name: "dynamicquantize/zero", Op: "DynamicQuantizeLinear", F32Only: true, In: in(f(0, 0)), Outs: 3, Want: in(u8(0, 0), nil, of([]int{}, uint8(0)))},
		Case{Name: "dynamicquantize/int", Op: "DynamicQuantizeLinear", In: in(i64(1)), Err: true},

		Case{Name: "convinteger", Op: "ConvInteger", In: in(of([]int{1, 1, 2, 2}, uint8(2), 3, 4, 5), of([]int{1, 1, 2, 2}, uint8(1), 1, 1, 1), of([]int{}, uint8(1))),
			Want: in(of([]int{1, 1, 1, 1}, int32(10)))},
		Case{Name: "convinteger/pads", Op: "ConvInteger", Attrs: map[string]any{"pads": []int64{1, 0, 0, 0}}, In: in(of([]int{1, 1, 1, 2}, uint8(2), 3), of([]int{2, 1, 2, 1}, int8(1), 2, -1, 3), u8(1), i8(0, 1)),
			Want: in(of([]int{1, 2, 1, 2}, int32(2), 4, 2, 4))},
		Case{Name: "convinteger/float", Op: "ConvInteger", In: in(of([]int{1, 1, 1}, float32(2)), of([]int{1, 1, 1}, float32(2))), Err: true},
		Case{Name: "matmulinteger", Op: "MatMulInteger", In: in(of([]int{2, 2}, uint8(1), 2, 3, 4), of([]int{2, 2}, int8(-1), 2, 3, 4), of([]int{}, uint8(1)), i8(1, 0)),
			Want: in(of([]int{2, 2}, int32(2), 4, 2, 16))},
		Case{Name: "matmulinteger/shapes", Op: "MatMulInteger", In: in(of([]int{2, 2}, uint8(1), 2, 3, 4), u8(1, 2, 3)), Err: true},
		Case{Name: "qlinearmatmul", Op: "QLinearMatMul", F32Only: true, In: in(of([]int{1, 2}, uint8(3), 5), s(0.5), of([]int{}, uint8(1)), of([]int{2, 2}, uint8(1), 2, 3, 4), f(1, 2), u8(0, 0), s(2), of([]int{}, uint8(10))),
			Want: in(of([]int{1, 2}, uint8(14), 20))},
		Case{Name: "qlinearmatmul/scales", Op: "QLinearMatMul", In: in(of([]int{1, 2}, uint8(3), 5), s(0.5), u8(1), of([]int{2, 2}, uint8(1), 2, 3, 4), f(1, 2, 3), u8(0), s(2), u8(1)), Err: true},
		Case{Name: "qlinearconv", Op: "QLinearConv", F32Only: true, In: in(of([]int{1, 1, 3}, uint8(1), 2, 5), s(0.5), u8(1), of([]int{2, 1, 2}, int8(1), 2, -1, 1), f(1, 2), i8(0, 0), s(0.25), vec(int8(-2)), vec(int32(1), 0)),
			Want: in(of([]int{1, 2, 2}, int8(4), 18, 2, 10))},
		Case{Name: "qlinearconv/bias", Op: "QLinearConv", In: in(of([]int{1, 1, 3}, uint8(1), 2, 5), s(0.5), u8(1), of([]int{2, 1, 2}, int8(1), 2, -1, 1), f(1, 2), i8(0, 0), s(0.25), vec(int8(-2)), vec(int32(1))), Err: true},
	)
}
