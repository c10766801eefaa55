package kernel

import (
	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
)

// Convolution and its gradients in training, 2-D, float32, any group, stride,
// padding and dilation. Activations are NHWC, so that the window's row of a pixel
// is KW·Cin contiguous numbers (KW = 1 where a dilation or a channel stride parts
// them); weights are params, packed anew at every run:
//
//	y        GEMM of pixels x (kh,kw,cin) with packed W, straight from the (padded) image
//	dx       at stride 1 the convolution of dy with W turned round; else GEMM dy·W into
//	         rows of (kh,kw,cin), added onto the image in the order of pixels
//	dW       GEMM xᵀ·dy, or dyᵀ·x with few output channels, over images and pixels, in
//	         chunks of images whose sums are added from the first to the last
//
// Every element is one chain of FMA in an order that depends on shapes only. 3x3 windows
// of stride 1 go by Winograd's algorithm where that is cheaper (train_winograd.go).
func init() {
	Register(Kernel{
		Op: "Conv", Name: "f32_conv_train", Priority: 50,
		Match: func(n *graph.Node, e *Env) bool {
			return e.Training && trainConvMatch(n, n.In[0], n.In[1], n.Out[0])
		},
		Layout: func(n *graph.Node, in []graph.Layout) Layouts {
			return Layouts{In: []graph.Layout{pixels(n.In[0], in[0]), {}, {}}[:len(in)], Out: []graph.Layout{{Order: graph.NHWC}}}
		},
		Prepare: prepareTrainConv,
	})
	Register(Kernel{
		Domain: graph.Domain, Op: "ConvGradX", Name: "f32_convgradx_train", Priority: 50,
		Match: func(n *graph.Node, e *Env) bool {
			return e.Training && trainConvMatch(n, n.In[2], n.In[1], n.In[0])
		},
		Layout: func(n *graph.Node, in []graph.Layout) Layouts {
			return Layouts{In: []graph.Layout{pixels(n.In[0], in[0]), {}, in[2]}, Out: []graph.Layout{{Order: graph.NHWC}}}
		},
		Prepare: prepareTrainConvGradX,
	})
	Register(Kernel{
		Domain: graph.Domain, Op: "ConvGradW", Name: "f32_convgradw_train", Priority: 50,
		Match: func(n *graph.Node, e *Env) bool {
			return e.Training && trainConvMatch(n, n.In[1], n.In[2], n.In[0])
		},
		Layout: func(n *graph.Node, in []graph.Layout) Layouts {
			return Layouts{In: []graph.Layout{pixels(n.In[0], in[0]), pixels(n.In[1], in[1]), in[2]}, Out: []graph.Layout{{}}}
		},
		Prepare: prepareTrainConvGradW,
	})
	Register(Kernel{
		Domain: graph.Domain, Op: "BiasGrad", Name: "f32_biasgrad_train", Priority: 50,
		Match: func(n *graph.Node, e *Env) bool {
			s := n.In[0].Type.Shape
			return e.Training && n.In[0].Type.DType == tensor.Float32 && (len(s) == 2 || len(s) == 4) && s.NumElements() > 0
		},
		Layout: func(n *graph.Node, in []graph.Layout) Layouts {
			if len(n.In[0].Type.Shape) == 2 {
				return Layouts{In: []graph.Layout{{}}, Out: []graph.Layout{{}}}
			}
			return Layouts{In: []graph.Layout{pixels(n.In[0], in[0])}, Out: []graph.Layout{{}}}
		},
		Prepare: prepareTrainBiasGrad,
	})
}

// trainChunks is the number of parts that sums over a batch are split into.
const trainChunks = 8

// pixels is the layout that kernels on pixels read v in: NHWC, or row-major where
// that is the same memory.
func pixels(v *graph.Value, have graph.Layout) graph.Layout {
	s := v.Type.Shape
	if have.Order == graph.RowMajor && len(s) == 4 && (s[1] == 1 || s[2]*s[3] == 1) {
		return have
	}
	if have.Order == graph.NHWC {
		return graph.Layout{Order: graph.NHWC, CStride: have.CStride}
	}
	return graph.Layout{Order: graph.NHWC}
}

