package kernel

import (
	"encoding/binary"
	"fmt"

	"whit/graph"
	"whit/internal/cpu"
	"whit/internal/kern"
	"whit/tensor"
)

// Convolution of 8-bit integers on processors with instructions for dot products of bytes:
// those of i8_conv, with the same integers, but bytes stay bytes. A tile copies the part of the
// image that a block of output pixels needs, with the zero point for the padding (pixels that
// windows do not share are read in place); the zero point's share of every sum is in the bias.
func init() {
	for _, on := range [][2]string{{"", "QLinearConv"}, {graph.Domain, "Fused"}} {
		Register(Kernel{
			Domain: on[0], Op: on[1], Name: "i8_dot", Priority: 14, Parts: true,
			Match: func(n *graph.Node, e *Env) bool {
				m, _, _ := qunfuse(n, "", "QLinearConv")
				return (dots(e) || e.CPU == cpu.Features{}) && m != nil && qconvMatch(m, e) && factsOf(m, e).narrow
			},
			Layout: func(n *graph.Node, in []graph.Layout) Layouts {
				l := Layouts{In: make([]graph.Layout, len(in)), Out: []graph.Layout{qnhwc(n.Out[0].Type.Shape[1])}}
				l.In[0] = nhwc([4]int{})
				return l
			},
			Prepare: prepareQDot,
		})
	}
}

// dots reports whether products of bytes have instructions of their own.
func dots(e *Env) bool {
	_, fast := kern.DotsOf(e.CPU)
	return fast
}

// bytes copies what block b of image img needs into a, flipping bits, with zero for the padding,
// and returns the first output row and column of the block, and its size.
func (w *qwindow) bytes(a, in []byte, img, b int, flip, zero byte) (y0, x0, h, wd int) {
	in = in[img*w.x.sn:]
	return w.lines(b, func(r, at, left, right int) { w.byteLine(a, in, w.iw, r, at, left, right, flip, zero) })
}

// byteLine is wordLine for bytes that stay bytes, with zero for the padding.
func (w *qwindow) byteLine(a, in []byte, n, r, at, left, right int, flip, zero byte) {
	cs := w.x.sw
	left, right = min(left, n), min(right, n)
	d := a[r*w.iw*cs:][:n*cs]
	fill(d[:left*cs], zero)
	fill(d[right*cs:], zero)
	if left < right {
		flipBytes(d[left*cs:right*cs], in[at:][:(right-left)*cs], flip)
	}
}

func fill(d []byte, v byte) {
	if len(d) > 0 {
		d[0] = v
	}
	for n := 1; n < len(d); n *= 2 {
		copy(d[n:], d[:n])
	}
}

// flipBytes is dst[i] = src[i] ^ flip.
func flipBytes(dst, src []byte, flip byte) {
	if flip == 0 {
		copy(dst, src)
		return
	}
	dst = dst[:len(src)]
	mask := 0x0101010101010101 * uint64(flip)
	for ; len(src) >= 8; dst, src = dst[8:], src[8:] {
		binary.LittleEndian.PutUint64(dst, binary.LittleEndian.Uint64(src)^mask)
	}
	for i, x := range src {
		dst[i] = x ^ flip
	}
}

// dotGroup is the panels of 16 columns of a call: count columns from output channel first on.
type dotGroup struct{ first, count, panels, at int }

// dotGroups divides the output channels of every group of a convolution into calls of nearly
// equal numbers of panels, at most most; k is the bytes of a channel. size is those of all.
func dotGroups(groups, og, k, most int) (g []dotGroup, size int) {
	panels := (og + 15) / 16
	calls := (panels + most - 1) / most
	for i := range groups {
		for c := range calls {
			p0, p1 := part(c, calls, panels)
			g = append(g, dotGroup{i*og + 16*p0, min(og, 16*p1) - 16*p0, p1 - p0, size})
			size += (p1 - p0) * 16 * k
		}
	}
	return g, size
}

// dotSum is the bytes of a channel behind its weights: their sum.
const dotSum = 4

