package format

import (
	"whit/graph"
	"whit/tensor"
	"whit/weight"
)

// products are the scales that biases have where convolutions and products of matrices take integers: that of the input times
// those of the weight, rounded once. They are listed by the value that holds them, whatever it holds; a form of their own
// stands for one that holds just them.
func products(g *graph.Graph) map[*graph.Value]*tensor.Tensor {
	out := map[*graph.Value]*tensor.Tensor{}
	for _, n := range g.Nodes {
		if n.Domain != "" || n.Op != "Conv" && n.Op != "ConvTranspose" && n.Op != "Gemm" || len(n.In) < 3 || n.In[1] == nil {
			continue
		}
		w, ok := n.In[1].Weight.(weight.Int8)
		x, bias := dequantised(n.In[0]), dequantised(n.In[2])
		if !ok || w.Group != 0 || x == nil || bias == nil || out[bias.In[1]] != nil {
			continue
		}
		a, q := x.In[1].Data, bias.In[0].Data
		if a == nil || a.DType != tensor.Float32 || len(a.Shape) != 0 || q == nil || len(q.Shape) != 1 || len(w.Scale) != 1 && len(w.Scale) != q.Len() {
			continue
		}
		t := tensor.New(tensor.Float32, q.Len())
		scales := tensor.Of[float32](t)
		for i := range scales {
			scales[i] = tensor.Of[float32](a)[0] * w.Scale[i%len(w.Scale)]
		}
		out[bias.In[1]] = t
	}
	return out
}

// dequantised is the DequantizeLinear that computes v; nil: another does.
func dequantised(v *graph.Value) *graph.Node {
	if v == nil || v.Producer == nil {
		return nil
	}
	n := v.Producer
	if n.Domain != "" || n.Op != "DequantizeLinear" || len(n.In) < 2 || n.In[0] == nil || n.In[1] == nil {
		return nil
	}
	return n
}

// multiply makes the products among a graph's constants and those of its nodes' bodies, at the places that say so.
func multiply(g *graph.Graph, places map[*graph.Value]*item) {
	if len(places) == 0 {
		return
	}
	for v, t := range products(g) {
		if it := places[v]; it != nil && t.Shape.Equal(it.d.shape) {
			it.t = t
		}
	}
	for _, n := range g.Nodes {
		for _, b := range n.Bodies() {
			multiply(b, places)
		}
	}
}
