package kernel

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"whit/graph"
	"whit/internal/kern"
	"whit/op"
	"whit/tensor"
)

// Convolution of 8-bit integers, 2-D, with constant weights, scales and zero points. A tile
// widens the part of the image that a block of output pixels needs into int16, less the zero
// point, with zeros for the padding; panels of 16 output channels then run over it. Pixels of
// a block follow each other over the ends of rows; images of 1x1 convolutions are one row.
func init() {
	for _, on := range [][2]string{{"", "QLinearConv"}, {graph.Domain, "Fused"}} {
		for _, k := range []struct {
			name      string
			priority  int
			depthwise bool
			prepare   func(n *graph.Node, e *Env) (*Prepared, error)
		}{{"i8_conv", 10, false, prepareQConv}, {"i8_depthwise", 20, true, prepareQDepthwise}} {
			Register(Kernel{
				Domain: on[0], Op: on[1], Name: k.name, Priority: k.priority, Parts: true,
				Match: func(n *graph.Node, e *Env) bool {
					m, _, _ := qunfuse(n, "", "QLinearConv")
					if m == nil || !qconvMatch(m, e) {
						return false
					}
					s := m.In[3].Type.Shape
					return !k.depthwise || s[1] == 1 && s[0] > 1 && int(m.Int("group", 1)) == s[0]
				},
				Layout: func(n *graph.Node, in []graph.Layout) Layouts {
					l := Layouts{In: make([]graph.Layout, len(in)), Out: []graph.Layout{qnhwc(n.Out[0].Type.Shape[1])}}
					l.In[0] = nhwc([4]int{})
					return l
				},
				Prepare: k.prepare,
			})
		}
	}
	Register(Kernel{
		Domain: graph.Domain, Op: "QLinearConvPRelu", Name: "i8_conv_prelu", Priority: 10,
		Match: func(n *graph.Node, e *Env) bool {
			m, slope, _, _ := qslopes(n)
			return m != nil && qconvMatch(m, e) && !slices.ContainsFunc(slope, func(f float32) bool { return f-f != 0 })
		},
		Layout: func(n *graph.Node, in []graph.Layout) Layouts {
			l := Layouts{In: make([]graph.Layout, len(in)), Out: []graph.Layout{qnhwc(n.Out[0].Type.Shape[1])}}
			l.In[0] = nhwc([4]int{})
			return l
		},
		Prepare: prepareQConv,
	})
}

// qslopes is qunfuse of a QLinearConv that also knows a QLinearConvPRelu of constants, and its slopes below zero.
func qslopes(n *graph.Node) (m *graph.Node, slope []float32, lo, hi int) {
	if n.Domain == graph.Domain && n.Op == "QLinearConvPRelu" {
		if !n.In[9].IsConst() {
			return nil, nil, 0, 0
		}
		slope = f32s(n.In[9].Tensor())
		n = &graph.Node{Name: n.Name, Op: "QLinearConv", Attrs: n.Attrs, In: n.In[:9], Out: n.Out}
	}
	m, lo, hi = qunfuse(n, "", "QLinearConv")
	return m, slope, lo, hi
}

func qconvMatch(n *graph.Node, e *Env) bool {
	w := n.In[3]
	if !w.IsConst() || len(w.Type.Shape) != 4 || w.Type.Shape.NumElements() == 0 {
		return false
	}
	_, ok := window2D(n, n.In[0].Type.Shape, n.Out[0].Type.Shape, w.Type.Shape[2:])
	return ok && factsOf(n, e).exact
}

// Known remembers what kernels have found out about the constants of a graph: several ask
// about each node, several times. The zero value is empty.
type Known struct {
	mu    sync.Mutex
	facts map[qkey]*qfacts
}

// qkey are the constants of a QLinearConv, and its input's type.
type qkey struct {
	in [8]*graph.Value
	t  tensor.DType
}

// qfacts are what kernels ask about the constants of a QLinearConv.
type qfacts struct {
	exact  bool      // they are such that the kernels compute what the operator says
	narrow bool      // weights less their zero points are bytes
	mul    []float32 // the channels' multipliers
	most   float32   // the largest
	// quarter and sixtyFourth report whether 4 or 64 times the sums fit int32, the latter with the bias too.
	quarter, sixtyFourth func() bool
}

