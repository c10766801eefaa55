package kernel

import (
	"fmt"
	"math"

	"whit/graph"
	"whit/internal/kern"
	"whit/op"
	"whit/tensor"
)

// Convolution of 8-bit integers by Winograd's F(2x2,3x3) or F(4x4,3x3), which give the same integers as
// the direct one: the weights' transform times 4 or 24·24 and everything after it are whole numbers that
// fit, so that nothing is rounded (kern.I8WinoIn and what is around it). A block of tiles of 2x2 or 4x4
// output pixels is transformed into 16 or 36 matrices; panels of 16 output channels run over each, and come
// back together.
//
// Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016, sections 4.1 and 4.3.
func init() {
	for _, on := range [][2]string{{"", "QLinearConv"}, {graph.Domain, "Fused"}} {
		for _, k := range []struct {
			name           string
			priority, tile int
			fits           func(*qfacts) bool
		}{
			{"i8_winograd", 15, 2, func(f *qfacts) bool { return f.quarter() }},
			{"i8_winograd4", 16, 4, func(f *qfacts) bool { return f.sixtyFourth() }},
		} {
			Register(Kernel{
				Domain: on[0], Op: on[1], Name: k.name, Priority: k.priority, Parts: true,
				Match: func(n *graph.Node, e *Env) bool {
					m, _, _ := qunfuse(n, "", "QLinearConv")
					if m == nil || e.Direct || dots(e) || !qconvMatch(m, e) || m.Int("group", 1) != 1 {
						return false
					}
					f := factsOf(m, e)
					return f.narrow && qwinogradPays(m, k.tile) && k.fits(f)
				},
				Layout: func(n *graph.Node, in []graph.Layout) Layouts {
					l := Layouts{In: make([]graph.Layout, len(in)), Out: []graph.Layout{qnhwc(n.Out[0].Type.Shape[1])}}
					l.In[0] = nhwc([4]int{})
					return l
				},
				Prepare: func(n *graph.Node, e *Env) (*Prepared, error) { return prepareQWinograd(n, e, k.tile) },
			})
		}
	}
}

// qwinogradPays reports whether tiles of m x m may be the fastest for the convolution.
func qwinogradPays(n *graph.Node, m int) bool {
	s := n.In[3].Type.Shape
	w, _ := window2D(n, n.In[0].Type.Shape, n.Out[0].Type.Shape, s[2:])
	if w.kh != 3 || w.kw != 3 || w.sh != 1 || w.sw != 1 || w.dh != 1 || w.dw != 1 {
		return false
	}
	images := n.Out[0].Type.Shape[0]
	// Transforms cost too much below; and above, weights grow fourfold and come from memory.
	if s[1] < 8 || w.oh*w.ow*images < 64 {
		return false
	}
	cost := func(m int) float64 {
		return qwinogradCost(m, images, (w.oh+m-1)/m, (w.ow+m-1)/m, s[1], s[0])
	}
	return m == 2 || cost(4) < 0.88*cost(2)
}

// qwinogradCost is in cycles of a core with two multipliers of 16 words, fitted to measurements (AVX2, Zen 3):
// rows of products are taken by sixes and reach 65% of the peak; the weights come from the third-level cache
// once a block, and if they are large the first time from memory.
func qwinogradCost(m, images, rows, columns, cin, cout int) float64 {
	places := (m + 2) * (m + 2)
	rows *= images
	per := min(rows, qwinogradRows(places, columns, round16(cin)))
	blocks := float64((rows + per - 1) / per)
	products := blocks * float64((per*columns+5)/6*6) * float64(places*cin*cout) / 32 / 0.65
	weights := float64(2 * places * cin * cout)
	memory := blocks * weights / 16
	if weights > 2<<20 {
		memory += weights / 3
	}
	return products + memory
}

// qwinogradRows is how many rows of tiles go into a block: the transformed block and the sums of a panel stay in
// the second-level cache.
func qwinogradRows(places, columns, step int) int {
	const most = 80 << 10 // numbers of int16 of the transform
	return max(1, most/places/step/max(1, columns))
}

// quarterFits reports whether four times the sums fit int32, the bias aside.
func quarterFits(n *graph.Node) bool {
	w := n.In[3].Tensor()
	k := w.Len() / w.Shape[0]
	if k <= math.MaxInt32/4/255/128 {
		return true
	}
	// A bias of three quarters leaves the last one.
	b := tensor.New(tensor.Int32, w.Shape[0])
	for i := range b.Len() {
		tensor.Of[int32](b)[i] = math.MaxInt32 / 4 * 3
	}
	return op.FitsInt32(w, zeros(n.In[5]), b, zeroOf(n.In[2]), n.In[0].Type.DType)
}

