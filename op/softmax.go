package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// The softmax family works along axis (default -1) of an x of any shape.
func init() {
	// Softmax is y = exp(x) / Σ exp(x), computed as exp(x - max x).
	Register(Op{
		Name: "Softmax", Infer: inferAlong(1), Ref: refSoftmax, Channels: passAround,
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			return []*graph.Value{g.Add(graph.Domain, "SoftmaxGrad", axisAttr(n), grads[0], n.Out[0])}, nil
		},
	})
	// SoftmaxGrad is dx = y·(dy - Σ dy·y): inputs dy and y.
	Register(Op{Domain: graph.Domain, Name: "SoftmaxGrad", Infer: inferAlong(2), Ref: refSoftmaxGrad})
	// LogSoftmax is y = x - log Σ exp(x).
	Register(Op{
		Name: "LogSoftmax", Infer: inferAlong(1), Ref: refLogSoftmax, Channels: passAround,
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			return []*graph.Value{g.Add(graph.Domain, "LogSoftmaxGrad", axisAttr(n), grads[0], n.Out[0])}, nil
		},
	})
	// LogSoftmaxGrad is dx = dy - exp(y)·Σ dy: inputs dy and y.
	Register(Op{Domain: graph.Domain, Name: "LogSoftmaxGrad", Infer: inferAlong(2), Ref: refLogSoftmaxGrad})
	// Hardmax is 1 at the first largest element, 0 elsewhere.
	Register(Op{Name: "Hardmax", Infer: inferAlong(1), Ref: refHardmax, Channels: passAround})
}

func axisAttr(n *graph.Node) map[string]any { return map[string]any{"axis": n.Int("axis", -1)} }

// inferAlong is the type rule of operators of k inputs of one type that work along axis.
func inferAlong(k int) func(*graph.Node) ([]tensor.Type, error) {
	same := sameAsInput(k, Floats)
	return func(n *graph.Node) ([]tensor.Type, error) {
		ts, err := same(n)
		if err != nil {
			return nil, err
		}
		_, err = axisOf(n, -1, max(1, len(ts[0].Shape)))
		return ts, err
	}
}

// axisOf is the attribute axis, or def where it is absent, as 0..rank-1; negative
// axes count from the end.
func axisOf(n *graph.Node, def int64, rank int) (int, error) {
	a := n.Int("axis", def)
	if a < -int64(rank) || a >= int64(rank) {
		return 0, Errorf(n, "axis %d is out of range for rank %d", a, rank)
	}
	if a < 0 {
		a += int64(rank)
	}
	return int(a), nil
}

// passAround couples every axis but the operator's own.
func passAround(n *graph.Node) []Coupling {
	var cs []Coupling
	r := len(n.In[0].Type.Shape)
	axis, _ := axisOf(n, -1, r)
	for _, c := range passChannels(n) {
		if c.From.Axis != axis {
			cs = append(cs, c)
		}
	}
	return cs
}

// lines calls f for every line along axis of a tensor of that shape: element i of
// the line is at start + i·stride. A scalar is a line of one.
func lines(n *graph.Node, s tensor.Shape, f func(start, stride, length int)) {
	axis, _ := axisOf(n, -1, len(s))
	length, stride := 1, 1
	if len(s) > 0 {
		length, stride = s[axis], s[axis+1:].NumElements()
	}
	if s.NumElements() == 0 {
		return
	}
	for o := range s.NumElements() / (length * stride) {
		for i := range stride {
			f(o*length*stride+i, stride, length)
		}
	}
}

// shiftedLog is max x and log Σ exp(x - max x) of a line.
func shiftedLog(x []float64, start, stride, length int) (top, log float64) {
	top = math.Inf(-1)
	for i := range length {
		top = math.Max(top, x[start+i*stride])
	}
	var sum float64
	for i := range length {
		sum += math.Exp(x[start+i*stride] - top)
	}
	return top, math.Log(sum)
}

func refSoftmax(n *graph.Node, in, out []*tensor.Tensor) error {
	x, y := wide(in[0]), make([]float64, in[0].Len())
	lines(n, in[0].Shape, func(start, stride, length int) {
		top, sum := math.Inf(-1), 0.0
		for i := range length {
			top = math.Max(top, x[start+i*stride])
		}
		for i := range length {
			k := start + i*stride
			y[k] = math.Exp(x[k] - top)
			sum += y[k]
		}
		for i := range length {
			y[start+i*stride] /= sum
		}
	})
	narrow(out[0], y)
	return nil
}

func refSoftmaxGrad(n *graph.Node, in, out []*tensor.Tensor) error {
	dy, y, dx := wide(in[0]), wide(in[1]), make([]float64, in[0].Len())
	lines(n, in[0].Shape, func(start, stride, length int) {
		var sum float64
		for i := range length {
			sum += dy[start+i*stride] * y[start+i*stride]
		}
		for i := range length {
			k := start + i*stride
			dx[k] = y[k] * (dy[k] - sum)
		}
	})
	narrow(out[0], dx)
	return nil
}

func refLogSoftmax(n *graph.Node, in, out []*tensor.Tensor) error {
	x, y := wide(in[0]), make([]float64, in[0].Len())
	lines(n, in[0].Shape, func(start, stride, length int) {
		top, log := shiftedLog(x, start, stride, length)
		for i := range length {
			k := start + i*stride
			y[k] = x[k] - top - log
		}
	})
	narrow(out[0], y)
	return nil
}

func refLogSoftmaxGrad(n *graph.Node, in, out []*tensor.Tensor) error {
	dy, y, dx := wide(in[0]), wide(in[1]), make([]float64, in[0].Len())
	lines(n, in[0].Shape, func(start, stride, length int) {
		var sum float64
		for i := range length {
			sum += dy[start+i*stride]
		}
		for i := range length {
			k := start + i*stride
			dx[k] = dy[k] - math.Exp(y[k])*sum
		}
	})
	narrow(out[0], dx)
	return nil
}

func refHardmax(n *graph.Node, in, out []*tensor.Tensor) error {
	x, y := wide(in[0]), make([]float64, in[0].Len())
	lines(n, in[0].Shape, func(start, stride, length int) {
		best := start
		for i := range length {
			if k := start + i*stride; x[k] > x[best] {
				best = k
			}
		}
		y[best] = 1
	})
	narrow(out[0], y)
	return nil
}
