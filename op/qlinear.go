package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// Internal operators between quantised values of 8 bits. Scales and zero points are
// inputs, one number each, in the order of the QLinear operators.
func init() {
	// QLinearAdd is RNE(float32(a-za)·Ma + float32(b-zb)·Mb) + zy, saturated before
	// conversion, with Ma = float32(sa/sy), Mb = float32(sb/sy) from float64 and every
	// product and the sum rounded to float32: inputs a, its scale and zero point, b, its
	// scale and zero point, y's scale and zero point. a and b have one shape.
	Register(Op{
		Domain: graph.Domain, Name: "QLinearAdd",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := qlinearInputs(n, 8, [][3]int{{0, 1, 2}, {3, 4, 5}, {-1, 6, 7}}); err != nil {
				return nil, err
			}
			if a, b := n.In[0].Type.Shape, n.In[3].Type.Shape; !a.Equal(b) {
				return nil, Errorf(n, "shapes %v and %v differ", a, b)
			}
			return []tensor.Type{{DType: n.In[7].Type.DType, Shape: n.In[0].Type.Shape}}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			a, b := ints64(in[0]), ints64(in[3])
			za, zb, zy := ints64(in[2])[0], ints64(in[5])[0], ints64(in[7])[0]
			sy := numbersOf(in[6])[0]
			ma, mb := float32(numbersOf(in[1])[0]/sy), float32(numbersOf(in[4])[0]/sy)
			lo, hi := intRange(out[0].DType)
			q := make([]float64, len(a))
			for i := range q {
				p, r := float32(float32(a[i]-za)*ma), float32(float32(b[i]-zb)*mb)
				q[i] = quantum(float64(float32(p+r)), float64(zy), lo, hi)
			}
			fromFloats(out[0], q, castOptions{})
			return nil
		},
	})
	// QLinearMul is RNE(float32((a-za)·(b-zb))·M) + zy, saturated before conversion, with M = float32(sa·sb/sy) from
	// float64 and the product with M rounded to float32; that of the integers is exact. Its inputs are QLinearAdd's, of
	// shapes that broadcast.
	Register(Op{
		Domain: graph.Domain, Name: "QLinearMul",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := qlinearInputs(n, 8, [][3]int{{0, 1, 2}, {3, 4, 5}, {-1, 6, 7}}); err != nil {
				return nil, err
			}
			s, err := broadcastShapes(n, n.In[0].Type.Shape, n.In[3].Type.Shape)
			if err != nil {
				return nil, err
			}
			return []tensor.Type{{DType: n.In[7].Type.DType, Shape: s}}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			a, b := ints64(in[0]), ints64(in[3])
			za, zb, zy := ints64(in[2])[0], ints64(in[5])[0], ints64(in[7])[0]
			m := float32(numbersOf(in[1])[0] * numbersOf(in[4])[0] / numbersOf(in[6])[0])
			lo, hi := intRange(out[0].DType)
			q := make([]float64, out[0].Len())
			s := out[0].Shape
			walk(s, [][]int{broadcastStrides(in[0].Shape, s), broadcastStrides(in[3].Shape, s)}, func(pos int, off []int, n int, step []int) {
				for i := range n {
					acc := (a[off[0]+i*step[0]] - za) * (b[off[1]+i*step[1]] - zb)
					q[pos+i] = quantum(float64(float32(float32(acc)*m)), float64(zy), lo, hi)
				}
			})
			fromFloats(out[0], q, castOptions{})
			return nil
		},
	})
	// QLinearConvPRelu is QLinearConv with slopes below zero, one a channel, as input 9: the sum times M, rounded,
	// and where that is below zero times the slope, rounded again.
	Register(Op{
		Domain: graph.Domain, Name: "QLinearConvPRelu",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			y, err := inferQConv(n, 10)
			if err != nil {
				return nil, err
			}
			if s := n.Input(9); s == nil || s.Type.DType != tensor.Float32 || !s.Type.Shape.Equal(y[0].Shape[1:2]) {
				return nil, Errorf(n, "slopes are wanted, float32[%d]", y[0].Shape[1])
			}
			return y, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			slope := tensor.Of[float32](in[9])
			return refQConv(n, in, out, func(f float32, c int) float32 {
				if f < 0 {
					f = float32(f * slope[c])
				}
				return f
			})
		},
		Cost: costQConv,
	})
	// QLinearAveragePool is AveragePool (its attributes) of x: inputs x, its scale and
	// zero point, y's scale and zero point. The sum of x - zx is exact; M divides by the
	// number of elements too: M = float32(sx/(sy·count)).
	Register(Op{
		Domain: graph.Domain, Name: "QLinearAveragePool",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := qlinearInputs(n, 5, qlinearPool); err != nil {
				return nil, err
			}
			_, y, err := poolWindow(n, n.In[0].Type.Shape)
			if err != nil {
				return nil, err
			}
			return []tensor.Type{{DType: n.In[4].Type.DType, Shape: y}}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			w, ys, err := poolWindow(n, in[0].Shape)
			if err != nil {
				return err
			}
			x := lessZero(in[0], in[2], func(int, int) int { return 0 })
			acc, st := make([]int64, ys.NumElements()), w.stride[len(w.stride)-1]
			eachWindow(w, ys[0]*ys[1], func(px, py int, segs []segment) {
				for _, g := range segs {
					for i := range g.n {
						acc[py+g.out+i] += x[px+g.in+i*st]
					}
				}
			})
			if len(acc) == 0 {
				return nil // counts may still be of any size
			}
			sx, counts := numbersOf(in[1])[0], w.counts(n.Int("count_include_pad", 0) != 0)
			sy := numbersOf(in[3])[0]
			lo, hi := intRange(out[0].DType)
			zy := numbersOf(in[4])[0]
			q := make([]float64, len(acc))
			for i, v := range acc {
				q[i] = quantum(float64(float32(v)*float32(sx/(sy*counts[i%len(counts)]))), zy, lo, hi)
			}
			fromFloats(out[0], q, castOptions{})
			return nil
		},
	})
	// QLinearGlobalAveragePool is the same over all but the first two axes.
	Register(Op{
		Domain: graph.Domain, Name: "QLinearGlobalAveragePool",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := qlinearInputs(n, 5, qlinearPool); err != nil {
				return nil, err
			}
			s := n.In[0].Type.Shape
			if len(s) < 3 || s[2:].NumElements() == 0 {
				return nil, Errorf(n, "nothing to average in %v", s)
			}
			y := s.Clone()
			for i := range y[2:] {
				y[2+i] = 1
			}
			return []tensor.Type{{DType: n.In[4].Type.DType, Shape: y}}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			x := lessZero(in[0], in[2], func(int, int) int { return 0 })
			area := in[0].Shape[2:].NumElements()
			m := float32(numbersOf(in[1])[0] / (numbersOf(in[3])[0] * float64(area)))
			zy := numbersOf(in[4])[0]
			lo, hi := intRange(out[0].DType)
			q := make([]float64, out[0].Len())
			for i := range q {
				var sum int64
				for _, v := range x[i*area : (i+1)*area] {
					sum += v
				}
				q[i] = quantum(float64(float32(sum)*m), zy, lo, hi)
			}
			fromFloats(out[0], q, castOptions{})
			return nil
		},
	})
	// QTable looks every element of x up: y = table[x], or table[channel][x], where x of
	// int8 counts as its bits. Input 1 is the table, 256 bytes, or 256 for each of the
	// channels, which are axis 1.
	Register(Op{
		Domain: graph.Domain, Name: "QTable",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 2, tensor.Int8, tensor.Uint8); err != nil {
				return nil, err
			}
			x, t := n.In[0].Type, n.In[1].Type
			if s := t.Shape; !(s.Equal(tensor.Shape{256}) || len(x.Shape) > 1 && s.Equal(tensor.Shape{x.Shape[1], 256})) {
				return nil, Errorf(n, "a table %v for %v", t, x)
			}
			return []tensor.Type{{DType: t.DType, Shape: x.Shape}}, nil
		},
		Ref: func(_ *graph.Node, in, out []*tensor.Tensor) error {
			x, t, y := in[0].Bytes(), in[1].Bytes(), out[0].Bytes()
			if len(in[1].Shape) == 1 {
				for i, v := range x {
					y[i] = t[v]
				}
				return nil
			}
			s := in[0].Shape
			inner := s[2:].NumElements()
			for i, v := range x {
				y[i] = t[i/inner%s[1]*256+int(v)]
			}
			return nil
		},
	})
}

