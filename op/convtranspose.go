package op

import (
	"maps"

	"whit/graph"
	"whit/tensor"
)

// ConvTranspose is the transpose of Conv with the same geometry (what ConvGradX
// computes), plus a bias: x [N,Cin,in...], W [Cin,Cout/group,kernel...], b [Cout],
// y [N,Cout,out...], every x spread over the window of y that Conv would have read
// for it. out = stride·(in-1) + output_padding + extent of the kernel - pads. The pads
// are given; or auto_pad SAME_* makes them so that out is stride·in, or less where the
// kernel does not reach so far; or the attribute output_shape does, and fixes out.
func init() {
	Register(Op{
		Name:     "ConvTranspose",
		Infer:    inferConvTranspose,
		Ref:      refConvTranspose,
		VJP:      vjpConvTranspose,
		Channels: channelsConvTranspose,
		Cost: func(n *graph.Node) (macs, bytes int64) {
			return convMACs(n.In[0].Type.Shape, n.In[1].Type.Shape), IOBytes(n)
		},
	})
	// ConvTransposeGradX is the gradient with respect to x: inputs dy, W and x (of which
	// only the type is used), the attributes of the ConvTranspose.
	Register(Op{
		Domain: graph.Domain, Name: "ConvTransposeGradX",
		Infer: func(n *graph.Node) ([]tensor.Type, error) { return inferConvTransposeGrad(n, 2, 1) },
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			dy, w, dx := wide(in[0]), wide(in[1]), make([]float64, in[2].Len())
			return convTransposeTaps(n, in[2].Shape, in[1].Shape, func(ix, iy, iw int) { dx[ix] += w[iw] * dy[iy] },
				func() { narrow(out[0], dx) })
		},
	})
	// ConvTransposeGradW is the gradient with respect to W: inputs dy, x and W (of which
	// only the type is used), the attributes of the ConvTranspose.
	Register(Op{
		Domain: graph.Domain, Name: "ConvTransposeGradW",
		Infer: func(n *graph.Node) ([]tensor.Type, error) { return inferConvTransposeGrad(n, 1, 2) },
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			dy, x, dw := wide(in[0]), wide(in[1]), make([]float64, in[2].Len())
			return convTransposeTaps(n, in[1].Shape, in[2].Shape, func(ix, iy, iw int) { dw[iw] += x[ix] * dy[iy] },
				func() { narrow(out[0], dw) })
		},
	})
}

// convTransposeWindow is the geometry of the Conv whose transpose this is, from y's
// spatial shape (in) to x's (out), and y's shape.
func convTransposeWindow(n *graph.Node, x, w tensor.Shape) (*window, tensor.Shape, error) {
	if len(x) < 3 || len(w) != len(x) {
		return nil, nil, Errorf(n, "x %v and W %v: want equal ranks of at least 3", x, w)
	}
	g := n.Int("group", 1)
	if g < 1 || g > int64(max(1, x[1])) || x[1] != w[0] || x[1]%int(g) != 0 {
		return nil, nil, Errorf(n, "x has %d channels, W has shape %v, group is %d: want W for x's channels, and group to divide them", x[1], w, g)
	}
	if k := n.Ints("kernel_shape"); k != nil {
		for i, v := range w[2:] {
			if len(k) != len(w)-2 || k[i] != int64(v) {
				return nil, nil, Errorf(n, "kernel_shape %v does not fit W %v", k, w)
			}
		}
	}
	r := len(x) - 2
	// Strides, dilations and pads are read and checked as Conv's on an input so large that it always fits.
	big := make([]int, r)
	for i := range big {
		big[i] = 1 << 62
	}
	m := *n
	m.Attrs = maps.Clone(n.Attrs)
	auto := n.Str("auto_pad", "NOTSET")
	if auto == "SAME_UPPER" || auto == "SAME_LOWER" {
		delete(m.Attrs, "auto_pad")
		delete(m.Attrs, "pads")
	}
	win, err := newWindow(&m, big, w[2:], false)
	if err != nil {
		return nil, nil, err
	}
	optional := func(name string) ([]int64, error) {
		v := n.Ints(name)
		if v == nil {
			return nil, nil
		}
		if len(v) != r {
			return nil, Errorf(n, "%s has %d entries, want %d", name, len(v), r)
		}
		for _, d := range v {
			if d < 0 || d > maxWindow {
				return nil, Errorf(n, "%s %v is out of range", name, v)
			}
		}
		return v, nil
	}
	extra, err := optional("output_padding")
	if err != nil {
		return nil, nil, err
	}
	shape, err := optional("output_shape")
	if err != nil {
		return nil, nil, err
	}
	y := tensor.Shape{x[0], w[1] * int(g)}
	for a := range r {
		if x[2+a] > maxWindow {
			return nil, nil, Errorf(n, "x %v is too large", x)
		}
		full := max(0, (x[2+a]-1)*win.stride[a]+win.extent(a))
		if x[2+a] == 0 {
			full = 0
		}
		if extra != nil {
			full += int(extra[a])
		}
		out := full - win.begin[a] - win.end[a]
		if same := auto == "SAME_UPPER" || auto == "SAME_LOWER"; shape != nil || same {
			want := x[2+a] * win.stride[a]
			if shape != nil {
				want = int(shape[a])
			}
			total := max(0, full-want)
			if out = full - total; shape != nil {
				out = want // also where that is more than the kernel reaches
			}
			win.begin[a] = total / 2
			if auto != "SAME_UPPER" {
				win.begin[a] = total - total/2
			}
			win.end[a] = total - win.begin[a]
		}
		if out < 0 {
			return nil, nil, Errorf(n, "axis %d: the pads exceed the output", a+2)
		}
		y = append(y, out)
	}
	win.in, win.out = y[2:], x[2:]
	return win, y, nil
}

