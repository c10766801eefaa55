package kernel

import (
	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
)

// Pools of quantised values, 2-D, NHWC.
func init() {
	images := func(n *graph.Node, in []graph.Layout) Layouts {
		l := Layouts{In: make([]graph.Layout, len(in)), Out: []graph.Layout{qnhwc(n.Out[0].Type.Shape[1])}}
		l.In[0] = qnhwc(n.In[0].Type.Shape[1])
		return l
	}
	Register(Kernel{
		Op: "MaxPool", Name: "i8_maxpool", Priority: 10,
		Match: func(n *graph.Node, _ *Env) bool {
			if !isByte(n.In[0]) || len(n.Out) != 1 || n.Out[0].Type.Shape.NumElements() == 0 || n.In[0].Type.Shape.NumElements() == 0 {
				return false
			}
			_, ok := poolWindow(n)
			return ok
		},
		Layout:  images,
		Prepare: prepareQMax,
	})
	for _, name := range []string{"AveragePool", "GlobalAveragePool"} {
		for _, on := range [][2]string{{graph.Domain, "QLinear" + name}, {graph.Domain, "Fused"}} {
			Register(Kernel{
				Domain: on[0], Op: on[1], Name: "i8_" + lower(name), Priority: 10,
				Match: func(n *graph.Node, _ *Env) bool {
					m, _, _ := qunfuse(n, graph.Domain, "QLinear"+name)
					if m == nil || len(m.In[0].Type.Shape) != 4 || m.Out[0].Type.Shape.NumElements() == 0 || m.In[0].Type.Shape.NumElements() == 0 {
						return false
					}
					w, ok := averageWindow(m)
					sx, sy := scaleOf(m.In[1]), scaleOf(m.In[3])
					area := w.kh * w.kw
					// The sum of an int8 or uint8 less its zero point fits int32.
					return ok && area <= 1<<23 && sx > 0 && sy > 0 && isZero(m.In[2]) && isZero(m.In[4]) &&
						finite(float32(float64(sx)/float64(sy))) && finite(float32(float64(sx)/(float64(sy)*float64(area))))
				},
				Layout: images,
				Prepare: func(n *graph.Node, e *Env) (*Prepared, error) {
					m, lo, hi := qunfuse(n, graph.Domain, "QLinear"+name)
					return prepareQAverage(m, e, lo, hi)
				},
			})
		}
	}
}

// averageWindow is the window of the two average pools.
func averageWindow(n *graph.Node) (window, bool) {
	if n.Op == "QLinearAveragePool" {
		return poolWindow(n)
	}
	s := n.In[0].Type.Shape
	return window{h: s[2], w: s[3], oh: 1, ow: 1, kh: s[2], kw: s[3], sh: 1, sw: 1, dh: 1, dw: 1}, true
}

func prepareQMax(n *graph.Node, e *Env) (*Prepared, error) {
	w, _ := poolWindow(n)
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	v := kern.IntsOf(e.CPU)
	m := kern.I8Max{RSX: w.sw * x.sw, LDY: y.sw, Blocks: round16(y.c) / 16, Signed: n.In[0].Type.DType == tensor.Int8}
	var off []int
	for i := range w.kh {
		for j := range w.kw {
			off = append(off, i*w.dh*x.sh+j*w.dw*x.sw)
		}
	}
	// Pixels whose window is inside the image are one call a row.
	inside := func(o, stride, pad, extent, size int) bool { s := o*stride - pad; return s >= 0 && s+extent <= size }
	c0, c1 := w.ow, 0
	for o := range w.ow {
		if inside(o, w.sw, w.pw, w.extentW(), w.w) {
			c0, c1 = min(c0, o), o+1
		}
	}
	blocks := x.sw >= 16*m.Blocks && y.sw >= 16*m.Blocks
	least := byte(0)
	if m.Signed {
		least = 0x80
	}
	rows := y.n * y.h
	tiles, _ := split(rows, 1, y.w*y.c*w.kh*w.kw/2)
	p := &Prepared{Kernel: "i8_maxpool_" + v.Name()}
	p.Phases = []Phase{{Tiles: tiles, Run: func(c *Call, tile int, _ []byte) {
		m := m
		in, out := c.In[0].Bytes(), c.Out[0].Bytes()
		r0, r1 := part(tile, tiles, rows)
		for r := r0; r < r1; r++ {
			img, oy := r/y.h, r%y.h
			haloBytes(&y, out, img, oy, oy+1)
			i0, i1 := taps(oy, w.sh, w.ph, w.dh, w.kh, 0, w.h)
			src, dst := x.at+img*x.sn+(oy*w.sh-w.ph)*x.sh-w.pw*x.sw, y.at+img*y.sn+oy*y.sh
			a, b := w.ow, w.ow // what the call has done
			if blocks && i0 < i1 && c0 < c1 {
				a, b = c0, c1
				m.Pixels = b - a
				m.Off = off[:(i1-i0)*w.kw]
				m.X, m.Y = in[src+a*m.RSX+off[i0*w.kw]:], out[dst+a*y.sw:]
				v.Max(&m)
			}
			for ox := 0; ox < w.ow; ox++ {
				if ox == a {
					ox = b
					if ox >= w.ow {
						break
					}
				}
				j0, j1 := taps(ox, w.sw, w.pw, w.dw, w.kw, 0, w.w)
				d := out[dst+ox*y.sw:][:y.c]
				for k := range d {
					d[k] = 0
				}
				for i := i0; i < i1; i++ {
					for j := j0; j < j1; j++ {
						for k, b := range in[src+ox*m.RSX+off[i*w.kw+j]:][:y.c] {
							d[k] = max(d[k], b^least)
						}
					}
				}
				for k := range d {
					d[k] ^= least
				}
			}
		}
	}}}
	return p, nil
}

