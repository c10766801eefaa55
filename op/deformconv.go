package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// DeformConv is Conv (x [N,Cin,in...], W [Cout,Cin/group,kernel...], bias, input 3)
// whose taps each read at an offset of their own, between elements linearly and zero
// outside (Dai et al.: Deformable Convolutional Networks, 2017), times a mask, input
// 4, if there is one (Zhu et al.: Deformable ConvNets v2, 2019). offset, input 2, is
// [N,offset_group·taps·axes,out...], the mask [N,offset_group·taps,out...]; each of
// offset_group groups of input channels has its own.
func init() {
	Register(Op{
		Name: "DeformConv",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 3, 5, Floats...); err != nil {
				return nil, err
			}
			if err := oneType(n, 0, 1, 2, 3, 4); err != nil {
				return nil, err
			}
			x, w := n.In[0].Type, n.In[1].Type.Shape
			win, y, err := convWindow(n, x.Shape, w)
			if err != nil {
				return nil, err
			}
			r, og := len(win.kernel), n.Int("offset_group", 1)
			if r > 4 {
				return nil, Unsupported(n, "%d spatial axes", r)
			}
			if og < 1 || og > int64(max(1, x.Shape[1])) || x.Shape[1]%int(og) != 0 {
				return nil, Errorf(n, "offset_group is %d of %d channels", og, x.Shape[1])
			}
			taps := int(og) * win.taps()
			for i, c := range map[int]int{2: taps * r, 4: taps} {
				want := append(tensor.Shape{y[0], c}, win.out...)
				if v := n.Input(i); v != nil && !v.Type.Shape.Equal(want) {
					return nil, Errorf(n, "input %d has shape %v, want %v", i, v.Type.Shape, want)
				}
			}
			if b := n.Input(3); b != nil && !b.Type.Shape.Equal(tensor.Shape{y[1]}) {
				return nil, Errorf(n, "bias has shape %v, want [%d]", b.Type.Shape, y[1])
			}
			return []tensor.Type{{DType: x.DType, Shape: y}}, nil
		},
		Ref: refDeformConv,
		Channels: func(n *graph.Node) []Coupling {
			if n.Int("group", 1) != 1 || n.Int("offset_group", 1) != 1 {
				return nil
			}
			cs := []Coupling{{From: Port{Axis: 1}, To: Port{Index: 1, Axis: 1}}, {From: Port{Index: 1}, To: Port{Out: true, Axis: 1}}}
			if n.Input(3) != nil {
				cs = append(cs, Coupling{From: Port{Index: 1}, To: Port{Index: 3}})
			}
			return cs
		},
		Cost: costConv,
	})
}

func refDeformConv(n *graph.Node, in, out []*tensor.Tensor) error {
	xs, ws := in[0].Shape, in[1].Shape
	win, ys, err := convWindow(n, xs, ws)
	if err != nil {
		return err
	}
	x, w, off := wide(in[0]), wide(in[1]), wide(in[2])
	var bias, mask []float64
	if len(in) > 3 {
		bias = wide(in[3])
	}
	if len(in) > 4 {
		mask = wide(in[4])
	}
	r, taps, groups := len(win.kernel), win.taps(), int(n.Int("offset_group", 1))
	dims, st := tensor.Shape(win.in), tensor.Shape(win.in).Strides()
	size, points := dims.NumElements(), tensor.Shape(win.out).NumElements()
	y := make([]float64, ys.NumElements())
	per, og := xs[1]/groups, ws[0]/int(n.Int("group", 1))
	// read is every input channel at one tap of one output.
	read := make([]float64, xs[1])
	at, tap, place := make([]int, r), make([]int, r), make([]float64, r)
	for img := range ys[0] {
		for p := range points {
			for t := range taps {
				for g := range groups {
					for a := range r {
						o := off[((img*groups+g)*taps*r+t*r+a)*points+p]
						place[a] = float64(at[a]*win.stride[a]-win.begin[a]+tap[a]*win.dilation[a]) + o
					}
					m := 1.0
					if mask != nil {
						m = mask[((img*groups+g)*taps+t)*points+p]
					}
					for c := g * per; c < (g+1)*per; c++ {
						read[c] = m * linearAt(x[(img*xs[1]+c)*size:][:size], dims, st, place)
					}
				}
				for o := range ws[0] {
					sum := 0.0
					for c := range ws[1] {
						sum += w[(o*ws[1]+c)*taps+t] * read[o/og*ws[1]+c]
					}
					y[(img*ws[0]+o)*points+p] += sum
				}
				step(tap, win.kernel)
			}
			step(at, win.out)
		}
	}
	for i := range y {
		if bias != nil {
			y[i] += bias[i/points%ws[0]]
		}
	}
	narrow(out[0], y)
	return nil
}

// linearAt interpolates x of shape dims at place, zero outside.
func linearAt(x []float64, dims tensor.Shape, st []int, place []float64) float64 {
	var v float64
	for corner := range 1 << len(dims) {
		w, at := 1.0, 0
		for a, c := range place {
			f := math.Floor(c)
			i := f + float64(corner>>a&1)
			if !(i >= 0 && i < float64(dims[a])) {
				w = 0
				break
			}
			if t := c - f; corner>>a&1 != 0 {
				w *= t
			} else {
				w *= 1 - t
			}
			at += int(i) * st[a]
		}
		if w != 0 {
			v += w * x[at]
		}
	}
	return v
}