// trainConvMatch looks at the input, weights and output of the forward node. No
// activation may be a constant: constants are row-major.
func trainConvMatch(n *graph.Node, x, w, y *graph.Value) bool {
	for i, v := range n.In {
		if v != nil && v.IsConst() && v != w && !(n.Op == "ConvGradX" && i == 2) && !(n.Op == "Conv" && i == 2) {
			return false
		}
	}
	for _, v := range []*graph.Value{x, w, y} {
		if v.Type.DType != tensor.Float32 || len(v.Type.Shape) != 4 || v.Type.Shape.NumElements() == 0 {
			return false
		}
	}
	return true
}

// image is where the pixels of a value lie, in elements.
type image struct {
	n, c, h, w          int
	img, row, px, start int // strides and the offset of the first pixel
}

func imageOf(v *graph.Value) image {
	s := v.Type.Shape
	m := image{n: s[0], c: s[1], h: s[2], w: s[3]}
	var c int
	m.img, c, m.row, m.px, m.start = Stride(s, v.Layout)
	if c != 1 && s[2]*s[3] == 1 { // row-major with one pixel
		m.px, m.row = s[1], s[1]
	}
	return m
}

// clearHalo zeroes what surrounds image i of v, and the channels beyond C.
func clearHalo(v *graph.Value, m image, dst []float32, i int) {
	l := v.Layout
	if l.Order != graph.NHWC || l.Halo == [4]int{} && l.CStride == m.c {
		return
	}
	at := i * m.img
	clear(dst[at : at+l.Halo[0]*m.row])
	clear(dst[at+(l.Halo[0]+m.h)*m.row : at+m.img])
	for y := range m.h {
		r := dst[at+(l.Halo[0]+y)*m.row:][:m.row]
		clear(r[:l.Halo[1]*m.px])
		clear(r[(l.Halo[1]+m.w)*m.px:])
		if m.px > m.c {
			for x := range m.w {
				clear(r[(l.Halo[1]+x)*m.px:][m.c:m.px])
			}
		}
	}
}

// conv is the geometry of a convolution node of training.
type conv struct {
	x, y           image
	group          int
	cin, cout      int // of a group
	kh, kw         int
	sh, sw, dh, dw int
	ph, pw         int // padding before
	k              int // kh·kw·cin
	u              *kern.Micro
	vec            kern.Vec
}

// window2 reads stride, dilation and the padding before the input of a 2-D window.
func window2(n *graph.Node, kh, kw int, in, out image) (sh, sw, dh, dw, ph, pw int) {
	two := func(name string, def int) (int, int) {
		if v := n.Ints(name); len(v) >= 2 {
			return int(v[0]), int(v[1])
		}
		return def, def
	}
	sh, sw = two("strides", 1)
	dh, dw = two("dilations", 1)
	switch auto := n.Str("auto_pad", "NOTSET"); auto {
	case "SAME_UPPER", "SAME_LOWER":
		same := func(in, out, k, s, d int) int {
			p := max(0, (out-1)*s+(k-1)*d+1-in)
			if auto == "SAME_LOWER" {
				return p - p/2
			}
			return p / 2
		}
		ph, pw = same(in.h, out.h, kh, sh, dh), same(in.w, out.w, kw, sw, dw)
	case "VALID":
	default:
		ph, pw = two("pads", 0)
	}
	return
}

func trainConvOf(n *graph.Node, e *Env, x, w, y *graph.Value) *conv {
	s := w.Type.Shape
	c := &conv{x: imageOf(x), y: imageOf(y), group: int(n.Int("group", 1)), cin: s[1], kh: s[2], kw: s[3], u: kern.F32(e.CPU), vec: kern.VecOf(e.CPU)}
	c.cout = s[0] / c.group
	c.k = c.kh * c.kw * c.cin
	c.sh, c.sw, c.dh, c.dw, c.ph, c.pw = window2(n, c.kh, c.kw, c.x, c.y)
	return c
}

// runs lists the contiguous runs of a window in memory of the given row and pixel
// strides: offsets, and the length of each.
func (c *conv) runs(row, px int) (off []int, length int) {
	if c.dw == 1 && px == c.cin {
		for i := range c.kh {
			off = append(off, i*c.dh*row)
		}
		return off, c.kw * c.cin
	}
	for i := range c.kh {
		for j := range c.kw {
			off = append(off, i*c.dh*row+j*c.dw*px)
		}
	}
	return off, c.cin
}

