package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// The operators that write variables. They have no outputs; their place in the
// list of nodes is when they happen. Element types are float32 and float64, one
// for all inputs of a node; arithmetic is in that type, every product rounded on
// its own, in the order of the formulas, so that kernels give the same bits.
//
// hyper, an input of the optimisers, is [lr, c1, c2, ema]: the learning rate,
// Adam's bias corrections 1/(1-beta1^t) and 1/(1-beta2^t), and the step of the
// moving average of the weights.
//
// Their common attributes: scale (a factor on lr, default 1), decay (decoupled
// weight decay), l2 and l1 (coefficients of ½·l2·|p|² and l1·|p|₁, whose gradients
// are added). In the formulas g' = (g + l2·p) + l1·sign(p). Numbers of no account are
// set to 0, because arithmetic on denormal numbers is slow: Adam's g' below 1e-16,
// moments and buffers below 1e-30 in size.
func init() {
	// Assign is variable = value: inputs variable and value, of one type.
	Register(Op{
		Domain: graph.Domain, Name: "Assign",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if len(n.In) != 2 || n.In[0] == nil || n.In[1] == nil || !n.In[0].Type.Equal(n.In[1].Type) {
				return nil, Errorf(n, "want a variable and a value of its type")
			}
			return nil, writable(n, 0)
		},
		Ref: func(_ *graph.Node, in, _ []*tensor.Tensor) error {
			copy(in[0].Bytes(), in[1].Bytes()[:in[1].NumBytes()])
			return nil
		},
		Writes: []int{0},
	})
	// EMA is e = e + step·(p - e): inputs e, p, and step, one element.
	Register(Op{
		Domain: graph.Domain, Name: "EMA",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if len(n.In) != 3 {
				return nil, Errorf(n, "%d inputs, want 3", len(n.In))
			}
			return nil, updateTypes(n, 2, 1, 0)
		},
		Ref:    typed(refEMA[float32], refEMA[float64]),
		Writes: []int{0},
	})
	// SGD is stochastic gradient descent with momentum. Inputs: p, g, buf (absent
	// without momentum), hyper, and e (optional), the moving average of p.
	// Attributes momentum and nesterov (0 or 1), and the common ones.
	//
	//	buf = momentum·buf + g'      d = nesterov ? g' + momentum·buf : buf
	//	p   = p - lr·scale·(d + decay·p)          e = e + ema·(p - e)
	//
	// (I. Sutskever, J. Martens, G. Dahl, G. Hinton: On the importance of
	// initialization and momentum in deep learning, 2013, with the learning rate
	// outside of the buffer as in most frameworks.)
	Register(Op{
		Domain: graph.Domain, Name: "SGD",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if len(n.In) < 4 || len(n.In) > 5 {
				return nil, Errorf(n, "%d inputs, want 4 or 5", len(n.In))
			}
			if (n.Input(2) == nil) != (n.Float("momentum", 0) == 0) {
				return nil, Errorf(n, "a buffer goes with momentum")
			}
			return nil, updateTypes(n, 3, 4, 0, 2, 4)
		},
		Ref:    typed(refSGD[float32], refSGD[float64]),
		Writes: []int{0, 2, 4},
		Cost:   updateCost,
	})
	// AdamW is Adam with decoupled weight decay. Inputs: p, g, m, v, hyper, and e
	// (optional), the moving average of p. Attributes beta1 (default 0.9), beta2
	// (0.999), epsilon (1e-8), and the common ones.
	//
	//	m = beta1·m + (1-beta1)·g'   v = beta2·v + (1-beta2)·(g'·g')
	//	p = p - lr·scale·(m·c1/(√(v·c2) + epsilon) + decay·p)        e = e + ema·(p - e)
	//
	// (D. P. Kingma, J. Ba: Adam, 2015, algorithm 1; I. Loshchilov, F. Hutter:
	// Decoupled Weight Decay Regularization, 2019, algorithm 2.)
	Register(Op{
		Domain: graph.Domain, Name: "AdamW",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if len(n.In) < 5 || len(n.In) > 6 {
				return nil, Errorf(n, "%d inputs, want 5 or 6", len(n.In))
			}
			if n.In[2] == nil || n.In[3] == nil {
				return nil, Errorf(n, "a moment is missing")
			}
			return nil, updateTypes(n, 4, 4, 0, 2, 3, 5)
		},
		Ref:    typed(refAdamW[float32], refAdamW[float64]),
		Writes: []int{0, 2, 3, 5},
		Cost:   updateCost,
	})
}

func updateCost(n *graph.Node) (macs, bytes int64) {
	return 10 * int64(n.In[0].Type.Shape.NumElements()), IOBytes(n)
}

// typed is a reference for float32 and float64 without detours: variables are
// written where they are.
func typed(f32, f64 ref) ref {
	return func(n *graph.Node, in, out []*tensor.Tensor) error {
		if in[0].DType == tensor.Float64 {
			return f64(n, in, out)
		}
		return f32(n, in, out)
	}
}

// writable checks that the inputs listed, where present, are not constants.
func writable(n *graph.Node, inputs ...int) error {
	for _, i := range inputs {
		if v := n.Input(i); v != nil && v.Producer != nil {
			return Errorf(n, "input %d (%q) is written, but is a %v", i, v.Name, v.Kind)
		}
	}
	return nil
}

