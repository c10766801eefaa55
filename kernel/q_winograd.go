package kernel

import (
	"fmt"
	"math"
	"slices"

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
			{"i8_winograd4", 16, 4, func(f *qfacts) bool { return f.most < 64 && f.sixtyFourth() }},
		} {
			Register(Kernel{
				Domain: on[0], Op: on[1], Name: k.name, Priority: k.priority, Parts: true,
				Match: func(n *graph.Node, e *Env) bool {
					m, _, _ := qunfuse(n, "", "QLinearConv")
					if m == nil || e.Direct || !qconvMatch(m, e) || m.Int("group", 1) != 1 {
						return false
					}
					f := factsOf(m, e)
					return f.narrow && qwinogradPays(m, e, k.tile) && k.fits(f)
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
func qwinogradPays(n *graph.Node, e *Env, m int) bool {
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
	tiles := func(m int) int { return images * ((w.oh + m - 1) / m) * ((w.ow + m - 1) / m) }
	if dots(e) {
		return m == 4 && qwinogradBeatsDots(e, w.oh*w.ow*images, tiles(4), s[1], s[0])
	}
	return m == 2 || qwinogradCost(4, tiles(4), s[1], s[0]) < 0.88*qwinogradCost(2, tiles(2), s[1], s[0])
}

// qwinogradCost is in cycles of a core with two multipliers of 16 words, fitted to measurements (AVX2, Zen 3):
// rows of products are taken by sixes and reach 65% of the peak; the weights come from the third-level cache
// once a block, and if they are large the first time from memory.
func qwinogradCost(m, tiles, cin, cout int) float64 {
	places := (m + 2) * (m + 2)
	nb := qwinogradBlocks(false, places, tiles, cin)
	blocks := float64(nb)
	products := blocks * float64(((tiles+nb-1)/nb+5)/6*6) * float64(places*cin*cout) / 32 / 0.65
	weights := float64(2 * places * cin * cout)
	memory := blocks * weights / 16
	if weights > 2<<20 {
		memory += weights / 3
	}
	return products + memory
}

// qwinogradBeatsDots reports whether tiles of 4x4 beat dot products of bytes, of which a core does twice as many as of words: 64 against 32 a
// cycle, at 96%. The rest of the cycles is as measured on a Zen 4: what a tile takes for 16 channels in and for 16 out, and the weights, which
// come from the third-level cache once a block. AMX is too far ahead.
func qwinogradBeatsDots(e *Env, pixels, tiles, cin, cout int) bool {
	if !kern.IntsOf(e.CPU).WinoBytes() || e.CPU.AMX {
		return false
	}
	nb, np := qwinogradSplit(true, 36, tiles, cin, cout)
	in, out := (cin+15)/16, (cout+15)/16
	dot := pixels * 9 * cin * 16 * out * 100 / 96 / 64
	winograd := tiles*(36*cin*16*out*100/96/32+np*in*114+out*178) + nb*72*cin*16*out/24
	return winograd*105 < dot*100
}

// qwinogradBlocks divides tiles into one block or an even number: of at most 28, two calls of the wide product, or, without it, such that a
// transformed block and the sums of a panel stay in the second-level cache, if those are two calls.
func qwinogradBlocks(wide bool, places, tiles, cin int) int {
	const cache = 80 << 10 // words
	per := 28
	if !wide {
		per = max(12, cache/places/round16(cin))
	}
	nb := (tiles + per - 1) / per
	if nb > 1 {
		nb += nb % 2
	}
	return nb
}

// qwinogradSplit divides tiles into blocks, and panels of 16 channels into np parts, which all transform their block.
func qwinogradSplit(wide bool, places, tiles, cin, cout int) (nb, np int) {
	nb, panels := qwinogradBlocks(wide, places, tiles, cin), (cout+15)/16
	if !wide {
		return split(nb, panels, (tiles+nb-1)/nb*places*cin*16/2)
	}
	// As few parts as some threads need: of fewer panels they take longer. Threads do not share what one of
	// them has transformed: it would have to come from another core's cache.
	const large = 25 << 20 // multiply-adds
	work := tiles / nb * places * cin * 16 * panels
	for np = 1; panels >= 8*np && (nb*np < 4 || nb*np < 8 && work/np > large); np *= 2 {
	}
	return nb, np
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

// sixtyFourthFits reports whether 64 times the sums fit int32, with the bias and without: sums of
// weights of either sign with the largest and the smallest pixels.
func sixtyFourthFits(n *graph.Node, ints kern.Ints) bool {
	lo, hi := -zeroOf(n.In[2]), 255-zeroOf(n.In[2])
	if n.In[0].Type.DType == tensor.Int8 {
		lo, hi = lo-128, hi-128
	}
	lo, hi = min(lo, 0), max(hi, 0)
	channels := n.In[3].Type.Shape[0]
	bias := make([]int, channels) // magnitudes
	if v := n.Input(8); v != nil {
		for c, b := range tensor.Of[int32](v.Tensor()) {
			bias[c] = max(int(b), -int(b))
		}
	}
	rows := qrowsOf(n)
	const most = math.MaxInt32 / 64
	if rows.k*255*128+slices.Max(bias) <= most {
		return true
	}
	const some = 16
	scratch := make([]byte, rows.scratch(some))
	for c0 := 0; c0 < channels; c0 += some {
		count := min(some, channels-c0)
		w := rows.read(scratch, c0, count)
		for c := range count {
			sum, abs := ints.SumAbs(w[c*rows.k:][:rows.k], rows.flip)
			pos, neg := (abs+sum)/2, (abs-sum)/2
			if max(pos*hi-neg*lo, neg*hi-pos*lo)+bias[c0+c] > most {
				return false
			}
		}
	}
	return true
}

// packQWinograd is 4·G g G', or with tiles of 4x4 24·G g G'·24, of every filter, as 16 or 36 matrices in
// panels of pairs of input channels: [panel][position][cin/2][lane][2], positions ld numbers apart. A part is a panel.
func packQWinograd(n *graph.Node, ints kern.Ints, first, count []int, m, ld int) Packing {
	cin := n.In[3].Type.Shape[1]
	w := qrowsOf(n)
	size := 2 * (m + 2) * (m + 2) * ld
	near, temp := turned(cin, 9, 2)
	return Packing{Bytes: size * len(first), Parts: len(first), Scratch: temp + w.scratch(16),
		At: func(part int) (from, to int) { return part * size, (part + 1) * size },
		Fill: func(b []byte, p int, scratch []byte) {
			t, scratch := scratch[:temp], scratch[temp:]
			raw, dst := w.read(scratch, first[p], count[p]), kern.Int16s(b)
			if cin%4 != 0 {
				clear(dst)
			}
			for c0 := 0; c0 < cin; c0 += near {
				some := min(near, cin-c0)
				ints.Columns(t, raw[9*c0:], count[p], w.k, 9*some, w.flip)
				if some%2 != 0 {
					clear(t[16*9*some:])
				}
				ints.WinoFilters(dst[16*c0:], ld, t, (some+1)/2, m)
			}
		}}
}

func prepareQWinograd(fn *graph.Node, e *Env, m int) (*Prepared, error) {
	n, lo, hi := qunfuse(fn, "", "QLinearConv")
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	ws := n.In[3].Type.Shape
	win, _ := window2D(n, n.In[0].Type.Shape, n.Out[0].Type.Shape, ws[2:])
	// In units of tiles: windows of 4x4 two apart, or 6x6 four apart, of which the last may hang over.
	w := &qwindow{window: win, x: x, ints: kern.IntsOf(e.CPU), signed: n.In[0].Type.DType == tensor.Int8, zero: zeroOf(n.In[2])}
	w.oh, w.ow = (win.oh+m-1)/m, (win.ow+m-1)/m
	w.kh, w.kw, w.sh, w.sw = m+2, m+2, m, m
	places := (m + 2) * (m + 2)
	cin, step := ws[1], round16(ws[1])
	kpad := (cin + 3) / 4 * 4
	var first, count []int
	for c := 0; c < ws[0]; c += 16 {
		first, count = append(first, c), append(count, min(16, ws[0]-c))
	}
	few := w.ints.WinoPanels()
	all := y.n * w.oh * w.ow
	nb, np := qwinogradSplit(few > 1, places, all, cin, ws[0])
	tiles := (all + nb - 1) / nb // of a block, at most
	w.fit(64<<10, 1)
	w.bw = min(w.bw, tiles)
	w.iw = (w.bw-1)*w.sw + w.extentW()
	// Places lie an odd number of lines of the cache apart.
	vpos, spos, ld := 32*((tiles*step+31)/32|1), 16*(tiles|1), 32*((kpad+1)/2|1)

	rq := requantOf(lo, hi, zeroOf(n.In[7]))
	packing := packQWinograd(n, w.ints, first, count, m, ld)
	packed := e.packParts(n.In[3], fmt.Sprintf("i8_winograd/%d/%s", m, zeroKey(n)), packing)
	bias, mul := lanes16(n, e, first, count)
	name := "i8_winograd_"
	if m == 4 {
		name = "i8_winograd4_"
	}
	asBytes := m == 4 && w.ints.WinoBytes()
	image := w.ih*w.iw*x.sw + slack // numbers of the windows of some tiles, and what kernels may read behind them
	bytes := 2 * image
	if asBytes {
		bytes = image
	}
	bytes = (bytes + 7) / 8 * 8
	flip, zero := byte(0), zeroOf(n.In[2])
	if w.signed {
		flip, zero = 0x80, zero+128
	}
	// transform writes tiles t0 to t1 to v.
	transform := func(c *Call, t0, t1 int, v []int16, scratch []byte) {
		in := c.In[0].Bytes()
		clear(scratch[bytes-2*slack : bytes])
		t := kern.I8WinoIn{Row: w.iw * x.sw, Pixel: x.sw, Pos: vpos, Step: step, Blocks: step / 16, Zero: int16(zero)}
		for i := t0; i < t1; {
			img, ty, tx, k := w.tiles(i, t1)
			u, in, n := t, in[img*x.sn:], (k-1)*w.sw+w.extentW()
			if asBytes {
				u.Bytes = scratch[:bytes]
				w.around(ty, tx, 1, func(r, at, left, right int) { w.byteLine(u.Bytes, in, n, r, at, left, right, flip, byte(zero)) })
			} else {
				u.X, _ = kern.CutInt16(scratch, image)
				w.around(ty, tx, 1, func(r, at, left, right int) { w.wordLine(u.X, in, n, r, at, left, right) })
			}
			u.V, u.Tiles = v[(i-t0)*step:], k
			qwinogradIn(w.ints, m, &u)
			i += k
		}
	}
	panel := places * ld
	// products are those of tiles t0 to t1, which v holds, with panels p0 to p1, which begin packed, and their way to pixels.
	products := func(c *Call, t0, t1, p0, p1 int, packed, v []int16, scratch []byte) {
		out := c.Out[0].Bytes()
		sums, scratch := kern.CutInt32(scratch, few*places*spos)
		tmp, scratch := kern.CutInt32(scratch, 256)
		edge, scratch := scratch[:256], scratch[256:]
		rows, _ := kern.CutInts(scratch, t1-t0)
		for i := range rows {
			rows[i] = i * step
		}
		for p := p0; p < p1; p++ {
			from := sums[(p-p0)%few*places*spos:]
			if (p-p0)%few == 0 {
				w.ints.WinoSums(&kern.I8WinoSums{A: v, Step: step, Rows: rows, K: kpad, B: packed[(p-p0)*panel:], Panels: min(few, p1-p), Panel: panel,
					Sums: sums, Out: places * spos, Places: places, APos: vpos, BPos: ld, Pos: spos})
			}
			o := kern.I8WinoOut{Pos: spos, Bias: bias[16*p:][:16], Mul: mul[16*p:][:16], Lo: rq.lo, Hi: rq.hi, Zero: rq.zero, Tmp: tmp}
			for i := t0; i < t1; {
				img, ty, tx, k := w.tiles(i, t1)
				if p == 0 && tx == 0 {
					haloBytes(&y, out, img, m*ty, min(y.h, m*(ty+1)))
				}
				to := y.at + img*y.sn + m*ty*y.sh + m*tx*y.sw + first[p]
				whole := min(k, y.w/m-tx)
				if m*ty+m > y.h {
					whole = 0
				}
				o.M, o.Y, o.Row, o.Pixel, o.Tiles = from[(i-t0)*16:], out[to:], y.sh, y.sw, whole
				qwinogradOut(w.ints, m, &o)
				// What hangs over the edge goes through scratch.
				for j := whole; j < k; j++ {
					o.M, o.Y, o.Row, o.Pixel, o.Tiles = from[(i-t0+j)*16:], edge, 16*m, 16, 1
					qwinogradOut(w.ints, m, &o)
					for k := range m * m {
						if py, px := m*ty+k/m, m*(tx+j)+k%m; py < y.h && px < y.w {
							copy(out[to+k/m*y.sh+(m*j+k%m)*y.sw:][:16], edge[16*k:])
						}
					}
				}
				i += k
			}
		}
	}
	own := 4*few*places*spos + 4*256 + 256 + (8*tiles+63)/64*64 // of products
	p := &Prepared{Kernel: name + w.ints.WinoName(), Packed: packedInputs(n), Scratch: own + 2*places*vpos + bytes}
	run := func(c *Call, b, p0, p1 int, packed []int16, scratch []byte) {
		t0, t1 := part(b, nb, all)
		v, image := kern.CutInt16(scratch[own:], places*vpos)
		transform(c, t0, t1, v, image)
		products(c, t0, t1, p0, p1, packed, v, scratch)
	}
	grid := gridOf(nb, np, nb, (len(first)+few-1)/few, places*cin*ws[0]*2, x.size()+y.size())
	p.Phases = []Phase{{Tiles: grid.tiles(), Run: func(c *Call, tile int, scratch []byte) {
		b, _, p0, p1 := grid.at(tile)
		p0, p1 = few*p0, min(few*p1, len(first))
		run(c, b, p0, p1, kern.Int16s(packed.Bytes)[p0*panel:], scratch)
	}}}
	// A first run transforms the input once for every panel or few: 114 cycles a tile and 16 channels, as in
	// qwinogradBeatsDots. Fresh memory for all panels takes about half a cycle a byte.
	if tries := min(len(first), 16) - np; tries*all*step/16*114 > packing.Bytes/2 {
		return p, nil
	}
	firstPanels(p, len(first), 2*panel, p.Scratch, &packing, func(c *Call, p0, p1 int, packed, scratch []byte) {
		for b := range nb {
			run(c, b, p0, p1, kern.Int16s(packed), scratch)
		}
	})
	return p, nil
}

// tiles are those from tile i on, before end, that are in one row and fit scratch: k from row ty and column tx of image img on.
func (w *qwindow) tiles(i, end int) (img, ty, tx, k int) {
	ty, tx = i/w.ow, i%w.ow
	return ty / w.oh, ty % w.oh, tx, min(end-i, w.ow-tx, w.bw)
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