// padded reports whether windows hang over the edge of the input.
func (c *conv) padded() bool {
	return c.ph > 0 || c.pw > 0 || (c.y.h-1)*c.sh+(c.kh-1)*c.dh >= c.x.h || (c.y.w-1)*c.sw+(c.kw-1)*c.dw >= c.x.w
}

// band is the input rows of the output rows [y0, y1) of an image: x itself, or a
// copy with its padding in buf. off is the first window's place, row the row stride.
func (c *conv) band(x []float32, img, y0, y1 int, buf []float32) (b []float32, off, row, px int) {
	m := &c.x
	if !c.padded() {
		return x, m.start + img*m.img + y0*c.sh*m.row, m.row, m.px
	}
	px, w := m.c, c.paddedWidth()
	row = w * px
	first := y0*c.sh - c.ph
	for r := range (y1-1-y0)*c.sh + (c.kh-1)*c.dh + 1 {
		line := buf[r*row:][:row]
		iy := first + r
		if iy < 0 || iy >= m.h {
			clear(line)
			continue
		}
		clear(line[:c.pw*px])
		n := min(m.w, w-c.pw)
		src := x[m.start+img*m.img+iy*m.row:]
		if m.px == px {
			copy(line[c.pw*px:], src[:n*px])
		} else {
			for i := range n {
				copy(line[(c.pw+i)*px:][:px], src[i*m.px:])
			}
		}
		clear(line[(c.pw+n)*px:])
	}
	return buf, 0, row, px
}

func (c *conv) paddedWidth() int { return (c.y.w-1)*c.sw + (c.kw-1)*c.dw + 1 }

// bandLen is how many floats band needs for that many output rows.
func (c *conv) bandLen(rows int) int {
	if !c.padded() {
		return 0
	}
	return ((rows-1)*c.sh + (c.kh-1)*c.dh + 1) * c.paddedWidth() * c.x.c
}

// bands splits the output rows so that a part has at most about 3M multiply-adds.
func (c *conv) bands() (n int) {
	perRow := c.y.w * c.cout * c.group * c.k
	return min(c.y.h, max(1, c.y.h*perRow/(3<<20)))
}

// packW writes panel p of group g of W [O,I,KH,KW] as [(kh,kw,cin)][NR].
func (c *conv) packW(dst, w []float32, g, p int) {
	nr, taps := c.u.NR, c.kh*c.kw
	w = w[g*c.cout*c.k:]
	o0 := p * nr
	cols := min(nr, c.cout-o0)
	if cols < nr {
		clear(dst[:c.k*nr])
	}
	for j := range cols {
		col := w[(o0+j)*c.k:][:c.k]
		for i := range c.cin {
			tap := col[i*taps:][:taps]
			for t, v := range tap {
				dst[(t*c.cin+i)*nr+j] = v
			}
		}
	}
}

func (c *conv) panels(n int) int { return (n + c.u.NR - 1) / c.u.NR }

func prepareTrainConv(n *graph.Node, e *Env) (*Prepared, error) {
	c, bias := trainConvOf(n, e, n.In[0], n.In[1], n.Out[0]), n.Input(2) != nil
	if c.winogradPays(e) {
		return c.winograd(e, n.Out[0], bias, false), nil
	}
	return c.forward(n.Out[0], bias, (*conv).packW), nil
}

