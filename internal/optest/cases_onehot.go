package optest

func init() {
	x := of([]int{2, 2}, float32(1), 2, 3, 4)
	a0 := map[string]any{"axis": int64(0)}
	Add(
		Case{Name: "onehot", Op: "OneHot", In: in(i64(1, -1, 5), vec(int64(3)), vec[int32](2, 7)), Want: in(of([]int{3, 3}, int32(2), 7, 2, 2, 2, 7, 2, 2, 2))},
		Case{Name: "onehot/axis", Op: "OneHot", Attrs: a0, In: in(i64(1, 0, 1), of([]int{}, int64(2)), vec[float32](0, 1)), Want: in(of([]int{2, 3}, float32(0), 1, 0, 1, 0, 1))},
		Case{Name: "onehot/depth", Op: "OneHot", In: in(i64(1), vec(int64(0)), vec[int32](2, 7)), Err: true},
		Case{Name: "onehot/values", Op: "OneHot", In: in(i64(1), vec(int64(2)), vec[int32](2)), Err: true},
		Case{Name: "compress", Op: "Compress", Attrs: a0, In: in(x, vec(false, true)), Want: in(of([]int{1, 2}, float32(3), 4))},
		Case{Name: "compress/flat", Op: "Compress", In: in(x, vec(true, false, true)), Want: in(vec[float32](1, 3))},
		Case{Name: "compress/long", Op: "Compress", Attrs: a0, In: in(x, vec(true, false, true)), Err: true},
	)
}