func factsOf(n *graph.Node, e *Env) *qfacts {
	k := qkey{t: n.In[0].Type.DType}
	copy(k.in[:], n.In[1:])
	if e.Known != nil {
		e.Known.mu.Lock()
		f := e.Known.facts[k]
		e.Known.mu.Unlock()
		if f != nil {
			return f
		}
	}
	f := &qfacts{}
	if f.mul, f.exact = qexact(n); f.exact {
		f.narrow, f.most = narrowWeights(n), slices.Max(f.mul)
		f.quarter = sync.OnceValue(func() bool { return quarterFits(n) })
		f.sixtyFourth = sync.OnceValue(func() bool { return sixtyFourthFits(n, kern.IntsOf(e.CPU)) })
	}
	if e.Known != nil {
		e.Known.mu.Lock()
		defer e.Known.mu.Unlock()
		if e.Known.facts == nil {
			e.Known.facts = map[qkey]*qfacts{}
		}
		e.Known.facts[k] = f
	}
	return f
}

// qexact reports whether the constants of a QLinearConv are such that sums and roundings are the operator's, and gives the multipliers.
func qexact(n *graph.Node) (mul []float32, ok bool) {
	for _, v := range n.In[1:] {
		if !v.IsConst() {
			return nil, false
		}
	}
	w := n.In[3]
	if scaleOf(n.In[1]) == 0 || scaleOf(n.In[6]) == 0 || !isZero(n.In[2]) || !isZero(n.In[7]) || !isByte(n.In[5]) || n.In[4].Type.DType != tensor.Float32 {
		return nil, false
	}
	mul = multipliers(n)
	for _, m := range mul {
		if !finite(m) {
			return nil, false
		}
	}
	return mul, op.FitsInt32(w.Tensor(), zeros(n.In[5]), n.Input(8).Tensor(), zeroOf(n.In[2]), n.In[0].Type.DType)
}

// zeros are the zero points of a constant of 8 bits, a single one where all are equal.
func zeros(v *graph.Value) []int {
	t := v.Tensor()
	if b := t.Bytes(); len(b) > 0 && bytes.Count(b, b[:1]) == len(b) {
		return []int{byteAt(t, 0)}
	}
	z := make([]int, t.Len())
	for i := range z {
		z[i] = byteAt(t, i)
	}
	return z
}

// multipliers are the M of a QLinearConv's output channels: float32(sx·sw/sy) from float64.
func multipliers(n *graph.Node) []float32 {
	sx, sy, sw := scaleOf(n.In[1]), scaleOf(n.In[6]), tensor.Of[float32](n.In[4].Tensor())
	m := make([]float32, n.In[3].Type.Shape[0])
	for c := range m {
		i := c
		if i >= len(sw) {
			i %= len(sw)
		}
		m[c] = float32(float64(sx) * float64(sw[i]) / float64(sy))
	}
	return m
}

// lanes16 are the bias and the multipliers in panels of 16 in kern's order; panel p begins
// with output channel first[p] and has count[p].
func lanes16(n *graph.Node, e *Env, first, count []int) (bias []int32, mul []float32) {
	bias, mul = make([]int32, 16*len(first)), make([]float32, 16*len(first))
	m := factsOf(n, e).mul
	var b []int32
	if v := n.Input(8); v != nil {
		b = tensor.Of[int32](v.Tensor())
	}
	for p, c0 := range first {
		for l, j := range kern.I8Lanes {
			if j < count[p] {
				mul[16*p+l] = m[c0+j]
				if b != nil {
					bias[16*p+l] = b[c0+j]
				}
			}
		}
	}
	return bias, mul
}

// qwindow is a window over an image that is widened block by block: bh rows of bw output
// pixels need ih rows of iw pixels of cs numbers.
type qwindow struct {
	window
	x              view
	bh, bw, ih, iw int
	nh, nw         int // blocks of an image
	px             int // numbers of a pixel in scratch; 0: the image's
	signed         bool
	zero           int
	ints           kern.Ints
}

