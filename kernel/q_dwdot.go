package kernel

import (
	"fmt"

	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
)

// Depthwise convolution of 8-bit integers where the processor multiplies four bytes at a time. A tile brings rows of bytes
// together in fours, with the zero point for the padding, whose share of every sum is in the bias: one instruction then multiplies
// up to four rows of a column of the window.

// qdwDotMatch reports whether a depthwise QLinearConv is of this form.
func qdwDotMatch(n *graph.Node, w *window, x, y *view, e *Env) bool {
	return kern.IntsOf(e.CPU).DWDots() && w.dh == 1 && w.kh > 1 && w.kh*w.kw <= 64 && x.sw%16 == 0 && y.sw%16 == 0 &&
		x.sw >= round16(x.c) && y.sw >= round16(y.c) && factsOf(n, e).narrow
}

func prepareQDWDot(fn *graph.Node, e *Env) (*Prepared, error) {
	n, lo, hi := qunfuse(fn, "", "QLinearConv")
	x, y := viewOf(n.In[0]), viewOf(n.Out[0])
	win, _ := window2D(n, n.In[0].Type.Shape, n.Out[0].Type.Shape, n.In[3].Type.Shape[2:])
	w := &qwindow{window: win, x: x, ints: kern.IntsOf(e.CPU)}
	// Fours begin every other row where two rows of a window of three fit in one, else every fourth.
	apart := 4
	if w.kh <= 3 {
		apart = 2
	}
	w.px = 64 / apart
	w.fit(24<<10, w.oh) // in the first-level cache
	zx, flip := zeroOf(n.In[2]), byte(0)
	if n.In[0].Type.DType == tensor.Int8 {
		zx, flip = zx+128, 0x80
	}
	row := 64 * w.iw
	// A row of the output that begins at row phase of a four reads so many: by phase, offsets and where its weights begin.
	type phase struct{ off, w []int }
	var phases [4]phase
	taps, size, deep := w.kh*w.kw, 0, 0
	for f := range apart {
		deep = (f + w.kh + 3) / 4
		for i := range deep {
			for j := range w.kw {
				phases[f].off = append(phases[f].off, i*(4/apart)*row+64*j*w.dw)
				phases[f].w = append(phases[f].w, size)
				size += 64
			}
		}
	}

	step := 1 // rows of the output from one to the next of a phase
	for step*w.sh%apart != 0 {
		step++
	}
	rq := requantOf(lo, hi, zeroOf(n.In[7]))
	d := kern.I8DWDot{RSX: 64 * w.sw, LDY: y.sw, Row: step * w.sh / apart * row, Line: step * y.sh, Lo: rq.lo, Hi: rq.hi, Zero: rq.zero}
	panels := (y.c + 15) / 16
	rows := qrowsOf(n)
	ws := rows.read(make([]byte, rows.scratch(y.c)), 0, y.c)
	packed := e.Pack(n.In[3], fmt.Sprintf("i8_dwdot/%d/%s", apart, zeroKey(n)), func() []byte {
		b := tensor.AlignedBytes(size * panels)
		for c := range y.c {
			for f, ph := range phases {
				for k, at := range ph.w {
					for r := range 4 {
						if i := 4*(k/w.kw) + r - f; i >= 0 && i < w.kh {
							b[c/16*size+at+c%16*4+r] = ws[c*taps+i*w.kw+k%w.kw] ^ rows.flip
						}
					}
				}
			}
		}
		return b
	})
	weights := kern.Int8s(packed)
	bias, mul := make([]int32, 16*panels), make([]float32, 16*panels)
	copy(mul, factsOf(n, e).mul)
	if v := n.Input(8); v != nil {
		copy(bias, tensor.Of[int32](v.Tensor()))
	}
	for c := range y.c {
		sum, _ := w.ints.SumAbs(ws[taps*c:][:taps], rows.flip)
		bias[c] -= int32(zx) * int32(sum)
	}
	edge := make([]byte, 16) // a pixel of padding
	fill(edge, byte(zx)^flip)
	edges := [4][]byte{edge, edge, edge, edge}

	fours := (w.bh-1)*w.sh/apart + (deep-1)*(4/apart) + 1
	p := &Prepared{Kernel: "i8_depthwise_vnni", Packed: packedInputs(n), Scratch: fours * row}
	blocks := y.n * w.nh * w.nw
	nb, np := split(blocks, panels, w.bh*w.bw*16*taps*2)
	tiles := gridOf(nb, np, blocks, panels, 0, y.size())
	p.Phases = []Phase{{Tiles: tiles.tiles(), Run: func(c *Call, tile int, scratch []byte) {
		d := d
		in, out := c.In[0].Bytes(), c.Out[0].Bytes()
		a := scratch[:fours*row]
		b0, b1, p0, p1 := tiles.at(tile)
		for b := b0; b < b1; b++ {
			img, i := b/(w.nh*w.nw), b%(w.nh*w.nw)
			y0, x0 := i/w.nw*w.bh, i%w.nw*w.bw
			h, wd := min(w.bh, w.oh-y0), min(w.bw, w.ow-x0)
			iy, ix := y0*w.sh-w.ph, x0*w.sw-w.pw
			iw := (wd-1)*w.sw + w.extentW()
			left := min(iw, max(0, -ix))
			right := max(left, min(iw, w.w-ix))
			if p0 == 0 && x0 == 0 {
				haloBytes(&y, out, img, y0, y0+h)
			}
			last := (h - 1) * w.sh
			steps := last/apart + (last%apart+w.kh+3)/4*(4/apart) - (4/apart - 1)
			for q := range steps { // the same for all panels
				w.ints.Quads(a[q*row:], &edges, &[4]int{}, left, flip)
				w.ints.Quads(a[q*row+64*right:], &edges, &[4]int{}, iw-right, flip)
			}
			for p := p0; p < p1; p++ {
				src := in[img*x.sn+x.at+16*p:]
				for q := range steps {
					r, s := edges, [4]int{}
					for k := range r {
						if y := iy + apart*q + k; y >= 0 && y < w.h && left < right {
							r[k], s[k] = src[y*x.sh+(ix+left)*x.sw:], x.sw
						}
					}
					w.ints.Quads(a[q*row+64*left:], &r, &s, right-left, flip)
				}
				d.Bias, d.Mul, d.Pixels = bias[16*p:][:16], mul[16*p:][:16], wd
				for r := range min(h, step) { // and every step rows from there
					d := d
					ph := &phases[r*w.sh%apart]
					d.X, d.Off, d.W = a[r*w.sh/apart*row:], ph.off, weights[p*size+ph.w[0]:]
					d.Y, d.Rows = out[y.at+img*y.sn+(y0+r)*y.sh+x0*y.sw+16*p:], (h-r+step-1)/step
					w.ints.DWDot(&d)
				}
			}
		}
	}}}
	return p, nil
}
