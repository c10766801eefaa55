package op

import (
	"slices"

	"whit/graph"
	"whit/tensor"
)

// DeformColumns reads what the taps of a DeformConv see: inputs x [N,C,in...], offset
// and perhaps mask, and its attributes, kernel_shape, strides, dilations and pads all
// given; the result is [N,C·taps,places], a row for each channel and tap.
func init() {
	Register(Op{
		Domain: graph.Domain, Name: "DeformColumns",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 3, Floats...); err != nil {
				return nil, err
			}
			if err := oneType(n, 0, 1, 2); err != nil {
				return nil, err
			}
			win, groups, err := deformColumns(n)
			if err != nil {
				return nil, err
			}
			x := n.In[0].Type
			for i, c := range map[int]int{1: len(win.kernel), 2: 1} {
				want := append(tensor.Shape{x.Shape[0], groups * win.taps() * c}, win.out...)
				if v := n.Input(i); v != nil && !v.Type.Shape.Equal(want) {
					return nil, Errorf(n, "input %d has shape %v, want %v", i, v.Type.Shape, want)
				}
			}
			return []tensor.Type{{DType: x.DType, Shape: tensor.Shape{x.Shape[0], x.Shape[1] * win.taps(), tensor.Shape(win.out).NumElements()}}}, nil
		},
		Ref: func(n *graph.Node, in, out []*tensor.Tensor) error {
			win, groups, err := deformColumns(n)
			if err != nil {
				return err
			}
			var mask []float64
			if len(in) > 2 {
				mask = wide(in[2])
			}
			x, off, y := wide(in[0]), wide(in[1]), make([]float64, out[0].Len())
			dims, st := tensor.Shape(win.in), tensor.Shape(win.in).Strides()
			r, taps, points, size, c := len(win.kernel), win.taps(), tensor.Shape(win.out).NumElements(), dims.NumElements(), in[0].Shape[1]
			at, tap, place := make([]int, r), make([]int, r), make([]float64, r)
			for i := range in[0].Shape[0] * groups {
				for p := range points {
					for t := range taps {
						for a := range r {
							place[a] = float64(at[a]*win.stride[a]-win.begin[a]+tap[a]*win.dilation[a]) + off[((i*taps+t)*r+a)*points+p]
						}
						m := 1.0
						if mask != nil {
							m = mask[(i*taps+t)*points+p]
						}
						for k := i * (c / groups); k < (i+1)*(c/groups); k++ {
							y[(k*taps+t)*points+p] = m * linearAt(x[k*size:][:size], dims, st, place)
						}
						step(tap, win.kernel)
					}
					step(at, win.out)
				}
			}
			narrow(out[0], y)
			return nil
		},
		Cost: func(n *graph.Node) (macs, bytes int64) {
			return 4 * int64(n.Out[0].Type.Shape.NumElements()), IOBytes(n)
		},
	})
}

func deformColumns(n *graph.Node) (win *window, groups int, err error) {
	x, k := n.In[0].Type.Shape, n.Ints("kernel_shape")
	if len(x) < 3 || len(x) > 6 || len(k) != len(x)-2 {
		return nil, 0, Errorf(n, "kernel_shape %v for x %v", k, x)
	}
	kernel := make([]int, len(k))
	for i, v := range k {
		kernel[i] = int(min(max(v, 0), maxWindow))
	}
	taps := tensor.Shape(kernel)
	if err := taps.Check(); err != nil {
		return nil, 0, Errorf(n, "kernel_shape: %v", err)
	}
	if win, err = newWindow(n, x[2:], kernel, false); err != nil {
		return nil, 0, err
	}
	g := n.Int("offset_group", 1)
	if g < 1 || g > int64(max(1, x[1])) || x[1]%int(g) != 0 {
		return nil, 0, Errorf(n, "offset_group is %d of %d channels", g, x[1])
	}
	return win, int(g), nil
}

// maxColumns bounds the bytes of the columns that LowerDeformConv makes.
const maxColumns = 256 << 20

// LowerDeformConv says a bound DeformConv of float32 by DeformColumns and a product of
// matrices, where the columns are not too large. nil: n stays.
func LowerDeformConv(g *graph.Graph, n *graph.Node) []*graph.Node {
	if n.Domain != "" || n.Op != "DeformConv" || len(n.Out) != 1 || n.Out[0] == nil {
		return nil
	}
	ts, err := Infer(n)
	if err != nil || ts[0].DType != tensor.Float32 || ts[0].Shape.NumElements() == 0 {
		return nil
	}
	x, w, y := n.In[0].Type.Shape, n.In[1].Type.Shape, ts[0].Shape
	win, _, err := convWindow(n, x, w)
	if err != nil || x.NumElements() == 0 || w.NumElements() == 0 {
		return nil
	}
	groups, taps, points := int(n.Int("group", 1)), win.taps(), y[2:].NumElements()
	cols := tensor.Shape{x[0], x[1], taps, points}
	if cols.Check() != nil || cols.NumElements() > maxColumns/4 {
		return nil
	}
	var nodes []*graph.Node
	add := func(domain, op string, attrs map[string]any, in ...*graph.Value) *graph.Value {
		m := g.NewNode(domain, op, attrs, 1, in...)
		nodes = append(nodes, m)
		return m.Out[0]
	}
	reshape := func(v *graph.Value, s ...int) *graph.Value {
		d := make([]int64, len(s))
		for i, k := range s {
			d[i] = int64(k)
		}
		return add("", "Reshape", nil, v, g.NewConst("", tensor.Ints(d...)))
	}
	list := func(v ...int) []int64 {
		l := make([]int64, len(v))
		for i, k := range v {
			l[i] = int64(k)
		}
		return l
	}
	in := []*graph.Value{n.In[0], n.In[2]}
	if m := n.Input(4); m != nil {
		in = append(in, m)
	}
	v := add(graph.Domain, "DeformColumns", map[string]any{"kernel_shape": list(win.kernel...), "strides": list(win.stride...),
		"dilations": list(win.dilation...), "pads": list(slices.Concat(win.begin, win.end)...), "offset_group": n.Int("offset_group", 1)}, in...)
	k := w[1] * taps
	if groups == 1 {
		v = add("", "MatMul", nil, reshape(n.In[1], w[0], k), v)
	} else {
		v = add("", "MatMul", nil, reshape(n.In[1], groups, w[0]/groups, k), reshape(v, x[0], groups, k, points))
		v = reshape(v, x[0], w[0], points)
	}
	if b := n.Input(3); b != nil {
		v = add("", "Add", nil, v, reshape(b, w[0], 1))
	}
	v = reshape(v, y...)
	v.Producer.Out[0], n.Out[0].Producer = n.Out[0], v.Producer
	return nodes
}