// fit chooses the blocks: at most limit numbers of scratch where a single row of at least
// eight pixels allows, and no more rows than most.
func (w *qwindow) fit(limit, most int) {
	if w.bw = w.ow; w.px == 0 {
		w.px = w.x.sw
	}
	need := func() int {
		w.ih, w.iw = (w.bh-1)*w.sh+w.extentH(), (w.bw-1)*w.sw+w.extentW()
		return w.ih * w.iw * w.px
	}
	w.bh = 1
	for w.bw > 8 && need() > limit {
		w.bw = max(8, (w.bw+1)/2)
	}
	w.bh = max(1, min(most, w.oh))
	for w.bh > 1 && need() > limit {
		w.bh--
	}
	w.nh, w.nw = (w.oh+w.bh-1)/w.bh, (w.ow+w.bw-1)/w.bw
	// Blocks of nearly one size.
	w.bh, w.bw = (w.oh+w.nh-1)/w.nh, (w.ow+w.nw-1)/w.nw
	need()
}

// slack is what kernels may read behind the last pixel.
const slack = 32

func (w *qwindow) scratch() int { return w.ih*w.iw*w.px + slack }

// lines calls line for every line of what block b of an image needs, r of them before
// it: its columns [left,right) are the image's, from at on, the others padding.
// It returns the first output row and column of the block, and its size.
func (w *qwindow) lines(b int, line func(r, at, left, right int)) (y0, x0, h, wd int) {
	y0, x0 = b/w.nw*w.bh, b%w.nw*w.bw
	h, wd = min(w.bh, w.oh-y0), min(w.bw, w.ow-x0)
	w.around(y0, x0, h, line)
	return y0, x0, h, wd
}

// around is lines for h rows of output pixels from (y0,x0) on.
func (w *qwindow) around(y0, x0, h int, line func(r, at, left, right int)) {
	iy, ix := y0*w.sh-w.ph, x0*w.sw-w.pw
	left, right := min(w.iw, max(0, -ix)), max(0, min(w.iw, w.w-ix))
	right = max(left, right)
	for r := range (h-1)*w.sh + w.extentH() {
		if y := iy + r; y < 0 || y >= w.h {
			line(r, 0, 0, 0)
		} else {
			line(r, w.x.at+y*w.x.sh+(ix+left)*w.x.sw, left, right)
		}
	}
}

// block16 is block for the 16 channels from ch on alone, whose pixels then follow each other.
func (w *qwindow) block16(a []int16, in []byte, img, b, ch int) (y0, x0, h, wd int) {
	return w.lines(b, func(r, at, left, right int) {
		d := a[r*w.iw*16:][:w.iw*16]
		clear(d[:left*16])
		clear(d[right*16:])
		if left == right {
			return
		}
		src, n := in[img*w.x.sn+at+ch:], right-left
		for (n-1)*w.x.sw+16 > len(src) { // the last pixels of the last image, where a pixel has fewer than 16 bytes left
			n--
			t := d[(left+n)*16:][:16]
			clear(t)
			s := src[n*w.x.sw:]
			w.ints.Widen(t[:len(s)], s, w.signed, w.zero)
		}
		w.ints.Widen16(d[left*16:right*16], src, n, w.x.sw, w.signed, w.zero)
	})
}

// block widens what block b of image img needs into a, and returns the first output row
// and column of the block, and its size.
func (w *qwindow) block(a []int16, in []byte, img, b int) (y0, x0, h, wd int) {
	in = in[img*w.x.sn:]
	return w.lines(b, func(r, at, left, right int) { w.wordLine(a, in, w.iw, r, at, left, right) })
}

// wordLine widens the first n pixels of line r of what lines or around name, with zeros for the padding.
func (w *qwindow) wordLine(a []int16, in []byte, n, r, at, left, right int) {
	cs := w.x.sw
	left, right = min(left, n), min(right, n)
	d := a[r*w.iw*cs:][:n*cs]
	clear(d[:left*cs])
	clear(d[right*cs:])
	if left < right {
		w.ints.Widen(d[left*cs:right*cs], in[at:][:(right-left)*cs], w.signed, w.zero)
	}
}

// flat reports whether windows are single pixels that follow each other in both images.
func (w *qwindow) flat(y *view) bool {
	return w.kh == 1 && w.kw == 1 && w.sh == 1 && w.sw == 1 && w.ph == 0 && w.pw == 0 && w.h == w.oh && w.w == w.ow && w.x.plain() && y.plain()
}

