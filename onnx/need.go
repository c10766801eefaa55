package onnx

import (
	"whit/graph"
	"whit/tensor"
)

// minWrite is the lowest opset that is written.
const minWrite = 17

// since is the opset that brought an operator, where that is later than minWrite.
var since = map[string]int{
	"BitwiseAnd": 18, "BitwiseNot": 18, "BitwiseOr": 18, "BitwiseXor": 18, "CenterCropPad": 18, "Col2Im": 18, "Mish": 18,
	"DeformConv": 19, "AffineGrid": 20, "Gelu": 20, "ImageDecoder": 20, "RegexFullMatch": 20, "StringConcat": 20,
	"StringSplit": 20, "GroupNormalization": 21, "Attention": 23, "RMSNormalization": 23, "RotaryEmbedding": 23,
	"Swish": 24, "TensorScatter": 24, "BitCast": 26, "CumProd": 26, "CausalConvWithState": 27, "LinearAttention": 27,
	"SwiGLU": 28,
}

// formSince is the opset that brought the form in which model graphs say what an
// operator does, where an older form was another.
var formSince = map[string]int{
	"DFT": 20, "GridSample": 20, "LpPool": 18, "OptionalGetElement": 18, "OptionalHasElement": 18,
	// Axes are an input.
	"ReduceL1": 18, "ReduceL2": 18, "ReduceLogSum": 18, "ReduceLogSumExp": 18, "ReduceMax": 18, "ReduceMean": 18,
	"ReduceMin": 18, "ReduceProd": 18, "ReduceSumSquare": 18,
}

// attrSince is the opset that brought an attribute, and its default: an attribute
// that says the default is left out of files of older opsets.
var attrSince = map[string]map[string]struct {
	at  int
	def any
}{
	"Attention":        {"left_window_size": {25, int64(-1)}, "right_window_size": {25, int64(-1)}},
	"AveragePool":      {"dilations": {19, nil}},
	"Cast":             {"saturate": {19, int64(1)}, "round_mode": {24, "up"}},
	"CastLike":         {"saturate": {19, int64(1)}, "round_mode": {24, "up"}},
	"DequantizeLinear": {"block_size": {21, int64(0)}, "output_dtype": {23, int64(0)}},
	"QuantizeLinear": {"saturate": {19, int64(1)}, "block_size": {21, int64(0)}, "output_dtype": {21, int64(0)},
		"precision": {23, int64(0)}},
	"Resize": {"antialias": {18, int64(0)}, "axes": {18, nil}, "keep_aspect_ratio_policy": {18, "stretch"}},
	"Split":  {"num_outputs": {18, nil}},
	"Range":  {"stash_type": {27, int64(1)}},
	// The mode of DepthToSpace is older.
	"SpaceToDepth": {"mode": {28, "DCR"}},
}

// brain is the opset from which an operator takes bfloat16, where that is later
// than minWrite.
var brain = map[string]int{}

// storage is the opset from which an operator that only moves data takes float8;
// the narrower types follow at 21 (4 bits), 23 (float4), 24 (float8e8m0) and 25 (2 bits).
var storage = map[string]int{
	"Cast": 19, "CastLike": 19, "Constant": 19, "ConstantOfShape": 20, "DequantizeLinear": 19, "Flatten": 21,
	"Identity": 19, "If": 19, "Loop": 19, "Pad": 21, "QuantizeLinear": 19, "Reshape": 19, "Scan": 19, "Shape": 19,
	"Size": 19, "Squeeze": 21, "Transpose": 21, "Unsqueeze": 21, "IsInf": 20, "IsNaN": 20, "Dropout": 22,
	"QLinearMatMul": 21,
}

func init() {
	for _, op := range []string{"Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "AveragePool", "Bernoulli", "Conv",
		"ConvTranspose", "Cos", "Cosh", "DeformConv", "Det", "Elu", "EyeLike", "GRU", "GlobalAveragePool", "GlobalLpPool",
		"GlobalMaxPool", "GridSample", "HardSigmoid", "HardSwish", "InstanceNormalization", "LSTM", "LpNormalization",
		"LpPool", "MaxPool", "MaxRoiPool", "MaxUnpool", "Mish", "Multinomial", "NegativeLogLikelihoodLoss", "RNN",
		"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "RoiAlign", "Round", "Selu", "Sin",
		"Sinh", "Softplus", "Softsign", "Tan", "ThresholdedRelu"} {
		brain[op] = 22
	}
	brain["TopK"], brain["SplitToSequence"], brain["Range"] = 24, 24, 27
	brain["ConstantOfShape"], brain["IsInf"] = 20, 20
	brain["QuantizeLinear"], brain["DequantizeLinear"] = 19, 19
	for _, op := range []string{"Celu", "Compress", "Einsum", "OneHot", "ReverseSequence", "Unique"} {
		brain[op] = 28
	}
}

