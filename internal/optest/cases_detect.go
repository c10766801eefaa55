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
	one := func(v float32) *tensor.Tensor { return vec(v) }
	nan, inf := float32(math.NaN()), float32(math.Inf(1))

	// Two boxes that overlap by a half, one apart, one again in the other corners' order.
	boxes := of([]int{1, 4, 4}, float32(0), 0, 1, 1, 0, .5, 1, 1.5, 0, 5, 1, 6, 1, 6, 0, 5)
	scores := of([]int{1, 1, 4}, float32(.9), .8, .7, .95)
	rows := func(v ...int64) *tensor.Tensor { return tensor.From(v, len(v)/3, 3) }
	Add(
		Case{Name: "nms", Op: "NonMaxSuppression", F32Only: true, In: in(boxes, scores, i64(10), one(.3)), Want: in(rows(0, 0, 3, 0, 0, 0))},
		Case{Name: "nms/loose", Op: "NonMaxSuppression", F32Only: true, In: in(boxes, scores, i64(10), one(.5), one(.75)), Want: in(rows(0, 0, 3, 0, 0, 0, 0, 0, 1))},
		Case{Name: "nms/most", Op: "NonMaxSuppression", F32Only: true, In: in(boxes, scores, i64(1), one(.5)), Want: in(rows(0, 0, 3))},
		Case{Name: "nms/none", Op: "NonMaxSuppression", F32Only: true, In: in(boxes, scores), Want: in(rows())},
		Case{Name: "nms/centre", Op: "NonMaxSuppression", F32Only: true, Attrs: a("center_point_box", 1), In: in(of([]int{1, 2, 4}, float32(.5), .5, 1, 1, 1, .5, 1, 1), of([]int{1, 2, 2}, float32(1), 2, 2, 1), i64(9), one(.3)),
			Want: in(rows(0, 0, 1, 0, 1, 0))},
		Case{Name: "nms/odd", Op: "NonMaxSuppression", F32Only: true, In: in(of([]int{1, 2, 4}, nan, 0, 1, inf, 0, 0, inf, 1), of([]int{1, 1, 2}, nan, 1), i64(math.MaxInt64), one(.5)), Want: in(rows(0, 0, 1, 0, 0, 0))},
		Case{Name: "nms/shapes", Op: "NonMaxSuppression", F32Only: true, In: in(boxes, of([]int{1, 1, 3}, float32(1), 2, 3)), Err: true},
		Case{Name: "nms/format", Op: "NonMaxSuppression", F32Only: true, Attrs: a("center_point_box", 2), In: in(boxes, scores), Err: true},

		Case{Name: "roialign", Op: "RoiAlign", Attrs: a("output_height", 1, "output_width", 2, "sampling_ratio", 1), In: in(of([]int{1, 1, 2, 2}, float32(1), 2, 3, 4), of([]int{1, 4}, float32(.5), .5, 1.5, 1.5), i64(0)),
			Want: in(of([]int{1, 1, 1, 2}, float32(2.25), 2.75))},
		Case{Name: "roialign/adaptive", Op: "RoiAlign", Attrs: a("output_height", 2, "output_width", 3, "spatial_scale", float32(.5), "coordinate_transformation_mode", "output_half_pixel"),
			In: in(ten(1, 2, 3, 5, 6), of([]int{2, 4}, float32(1), 1, 9, 9, 2, 0, 30, 8), i64(1, 0)), Tol: 1e-4},
		Case{Name: "roialign/max", Op: "RoiAlign", Attrs: a("mode", "max", "sampling_ratio", 2), In: in(ten(1, 1, 1, 3, 3), of([]int{1, 4}, float32(0), 0, 2, 2), i64(0))},
		Case{Name: "roialign/image", Op: "RoiAlign", In: in(ten(1, 1, 1, 3, 3), of([]int{1, 4}, float32(0), 0, 2, 2), i64(1)), Err: true},
		Case{Name: "roialign/nan", Op: "RoiAlign", In: in(ten(1, 1, 1, 3, 3), of([]int{1, 4}, nan, 0, 2, 2), i64(0)), Err: true},
		Case{Name: "roialign/huge", Op: "RoiAlign", F32Only: true, In: in(ten(1, 1, 1, 3, 3), of([]int{1, 4}, float32(0), 0, 1e30, 1e30), i64(0)), Err: true},
		Case{Name: "roialign/empty", Op: "RoiAlign", In: in(ten(1, 1, 1, 0, 3), of([]int{1, 4}, float32(0), 0, 2, 2), i64(0)), Err: true},

		Case{Name: "maxroipool", Op: "MaxRoiPool", Attrs: a("pooled_shape", []int64{1, 2}), In: in(of([]int{1, 1, 2, 4}, float32(1), 2, 3, 4, 8, 7, 6, 5), of([]int{1, 5}, float32(0), 0, 0, 3, 1)), Want: in(of([]int{1, 1, 1, 2}, float32(8), 6))},
		Case{Name: "maxroipool/outside", Op: "MaxRoiPool", Attrs: a("pooled_shape", []int64{2, 2}, "spatial_scale", float32(.5)), In: in(ten(1, 2, 3, 4, 4), of([]int{2, 5}, float32(1), 2, 2, 20, 9, 0, 40, 40, 50, 50))},
		Case{Name: "maxroipool/image", Op: "MaxRoiPool", Attrs: a("pooled_shape", []int64{1, 1}), In: in(ten(1, 1, 1, 2, 2), of([]int{1, 5}, nan, 0, 0, 1, 1)), Err: true},
		Case{Name: "maxroipool/shape", Op: "MaxRoiPool", In: in(ten(1, 1, 1, 2, 2), of([]int{1, 5}, float32(0), 0, 0, 1, 1)), Err: true},

		// Without offsets it is Conv; with an offset of one it is Conv moved by one.
		Case{Name: "deformconv", Op: "DeformConv", In: in(of([]int{1, 1, 2, 2}, float32(1), 2, 3, 4), of([]int{1, 1, 1, 1}, float32(2)), of([]int{1, 2, 2, 2}, float32(0), 0, 0, .5, 0, 1, .5, 0), one(1)),
			Want: in(of([]int{1, 1, 2, 2}, float32(3), 1, 8, 5))},
		Case{Name: "deformconv/mask", Op: "DeformConv", F32Only: true, Attrs: a("group", 2, "offset_group", 2, "pads", []int64{1, 0, 1, 2}, "strides", []int64{1, 2}, "dilations", []int64{2, 1}),
			In: in(ten(1, 2, 4, 6, 5), ten(2, 6, 2, 3, 2), ten(3, 2, 24, 4, 3), ten(4, 6), ten(5, 2, 12, 4, 3))},
		Case{Name: "deformconv/line", Op: "DeformConv", F32Only: true, In: in(ten(1, 1, 2, 6), ten(2, 3, 2, 3), ten(3, 1, 3, 4))},
		Case{Name: "deformconv/far", Op: "DeformConv", F32Only: true, In: in(ten(1, 1, 1, 2, 2), ten(2, 1, 1, 1, 1), of([]int{1, 2, 2, 2}, nan, inf, -inf, 1e30, 0, 0, 0, 0)), Want: in(of([]int{1, 1, 2, 2}, float32(0), 0, 0, 0))},
		Case{Name: "deformconv/offset", Op: "DeformConv", In: in(ten(1, 1, 1, 2, 2), ten(2, 1, 1, 1, 1), ten(3, 1, 1, 2, 2)), Err: true},
		Case{Name: "deformconv/groups", Op: "DeformConv", Attrs: a("offset_group", 0), In: in(ten(1, 1, 1, 2, 2), ten(2, 1, 1, 1, 1), ten(3, 1, 2, 2, 2)), Err: true},

		Case{Name: "deformcolumns", Domain: graph.Domain, Op: "DeformColumns", Attrs: a("kernel_shape", []int64{1, 2}), In: in(of([]int{1, 1, 1, 3}, float32(1), 2, 4), of([]int{1, 4, 1, 2}, float32(0), 0, .5, 0, 0, .25, 0, 1)),
			Want: in(of([]int{1, 2, 2}, float32(1.5), 2, 2, 0))},
		Case{Name: "deformcolumns/all", Domain: graph.Domain, Op: "DeformColumns", Attrs: a("kernel_shape", []int64{3, 2}, "offset_group", 2, "pads", []int64{1, 0, 1, 2}, "strides", []int64{1, 2}, "dilations", []int64{2, 1}),
			In: in(ten(1, 2, 4, 6, 5), ten(3, 2, 24, 4, 3), ten(5, 2, 12, 4, 3))},
		Case{Name: "deformcolumns/far", Domain: graph.Domain, Op: "DeformColumns", Attrs: a("kernel_shape", []int64{1, 1}), In: in(of([]int{1, 1, 2, 2}, inf, nan, 3, 4), of([]int{1, 2, 2, 2}, nan, inf, 1, 1e30, 0, 0, 0, 0)), Want: in(of([]int{1, 1, 4}, float32(0), 0, 0, 0)), F32Only: true},
		Case{Name: "deformcolumns/line", Domain: graph.Domain, Op: "DeformColumns", F32Only: true, Attrs: a("kernel_shape", []int64{3}), In: in(ten(1, 1, 2, 6), ten(3, 1, 3, 4))},
		Case{Name: "deformcolumns/kernel", Domain: graph.Domain, Op: "DeformColumns", In: in(ten(1, 1, 2, 6), ten(3, 1, 3, 4)), Err: true},

		Case{Name: "affinegrid", Op: "AffineGrid", In: in(of([]int{1, 2, 3}, float32(1), 0, .5, 0, 1, 0), i64(1, 1, 1, 2)), Want: in(of([]int{1, 1, 2, 2}, float32(0), 0, 1, 0))},
		Case{Name: "affinegrid/align", Op: "AffineGrid", Attrs: a("align_corners", 1), In: in(of([]int{1, 2, 3}, float32(0), 1, 0, 1, 0, 0), i64(1, 1, 2, 1)), Want: in(of([]int{1, 2, 1, 2}, float32(-1), 0, 1, 0))},
		Case{Name: "affinegrid/volume", Op: "AffineGrid", In: in(ten(1, 2, 3, 4), i64(2, 5, 2, 3, 4))},
		Case{Name: "affinegrid/size", Op: "AffineGrid", In: in(ten(1, 2, 3, 4), i64(2, 5, 2, 3)), Err: true},
	)
}
