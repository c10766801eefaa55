package kernel

import (
	"fmt"

	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
)

// Depthwise 3x3 convolution of 8-bit integers in stride 1 or 2. A tile brings rows of bytes together in pairs, so that one
// product multiplies two taps, with the zero point for the padding, and its share of every sum is in the bias.

// qdw3Match reports whether a depthwise QLinearConv is of this form.
func qdw3Match(n *graph.Node, w *window, x, y *view, e *Env) bool {
	return w.kh == 3 && w.kw == 3 && w.dh == 1 && w.dw == 1 && w.sh == w.sw && w.sh <= 2 && x.sw%16 == 0 && y.sw%16 == 0 &&
		x.sw >= round16(x.c) && y.sw >= round16(y.c) && factsOf(n, e).most <= 0.5 // a sum times it stays below 2^31
}

// taps3 reads the weights less their zero points of the 16 channels from c on, of 3x3 each, with zeros behind the last.
func taps3(n *graph.Node) func(c int) [16 * 9]int16 {
	raw, zero, signed := n.In[3].Tensor().Bytes(), zeros(n.In[5]), n.In[3].Type.DType == tensor.Int8
	return func(c int) (w [16 * 9]int16) {
		for i := range min(16, len(raw)/9-c) {
			z := int16(zero[(c+i)%len(zero)])
			for t, v := range raw[9*(c+i):][:9] {
				if w[9*i+t] = int16(v) - z; signed {
					w[9*i+t] = int16(int8(v)) - z
				}
			}
		}
		return w
	}
}

func prepareQDW3(fn *graph.Node, e *Env) (*Prepared, error) {
	n, lo, hi := qunfuse(fn, "", "QLinearConv")
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	win, _ := window2D(n, n.In[0].Type.Shape, n.Out[0].Type.Shape, n.In[3].Type.Shape[2:])
	w := &qwindow{window: win, x: x, px: 16, ints: kern.IntsOf(e.CPU)}
	const limit = 12 << 10 // numbers of int16: in the first-level cache
	w.fit(limit, w.oh)
	if w.sh == 1 && w.nh > 1 {
		w.bh = (w.bh + 1) &^ 1 // blocks of whole pairs of rows
		w.nh = (w.oh + w.bh - 1) / w.bh
	}
	zx, flip := zeroOf(n.In[2]), byte(0)
	if n.In[0].Type.DType == tensor.Int8 {
		zx, flip = zx+128, 0x80
	}
	d := kern.I8DW3{Row: 32 * w.iw, LDY: y.sw, Line: y.sh, Across: w.sw, Zero: int32(zeroOf(n.In[7])), Lo: int32(lo), Hi: int32(hi)}
	if n.Out[0].Type.DType == tensor.Int8 {
		d.Zero, d.Lo, d.Hi, d.Flip = d.Zero+128, d.Lo+128, d.Hi+128, 0x80
	}
	rows := 1 // of a step
	if w.sh == 1 {
		rows, d.Line, d.Second = 2, 2*y.sh, y.sh
	}

	panels := (y.c + 15) / 16
	const size = kern.DW3Weights
	weights := taps3(n)
	packed := kern.Int16s(e.Pack(n.In[3], fmt.Sprintf("i8_dw3/%s", zeroKey(n)), func() []byte {
		b := tensor.AlignedBytes(2 * size * panels)
		for p := range panels {
			w := weights(16 * p)
			kern.PackDW3(kern.Int16s(b)[p*size:], &w)
		}
		return b
	}))
	bias, mul := make([]int32, 16*panels), make([]float32, 16*panels)
	copy(mul, factsOf(n, e).mul)
	if v := n.Input(8); v != nil {
		copy(bias, tensor.Of[int32](v.Tensor()))
	}
	for p := range panels {
		w := weights(16 * p)
		for i, v := range w {
			bias[16*p+i/9] -= int32(zx) * int32(v)
		}
	}
	edges := [2][]byte{make([]byte, 16)} // pixels of padding
	fill(edges[0], byte(zx)^flip)
	edges[1] = edges[0]

	pairs := (w.bh-1)*w.sh/2 + 2
	p := &Prepared{Kernel: "i8_depthwise_" + w.ints.Name(), Packed: packedInputs(n), Scratch: 2 * pairs * d.Row}
	blocks := y.n * w.nh * w.nw
	nb, np := split(blocks, panels, w.bh*w.bw*16*9*2)
	tiles := gridOf(nb, np, blocks, panels, 0, y.size())
	p.Phases = []Phase{{Tiles: tiles.tiles(), Run: func(c *Call, tile int, scratch []byte) {
		d := d
		in, out := c.In[0].Bytes(), c.Out[0].Bytes()
		a, _ := kern.CutInt16(scratch, pairs*d.Row)
		b0, b1, p0, p1 := tiles.at(tile)
		for b := b0; b < b1; b++ {
			img, i := b/(w.nh*w.nw), b%(w.nh*w.nw)
			y0, x0 := i/w.nw*w.bh, i%w.nw*w.bw
			h, wd := min(w.bh, w.oh-y0), min(w.bw, w.ow-x0)
			iy, ix := y0*w.sh-w.ph, x0*w.sw-w.pw
			iw := (wd-1)*w.sw + 3
			left := min(iw, max(0, -ix))
			right := max(left, min(iw, w.w-ix))
			if p0 == 0 && x0 == 0 {
				haloBytes(&y, out, img, y0, y0+h)
			}
			steps := ((h-1)*w.sh + 4) / 2
			for q := range steps { // the same for all panels
				row := a[q*d.Row:]
				w.ints.WidenPairs(row, edges, [2]int{}, left, flip)
				w.ints.WidenPairs(row[32*right:], edges, [2]int{}, iw-right, flip)
			}
			for p := p0; p < p1; p++ {
				src := in[img*x.sn+x.at+16*p:]
				for q := range steps {
					r, s := edges, [2]int{}
					for k := range 2 {
						if y := iy + 2*q + k; y >= 0 && y < w.h && left < right {
							r[k], s[k] = src[y*x.sh+(ix+left)*x.sw:], x.sw
						}
					}
					w.ints.WidenPairs(a[q*d.Row+32*left:], r, s, right-left, flip)
				}
				d.W, d.Bias, d.Mul, d.Pixels = packed[p*size:][:size], bias[16*p:][:16], mul[16*p:][:16], wd
				d.X, d.Y, d.Rows = a, out[y.at+img*y.sn+y0*y.sh+x0*y.sw+16*p:], h/rows
				w.ints.DW3(&d)
				if h%rows != 0 { // a row without a second
					u := d
					u.X, u.Y, u.Second, u.Rows = a[h/2*d.Row:], d.Y[(h-1)*y.sh:], 0, 1
					w.ints.DW3(&u)
				}
			}
		}
	}}}
	return p, nil
}
