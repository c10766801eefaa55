package onnx

import (
	"slices"

	"whit/graph"
	"whit/tensor"
)

// info is what upgrading and writing must know of a value: element type
// (Invalid: not known) and rank (-1: not known).
type info struct {
	dtype tensor.DType
	rank  int
}

var unknown = info{rank: -1}

// infos are the element types and ranks of computed values. The operators' full
// type rules are package op's, which this package does not import; here a file's
// own declarations and a few lines an operator are enough.
type infos map[*graph.Value]info

func (m infos) of(v *graph.Value) info {
	if v == nil {
		return unknown
	}
	if v.Bound() {
		return info{v.Type.DType, len(v.Type.Shape)}
	}
	k, ok := m[v]
	if !ok {
		k = unknown
	}
	// A declaration says more than the few lines below know.
	if v.Decl.DType != tensor.Invalid {
		k.dtype = v.Decl.DType
	}
	if v.Decl.Ranked {
		k.rank = len(v.Decl.Dims)
	}
	return k
}

// Operators whose first output has the broadcast shape of the inputs.
var broadcast = map[string]bool{"Add": true, "Sub": true, "Mul": true, "Div": true, "Pow": true, "Mod": true,
	"And": true, "Or": true, "Xor": true, "Equal": true, "Greater": true, "GreaterOrEqual": true, "Less": true,
	"LessOrEqual": true, "BitwiseAnd": true, "BitwiseOr": true, "BitwiseXor": true, "BitShift": true,
	"Max": true, "Min": true, "Mean": true, "Sum": true, "Where": true}

// Operators whose first output is of a fixed element type.
var fixedType = map[string]tensor.DType{"And": tensor.Bool, "Or": tensor.Bool, "Xor": tensor.Bool, "Not": tensor.Bool,
	"Equal": tensor.Bool, "Greater": tensor.Bool, "GreaterOrEqual": tensor.Bool, "Less": tensor.Bool,
	"LessOrEqual": tensor.Bool, "IsNaN": tensor.Bool, "IsInf": tensor.Bool, "Shape": tensor.Int64, "Size": tensor.Int64,
	"NonZero": tensor.Int64, "ArgMax": tensor.Int64, "ArgMin": tensor.Int64, "NonMaxSuppression": tensor.Int64,
	"ConvInteger": tensor.Int32, "MatMulInteger": tensor.Int32, "DynamicQuantizeLinear": tensor.Uint8}

// Operators whose first output has a fixed rank.
var fixedRank = map[string]int{"Shape": 1, "Size": 0, "NonZero": 2, "Gemm": 2, "Flatten": 2, "NonMaxSuppression": 2}

// Operators whose first output has the rank of the first input.
var sameRank = map[string]bool{"Conv": true, "ConvTranspose": true, "MaxPool": true, "AveragePool": true, "LpPool": true,
	"GlobalAveragePool": true, "GlobalMaxPool": true, "GlobalLpPool": true, "BatchNormalization": true,
	"InstanceNormalization": true, "GroupNormalization": true, "LayerNormalization": true, "RMSNormalization": true,
	"LRN": true, "Concat": true, "Slice": true, "Pad": true, "Resize": true, "DepthToSpace": true, "SpaceToDepth": true,
	"Transpose": true, "Split": true, "Tile": true, "TopK": true, "Cast": true, "CastLike": true, "Identity": true,
	"Dropout": true, "QuantizeLinear": true, "DequantizeLinear": true, "CumSum": true, "CumProd": true, "Trilu": true,
	"ReverseSequence": true, "ScatterElements": true, "ScatterND": true, "GridSample": true, "ConvInteger": true,
	"QLinearConv": true, "IsNaN": true, "IsInf": true, "Not": true}

// Operators of one input that keep its type and shape, beside those of sameRank.
var unary = map[string]bool{"Abs": true, "Acos": true, "Acosh": true, "Asin": true, "Asinh": true, "Atan": true,
	"Atanh": true, "Ceil": true, "Celu": true, "Clip": true, "Cos": true, "Cosh": true, "Elu": true, "Erf": true, "Exp": true,
	"Floor": true, "Gelu": true, "HardSigmoid": true, "HardSwish": true, "Hardmax": true, "LeakyRelu": true, "Log": true,
	"LogSoftmax": true, "Mish": true, "Neg": true, "PRelu": true, "Reciprocal": true, "Relu": true, "Round": true,
	"Selu": true, "Shrink": true, "Sigmoid": true, "Sign": true, "Sin": true, "Sinh": true, "Softmax": true,
	"Softplus": true, "Softsign": true, "Sqrt": true, "Swish": true, "Tan": true, "Tanh": true, "ThresholdedRelu": true,
	"BitwiseNot": true, "LpNormalization": true, "MeanVarianceNormalization": true}