// need is the lowest opset, at least minWrite, that can say n as it stands. types
// knows the element types of its inputs and outputs.
func need(n *graph.Node, types infos) int {
	if n.Domain != "" {
		return minWrite
	}
	v := max(minWrite, since[n.Op], formSince[n.Op])
	for name, s := range attrSince[n.Op] {
		if a, ok := n.Attrs[name]; ok && (s.def == nil || a != s.def) {
			v = max(v, s.at)
		}
	}
	eachType(n, types, func(d tensor.DType) {
		switch d {
		case tensor.BFloat16:
			v = max(v, brain[n.Op])
		case tensor.Int4, tensor.Uint4:
			v = max(v, 21, storage[n.Op])
		case tensor.Float4E2M1:
			v = max(v, 23, storage[n.Op])
		case tensor.Float8E8M0:
			v = max(v, 24, storage[n.Op])
		case tensor.Int2, tensor.Uint2:
			v = max(v, 25, storage[n.Op])
		case tensor.Float8E4M3FN, tensor.Float8E4M3FNUZ, tensor.Float8E5M2, tensor.Float8E5M2FNUZ:
			v = max(v, 19, storage[n.Op])
		}
	})
	in0 := types.of(n.Input(0)).dtype
	switch n.Op {
	case "Resize":
		if n.Str("coordinate_transformation_mode", "") == "half_pixel_symmetric" {
			v = max(v, 19)
		}
	case "Pad":
		if n.Input(3) != nil {
			v = max(v, 18)
		}
		if n.Str("mode", "") == "wrap" {
			v = max(v, 19)
		}
	case "ScatterElements", "ScatterND":
		if r := n.Str("reduction", "none"); r == "min" || r == "max" {
			v = max(v, 18)
		}
	case "ReduceMax", "ReduceMin":
		if in0 == tensor.Bool {
			v = max(v, 20)
		}
	case "IsInf":
		if in0 == tensor.Float16 {
			v = max(v, 20)
		}
	case "QuantizeLinear", "DequantizeLinear":
		eachType(n, types, func(d tensor.DType) {
			if d == tensor.Int16 || d == tensor.Uint16 {
				v = max(v, 21)
			}
			if d == tensor.Float16 {
				v = max(v, 19)
			}
		})
		// Scales of another type than the data.
		if s := types.of(n.Input(1)).dtype; n.Op == "QuantizeLinear" && s != in0 && s != tensor.Invalid && in0 != tensor.Invalid && in0 != tensor.Int32 {
			v = max(v, 23)
		}
	case "QLinearMatMul":
		if types.of(n.Input(1)).dtype == tensor.Float16 {
			v = max(v, 21)
		}
	case "BitShift":
		if in0.IsSigned() {
			v = max(v, 28)
		}
	case "Celu":
		if in0 == tensor.Float16 || in0 == tensor.Float64 {
			v = max(v, 28)
		}
	case "Mod":
		// Floats without fmod are newer.
		if in0.IsFloat() && n.Int("fmod", 0) == 0 {
			v = max(v, 28)
		}
	case "Range":
		if in0 == tensor.Float16 {
			v = max(v, 27)
		}
	case "Attention":
		if n.Input(6) != nil {
			v = max(v, 24)
		}
	case "AveragePool", "MaxPool":
		if ceilStart(n) {
			v = max(v, 22)
		}
	}
	return v
}

// ceilStart reports whether a pooling window could start behind the input's end:
// older opsets count such a window where newer ones leave it out.
func ceilStart(n *graph.Node) bool {
	if n.Int("ceil_mode", 0) == 0 {
		return false
	}
	k, s, pads := n.Ints("kernel_shape"), n.Ints("strides"), n.Ints("pads")
	for i := range k {
		if len(pads) == 2*len(k) && pads[len(k)+i] != 0 || i < len(s) && s[i] > k[i] {
			return true
		}
	}
	return n.Str("auto_pad", "NOTSET") != "NOTSET"
}

// domainVersion is the version that is imported of other domains: the graph does
// not keep what its source said.
func domainVersion(domain string) int {
	switch domain {
	case "ai.onnx.ml":
		return 5
	}
	return 1
}

// eachType calls f with the element types of n's inputs, outputs and tensors.
func eachType(n *graph.Node, types infos, f func(tensor.DType)) {
	for _, vs := range [][]*graph.Value{n.In, n.Out} {
		for _, v := range vs {
			f(types.of(v).dtype)
		}
	}
	for _, a := range n.Attrs {
		if t, ok := a.(*tensor.Tensor); ok {
			f(t.DType)
		}
	}
}

// irVersion is the file format's version that came with an opset.
func irVersion(opset int) int64 {
	switch {
	case opset <= 18:
		return 8
	case opset <= 20:
		return 9
	case opset <= 22:
		return 10
	case opset <= 23:
		return 11
	case opset <= 24:
		return 12
	case opset <= 27:
		return 13
	}
	return 14
}