// qconv is the kernel bound to a node: blocks of its images and panels of its weights.
type qconv struct {
	packing      Packing
	key          string
	panel        int // bytes of a panel of weights
	first, count []int
	blocks       int
	tiles        grid
	scratch      int
	run          func(c *Call, b0, b1, p0, p1 int, packed []byte, scratch []byte) // of panels p0 to p1, which begin packed
	kernel       string
}

func qconvOf(fn *graph.Node, e *Env) *qconv {
	n, slope, lo, hi := qslopes(fn)
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	ws := n.In[3].Type.Shape
	win, _ := window2D(n, n.In[0].Type.Shape, n.Out[0].Type.Shape, ws[2:])
	w := &qwindow{window: win, x: x, ints: kern.IntsOf(e.CPU), signed: n.In[0].Type.DType == tensor.Int8, zero: zeroOf(n.In[2])}
	images := y.n
	if w.flat(&y) {
		w.h, w.w, w.oh, w.ow, images = 1, y.n*y.h*y.w, 1, y.n*y.h*y.w, 1
	}
	groups := int(n.Int("group", 1))
	cin, og := ws[1], ws[0]/groups
	k := cin * w.kh * w.kw
	// What pixels read and write stays in the first-level cache while panels run over it, or
	// at least in the second.
	near := max(96, (40<<10)/(2*w.sh*w.sw*x.sw+y.sw)) * w.sh * w.sw * x.sw
	w.fit(min(96<<10, near), w.oh)

	rq := requantOf(lo, hi, zeroOf(n.In[7]))
	t := kern.I8Tile{LDC: y.sw, Lo: rq.lo, Hi: rq.hi, Zero: rq.zero}
	off, kseg := w.segments(w.iw*x.sw, x.sw, cin, groups == 1 && x.sw == cin)
	t.Off, t.K = off, (kseg+3)/4*4
	q := &qconv{}
	for g := range groups {
		for o := 0; o < og; o += 16 {
			q.first, q.count = append(q.first, g*og+o), append(q.count, min(16, og-o))
		}
	}
	first, count := q.first, q.count
	narrow := narrowWeights(n) && slope == nil
	q.panel = len(t.Off) * t.K * 16
	if !narrow {
		q.panel *= 2
	}
	q.key = fmt.Sprintf("i8_conv/%d/%d/%v/%s", len(first), kseg, narrow, zeroKey(n))
	q.packing = packQConv(n, w.ints, first, count, kseg, t.K, q.panel, narrow)
	bias, mul := lanes16(n, e, first, count)
	var slopes []float32 // in panels, as bias and mul
	if slope != nil {
		slopes = make([]float32, len(mul))
		for p := range first {
			for l, j := range kern.I8Lanes {
				if j < count[p] {
					slopes[16*p+l] = slope[first[p]+j]
				}
			}
		}
	}

	pixels := w.bh * w.bw
	q.kernel, q.scratch = "i8_conv_"+w.ints.Name(), 2*w.scratch()+64+8*pixels+16*pixels+64
	// A panel that is not full must not store over another group's channels or what follows those of the pixel.
	most := min(y.sw, round16(ws[0]))
	partial := func(p int) bool { return count[p] < 16 && (first[p]+count[p] < ws[0] || first[p]+16 > most) }
	whole := w.bw == w.ow && y.plain()
	q.blocks = images * w.nh * w.nw
	nb, np := split(q.blocks, len(first), pixels*k*16/2)
	q.tiles = gridOf(nb, np, q.blocks, len(first), k*ws[0], x.size()+y.size())
	q.run = func(c *Call, b0, b1, p0, p1 int, packed []byte, scratch []byte) {
		t := t
		in, out := c.In[0].Bytes(), c.Out[0].Bytes()
		a, scratch := kern.CutInt16(scratch, w.scratch())
		off, scratch := kern.CutInts(scratch, pixels)
		clear(a[len(a)-slack:])
		t.A = a
		last := [2]int{}
		for b := b0; b < b1; b++ {
			img := b / (w.nh * w.nw)
			y0, x0, h, wd := w.block(a, in, img, b%(w.nh*w.nw))
			if last != [2]int{h, wd} {
				last = [2]int{h, wd}
				for r := range h {
					for i := range wd {
						off[r*wd+i] = (r*w.sh*w.iw + i*w.sw) * x.sw
					}
				}
			}
			if p0 == 0 && x0 == 0 {
				haloBytes(&y, out, img, y0, y0+h)
			}
			for p := p0; p < p1; p++ {
				if weights := packed[(p-p0)*q.panel:][:q.panel]; narrow {
					t.B8 = kern.Int8s(weights)
				} else {
					t.B = kern.Int16s(weights)
				}
				t.A = a[first[p]/og*cin:]
				if t.Bias, t.Mul = bias[16*p:][:16], mul[16*p:][:16]; slopes != nil {
					t.Slope = slopes[16*p:][:16]
				}
				step := wd // output pixels that follow each other
				if whole {
					step = h * wd
				}
				for i := 0; i < h*wd; i += step {
					at := y.at + img*y.sn + (y0+i/wd)*y.sh + x0*y.sw + first[p]
					if images == 1 && w.oh == 1 && y.plain() {
						at = y.at + x0*y.sw + first[p]
					}
					t.Rows, t.C, t.LDC = off[i:i+step], out[at:], y.sw
					if partial(p) {
						t.C, t.LDC = scratch, 16
					}
					w.ints.Tile(&t)
					if partial(p) {
						for j := range step {
							copy(out[at+j*y.sw:][:count[p]], scratch[16*j:])
						}
					}
				}
			}
		}
	}
	return q
}

