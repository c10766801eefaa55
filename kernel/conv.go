package kernel

import (
	"fmt"

	"whit/graph"
	"whit/internal/kern"
)

// Direct float32 convolution, 2-D, NHWC, constant weights: a product whose rows are
// output pixels and whose segments of k are the rows of the window, read in place
// from the padded image (no im2col). Weights are packed once in panels of NR output
// channels; k runs over (kh, kw, cin). Any stride, dilation, padding and group.
func init() {
	for _, on := range [][2]string{{"", "Conv"}, {graph.Domain, "Fused"}} {
		Register(Kernel{
			Domain: on[0], Op: on[1], Name: "f32_conv", Priority: 10, Parts: true,
			Match: func(n *graph.Node, _ *Env) bool {
				m, _, _, _ := unfuseCurve(n, "Conv")
				if m == nil || !f32Node(m) || !m.In[1].IsConst() {
					return false
				}
				_, ok := convWindow(m)
				return ok && m.In[1].Type.Shape.NumElements() > 0
			},
			Layout: func(n *graph.Node, in []graph.Layout) Layouts {
				m, _, add, _ := unfuseCurve(n, "Conv")
				w, _ := convWindow(m)
				return convLayouts(w.halo(), add)
			},
			Prepare: prepareConv,
		})
	}
}

// convLayouts is NHWC in and out, with that halo, and for what is added after.
func convLayouts(halo [4]int, add int) Layouts {
	l := Layouts{In: []graph.Layout{nhwc(halo)}, Out: []graph.Layout{nhwc([4]int{})}}
	if add >= 0 {
		l.In = append(l.In, make([]graph.Layout, add-1)...)
		l.In = append(l.In, nhwc([4]int{}))
	}
	return l
}

func convWindow(n *graph.Node) (window, bool) {
	w := n.In[1].Type.Shape
	if len(w) != 4 {
		return window{}, false
	}
	return window2D(n, n.In[0].Type.Shape, n.Out[0].Type.Shape, w[2:])
}

// convPanel is one panel of output channels.
type convPanel struct {
	a int // offset of its group's input channels within a pixel
	b int // offset in the packed weights
	c int // first output channel
	n int // output channels
}

// convPacking packs W[cout][cin/g][kh][kw] in panels, group by group: a part is a panel.
func convPacking(u *kern.Micro, v *graph.Value, groups int) Packing {
	s := v.Type.Shape
	og, k := s[0]/groups, s[1]*s[2]*s[3]
	size, panels, taps, w := u.PackedLen(k, og), (og+u.NR-1)/u.NR, s[2]*s[3], floats(v)
	raw := pieceScratch(v, u.NR*k)
	// Channels are transposed some at a time, in their own order, whose taps are then brought together.
	const some = 16
	tmp := 4 * min(some, s[1]) * taps * u.NR
	if taps == 1 {
		tmp = 0
	}
	return Packing{
		Bytes: 4 * size * groups, Parts: groups * panels, Scratch: raw + tmp,
		At: func(part int) (from, to int) {
			g, o0 := part/panels, part%panels*u.NR
			return 4 * (g*size + o0*k), 4 * (g*size + o0*k + k*u.NR)
		},
		Fill: func(b []byte, part int, scratch []byte) {
			g, o0 := part/panels, part%panels*u.NR
			dst, rows := kern.Floats(b), min(u.NR, og-o0)
			w := w(scratch[:raw], (g*og+o0)*k, rows*k)
			if taps == 1 {
				u.PackB(dst, w, true, k, k, rows)
				return
			}
			t := kern.Floats(scratch[raw:])
			for c0 := 0; c0 < s[1]; c0 += some {
				n := min(some, s[1]-c0)
				u.PackB(t, w[c0*taps:], true, k, n*taps, rows)
				for i := range n * taps {
					copy(dst[(i%taps*s[1]+c0+i/taps)*u.NR:][:u.NR], t[i*u.NR:])
				}
			}
		}}
}

