package optest

import (
	"whit/graph"
	"whit/tensor"
)

// Shapes that exercise the image kernels: vectors of channels with tails, rows of
// pixels with tails, halos, and images that follow each other.
func init() {
	f := tensor.Float32
	ints := func(v ...int64) []int64 { return v }
	// Up to 500 products of size 1 are summed: the bound γ_k Σ|a||b| is 1e-2, what
	// shows is 2e-5.
	conv := func(name string, attrs map[string]any, in ...*tensor.Tensor) {
		Add(Case{Name: "conv/nhwc/" + name, Op: "Conv", Attrs: attrs, In: in, F32Only: true, Tol: 1e-4})
	}
	p1 := ints(1, 1, 1, 1)
	conv("depthwise3x3", map[string]any{"pads": p1, "group": int64(35)}, Rand(1, f, 2, 35, 7, 16), Rand(2, f, 35, 1, 3, 3), Rand(3, f, 35))
	conv("depthwise3x3s2", map[string]any{"pads": p1, "strides": ints(2, 2), "group": int64(16)}, Rand(1, f, 1, 16, 9, 15), Rand(2, f, 16, 1, 3, 3), Rand(3, f, 16))
	conv("depthwise5x5", map[string]any{"pads": ints(2, 2, 2, 2), "dilations": ints(1, 2), "group": int64(9)}, Rand(1, f, 1, 9, 9, 15), Rand(2, f, 9, 1, 5, 5))
	conv("depthwise1x1", map[string]any{"group": int64(3)}, Rand(1, f, 1, 3, 2, 3), Rand(2, f, 3, 1, 1, 1), Rand(3, f, 3))
	conv("1x1wide", nil, Rand(1, f, 3, 40, 5, 7), Rand(2, f, 70, 40, 1, 1), Rand(3, f, 70))
	conv("1x1padded", map[string]any{"pads": p1}, Rand(1, f, 1, 5, 4, 4), Rand(2, f, 33, 5, 1, 1), Rand(3, f, 33))
	conv("3x3wide", map[string]any{"pads": p1}, Rand(4, f, 2, 33, 14, 14), Rand(5, f, 65, 33, 3, 3), Rand(6, f, 65))
	conv("3x3deep", map[string]any{"pads": p1, "strides": ints(2, 2)}, Rand(4, f, 1, 48, 7, 7), Rand(5, f, 34, 48, 3, 3), Rand(6, f, 34))
	conv("groups", map[string]any{"pads": p1, "group": int64(2)}, Rand(4, f, 1, 10, 6, 26), Rand(5, f, 74, 5, 3, 3), Rand(6, f, 74))
	conv("lenet1", nil, Rand(4, f, 3, 1, 28, 28), Rand(5, f, 20, 1, 5, 5), Rand(6, f, 20))
	conv("lenet2", nil, Rand(4, f, 2, 20, 12, 12), Rand(5, f, 50, 20, 5, 5), Rand(6, f, 50))

	c, r4 := F32([]float32{0.5, -1, 2, 0, 3, 1, -2, 4, 0.25, -0.5, 1.5}, 11, 1, 1), Rand(7, f, 2, 11, 5, 6)
	for _, op := range []string{"Add", "Mul", "PRelu"} {
		Add(Case{Name: "nhwc/" + lowerName(op) + "/channels", Op: op, In: []*tensor.Tensor{r4, c}, F32Only: true},
			Case{Name: "nhwc/" + lowerName(op) + "/columns", Op: op, In: []*tensor.Tensor{r4, Rand(8, f, 6)}, F32Only: true},
			Case{Name: "nhwc/" + lowerName(op) + "/gate", Op: op, In: []*tensor.Tensor{r4, Rand(9, f, 2, 11, 1, 1)}, F32Only: true},
			Case{Name: "nhwc/" + lowerName(op) + "/scalar", Op: op, In: []*tensor.Tensor{r4, Rand(9, f)}, F32Only: true},
			Case{Name: "nhwc/" + lowerName(op) + "/same", Op: op, In: []*tensor.Tensor{r4, Rand(10, f, 2, 11, 5, 6)}, F32Only: true})
	}
	moveCases()
	Add(Case{Name: "nhwc/sub/left", Op: "Sub", In: []*tensor.Tensor{c, r4}, F32Only: true},
		Case{Name: "nhwc/div/left", Op: "Div", In: []*tensor.Tensor{Rand(9, f), r4}, F32Only: true},
		Case{Name: "nhwc/concat", Op: "Concat", Attrs: map[string]any{"axis": int64(1)},
			In: []*tensor.Tensor{r4, Rand(11, f, 2, 3, 5, 6), r4}, F32Only: true},
		Case{Name: "nhwc/maxpool3x3s2", Op: "MaxPool", Attrs: map[string]any{"kernel_shape": ints(3, 3), "strides": ints(2, 2), "pads": p1, "ceil_mode": int64(1)},
			In: []*tensor.Tensor{Rand(12, f, 2, 21, 8, 9)}, F32Only: true},
		Case{Name: "nhwc/averagepool3x3", Op: "AveragePool", Attrs: map[string]any{"kernel_shape": ints(3, 3), "pads": p1, "count_include_pad": int64(1)},
			In: []*tensor.Tensor{Rand(12, f, 2, 21, 8, 9)}, F32Only: true},
		Case{Name: "gemm/deep", Op: "Gemm", In: []*tensor.Tensor{Rand(13, f, 30, 600), Rand(14, f, 600, 65), Rand(15, f, 65)}, F32Only: true, Tol: 1e-4},
		Case{Name: "gemm/manytiles", Op: "Gemm", Attrs: map[string]any{"transB": int64(1)},
			In: []*tensor.Tensor{Rand(13, f, 128, 100), Rand(14, f, 300, 100), Rand(15, f, 300)}, F32Only: true})
}

