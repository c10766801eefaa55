package op

import (
	"maps"

	"whit/graph"
	"whit/tensor"
)

// Conv is the convolution (cross-correlation, as in all of deep learning) of x
// [N,Cin,in...] with W [Cout,Cin/group,kernel...], plus the bias b [Cout]; y is
// [N,Cout,out...]:
//
//	y[n,o,p] = b[o] + Σ_t,c W[o,c,t] · x[n, o/(Cout/group)·(Cin/group) + c, p·stride - begin + t·dilation]
//
// with zero outside of the input. Any number of spatial axes, at least one.
func init() {
	Register(Op{
		Name:     "Conv",
		Infer:    inferConv,
		Ref:      refConv,
		VJP:      vjpConv,
		Channels: channelsConv,
		Cost:     costConv,
	})
	// ConvGradX is the gradient of Conv with respect to x: inputs dy, W and x (of
	// which only the type is used), the attributes of the Conv.
	Register(Op{
		Domain: graph.Domain, Name: "ConvGradX",
		Infer: inferConvGradX,
		Ref:   refConvGradX,
		Cost: func(n *graph.Node) (macs, bytes int64) {
			b := n.In[0].Type.NumBytes() + n.In[1].Type.NumBytes() + n.Out[0].Type.NumBytes()
			return convMACs(n.In[0].Type.Shape, n.In[1].Type.Shape), int64(b)
		},
	})
	// ConvGradW is the gradient of Conv with respect to W: inputs dy, x and W (of
	// which only the type is used), the attributes of the Conv.
	Register(Op{
		Domain: graph.Domain, Name: "ConvGradW",
		Infer: inferConvGradW,
		Ref:   refConvGradW,
		Cost: func(n *graph.Node) (macs, bytes int64) {
			b := n.In[0].Type.NumBytes() + n.In[1].Type.NumBytes() + n.Out[0].Type.NumBytes()
			return convMACs(n.In[0].Type.Shape, n.In[2].Type.Shape), int64(b)
		},
	})
	// BiasGrad sums dy [N,C,...] over every axis but the second: the gradient of a
	// bias of C channels.
	Register(Op{
		Domain: graph.Domain, Name: "BiasGrad",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 1, 1, Floats...); err != nil {
				return nil, err
			}
			t := n.In[0].Type
			if len(t.Shape) < 2 {
				return nil, Errorf(n, "rank %d, want at least 2", len(t.Shape))
			}
			return []tensor.Type{{DType: t.DType, Shape: tensor.Shape{t.Shape[1]}}}, nil
		},
		Ref: refBiasGrad,
	})
}

// convWindow checks x, W and group, and gives the geometry and the output's shape.
func convWindow(n *graph.Node, x, w tensor.Shape) (*window, tensor.Shape, error) {
	if len(x) < 3 || len(w) != len(x) {
		return nil, nil, Errorf(n, "x %v and W %v: want equal ranks of at least 3", x, w)
	}
	g := n.Int("group", 1)
	if g < 1 || g > int64(max(1, w[0])) || w[0]%int(g) != 0 || x[1]%int(g) != 0 || x[1]/int(g) != w[1] {
		return nil, nil, Errorf(n, "x has %d channels, W has shape %v, group is %d: want x's channels / group = W's, and group to divide W's outputs", x[1], w, g)
	}
	if k := n.Ints("kernel_shape"); k != nil {
		if len(k) != len(w)-2 {
			return nil, nil, Errorf(n, "kernel_shape %v does not fit W %v", k, w)
		}
		for i, v := range k {
			if v != int64(w[2+i]) {
				return nil, nil, Errorf(n, "kernel_shape %v does not fit W %v", k, w)
			}
		}
	}
	win, err := newWindow(n, x[2:], w[2:], false)
	if err != nil {
		return nil, nil, err
	}
	return win, append(tensor.Shape{x[0], w[0]}, win.out...), nil
}

