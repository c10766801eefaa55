package kernel

import (
	"fmt"

	"whit/graph"
	"whit/internal/kern"
)

// Depthwise float32 convolution, 2-D, NHWC, one output a channel, constant
// weights: a row of pixels and one vector of channels at a time. Any kernel,
// stride, dilation and padding.
func init() {
	for _, on := range [][2]string{{"", "Conv"}, {graph.Domain, "Fused"}} {
		Register(Kernel{
			Domain: on[0], Op: on[1], Name: "f32_depthwise", Priority: 20, Parts: true,
			Match: func(n *graph.Node, _ *Env) bool {
				_, _, _, ok := depthwiseOf(n)
				return ok
			},
			Layout: func(n *graph.Node, in []graph.Layout) Layouts {
				_, _, w, _ := depthwiseOf(n)
				return Layouts{In: []graph.Layout{nhwc(w.halo())}, Out: []graph.Layout{nhwc([4]int{})}}
			},
			Prepare: prepareDepthwise,
		})
	}
}

// depthwiseOf is a depthwise convolution of constant weights, alone or with an activation or a
// curve (cv is nil where there is none), as if it stood alone, and its window.
func depthwiseOf(n *graph.Node) (m *graph.Node, cv *curve, w window, ok bool) {
	m, _, add, cv := unfuseCurve(n, "Conv")
	if m == nil || add >= 0 || !f32Node(m) || !m.In[1].IsConst() || m.In[1].Type.Shape.NumElements() == 0 {
		return nil, nil, w, false
	}
	w, ok = convWindow(m)
	s := m.In[1].Type.Shape
	return m, cv, w, ok && s[1] == 1 && s[0] > 1 && int(m.Int("group", 1)) == s[0]
}

func prepareDepthwise(fn *graph.Node, e *Env) (*Prepared, error) {
	n, act, _, cv := unfuseCurve(fn, "Conv")
	w, _ := convWindow(n)
	u, flat := kern.DW(e.CPU), kern.FlatOf(e.CPU)
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	nt, width := w.kh*w.kw, u.Width
	// Weights: [block][tap][width]. Channels that fill no vector are taken with some
	// before them, which are computed again, by the tile of the last whole vector.
	blocks, rest := max(1, y.c/width), 0
	if y.c > width && y.c%width > 0 {
		rest = y.c - width
	}
	packed := kern.Floats(e.Pack(n.In[1], fmt.Sprintf("f32_depthwise/%d", width), func() []byte {
		d, src := kern.AlignedFloats((blocks+1)*nt*width), f32s(n.In[1].Tensor())
		for b := range blocks + 1 {
			first := b * width
			if b == blocks {
				first = rest
			}
			for c := first; c < min(y.c, first+width); c++ {
				for t := range nt {
					d[(b*nt+t)*width+c-first] = src[c*nt+t]
				}
			}
		}
		return kern.Bytes(d)
	}))
	p := &Prepared{Kernel: u.Name, Packed: []int{1}}
	biases := (y.c + width + 15) &^ 15
	p.Scratch = 4 * biases
	if cv != nil {
		p.Kernel += "_curve"
		p.Scratch += 4 * (cv.floats() + curveChunk)
	}
	d := kern.Depthwise{RSX: w.sw * x.sw, LDY: y.sw, Pixels: w.ow, Lo: act.lo, Hi: act.hi, Flags: act.flags()}
	for i := range w.kh {
		for j := range w.kw {
			d.Off = append(d.Off, i*w.dh*x.sh+j*w.dw*x.sw)
		}
	}
	slopes := act.slopes(y.c, width)
	bias := n.Input(2) != nil
	if bias {
		d.Flags |= kern.FlagCol
	}
	units := y.n * w.oh
	nu, nb := split(units, blocks, w.ow*nt*width*2)
	tiles := gridOf(nu, nb, units, blocks, 0, y.size())
	p.Phases = []Phase{{Tiles: tiles.tiles(), Run: func(c *Call, tile int, scratch []byte) {
		d := d
		in, out := f32s(c.In[0]), f32s(c.Out[0])
		u0, u1, b0, b1 := tiles.at(tile)
		if b0 == 0 {
			for i := u0; i < u1; i++ {
				y.clearHalo(out, i/w.oh, i%w.oh, i%w.oh+1)
			}
		}
		if bias { // with zeros beyond the channels
			d.Bias = kern.Floats(scratch)[:biases]
			clear(d.Bias[copy(d.Bias, f32s(c.In[2])):])
		}
		bs := d.Bias
		run := func(xr, yr, ch, n, block int) {
			d.N, d.W = n, packed[block*nt*width:]
			if bias {
				d.Bias = bs[ch:]
			}
			if slopes != nil {
				d.Slope = slopes[ch:]
			}
			d.X, d.Y = in[xr+ch:], out[yr+ch:]
			u.Run(&d)
		}
		for i := u0; i < u1; i++ {
			// Rows outermost: blocks of channels share the lines of memory.
			img, oy := i/w.oh, i%w.oh
			xr, yr := x.at+img*x.sn+(oy*w.sh-w.ph)*x.sh-w.pw*x.sw, y.at+img*y.sn+oy*y.sh
			run(xr, yr, b0*width, min(y.c, (b1-b0)*width), b0)
			if rest > 0 && b1 == blocks {
				run(xr, yr, rest, width, blocks)
			}
			if cv != nil { // the row is near
				ch, end := b0*width, min(y.c, b1*width)
				if b1 == blocks {
					end = y.c
				}
				cv.pixels(flat, out[yr+ch:], w.ow, end-ch, y.sw, kern.Floats(scratch)[biases:])
			}
		}
	}}}
	return p, nil
}
