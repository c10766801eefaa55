package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// The losses compare x [N,C,...] with the classes labels [N,...], int32 or int64:
//
//	NegativeLogLikelihoodLoss  l = -w[label]·x[n,label,...], x being log-probabilities
//	SoftmaxCrossEntropyLoss    the same on LogSoftmax(x) over axis 1, which is output 1
//
// with the optional weights w [C]. Labels equal to the attribute ignore_index count
// for nothing; other labels out of range are errors. reduction "none" gives [N,...],
// "sum" the sum, "mean" (the default) the sum divided by the sum of the weights that counted.
func init() {
	Register(Op{Name: "NegativeLogLikelihoodLoss", Infer: inferLoss(1), Ref: refLoss(false), VJP: vjpLoss})
	Register(Op{Name: "SoftmaxCrossEntropyLoss", Infer: inferLoss(2), Ref: refLoss(true), VJP: vjpLoss})
	// The gradients have inputs dloss, x (of the first only the type is used), labels and
	// perhaps w, and the attributes of the loss; the output is dx.
	Register(Op{Domain: graph.Domain, Name: "NegativeLogLikelihoodLossGrad", Infer: inferLossGrad, Ref: refLossGrad(false)})
	Register(Op{Domain: graph.Domain, Name: "SoftmaxCrossEntropyLossGrad", Infer: inferLossGrad, Ref: refLossGrad(true)})
}

// lossType checks x, labels and weights, which begin at input first, and gives the
// type of the loss.
func lossType(n *graph.Node, first int) (tensor.Type, error) {
	var none tensor.Type
	x, l := n.In[first].Type, n.In[first+1].Type
	if !x.DType.IsFloat() || l.DType != tensor.Int32 && l.DType != tensor.Int64 {
		return none, Unsupported(n, "x is %v and labels %v, want a float and int32 or int64", x.DType, l.DType)
	}
	if len(x.Shape) < 2 || !l.Shape.Equal(append(x.Shape[:1:1], x.Shape[2:]...)) {
		return none, Errorf(n, "x has shape %v, labels %v: want [N,C,...] and [N,...]", x.Shape, l.Shape)
	}
	if w := n.Input(first + 2); w != nil {
		if w.Type.DType != x.DType || !w.Type.Shape.Equal(x.Shape[1:2]) {
			return none, Errorf(n, "weights are %v, want %v[%d]", w.Type, x.DType, x.Shape[1])
		}
	}
	switch r := n.Str("reduction", "mean"); r {
	case "none":
		return tensor.Type{DType: x.DType, Shape: l.Shape}, nil
	case "mean", "sum":
		return tensor.Type{DType: x.DType, Shape: tensor.Shape{}}, nil
	default:
		return none, Errorf(n, "reduction %q is not known", r)
	}
}

func inferLoss(outputs int) func(*graph.Node) ([]tensor.Type, error) {
	return func(n *graph.Node) ([]tensor.Type, error) {
		if err := Want(n, 2, 3); err != nil {
			return nil, err
		}
		if d := n.In[0].Type.DType; d.Bits() < 16 {
			return nil, Unsupported(n, "x is %v", d)
		}
		t, err := lossType(n, 0)
		return []tensor.Type{t, n.In[0].Type}[:outputs], err
	}
}

func inferLossGrad(n *graph.Node) ([]tensor.Type, error) {
	if err := Want(n, 3, 4); err != nil {
		return nil, err
	}
	if d := n.In[1].Type.DType; d.Bits() < 16 {
		return nil, Unsupported(n, "x is %v", d)
	}
	t, err := lossType(n, 1)
	if err != nil {
		return nil, err
	}
	if !n.In[0].Type.Equal(t) {
		return nil, Errorf(n, "dloss is %v, want %v", n.In[0].Type, t)
	}
	return []tensor.Type{n.In[1].Type}, nil
}

