package format

// Numbers of operators and attribute names in files. New names are only ever
// appended; a name that is not listed is written out.

var opNames = []string{
	1: "Gemm", "Conv", "Relu", "MatMul", "Add", "Sub", "Mul", "Div", "MaxPool", "AveragePool", "GlobalAveragePool",
	"GlobalMaxPool", "BatchNormalization", "Flatten", "Reshape", "Transpose", "Concat", "Split", "Slice", "Squeeze", "Unsqueeze",
	"Pad", "Resize", "Upsample", "DepthToSpace", "SpaceToDepth", "Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND",
	"Shape", "Size", "Constant", "ConstantOfShape", "Cast", "CastLike", "Identity", "Dropout", "If", "Loop", "Scan",
	"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp",
	"LeakyRelu", "PRelu", "Sigmoid", "Tanh", "Clip", "HardSwish", "HardSigmoid", "Softmax", "LogSoftmax", "Hardmax",
	"Elu", "Selu", "Celu", "Gelu", "Mish", "Softplus", "Softsign", "ThresholdedRelu", "Erf", "Exp", "Log", "Sqrt", "Pow", "Reciprocal",
	"Abs", "Neg", "Sign", "Floor", "Ceil", "Round", "Min", "Max", "Mean", "Sum", "Mod", "Where", "Equal", "Greater", "GreaterOrEqual",
	"Less", "LessOrEqual", "And", "Or", "Xor", "Not", "Expand", "Tile", "ArgMax", "ArgMin", "TopK", "NonZero", "NonMaxSuppression",
	"OneHot", "Range", "CumSum", "EyeLike", "Trilu", "ConvTranspose", "InstanceNormalization", "LayerNormalization", "GroupNormalization",
	"LRN", "LpNormalization", "LpPool", "GlobalLpPool", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
	"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "Einsum", "LSTM", "GRU", "RNN",
	"SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh",
	"IsNaN", "IsInf", "BitShift", "RoiAlign", "GridSample", "CenterCropPad", "MaxUnpool", "MaxRoiPool", "ReverseSequence", "Unique", "Compress",
	"MeanVarianceNormalization", "RMSNormalization", "Swish", "Attention", "RotaryEmbedding", "DeformConv", "AffineGrid", "Col2Im", "Shrink",
}

var attrNames = []string{
	1: "transB", "transA", "alpha", "beta", "axis", "axes", "kernel_shape", "strides", "pads", "dilations", "group", "auto_pad",
	"ceil_mode", "count_include_pad", "storage_order", "epsilon", "momentum", "training_mode", "perm", "to", "saturate", "keepdims",
	"noop_with_empty_axes", "allowzero", "value", "value_float", "value_floats", "value_int", "value_ints", "value_string", "value_strings",
	"mode", "coordinate_transformation_mode", "nearest_mode", "cubic_coeff_a", "exclude_outside", "extrapolation_value", "antialias",
	"keep_aspect_ratio_policy", "blocksize", "num_outputs", "split", "ratio", "seed", "min", "max", "gamma", "bias", "size", "p", "lambd",
	"then_branch", "else_branch", "body", "num_scan_inputs", "scan_input_axes", "scan_input_directions", "scan_output_axes", "scan_output_directions",
	"start", "end", "largest", "sorted", "select_last_index", "output_padding", "output_shape", "num_groups", "stash_type", "approximate",
	"exclusive", "reverse", "upper", "dtype", "k", "direction", "hidden_size", "linear_before_reset", "layout", "activations",
	"activation_alpha", "activation_beta", "clip", "input_forget", "equation", "reduction", "ignore_index", "fmod", "detect_negative", "detect_positive",
	"center_point_box", "batch_axis", "time_axis", "block_size", "output_dtype", "precision", "channels", "across_channels", "normalize_variance",
	"spatial_scale", "sampling_ratio", "pooled_shape", "align_corners", "padding_mode", "offset_group",
}

var (
	opIndex   = index(opNames)
	attrIndex = index(attrNames)
)

func index(names []string) map[string]int {
	m := map[string]int{}
	for i, n := range names {
		if n != "" {
			m[n] = i
		}
	}
	return m
}
