package op

import (
	"maps"
	"math"

	"whit/graph"
	"whit/tensor"
)

func init() {
	// LRN is local response normalization across the channels of x [N,C,...]
	// (Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional
	// Neural Networks, 2012, section 3.3): y = x / (bias + alpha/size·Σ x²)^beta, the
	// sum over the size channels around, fewer at the borders.
	Register(Op{
		Name: "LRN", Infer: inferLRN(1), Ref: refLRN,
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			return []*graph.Value{g.Add(graph.Domain, "LRNGrad", maps.Clone(n.Attrs), grads[0], n.In[0])}, nil
		},
	})
	// LRNGrad has inputs dy and x, and the attributes of the LRN.
	Register(Op{Domain: graph.Domain, Name: "LRNGrad", Infer: inferLRN(2), Ref: refLRNGrad})
	// LpNormalization is x divided by its p-norm (p 1 or 2) along axis; 0 where that is 0.
	Register(Op{
		Name: "LpNormalization", Infer: inferLpNorm(1), Ref: refLpNorm, Channels: passAround,
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			return []*graph.Value{g.Add(graph.Domain, "LpNormalizationGrad", maps.Clone(n.Attrs), grads[0], n.In[0])}, nil
		},
	})
	// LpNormalizationGrad has inputs dy and x, and the attributes of the
	// LpNormalization; it is 0 where the norm is.
	Register(Op{Domain: graph.Domain, Name: "LpNormalizationGrad", Infer: inferLpNorm(2), Ref: refLpNormGrad})
}

func inferLRN(inputs int) func(*graph.Node) ([]tensor.Type, error) {
	same := sameAsInput(inputs, Floats)
	return func(n *graph.Node) ([]tensor.Type, error) {
		ts, err := same(n)
		if err == nil && (len(ts[0].Shape) < 2 || n.Int("size", 0) < 1) {
			err = Errorf(n, "x %v, size %d: want at least two axes and a size of at least 1", ts[0].Shape, n.Int("size", 0))
		}
		return ts, err
	}
}

func inferLpNorm(inputs int) func(*graph.Node) ([]tensor.Type, error) {
	along := inferAlong(inputs)
	return func(n *graph.Node) ([]tensor.Type, error) {
		if p := n.Int("p", 2); p != 1 && p != 2 {
			return nil, Errorf(n, "p is %d, want 1 or 2", p)
		}
		return along(n)
	}
}

// lrnSums gives for every element of x [N,C,...] bias + alpha/size·Σ x² over the
// channels around it, and how many channels that is before and after.
func lrnSums(n *graph.Node, x []float64, s tensor.Shape) (sums []float64, before, after int) {
	size, c, inner := n.Int("size", 1), s[1], s[2:].NumElements()
	before, after = int(min((size-1)/2, int64(c))), int(min(size/2, int64(c)))
	sums = make([]float64, len(x))
	for i := range x {
		at := i / inner % c
		for k := max(0, at-before); k <= min(c-1, at+after); k++ {
			v := x[i+(k-at)*inner]
			sums[i] += v * v
		}
		sums[i] = float64(n.Float("bias", 1)) + float64(n.Float("alpha", 1e-4))/float64(size)*sums[i]
	}
	return sums, before, after
}

func refLRN(n *graph.Node, in, out []*tensor.Tensor) error {
	x, beta := wide(in[0]), float64(n.Float("beta", .75))
	y := make([]float64, len(x))
	sums, _, _ := lrnSums(n, x, in[0].Shape)
	for i, v := range x {
		y[i] = v / math.Pow(sums[i], beta)
	}
	narrow(out[0], y)
	return nil
}

func refLRNGrad(n *graph.Node, in, out []*tensor.Tensor) error {
	dy, x, beta := wide(in[0]), wide(in[1]), float64(n.Float("beta", .75))
	dx, s := make([]float64, len(x)), in[1].Shape
	sums, before, after := lrnSums(n, x, s)
	c, inner := s[1], s[2:].NumElements()
	f := 2 * beta * float64(n.Float("alpha", 1e-4)) / float64(n.Int("size", 1))
	for i, v := range x {
		dx[i] += dy[i] / math.Pow(sums[i], beta)
		at, d := i/inner%c, f*dy[i]*v/math.Pow(sums[i], beta+1)
		for k := max(0, at-before); k <= min(c-1, at+after); k++ {
			j := i + (k-at)*inner
			dx[j] -= d * x[j]
		}
	}
	narrow(out[0], dx)
	return nil
}

// lpNorm is the p-norm of a line of x.
func lpNorm(n *graph.Node, x []float64, start, stride, length int) float64 {
	var sum float64
	square := n.Int("p", 2) == 2
	for i := range length {
		v := x[start+i*stride]
		if square {
			sum += v * v
		} else {
			sum += math.Abs(v)
		}
	}
	if square {
		return math.Sqrt(sum)
	}
	return sum
}

func refLpNorm(n *graph.Node, in, out []*tensor.Tensor) error {
	x, y := wide(in[0]), make([]float64, in[0].Len())
	lines(n, in[0].Shape, func(start, stride, length int) {
		if norm := lpNorm(n, x, start, stride, length); norm != 0 {
			for i := range length {
				y[start+i*stride] = x[start+i*stride] / norm
			}
		}
	})
	narrow(out[0], y)
	return nil
}

func refLpNormGrad(n *graph.Node, in, out []*tensor.Tensor) error {
	dy, x, dx := wide(in[0]), wide(in[1]), make([]float64, in[1].Len())
	lines(n, in[1].Shape, func(start, stride, length int) {
		norm := lpNorm(n, x, start, stride, length)
		if norm == 0 {
			return
		}
		var dot float64
		for i := range length {
			dot += dy[start+i*stride] * x[start+i*stride]
		}
		for i := range length {
			k := start + i*stride
			along := x[k] / norm // the gradient of the norm
			if n.Int("p", 2) == 1 {
				along = 0
				if x[k] != 0 {
					along = math.Copysign(1, x[k])
				}
			}
			dx[k] = (dy[k] - along*dot/norm) / norm
		}
	})
	narrow(out[0], dx)
	return nil
}
