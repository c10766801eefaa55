package kernel

import (
	"whit/graph"
	"whit/tensor"
)

// window is the geometry of a 2-D convolution or pool: output o and tap t of an
// axis meet at the input o·stride - pad + t·dilation.
type window struct {
	h, w, oh, ow   int
	kh, kw, sh, sw int
	dh, dw, ph, pw int
}

// window2D reads the geometry of a bound node whose type rule has accepted it. ok is
// false where it is not 2-D, has no output or is padded beyond what a halo is meant for.
func window2D(n *graph.Node, x, y tensor.Shape, kernel []int) (w window, ok bool) {
	if len(x) != 4 || len(y) != 4 || len(kernel) != 2 || y.NumElements() == 0 {
		return w, false
	}
	w = window{h: x[2], w: x[3], oh: y[2], ow: y[3], kh: kernel[0], kw: kernel[1], sh: 1, sw: 1, dh: 1, dw: 1}
	pair := func(name string, a, b *int) {
		if v := n.Ints(name); len(v) >= 2 {
			*a, *b = int(v[0]), int(v[1])
		}
	}
	pair("strides", &w.sh, &w.sw)
	pair("dilations", &w.dh, &w.dw)
	switch auto := n.Str("auto_pad", "NOTSET"); auto {
	case "SAME_UPPER", "SAME_LOWER":
		th := max((w.oh-1)*w.sh+w.extentH()-w.h, 0)
		tw := max((w.ow-1)*w.sw+w.extentW()-w.w, 0)
		w.ph, w.pw = th/2, tw/2
		if auto == "SAME_LOWER" {
			w.ph, w.pw = th-th/2, tw-tw/2
		}
	case "NOTSET", "":
		pair("pads", &w.ph, &w.pw)
	}
	const most = 64
	for _, p := range w.halo() {
		ok = p <= most
		if !ok {
			return w, false
		}
	}
	return w, true
}

func (w *window) extentH() int { return (w.kh-1)*w.dh + 1 }
func (w *window) extentW() int { return (w.kw-1)*w.dw + 1 }

// halo is the padding that the windows touch: top, left, bottom, right.
func (w *window) halo() [4]int {
	return [4]int{w.ph, w.pw,
		max(0, (w.oh-1)*w.sh+w.extentH()-w.h-w.ph), max(0, (w.ow-1)*w.sw+w.extentW()-w.w-w.pw)}
}

// segments are where the segments of the depth of a sum lie, from an output's first
// pixel on in an image of lines of line numbers and pixels of pixel, of which c count, and
// how long each is: a row of the window where all of its numbers follow each other (dense
// pixels), else one pixel.
func (w *window) segments(line, pixel, c int, dense bool) (off []int, k int) {
	for i := range w.kh {
		if dense && w.dw == 1 {
			off = append(off, i*w.dh*line)
			continue
		}
		for j := range w.kw {
			off = append(off, i*w.dh*line+j*w.dw*pixel)
		}
	}
	if dense && w.dw == 1 {
		return off, c * w.kw
	}
	return off, c
}

// part is the i-th of n nearly equal parts of [0, total).
func part(i, n, total int) (from, to int) { return i * total / n, (i + 1) * total / n }

// view is a physical [N,C,H,W] float32 value: strides in elements and where
// element [0,0,0,0] is.
type view struct {
	n, c, h, w         int
	sn, sc, sh, sw, at int
	halo               [4]int
	nhwc               bool
}

func viewOf(v *graph.Value) view {
	s := v.Type.Shape
	m := view{n: s[0], c: s[1], h: s[2], w: s[3], nhwc: v.Layout.Order == graph.NHWC}
	if m.nhwc {
		m.halo = v.Layout.Halo
	}
	m.sn, m.sc, m.sh, m.sw, m.at = Stride(s, v.Layout)
	return m
}

// size is the number of elements without halo.
func (m *view) size() int { return m.n * m.c * m.h * m.w }

// clearHalo writes the halo that belongs to rows [y0,y1) of image img: their left
// and right, and what is above the first and below the last row.
func (m *view) clearHalo(d []float32, img, y0, y1 int) { clearHalo4(m, d, img, y0, y1) }

func clearHalo4[T float32 | uint32 | uint8](m *view, d []T, img, y0, y1 int) {
	if m.halo == [4]int{} || y0 >= y1 {
		return
	}
	w := m.halo[1] + m.w + m.halo[3]
	for y := y0; y < y1; y++ {
		clearPixels(m, d, img, y, 0, m.halo[1])
		clearPixels(m, d, img, y, m.halo[1]+m.w, m.halo[3])
	}
	if y0 == 0 {
		for y := -m.halo[0]; y < 0; y++ {
			clearPixels(m, d, img, y, 0, w)
		}
	}
	if y1 == m.h {
		for y := m.h; y < m.h+m.halo[2]; y++ {
			clearPixels(m, d, img, y, 0, w)
		}
	}
}

// clearPixels writes zero to n pixels of row y, the first x pixels from the row's
// halo on: their channels only, where there is something between.
func clearPixels[T any](m *view, d []T, img, y, x, n int) {
	at := m.at + img*m.sn + y*m.sh + (x-m.halo[1])*m.sw
	if m.sw == m.c {
		clear(d[at : at+n*m.sw])
		return
	}
	for range n {
		clear(d[at : at+m.c])
		at += m.sw
	}
}

// nhwc is the layout that image kernels ask for: pixels of exactly the channels.
func nhwc(halo [4]int) graph.Layout { return graph.Layout{Order: graph.NHWC, Halo: halo} }

const (
	tileWork  = 3 << 20 // multiply-adds of a tile, at most: 60 µs at 100 GFLOP/s
	splitWork = 64 << 10
	wantTiles = 8
)

// split divides outer x inner units of work (in multiply-adds each) into tiles of
// at most tileWork, and at least wantTiles where the work is worth it; outer is
// divided first.
func split(outer, inner, work int) (no, ni int) { return splitFrom(1, 1, outer, inner, work) }

// splitFrom goes on from na x nb parts; a is divided first.
func splitFrom(na, nb, a, b, work int) (int, int) {
	total := a * b * work
	for a > 0 && b > 0 {
		tiles := na * nb
		if per := total / tiles; per <= tileWork && (tiles >= wantTiles || per <= splitWork) {
			break
		}
		switch {
		case na < a:
			na = min(a, na*2)
		case nb < b:
			nb = min(b, nb*2)
		default:
			return na, nb
		}
	}
	return na, nb
}

// grid is tiles: nu parts of the units of an image by np parts of the panels of its channels. Workers
// begin with tiles whose numbers follow each other (plan's lanes): either each reads all weights and part
// of the image or the other way round, whichever is less.
type grid struct {
	nu, np        int
	units, panels int
	byPanels      bool
}

// gridOf is the grid for so many weights, and elements of the image that are read and written.
func gridOf(nu, np, units, panels, weights, image int) grid {
	return grid{nu, np, units, panels, weights > image}
}

func (g grid) tiles() int { return g.nu * g.np }

// at is the units and the panels of a tile.
func (g grid) at(tile int) (u0, u1, p0, p1 int) {
	u, p := tile/g.np, tile%g.np
	if g.byPanels {
		u, p = tile%g.nu, tile/g.nu
	}
	u0, u1 = part(u, g.nu, g.units)
	p0, p1 = part(p, g.np, g.panels)
	return u0, u1, p0, p1
}
