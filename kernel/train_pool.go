package kernel

import (
	"whit/graph"
	"whit/internal/kern"
)

// MaxPool and its gradient in training, 2-D, float32, NHWC. Windows of 2x2 at
// stride 2 that do not hang over the edge have a path over whole rows of pixels;
// what comes first among equals is the reference's choice.
func init() {
	Register(Kernel{
		Op: "MaxPool", Name: "f32_maxpool_train", Priority: 50,
		Match: func(n *graph.Node, e *Env) bool {
			return e.Training && len(n.Out) == 1 && trainConvMatch(n, n.In[0], n.In[0], n.Out[0])
		},
		Layout: func(n *graph.Node, in []graph.Layout) Layouts {
			return Layouts{In: []graph.Layout{pixels(n.In[0], in[0])}, Out: []graph.Layout{{Order: graph.NHWC}}}
		},
		Prepare: prepareTrainMaxPool,
	})
	Register(Kernel{
		Domain: graph.Domain, Op: "MaxPoolGrad", Name: "f32_maxpoolgrad_train", Priority: 50,
		Match: func(n *graph.Node, e *Env) bool {
			return e.Training && trainConvMatch(n, n.In[0], n.In[1], n.Out[0])
		},
		Layout: func(n *graph.Node, in []graph.Layout) Layouts {
			return Layouts{In: []graph.Layout{pixels(n.In[0], in[0]), pixels(n.In[1], in[1])}, Out: []graph.Layout{{Order: graph.NHWC}}}
		},
		Prepare: prepareTrainMaxPoolGrad,
	})
	Register(Kernel{
		Domain: graph.Domain, Op: "GlobalAveragePoolGrad", Name: "f32_globalaveragepoolgrad_train", Priority: 50,
		Match: func(n *graph.Node, e *Env) bool {
			return e.Training && trainConvMatch(n, n.In[0], n.In[1], n.Out[0])
		},
		Layout: func(n *graph.Node, in []graph.Layout) Layouts {
			return Layouts{In: []graph.Layout{pixels(n.In[0], in[0]), in[1]}, Out: []graph.Layout{{Order: graph.NHWC}}}
		},
		Prepare: prepareTrainGlobalAverageGrad,
	})
}

// maxPool is the geometry of a pool node of training.
type maxPool struct {
	x, y                           image
	kh, kw, sh, sw, dh, dw, ph, pw int
	two                            bool // 2x2, stride 2, inside
}

func maxPoolOf(n *graph.Node, x, y *graph.Value) *maxPool {
	p := &maxPool{x: imageOf(x), y: imageOf(y)}
	k := n.Ints("kernel_shape")
	p.kh, p.kw = int(k[0]), int(k[1])
	p.sh, p.sw, p.dh, p.dw, p.ph, p.pw = window2(n, p.kh, p.kw, p.x, p.y)
	p.two = p.kh == 2 && p.kw == 2 && p.sh == 2 && p.sw == 2 && p.dh == 1 && p.dw == 1 && p.ph == 0 && p.pw == 0 &&
		2*p.y.h <= p.x.h && 2*p.y.w <= p.x.w
	return p
}

// best is the place in x of the largest element of channel c in the window of
// (oy, ox) of image img; -1 where the window holds padding only.
func (p *maxPool) best(x []float32, img, oy, ox, c int) int {
	at := -1
	var m float32
	for i := range p.kh {
		iy := oy*p.sh - p.ph + i*p.dh
		if iy < 0 || iy >= p.x.h {
			continue
		}
		for j := range p.kw {
			ix := ox*p.sw - p.pw + j*p.dw
			if ix < 0 || ix >= p.x.w {
				continue
			}
			k := p.x.start + img*p.x.img + iy*p.x.row + ix*p.x.px + c
			if v := x[k]; at < 0 || v > m || v != v && m == m {
				m, at = v, k
			}
		}
	}
	return at
}

