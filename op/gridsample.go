package op

import (
	"math"

	"whit/graph"
	"whit/tensor"
)

// GridSample reads x [N,C,in...] at the places that grid [N,out...,r] names for
// each of its r spatial axes, the last axis first, in -1 to 1: y [N,C,out...].
// Attribute mode is linear (bilinear), nearest or cubic (bicubic, r = 2: Keys,
// "Cubic convolution interpolation for digital image processing", 1981, a = -0.75),
// padding_mode zeros, border or reflection, and with align_corners -1 and 1 are the
// centres of the outermost elements, not their edges.
func init() {
	Register(Op{
		Name: "GridSample",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 2, 2, Floats...); err != nil {
				return nil, err
			}
			x, g := n.In[0].Type, n.In[1].Type
			r := len(x.Shape) - 2
			if r < 1 || len(g.Shape) != r+2 || g.Shape[r+1] != r || g.Shape[0] != x.Shape[0] {
				return nil, Errorf(n, "x %v and grid %v do not fit", x.Shape, g.Shape)
			}
			if x.Shape[2:].NumElements() == 0 {
				return nil, Errorf(n, "x %v has nothing to read", x.Shape)
			}
			switch n.Str("mode", "linear") {
			case "linear", "bilinear", "nearest":
			case "cubic", "bicubic":
			default:
				return nil, Errorf(n, "mode %q is not known", n.Str("mode", ""))
			}
			if r > 4 {
				return nil, Unsupported(n, "%d spatial axes", r)
			}
			switch p := n.Str("padding_mode", "zeros"); p {
			case "zeros", "border", "reflection":
			default:
				return nil, Errorf(n, "padding_mode %q is not known", p)
			}
			return []tensor.Type{{DType: x.DType, Shape: append(x.Shape[:2].Clone(), g.Shape[1:r+1]...)}}, nil
		},
		Ref: refGridSample,
		// Channels pass; the spatial axes are mixed.
		Channels: func(*graph.Node) []Coupling {
			return []Coupling{{From: Port{Axis: 1}, To: Port{Out: true, Axis: 1}}}
		},
		Cost: func(n *graph.Node) (macs, bytes int64) {
			return int64(n.Out[0].Type.Shape.NumElements()) << (len(n.In[0].Type.Shape) - 2), IOBytes(n)
		},
	})
}

func refGridSample(n *graph.Node, in, out []*tensor.Tensor) error {
	x, g, xs := wide(in[0]), wide(in[1]), in[0].Shape
	r := len(xs) - 2
	dims, st := xs[2:], xs[2:].Strides()
	mode, pad := n.Str("mode", "linear"), n.Str("padding_mode", "zeros")
	align, double := n.Int("align_corners", 0) != 0, in[1].DType == tensor.Float64
	y := make([]float64, out[0].Len())
	points := out[0].Shape[2:].NumElements()
	inner := dims.NumElements()
	// place is element i of axis a after padding; -1 outside.
	place := func(i, a int) int {
		d := dims[a]
		if i >= 0 && i < d {
			return i
		}
		switch pad {
		case "border":
			return max(0, min(d-1, i))
		case "reflection":
			lo, hi := edges(d, align)
			return max(0, min(d-1, int(reflect(float64(i), lo, hi))))
		}
		return -1
	}
	taps := 2
	switch mode {
	case "nearest":
		taps = 1
	case "cubic", "bicubic":
		taps = 4
	}
	start, weight := make([]int, r), make([][4]float64, r)
	for p := range xs[0] * points {
		img, pt := p/points, p%points
		for a := range r {
			c := unnormalize(g[p*r+r-1-a], dims[a], align, double)
			if taps == 1 {
				c = math.RoundToEven(c)
			}
			if lo, hi := edges(dims[a], align); c < lo || c > hi {
				switch pad {
				case "border":
					c = max(0, min(float64(dims[a]-1), c))
				case "reflection":
					c = reflect(c, lo, hi)
				}
			}
			f := math.Floor(c)
			t := c - f
			switch start[a] = int(f); taps {
			case 1:
				weight[a] = [4]float64{1}
			case 2:
				weight[a] = [4]float64{1 - t, t}
			default:
				start[a]--
				weight[a] = keys(t)
			}
		}
		for k := range 1 << (r * taps / 2 * boolInt(taps > 1)) {
			w, at := 1.0, 0
			for a, k := r-1, k; a >= 0; a, k = a-1, k/taps {
				i := place(start[a]+k%taps, a)
				if i < 0 {
					w = 0
					break
				}
				w *= weight[a][k%taps]
				at += i * st[a]
			}
			if w == 0 {
				continue
			}
			for c := range xs[1] {
				y[(img*xs[1]+c)*points+pt] += w * x[(img*xs[1]+c)*inner+at]
			}
		}
	}
	narrow(out[0], y)
	return nil
}

// unnormalize turns a coordinate in -1..1 into one in elements; without double in
// float32, as the grids' type is. Far places and NaN are moved to where integers
// still hold them.
func unnormalize(v float64, d int, align, double bool) float64 {
	var c float64
	switch {
	case align && double:
		c = (v + 1) / 2 * float64(d-1)
	case align:
		c = float64(float32(float32(float32(v)+1)/2) * float32(d-1))
	case double:
		c = ((v+1)*float64(d) - 1) / 2
	default:
		c = float64((float32(float32(float32(v)+1)*float32(d)) - 1) / 2)
	}
	const far = 1 << 30
	if !(c > -far) {
		return -far
	}
	return min(c, far)
}

// edges is the interval that reflection keeps to.
func edges(d int, align bool) (lo, hi float64) {
	if align {
		return 0, float64(d - 1)
	}
	return -0.5, float64(d) - 0.5
}

// reflect mirrors x at lo and hi until it is between them.
func reflect(x, lo, hi float64) float64 {
	span := hi - lo
	if span <= 0 {
		return lo
	}
	d := math.Mod(math.Abs(x-lo), 2*span)
	if d > span {
		d = 2*span - d
	}
	return lo + d
}

// keys is the cubic convolution's weights of the four elements around a place t
// past the second.
func keys(t float64) [4]float64 {
	const a = -0.75
	u := 1 - t
	return [4]float64{
		((a*(t+1)-5*a)*(t+1)+8*a)*(t+1) - 4*a,
		((a+2)*t-(a+3))*t*t + 1,
		((a+2)*u-(a+3))*u*u + 1,
		((a*(2-t)-5*a)*(2-t)+8*a)*(2-t) - 4*a,
	}
}
