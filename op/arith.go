package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// The four arithmetic operators: numpy broadcasting, floats rounded once, integers
// wrap. Integer division truncates; division of an integer by zero is 0, as numpy
// has it.
func init() {
	arith := func(name string, f forms, vjp func(*graph.Graph, *graph.Node, []*graph.Value) ([]*graph.Value, error)) {
		Register(Op{Name: name, Infer: inferBroadcast(2, 2, Numbers, tensor.Invalid), Ref: f.ref, VJP: vjp, Channels: broadcastChannels})
	}
	// C = A + B
	arith("Add", forms{
		f32: func(a, b float32) float32 { return a + b },
		f64: func(a, b float64) float64 { return a + b },
		i64: func(a, b int64) int64 { return a + b },
		u64: func(a, b uint64) uint64 { return a + b },
	}, func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
		return eachWanted(n, func(i int) *graph.Value { return sumTo(g, grads[0], n.In[i], n.Out[0]) }), nil
	})
	// C = A - B
	arith("Sub", forms{
		f32: func(a, b float32) float32 { return a - b },
		f64: func(a, b float64) float64 { return a - b },
		i64: func(a, b int64) int64 { return a - b },
		u64: func(a, b uint64) uint64 { return a - b },
	}, func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
		return eachWanted(n, func(i int) *graph.Value {
			d := sumTo(g, grads[0], n.In[i], n.Out[0])
			if i == 1 {
				d = g.Add("", "Neg", nil, d)
			}
			return d
		}), nil
	})
	// C = A · B
	arith("Mul", forms{
		f32: func(a, b float32) float32 { return a * b },
		f64: func(a, b float64) float64 { return a * b },
		i64: func(a, b int64) int64 { return a * b },
		u64: func(a, b uint64) uint64 { return a * b },
	}, func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
		return eachWanted(n, func(i int) *graph.Value {
			return sumTo(g, g.Add("", "Mul", nil, grads[0], n.In[1-i]), n.In[i], n.Out[0])
		}), nil
	})
	// C = A / B
	arith("Div", forms{
		f32: func(a, b float32) float32 { return a / b },
		f64: func(a, b float64) float64 { return a / b },
		i64: func(a, b int64) int64 {
			if b == 0 {
				return 0
			}
			return a / b
		},
		u64: func(a, b uint64) uint64 {
			if b == 0 {
				return 0
			}
			return a / b
		},
	}, func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
		q := g.Add("", "Div", nil, grads[0], n.In[1])
		return eachWanted(n, func(i int) *graph.Value {
			if i == 0 {
				return sumTo(g, q, n.In[0], n.Out[0])
			}
			return g.Add("", "Neg", nil, sumTo(g, g.Add("", "Mul", nil, q, n.Out[0]), n.In[1], n.Out[0]))
		}), nil
	})

	Register(Op{
		Name: "Pow", Infer: inferPow, Ref: refPow, Channels: broadcastChannels,
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			x, e := n.In[0], n.In[1]
			return eachWanted(n, func(i int) *graph.Value {
				if i == 0 { // dy·e·x^(e-1)
					ex := e
					if dtypeOf(e) != dtypeOf(x) {
						ex = g.Add("", "CastLike", nil, e, x)
					}
					p := g.Add("", "Pow", nil, x, g.Add("", "Sub", nil, ex, scalar(g, 1, x)))
					return sumTo(g, g.Add("", "Mul", nil, grads[0], g.Add("", "Mul", nil, ex, p)), x, n.Out[0])
				}
				if !dtypeOf(e).IsFloat() {
					return nil
				}
				d := g.Add("", "Mul", nil, grads[0], g.Add("", "Mul", nil, n.Out[0], g.Add("", "Log", nil, x)))
				if dtypeOf(e) != dtypeOf(x) {
					d = g.Add("", "CastLike", nil, d, e)
				}
				return sumTo(g, d, e, n.Out[0])
			}), nil
		},
	})

	// Mod is A - floor(A/B)·B (fmod 0: the sign of B) or A - trunc(A/B)·B (fmod 1:
	// the sign of A). An integer modulo zero is 0.
	floats := func(trunc bool) (func(a, b float32) float32, func(a, b float64) float64) {
		f := math.Mod
		if !trunc {
			f = floorMod
		}
		return func(a, b float32) float32 { return float32(f(float64(a), float64(b))) }, f
	}
	mods := func(trunc bool) forms {
		f := forms{
			i64: func(a, b int64) int64 {
				if b == 0 {
					return 0
				}
				r := a % b
				if !trunc && r != 0 && r < 0 != (b < 0) {
					r += b
				}
				return r
			},
			u64: func(a, b uint64) uint64 {
				if b == 0 {
					return 0
				}
				return a % b
			},
		}
		f.f32, f.f64 = floats(trunc)
		return f
	}
	floor, trunc := mods(false), mods(true)
	Register(Op{
		Name: "Mod",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if f := n.Int("fmod", 0); f != 0 && f != 1 {
				return nil, Errorf(n, "fmod is %d, want 0 or 1", f)
			}
			return inferBroadcast(2, 2, Numbers, tensor.Invalid)(n)
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			if n.Int("fmod", 0) == 1 {
				return trunc.ref(n, in, out)
			}
			return floor.ref(n, in, out)
		},
		Channels: broadcastChannels,
	})
}

