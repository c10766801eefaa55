package optest

import "whit/tensor"

func init() {
	n4 := of([]int{}, int64(4))
	Add(
		Case{Name: "bitcast", Op: "BitCast", Attrs: map[string]any{"to": int64(6)}, F32Only: true, In: in(vec(float32(1))), Want: in(vec(int32(0x3f800000)))},
		Case{Name: "bitcast/bool", Op: "BitCast", Attrs: map[string]any{"to": int64(9)}, In: in(vec[uint8](0, 1, 7)), Want: in(vec(false, true, true))},
		Case{Name: "bitcast/width", Op: "BitCast", Attrs: map[string]any{"to": int64(7)}, In: in(vec(float32(1))), Err: true},
		Case{Name: "hannwindow", Op: "HannWindow", In: in(n4), Want: in(vec[float32](0, .5, 1, .5))},
		Case{Name: "hannwindow/symmetric", Op: "HannWindow", Attrs: map[string]any{"periodic": int64(0), "output_datatype": int64(11)}, In: in(of([]int{}, int64(3))), Want: in(vec[float64](0, 1, 0))},
		Case{Name: "hannwindow/negative", Op: "HannWindow", In: in(of([]int{}, int64(-3))), Err: true},
		Case{Name: "hammingwindow", Op: "HammingWindow", In: in(n4), Want: in(vec[float32](4./46, 25./46, 1, 25./46))},
		Case{Name: "blackmanwindow", Op: "BlackmanWindow", In: in(n4), Want: in(vec[float32](0, .34, 1, .34))},
		Case{Name: "blackmanwindow/int", Op: "BlackmanWindow", Attrs: map[string]any{"output_datatype": int64(tensor.Int64)}, In: in(n4), Err: true},
	)
}