func inferConvTranspose(n *graph.Node) ([]tensor.Type, error) {
	if err := Want(n, 2, 3, Floats...); err != nil {
		return nil, err
	}
	if err := oneType(n, 0, 1, 2); err != nil {
		return nil, err
	}
	_, y, err := convTransposeWindow(n, n.In[0].Type.Shape, n.In[1].Type.Shape)
	if err != nil {
		return nil, err
	}
	if b := n.Input(2); b != nil && !b.Type.Shape.Equal(tensor.Shape{y[1]}) {
		return nil, Errorf(n, "bias has shape %v, want [%d]", b.Type.Shape, y[1])
	}
	return []tensor.Type{{DType: n.In[0].Type.DType, Shape: y}}, nil
}

func inferConvTransposeGrad(n *graph.Node, x, w int) ([]tensor.Type, error) {
	if err := Want(n, 3, 3, Floats...); err != nil {
		return nil, err
	}
	if err := oneType(n, 0, 1, 2); err != nil {
		return nil, err
	}
	_, y, err := convTransposeWindow(n, n.In[x].Type.Shape, n.In[w].Type.Shape)
	if err != nil {
		return nil, err
	}
	if !n.In[0].Type.Shape.Equal(y) {
		return nil, Errorf(n, "dy has shape %v, want %v", n.In[0].Type.Shape, y)
	}
	return []tensor.Type{n.In[2].Type}, nil
}

// convTransposeTaps calls f for every triple of elements of x, y and W that meet, and
// then done.
func convTransposeTaps(n *graph.Node, x, w tensor.Shape, f func(ix, iy, iw int), done func()) error {
	win, y, err := convTransposeWindow(n, x, w)
	if err != nil {
		return err
	}
	nx, ny, s := tensor.Shape(win.out).NumElements(), tensor.Shape(win.in).NumElements(), win.stride[len(win.stride)-1]
	eachTap(n, win, y, w, func(img, o, c, wi int, segs []segment) {
		for _, g := range segs {
			for i := range g.n {
				f((img*x[1]+o)*nx+g.out+i, c*ny+g.in+i*s, wi)
			}
		}
	})
	done()
	return nil
}

func refConvTranspose(n *graph.Node, in, out []*tensor.Tensor) error {
	x, w, y := wide(in[0]), wide(in[1]), make([]float64, out[0].Len())
	if s := out[0].Shape; len(in) > 2 && in[2] != nil {
		b, inner := wide(in[2]), s[2:].NumElements()
		for i := range y {
			y[i] = b[i/inner%s[1]]
		}
	}
	return convTransposeTaps(n, in[0].Shape, in[1].Shape, func(ix, iy, iw int) { y[iy] += w[iw] * x[ix] },
		func() { narrow(out[0], y) })
}

func vjpConvTranspose(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
	x, w, b, dy := n.In[0], n.In[1], n.Input(2), grads[0]
	d := make([]*graph.Value, len(n.In))
	if !x.IsConst() {
		d[0] = g.Add(graph.Domain, "ConvTransposeGradX", maps.Clone(n.Attrs), dy, w, x)
	}
	if !w.IsConst() {
		d[1] = g.Add(graph.Domain, "ConvTransposeGradW", maps.Clone(n.Attrs), dy, x, w)
	}
	if b != nil && !b.IsConst() {
		d[2] = g.Add(graph.Domain, "BiasGrad", nil, dy)
	}
	return d, nil
}

// channelsConvTranspose: x's channels are W's first axis; W's second axis is y's
// channels, in every group anew, and the bias's.
func channelsConvTranspose(n *graph.Node) []Coupling {
	g, m := int(n.Int("group", 1)), n.In[1].Type.Shape[1]
	cs := []Coupling{{From: Port{Axis: 1}, To: Port{Index: 1}}}
	spread := func(c int) []int {
		to := make([]int, g)
		for i := range to {
			to[i] = c + i*m
		}
		return to
	}
	if ig := n.In[0].Type.Shape[1] / max(1, g); g > 1 { // the groups stay equal
		cs = []Coupling{{From: Port{Axis: 1}, To: Port{Index: 1}, Map: func(c int) []int {
			to := make([]int, g)
			for i := range to {
				to[i] = c%ig + i*ig
			}
			return to
		}}}
	}
	cs = append(cs, Coupling{From: Port{Index: 1, Axis: 1}, To: Port{Out: true, Axis: 1}, Map: spread})
	if n.Input(2) != nil {
		cs = append(cs, Coupling{From: Port{Index: 1, Axis: 1}, To: Port{Index: 2}, Map: spread})
	}
	return cs
}