func prepareConv(fn *graph.Node, e *Env) (*Prepared, error) {
	n, act, add, cv := unfuseCurve(fn, "Conv")
	w, _ := convWindow(n)
	u, flat := kern.F32(e.CPU), kern.FlatOf(e.CPU)
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	ws := n.In[1].Type.Shape
	groups := int(n.Int("group", 1))
	cin, og := ws[1], ws[0]/groups
	k := cin * w.kh * w.kw
	p := &Prepared{Kernel: u.Name + "_conv", Packed: []int{1}}
	pk := convPacking(u, n.In[1], groups)
	packed := e.packParts(n.In[1], fmt.Sprintf("f32_conv_panels/%d/%d", u.NR, groups), pk)

	t := kern.Tile{RSA: w.sw * x.sw, CSA: 1, LDB: u.NR, LDC: y.sw, Lo: act.lo, Hi: act.hi, Flags: act.flags()}
	off, segment := w.segments(x.sh, x.sw, cin, groups == 1 && x.sw == cin)
	blocks := blockSegments(off, segment, u.NR)
	var panels []convPanel
	for g := range groups {
		for o := 0; o < og; o += u.NR {
			panels = append(panels, convPanel{a: g * cin, b: g*u.PackedLen(k, og) + o*k, c: g*og + o, n: min(u.NR, og-o)})
		}
	}
	bias := n.Input(2) != nil
	if bias {
		t.Flags |= kern.FlagCol
	}
	var r view
	if add >= 0 {
		r = viewOf(fn.In[add])
		t.LDR = r.sw
		t.Flags |= kern.FlagAdd
		if len(blocks) == 1 { // else sums over part of k stand where the residual was
			p.InPlace = []int{add}
		}
	}

	// Rows of output pixels; one long row where rows follow each other in both images.
	rows, cols := w.oh, w.ow
	if w.kh == 1 && w.kw == 1 && w.sh == 1 && w.sw == 1 && w.ph == 0 && w.pw == 0 && x.sh == x.w*x.sw && y.sh == y.w*y.sw && r.sh == r.w*r.sw {
		rows, cols = 1, w.oh*w.ow
	}
	flags, slopes := t.Flags, act.slopes(y.c, 0)
	t.Ahead = k * u.NR
	// Units of work: a line of pixels for the long way, panels for the short one. One
	// long line is divided into chunks of whole blocks.
	chunks := 1
	if rows == 1 {
		chunks = (cols + 2*u.MR - 1) / (2 * u.MR)
	}
	units := y.n * rows * chunks
	work := max(1, cols/chunks) * k * u.NR
	nu, np := splitImage(units, len(panels), work, 4*w.sh*w.sw*cols/chunks*x.sw/len(blocks))
	// A curve follows while what it reads is in the caches. A tile has all channels, if their weights
	// stay in a second-level cache, and the curve runs over the image, else over pixels of the tile's
	// channels that lie side by side in scratch.
	const cache = 32 << 10 // floats
	curveFloats, near := 0, 0
	if cv != nil {
		if 4*k*y.c <= 192<<10 {
			nu, np = splitFrom(1, 1, units, len(panels), work)
		}
		most := (len(panels) + np - 1) / np * u.NR
		near = (max(cache, (cols/chunks+1)*most) + most + 15) &^ 15
		curveFloats = near + cv.floats() + curveChunk
		p.Kernel += "_curve"
	}
	tiles := gridOf(nu, np, units, len(panels), k*y.c, x.size()+y.size())
	// run computes units u0 to u1 of panels p0 to p1, whose weights lie in packed from base on.
	run := func(c *Call, u0, u1, p0, p1 int, packed []float32, base int, tmp []float32) {
		t := t
		in, out := f32s(c.In[0]), f32s(c.Out[0])
		var b, sum []float32
		if bias {
			b = f32s(c.In[2])
		}
		if add >= 0 {
			sum = f32s(c.In[add])
		}
		c0 := panels[p0].c
		channels := panels[p1-1].c + panels[p1-1].n - c0
		most, apart := units, false
		if cv != nil {
			most, apart = max(1, cache*chunks/(cols*channels)), channels < y.c
		}
		if p0 == 0 {
			for i := u0; i < u1; i++ {
				if i%chunks == 0 {
					line := i / chunks
					img, oy := line/rows, line%rows
					if rows == w.oh {
						y.clearHalo(out, img, oy, oy+1)
					} else {
						y.clearHalo(out, img, 0, w.oh)
					}
				}
			}
		}
		for i := u0; i < u1; {
			// What of the tile lies in one image: part of a line, or whole lines.
			line, first := i/chunks, i%chunks
			n := min(u1-i, chunks-first, most)
			from, to, lines := first*cols/chunks, (first+n)*cols/chunks, 1
			if chunks == 1 {
				n = min(u1-i, rows-line%rows, most)
				lines = n
			}
			i += n
			img, oy := line/rows, line%rows
			xa := x.at + img*x.sn + (oy*w.sh-w.ph)*x.sh - w.pw*x.sw + from*t.RSA
			ya := y.at + img*y.sn + oy*y.sh + from*y.sw
			ra := r.at + img*r.sn + oy*r.sh + from*t.LDR
			dst, dstLine, dstFirst := out[ya:], y.sh, 0
			if apart {
				t.LDC = channels
				dst, dstLine, dstFirst = tmp[:near], (to-from)*channels, c0
			}
			for j, kb := range blocks {
				kb.set(&t, flags, j == 0, j == len(blocks)-1)
				for _, pn := range panels[p0:p1] {
					t.N, t.A, t.B, t.C = pn.n, in[xa+pn.a:], packed[pn.b-base+kb.at:], dst[pn.c-dstFirst:]
					if bias {
						t.Col = b[pn.c:]
					}
					if add >= 0 {
						t.R = sum[ra+pn.c:]
					}
					if slopes != nil {
						t.Slope = slopes[pn.c:]
					}
					u.Image(&t, to-from, lines, w.sh*x.sh, dstLine, r.sh)
				}
			}
			switch {
			case apart:
				all := dst[:lines*dstLine]
				cv.run(flat, all, all, tmp[near:])
				for l := range lines {
					for j := range to - from {
						copy(out[ya+l*y.sh+j*y.sw+c0:][:channels], all[l*dstLine+j*channels:])
					}
				}
			case cv != nil:
				for l := range lines {
					cv.pixels(flat, out[ya+l*y.sh:], to-from, channels, y.sw, tmp[near:])
				}
			}
		}
	}
	p.Scratch = 4 * curveFloats
	p.Phases = []Phase{{Tiles: tiles.tiles(), Run: func(c *Call, tile int, scratch []byte) {
		u0, u1, p0, p1 := tiles.at(tile)
		run(c, u0, u1, p0, p1, packed.floats(), 0, kern.Floats(scratch))
	}}}
	if len(panels) >= 4 && pk.worthFirst() {
		// Panel by panel, packed in scratch.
		p.Scratch = 4*(k*u.NR+curveFloats) + pk.Scratch
		p.First = []Phase{{Tiles: len(panels), Run: func(c *Call, tile int, scratch []byte) {
			panel, tmp := scratch[:4*k*u.NR], scratch[4*k*u.NR:][:4*curveFloats]
			pk.Fill(panel, tile, scratch[len(panel)+len(tmp):])
			run(c, 0, units, tile, tile+1, kern.Floats(panel), panels[tile].b, kern.Floats(tmp))
		}}}
	}
	return p, nil
}

