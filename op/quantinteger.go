package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// The operators on integers with scales and zero points: products are exact in
// int64, then q = RNE(clamp(float32(acc)·M, qmin-zy, qmax-zy)) + zy with
// M = float32(sx·sw/sy) from float64, so that every CPU gives the same integers.
func init() {
	bytes := []tensor.DType{tensor.Int8, tensor.Uint8}
	// ConvInteger is the convolution of x - x_zero_point with w - w_zero_point, both
	// of 8 bits; int32, which wraps. Padding is the zero point.
	Register(Op{
		Name: "ConvInteger",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 4, bytes...); err != nil {
				return nil, err
			}
			if err := oneType(n, 0, 2); err != nil {
				return nil, err
			}
			if err := oneType(n, 1, 3); err != nil {
				return nil, err
			}
			_, y, err := convWindow(n, n.In[0].Type.Shape, n.In[1].Type.Shape)
			if err != nil {
				return nil, err
			}
			if err := oneOrVector(n, 1, 2); err != nil {
				return nil, err
			}
			if err := oneOrVector(n, y[1], 3); err != nil {
				return nil, err
			}
			return []tensor.Type{{DType: tensor.Int32, Shape: y}}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			acc, _, err := convIntegers(n, in[0], in[1], optional(in, 2), optional(in, 3))
			if err == nil {
				wrapped(out[0], acc)
			}
			return err
		},
		Cost: costConv,
	})
	// MatMulInteger is (A - a_zero_point)·(B - b_zero_point); zero points of A are one
	// or one a row, of B one or one a column; int32, which wraps.
	Register(Op{
		Name: "MatMulInteger",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 4, bytes...); err != nil {
				return nil, err
			}
			if err := oneType(n, 0, 2); err != nil {
				return nil, err
			}
			if err := oneType(n, 1, 3); err != nil {
				return nil, err
			}
			m, err := newMatmul(n, n.In[0].Type.Shape, n.In[1].Type.Shape)
			if err != nil {
				return nil, err
			}
			if err := m.grains(n, 2, 3); err != nil {
				return nil, err
			}
			return []tensor.Type{{DType: tensor.Int32, Shape: m.shape()}}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			m, err := newMatmul(n, in[0].Shape, in[1].Shape)
			if err != nil {
				return err
			}
			wrapped(out[0], m.integers(in[0], in[1], optional(in, 2), optional(in, 3)))
			return nil
		},
		Cost: costMatMulIntegers(1),
	})
	// QLinearMatMul quantises that product: inputs a, a_scale, a_zero_point, b,
	// b_scale, b_zero_point, y_scale, y_zero_point.
	Register(Op{
		Name: "QLinearMatMul",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := qlinear(n, 8, 8); err != nil {
				return nil, err
			}
			m, err := newMatmul(n, n.In[0].Type.Shape, n.In[3].Type.Shape)
			if err != nil {
				return nil, err
			}
			if err := m.grains(n, 1, 4); err != nil {
				return nil, err
			}
			if err := m.grains(n, 2, 5); err != nil {
				return nil, err
			}
			if err := oneOrVector(n, 1, 6, 7); err != nil {
				return nil, err
			}
			return []tensor.Type{{DType: n.In[7].Type.DType, Shape: m.shape()}}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			m, err := newMatmul(n, in[0].Shape, in[3].Shape)
			if err != nil {
				return err
			}
			acc := m.integers(in[0], in[3], in[2], in[5])
			sa, sb := numbersOf(in[1]), numbersOf(in[4])
			requantize(out[0], acc, in[6], in[7], func(i int) float64 {
				return sa[i/m.n%m.m%len(sa)] * sb[i%m.n%len(sb)]
			}, func(f float32, _ int) float32 { return f })
			return nil
		},
		Cost: costMatMulIntegers(3),
	})
	// QLinearConv: inputs x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale,
	// y_zero_point and the int32 bias in units of x_scale·w_scale.
	Register(Op{
		Name:  "QLinearConv",
		Infer: func(n *graph.Node) ([]tensor.Type, error) { return inferQConv(n, 9) },
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			return refQConv(n, in, out, func(f float32, _ int) float32 { return f })
		},
		Cost: costQConv,
	})
	// DynamicQuantizeLinear quantises float32 x to uint8 over its own range, 0 included:
	// outputs y, the scale and the zero point.
	Register(Op{
		Name: "DynamicQuantizeLinear",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, 1, tensor.Float32); err != nil {
				return nil, err
			}
			return []tensor.Type{{DType: tensor.Uint8, Shape: n.In[0].Type.Shape}, {DType: tensor.Float32, Shape: tensor.Shape{}}, {DType: tensor.Uint8, Shape: tensor.Shape{}}}, nil
		},
		Ref: func(_ *graph.Node, in, out []*tensor.Tensor) error {
			x := vals[float32](in[0])
			var lo, hi float32
			for _, v := range x {
				if v < lo {
					lo = v
				}
				if v > hi {
					hi = v
				}
			}
			scale := float32(hi-lo) / 255
			if hi == lo {
				scale = float32(1) / 255
			}
			zero := quantum(float64(float32(0-lo)/scale), 0, 0, 255)
			if out[0] != nil {
				y := vals[uint8](out[0])
				for i, v := range x {
					y[i] = uint8(quantum(float64(v/scale), zero, 0, 255))
				}
			}
			if len(out) > 1 && out[1] != nil {
				vals[float32](out[1])[0] = scale
			}
			if len(out) > 2 && out[2] != nil {
				vals[uint8](out[2])[0] = uint8(zero)
			}
			return nil
		},
	})
}