// updateTypes checks an update's inputs: hyper is a vector of at least length
// elements, all others that are present have input 0's type; writes are variables.
func updateTypes(n *graph.Node, hyper, length int, writes ...int) error {
	for i, v := range n.In {
		if v == nil {
			if i < 2 || i == hyper {
				return Errorf(n, "input %d is missing", i)
			}
			continue
		}
		p := n.In[0].Type
		if p.DType != tensor.Float32 && p.DType != tensor.Float64 {
			return Unsupported(n, "variable of type %v", p.DType)
		}
		if i == hyper {
			if v.Type.DType != p.DType || v.Type.Shape.NumElements() < length {
				return Errorf(n, "input %d is %v, want at least %d %v", i, v.Type, length, p.DType)
			}
		} else if !v.Type.Equal(p) {
			return Errorf(n, "input %d is %v, the variable %v", i, v.Type, p)
		}
	}
	return writable(n, writes...)
}

func ofOrNil[T Float](in []*tensor.Tensor, i int) []T {
	if t := input(in, i); t != nil {
		return tensor.Of[T](t)
	}
	return nil
}

func refEMA[T Float](_ *graph.Node, in, _ []*tensor.Tensor) error {
	e, p, s := tensor.Of[T](in[0]), tensor.Of[T](in[1]), tensor.Of[T](in[2])[0]
	for i := range e {
		e[i] += T(s * (p[i] - e[i]))
	}
	return nil
}

// penalised is g' = (g + l2·p) + l1·sign(p).
func penalised[T Float](g, p, l2, l1 T) T {
	g += T(l2 * p)
	if p > 0 {
		g += l1
	} else if p < 0 {
		g -= l1
	}
	return g
}

const (
	tinyGrad   = 1e-16
	tinyMoment = 1e-30
)

// tiny is x, or 0 where its size is below limit.
func tiny[T Float](x, limit T) T {
	if x < limit && x > -limit {
		return 0
	}
	return x
}

func refSGD[T Float](n *graph.Node, in, _ []*tensor.Tensor) error {
	p, g, buf, hyper, e := tensor.Of[T](in[0]), tensor.Of[T](in[1]), ofOrNil[T](in, 2), tensor.Of[T](in[3]), ofOrNil[T](in, 4)
	mom, nesterov := T(n.Float("momentum", 0)), n.Int("nesterov", 0) != 0
	decay, l2, l1 := T(n.Float("decay", 0)), T(n.Float("l2", 0)), T(n.Float("l1", 0))
	lr := hyper[0] * T(n.Float("scale", 1))
	for i := range p {
		d := penalised(g[i], p[i], l2, l1)
		if buf != nil {
			b := tiny(T(mom*buf[i])+d, tinyMoment)
			buf[i] = b
			if nesterov {
				d += T(mom * b)
			} else {
				d = b
			}
		}
		p[i] -= T(lr * (d + T(decay*p[i])))
		if e != nil {
			e[i] += T(hyper[3] * (p[i] - e[i]))
		}
	}
	return nil
}

func refAdamW[T Float](n *graph.Node, in, _ []*tensor.Tensor) error {
	p, g, m, v, hyper, e := tensor.Of[T](in[0]), tensor.Of[T](in[1]), tensor.Of[T](in[2]), tensor.Of[T](in[3]), tensor.Of[T](in[4]), ofOrNil[T](in, 5)
	b1, b2, eps := T(n.Float("beta1", 0.9)), T(n.Float("beta2", 0.999)), T(n.Float("epsilon", 1e-8))
	decay, l2, l1 := T(n.Float("decay", 0)), T(n.Float("l2", 0)), T(n.Float("l1", 0))
	lr, c1, c2 := hyper[0]*T(n.Float("scale", 1)), hyper[1], hyper[2]
	for i := range p {
		d := tiny(penalised(g[i], p[i], l2, l1), tinyGrad)
		m[i] = tiny(T(b1*m[i])+T((1-b1)*d), tinyMoment)
		v[i] = tiny(T(b2*v[i])+T((1-b2)*T(d*d)), tinyMoment)
		step := T(m[i]*c1) / (T(math.Sqrt(float64(T(v[i]*c2)))) + eps)
		p[i] -= T(lr * (step + T(decay*p[i])))
		if e != nil {
			e[i] += T(hyper[3] * (p[i] - e[i]))
		}
	}
	return nil
}

// GradSum is the sum of its inputs, of one type, from the first to the last in
// that type: the gradient of a value that several nodes read.
func init() {
	Register(Op{
		Domain: graph.Domain, Name: "GradSum",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if len(n.In) == 0 {
				return nil, Errorf(n, "no inputs")
			}
			return sameAsInput(len(n.In), Floats)(n)
		},
		Ref: float(refGradSum[float32], refGradSum[float64]),
		VJP: func(_ *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			d := make([]*graph.Value, len(n.In))
			for i := range d {
				d[i] = grads[0]
			}
			return d, nil
		},
	})
}

func refGradSum[T Float](_ *graph.Node, in, out []*tensor.Tensor) error {
	y := tensor.Of[T](out[0])
	copy(y, tensor.Of[T](in[0]))
	for _, t := range in[1:] {
		for i, v := range tensor.Of[T](t) {
			y[i] += v
		}
	}
	return nil
}
