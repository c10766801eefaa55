package op

import (
	"math"
	"slices"

	"whit/graph"
	"whit/tensor"
)

// Pad adds pads (or, where negative, cuts) before and after the axes of input 3
// (all without it): inputs x, pads [before..., after...], the fill of mode
// constant (default 0), axes. Mode reflect mirrors without repeating the border,
// edge repeats it, wrap goes round.
func init() {
	Register(Op{
		Name: "Pad",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 4); err != nil {
				return nil, err
			}
			x := n.In[0].Type
			if err := inputType(n, 0, wholeTypes); err != nil {
				return nil, err
			}
			if c := n.Input(2); c != nil && (c.Type.DType != x.DType || c.Type.Shape.NumElements() != 1) {
				return nil, Errorf(n, "fill is %v, want a scalar %v", c.Type, x.DType)
			}
			p, err := padsOf(n, 1, 3, x.Shape)
			if err != nil {
				return nil, err
			}
			return []tensor.Type{{DType: x.DType, Shape: p.shape(x.Shape)}}, nil
		},
		Ref: moves(pad[uint8], pad[uint16], pad[uint32], pad[uint64]),
		VJP: func(g *graph.Graph, n *graph.Node, grads []*graph.Value) ([]*graph.Value, error) {
			ds := make([]*graph.Value, len(n.In))
			if wantsGrad(n.In[0]) {
				in := []*graph.Value{grads[0], shapeOf(g, n.In[0]), n.In[1]}
				if a := n.Input(3); a != nil {
					in = append(in, a)
				}
				ds[0] = g.Add(graph.Domain, "PadGrad", map[string]any{"mode": n.Str("mode", "constant")}, in...)
			}
			return ds, nil
		},
		// A channel moves behind what is put before it; constants that are put around are nobody's.
		Channels: func(n *graph.Node) []Coupling {
			x := n.In[0].Type.Shape
			p, err := padsOf(n, 1, 3, x)
			if err != nil {
				return nil
			}
			cs := []Coupling{}
			for k := range x {
				c := Coupling{From: Port{Axis: k}, To: Port{Out: true, Axis: k}}
				switch b := p[k]; {
				case b == (border{}):
				case n.Str("mode", "constant") == "constant" && b.before >= 0 && b.after >= 0:
					c.Map = func(c int) []int { return []int{c + b.before} }
				default:
					continue
				}
				cs = append(cs, c)
			}
			return cs
		},
	})

	// PadGrad sums dy onto the elements that Pad read: inputs dy, the shape of x
	// (int64 vector), pads, axes; attribute mode. Sums are float64 in dy's order.
	Register(Op{
		Domain: graph.Domain, Name: "PadGrad",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 3, 4); err != nil {
				return nil, err
			}
			if err := floatInput(n, 0); err != nil {
				return nil, err
			}
			s, err := shapeInput(n, 1)
			if err != nil {
				return nil, err
			}
			p, err := padsOf(n, 2, 3, s)
			if err != nil {
				return nil, err
			}
			if dy := n.In[0].Type; !dy.Shape.Equal(p.shape(s)) {
				return nil, Errorf(n, "gradient has shape %v, want %v", dy.Shape, p.shape(s))
			}
			return []tensor.Type{{DType: n.In[0].Type.DType, Shape: s}}, nil
		},
		Ref: float(padGrad[float32], padGrad[float64]),
	})
}

// border is what is added to one axis; negative cuts.
type border struct{ before, after int }

type borders []border

func (p borders) shape(x tensor.Shape) tensor.Shape {
	s := make(tensor.Shape, len(x))
	for k := range s {
		s[k] = x[k] + p[k].before + p[k].after
	}
	return s
}