// node notes what is known of n's outputs. Its bodies, if any, have been noted.
func (m infos) node(n *graph.Node) {
	set := func(i int, k info) {
		if i < len(n.Out) && n.Out[i] != nil && !n.Out[i].Bound() {
			m[n.Out[i]] = k
		}
	}
	if n.Domain != "" {
		return
	}
	in0, in1 := m.of(n.Input(0)), m.of(n.Input(1))
	out := info{in0.dtype, -1}
	if d, ok := fixedType[n.Op]; ok {
		out.dtype = d
	}
	if r, ok := fixedRank[n.Op]; ok {
		out.rank = r
	}
	switch {
	case broadcast[n.Op]:
		out.rank = 0
		for _, v := range n.In {
			k := m.of(v)
			if k.rank < 0 {
				out.rank = -1
				break
			}
			out.rank = max(out.rank, k.rank)
		}
	case sameRank[n.Op] || unary[n.Op]:
		out.rank = in0.rank
	}
	typed := func(attr string, def tensor.DType) tensor.DType {
		if d := tensor.FromONNX(n.Int(attr, 0)); d != tensor.Invalid {
			return d
		}
		return def
	}
	switch n.Op {
	case "Cast", "BitCast":
		out.dtype, out.rank = typed("to", tensor.Invalid), in0.rank
	case "CastLike", "Where":
		out.dtype = in1.dtype
	case "Constant":
		if t, ok := n.Attrs["value"].(*tensor.Tensor); ok {
			out = info{t.DType, len(t.Shape)}
		} else {
			out = unknown
		}
	case "ConstantOfShape":
		out.dtype = tensor.Float32
		if t, ok := n.Attrs["value"].(*tensor.Tensor); ok {
			out.dtype = t.DType
		}
		out.rank = vectorLen(n.Input(0))
	case "Reshape", "Expand":
		out.rank = vectorLen(n.Input(1))
		if n.Op == "Expand" && (out.rank < 0 || in0.rank < 0) {
			out.rank = -1
		} else if n.Op == "Expand" {
			out.rank = max(out.rank, in0.rank)
		}
	case "MatMul":
		if in0.rank >= 2 && in1.rank >= 2 {
			out.rank = max(in0.rank, in1.rank)
		}
	case "Gather":
		if in0.rank >= 0 && in1.rank >= 0 {
			out.rank = in0.rank - 1 + in1.rank
		}
	case "GatherElements":
		out.rank = in0.rank
	case "Unsqueeze", "Squeeze":
		k := vectorLen(n.Input(1))
		if in1.rank == 0 {
			k = 1 // a scalar is a list of one
		}
		if k >= 0 && in0.rank >= 0 {
			out.rank = in0.rank + k
			if n.Op == "Squeeze" {
				out.rank = in0.rank - k
			}
		}
	case "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
		"ReduceSum", "ReduceSumSquare":
		switch k := vectorLen(n.Input(1)); {
		case n.Int("keepdims", 1) != 0 || k == 0 && n.Int("noop_with_empty_axes", 0) != 0:
			out.rank = in0.rank
		case k > 0 && in0.rank >= 0:
			out.rank = in0.rank - k
		case n.Input(1) == nil && n.Int("noop_with_empty_axes", 0) == 0:
			out.rank = 0
		}
	case "ArgMax", "ArgMin":
		out.rank = in0.rank
		if n.Int("keepdims", 1) == 0 && in0.rank > 0 {
			out.rank--
		}
	case "QuantizeLinear":
		out.dtype = tensor.Uint8
		if z := m.of(n.Input(2)); z.dtype != tensor.Invalid {
			out.dtype = z.dtype
		}
		out.dtype = typed("output_dtype", out.dtype)
	case "DequantizeLinear":
		out.dtype = typed("output_dtype", in1.dtype)
	case "QLinearConv", "QLinearMatMul":
		out.dtype = m.of(n.Input(7)).dtype
	case "EyeLike", "RandomNormalLike", "RandomUniformLike", "Bernoulli":
		out = info{typed("dtype", in0.dtype), in0.rank}
	case "RandomNormal", "RandomUniform":
		out = info{typed("dtype", tensor.Float32), len(n.Ints("shape"))}
	case "Multinomial":
		out = info{typed("dtype", tensor.Int32), 2}
	case "OneHot":
		out.dtype = m.of(n.Input(2)).dtype
		if in0.rank >= 0 {
			out.rank = in0.rank + 1
		}
	case "Range":
		out.rank = 1
	case "SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss":
		out.rank = 0
		if n.Str("reduction", "mean") == "none" {
			out.rank = in1.rank
		}
		set(1, in0)
	case "If":
		out = unknown
		if b := n.Graph("then_branch"); b != nil {
			e := n.Graph("else_branch")
			for i, v := range b.Outputs {
				k := m.of(v)
				if e != nil && i < len(e.Outputs) {
					o := m.of(e.Outputs[i])
					if k.dtype == tensor.Invalid {
						k.dtype = o.dtype
					}
					if o.rank != k.rank {
						k.rank = -1
					}
				}
				set(i, k)
			}
		}
		return
	case "Loop":
		if b := n.Graph("body"); b != nil {
			for i := range n.Out {
				if i+1 < len(b.Outputs) {
					set(i, info{m.of(b.Outputs[i+1]).dtype, -1})
				}
			}
		}
		return
	case "Scan":
		if b := n.Graph("body"); b != nil {
			for i := range n.Out {
				if i < len(b.Outputs) {
					set(i, info{m.of(b.Outputs[i]).dtype, -1})
				}
			}
		}
		return
	case "Split":
		for i := range n.Out {
			set(i, out)
		}
	case "BatchNormalization":
		for i := 1; i < len(n.Out); i++ {
			set(i, info{m.of(n.Input(3)).dtype, 1})
		}
	case "Dropout":
		set(1, info{tensor.Bool, in0.rank})
	case "MaxPool", "TopK":
		set(1, info{tensor.Int64, in0.rank})
	case "DynamicQuantizeLinear":
		out.rank = in0.rank
		set(1, info{tensor.Float32, 0})
		set(2, info{tensor.Uint8, 0})
	case "Unique":
		for i := 1; i < len(n.Out); i++ {
			set(i, info{tensor.Int64, 1})
		}
	}
	set(0, out)
}