// forward is the convolution of input 0 with the weights that pack brings into panels.
func (c *conv) forward(out *graph.Value, bias bool, pack func(c *conv, dst, w []float32, g, p int)) *Prepared {
	nr := c.u.NR
	panels, bands := c.panels(c.cout), c.bands()
	panelLen := c.k * nr
	rowsOf := func(b int) (int, int) { return b * c.y.h / bands, (b + 1) * c.y.h / bands }
	maxRows := (c.y.h + bands - 1) / bands
	p := &Prepared{
		Temp:    4 * c.group * panels * panelLen,
		Scratch: 4 * c.bandLen(maxRows),
	}
	offX, runX := c.runs(c.x.row, c.x.px)
	if c.padded() {
		offX, runX = c.runs(c.paddedWidth()*c.x.c, c.x.c)
	}
	p.Phases = []Phase{
		{Tiles: c.group * panels, Run: func(call *Call, tile int, _ []byte) {
			pack(c, kern.Floats(call.Temp)[tile*panelLen:], tensor.Of[float32](call.In[1]), tile/panels, tile%panels)
		}},
		{Tiles: c.y.n * bands, Run: func(call *Call, tile int, scratch []byte) {
			img, b := tile/bands, tile%bands
			x, y, w := tensor.Of[float32](call.In[0]), tensor.Of[float32](call.Out[0]), kern.Floats(call.Temp)
			y0, y1 := rowsOf(b)
			if b == 0 {
				clearHalo(out, c.y, y, img)
			}
			src, base, row, px := c.band(x, img, y0, y1, kern.Floats(scratch))
			t := kern.Tile{K: runX, Off: offX, RSA: c.sw * px, CSA: 1, LDB: nr, LDC: c.y.px}
			var col []float32
			if bias {
				col = tensor.Of[float32](call.In[2])
				t.Flags = kern.FlagCol
			}
			for g := range c.group {
				for q := range panels {
					o0 := g*c.cout + q*nr
					t.N = min(nr, c.cout-q*nr)
					t.B = w[(g*panels+q)*panelLen:]
					if bias {
						t.Col = col[o0:]
					}
					t.A, t.C = src[base+g*c.cin:], y[c.y.start+img*c.y.img+y0*c.y.row+o0:]
					c.u.Image(&t, c.y.w, y1-y0, c.sh*row, c.y.row, 0)
				}
			}
		}},
	}
	return p
}

// turned is the convolution that gives dx at stride 1: of dy, with channels exchanged
// and the window turned round. ok is false where it would not be one, or not worth it.
func (c *conv) turned() (t *conv, ok bool) {
	u := *c
	u.x, u.y, u.cin, u.cout = c.y, c.x, c.cout, c.cin
	u.k = u.kh * u.kw * u.cin
	u.ph, u.pw = (c.kh-1)*c.dh-c.ph, (c.kw-1)*c.dw-c.pw
	// It sums for the pixels of x what the other way sums for those of dy, in 0.7 of the
	// time; fewer than 8 channels are wasted lanes.
	worth := 7*c.x.h*c.x.w <= 10*c.y.h*c.y.w && u.cout >= 8
	return &u, c.sh == 1 && c.sw == 1 && u.ph >= 0 && u.pw >= 0 && worth
}

// packTurned is packW for a turned convolution: w is the forward one's.
func (c *conv) packTurned(dst, w []float32, g, p int) {
	nr, taps := c.u.NR, c.kh*c.kw
	w = w[g*c.cin*c.cout*taps:]
	o0 := p * nr
	cols := min(nr, c.cout-o0)
	if cols < nr {
		clear(dst[:c.k*nr])
	}
	for i := range c.cin {
		for j := range cols {
			tap := w[(i*c.cout+o0+j)*taps:][:taps]
			for t, v := range tap {
				dst[((taps-1-t)*c.cin+i)*nr+j] = v
			}
		}
	}
}