func inferConv(n *graph.Node) ([]tensor.Type, error) {
	if err := Want(n, 2, 3, Floats...); err != nil {
		return nil, err
	}
	if err := oneType(n, 0, 1, 2); err != nil {
		return nil, err
	}
	_, y, err := convWindow(n, n.In[0].Type.Shape, n.In[1].Type.Shape)
	if err != nil {
		return nil, err
	}
	if b := n.Input(2); b != nil && !b.Type.Shape.Equal(tensor.Shape{y[1]}) {
		return nil, Errorf(n, "bias has shape %v, want [%d]", b.Type.Shape, y[1])
	}
	return []tensor.Type{{DType: n.In[0].Type.DType, Shape: y}}, nil
}

// refConv sums in float64 over taps, then input channels, and rounds once.
func refConv(n *graph.Node, in, out []*tensor.Tensor) error {
	x, w, b := wide(in[0]), wide(in[1]), []float64(nil)
	if len(in) > 2 {
		b = wide(in[2])
	}
	win, ys, err := convWindow(n, in[0].Shape, in[1].Shape)
	if err != nil {
		return err
	}
	y := make([]float64, ys.NumElements())
	xc, yc := tensor.Shape(win.in).NumElements(), tensor.Shape(win.out).NumElements()
	if b != nil {
		for i := range ys[0] * ys[1] {
			for k := range yc {
				y[i*yc+k] = b[i%ys[1]]
			}
		}
	}
	s := win.stride[len(win.stride)-1]
	eachTap(n, win, in[0].Shape, in[1].Shape, func(img, o, c, wi int, segs []segment) {
		f, xp, yp := w[wi], x[c*xc:][:xc], y[(img*ys[1]+o)*yc:][:yc]
		for _, g := range segs {
			xs := xp[g.in:]
			for i := range yp[g.out : g.out+g.n] {
				yp[g.out+i] += f * xs[i*s]
			}
		}
	})
	narrow(out[0], y)
	return nil
}

// eachTap visits every image img, output channel o, input channel (c counts those
// of all images) and element wi of W with its segments; for one output, in the
// order of taps, then input channels.
func eachTap(n *graph.Node, win *window, x, w tensor.Shape, f func(img, o, c, wi int, segs []segment)) {
	taps, og := win.taps(), w[0]/int(n.Int("group", 1))
	var segs []segment
	at := make([]int, len(win.kernel))
	if x.NumElements() == 0 || w.NumElements() == 0 {
		return
	}
	for t := range taps {
		segs = win.segments(at, segs)
		for img := range x[0] {
			for o := range w[0] {
				for c := range w[1] {
					f(img, o, img*x[1]+o/og*w[1]+c, (o*w[1]+c)*taps+t, segs)
				}
			}
		}
		step(at, win.kernel)
	}
}

func convMACs(y, w tensor.Shape) int64 {
	if w.NumElements() == 0 {
		return 0
	}
	return int64(y.NumElements()) * int64(w.NumElements()/w[0])
}

func costConv(n *graph.Node) (macs, bytes int64) {
	return convMACs(n.Out[0].Type.Shape, n.In[1].Type.Shape), IOBytes(n)
}

func vjpConv(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
	x, w, b, dy := n.In[0], n.In[1], n.Input(2), grads[0]
	d := make([]*graph.Value, len(n.In))
	if dy == nil {
		return d, nil
	}
	if !x.IsConst() {
		d[0] = g.Add(graph.Domain, "ConvGradX", maps.Clone(n.Attrs), dy, w, x)
	}
	if !w.IsConst() {
		d[1] = g.Add(graph.Domain, "ConvGradW", maps.Clone(n.Attrs), dy, x, w)
	}
	if b != nil && !b.IsConst() {
		d[2] = g.Add(graph.Domain, "BiasGrad", nil, dy)
	}
	return d, nil
}

// convGradTypes checks dy against the shapes of x and W.
func convGradTypes(n *graph.Node, x, w tensor.Shape) error {
	if err := oneType(n, 0, 1, 2); err != nil {
		return err
	}
	_, y, err := convWindow(n, x, w)
	if err != nil {
		return err
	}
	if !n.In[0].Type.Shape.Equal(y) {
		return Errorf(n, "dy has shape %v, want %v", n.In[0].Type.Shape, y)
	}
	return nil
}

func inferConvGradX(n *graph.Node) ([]tensor.Type, error) {
	if err := Want(n, 3, 3, Floats...); err != nil {
		return nil, err
	}
	return []tensor.Type{n.In[2].Type}, convGradTypes(n, n.In[2].Type.Shape, n.In[1].Type.Shape)
}