// moveCases are operators that only move elements, on images.
func moveCases() {
	f := tensor.Float32
	x := Rand(21, f, 2, 12, 4, 6)
	vec := func(v ...int64) *tensor.Tensor { return tensor.From(v, len(v)) }
	add := func(name, op string, outs int, attrs map[string]any, in ...*tensor.Tensor) {
		Add(Case{Name: "nhwc/" + name, Op: op, Outs: outs, Attrs: attrs, In: in, F32Only: true})
	}
	add("split", "Split", 2, map[string]any{"axis": int64(1)}, x, vec(5, 7))
	add("split/rows", "Split", 2, map[string]any{"axis": int64(-2)}, x, vec(1, 3))
	add("slice/channels", "Slice", 0, nil, x, vec(3), vec(8), vec(1))
	add("slice/backwards", "Slice", 0, nil, x, vec(-1, 5, 0), vec(-100, 1, 4), vec(1, 3, 2), vec(-1, -2, 3))
	add("transpose", "Transpose", 0, map[string]any{"perm": []int64{0, 2, 3, 1}}, x)
	add("transpose/back", "Transpose", 0, map[string]any{"perm": []int64{0, 3, 1, 2}}, x)
	add("transpose/all", "Transpose", 0, nil, x)
	for _, mode := range []string{"DCR", "CRD"} {
		add("depthtospace/"+mode, "DepthToSpace", 0, map[string]any{"blocksize": int64(2), "mode": mode}, x)
		add("depthtospace/deep/"+mode, "DepthToSpace", 0, map[string]any{"blocksize": int64(2), "mode": mode}, Rand(22, f, 1, 40, 4, 6))
		add("depthtospace/3/"+mode, "DepthToSpace", 0, map[string]any{"blocksize": int64(3), "mode": mode}, Rand(22, f, 1, 18, 4, 6))
		add("spacetodepth/"+mode, "SpaceToDepth", 0, map[string]any{"blocksize": int64(2), "mode": mode}, x)
	}
	shuffle := func(name string, mid, perm, out []int64) {
		b := graph.New("body")
		v := b.AddInput("body_x", tensor.Invalid, 2, 12, 4, 6)
		y := b.Add("", "Reshape", nil, v, b.NewConst("s0", vec(mid...)))
		y = b.Add("", "Transpose", map[string]any{"perm": perm}, y)
		b.Outputs = []*graph.Value{b.Add("", "Reshape", nil, y, b.NewConst("s1", vec(out...)))}
		Add(Case{Name: "fused/shuffle/" + name, Domain: graph.Domain, Op: "Fused", Attrs: map[string]any{"body": b}, In: []*tensor.Tensor{x}, F32Only: true})
	}
	shuffle("2", []int64{2, 2, 6, 4, 6}, []int64{0, 2, 1, 3, 4}, []int64{2, 12, 4, 6})
	shuffle("3", []int64{2, 3, 4, 4, 6}, []int64{0, 2, 1, 3, 4}, []int64{2, 12, 4, 6})
	shuffle("pixels", []int64{2, 3, 2, 2, 4, 6}, []int64{0, 1, 4, 2, 5, 3}, []int64{2, 3, 8, 12})
	shuffle("mixed", []int64{2, 8, 6, 6}, []int64{0, 2, 1, 3}, []int64{2, 12, 4, 6})
	shuffle("flat", []int64{24, 24}, []int64{1, 0}, []int64{576})
}

func lowerName(s string) string { return string(s[0]|0x20) + s[1:] }