// prepareTrainMaxPool: a tile is a part of an image's output rows.
func prepareTrainMaxPool(n *graph.Node, e *Env) (*Prepared, error) {
	vec := kern.VecOf(e.CPU)
	p, out := maxPoolOf(n, n.In[0], n.Out[0]), n.Out[0]
	low := minInf
	run := func(call *Call, img int, _ []byte) {
		x, y := f32s(call.In[0]), f32s(call.Out[0])
		clearHalo(out, p.y, y, img)
		for oy := range p.y.h {
			line := y[p.y.start+img*p.y.img+oy*p.y.row:]
			if p.two {
				a := x[p.x.start+img*p.x.img+2*oy*p.x.row:]
				b := a[p.x.row:]
				vec.Max2x2(line, a, b, p.y.w, p.y.c, p.y.px, p.x.px)
				continue
			}
			for ox := range p.y.w {
				for c := range p.y.c {
					v := low
					if k := p.best(x, img, oy, ox, c); k >= 0 {
						v = x[k]
					}
					line[ox*p.y.px+c] = v
				}
			}
		}
	}
	return &Prepared{Phases: []Phase{{Tiles: p.y.n, Run: run}}}, nil
}

var minInf = noActivation.lo

// prepareTrainMaxPoolGrad: a tile is an image, whose dx it owns.
func prepareTrainMaxPoolGrad(n *graph.Node, e *Env) (*Prepared, error) {
	vec := kern.VecOf(e.CPU)
	p, out := maxPoolOf(n, n.In[1], n.In[0]), n.Out[0]
	d := imageOf(out)
	run := func(call *Call, img int, _ []byte) {
		dy, x, dx := f32s(call.In[0]), f32s(call.In[1]), f32s(call.Out[0])
		clearHalo(out, d, dx, img)
		covered := p.two && 2*p.y.h == p.x.h && 2*p.y.w == p.x.w
		if !covered {
			for iy := range d.h {
				clear(dx[d.start+img*d.img+iy*d.row:][:(d.w-1)*d.px+d.c])
			}
		}
		for oy := range p.y.h {
			line := dy[p.y.start+img*p.y.img+oy*p.y.row:]
			if p.two {
				a := x[p.x.start+img*p.x.img+2*oy*p.x.row:]
				b := a[p.x.row:]
				da := dx[d.start+img*d.img+2*oy*d.row:]
				db := da[d.row:]
				vec.Max2x2Grad(da, db, line, a, b, p.y.w, p.y.c, d.px, p.y.px, p.x.px)
				continue
			}
			for ox := range p.y.w {
				for c := range p.y.c {
					if k := p.best(x, img, oy, ox, c); k >= 0 {
						// The same pixel in dx's layout.
						k -= p.x.start + img*p.x.img + c
						dx[d.start+img*d.img+k/p.x.row*d.row+k%p.x.row/p.x.px*d.px+c] += line[ox*p.y.px+c]
					}
				}
			}
		}
	}
	return &Prepared{Phases: []Phase{{Tiles: p.y.n, Run: run}}}, nil
}

// prepareTrainGlobalAverageGrad spreads dy over the pixels; a tile is an image.
func prepareTrainGlobalAverageGrad(n *graph.Node, _ *Env) (*Prepared, error) {
	y, out := imageOf(n.In[0]), n.Out[0]
	d := imageOf(out)
	count := float64(d.h * d.w)
	return &Prepared{Phases: []Phase{{Tiles: d.n, Run: func(call *Call, img int, _ []byte) {
		dx := f32s(call.Out[0])
		clearHalo(out, d, dx, img)
		at := d.start + img*d.img
		first := dx[at:][:d.c]
		for c, v := range f32s(call.In[0])[y.start+img*y.img:][:d.c] {
			first[c] = float32(float64(v) / count)
		}
		for row := range d.h {
			for col := range d.w {
				copy(dx[at+row*d.row+col*d.px:][:d.c], first)
			}
		}
	}}}}, nil
}