// lossWeights gives for every label its place in x [N,C,inner], -1 where it is
// ignored, and its weight; total is their sum.
func lossWeights(n *graph.Node, x, labels, weights *tensor.Tensor) (at []int, w []float64, total float64, err error) {
	c, inner := x.Shape[1], x.Shape[2:].NumElements()
	at, w = make([]int, labels.Len()), make([]float64, labels.Len())
	given := wide(weights)
	ignore, ignores := n.Attrs["ignore_index"].(int64)
	for i := range at {
		var label int64
		if labels.DType == tensor.Int32 {
			label = int64(tensor.Of[int32](labels)[i])
		} else {
			label = tensor.Of[int64](labels)[i]
		}
		if ignores && label == ignore {
			at[i] = -1
			continue
		}
		if label < 0 || label >= int64(c) {
			return nil, nil, 0, Errorf(n, "label %d is %d, there are %d classes", i, label, c)
		}
		at[i] = (i/inner*c+int(label))*inner + i%inner
		w[i] = 1
		if given != nil {
			w[i] = given[label]
		}
		total += w[i]
	}
	return at, w, total, nil
}

// logSoftmax1 is LogSoftmax over axis 1 of x [N,C,inner].
func logSoftmax1(x []float64, s tensor.Shape) []float64 {
	y, c, inner := make([]float64, len(x)), s[1], s[2:].NumElements()
	if len(x) == 0 {
		return y
	}
	for p := range s[0] * inner {
		start := p/inner*c*inner + p%inner
		top, log := shiftedLog(x, start, inner, c)
		for k := range c {
			y[start+k*inner] = x[start+k*inner] - top - log
		}
	}
	return y
}

func refLoss(softmax bool) ref {
	return func(n *graph.Node, in, out []*tensor.Tensor) error {
		var weights *tensor.Tensor
		if len(in) > 2 {
			weights = in[2]
		}
		x := wide(in[0])
		if softmax {
			x = logSoftmax1(x, in[0].Shape)
			if len(out) > 1 {
				narrow(out[1], x)
			}
		}
		at, w, total, err := lossWeights(n, in[0], in[1], weights)
		if err != nil || out[0] == nil {
			return err
		}
		loss := make([]float64, len(at))
		var sum float64
		for i, k := range at {
			if k >= 0 {
				loss[i] = -w[i] * x[k]
				sum += loss[i]
			}
		}
		switch n.Str("reduction", "mean") {
		case "none":
			narrow(out[0], loss)
		case "sum":
			narrow(out[0], []float64{sum})
		default:
			narrow(out[0], []float64{sum / total})
		}
		return nil
	}
}

func refLossGrad(softmax bool) ref {
	return func(n *graph.Node, in, out []*tensor.Tensor) error {
		var weights *tensor.Tensor
		if len(in) > 3 {
			weights = in[3]
		}
		at, w, total, err := lossWeights(n, in[1], in[2], weights)
		if err != nil {
			return err
		}
		dl, dx := wide(in[0]), make([]float64, in[1].Len())
		c, inner := in[1].Shape[1], in[1].Shape[2:].NumElements()
		var p []float64
		if softmax {
			p = logSoftmax1(wide(in[1]), in[1].Shape)
		}
		for i, k := range at {
			if k < 0 {
				continue
			}
			f := w[i]
			switch n.Str("reduction", "mean") {
			case "none":
				f *= dl[i]
			case "sum":
				f *= dl[0]
			default:
				f *= dl[0] / total
			}
			if softmax {
				start := i/inner*c*inner + i%inner
				for j := range c {
					dx[start+j*inner] = f * math.Exp(p[start+j*inner])
				}
			}
			dx[k] -= f
		}
		narrow(out[0], dx)
		return nil
	}
}

func vjpLoss(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
	d := make([]*graph.Value, len(n.In))
	if grads[0] != nil {
		attrs := map[string]any{"reduction": n.Str("reduction", "mean")}
		if v, ok := n.Attrs["ignore_index"]; ok {
			attrs["ignore_index"] = v
		}
		d[0] = g.Add(graph.Domain, n.Op+"Grad", attrs, append([]*graph.Value{grads[0]}, n.In...)...)
	}
	if len(grads) > 1 && grads[1] != nil { // through log_prob
		v := g.Add(graph.Domain, "LogSoftmaxGrad", map[string]any{"axis": int64(1)}, grads[1], n.Out[1])
		if d[0] != nil {
			v = g.Add("", "Add", nil, d[0], v)
		}
		d[0] = v
	}
	return d, nil
}