func refConvGradX(n *graph.Node, in, out []*tensor.Tensor) error {
	dy, w := wide(in[0]), wide(in[1])
	win, ys, err := convWindow(n, in[2].Shape, in[1].Shape)
	if err != nil {
		return err
	}
	dx := make([]float64, in[2].Len())
	xc, yc := tensor.Shape(win.in).NumElements(), tensor.Shape(win.out).NumElements()
	s := win.stride[len(win.stride)-1]
	eachTap(n, win, in[2].Shape, in[1].Shape, func(img, o, c, wi int, segs []segment) {
		f, xp, yp := w[wi], dx[c*xc:][:xc], dy[(img*ys[1]+o)*yc:][:yc]
		for _, g := range segs {
			xs := xp[g.in:]
			for i, v := range yp[g.out : g.out+g.n] {
				xs[i*s] += f * v
			}
		}
	})
	narrow(out[0], dx)
	return nil
}

func inferConvGradW(n *graph.Node) ([]tensor.Type, error) {
	if err := Want(n, 3, 3, Floats...); err != nil {
		return nil, err
	}
	return []tensor.Type{n.In[2].Type}, convGradTypes(n, n.In[1].Type.Shape, n.In[2].Type.Shape)
}

func refConvGradW(n *graph.Node, in, out []*tensor.Tensor) error {
	dy, x := wide(in[0]), wide(in[1])
	win, ys, err := convWindow(n, in[1].Shape, in[2].Shape)
	if err != nil {
		return err
	}
	dw := make([]float64, in[2].Len())
	xc, yc := tensor.Shape(win.in).NumElements(), tensor.Shape(win.out).NumElements()
	s := win.stride[len(win.stride)-1]
	eachTap(n, win, in[1].Shape, in[2].Shape, func(img, o, c, wi int, segs []segment) {
		xp, yp, sum := x[c*xc:][:xc], dy[(img*ys[1]+o)*yc:][:yc], 0.0
		for _, g := range segs {
			xs := xp[g.in:]
			for i, v := range yp[g.out : g.out+g.n] {
				sum += xs[i*s] * v
			}
		}
		dw[wi] += sum
	})
	narrow(out[0], dw)
	return nil
}

func refBiasGrad(_ *graph.Node, in, out []*tensor.Tensor) error {
	s := in[0].Shape
	dy, db := wide(in[0]), make([]float64, s[1])
	inner := s[2:].NumElements()
	if in[0].Len() > 0 {
		for i := 0; i < len(dy); i += inner {
			for _, v := range dy[i : i+inner] {
				db[i/inner%s[1]] += v
			}
		}
	}
	narrow(out[0], db)
	return nil
}

// channelsConv: x's channels are W's inputs, W's outputs are y's channels and the
// bias's. With groups a channel stands for its place in every group, so that the
// groups stay equal; in a depthwise convolution it takes its own outputs with it.
func channelsConv(n *graph.Node) []Coupling {
	cin, cout := n.In[0].Type.Shape[1], n.In[1].Type.Shape[0]
	g := int(n.Int("group", 1))
	x, wi, wo, y := Port{Axis: 1}, Port{Index: 1, Axis: 1}, Port{Index: 1}, Port{Out: true, Axis: 1}
	var cs []Coupling
	switch {
	case g == 1:
		cs = []Coupling{{From: x, To: wi}, {From: wo, To: y}}
	case cin == g: // depthwise
		m := cout / g
		cs = []Coupling{{From: wo, To: y}, {From: x, To: wo, Map: func(c int) []int {
			to := make([]int, m)
			for i := range to {
				to[i] = c*m + i
			}
			return to
		}}}
	default:
		ig, og := cin/g, cout/g
		cs = []Coupling{
			{From: x, To: wi, Map: func(c int) []int { return []int{c % ig} }},
			{From: wo, To: y, Map: func(o int) []int {
				to := make([]int, g)
				for i := range to {
					to[i] = o%og + i*og
				}
				return to
			}},
		}
	}
	if n.Input(2) != nil {
		cs = append(cs, Coupling{From: wo, To: Port{Index: 2}})
	}
	return cs
}
