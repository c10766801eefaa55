package quant

import (
	"errors"
	"fmt"
	"math"

	"whit/compress/method"
	"whit/graph"
	"whit/tensor"
)

// guess finds ranges without images: from the input's, and from the means and deviations that normalisations
// gave their outputs.
func (p *placement) guess(s *method.State, input []float64, signed bool) error {
	if len(input) != 2 || !(input[0] < input[1]) {
		return errors.New("there are no images to calibrate on: give images, or the least and greatest value of the input (input: [lo, hi])")
	}
	known := map[*graph.Value][2]float64{}
	for _, v := range p.g.Inputs {
		known[v] = [2]float64{input[0], input[1]}
	}
	for _, n := range p.g.Nodes {
		r, ok := p.reach(s, n, known)
		for _, v := range n.Out {
			if ok && v != nil {
				known[v] = r
			}
		}
	}
	ends := map[*graph.Value][2]float64{}
	for _, v := range p.sources() {
		r, ok := known[v]
		if !ok {
			return fmt.Errorf("there are no images to calibrate on, and no normalisation says how far %q reaches; leave its layers out by skip", v.Name)
		}
		e := ends[p.class(v)]
		ends[p.class(v)] = [2]float64{min(e[0], r[0]), max(e[1], r[1])}
	}
	for k, e := range ends {
		p.ranges[k] = grain(e[0], e[1], signed)
	}
	s.Tell(method.Event{Stage: "activations", Message: "no images: ranges are guessed from normalisations, nothing was measured"})
	return nil
}

// reach is the range of a node's outputs.
func (p *placement) reach(s *method.State, n *graph.Node, known map[*graph.Value][2]float64) (r [2]float64, ok bool) {
	if n.Domain != "" || len(n.Out) == 0 || n.Out[0] == nil {
		return r, false
	}
	if norm, has := s.Norms[n.Out[0].Name]; has {
		lo, hi := math.Inf(1), math.Inf(-1)
		for c, m := range norm.Mean {
			lo, hi = min(lo, m-6*norm.Std[c]), max(hi, m+6*norm.Std[c])
		}
		return [2]float64{lo, hi}, lo <= hi && !math.IsInf(hi-lo, 0)
	}
	x, ok := known[n.Input(0)]
	switch {
	case n.Op == "Concat":
		for i, v := range n.In {
			y, has := known[v]
			if i == 0 {
				x = y
			}
			x, ok = [2]float64{min(x[0], y[0]), max(x[1], y[1])}, ok && has
		}
		return x, ok
	case sum(n):
		y, has := known[n.In[1]]
		return [2]float64{x[0] + y[0], x[1] + y[1]}, ok && has
	case pool(n), moved(n) > 0, n.Op == "Pad", n.Op == "Dropout":
		return [2]float64{min(x[0], 0), max(x[1], 0)}, ok
	case ok && (n.Op == "Conv" || n.Op == "Gemm" || n.Op == "MatMul"):
		return unnormed(n, max(-x[0], x[1]))
	case !ok || !function(n):
		return r, false
	}
	switch n.Op {
	case "Relu":
		return [2]float64{max(x[0], 0), max(x[1], 0)}, true
	case "Clip":
		for i, v := range n.In[1:] {
			if b := floats(v); len(b) == 1 {
				if i == 0 {
					x = [2]float64{max(x[0], float64(b[0])), max(x[1], float64(b[0]))}
				} else {
					x = [2]float64{min(x[0], float64(b[0])), min(x[1], float64(b[0]))}
				}
			}
		}
		return x, true
	case "PRelu":
		lo := x[0]
		slope := n.In[1].Tensor()
		if slope.DType != tensor.Float32 {
			return r, false
		}
		for _, f := range tensor.Of[float32](slope) {
			lo = min(lo, x[0]*float64(f))
			x[1] = max(x[1], x[0]*float64(f))
		}
		return [2]float64{lo, x[1]}, true
	case "Sigmoid", "HardSigmoid":
		return [2]float64{0, 1}, true
	case "Tanh", "Softsign":
		return [2]float64{-1, 1}, true
	case "LeakyRelu", "Elu", "Selu", "Celu", "HardSwish", "Swish", "Mish", "Gelu": // none goes far below zero, or above x
		return [2]float64{min(x[0], 0), max(2*x[1], 0)}, true
	}
	return r, false
}

// unnormed is a guess for a product that no normalisation follows: inputs as if they were
// independent, with a deviation of a quarter of how far they reach.
func unnormed(n *graph.Node, far float64) (r [2]float64, ok bool) {
	w, axis := n.Input(1), 0
	if n.Op == "MatMul" || n.Op == "Gemm" && n.Int("transB", 0) == 0 {
		axis = len(w.Type.Shape) - 1
	}
	x := floats(w)
	if x == nil || axis < 0 {
		return r, false
	}
	bias := floats(n.Input(2))
	at := sets{shape: w.Type.Shape, axis: axis}
	for c := range at.count() {
		sq := 0.0
		at.each(c, func(i int) { sq += float64(x[i]) * float64(x[i]) })
		y := 6 * far / 4 * math.Sqrt(sq)
		b := 0.0
		if len(bias) == at.count() {
			b = float64(bias[c])
		}
		r = [2]float64{min(r[0], b-y), max(r[1], b+y)}
	}
	return r, true
}
