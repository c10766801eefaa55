package onnx

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"whit/tensor"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares text with testdata/NAME.txt.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

const f32 = tensor.Float32

// TestUpgrade reads one node of an old opset each; the golden file shows what
// becomes of it.
func TestUpgrade(t *testing.T) {
	x, y := pIn("x", f32, "N", 4, 6, 6), pOut("y", f32)
	one := func(op string, attrs ...field) []field {
		return []field{x, y, pNode(op, ss("x"), ss("y"), attrs...)}
	}
	scales := pInit("scales", tensor.From([]float32{1, 1, 2, 2}, 4))
	vec := func(name string) field { return pInit(name, tensor.From([]float32{1, 2, 3, 4}, 4)) }
	cases := []struct {
		name  string
		opset int
		nodes []field
	}{
		{"batchnorm_9_training", 9, []field{x, y, pOut("m", f32, 4), vec("s"), vec("b"), vec("mean"), vec("var"),
			pNode("BatchNormalization", ss("x", "s", "b", "mean", "var"), ss("y", "m", "v"))}},
		{"batchnorm_7", 7, []field{x, y, vec("s"), vec("b"), vec("mean"), vec("var"),
			pNode("BatchNormalization", ss("x", "s", "b", "mean", "var"), ss("y"), pAttr("spatial", int64(1)))}},
		{"clip_6", 7, one("Clip", pAttr("min", float32(0)), pAttr("max", float32(6)))},
		{"clip_6_max_only", 10, one("Clip", pAttr("max", float32(6)))},
		{"clip_6_f16", 10, []field{pIn("x", tensor.Float16, 4), pOut("y", tensor.Float16), pNode("Clip", ss("x"), ss("y"), pAttr("min", float32(0.5)))}},
		{"clip_6_type_not_known", 10, []field{x, y, pNode("Mystery", ss("x"), ss("a"), fStr(7, "elsewhere")), pNode("Clip", ss("a"), ss("y"), pAttr("min", float32(0.5)))}},
		{"pad_2_int32", 7, []field{pIn("x", tensor.Int32, 4), pOut("y", tensor.Int32), pNode("Pad", ss("x"), ss("y"), pAttr("pads", []int64{0, 1}), pAttr("value", float32(1e30)))}},
		{"dft_17", 17, one("DFT")},
		{"dropout_7", 7, one("Dropout", pAttr("ratio", float32(0.25)))},
		{"dropout_7_mask", 7, []field{x, y, pOut("m", f32), pNode("Dropout", ss("x"), ss("y", "m"))}},
		{"dropout_10_mask", 10, []field{x, y, pOut("m", tensor.Bool), pNode("Dropout", ss("x"), ss("y", "m"))}},
		{"gemm_9", 9, []field{pIn("x", f32, 2, 4), y, vec("c"), pNode("Gemm", ss("x", "x", "c"), ss("y"), pAttr("transB", int64(1)))}},
		{"gridsample_16", 16, []field{x, pIn("g", f32, "N", 2, 2, 2), y, pNode("GridSample", ss("x", "g"), ss("y"), pAttr("mode", "bicubic"))}},
		{"groupnorm_18", 18, []field{x, y, vec("s"), vec("b"), pNode("GroupNormalization", ss("x", "s", "b"), ss("y"), pAttr("num_groups", int64(4)))}},
		{"logsoftmax_11_last", 11, one("LogSoftmax", pAttr("axis", int64(3)))},
		{"pad_2", 7, one("Pad", pAttr("pads", []int64{0, 0, 1, 1, 0, 0, 1, 1}), pAttr("value", float32(0.5)), pAttr("mode", "constant"))},
		{"pad_2_zero", 7, one("Pad", pAttr("pads", []int64{0, 0, 1, 1, 0, 0, 1, 1}), pAttr("value", float32(0)))},
		{"reducemean_13", 13, one("ReduceMean", pAttr("axes", []int64{2, 3}), pAttr("keepdims", int64(0)))},
		{"reducemean_13_all", 13, one("ReduceMean")},
		{"reducesum_11", 11, one("ReduceSum", pAttr("axes", []int64{-1}))},
		{"resize_10_grow", 10, []field{x, y, scales, pNode("Resize", ss("x", "scales"), ss("y"), pAttr("mode", "nearest"))}},
		{"resize_10_shrink", 10, []field{x, y, pInit("scales", tensor.From([]float32{1, 1, .5, .5}, 4)), pNode("Resize", ss("x", "scales"), ss("y"))}},
		{"resize_11_empty_inputs", 11, []field{x, y, pInit("e", tensor.New(f32, 0)), pInit("sizes", tensor.Ints(1, 4, 9, 9)),
			pNode("Resize", ss("x", "e", "e", "sizes"), ss("y"), pAttr("mode", "linear"))}},
		{"roialign_10", 10, []field{x, y, pIn("r", f32, 1, 4), pIn("b", tensor.Int64, 1), pNode("RoiAlign", ss("x", "r", "b"), ss("y"))}},
		{"relu_6", 6, one("Relu")},
		{"scan_8", 8, []field{x, y, pIn("s", f32, "N", 6, 6), pOut("z", f32), pNode("Scan", ss("", "s", "x"), ss("z", "y"), pAttr("num_scan_inputs", int64(1)), pAttr("directions", []int64{1}),
			pBody("body", fStr(2, "b"), pIn("sum", f32), pIn("part", f32), pOut("next", f32), pOut("bent", f32),
				pNode("Add", ss("sum", "part"), ss("next")), pNode("Relu", ss("part"), ss("bent"))))}},
		{"scatter_9", 9, []field{x, y, pIn("i", tensor.Int64, 1, 4, 6, 6), pNode("Scatter", ss("x", "i", "x"), ss("y"), pAttr("axis", int64(1)))}},
		{"slice_1", 9, one("Slice", pAttr("starts", []int64{1}), pAttr("ends", []int64{3}), pAttr("axes", []int64{2}))},
		{"softmax_1", 7, one("Softmax")},
		{"softmax_1_matrix", 7, []field{pIn("x", f32, "N", 10), y, pNode("Softmax", ss("x"), ss("y"))}},
		{"softmax_1_rank_not_known", 7, []field{x, y, pNode("Mystery", ss("x"), ss("a"), fStr(7, "elsewhere")), pNode("Softmax", ss("a"), ss("y"))}},
		{"split_2", 7, []field{x, y, pOut("z", f32), pNode("Split", ss("x"), ss("y", "z"), pAttr("axis", int64(1)), pAttr("split", []int64{1, 3}))}},
		{"split_13_even", 13, []field{x, y, pOut("z", f32), pNode("Split", ss("x"), ss("y", "z"), pAttr("axis", int64(1)))}},
		{"squeeze_11", 11, one("Squeeze", pAttr("axes", []int64{0}))},
		{"topk_1", 7, []field{x, y, pNode("TopK", ss("x"), ss("y", "i"), pAttr("k", int64(3)))}},
		{"unsqueeze_1", 7, one("Unsqueeze", pAttr("axes", []int64{0, 5}))},
		{"upsample_7", 7, one("Upsample", pAttr("scales", []float32{1, 1, 2, 2}), pAttr("mode", "linear"))},
		{"upsample_9", 9, []field{x, y, scales, pNode("Upsample", ss("x", "scales"), ss("y"))}},
		{"newest", Opset, one("Softmax", pAttr("axis", int64(1)))},
	}
	var all strings.Builder
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			g := mustRead(t, pModel(c.opset, c.nodes...))
			g.Name = c.name
			all.WriteString(g.String() + "\n")
			// What was upgraded is written and read back as the same graph.
			h := roundTrip(t, g)
			if g.String() != h.String() {
				t.Errorf("read back:\n%s\nwritten:\n%s", h, g)
			}
		})
	}
	golden(t, "upgrade", all.String())
}