func prepareQConv(fn *graph.Node, e *Env) (*Prepared, error) {
	q := qconvOf(fn, e)
	n, _, _, _ := qslopes(fn)
	packed := e.packParts(n.In[3], q.key, q.packing)
	p := &Prepared{Kernel: q.kernel, Packed: packedInputs(fn), Scratch: q.scratch}
	p.Phases = []Phase{{Tiles: q.tiles.tiles(), Run: func(c *Call, tile int, scratch []byte) {
		b0, b1, p0, p1 := q.tiles.at(tile)
		q.run(c, b0, b1, p0, p1, packed.Bytes[p0*q.panel:], scratch)
	}}}
	if q.packing.worthFirst() {
		q.firstOf(p)
	}
	return p, nil
}

// firstQConv gives p, of another kernel for a QLinearConv, a first run on this one, which
// packs many times faster.
func firstQConv(p *Prepared, fn *graph.Node, e *Env) { qconvOf(fn, e).firstOf(p) }

// firstOf is the first run.
func (q *qconv) firstOf(p *Prepared) {
	firstPanels(p, len(q.first), q.panel, q.scratch, &q.packing, func(c *Call, p0, p1 int, packed, scratch []byte) {
		q.run(c, 0, q.blocks, p0, p1, packed, scratch)
	})
}

// firstPanels gives p a first run over all pixels with some panels of weights at a time, of size bytes each at most, packed in scratch. run has need
// bytes of scratch besides.
func firstPanels(p *Prepared, panels, size, need int, packing *Packing, run func(c *Call, p0, p1 int, packed, scratch []byte)) {
	const most, together = 16, 128 << 10 // tiles, bytes of panels
	per := max(1, min((panels+most-1)/most, together/size))
	tiles := (panels + per - 1) / per
	p.Scratch = max(p.Scratch, max(need, packing.Scratch)+per*size)
	p.First = []Phase{{Tiles: tiles, Run: func(c *Call, tile int, scratch []byte) {
		p0, p1 := part(tile, tiles, panels)
		packed, scratch := scratch[:per*size], scratch[per*size:]
		first, _ := packing.At(p0)
		for i := p0; i < p1; i++ {
			from, to := packing.At(i)
			packing.Fill(packed[from-first:to-first], i, scratch)
		}
		run(c, p0, p1, packed, scratch)
	}}}
}

// packedInputs are all inputs but the first.
func packedInputs(n *graph.Node) []int {
	var p []int
	for i := 1; i < len(n.In); i++ {
		p = append(p, i)
	}
	return p
}

// narrowWeights reports whether the weights less their zero points are bytes.
func narrowWeights(n *graph.Node) bool {
	mid := 0
	if n.In[3].Type.DType == tensor.Uint8 {
		mid = 128
	}
	for _, z := range n.In[5].Tensor().Bytes() {
		if int(z) != mid {
			return false
		}
	}
	return true
}

