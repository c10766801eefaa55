package pass

import (
	"math"
	"slices"

	"whit/graph"
	"whit/tensor"
)

// FoldBatchNorm folds BatchNormalization in inference mode into the convolution
// before it, where all parameters are float32 constants, dense but for the
// convolution's weight, and nothing else reads the convolution: w' = w·s and
// b' = (b-mean)·s + beta with s = gamma/sqrt(var+epsilon), in float64, rounded once. An
// encoded weight is expanded: zeros stay zeros, so that a sparse kernel finds them.
func FoldBatchNorm(g *graph.Graph) {
	if !slices.ContainsFunc(g.Nodes, func(n *graph.Node) bool { return n.Domain == "" && n.Op == "BatchNormalization" }) {
		return
	}
	uses := g.Uses()
	for _, bn := range slices.Clone(g.Nodes) {
		if bn.Domain != "" || bn.Op != "BatchNormalization" || bn.Int("training_mode", 0) != 0 || len(bn.In) != 5 ||
			bn.In[0] == nil || len(bn.Out) != 1 || bn.Out[0] == nil {
			continue
		}
		conv := bn.In[0].Producer
		if conv == nil || conv.Domain != "" || conv.Op != "Conv" || len(uses[bn.In[0]]) != 1 || len(conv.In) < 2 || len(conv.Out) != 1 {
			continue
		}
		w := dense(conv.In[1])
		if v := conv.In[1]; v.IsConst() && v.Weight != nil && v.Type.DType == tensor.Float32 {
			w = v.Tensor()
		}
		var par [4][]float64
		ok := w != nil && len(w.Shape) > 0
		for i := range par {
			par[i] = f64(dense(bn.In[i+1]))
			ok = ok && len(par[i]) == w.Shape[0]
		}
		var b []float64
		if bias := conv.Input(2); ok && bias != nil {
			b = f64(dense(bias))
			ok = len(b) == w.Shape[0]
		}
		if !ok || w.Shape[0] == 0 {
			continue
		}
		eps := float64(bn.Float("epsilon", 1e-5))
		nw, nb := tensor.New(tensor.Float32, w.Shape...), tensor.New(tensor.Float32, w.Shape[0])
		src, dst, db := tensor.Of[float32](w), tensor.Of[float32](nw), tensor.Of[float32](nb)
		k := len(src) / w.Shape[0]
		for c := range w.Shape[0] {
			s := par[0][c] / math.Sqrt(par[3][c]+eps)
			for i := c * k; i < (c+1)*k; i++ {
				dst[i] = float32(float64(src[i]) * s)
			}
			var b0 float64
			if b != nil {
				b0 = b[c]
			}
			db[c] = float32((b0-par[2][c])*s + par[1][c])
		}
		conv.In = []*graph.Value{conv.In[0], g.NewConst(g.NewName(conv.In[1].Name), nw), g.NewConst("", nb)}
		g.Replace(bn.Out[0], bn.In[0])
	}
	DeadCode(g)
}

// dense is the value's data if it is a dense float32 constant.
func dense(v *graph.Value) *tensor.Tensor {
	if !v.IsConst() || v.Weight != nil || v.Data.DType != tensor.Float32 {
		return nil
	}
	return v.Data
}

func f64(t *tensor.Tensor) []float64 {
	if t == nil {
		return nil
	}
	out := make([]float64, t.Len())
	for i, x := range tensor.Of[float32](t) {
		out[i] = float64(x)
	}
	return out
}