func padsOf(n *graph.Node, padsIn, axesIn int, x tensor.Shape) (borders, error) {
	pads, err := vector(n, padsIn, "pads")
	if err != nil {
		return nil, err
	}
	axes, err := vector(n, axesIn, "axes")
	if err != nil {
		return nil, err
	}
	if n.Input(axesIn) == nil {
		for k := range x {
			axes = append(axes, int64(k))
		}
	}
	ks, err := normAxes(n, axes, len(x))
	if err != nil {
		return nil, err
	}
	if len(pads) != 2*len(ks) {
		return nil, Errorf(n, "%d pads for %d axes", len(pads), len(ks))
	}
	mode := n.Str("mode", "constant")
	if !slices.Contains([]string{"constant", "reflect", "edge", "wrap"}, mode) {
		return nil, Errorf(n, "mode %q, want constant, reflect, edge or wrap", mode)
	}
	p := make(borders, len(x))
	for j, k := range ks {
		b, a := pads[j], pads[j+len(ks)]
		if lim := int64(math.MaxInt64 / 32); b > lim || a > lim || b < -lim || a < -lim || int64(x[k])+b+a < 0 {
			return nil, Errorf(n, "pads %v for shape %v", pads, x)
		}
		if b < -int64(x[k]) || a < -int64(x[k]) {
			return nil, Errorf(n, "pads %v cut more than shape %v has", pads, x)
		}
		if mode != "constant" && x[k] == 0 && (b > 0 || a > 0) {
			return nil, Errorf(n, "mode %s cannot pad a dimension of 0", mode)
		}
		p[k] = border{int(b), int(a)}
	}
	return p, nil
}

// PadBorders is what a bound Pad, or the Pad whose gradient n is, adds before and after
// every axis; negative cuts.
func PadBorders(n *graph.Node) (before, after []int, err error) {
	i, x := 1, n.In[0].Type.Shape
	if n.Op == "PadGrad" {
		i, x = 2, n.Out[0].Type.Shape
	}
	p, err := padsOf(n, i, 3, x)
	for _, b := range p {
		before, after = append(before, b.before), append(after, b.after)
	}
	return before, after, err
}

// sources lists, for every position along each axis of the output, the position
// in x that it shows, -1 where it is fill.
func (p borders) sources(mode string, x tensor.Shape) [][]int {
	src := make([][]int, len(x))
	for k, d := range x {
		src[k] = make([]int, d+p[k].before+p[k].after)
		// What is cut is gone before the rest is mirrored or repeated, as in numpy.
		lo, hi := max(0, -p[k].before), d-max(0, -p[k].after)
		for i := range src[k] {
			j, m := i-p[k].before-lo, hi-lo
			switch {
			case j >= 0 && j < m:
			case mode == "constant" || m <= 0:
				src[k][i] = -1
				continue
			case mode == "edge":
				j = min(max(j, 0), m-1)
			case mode == "wrap":
				j = ((j % m) + m) % m
			case m == 1:
				j = 0
			default: // reflect
				t := 2 * (m - 1)
				if j = ((j % t) + t) % t; j >= m {
					j = t - j
				}
			}
			src[k][i] = lo + j
		}
	}
	return src
}

// eachPadded calls f with every output position and the offset in x that it
// shows, -1 for fill.
func eachPadded(out, x tensor.Shape, src [][]int, f func(i, off int)) {
	total := out.NumElements()
	if total == 0 {
		return
	}
	if len(out) == 0 {
		f(0, 0)
		return
	}
	st, idx := x.Strides(), make([]int, len(out))
	last := len(out) - 1
	for i := 0; i < total; {
		base, fill := 0, false
		for k := range last {
			s := src[k][idx[k]]
			fill = fill || s < 0
			base += s * st[k]
		}
		for _, s := range src[last] {
			if fill || s < 0 {
				f(i, -1)
			} else {
				f(i, base+s)
			}
			i++
		}
		for k := last - 1; k >= 0; k-- {
			if idx[k]++; idx[k] < out[k] {
				break
			}
			idx[k] = 0
		}
	}
}

func pad[T word](n *graph.Node, in, out []*tensor.Tensor) error {
	p, err := padsOf(n, 1, 3, in[0].Shape)
	if err != nil {
		return err
	}
	var c T
	if len(in) > 2 && in[2] != nil {
		c = words[T](in[2])[0]
	}
	x, y := words[T](in[0]), words[T](out[0])
	eachPadded(out[0].Shape, in[0].Shape, p.sources(n.Str("mode", "constant"), in[0].Shape), func(i, off int) {
		if off < 0 {
			y[i] = c
		} else {
			y[i] = x[off]
		}
	})
	return nil
}

func padGrad[T Float](n *graph.Node, in, out []*tensor.Tensor) error {
	x := out[0].Shape
	p, err := padsOf(n, 2, 3, x)
	if err != nil {
		return err
	}
	dy, acc := vals[T](in[0]), make([]float64, out[0].Len())
	eachPadded(in[0].Shape, x, p.sources(n.Str("mode", "constant"), x), func(i, off int) {
		if off >= 0 {
			acc[off] += float64(dy[i])
		}
	})
	dx := vals[T](out[0])
	for i, v := range acc {
		dx[i] = T(v)
	}
	return nil
}