// zeroKey is the weights' zero points as a part of a packing's name.
func zeroKey(n *graph.Node) []byte {
	z := n.In[5].Tensor().Bytes()
	if len(z) > 0 && bytes.Count(z, z[:1]) == len(z) {
		return z[:1] // one for all
	}
	return z
}

// qrows are the weights of a QLinearConv by output channels, as bytes. They may lie in a
// file: some channels are read when they are packed.
type qrows struct {
	t func() *tensor.Tensor
	k int // bytes of a channel
	// flip makes weights that are bytes less their zero points signed: int8(w^flip).
	flip   byte
	stored bool
}

func qrowsOf(n *graph.Node) *qrows {
	v := n.In[3]
	r := &qrows{t: sync.OnceValue(v.Tensor), k: v.Type.Shape.NumElements() / v.Type.Shape[0], stored: v.Data != nil && v.Data.IsStored()}
	if v.Type.DType == tensor.Uint8 {
		r.flip = 0x80
	}
	return r
}

// scratch is how many bytes of scratch n channels need.
func (r *qrows) scratch(n int) int {
	if r.stored {
		return n * r.k
	}
	return 0
}

// read is n channels from c on.
func (r *qrows) read(scratch []byte, c, n int) []byte { return r.t().Part(scratch, c*r.k, n*r.k) }

// weightOf reads weights less their zero points.
func weightOf(n *graph.Node) func(c, i int) int {
	w, z := n.In[3].Tensor(), zeros(n.In[5])
	k := w.Len() / w.Shape[0]
	if w.DType == tensor.Int8 {
		v := tensor.Of[int8](w)
		return func(c, i int) int { return int(v[c*k+i]) - z[c%len(z)] }
	}
	v := tensor.Of[uint8](w)
	return func(c, i int) int { return int(v[c*k+i]) - z[c%len(z)] }
}

// turnedBytes bounds what weights that are turned round, [channel][tap][16], take of scratch at a time.
const turnedBytes = 16 << 10

// turned is how many of cin channels of so many taps are turned round at a time, a multiple of step or all, and the bytes for them,
// for whole steps.
func turned(cin, taps, step int) (channels, size int) {
	channels = min((cin+step-1)/step, max(1, turnedBytes/(16*taps*step))) * step
	return channels, channels * taps * 16
}

// packQConv packs W[cout][cin/g][kh][kw] in panels, of size bytes, of pairs of k: [segment][k/2][lane][2],
// segments of kseg numbers filled up to kpad with zeros. A part is a panel.
func packQConv(n *graph.Node, ints kern.Ints, first, count []int, kseg, kpad, size int, narrow bool) Packing {
	s, w, zero := n.In[3].Type.Shape, qrowsOf(n), zeros(n.In[5])
	cin, taps, k, flip := s[1], s[2]*s[3], w.k, w.flip
	near, temp := 0, 0
	if narrow && cin%2 == 0 {
		near, temp = turned(cin, taps, 2)
	}
	return Packing{Bytes: size * len(first), Parts: len(first), Scratch: temp + w.scratch(16),
		At: func(part int) (from, to int) { return part * size, (part + 1) * size },
		Fill: func(dst []byte, p int, scratch []byte) {
			t, scratch := scratch[:temp], scratch[temp:]
			raw, wide := w.read(scratch, first[p], count[p]), kern.Int16s(dst)
			if count[p] < 16 || kpad != kseg {
				clear(dst)
			}
			if near > 0 { // pairs are two channels of a tap
				for c0 := 0; c0 < cin; c0 += near {
					some := min(near, cin-c0)
					ints.Columns(t, raw[c0*taps:], count[p], k, some*taps, flip)
					for i := range taps {
						at := i*cin/kseg*kpad + i*cin%kseg + c0
						ints.ZipRows(dst[at*16:], t[16*i:], some/2, 16*taps)
					}
				}
				return
			}
			// Some channels of a tap at a time, so that what the lanes write stays near.
			const near = 128
			for t := range taps {
				at := t*cin/kseg*kpad + t*cin%kseg
				for c0 := 0; c0 < cin; c0 += near {
					for l, j := range kern.I8Lanes {
						if j >= count[p] {
							continue
						}
						row, z := raw[j*k:][:k], zero[(first[p]+j)%len(zero)]
						for c := c0; c < min(cin, c0+near); c++ {
							k := at + c
							d := (k>>1*16+l)*2 + k&1
							switch v := row[c*taps+t]; {
							case narrow:
								dst[d] = v ^ flip
							case flip == 0:
								wide[d] = int16(int(int8(v)) - z)
							default:
								wide[d] = int16(int(v) - z)
							}
						}
					}
				}
			}
		}}
}

