package kernel

import (
	"math"

	"whit/graph"
	"whit/internal/kern"
)

// Pools of float32, 2-D. NHWC images pass through and are pooled channel by
// channel side by side; row-major ones plane by plane.
func init() {
	for _, name := range []string{"MaxPool", "AveragePool"} {
		Register(Kernel{
			Op: name, Name: "f32_" + lower(name), Priority: 10, Parts: true,
			Match: func(n *graph.Node, _ *Env) bool {
				if !f32Node(n) || len(n.Out) != 1 || n.In[0].Type.Shape.NumElements() == 0 {
					return false
				}
				_, ok := poolWindow(n)
				return ok
			},
			Layout:  imageLayout,
			Prepare: preparePool,
		})
	}
	Register(Kernel{
		Op: "GlobalAveragePool", Name: "f32_globalaveragepool", Priority: 10,
		Match: func(n *graph.Node, _ *Env) bool {
			return f32Node(n) && len(n.In[0].Type.Shape) == 4 && n.In[0].Type.Shape.NumElements() > 0
		},
		Layout:  imageLayout,
		Prepare: prepareGlobalAverage,
	})
}

// imageLayout passes NHWC through: no halo is needed.
func imageLayout(n *graph.Node, in []graph.Layout) Layouts {
	if in[0].Order == graph.NHWC {
		return Layouts{In: []graph.Layout{nhwc([4]int{})}, Out: []graph.Layout{nhwc([4]int{})}}
	}
	return Layouts{In: make([]graph.Layout, 1), Out: make([]graph.Layout, 1)}
}

func poolWindow(n *graph.Node) (window, bool) {
	return window2D(n, n.In[0].Type.Shape, n.Out[0].Type.Shape, kernelShape(n))
}

// taps is the range [from,to) of taps that meet [lo,hi) at output o.
func taps(o, stride, pad, dilation, kernel, lo, hi int) (from, to int) {
	start := o*stride - pad
	if start < lo {
		from = (lo - start + dilation - 1) / dilation
	}
	to = kernel
	if last := (hi - 1 - start) / dilation; hi-1 < start {
		to = 0
	} else if last+1 < to {
		to = last + 1
	}
	return from, max(from, to)
}