// kBlock is a part of k: segments of the image and where their weights begin in a panel.
type kBlock struct {
	off []int
	k   int
	at  int
}

// set makes t sum over the block; flags are those of all of k, what they say of the
// sum is left to the last block.
func (b *kBlock) set(t *kern.Tile, flags int, first, last bool) {
	t.Off, t.K, t.Flags = b.off, b.k, flags
	if !first {
		t.Flags |= kern.FlagAcc
	}
	if !last {
		t.Flags &= kern.FlagAcc
	}
}

// blockSegments divides segments of k each so that a block's panel of weights fits a
// first-level cache of 32 KiB together with the pixels.
func blockSegments(off []int, k, nr int) []kBlock {
	most := 24 << 10 / (4 * nr)
	var bs []kBlock
	if k > most {
		n := (k + most - 1) / most
		for i, o := range off {
			for j := range n {
				from, to := part(j, n, k)
				bs = append(bs, kBlock{[]int{o + from}, to - from, (i*k + from) * nr})
			}
		}
		return bs
	}
	n := (len(off)*k + most - 1) / most
	for i := range n {
		if from, to := part(i, n, len(off)); to > from {
			bs = append(bs, kBlock{off[from:to], k, from * k * nr})
		}
	}
	return bs
}

// splitBytes is how much of an image is read again and again from a second-level cache.
const splitBytes = 192 << 10

// splitImage divides units of an image, of some bytes of input each, and panels of
// weights, work multiply-adds a pair, into tiles: as many units together as stay in a
// second-level cache while panel after panel passes over them.
func splitImage(units, panels, work, bytes int) (nu, np int) {
	nu = max(1, min(units, (units*bytes+splitBytes-1)/splitBytes))
	np, nu = splitFrom(1, nu, panels, units, work)
	return nu, np
}

// kernelShape is the attribute kernel_shape.
func kernelShape(n *graph.Node) []int {
	var k []int
	for _, v := range n.Ints("kernel_shape") {
		k = append(k, int(v))
	}
	return k
}