// floorMod is the floored remainder with the special cases that ONNX lists.
func floorMod(a, b float64) float64 {
	switch {
	case math.IsInf(b, 0) && !math.IsInf(a, 0) && a == a:
		if a == 0 {
			return math.Copysign(0, b)
		}
		if math.Signbit(a) == math.Signbit(b) {
			return a
		}
		return b
	}
	r := math.Mod(a, b)
	if r == 0 {
		return math.Copysign(0, b)
	}
	if r < 0 != (b < 0) {
		r += b
	}
	return r
}

// eachWanted builds the gradient of every input for which one is of use.
func eachWanted(n *graph.Node, f func(i int) *graph.Value) []*graph.Value {
	ds := make([]*graph.Value, len(n.In))
	for i, v := range n.In {
		if wantsGrad(v) {
			ds[i] = f(i)
		}
	}
	return ds
}

// inferPow: Z has X's element type; the exponent Y may have any number type.
func inferPow(n *graph.Node) ([]tensor.Type, error) {
	if err := Want(n, 2, 2, Numbers...); err != nil {
		return nil, err
	}
	x, y := n.In[0].Type, n.In[1].Type
	if err := inputType(n, 0, append([]tensor.DType{tensor.Int32, tensor.Int64}, Floats...)); err != nil {
		return nil, err
	}
	s, err := broadcastShapes(n, x.Shape, y.Shape)
	if err != nil {
		return nil, err
	}
	return []tensor.Type{{DType: x.DType, Shape: s}}, nil
}

// refPow computes in float64 and rounds once; an integer base with an integer
// exponent of at least 0 is exact modulo 2^64, with a negative one it is the
// truncated reciprocal (0 for |x| > 1 and for 0).
func refPow(n *graph.Node, in, out []*tensor.Tensor) error {
	x, e := in[0], in[1]
	if x.DType.IsSmallFloat() || e.DType.IsSmallFloat() {
		return viaF32(refPow)(n, in, out)
	}
	if x.DType.IsInt() && e.DType.IsInt() {
		xi, ei := toInt64(x), toInt64(e)
		unsigned := !e.DType.IsSigned()
		y := tensor.New(tensor.Int64, out[0].Shape...)
		if err := binary([]*tensor.Tensor{xi, ei}, []*tensor.Tensor{y}, func(a, b int64) int64 { return powInt(a, b, unsigned) }); err != nil {
			return err
		}
		if x.DType == tensor.Int64 {
			copy(vals[int64](out[0]), vals[int64](y))
			return nil
		}
		o := vals[int32](out[0])
		for i, v := range vals[int64](y) {
			o[i] = int32(v)
		}
		return nil
	}
	xf, ef := asFloat64(x), asFloat64(e)
	y := tensor.New(tensor.Float64, out[0].Shape...)
	if err := binary([]*tensor.Tensor{xf, ef}, []*tensor.Tensor{y}, math.Pow); err != nil {
		return err
	}
	castTo(out[0], y, castOptions{})
	return nil
}

func powInt(a, b int64, unsigned bool) int64 {
	if b < 0 && !unsigned {
		switch {
		case a == 1:
			return 1
		case a == -1:
			return 1 - 2*(b&1)
		}
		return 0
	}
	r := int64(1)
	for e := uint64(b); e > 0; e >>= 1 {
		if e&1 == 1 {
			r *= a
		}
		a *= a
	}
	return r
}

// toInt64 widens an integer tensor; uint64 keeps its bits.
func toInt64(t *tensor.Tensor) *tensor.Tensor {
	if t.DType == tensor.Int64 {
		return t
	}
	o := tensor.New(tensor.Int64, t.Shape...)
	castTo(o, t, castOptions{})
	return o
}

// asFloat64 converts a number tensor.
func asFloat64(t *tensor.Tensor) *tensor.Tensor {
	if t.DType == tensor.Float64 {
		return t
	}
	o := tensor.New(tensor.Float64, t.Shape...)
	castTo(o, t, castOptions{})
	return o
}