// optional is input i, nil where it is absent.
func optional(in []*tensor.Tensor, i int) *tensor.Tensor {
	if i < len(in) {
		return in[i]
	}
	return nil
}

// oneOrVector checks that the inputs hold one number, or a vector of c.
func oneOrVector(n *graph.Node, c int, inputs ...int) error {
	for _, i := range inputs {
		if v := n.Input(i); v != nil {
			if s := v.Type.Shape; !(len(s) == 0 || len(s) == 1 && (s[0] == 1 || s[0] == c && c > 0)) {
				return Errorf(n, "input %d is %v, want one number or %d", i, s, c)
			}
		}
	}
	return nil
}

// inferQConv is the type rule of QLinearConv of at most so many inputs.
func inferQConv(n *graph.Node, most int) ([]tensor.Type, error) {
	if err := qlinear(n, 8, most); err != nil {
		return nil, err
	}
	_, y, err := convWindow(n, n.In[0].Type.Shape, n.In[3].Type.Shape)
	if err != nil {
		return nil, err
	}
	if err := oneOrVector(n, 1, 1, 2, 6, 7); err != nil {
		return nil, err
	}
	if err := oneOrVector(n, y[1], 4, 5); err != nil {
		return nil, err
	}
	if b := n.Input(8); b != nil && (b.Type.DType != tensor.Int32 || !b.Type.Shape.Equal(tensor.Shape{y[1]})) {
		return nil, Errorf(n, "the bias is %v, want int32[%d]", b.Type, y[1])
	}
	return []tensor.Type{{DType: n.In[7].Type.DType, Shape: y}}, nil
}

func costQConv(n *graph.Node) (macs, bytes int64) {
	return convMACs(n.Out[0].Type.Shape, n.In[3].Type.Shape), IOBytes(n)
}

// refQConv is QLinearConv with a function of the scaled sum and its channel before it is rounded.
func refQConv(n *graph.Node, in, out []*tensor.Tensor, act func(f float32, channel int) float32) error {
	acc, per, err := convIntegers(n, in[0], in[3], in[2], in[5])
	if err != nil {
		return err
	}
	cout := in[3].Shape[0]
	if b := optional(in, 8); b != nil {
		v := ints64(b)
		for i := range acc {
			acc[i] += v[i/per%cout]
		}
	}
	sx, sw := numbersOf(in[1]), numbersOf(in[4])
	requantize(out[0], acc, in[6], in[7], func(i int) float64 { return sx[0] * sw[i/per%cout%len(sw)] },
		func(f float32, i int) float32 { return act(f, i/per%cout) })
	return nil
}