func haloBytes(y *view, out []byte, img, y0, y1 int) {
	if y.halo != [4]int{} {
		clearHalo4(y, out, img, y0, y1)
	}
}

func prepareQDepthwise(fn *graph.Node, e *Env) (*Prepared, error) {
	n, lo, hi := qunfuse(fn, "", "QLinearConv")
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	ws := n.In[3].Type.Shape
	win, _ := window2D(n, n.In[0].Type.Shape, n.Out[0].Type.Shape, ws[2:])
	if qdwDotMatch(n, &win, &x, &y, e) {
		return prepareQDWDot(fn, e)
	}
	if qdw3Match(n, &win, &x, &y, e) {
		return prepareQDW3(fn, e)
	}
	w := &qwindow{window: win, x: x, ints: kern.IntsOf(e.CPU), signed: n.In[0].Type.DType == tensor.Int8, zero: zeroOf(n.In[2])}
	w.px = 16
	const limit = 12 << 10               // numbers of int16: in the first-level cache
	w.fit(limit, max(1, (y.n*w.oh+7)/8)) // eight tiles
	rq := requantOf(lo, hi, zeroOf(n.In[7]))
	d := kern.I8Depthwise{RSX: w.sw * 16, LDY: y.sw, Lo: rq.lo, Hi: rq.hi, Zero: rq.zero}
	for i := range w.kh {
		for j := range w.kw {
			d.Off = append(d.Off, (i*w.dh*w.iw+j*w.dw)*16)
		}
	}
	taps := len(d.Off)
	if taps%2 != 0 {
		d.Off = append(d.Off, d.Off[taps-1])
	}
	var first, count []int
	for c := 0; c < y.c; c += 16 {
		first, count = append(first, c), append(count, min(16, y.c-c))
	}
	size := len(d.Off) * 16
	key := fmt.Sprintf("i8_depthwise/%s", zeroKey(n))
	packed := kern.Int16s(e.Pack(n.In[3], key, func() []byte {
		b := tensor.AlignedBytes(2 * size * len(first))
		dst, at := kern.Int16s(b), weightOf(n)
		for p, c0 := range first {
			for l, j := range kern.I8Lanes {
				for i := range taps {
					if j < count[p] {
						dst[p*size+(i/2*16+l)*2+i%2] = int16(at(c0+j, i))
					}
				}
			}
		}
		return b
	}))
	bias, mul := lanes16(n, e, first, count)
	p := &Prepared{Kernel: "i8_depthwise_" + w.ints.Name(), Packed: packedInputs(n), Scratch: 2*w.scratch() + 64}
	blocks := y.n * w.nh * w.nw
	nb, np := split(blocks, len(first), w.bh*w.bw*16*taps*4)
	tiles := gridOf(nb, np, blocks, len(first), 0, y.size())
	p.Phases = []Phase{{Tiles: tiles.tiles(), Run: func(c *Call, tile int, scratch []byte) {
		d := d
		in, out := c.In[0].Bytes(), c.Out[0].Bytes()
		a, _ := kern.CutInt16(scratch, w.scratch())
		clear(a[len(a)-slack:])
		b0, b1, p0, p1 := tiles.at(tile)
		for b := b0; b < b1; b++ {
			img := b / (w.nh * w.nw)
			for p := p0; p < p1; p++ {
				y0, x0, h, wd := w.block16(a, in, img, b%(w.nh*w.nw), first[p])
				if p == 0 && x0 == 0 {
					haloBytes(&y, out, img, y0, y0+h)
				}
				d.W, d.Bias, d.Mul, d.Pixels = packed[p*size:][:size], bias[16*p:][:16], mul[16*p:][:16], wd
				for r := range h {
					d.X = a[r*w.sh*w.iw*16:]
					d.Y = out[y.at+img*y.sn+(y0+r)*y.sh+x0*y.sw+first[p]:]
					w.ints.Depthwise(&d)
				}
			}
		}
	}}}
	return p, nil
}
