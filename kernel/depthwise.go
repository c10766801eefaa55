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
			Domain: on[0], Op: on[1], Name: "f32_depthwise", Priority: 20,
			Match: func(n *graph.Node, _ *Env) bool {
				m, _ := unfuse(n, "Conv")
				if m == nil || !f32Node(m) || !m.In[1].IsConst() || m.In[1].Type.Shape.NumElements() == 0 {
					return false
				}
				_, ok := convWindow(m)
				s := m.In[1].Type.Shape
				return ok && s[1] == 1 && s[0] > 1 && int(m.Int("group", 1)) == s[0]
			},
			Layout: func(n *graph.Node, in []graph.Layout) Layouts {
				m, _ := unfuse(n, "Conv")
				w, _ := convWindow(m)
				return Layouts{In: []graph.Layout{nhwc(w.halo())}, Out: []graph.Layout{nhwc([4]int{})}}
			},
			Prepare: prepareDepthwise,
		})
	}
}

func prepareDepthwise(fn *graph.Node, e *Env) (*Prepared, error) {
	n, act := unfuse(fn, "Conv")
	w, _ := convWindow(n)
	u := kern.DW(e.CPU)
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	nt, width := w.kh*w.kw, u.Width
	blocks := (y.c + width - 1) / width
	// Weights and bias: [block][tap][width], zeros beyond the channels.
	packed := kern.Floats(e.Pack(n.In[1], fmt.Sprintf("f32_depthwise/%d", width), func() []byte {
		d, src := kern.AlignedFloats(blocks*nt*width), f32s(n.In[1].Tensor())
		for c := range y.c {
			for t := range nt {
				d[(c/width*nt+t)*width+c%width] = src[c*nt+t]
			}
		}
		return kern.Bytes(d)
	}))
	p := &Prepared{Kernel: u.Name, Packed: []int{1}, Scratch: 4 * width}
	d := kern.Depthwise{RSX: w.sw * x.sw, LDY: y.sw, Pixels: w.ow, Lo: act.lo, Hi: act.hi, Flags: act.flags()}
	for i := range w.kh {
		for j := range w.kw {
			d.Off = append(d.Off, i*w.dh*x.sh+j*w.dw*x.sw)
		}
	}
	bias := n.Input(2) != nil
	if bias {
		d.Flags |= kern.FlagCol
	}
	units := y.n * w.oh
	nu, nb := split(units, blocks, w.ow*nt*width*2)
	p.Phases = []Phase{{Tiles: nu * nb, Run: func(c *Call, tile int, scratch []byte) {
		d := d
		in, out := f32s(c.In[0]), f32s(c.Out[0])
		u0, u1 := part(tile%nu, nu, units)
		b0, b1 := part(tile/nu, nb, blocks)
		if b0 == 0 {
			for i := u0; i < u1; i++ {
				y.clearHalo(out, i/w.oh, i%w.oh, i%w.oh+1)
			}
		}
		if bias {
			d.Bias = kern.Floats(scratch)[:width]
		}
		// A row at a time: what its windows read stays in a near cache for all channels.
		for i := u0; i < u1; i++ {
			img, oy := i/w.oh, i%w.oh
			from, to := x.at+img*x.sn+(oy*w.sh-w.ph)*x.sh-w.pw*x.sw, y.at+img*y.sn+oy*y.sh
			for b := b0; b < b1; b++ {
				ch := b * width
				d.N, d.W = min(width, y.c-ch), packed[b*nt*width:]
				if bias {
					clear(d.Bias[copy(d.Bias, f32s(c.In[2])[ch:]):])
				}
				d.X, d.Y = in[from+ch:], out[to+ch:]
				u.Run(&d)
			}
		}
	}}}
	return p, nil
}