// qlinear checks the element types of the QLinear operators.
func qlinear(n *graph.Node, min, max int) error {
	if err := Want(n, min, max); err != nil {
		return err
	}
	for _, i := range []int{0, 3, 7} {
		if err := inputType(n, i, []tensor.DType{tensor.Int8, tensor.Uint8}); err != nil {
			return err
		}
	}
	for _, i := range []int{1, 4, 6} {
		if err := floatInput(n, i); err != nil {
			return err
		}
	}
	if err := oneType(n, 0, 2); err != nil {
		return err
	}
	return oneType(n, 3, 5)
}

// grains checks the inputs ia and ib, scales or zero points of A's rows and B's columns.
func (m *matmul) grains(n *graph.Node, ia, ib int) error {
	if err := oneOrVector(n, m.m, ia); err != nil {
		return err
	}
	return oneOrVector(n, m.n, ib)
}

// integers is the exact product less zero points.
func (m *matmul) integers(a, b, za, zb *tensor.Tensor) []int64 {
	x, y := lessZero(a, za, func(i, k int) int { return i / max(1, m.k) % m.m % k }), lessZero(b, zb, func(i, k int) int { return i % m.n % k })
	acc := make([]int64, m.shape().NumElements())
	if len(x) > 0 && len(y) > 0 {
		m.each(func(iy, ia, ib int) {
			mulAdd(acc[iy*m.m*m.n:][:m.m*m.n], x[ia*m.m*m.k:], y[ib*m.k*m.n:], m.m, m.n, m.k, m.k, 1, m.n, 1)
		})
	}
	return acc
}

// lessZero is the integers of t less their zero points; at says which of k an element has.
func lessZero(t, zero *tensor.Tensor, at func(i, k int) int) []int64 {
	x := append([]int64{}, ints64(t)...)
	if zero != nil {
		z := ints64(zero)
		for i := range x {
			x[i] -= z[at(i, len(z))]
		}
	}
	return x
}

// convIntegers is the exact convolution less zero points, and the elements of an image's channel.
func convIntegers(n *graph.Node, xt, wt, zx, zw *tensor.Tensor) (acc []int64, per int, err error) {
	win, ys, err := convWindow(n, xt.Shape, wt.Shape)
	if err != nil {
		return nil, 0, err
	}
	x := lessZero(xt, zx, func(int, int) int { return 0 })
	row := max(1, wt.Shape[1:].NumElements())
	w := lessZero(wt, zw, func(i, k int) int { return i / row % k })
	xc, yc := tensor.Shape(win.in).NumElements(), tensor.Shape(win.out).NumElements()
	acc = make([]int64, ys.NumElements())
	s := win.stride[len(win.stride)-1]
	eachTap(n, win, xt.Shape, wt.Shape, func(img, o, c, wi int, segs []segment) {
		f, xp, yp := w[wi], x[c*xc:][:xc], acc[(img*ys[1]+o)*yc:][:yc]
		for _, g := range segs {
			xs := xp[g.in:]
			for i := range yp[g.out : g.out+g.n] {
				yp[g.out+i] += f * xs[i*s]
			}
		}
	})
	return acc, yc, nil
}

// wrapped keeps the low 32 bits.
func wrapped(t *tensor.Tensor, acc []int64) {
	y := vals[int32](t)
	for i, v := range acc {
		y[i] = int32(v)
	}
}

// requantize writes the accumulators, each in units of scale(i), as integers of y's type, through act.
func requantize(y *tensor.Tensor, acc []int64, sy, zy *tensor.Tensor, scale func(i int) float64, act func(f float32, i int) float32) {
	s, z := numbersOf(sy)[0], numbersOf(zy)[0]
	lo, hi := intRange(y.DType)
	q := make([]float64, len(acc))
	for i, v := range acc {
		m := float32(scale(i) / s)
		q[i] = quantum(float64(act(float32(float32(v)*m), i)), z, lo, hi)
	}
	fromFloats(y, q, castOptions{})
}

func costMatMulIntegers(b int) func(*graph.Node) (macs, bytes int64) {
	return func(n *graph.Node) (macs, bytes int64) {
		if m, err := newMatmul(n, n.In[0].Type.Shape, n.In[b].Type.Shape); err == nil {
			macs = min(math.MaxInt64, int64(m.batch.NumElements())*int64(m.m)*int64(m.k)*int64(m.n))
		}
		return macs, IOBytes(n)
	}
}