// vectorLen is the number of elements of a vector whose length is known, else -1.
func vectorLen(v *graph.Value) int {
	if v != nil && v.Bound() && len(v.Type.Shape) == 1 {
		return v.Type.Shape[0]
	}
	return -1
}

// body notes the inputs of n's bodies from n's own and then the bodies' nodes.
func (m infos) body(n *graph.Node) {
	caps := n.In[len(n.In)-n.Captures():]
	for _, b := range n.Bodies() {
		k := len(caps)
		if n.Op == "If" && n.Domain == "" {
			k = min(k, len(b.Inputs))
		}
		own := len(b.Inputs) - k
		for i, v := range b.Inputs {
			switch {
			case i >= own && own >= 0:
				m[v] = m.of(caps[i-own])
			case n.Op == "Loop" && i == 0:
				m[v] = info{tensor.Int64, -1}
			case n.Op == "Loop" && i == 1:
				m[v] = info{tensor.Bool, -1}
			case n.Op == "Loop" || n.Op == "Scan":
				m[v] = info{m.of(n.Input(i)).dtype, -1}
			}
		}
		if n.Op == "If" && n.Domain == "" {
			caps = caps[k:]
		}
		m.graph(b)
	}
}

// graph notes all nodes of g.
func (m infos) graph(g *graph.Graph) {
	for _, n := range g.Nodes {
		m.body(n)
		m.node(n)
	}
}

// cloneAttrs copies the map, not the values.
func cloneAttrs(a map[string]any) map[string]any {
	c := make(map[string]any, len(a))
	for k, v := range a {
		c[k] = v
	}
	return c
}

// trim drops absent values at the end.
func trim(vs []*graph.Value) []*graph.Value {
	for len(vs) > 0 && vs[len(vs)-1] == nil {
		vs = slices.Clip(vs[:len(vs)-1])
	}
	return vs
}
