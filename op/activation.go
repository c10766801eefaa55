package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// The activations, elementwise on floats. float32 and narrower are computed in
// float64 and rounded once. Each but those that say otherwise has a gradient
// operator whit.<Name>Grad with inputs dy and x.
func init() {
	type fn = func(float64) float64
	fixed := func(f, d fn) func(*graph.Node) (fn, fn) {
		return func(*graph.Node) (fn, fn) { return f, d }
	}

	// LeakyRelu: x, or alpha·x where x < 0.
	activation("LeakyRelu", func(n *graph.Node) (fn, fn) {
		a := float64(n.Float("alpha", 0.01))
		return func(x float64) float64 { return pick(x < 0, a*x, x) },
			func(x float64) float64 { return pick(x < 0, a, 1) }
	}, nil)
	// Elu: x, or alpha·(exp(x)-1) where x < 0.
	activation("Elu", func(n *graph.Node) (fn, fn) {
		a := float64(n.Float("alpha", 1))
		return func(x float64) float64 {
				if x < 0 {
					return a * math.Expm1(x)
				}
				return x
			}, func(x float64) float64 {
				if x < 0 {
					return a * math.Exp(x)
				}
				return 1
			}
	}, nil)
	// Selu: gamma·(x, or alpha·(exp(x)-1) where x <= 0).
	activation("Selu", func(n *graph.Node) (fn, fn) {
		a, g := float64(n.Float("alpha", 1.67326319217681884765625)), float64(n.Float("gamma", 1.05070102214813232421875))
		return func(x float64) float64 {
				if x <= 0 {
					return g * a * math.Expm1(x)
				}
				return g * x
			}, func(x float64) float64 {
				if x <= 0 {
					return g * a * math.Exp(x)
				}
				return g
			}
	}, nil)
	// Celu: max(0,x) + min(0, alpha·(exp(x/alpha)-1)).
	activation("Celu", func(n *graph.Node) (fn, fn) {
		a := float64(n.Float("alpha", 1))
		return func(x float64) float64 { return max(0, x) + min(0, a*math.Expm1(x/a)) },
			func(x float64) float64 {
				if x > 0 {
					return 1
				}
				return math.Exp(x / a)
			}
	}, func(n *graph.Node) error {
		if n.Float("alpha", 1) == 0 {
			return Errorf(n, "alpha is 0")
		}
		return nil
	})
	// ThresholdedRelu: x where x > alpha, else 0.
	activation("ThresholdedRelu", func(n *graph.Node) (fn, fn) {
		a := float64(n.Float("alpha", 1))
		return func(x float64) float64 { return pick(x <= a, 0, x) },
			func(x float64) float64 { return pick(x <= a, 0.0, 1) }
	}, nil)
	// HardSigmoid: max(0, min(1, alpha·x + beta)).
	activation("HardSigmoid", func(n *graph.Node) (fn, fn) {
		a, b := float64(n.Float("alpha", 0.2)), float64(n.Float("beta", 0.5))
		return func(x float64) float64 { return max(0, min(1, a*x+b)) },
			func(x float64) float64 {
				y := a*x + b
				return pick(y > 0 && y < 1, a, 0)
			}
	}, nil)
	// HardSwish: x·max(0, min(1, x/6 + 1/2)) (Howard et al.: Searching for MobileNetV3, 2019).
	activation("HardSwish", fixed(
		func(x float64) float64 { return x * max(0, min(1, x/6+0.5)) },
		func(x float64) float64 {
			switch {
			case x <= -3:
				return 0
			case x >= 3:
				return 1
			}
			return x/3 + 0.5
		}), nil)
	// Softplus: log(1 + exp(x)), without overflow.
	activation("Softplus", fixed(softplus, sigmoid), nil)
	// Softsign: x/(1 + |x|).
	activation("Softsign", fixed(
		func(x float64) float64 { return x / (1 + math.Abs(x)) },
		func(x float64) float64 { d := 1 + math.Abs(x); return 1 / (d * d) }), nil)
	// Mish: x·tanh(softplus(x)) (Misra: Mish, 2019).
	activation("Mish", fixed(
		func(x float64) float64 { return x * math.Tanh(softplus(x)) },
		func(x float64) float64 {
			t := math.Tanh(softplus(x))
			return t + x*(1-t*t)*sigmoid(x)
		}), nil)
	// Swish: x·sigmoid(alpha·x).
	activation("Swish", func(n *graph.Node) (fn, fn) {
		a := float64(n.Float("alpha", 1))
		return func(x float64) float64 { return x * sigmoid(a*x) },
			func(x float64) float64 { s := sigmoid(a * x); return s + a*x*s*(1-s) }
	}, nil)
	// Gelu: x·Φ(x), exact or, with approximate "tanh", by Hendrycks and Gimpel's
	// formula (Gaussian Error Linear Units, 2016).
	activation("Gelu", func(n *graph.Node) (fn, fn) {
		if n.Str("approximate", "none") == "tanh" {
			c := math.Sqrt(2 / math.Pi)
			inner := func(x float64) float64 { return c * (x + 0.044715*x*x*x) }
			return func(x float64) float64 { return 0.5 * x * (1 + math.Tanh(inner(x))) },
				func(x float64) float64 {
					t := math.Tanh(inner(x))
					return 0.5*(1+t) + 0.5*x*(1-t*t)*c*(1+3*0.044715*x*x)
				}
		}
		return func(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) },
			func(x float64) float64 {
				return 0.5*math.Erfc(-x/math.Sqrt2) + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
			}
	}, func(n *graph.Node) error {
		if a := n.Str("approximate", "none"); a != "none" && a != "tanh" {
			return Errorf(n, "approximate %q, want none or tanh", a)
		}
		return nil
	})
	// Shrink: x-bias where x > lambd, x+bias where x < -lambd, else 0. Integers too.
	shrink := func(n *graph.Node) fn {
		l, b := float64(n.Float("lambd", 0.5)), float64(n.Float("bias", 0))
		return func(x float64) float64 {
			switch {
			case x < -l:
				return x + b
			case x > l:
				return x - b
			}
			return 0
		}
	}
	Register(Op{
		Name: "Shrink", Infer: sameAsOne(Numbers), Channels: passChannels,
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			f, y := shrink(n), asFloat64(in[0]).Clone()
			v := vals[float64](y)
			for i, x := range v {
				v[i] = f(x)
			}
			castTo(out[0], y, castOptions{})
			return nil
		},
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			if !wantsGrad(n.In[0]) {
				return []*graph.Value{nil}, nil
			}
			return []*graph.Value{g.Add(graph.Domain, "ShrinkGrad", n.Attrs, grads[0], n.In[0])}, nil
		},
	})
	gradient("Shrink", func(n *graph.Node) func(float64) float64 {
		l := float64(n.Float("lambd", 0.5))
		return func(x float64) float64 { return pick(x < -l || x > l, 1.0, 0) }
	}, nil)

	// Sigmoid and Tanh: their gradient operators take dy and y.
	fromY := func(name string, f fn, d fn) {
		Register(Op{
			Name: name, Infer: sameAsOne(Floats), Ref: unaryForms{f64: f}.ref, Channels: passChannels,
			VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
				if !wantsGrad(n.In[0]) {
					return []*graph.Value{nil}, nil
				}
				return []*graph.Value{g.Add(graph.Domain, name+"Grad", nil, grads[0], n.Out[0])}, nil
			},
		})
		gradient(name, func(*graph.Node) func(float64) float64 { return d }, nil)
	}
	fromY("Sigmoid", sigmoid, func(y float64) float64 { return y * (1 - y) })
	fromY("Tanh", math.Tanh, func(y float64) float64 { return 1 - y*y })

	// PRelu: x, or slope·x where x < 0; slope broadcasts to x. Integers too.
	Register(Op{
		Name: "PRelu",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			allowed := append([]tensor.DType{tensor.Int32, tensor.Int64, tensor.Uint32, tensor.Uint64}, Floats...)
			ts, err := inferBroadcast(2, 2, allowed, tensor.Invalid)(n)
			if err != nil {
				return nil, err
			}
			if !ts[0].Shape.Equal(n.In[0].Type.Shape) {
				return nil, Errorf(n, "slope %v does not broadcast to %v", n.In[1].Type.Shape, n.In[0].Type.Shape)
			}
			return ts, nil
		},
		Ref: forms{
			f32: func(x, s float32) float32 { return pick(x < 0, s*x, x) },
			f64: func(x, s float64) float64 { return pick(x < 0, s*x, x) },
			i64: func(x, s int64) int64 { return pick(x < 0, s*x, x) },
			u64: func(x, _ uint64) uint64 { return x },
		}.ref,
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			x, dy := n.In[0], grads[0]
			zero := scalar(g, 0, x)
			neg := g.Add("", "Less", nil, x, zero)
			return eachWanted(n, func(i int) *graph.Value {
				if i == 0 {
					return g.Add("", "Where", nil, neg, g.Add("", "Mul", nil, dy, n.In[1]), dy)
				}
				return sumTo(g, g.Add("", "Where", nil, neg, g.Add("", "Mul", nil, dy, x), zero), n.In[1], n.Out[0])
			}), nil
		},
		Channels: broadcastChannels,
	})
}

// pick is a where c holds, else b.
func pick[T Number](c bool, a, b T) T {
	if c {
		return a
	}
	return b
}

func sigmoid(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + math.Exp(-x))
	}
	e := math.Exp(x)
	return e / (1 + e)
}

func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
