package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// QuantizeLinear is y = saturate(RNE(x / scale) + zero point), DequantizeLinear is
// y = (x - zero point) · scale. The scale is one number, a vector along attribute
// axis, or, with block_size, of x's rank with an element for every block of the axis.
// Quotients and products are rounded once, to attribute precision, else the scale's
// type (products: the output's); NaN becomes the zero point. Integer types of 2 to
// 16 bits (DequantizeLinear: 32 too), float8 and float4.
func init() {
	Register(Op{
		Name: "QuantizeLinear",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 3); err != nil {
				return nil, err
			}
			if err := inputType(n, 0, append([]tensor.DType{tensor.Int32}, Floats...)); err != nil {
				return nil, err
			}
			if err := inputType(n, 1, scaleTypes); err != nil {
				return nil, err
			}
			to := tensor.Uint8
			if c := n.Int("output_dtype", 0); c != 0 {
				to = tensor.FromONNX(c)
			}
			if z := n.Input(2); z != nil {
				if n.Int("output_dtype", 0) != 0 && z.Type.DType != to {
					return nil, Errorf(n, "zero point is %v, output_dtype %v", z.Type.DType, to)
				}
				to = z.Type.DType
			}
			if !quantized(to) {
				return nil, Unsupported(n, "output is %v", to)
			}
			if p := n.Int("precision", 0); p != 0 && !isFullFloat(tensor.FromONNX(p)) {
				return nil, Unsupported(n, "precision %d", p)
			}
			if _, err := newGrains(n); err != nil {
				return nil, err
			}
			return []tensor.Type{{DType: to, Shape: n.In[0].Type.Shape}}, nil
		},
		Ref:      refQuantize,
		Channels: grainChannels,
	})
	Register(Op{
		Name: "DequantizeLinear",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 3); err != nil {
				return nil, err
			}
			x := n.In[0].Type
			if !quantized(x.DType) && x.DType != tensor.Int32 {
				return nil, Unsupported(n, "input 0 is %v", x.DType)
			}
			if err := inputType(n, 1, scaleTypes); err != nil {
				return nil, err
			}
			if err := oneType(n, 0, 2); err != nil {
				return nil, err
			}
			to := n.In[1].Type.DType
			if c := n.Int("output_dtype", 0); c != 0 {
				to = tensor.FromONNX(c)
			}
			if !isFullFloat(to) {
				return nil, Unsupported(n, "output is %v", to)
			}
			if _, err := newGrains(n); err != nil {
				return nil, err
			}
			return []tensor.Type{{DType: to, Shape: x.Shape}}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			g, err := newGrains(n)
			if err != nil {
				return err
			}
			x, s, z := numbersOf(in[0]), numbersOf(in[1]), make([]float64, in[1].Len())
			if len(in) > 2 && in[2] != nil {
				z = numbersOf(in[2])
			}
			y, double := make([]float64, len(x)), out[0].DType == tensor.Float64
			for i, v := range x {
				if k := g.at(i); double {
					y[i] = (v - z[k]) * s[k]
				} else {
					y[i] = float64(float32(v-z[k]) * float32(s[k]))
				}
			}
			narrow(out[0], y)
			return nil
		},
		Channels: grainChannels,
	})
}

var scaleTypes = append([]tensor.DType{tensor.Float8E8M0}, Floats...)

// quantized lists what QuantizeLinear makes.
func quantized(d tensor.DType) bool {
	switch d {
	case tensor.Int8, tensor.Uint8, tensor.Int16, tensor.Uint16:
		return true
	}
	return d.Packed() || isNarrow(d) && d != tensor.Float8E8M0
}

// grains says which scale an element has.
type grains struct {
	inner, dim, block, blocks int // elements behind the axis, the axis, a block, blocks of the axis
	whole, vector             bool
}