// prepareTrainConvGradX: beside what turned does, rows of dy times W give what each pixel adds to its
// window; that is then added to dx. A tile is an image, whose dx it owns.
func prepareTrainConvGradX(n *graph.Node, e *Env) (*Prepared, error) {
	c := trainConvOf(n, e, n.Out[0], n.In[1], n.In[0])
	if t, ok := c.turned(); ok {
		if t.winogradPays(e) {
			return t.winograd(e, n.Out[0], false, true), nil
		}
		return t.forward(n.Out[0], false, (*conv).packTurned), nil
	}
	out, nr := n.Out[0], c.u.NR
	panels := c.panels(c.k)
	panelLen := c.cout * nr
	ld := panels * nr
	// As many output rows at a time as keep the products in a second-level cache.
	rows := min(c.y.h, max(1, 32768/(c.y.w*ld)))
	p := &Prepared{Temp: 4 * c.group * panels * panelLen, Scratch: 4 * rows * c.y.w * ld}
	p.Phases = []Phase{
		// B[cout][(kh,kw,cin)] of each group in panels.
		{Tiles: c.group * panels, Run: func(call *Call, tile int, _ []byte) {
			g, q := tile/panels, tile%panels
			w, dst := tensor.Of[float32](call.In[1])[g*c.cout*c.k:], kern.Floats(call.Temp)[tile*panelLen:][:panelLen]
			taps := c.kh * c.kw
			for j := range nr {
				k := q*nr + j
				if k >= c.k {
					for o := range c.cout {
						dst[o*nr+j] = 0
					}
					continue
				}
				at := k%c.cin*taps + k/c.cin
				for o := range c.cout {
					dst[o*nr+j] = w[o*c.k+at]
				}
			}
		}},
		{Tiles: c.x.n, Run: func(call *Call, img int, scratch []byte) {
			dy, dx, w, prod := tensor.Of[float32](call.In[0]), tensor.Of[float32](call.Out[0]), kern.Floats(call.Temp), kern.Floats(scratch)
			clearHalo(out, c.x, dx, img)
			for iy := range c.x.h {
				at := c.x.start + img*c.x.img + iy*c.x.row
				clear(dx[at : at+c.x.w*c.x.px])
			}
			t := kern.Tile{K: c.cout, Off: kern.Zero, RSA: c.y.px, CSA: 1, LDB: nr, LDC: ld}
			for g := range c.group {
				for y0 := 0; y0 < c.y.h; y0 += rows {
					y1 := min(c.y.h, y0+rows)
					// Rows of dy that follow each other without a gap are one matrix.
					span, parts := c.y.w, y1-y0
					if c.y.row == c.y.w*c.y.px {
						span, parts = c.y.w*(y1-y0), 1
					}
					calls := (span + c.u.MR - 1) / c.u.MR
					for q := range panels {
						t.N = min(nr, c.k-q*nr)
						t.B = w[(g*panels+q)*panelLen:]
						for part := range parts {
							a := dy[c.y.start+img*c.y.img+(y0+part)*c.y.row+g*c.cout:]
							d := prod[part*c.y.w*ld+q*nr:]
							for i := range calls {
								x0, x1 := i*span/calls, (i+1)*span/calls
								t.M, t.A, t.C = x1-x0, a[x0*c.y.px:], d[x0*ld:]
								c.u.Run(&t)
							}
						}
					}
					for oy := y0; oy < y1; oy++ {
						c.spread(dx, prod[(oy-y0)*c.y.w*ld:], img, g, oy, ld)
					}
				}
			}
		}},
	}
	return p, nil
}

// spread adds the products of output row oy, [ox][(kh,kw,cin)], to dx.
func (c *conv) spread(dx, prod []float32, img, g, oy, ld int) {
	for i := range c.kh {
		iy := oy*c.sh - c.ph + i*c.dh
		if iy < 0 || iy >= c.x.h {
			continue
		}
		line := dx[c.x.start+img*c.x.img+iy*c.x.row+g*c.cin:]
		for ox := range c.y.w {
			ix := ox*c.sw - c.pw
			src := prod[ox*ld+i*c.kw*c.cin:][:c.kw*c.cin]
			if c.dw == 1 && c.x.px == c.cin {
				j0, j1 := max(0, -ix), min(c.kw, c.x.w-ix)
				if j0 < j1 {
					c.vec.Add(line[(ix+j0)*c.x.px:], src[j0*c.cin:j1*c.cin])
				}
				continue
			}
			for j := range c.kw {
				if x := ix + j*c.dw; x >= 0 && x < c.x.w {
					c.vec.Add(line[x*c.x.px:], src[j*c.cin:(j+1)*c.cin])
				}
			}
		}
	}
}