// packQDot packs W[cout][cin/g][kh][kw] as kern.I8Dot wants it, segments of kseg numbers filled
// up to kpad with zeros, and behind the weights of a call the sums of its columns. A part is what a call takes.
func packQDot(n *graph.Node, ints kern.Ints, d kern.Dots, gs []dotGroup, kseg, kpad, size int) Packing {
	s, w := n.In[3].Type.Shape, qrowsOf(n)
	cin, taps := s[1], s[2]*s[3]
	near, temp := turned(cin, taps, 4)
	return Packing{Bytes: size, Parts: len(gs), Scratch: temp + w.scratch(16),
		At: func(part int) (from, to int) {
			if from, to = gs[part].at, size; part+1 < len(gs) {
				to = gs[part+1].at
			}
			return from, to
		},
		Fill: func(dst []byte, part int, scratch []byte) {
			t, scratch := scratch[:temp], scratch[temp:]
			g := gs[part]
			quad := 64 * g.panels
			b := dst[:len(dst)-16*dotSum*g.panels]
			if kpad != kseg {
				clear(b)
			}
			for p := range g.panels {
				b, count := b[64*p:], min(16, g.count-16*p)
				raw := w.read(scratch, g.first+16*p, count)
				for c0 := 0; c0 < cin; c0 += near {
					some := min(near, cin-c0)
					ints.Columns(t, raw[c0*taps:], count, w.k, some*taps, w.flip)
					switch {
					case taps == 1:
						clear(t[16*some : (some+3)/4*64])
						ints.ZipQuads(b[c0/4*quad:], t, (some+3)/4, quad, 16)
					case cin%4 == 0: // quads are four channels of a tap
						for i := range taps {
							at := i*cin/kseg*kpad + i*cin%kseg + c0
							ints.ZipQuads(b[at/4*quad:], t[16*i:], some/4, quad, 16*taps)
						}
					default:
						for i := range some * taps {
							k := i%taps*cin + c0 + i/taps
							at := k/kseg*kpad + k%kseg
							d := b[at/4*quad+at%4:]
							for r, v := range t[16*i:][:16] {
								d[4*r] = v
							}
						}
					}
				}
			}
			sums, _ := kern.CutInt32(dst[len(b):], 16*g.panels)
			d.Sums(sums, kern.Int8s(b), g.panels)
		}}
}