func TestUpgradeRefuses(t *testing.T) {
	x, y := pIn("x", f32, 1, 4, 6, 6), pOut("y", f32)
	v := pInit("v", tensor.From([]float32{1, 2, 3, 4}, 4))
	for _, c := range []struct {
		name  string
		opset int
		want  error
		nodes []field
	}{
		{"spatial", 7, ErrUnsupported, []field{x, y, v, pNode("BatchNormalization", ss("x", "v", "v", "v", "v"), ss("y"), pAttr("spatial", int64(0)))}},
		{"saved mean", 9, ErrUnsupported, []field{x, y, v, pNode("BatchNormalization", ss("x", "v", "v", "v", "v"), ss("y", "a", "b", "c"))}},
		{"scan of lengths", 8, ErrUnsupported, []field{x, y, pNode("Scan", ss("x", "x"), ss("y"))}},
		{"scan without a body", 8, ErrCorrupt, []field{x, y, pNode("Scan", ss("", "x"), ss("y"))}},
		{"opset too old", 5, ErrUnsupported, []field{x, y, pNode("Relu", ss("x"), ss("y"))}},
		{"operator of another opset 6", 6, ErrUnsupported, []field{x, y, pNode("Add", ss("x", "x"), ss("y"))}},
		{"opset 0", 0, ErrCorrupt, []field{x, y, pNode("Relu", ss("x"), ss("y"))}},
		{"opset too new", Opset + 1, ErrUnsupported, []field{x, y, pNode("Relu", ss("x"), ss("y"))}},
		{"clip attribute of another type", 7, ErrCorrupt, []field{x, y, pNode("Clip", ss("x"), ss("y"), pAttr("min", int64(0)))}},
		{"axes twice", 11, ErrCorrupt, []field{x, y, pNode("Squeeze", ss("x", "x"), ss("y"), pAttr("axes", []int64{0}))}},
		{"slice without ends", 9, ErrCorrupt, []field{x, y, pNode("Slice", ss("x"), ss("y"), pAttr("starts", []int64{0}))}},
		{"pad without pads", 9, ErrCorrupt, []field{x, y, pNode("Pad", ss("x"), ss("y"))}},
		{"resize with one input", 10, ErrCorrupt, []field{x, y, pNode("Resize", ss("x"), ss("y"))}},
		{"resize scales that mix", 10, ErrUnsupported, []field{x, y, pInit("s", tensor.From([]float32{1, 1, 2, .5}, 4)), pNode("Resize", ss("x", "s"), ss("y"))}},
		{"upsample without scales", 7, ErrCorrupt, []field{x, y, pNode("Upsample", ss("x"), ss("y"))}},
		{"topk without k", 7, ErrCorrupt, []field{x, y, pNode("TopK", ss("x"), ss("y", "i"))}},
		{"softmax of nothing", 7, ErrCorrupt, []field{y, pNode("Softmax", nil, ss("y"))}},
		{"group norm of one input", 18, ErrCorrupt, []field{x, y, pNode("GroupNormalization", ss("x"), ss("y"))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ReadBytes(pModel(c.opset, c.nodes...), Options{})
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than a line: %v", err)
			}
		})
	}
}