func prepareQAverage(n *graph.Node, e *Env, lo, hi int) (*Prepared, error) {
	w, _ := averageWindow(n)
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	rq := requantOf(lo, hi, zeroOf(n.In[4]))
	sx, sy, zx := float64(scaleOf(n.In[1])), float64(scaleOf(n.In[3])), zeroOf(n.In[2])
	// As preparePool: the divisor counts the padding that pads names.
	low, hiH, hiW := [2]int{}, w.h, w.w
	if n.Int("count_include_pad", 0) != 0 {
		end := [2]int{w.halo()[2], w.halo()[3]}
		switch n.Str("auto_pad", "NOTSET") {
		case "NOTSET", "":
			end = [2]int{}
			if p := n.Ints("pads"); len(p) == 4 {
				end = [2]int{int(p[2]), int(p[3])}
			}
		}
		low, hiH, hiW = [2]int{-w.ph, -w.pw}, w.h+end[0], w.w+end[1]
	}
	flip := byte(0)
	if n.In[0].Type.DType == tensor.Int8 {
		flip, zx = 0x80, zx+128
	}
	v := kern.IntsOf(e.CPU)
	const block = 64                                      // channels of one tile
	whole := x.sw >= round16(x.c) && y.sw >= round16(y.c) // blocks of 16 are within a pixel
	nc := (y.c + block - 1) / block
	tiles := y.n * y.h * nc
	p := &Prepared{Kernel: "i8_" + lower(n.Op[len("QLinear"):]) + "_" + v.Name(), Packed: []int{1, 2, 3, 4}}
	p.Phases = []Phase{{Tiles: tiles, Run: func(c *Call, tile int, _ []byte) {
		in, out := c.In[0].Bytes(), c.Out[0].Bytes()
		ch, r := tile%nc*block, tile/nc
		img, oy := r/y.h, r%y.h
		if ch == 0 {
			haloBytes(&y, out, img, oy, oy+1)
		}
		i0, i1 := taps(oy, w.sh, w.ph, w.dh, w.kh, 0, w.h)
		d0, d1 := taps(oy, w.sh, w.ph, w.dh, w.kh, low[0], hiH)
		for ox := range y.w {
			j0, j1 := taps(ox, w.sw, w.pw, w.dw, w.kw, 0, w.w)
			k0, k1 := taps(ox, w.sw, w.pw, w.dw, w.kw, low[1], hiW)
			var sums [block / 16][16]int32
			some := min(block, y.c-ch)
			for i := i0; i < i1 && j0 < j1; i++ { // a window of padding only may lie behind the image
				at := x.at + img*x.sn + (oy*w.sh-w.ph+i*w.dh)*x.sh + (ox*w.sw-w.pw+j0*w.dw)*x.sw + ch
				for k := 0; k < some; k += 16 {
					if whole {
						v.AddPixels(&sums[k/16], in[at+k:], j1-j0, w.dw*x.sw, flip)
						continue
					}
					for j := range j1 - j0 {
						for c, b := range in[at+j*w.dw*x.sw+k:][:min(16, some-k)] {
							sums[k/16][c] += int32(b ^ flip)
						}
					}
				}
			}
			sub := int32((i1 - i0) * (j1 - j0) * zx)
			m := float32(0) // an empty window is 0
			if count := (d1 - d0) * (k1 - k0); count > 0 {
				m = float32(sx / (sy * float64(count)))
			}
			d := out[y.at+img*y.sn+oy*y.sh+ox*y.sw+ch:][:some]
			for k := range d {
				d[k] = kern.Quantise(sums[k/16][k%16]-sub, m, rq.lo, rq.hi, rq.zero)
			}
		}
	}}}
	return p, nil
}
