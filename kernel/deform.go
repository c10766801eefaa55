package kernel

import (
	"math"

	"whit/graph"
	"whit/internal/kern"
)

// DeformColumns of float32 over two spatial axes. Where a tap reads is found once for
// all channels of an offset group; each of the four products is rounded.
func init() {
	Register(Kernel{
		Domain: graph.Domain, Op: "DeformColumns", Name: "f32_deform_columns", Priority: 10,
		Match: func(n *graph.Node, _ *Env) bool {
			x := n.In[0].Type.Shape
			return f32Node(n) && len(x) == 4 && n.Out[0].Type.Shape.NumElements() > 0 && x.NumElements() <= math.MaxInt32
		},
		Prepare: prepareDeform,
	})
}

// corner is what a sample's scratch holds: four places, as bits, and four weights.
const corner = 8

func prepareDeform(n *graph.Node, _ *Env) (*Prepared, error) {
	x := n.In[0].Type.Shape
	ints := func(name string) (v [4]int) {
		for i, k := range n.Ints(name) {
			v[i] = int(k)
		}
		return v
	}
	kernel, stride, dilation, pad := ints("kernel_shape"), [4]int{1, 1}, [4]int{1, 1}, ints("pads")
	if n.Ints("strides") != nil {
		stride = ints("strides")
	}
	if n.Ints("dilations") != nil {
		dilation = ints("dilations")
	}
	out := n.In[1].Type.Shape[2:]
	groups := int(n.Int("offset_group", 1))
	h, w, per, taps, points := x[2], x[3], x[1]/groups, kernel[0]*kernel[1], out[0]*out[1]
	// A tile is some places of one tap of one group of an image.
	_, chunks := split(1, points, 8*(per+4))
	lines := x[0] * groups * taps
	longest := (points + chunks - 1) / chunks
	return &Prepared{Scratch: 4 * corner * longest, Phases: []Phase{{Tiles: lines * chunks, Run: func(c *Call, tile int, scratch []byte) {
		line := tile / chunks
		g, t := line/taps, line%taps
		from, to := part(tile%chunks, chunks, points)
		off := f32s(c.In[1])[2*line*points:]
		s := kern.Floats(scratch)
		for p := from; p < to; p++ {
			y := float64(p/out[1]*stride[0]-pad[0]+t/kernel[1]*dilation[0]) + float64(off[p])
			x := float64(p%out[1]*stride[1]-pad[1]+t%kernel[1]*dilation[1]) + float64(off[points+p])
			m := 1.0
			if len(c.In) > 2 && c.In[2] != nil {
				m = float64(f32s(c.In[2])[line*points+p])
			}
			fy, fx := math.Floor(y), math.Floor(x)
			ty, tx := y-fy, x-fx
			for k := range 4 {
				iy, ix, wy, wx := fy, fx, 1-ty, 1-tx
				if k >= 2 {
					iy, wy = fy+1, ty
				}
				if k%2 == 1 {
					ix, wx = fx+1, tx
				}
				at, weight := 0, 0.0
				if iy >= 0 && iy < float64(h) && ix >= 0 && ix < float64(w) && wy != 0 && wx != 0 {
					at, weight = int(iy)*w+int(ix), m*wy*wx
				}
				s[(p-from)*corner+k] = math.Float32frombits(uint32(at))
				s[(p-from)*corner+4+k] = float32(weight)
			}
		}
		for k := g * per; k < (g+1)*per; k++ {
			x, y := f32s(c.In[0])[k*h*w:][:h*w], f32s(c.Out[0])[(k*taps+t)*points:][from:to]
			for p := range y {
				q := s[p*corner:][:corner]
				var v float32
				for j := range 4 {
					if f := q[4+j]; f != 0 { // what is outside may be infinite
						v += float32(f * x[math.Float32bits(q[j])])
					}
				}
				y[p] = v
			}
		}
	}}}}, nil
}
