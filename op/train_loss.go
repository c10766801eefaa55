package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// whit.SoftmaxXent is the training loss of classifiers. Inputs: logits [N,C],
// labels int32 [N] (a negative label: the sample does not count, unless alpha is 1 and labels
// say nothing), and optionally soft targets [N,C]. With p = softmax(logits) and M the number of samples that count:
//
//	t      = (1-alpha)·((1-smoothing)·onehot(label) + smoothing/C) + alpha·soft
//	each_i = -Σ_c t_ic·log p_ic          loss = Σ_i each_i / M
//
// Outputs: loss (a scalar, 0 where M is 0) and each [N]. Attributes: smoothing
// (0..1, default 0), alpha (0..1, default 0; used only with soft targets). Label
// smoothing is from C. Szegedy and others: Rethinking the Inception Architecture,
// 2016, section 7. A label ≥ C is an error.
func init() {
	Register(Op{
		Domain: graph.Domain, Name: "SoftmaxXent",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			x, err := inferXent(n, 2, 3)
			if err != nil {
				return nil, err
			}
			return []tensor.Type{{DType: x.DType}, {DType: x.DType, Shape: tensor.Shape{x.Shape[0]}}}, nil
		},
		Ref: refXent,
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			in := []*graph.Value{n.In[0], n.In[1], n.Input(2), grads[0], nil}
			if len(grads) > 1 {
				in[4] = grads[1]
			}
			d := make([]*graph.Value, len(n.In))
			d[0] = g.Add(graph.Domain, "SoftmaxXentGrad", n.Attrs, in...)
			return d, nil
		},
		Cost: func(n *graph.Node) (macs, bytes int64) {
			return 16 * int64(n.In[0].Type.Shape.NumElements()), IOBytes(n)
		},
	})
	// SoftmaxXentGrad is the gradient with respect to the logits. Inputs: logits,
	// labels, soft targets (optional), dloss (a scalar, optional), deach [N]
	// (optional). dlogits_ic = (dloss/M + deach_i)·(p_ic·Σ_k t_ik - t_ic).
	Register(Op{
		Domain: graph.Domain, Name: "SoftmaxXentGrad",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			x, err := inferXent(n, 2, 5)
			if err != nil {
				return nil, err
			}
			if v := n.Input(3); v != nil && (v.Type.DType != x.DType || v.Type.Shape.NumElements() != 1) {
				return nil, Errorf(n, "dloss is %v, want one %v", v.Type, x.DType)
			}
			if v := n.Input(4); v != nil && !v.Type.Equal(tensor.Type{DType: x.DType, Shape: x.Shape[:1]}) {
				return nil, Errorf(n, "deach is %v, want %v[%d]", v.Type, x.DType, x.Shape[0])
			}
			return []tensor.Type{x}, nil
		},
		Ref: refXentGrad,
		Cost: func(n *graph.Node) (macs, bytes int64) {
			return 16 * int64(n.In[0].Type.Shape.NumElements()), IOBytes(n)
		},
	})
}

func inferXent(n *graph.Node, min, max int) (tensor.Type, error) {
	if len(n.In) < min || len(n.In) > max || n.In[0] == nil || n.In[1] == nil {
		return tensor.Type{}, Errorf(n, "%d inputs, want %d to %d", len(n.In), min, max)
	}
	x, y := n.In[0].Type, n.In[1].Type
	if !x.DType.IsFloat() || x.DType.Bits() < 16 {
		return x, Unsupported(n, "logits are %v, want a float", x.DType)
	}
	if len(x.Shape) != 2 || x.Shape[1] < 1 {
		return x, Errorf(n, "logits have shape %v, want [N,C]", x.Shape)
	}
	if y.DType != tensor.Int32 || !y.Shape.Equal(x.Shape[:1]) {
		return x, Errorf(n, "labels are %v, want int32[%d]", y, x.Shape[0])
	}
	if s := n.Input(2); s != nil && !s.Type.Equal(x) {
		return x, Errorf(n, "soft targets are %v, want %v", s.Type, x)
	}
	for _, a := range []string{"smoothing", "alpha"} {
		if v := n.Float(a, 0); !(v >= 0 && v <= 1) {
			return x, Errorf(n, "%s %v, want 0 to 1", a, v)
		}
	}
	return x, nil
}