// sixtyFourthFits reports whether 64 times the sums fit int32, the bias aside: sums of
// weights of either sign with the largest and the smallest pixels.
func sixtyFourthFits(n *graph.Node) bool {
	lo, hi := -zeroOf(n.In[2]), 255-zeroOf(n.In[2])
	if n.In[0].Type.DType == tensor.Int8 {
		lo, hi = lo-128, hi-128
	}
	lo, hi = min(lo, 0), max(hi, 0)
	rows := qrowsOf(n)
	const most = math.MaxInt32 / 64
	if rows.k <= most/255/128 {
		return true
	}
	scratch := make([]byte, rows.scratch(1))
	for c := range n.In[3].Type.Shape[0] {
		sum, abs := 0, 0
		for _, b := range rows.read(scratch, c, 1) {
			w := int(int8(b ^ rows.flip))
			sum, abs = sum+w, abs+max(w, -w)
		}
		pos, neg := (abs+sum)/2, (abs-sum)/2
		if pos*hi-neg*lo > most || neg*hi-pos*lo > most {
			return false
		}
	}
	return true
}

// packQWinograd is 4·G g G', or with tiles of 4x4 24·G g G'·24, of every filter, as 16 or 36 matrices in
// panels of pairs of input channels: [panel][position][cin/2][lane][2]. A part is a panel.
func packQWinograd(n *graph.Node, ints kern.Ints, first, count []int, m, kpad int) Packing {
	cin := n.In[3].Type.Shape[1]
	w := qrowsOf(n)
	size := 2 * (m + 2) * (m + 2) * 16 * kpad
	near, temp := turned(cin, 9, 2)
	return Packing{Bytes: size * len(first), Parts: len(first), Scratch: temp + w.scratch(16),
		At: func(part int) (from, to int) { return part * size, (part + 1) * size },
		Fill: func(b []byte, p int, scratch []byte) {
			t, scratch := scratch[:temp], scratch[temp:]
			raw, dst := w.read(scratch, first[p], count[p]), kern.Int16s(b)
			if kpad != cin {
				clear(dst)
			}
			for c0 := 0; c0 < cin; c0 += near {
				some := min(near, cin-c0)
				ints.Columns(t, raw[9*c0:], count[p], w.k, 9*some, w.flip)
				if some%2 != 0 {
					clear(t[16*9*some:])
				}
				ints.WinoFilters(dst[16*c0:], 16*kpad, t, (some+1)/2, m)
			}
		}}
}