// prepareTrainConvGradW: beside what gradW does, dW[cout][(kh,kw,cin)] of each chunk of images, columns in
// panels; then the chunks' sum in W's order.
func prepareTrainConvGradW(n *graph.Node, e *Env) (*Prepared, error) {
	c := trainConvOf(n, e, n.In[1], n.In[2], n.In[0])
	if chunks := c.winogradGradChunks(e); chunks > 0 {
		return c.winogradGradW(e, chunks), nil
	}
	if c.cout >= 8 {
		return c.gradW(), nil
	}
	nr := c.u.NR
	panels := c.panels(c.k)
	chunks := min(trainChunks, c.y.n)
	size := c.group * c.cout * c.k // of one chunk's sum
	// Panels a tile: work of about 3M multiply-adds.
	pixels := c.y.h * c.y.w
	work := (c.y.n + chunks - 1) / chunks * pixels * c.cout * nr
	step := max(1, min(panels, (3<<20)/max(1, work)))
	tilesN := (panels + step - 1) / step
	// Output rows packed at a time: up to 256 pixels, some images if they are small.
	rows := min(c.y.h, max(1, 256/c.y.w))
	imgs := 1
	if rows == c.y.h {
		imgs = max(1, 256/pixels)
	}
	dense := c.y.row == c.y.w*c.y.px && c.y.img == c.y.h*c.y.row // dy of images is one matrix
	if !dense {
		imgs, rows = 1, 1
	}
	p := &Prepared{
		Temp:    4 * chunks * size,
		Scratch: 4 * (imgs*rows*c.y.w*nr + c.bandLen(rows)),
	}
	p.Phases = []Phase{
		{Tiles: c.group * chunks * tilesN, Run: func(call *Call, tile int, scratch []byte) {
			dy, x, sum := tensor.Of[float32](call.In[0]), tensor.Of[float32](call.In[1]), kern.Floats(call.Temp)
			g, ch, q0 := tile/(chunks*tilesN), tile/tilesN%chunks, tile%tilesN*step
			q1 := min(panels, q0+step)
			n0, n1 := ch*c.y.n/chunks, (ch+1)*c.y.n/chunks
			sum = sum[ch*size+g*c.cout*c.k:]
			panel, buf := kern.Floats(scratch), kern.Floats(scratch)[imgs*rows*c.y.w*nr:]
			t := kern.Tile{Off: kern.Zero, RSA: 1, CSA: c.y.px, LDB: nr, LDC: c.k}
			calls := (c.cout + c.u.MR - 1) / c.u.MR
			for i0 := n0; i0 < n1; i0 += imgs {
				i1 := min(n1, i0+imgs)
				for y0 := 0; y0 < c.y.h; y0 += rows {
					y1 := min(c.y.h, y0+rows)
					t.K = (i1 - i0) * (y1 - y0) * c.y.w
					for q := q0; q < q1; q++ {
						at := 0
						for img := i0; img < i1; img++ {
							src, base, row, px := c.band(x, img, y0, y1, buf)
							c.packX(panel[at*nr:], src[base+g*c.cin:], q*nr, y1-y0, row, px)
							at += (y1 - y0) * c.y.w
						}
						t.N, t.B = min(nr, c.k-q*nr), panel
						a := dy[c.y.start+i0*c.y.img+y0*c.y.row+g*c.cout:]
						for i := range calls {
							o0, o1 := i*c.cout/calls, (i+1)*c.cout/calls
							t.M, t.A, t.C = o1-o0, a[o0:], sum[o0*c.k+q*nr:]
							c.u.Run(&t)
						}
					}
					t.Flags = kern.FlagAcc
				}
			}
		}},
		{Tiles: c.group * c.cout, Run: func(call *Call, o int, _ []byte) {
			sum, dw := kern.Floats(call.Temp)[o*c.k:], tensor.Of[float32](call.Out[0])[o*c.k:][:c.k]
			first := sum[:c.k]
			for ch := 1; ch < chunks; ch++ {
				c.vec.Add(first, sum[ch*size:][:c.k])
			}
			taps := c.kh * c.kw
			for t := range taps {
				for i := range c.cin {
					dw[i*taps+t] = first[t*c.cin+i]
				}
			}
		}},
	}
	return p, nil
}

// packX copies columns k0.. of the windows of rows x y.w output pixels to
// dst[pixel][NR].
func (c *conv) packX(dst, src []float32, k0, rows, row, px int) {
	nr := c.u.NR
	cols := min(nr, c.k-k0)
	// The runs of this panel: within a row of the window where that is contiguous,
	// else within a tap.
	unit, contiguous := c.cin, c.dw == 1 && px == c.cin
	if contiguous {
		unit = c.kw * c.cin
	}
	for j := 0; j < cols; {
		k := k0 + j
		u, in := k/unit, k%unit
		run := min(unit-in, cols-j)
		off := u * c.dh * row
		if !contiguous {
			off = u/c.kw*c.dh*row + u%c.kw*c.dw*px
		}
		off += in
		for run > 0 {
			n := copyRun(dst[j:], src[off:], run, nr-j, rows, c.y.w, nr, c.sh*row, c.sw*px)
			j, off, run = j+n, off+n, run-n
		}
	}
}