func prepareQDot(fn *graph.Node, e *Env) (*Prepared, error) {
	n, lo, hi := qunfuse(fn, "", "QLinearConv")
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	ws := n.In[3].Type.Shape
	win, _ := window2D(n, n.In[0].Type.Shape, n.Out[0].Type.Shape, ws[2:])
	w := &qwindow{window: win, x: x}
	images := y.n
	flat := w.flat(&y)
	if flat {
		w.h, w.w, w.oh, w.ow, images = 1, y.n*y.h*y.w, 1, y.n*y.h*y.w, 1
	}
	groups := int(n.Int("group", 1))
	cin, og := ws[1], ws[0]/groups
	d, _ := kern.DotsOf(e.CPU)
	// Blocks of less than half of the second-level cache, and so many, times calls a pixel, that
	// workers can share them, but of some calls' rows.
	const limit, least = 128 << 10, 48
	calls := groups * (((og+15)/16 + d.Panels() - 1) / d.Panels())
	if pixels := max(least, images*w.oh*w.ow*calls/wantTiles); flat {
		n := max(1, w.ow/pixels)
		w.fit(min(limit, (w.ow+n-1)/n*x.sw), 1)
	} else {
		w.fit(limit, max(1, pixels/w.ow))
	}

	off, kseg := w.segments(w.iw*x.sw, x.sw, cin, groups == 1 && x.sw == cin)
	whole := w.bw == w.ow && y.plain() // the pixels of a block follow each other
	rows := w.bw
	if whole {
		rows *= w.bh
	}
	d = d.For(rows, len(off), kseg)
	flip, zero := byte(0), zeroOf(n.In[2])
	if d.Signed != (n.In[0].Type.DType == tensor.Int8) {
		flip = 0x80
		if d.Signed {
			zero -= 128
		} else {
			zero += 128
		}
	}
	rq := requantOf(lo, hi, zeroOf(n.In[7]))
	t := kern.I8Dot{LDC: y.sw, Lo: rq.lo, Hi: rq.hi, Zero: rq.zero}
	t.Off, t.K = off, (kseg+d.Group()-1)/d.Group()*d.Group()
	depth := len(t.Off) * t.K
	gs, size := dotGroups(groups, og, depth+dotSum, d.Panels())
	packing := packQDot(n, kern.IntsOf(e.CPU), d, gs, kseg, t.K, size)
	packed := e.packParts(n.In[3], fmt.Sprintf("i8_dot/%d/%d/%d/%s", len(gs), kseg, t.K, zeroKey(n)), packing)
	bias, mul := make([]int32, ws[0]+16), factsOf(n, e).mul
	mul = append(mul, make([]float32, 16)...)
	if v := n.Input(8); v != nil {
		copy(bias, tensor.Of[int32](v.Tensor()))
	}

	// Pixels are read in place where that needs no other bytes and none beyond the last. What
	// follows the numbers of a segment is multiplied by zeros.
	direct := flat && flip == 0
	scratch := w.scratch() + t.K - kseg
	if direct && kseg == t.K {
		scratch = 0
	}
	end := (groups-1)*cin + t.K // of what is read of a pixel
	// A call that is not full must not store over another group's channels or what follows those of the pixel.
	most := min(y.sw, round16(ws[0]))
	partial := func(g dotGroup) bool {
		return g.count < 16*g.panels && (g.first+g.count < ws[0] || g.first+16*g.panels > most)
	}
	pixels, edges := w.bh*w.bw, 0
	offsets := (pixels + 7) / 8 * 8 // so that the image begins with a line of the cache
	for _, g := range gs {
		if partial(g) {
			edges = max(edges, 16*g.panels*pixels)
		}
	}
	p := &Prepared{Kernel: "i8_dot_" + d.Name(), Packed: packedInputs(n), Scratch: 8*offsets + 4*16*d.Panels() + scratch + edges + d.Tmp()}
	blocks := images * w.nh * w.nw
	work := pixels * depth * 16 // a quarter of the products
	if d.Group() > 4 {          // tiles: half as many columns, four times as fast
		work /= 8
	}
	nb, np := split(blocks, len(gs), work)
	if np == 1 && nb > blocks/2 {
		nb = blocks // of one block each
	}
	// Of groups p0 to p1, which begin packed.
	run := func(c *Call, b0, b1, p0, p1 int, packed, mem []byte) {
		t := t
		in, out := c.In[0].Bytes(), c.Out[0].Bytes()
		off, mem := kern.CutInts(mem, offsets)
		own, mem := kern.CutInt32(mem, 16*d.Panels())
		image, edge := mem[:scratch], mem[scratch:][:edges]
		t.Tmp = mem[scratch+edges:]
		last := [2]int{}
		for b := b0; b < b1; b++ {
			img := b / (w.nh * w.nw)
			y0, x0, h, wd := 0, b%w.nw*w.bw, 1, 0
			a := image
			if n := min(w.bw, w.ow-x0); direct && x.at+(x0+n-1)*x.sw+end <= len(in) {
				wd, a = n, in[x.at+x0*x.sw:]
			} else {
				y0, x0, h, wd = w.bytes(a, in, img, b%(w.nh*w.nw), flip, byte(zero))
			}
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
			for _, g := range gs[p0:p1] {
				size := 16 * g.panels * depth
				b := packed[g.at-gs[p0].at:]
				t.B, t.Panels = kern.Int8s(b[:size]), g.panels
				t.A = a[g.first/og*cin:]
				if t.Bias, t.Mul = bias[g.first:], mul[g.first:]; zero != 0 {
					sums, _ := kern.CutInt32(b[size:], 16*g.panels)
					for j, s := range sums {
						own[j] = t.Bias[j] - int32(zero)*s // modulo 2³², as all of the sum
					}
					t.Bias = own
				}
				step := wd // output pixels that follow each other
				if whole {
					step = h * wd
				}
				for i := 0; i < h*wd; i += step {
					at := y.at + img*y.sn + (y0+i/wd)*y.sh + x0*y.sw + g.first
					if images == 1 && w.oh == 1 && y.plain() {
						at = y.at + x0*y.sw + g.first
					}
					t.Rows, t.Line, t.C, t.LDC = off[i:i+step], wd, out[at:], y.sw
					if partial(g) {
						t.C, t.LDC = edge, 16*g.panels
					}
					d.Run(&t)
					if partial(g) {
						for j := range step {
							copy(out[at+j*y.sw:][:g.count], edge[16*g.panels*j:])
						}
					}
				}
			}
		}
	}
	tiles := gridOf(nb, np, blocks, len(gs), size, x.size()+y.size())
	p.Phases = []Phase{{Tiles: tiles.tiles(), Run: func(c *Call, tile int, scratch []byte) {
		b0, b1, p0, p1 := tiles.at(tile)
		run(c, b0, b1, p0, p1, packed.Bytes[gs[p0].at:], scratch)
	}}}
	if len(gs) > 1 && packing.Bytes >= 3<<12 { // packing twice costs less than three fresh pages
		firstPanels(p, len(gs), 16*d.Panels()*(depth+dotSum), p.Scratch, &packing, func(c *Call, p0, p1 int, packed, scratch []byte) {
			run(c, 0, blocks, p0, p1, packed, scratch)
		})
	}
	return p, nil
}
