package kernel

import (
	"math"
	"slices"

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
			Layout:  poolLayout,
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

// poolTaps bounds the windows of NHWC images: their lists of taps are made beforehand.
const poolTaps = 256

// poolLayout passes NHWC through where the window is not too large.
func poolLayout(n *graph.Node, in []graph.Layout) Layouts {
	if w, _ := poolWindow(n); w.kh*w.kw <= poolTaps {
		return imageLayout(n, in)
	}
	return Layouts{In: make([]graph.Layout, 1), Out: make([]graph.Layout, 1)}
}

// pool is a prepared pool.
type pool struct {
	w       window
	x, y    view
	average bool
	// The divisor of AveragePool counts the padding that pads names, never what
	// ceil_mode hangs over: taps in [lo, hi).
	lo, hi [2]int
	pooler kern.Pooler
	// Windows differ by what of them lies within the image: by kinds of rows and of columns.
	rowKind []int      // by output row
	spans   []poolSpan // of an output row, in order
	// offs lists where the taps of a window are, from its first within the image, by kind of row and kind of column.
	offs [][][]int
}

func preparePool(n *graph.Node, e *Env) (*Prepared, error) {
	w, _ := poolWindow(n)
	p := &pool{w: w, x: viewOf(n.In[0]), y: viewOf(n.Out[0]), average: n.Op == "AveragePool", hi: [2]int{w.h, w.w}, pooler: kern.PoolerOf(e.CPU)}
	if n.Int("count_include_pad", 0) != 0 {
		end := [2]int{w.halo()[2], w.halo()[3]}
		switch auto := n.Str("auto_pad", "NOTSET"); auto {
		case "NOTSET", "":
			end = [2]int{}
			if p := n.Ints("pads"); len(p) == 4 {
				end = [2]int{int(p[2]), int(p[3])}
			}
		}
		p.lo, p.hi = [2]int{-w.ph, -w.pw}, [2]int{w.h + end[0], w.w + end[1]}
	}
	y := &p.y
	planes, run := 1, p.pixels
	if y.nhwc {
		p.list()
	} else { // a unit is a row of one plane
		planes, run = y.c, p.plane
	}
	units := y.n * planes * y.h
	tiles, _ := split(units, 1, y.w*(y.c/max(1, planes))*w.kh*w.kw*4)
	return &Prepared{Phases: []Phase{{Tiles: tiles, Run: func(c *Call, tile int, _ []byte) {
		in, out := f32s(c.In[0]), f32s(c.Out[0])
		u0, u1 := part(tile, tiles, units)
		for u := u0; u < u1; u++ {
			oy, r := u%y.h, u/y.h
			ch, img := r%planes, r/planes
			if ch == 0 {
				y.clearHalo(out, img, oy, oy+1)
			}
			run(in[p.x.at+img*p.x.sn+ch*p.x.sc:], out[y.at+img*y.sn+ch*y.sc+oy*y.sh:], oy)
		}
	}}}}, nil
}

// rows and cols are the taps of output row or column o within the image, and how many
// of them the divisor counts.
func (p *pool) rows(o int) (from, to, count int) {
	from, to = taps(o, p.w.sh, p.w.ph, p.w.dh, p.w.kh, 0, p.w.h)
	a, b := taps(o, p.w.sh, p.w.ph, p.w.dh, p.w.kh, p.lo[0], p.hi[0])
	return from, to, b - a
}

func (p *pool) cols(o int) (from, to, count int) {
	from, to = taps(o, p.w.sw, p.w.pw, p.w.dw, p.w.kw, 0, p.w.w)
	a, b := taps(o, p.w.sw, p.w.pw, p.w.dw, p.w.kw, p.lo[1], p.hi[1])
	return from, to, b - a
}

// poolSpan is n output columns from at on whose windows hold columns j0 to j1, count of them for the divisor.
type poolSpan struct {
	at, n, j0, j1, count int
	kind                 int
}

// list fills rowKind, spans and offs.
func (p *pool) list() {
	kindOf := func(all *[][2]int, from, to int) int {
		k := [2]int{from, to}
		i := slices.Index(*all, k)
		if i < 0 {
			i = len(*all)
			*all = append(*all, k)
		}
		return i
	}
	var rows, cols [][2]int
	for oy := range p.y.h {
		i0, i1, _ := p.rows(oy)
		p.rowKind = append(p.rowKind, kindOf(&rows, i0, i1))
	}
	for ox := range p.y.w {
		j0, j1, count := p.cols(ox)
		if k := len(p.spans) - 1; k >= 0 && p.spans[k].j0 == j0 && p.spans[k].j1 == j1 && p.spans[k].count == count {
			p.spans[k].n++
			continue
		}
		p.spans = append(p.spans, poolSpan{ox, 1, j0, j1, count, kindOf(&cols, j0, j1)})
	}
	for _, r := range rows {
		var of [][]int
		for _, c := range cols {
			var l []int
			for i := range r[1] - r[0] {
				for j := range c[1] - c[0] {
					l = append(l, i*p.w.dh*p.x.sh+j*p.w.dw*p.x.sw)
				}
			}
			of = append(of, l)
		}
		p.offs = append(p.offs, of)
	}
}

// pixels pools output row oy of an NHWC image, pixels whose windows lie alike together.
func (p *pool) pixels(src, line []float32, oy int) {
	w, x, y := &p.w, &p.x, &p.y
	i0, _, di := p.rows(oy)
	t := kern.Pool{RSX: w.sw * x.sw, LDY: y.sw, N: y.c}
	for _, s := range p.spans {
		t.Pixels = s.n
		if t.Off, t.X = p.offs[p.rowKind[oy]][s.kind], nil; len(t.Off) > 0 {
			t.X = src[(oy*w.sh-w.ph+i0*w.dh)*x.sh+(s.at*w.sw-w.pw+s.j0*w.dw)*x.sw:]
		}
		t.Y = line[s.at*y.sw:]
		if p.average {
			t.Div = float32(max(1, di*s.count)) // an empty window is 0
			p.pooler.Mean(&t)
		} else {
			p.pooler.Max(&t)
		}
	}
}

// plane pools output row oy of one row-major plane.
func (p *pool) plane(src, line []float32, oy int) {
	w, x := &p.w, &p.x
	i0, i1, di := p.rows(oy)
	for ox := range p.y.w {
		j0, j1, dj := p.cols(ox)
		at := (oy*w.sh-w.ph)*x.sh + ox*w.sw - w.pw
		best, sum := float32(math.Inf(-1)), float32(0)
		for i := i0; i < i1; i++ {
			for j := j0; j < j1; j++ {
				v := src[at+i*w.dh*x.sh+j*w.dw]
				if v > best || v != v {
					best = v
				}
				sum += v
			}
		}
		if line[ox] = best; p.average {
			line[ox] = sum / float32(max(1, di*dj))
		}
	}
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
			row := in[x.at+img*x.sn+h*x.sh+c0*x.sc:]
			k := 0
			for ; k+4 <= c1-c0; k += 4 { // side by side: each sum waits for itself
				r0, r1, r2, r3 := row[k*x.sc:][:x.w], row[(k+1)*x.sc:][:x.w], row[(k+2)*x.sc:][:x.w], row[(k+3)*x.sc:][:x.w]
				s := (*[4]float64)(sums[k:])
				s0, s1, s2, s3 := s[0], s[1], s[2], s[3]
				for w, v := range r0 {
					s0, s1, s2, s3 = s0+float64(v), s1+float64(r1[w]), s2+float64(r2[w]), s3+float64(r3[w])
				}
				s[0], s[1], s[2], s[3] = s0, s1, s2, s3
			}
			for ; k < c1-c0; k++ {
				for _, v := range row[k*x.sc:][:x.w] {
					sums[k] += float64(v)
				}
			}
		}
		for k, s := range sums[:c1-c0] {
			out[y.at+img*y.sn+(c0+k)*y.sc] = float32(s / float64(x.h*x.w))
		}
	}}}
	return p, nil
}