func preparePool(n *graph.Node, e *Env) (*Prepared, error) {
	w, _ := poolWindow(n)
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	average := n.Op == "AveragePool"
	// The divisor of AveragePool counts the padding that pads names, never what
	// ceil_mode hangs over.
	lo, hiH, hiW := [2]int{0, 0}, w.h, w.w
	if n.Int("count_include_pad", 0) != 0 {
		end := [2]int{w.halo()[2], w.halo()[3]}
		switch auto := n.Str("auto_pad", "NOTSET"); auto {
		case "NOTSET", "":
			end = [2]int{}
			if p := n.Ints("pads"); len(p) == 4 {
				end = [2]int{int(p[2]), int(p[3])}
			}
		}
		lo, hiH, hiW = [2]int{-w.ph, -w.pw}, w.h+end[0], w.w+end[1]
	}
	p := &Prepared{}
	flat, op, empty := kern.FlatOf(e.CPU), kern.OpMax, float32(math.Inf(-1))
	if average {
		op, empty = kern.OpAdd, 0
	}
	// The commonest pool of all has a kernel of its own.
	pairs := !average && y.nhwc && w.kh == 2 && w.kw == 2 && w.sh == 2 && w.sw == 2 && w.dh == 1 && w.dw == 1 && w.halo() == [4]int{}
	vec := kern.VecOf(e.CPU)
	// Windows of NHWC images have lists of where their taps are, by what of them lies
	// within the image.
	pooler := kern.PoolerOf(e.CPU)
	var offs map[[4]int][]int
	if y.nhwc && !pairs && w.kh*w.kw <= 256 {
		offs = map[[4]int][]int{}
		for oy := range y.h {
			i0, i1 := taps(oy, w.sh, w.ph, w.dh, w.kh, 0, w.h)
			for ox := range y.w {
				j0, j1 := taps(ox, w.sw, w.pw, w.dw, w.kw, 0, w.w)
				k := [4]int{i0, i1, j0, j1}
				if _, ok := offs[k]; ok {
					continue
				}
				list := []int{}
				for i := i0; i < i1; i++ {
					for j := j0; j < j1; j++ {
						list = append(list, (i-i0)*w.dh*x.sh+(j-j0)*w.dw*x.sw)
					}
				}
				offs[k] = list
			}
		}
	}
	planes := 1 // row-major: a unit is a row of one plane
	if !y.nhwc {
		planes = y.c
	}
	units := y.n * planes * y.h
	tiles, _ := split(units, 1, y.w*(y.c/max(1, planes))*w.kh*w.kw*4)
	p.Phases = []Phase{{Tiles: tiles, Run: func(c *Call, tile int, _ []byte) {
		in, out := f32s(c.In[0]), f32s(c.Out[0])
		u0, u1 := part(tile, tiles, units)
		for u := u0; u < u1; u++ {
			oy, r := u%y.h, u/y.h
			ch, img := r%planes, r/planes
			if ch == 0 {
				y.clearHalo(out, img, oy, oy+1)
			}
			i0, i1 := taps(oy, w.sh, w.ph, w.dh, w.kh, 0, w.h)
			d0, d1 := taps(oy, w.sh, w.ph, w.dh, w.kh, lo[0], hiH)
			src := in[x.at+img*x.sn+ch*x.sc:]
			if offs != nil {
				t := kern.Pool{RSX: w.sw * x.sw, LDY: y.sw, N: y.c}
				for ox := 0; ox < y.w; ox += t.Pixels {
					// Pixels whose windows lie alike.
					j0, j1 := taps(ox, w.sw, w.pw, w.dw, w.kw, 0, w.w)
					k0, k1 := taps(ox, w.sw, w.pw, w.dw, w.kw, lo[1], hiW)
					t.Pixels = 1
					for ox+t.Pixels < y.w {
						a0, a1 := taps(ox+t.Pixels, w.sw, w.pw, w.dw, w.kw, 0, w.w)
						b0, b1 := taps(ox+t.Pixels, w.sw, w.pw, w.dw, w.kw, lo[1], hiW)
						if a0 != j0 || a1 != j1 || b0 != k0 || b1 != k1 {
							break
						}
						t.Pixels++
					}
					// Offsets count from the window's first tap within the image.
					if t.Off, t.X = offs[[4]int{i0, i1, j0, j1}], nil; len(t.Off) > 0 {
						t.X = src[(oy*w.sh-w.ph+i0*w.dh)*x.sh+(ox*w.sw-w.pw+j0*w.dw)*x.sw:]
					}
					t.Y = out[y.at+img*y.sn+oy*y.sh+ox*y.sw:]
					if t.Div = float32((d1 - d0) * (k1 - k0)); average && t.Div > 0 {
						pooler.Mean(&t)
					} else if average {
						t.Div = 1
						pooler.Mean(&t)
					} else {
						pooler.Max(&t)
					}
				}
				continue
			}
			line := out[y.at+img*y.sn+ch*y.sc+oy*y.sh:]
			if pairs {
				top := in[x.at+img*x.sn+2*oy*x.sh:]
				vec.Max2x2(line, top, top[x.sh:], y.w, y.c, y.sw, x.sw)
				continue
			}
			for ox := range y.w {
				j0, j1 := taps(ox, w.sw, w.pw, w.dw, w.kw, 0, w.w)
				at := (oy*w.sh-w.ph)*x.sh + (ox*w.sw-w.pw)*x.sw
				if !y.nhwc {
					if average {
						var sum float32
						for i := i0; i < i1; i++ {
							for j := j0; j < j1; j++ {
								sum += src[at+i*w.dh*x.sh+j*w.dw]
							}
						}
						line[ox] = sum
					} else {
						best := float32(math.Inf(-1))
						for i := i0; i < i1; i++ {
							for j := j0; j < j1; j++ {
								if v := src[at+i*w.dh*x.sh+j*w.dw]; v > best || v != v {
									best = v
								}
							}
						}
						line[ox] = best
					}
				} else {
					d := line[ox*y.sw:][:y.c]
					for k := range d {
						d[k] = empty
					}
					for i := i0; i < i1; i++ {
						for j := j0; j < j1; j++ {
							s := src[at+i*w.dh*x.sh+j*w.dw*x.sw:][:len(d)]
							flat.Binary(op, d, d, s, 1, 1)
						}
					}
				}
				if average {
					k0, k1 := taps(ox, w.sw, w.pw, w.dw, w.kw, lo[1], hiW)
					if count := float32((d1 - d0) * (k1 - k0)); count > 0 {
						d := line[ox*y.sw:][:1]
						if y.nhwc {
							d = line[ox*y.sw:][:y.c]
						}
						for k := range d {
							d[k] /= count
						}
					}
				}
			}
		}
	}}}
	return p, nil
}

// prepareGlobalAverage sums in float64, pixels in row-major order, and rounds once.
func prepareGlobalAverage(n *graph.Node, e *Env) (*Prepared, error) {
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	const block = 64 // channels of one tile
	blocks := (x.c + block - 1) / block
	p, pooler := &Prepared{}, kern.PoolerOf(e.CPU)
	p.Phases = []Phase{{Tiles: x.n * blocks, Run: func(c *Call, tile int, _ []byte) {
		in, out := f32s(c.In[0]), f32s(c.Out[0])
		img, b := tile/blocks, tile%blocks
		if b == 0 {
			y.clearHalo(out, img, 0, 1)
		}
		c0, c1 := b*block, min(x.c, (b+1)*block)
		var sums [block]float64
		for h := range x.h {
			if x.sc == 1 {
				pooler.Sum(sums[:c1-c0], in[x.at+img*x.sn+h*x.sh+c0:], x.w, x.sw)
				continue
			}
			for w := range x.w {
				at := x.at + img*x.sn + h*x.sh + w*x.sw + c0*x.sc
				for k := range c1 - c0 {
					sums[k] += float64(in[at+k*x.sc])
				}
			}
		}
		for k, s := range sums[:c1-c0] {
			out[y.at+img*y.sn+(c0+k)*y.sc] = float32(s / float64(x.h*x.w))
		}
	}}}
	return p, nil
}