func prepareQWinograd(fn *graph.Node, e *Env, m int) (*Prepared, error) {
	n, lo, hi := qunfuse(fn, "", "QLinearConv")
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	ws := n.In[3].Type.Shape
	win, _ := window2D(n, n.In[0].Type.Shape, n.Out[0].Type.Shape, ws[2:])
	w := &qwindow{window: win, x: x, ints: kern.IntsOf(e.CPU), signed: n.In[0].Type.DType == tensor.Int8, zero: zeroOf(n.In[2])}
	// In units of tiles: windows of 4x4 two apart, or 6x6 four apart, of which the last may hang over.
	w.oh, w.ow = (win.oh+m-1)/m, (win.ow+m-1)/m
	w.kh, w.kw, w.sh, w.sw = m+2, m+2, m, m
	places := (m + 2) * (m + 2)
	cin, step := ws[1], round16(ws[1])
	kpad := (cin + 3) / 4 * 4
	w.fit(64<<10, qwinogradRows(places, w.ow, step))
	tiles := w.bh * w.bw

	rq := requantOf(lo, hi, zeroOf(n.In[7]))
	var first, count []int
	for c := 0; c < ws[0]; c += 16 {
		first, count = append(first, c), append(count, min(16, ws[0]-c))
	}
	packing := packQWinograd(n, w.ints, first, count, m, kpad)
	packed := e.packParts(n.In[3], fmt.Sprintf("i8_winograd/%d/%s", m, zeroKey(n)), packing)
	bias, mul := lanes16(n, e, first, count)
	blocks := y.n * w.nh * w.nw
	nb, np := split(blocks, len(first), tiles*places*cin*16/2)
	name := "i8_winograd_"
	if m == 4 {
		name = "i8_winograd4_"
	}
	p := &Prepared{Kernel: name + w.ints.Name(), Packed: packedInputs(n),
		Scratch: 2*w.scratch() + 2*places*tiles*step + 4*places*16*tiles + 8*tiles + 4*256 + 256 + 256}
	panel := places * kpad * 16
	// Of panels p0 to p1, which begin packed.
	run := func(c *Call, b0, b1, p0, p1 int, packed []int16, scratch []byte) {
		in, out := c.In[0].Bytes(), c.Out[0].Bytes()
		a, scratch := kern.CutInt16(scratch, w.scratch())
		clear(a[len(a)-slack:])
		v, scratch := kern.CutInt16(scratch, places*tiles*step)
		rows, scratch := kern.CutInts(scratch, tiles)
		tmp, scratch := kern.CutInt32(scratch, 256)
		sums, edge := kern.CutInt32(scratch, places*16*tiles)
		for i := range rows {
			rows[i] = i * step
		}
		for b := b0; b < b1; b++ {
			img := b / (w.nh * w.nw)
			y0, x0, h, wd := w.block(a, in, img, b%(w.nh*w.nw))
			if p0 == 0 && x0 == 0 {
				haloBytes(&y, out, img, m*y0, min(y.h, m*(y0+h)))
			}
			count := h * wd
			for r := range h {
				qwinogradIn(w.ints, m, &kern.I8WinoIn{X: a[m*r*w.iw*x.sw:], Row: w.iw * x.sw, Pixel: x.sw, V: v[r*wd*step:], Pos: tiles * step, Step: step, Blocks: step / 16, Tiles: wd})
			}
			for p := p0; p < p1; p++ {
				t := kern.I8Tile{Rows: rows[:count], Off: kern.Zero, K: kpad}
				for i := range places {
					t.A, t.B, t.Sums = v[i*tiles*step:], packed[(p-p0)*panel+i*kpad*16:][:kpad*16], sums[i*tiles*16:]
					w.ints.Sum16(&t)
				}
				o := kern.I8WinoOut{Pos: tiles * 16, Bias: bias[16*p:][:16], Mul: mul[16*p:][:16], Lo: rq.lo, Hi: rq.hi, Zero: rq.zero, Tmp: tmp}
				for r := range h {
					oy, ox := m*(y0+r), m*x0
					at := y.at + img*y.sn + oy*y.sh + ox*y.sw + first[p]
					whole := min(wd, (y.w-ox)/m)
					if oy+m > y.h {
						whole = 0
					}
					o.M, o.Y, o.Row, o.Pixel, o.Tiles = sums[r*wd*16:], out[at:], y.sh, y.sw, whole
					qwinogradOut(w.ints, m, &o)
					// What hangs over the edge goes through scratch.
					for i := whole; i < wd; i++ {
						o.M, o.Y, o.Row, o.Pixel, o.Tiles = sums[(r*wd+i)*16:], edge, 16*m, 16, 1
						qwinogradOut(w.ints, m, &o)
						for k := range m * m {
							if py, px := oy+k/m, ox+m*i+k%m; py < y.h && px < y.w {
								copy(out[at+k/m*y.sh+(m*i+k%m)*y.sw:][:16], edge[16*k:])
							}
						}
					}
				}
			}
		}
	}
	p.Phases = []Phase{{Tiles: nb * np, Run: func(c *Call, tile int, scratch []byte) {
		b0, b1 := part(tile%nb, nb, blocks)
		p0, p1 := part(tile/nb, np, len(first))
		run(c, b0, b1, p0, p1, kern.Int16s(packed.Bytes)[p0*panel:], scratch)
	}}}
	firstPanels(p, len(first), 2*panel, p.Scratch, &packing, func(c *Call, p0, p1 int, packed, scratch []byte) {
		run(c, 0, blocks, p0, p1, kern.Int16s(packed), scratch)
	})
	return p, nil
}

func qwinogradIn(v kern.Ints, m int, t *kern.I8WinoIn) {
	if m == 4 {
		v.WinoIn4(t)
	} else {
		v.WinoIn(t)
	}
}

func qwinogradOut(v kern.Ints, m int, t *kern.I8WinoOut) {
	if m == 4 {
		v.WinoOut4(t)
	} else {
		v.WinoOut(t)
	}
}
