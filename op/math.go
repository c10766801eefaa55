package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// Elementary functions of one operand. float32 and narrower are computed in
// float64 and rounded.
func init() {
	type vjp = func(g *graph.Graph, n *graph.Node, dy *graph.Value) *graph.Value
	signed := append([]tensor.DType{tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64}, Floats...)
	reg := func(name string, allowed []tensor.DType, f unaryForms, d vjp) {
		Register(Op{Name: name, Infer: sameAsOne(allowed), Ref: f.ref, Channels: passChannels,
			VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
				if d == nil || !wantsGrad(n.In[0]) { // nil: the derivative is zero almost everywhere
					return []*graph.Value{nil}, nil
				}
				return []*graph.Value{d(g, n, grads[0])}, nil
			}})
	}
	bin := func(g *graph.Graph, op string, a, b *graph.Value) *graph.Value { return g.Add("", op, nil, a, b) }
	one := func(g *graph.Graph, op string, a *graph.Value) *graph.Value { return g.Add("", op, nil, a) }

	reg("Neg", signed, unaryForms{f64: func(x float64) float64 { return -x }, i64: func(x int64) int64 { return -x }},
		func(g *graph.Graph, n *graph.Node, dy *graph.Value) *graph.Value { return one(g, "Neg", dy) })
	reg("Abs", Numbers, unaryForms{f64: math.Abs, i64: func(x int64) int64 { return max(x, -x) }, u64: func(x uint64) uint64 { return x }},
		func(g *graph.Graph, n *graph.Node, dy *graph.Value) *graph.Value {
			return bin(g, "Mul", dy, one(g, "Sign", n.In[0]))
		})
	reg("Sign", Numbers, unaryForms{f64: sign[float64], i64: sign[int64], u64: func(x uint64) uint64 { return min(x, 1) }}, nil)
	reg("Sqrt", Floats, unaryForms{f64: math.Sqrt}, func(g *graph.Graph, n *graph.Node, dy *graph.Value) *graph.Value {
		return bin(g, "Div", bin(g, "Mul", dy, scalar(g, 0.5, dy)), n.Out[0])
	})
	reg("Exp", Floats, unaryForms{f64: math.Exp}, func(g *graph.Graph, n *graph.Node, dy *graph.Value) *graph.Value {
		return bin(g, "Mul", dy, n.Out[0])
	})
	reg("Log", Floats, unaryForms{f64: math.Log}, func(g *graph.Graph, n *graph.Node, dy *graph.Value) *graph.Value {
		return bin(g, "Div", dy, n.In[0])
	})
	reg("Reciprocal", Floats, unaryForms{f64: func(x float64) float64 { return 1 / x }}, func(g *graph.Graph, n *graph.Node, dy *graph.Value) *graph.Value {
		return one(g, "Neg", bin(g, "Mul", dy, bin(g, "Mul", n.Out[0], n.Out[0])))
	})
	reg("Floor", Floats, unaryForms{f64: math.Floor}, nil)
	reg("Ceil", Floats, unaryForms{f64: math.Ceil}, nil)
	reg("Round", Floats, unaryForms{f64: math.RoundToEven}, nil) // halves to even

	// Those whose derivative is a formula of x get it as an operator:
	// whit.<Name>Grad is dx = dy·f'(x), inputs dy and x of one shape.
	for _, f := range []struct {
		name string
		f, d func(float64) float64
	}{
		{"Erf", math.Erf, func(x float64) float64 { return 2 / math.Sqrt(math.Pi) * math.Exp(-x*x) }},
		{"Sin", math.Sin, math.Cos},
		{"Cos", math.Cos, func(x float64) float64 { return -math.Sin(x) }},
		{"Tan", math.Tan, func(x float64) float64 { c := math.Cos(x); return 1 / (c * c) }},
		{"Asin", math.Asin, func(x float64) float64 { return 1 / math.Sqrt(1-x*x) }},
		{"Acos", math.Acos, func(x float64) float64 { return -1 / math.Sqrt(1-x*x) }},
		{"Atan", math.Atan, func(x float64) float64 { return 1 / (1 + x*x) }},
		{"Sinh", math.Sinh, math.Cosh},
		{"Cosh", math.Cosh, math.Sinh},
		{"Asinh", math.Asinh, func(x float64) float64 { return 1 / math.Sqrt(x*x+1) }},
		{"Acosh", math.Acosh, func(x float64) float64 { return 1 / math.Sqrt(x*x-1) }},
		{"Atanh", math.Atanh, func(x float64) float64 { return 1 / (1 - x*x) }},
	} {
		activation(f.name, func(*graph.Node) (func(float64) float64, func(float64) float64) { return f.f, f.d }, nil)
	}

	eight := append([]tensor.DType{tensor.Float8E4M3FN, tensor.Float8E4M3FNUZ, tensor.Float8E5M2, tensor.Float8E5M2FNUZ}, Floats...)
	flag := func(name string, f func(n *graph.Node) func(float64) bool) {
		Register(Op{
			Name: name,
			Infer: func(n *graph.Node) ([]tensor.Type, error) {
				ts, err := sameAsOne(eight)(n)
				if err != nil {
					return nil, err
				}
				return []tensor.Type{{DType: tensor.Bool, Shape: ts[0].Shape}}, nil
			},
			Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
				g, y := f(n), vals[bool](out[0])
				for i, x := range numbersOf(in[0]) {
					y[i] = g(x)
				}
				return nil
			},
			VJP: func(*graph.Graph, *graph.Node, []*graph.Value) ([]*graph.Value, error) {
				return make([]*graph.Value, 1), nil
			},
			Channels: passChannels,
		})
	}
	flag("IsNaN", func(*graph.Node) func(float64) bool { return math.IsNaN })
	// IsInf with detect_positive 0 or detect_negative 0 leaves that infinity out.
	flag("IsInf", func(n *graph.Node) func(float64) bool {
		pos, neg := n.Int("detect_positive", 1) != 0, n.Int("detect_negative", 1) != 0
		return func(x float64) bool { return pos && math.IsInf(x, 1) || neg && math.IsInf(x, -1) }
	})
}