func newGrains(n *graph.Node) (*grains, error) {
	x, s := n.In[0].Type.Shape, n.In[1].Type.Shape
	if z := n.Input(2); z != nil && !z.Type.Shape.Equal(s) && (z.Type.Shape.NumElements() != 1 || s.NumElements() != 1) {
		return nil, Errorf(n, "the scale is %v, the zero point %v", s, z.Type.Shape)
	}
	size := n.Int("block_size", 0)
	if size == 0 && (len(s) == 0 || len(s) == 1 && s[0] == 1) {
		return &grains{whole: true}, nil
	}
	a, err := normAxis(n, n.Int("axis", 1), len(x))
	if err != nil {
		return nil, err
	}
	g := &grains{inner: x[a+1:].NumElements(), dim: x[a], block: 1, blocks: x[a]}
	if size == 0 {
		if len(s) != 1 || s[0] != x[a] {
			return nil, Errorf(n, "the scale is %v for axis %d of %v", s, a, x)
		}
		g.vector = true
		return g, nil
	}
	if size < 0 || len(s) != len(x) {
		return nil, Errorf(n, "the scale is %v for %v in blocks of %d", s, x, size)
	}
	g.block = int(min(size, int64(max(1, x[a]))))
	g.blocks = ceilDiv(x[a], g.block)
	want := x.Clone()
	want[a] = g.blocks
	if !s.Equal(want) {
		return nil, Errorf(n, "the scale is %v, want %v for blocks of %d", s, want, size)
	}
	return g, nil
}

// at is the index of element i's scale.
func (g *grains) at(i int) int {
	switch {
	case g.whole:
		return 0
	case g.vector:
		return i / g.inner % g.dim
	}
	outer, a, in := i/g.inner/g.dim, i/g.inner%g.dim, i%g.inner
	return (outer*g.blocks+a/g.block)*g.inner + in
}

// numbersOf is any tensor's elements as float64.
func numbersOf(t *tensor.Tensor) []float64 {
	if isFullFloat(t.DType) {
		return wide(t)
	}
	y := tensor.New(tensor.Float64, t.Len())
	castTo(y, t, castOptions{})
	return vals[float64](y)
}

// intRange is the least and the greatest integer of a type of at most 32 bits.
func intRange(d tensor.DType) (lo, hi float64) {
	b := d.Bits()
	if d.IsSigned() {
		return -float64(int64(1) << (b - 1)), float64(int64(1)<<(b-1) - 1)
	}
	return 0, float64(int64(1)<<b - 1)
}

// quantum is saturate(RNE(v) + zero): clamped first, NaN is the zero point.
func quantum(v, zero, lo, hi float64) float64 {
	if v != v {
		return zero
	}
	return math.RoundToEven(min(max(v, lo-zero), hi-zero)) + zero
}

func refQuantize(n *graph.Node, in, out []*tensor.Tensor) error {
	g, err := newGrains(n)
	if err != nil {
		return err
	}
	p := in[1].DType
	if c := n.Int("precision", 0); c != 0 {
		p = tensor.FromONNX(c)
	}
	x, s, z := numbersOf(in[0]), numbersOf(in[1]), make([]float64, in[1].Len())
	if len(in) > 2 && in[2] != nil {
		z = numbersOf(in[2])
	}
	y := make([]float64, len(x))
	for i, v := range x {
		switch d := s[g.at(i)]; p {
		case tensor.Float64:
			y[i] = v / d
		case tensor.Float16:
			y[i] = float64(tensor.ToF16(float32(v) / float32(d)).Float32())
		case tensor.BFloat16:
			y[i] = float64(tensor.ToBF16(float32(v) / float32(d)).Float32())
		default:
			y[i] = float64(float32(v) / float32(d))
		}
	}
	if to := out[0].DType; to.IsInt() {
		lo, hi := intRange(to)
		for i, v := range y {
			y[i] = quantum(v, z[g.at(i)], lo, hi)
		}
	} else {
		for i := range y {
			y[i] += z[g.at(i)]
		}
	}
	fromFloats(out[0], y, castOptions{wrap: n.Int("saturate", 1) == 0})
	return nil
}

// grainChannels: the axes of x stay, and a vector of scales runs along its axis.
func grainChannels(n *graph.Node) []Coupling {
	g, err := newGrains(n)
	if err != nil || n.In[0].Type.DType.Packed() || n.Out[0].Type.DType.Packed() || !g.whole && !g.vector {
		return nil
	}
	cs := passChannels(n)
	if g.vector {
		a, _ := normAxis(n, n.Int("axis", 1), len(n.In[0].Type.Shape))
		cs = append(cs, Coupling{From: Port{Axis: a}, To: Port{Index: 1}})
		if n.Input(2) != nil {
			cs = append(cs, Coupling{From: Port{Axis: a}, To: Port{Index: 2}})
		}
	}
	return cs
}