var qlinearPool = [][3]int{{0, 1, 2}, {-1, 3, 4}}

// qlinearInputs checks count inputs, which are triples of a value (-1: the output), its scale
// and its zero point.
func qlinearInputs(n *graph.Node, count int, triples [][3]int) error {
	if err := Want(n, count, count); err != nil {
		return err
	}
	for _, t := range triples {
		if err := floatInput(n, t[1]); err != nil {
			return err
		}
		if err := inputType(n, t[2], []tensor.DType{tensor.Int8, tensor.Uint8}); err != nil {
			return err
		}
		if err := oneOrVector(n, 1, t[1], t[2]); err != nil {
			return err
		}
		if t[0] >= 0 {
			if err := oneType(n, t[0], t[2]); err != nil {
				return err
			}
		}
	}
	return nil
}

// FitsInt32 reports whether the sum of any x of type t (int8 or uint8) less zx times a channel
// (axis 0) of w less its zero point zw (one, or one a channel), plus the int32 bias (nil: 0),
// fits int32 in any order of the terms.
func FitsInt32(w *tensor.Tensor, zw []int, bias *tensor.Tensor, zx int, t tensor.DType) bool {
	if w.Len() == 0 || len(zw) == 0 {
		return false
	}
	lo, hi := intRange(t)
	span := max(int64(zx)-int64(lo), int64(hi)-int64(zx))
	channels := w.Shape[0]
	k := w.Len() / channels
	var b []int32
	if bias != nil {
		b = vals[int32](bias)
	}
	sums := func(at func(i int) int64) bool {
		for c := range channels {
			var sum int64
			for i := c * k; i < (c+1)*k; i++ {
				d := at(i) - int64(zw[c%len(zw)])
				sum += max(d, -d)
			}
			if sum *= span; b != nil {
				sum += max(int64(b[c]), -int64(b[c]))
			}
			if sum > math.MaxInt32 {
				return false
			}
		}
		return true
	}
	// Short sums fit whatever the weights are.
	most := int64(k) * span * 255
	for _, v := range b {
		most = max(most, int64(k)*span*255+max(int64(v), -int64(v)))
	}
	if k <= 1<<20 && most <= math.MaxInt32 {
		return true
	}
	if w.DType == tensor.Int8 {
		v := vals[int8](w)
		return sums(func(i int) int64 { return int64(v[i]) })
	}
	v := vals[uint8](w)
	return sums(func(i int) int64 { return int64(v[i]) })
}