// copyRun copies runs of up to run floats of rows x w pixels, step
// apart and with rows a stride apart, to dst, where they are nr apart. It returns how
// many floats of each it has copied. Up to room floats of each place may be spoilt
// behind what was asked for: the caller goes on from there.
func copyRun(dst, src []float32, run, room, rows, w, nr, stride, step int) int {
	if n := min(run, 8); n > 4 && room >= 8 {
		// Eight at once where the last of them lie within src.
		if (rows-1)*stride+(w-1)*step+8 <= len(src) {
			if run >= 8 {
				n = run &^ 7
			}
			for y := range rows {
				kern.CopyRuns(dst[y*w*nr:], src[y*stride:], (n+7)/8, w, nr, step)
			}
			return n
		}
	}
	n, at := min(run, 4), 0
	for y := range rows {
		o := y * stride
		if n == 4 {
			for range w {
				*(*[4]float32)(dst[at:]) = *(*[4]float32)(src[o:])
				at += nr
				o += step
			}
			continue
		}
		for range w {
			for i := range n {
				dst[at+i] = src[o+i]
			}
			at += nr
			o += step
		}
	}
	return n
}

// prepareTrainBiasGrad sums over images and pixels: a product of ones with dy, in
// chunks of images. Matrices [N,C] are images of one pixel.
func prepareTrainBiasGrad(n *graph.Node, e *Env) (*Prepared, error) {
	var m image
	if s := n.In[0].Type.Shape; len(s) == 2 {
		m = image{n: s[0], c: s[1], h: 1, w: 1, img: s[1], row: s[1], px: s[1]}
	} else {
		m = imageOf(n.In[0])
	}
	u, vec := kern.F32(e.CPU), kern.VecOf(e.CPU)
	chunks := min(trainChunks, m.n)
	// As many pixels at a time as lie evenly apart.
	span, parts := m.w, m.h
	if m.row == m.w*m.px {
		span, parts = m.w*m.h, 1
	}
	whole := parts == 1 && m.img == m.h*m.row
	tiles := chunks
	if m.n*m.h*m.w*m.c < 1<<14 {
		tiles = 1 // little work: all chunks in one tile
	}
	ones := []float32{1}
	one := func(dy, sum []float32, ch int) {
		n0, n1 := ch*m.n/chunks, (ch+1)*m.n/chunks
		sum = sum[ch*m.c:][:m.c]
		t := kern.Tile{M: 1, Off: kern.Zero, A: ones, LDC: m.c, LDB: m.px}
		for c0 := 0; c0 < m.c; c0 += u.NR {
			t.N, t.C, t.Flags = min(u.NR, m.c-c0), sum[c0:], 0
			if whole {
				biasRun(u, &t, dy[m.start+n0*m.img+c0:], (n1-n0)*span)
				continue
			}
			for img := n0; img < n1; img++ {
				for part := range parts {
					biasRun(u, &t, dy[m.start+img*m.img+part*m.row+c0:], span)
				}
			}
		}
	}
	p := &Prepared{Temp: 4 * chunks * m.c}
	p.Phases = []Phase{
		{Tiles: tiles, Run: func(call *Call, tile int, _ []byte) {
			dy, sum := tensor.Of[float32](call.In[0]), kern.Floats(call.Temp)
			if tiles == chunks {
				one(dy, sum, tile)
				return
			}
			for ch := range chunks {
				one(dy, sum, ch)
			}
		}},
		{Tiles: 1, Run: func(call *Call, _ int, _ []byte) {
			db, sum := tensor.Of[float32](call.Out[0]), kern.Floats(call.Temp)
			copy(db, sum[:m.c])
			for ch := 1; ch < chunks; ch++ {
				vec.Add(db, sum[ch*m.c:][:m.c])
			}
		}},
	}
	return p, nil
}

// biasRun adds k pixels of dy to t.C; t.Flags says whether t.C holds a sum.
func biasRun(u *kern.Micro, t *kern.Tile, dy []float32, k int) {
	// The micro-kernel reads whole registers: where that would leave dy, the last
	// pixels are added one number at a time.
	w := u.NR
	if t.N <= u.Width {
		w = u.Width
	}
	safe := k
	if end := (k-1)*t.LDB + w; end > len(dy) {
		safe = max(0, (len(dy)-w)/t.LDB+1)
		if len(dy) < w {
			safe = 0
		}
	}
	if safe > 0 {
		t.K, t.B = safe, dy
		u.Run(t)
		t.Flags = kern.FlagAcc
	}
	for i := safe; i < k; i++ {
		for j := range t.N {
			if t.Flags&kern.FlagAcc == 0 {
				t.C[j] = 0
			}
			t.C[j] += dy[i*t.LDB+j]
		}
		t.Flags = kern.FlagAcc
	}
}