func sign[T float64 | int64](x T) T {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x // zero keeps its sign, NaN stays
}

// activation registers an elementwise float operator y = f(x) and its gradient
// whit.<name>Grad, dx = dy·f'(x). make gives f and f' for a node's attributes.
// check, if not nil, looks at the attributes.
func activation(name string, make func(*graph.Node) (f, d func(float64) float64), check func(*graph.Node) error) {
	Register(Op{
		Name: name,
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if check != nil {
				if err := check(n); err != nil {
					return nil, err
				}
			}
			return sameAsOne(Floats)(n)
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			f, _ := make(n)
			return unaryForms{f64: f}.ref(n, in, out)
		},
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			if !wantsGrad(n.In[0]) {
				return []*graph.Value{nil}, nil
			}
			return []*graph.Value{g.Add(graph.Domain, name+"Grad", n.Attrs, grads[0], n.In[0])}, nil
		},
		Channels: passChannels,
	})
	gradient(name, func(n *graph.Node) func(float64) float64 { _, d := make(n); return d }, check)
}

// gradient registers whit.<name>Grad: dx = dy·d(v), inputs dy and v of one type.
func gradient(name string, d func(*graph.Node) func(float64) float64, check func(*graph.Node) error) {
	Register(Op{
		Domain: graph.Domain, Name: name + "Grad",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 2, Floats...); err != nil {
				return nil, err
			}
			if check != nil {
				if err := check(n); err != nil {
					return nil, err
				}
			}
			return sameAsInput(2, Floats)(n)
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			f := d(n)
			return float(scaled[float32](f), scaled[float64](f))(n, in, out)
		},
		Channels: broadcastChannels,
	})
}

func scaled[T Float](d func(float64) float64) ref {
	return func(_ *graph.Node, in, out []*tensor.Tensor) error {
		v, dx := vals[T](in[1]), vals[T](out[0])
		for i, g := range vals[T](in[0]) {
			dx[i] = T(float64(g) * d(float64(v[i])))
		}
		return nil
	}
}