// xentRow fills p with softmax(x) and t with the target of one sample, and gives
// Σt and the loss. The row's soft targets may be nil.
func xentRow(n *graph.Node, x []float64, label int32, soft, p, t []float64) (sumT, loss float64) {
	m := math.Inf(-1)
	for _, v := range x {
		m = max(m, v)
	}
	var z float64
	for i, v := range x {
		p[i] = math.Exp(v - m)
		z += p[i]
	}
	lz := m + math.Log(z)
	s, a := float64(n.Float("smoothing", 0)), float64(n.Float("alpha", 0))
	if soft == nil {
		a = 0
	}
	for i := range x {
		p[i] /= z
		t[i] = (1 - a) * s / float64(len(x))
		if i == int(label) {
			t[i] += (1 - a) * (1 - s)
		}
		if soft != nil {
			t[i] += a * soft[i]
		}
		sumT += t[i]
		loss += t[i] * (lz - x[i])
	}
	return sumT, loss
}

// xentCount is the number of samples that count, at least 1, and whether those without a label do.
func xentCount(n *graph.Node, labels []int32, classes int, soft []float64) (float64, bool, error) {
	all := soft != nil && n.Float("alpha", 0) == 1
	m := 0
	for i, l := range labels {
		if int(l) >= classes {
			return 0, false, Errorf(n, "label %d of sample %d, the logits have %d classes", l, i, classes)
		}
		if all || l >= 0 {
			m++
		}
	}
	return float64(max(1, m)), all, nil
}

func softRow(soft []float64, i, c int) []float64 {
	if soft == nil {
		return nil
	}
	return soft[i*c : (i+1)*c]
}

func input(in []*tensor.Tensor, i int) *tensor.Tensor {
	if i < len(in) {
		return in[i]
	}
	return nil
}

func refXent(n *graph.Node, in, out []*tensor.Tensor) error {
	x, labels, soft := wide(in[0]), tensor.Of[int32](in[1]), wide(input(in, 2))
	c := in[0].Shape[1]
	m, all, err := xentCount(n, labels, c, soft)
	if err != nil {
		return err
	}
	p, t, each := make([]float64, c), make([]float64, c), make([]float64, len(labels))
	var sum float64
	for i, l := range labels {
		if all || l >= 0 {
			_, each[i] = xentRow(n, x[i*c:(i+1)*c], l, softRow(soft, i, c), p, t)
			sum += each[i]
		}
	}
	narrow(out[0], []float64{sum / m})
	if len(out) > 1 {
		narrow(out[1], each)
	}
	return nil
}

func refXentGrad(n *graph.Node, in, out []*tensor.Tensor) error {
	x, labels, soft := wide(in[0]), tensor.Of[int32](in[1]), wide(input(in, 2))
	dloss, deach := wide(input(in, 3)), wide(input(in, 4))
	c := in[0].Shape[1]
	m, all, err := xentCount(n, labels, c, soft)
	if err != nil {
		return err
	}
	p, t, dx := make([]float64, c), make([]float64, c), make([]float64, len(x))
	for i, l := range labels {
		if !all && l < 0 {
			continue
		}
		var w float64
		if dloss != nil {
			w = dloss[0] / m
		}
		if deach != nil {
			w += deach[i]
		}
		sumT, _ := xentRow(n, x[i*c:(i+1)*c], l, softRow(soft, i, c), p, t)
		for k := range c {
			dx[i*c+k] = w * (p[k]*sumT - t[k])
		}
	}
	narrow(out[0], dx)
	return nil
}
