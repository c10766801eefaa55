package kernel

import (
	"whit/internal/kern"
	"whit/tensor"
)

const (
	// gradChunks is the most chunks of images that a weight gradient is summed in, and
	// gradPixels the least pixels of one: chunks are tiles, but their sums have to be added.
	gradChunks, gradPixels = 32, 1024
	// gradWork is the most multiply-adds of a tile: 200 µs at 100 GFLOP/s.
	gradWork = 10 << 20
	// gradBand is how many pixels are summed over at a time: what a tile reads of x and
	// dy for them stays in a first-level cache.
	gradBand = 128
)

// gradW is the gradient of weights as the product dW[(kh,kw,cin)][cout] = xᵀ·dy: its
// rows are the numbers of a window, which lie side by side in x, its sum runs over the
// pixels of the output, row by row, and dy is read where it is.
func (c *conv) gradW() *Prepared {
	nr, panels, pixels := c.u.NR, c.panels(c.cout), c.y.h*c.y.w
	chunks := max(1, min(c.y.n, gradChunks, c.y.n*pixels/gradPixels))
	size := c.group * c.k * c.cout // of one chunk's sum
	// A chunk's tiles: parts of the panels, then parts of k.
	need := ((c.y.n+chunks-1)/chunks*pixels*c.k*c.cout + gradWork - 1) / gradWork
	np := max(1, min(panels, need))
	nk := max(1, min(c.k, (need+np-1)/np))
	// Output rows at a time; some images if they are small.
	rows, imgs := min(c.y.h, max(1, gradBand/c.y.w)), 1
	if rows == c.y.h {
		imgs = max(1, gradBand/pixels)
	}
	// Where rows of dy do not follow each other, or where the micro-kernel would read
	// beyond its last channel, they are copied.
	last := c.cout - (panels-1)*nr
	dense := c.y.row == c.y.w*c.y.px && c.y.img == c.y.h*c.y.row && (last == nr || last == c.u.Width)
	ldb, copied := c.y.px, 0
	if !dense {
		ldb = panels * nr
		copied = imgs * rows * c.y.w * ldb
	}
	band := c.bandLen(rows)
	row, px, img := c.x.row, c.x.px, c.x.img
	if c.padded() {
		px = c.x.c
		row, img = c.paddedWidth()*px, band
	}
	runs, length := c.runs(row, px)
	off := make([]int, 0, imgs*rows) // of output rows
	for i := range imgs {
		for r := range rows {
			off = append(off, i*img+r*c.sh*row)
		}
	}
	p := &Prepared{Temp: 4 * chunks * size, Scratch: 4 * (copied + imgs*band)}
	p.Phases = []Phase{
		{Tiles: c.group * chunks * np * nk, Run: func(call *Call, tile int, scratch []byte) {
			dy, x, sum := tensor.Of[float32](call.In[0]), tensor.Of[float32](call.In[1]), kern.Floats(call.Temp)
			k0, k1 := part(tile%nk, nk, c.k)
			q0, q1 := part(tile/nk%np, np, panels)
			ch, g := tile/(nk*np)%chunks, tile/(nk*np*chunks)
			n0, n1 := part(ch, chunks, c.y.n)
			sum = sum[ch*size+g*c.k*c.cout:]
			b, buf := kern.Floats(scratch)[:copied], kern.Floats(scratch)[copied:]
			t := kern.Tile{K: c.y.w, RSA: 1, CSA: c.sw * px, LDB: ldb, LDC: c.cout}
			for i0 := n0; i0 < n1; i0 += imgs {
				i1 := min(n1, i0+imgs)
				for y0 := 0; y0 < c.y.h; y0 += rows {
					y1 := min(c.y.h, y0+rows)
					t.Off = off[:(i1-i0)*(y1-y0)]
					var a []float32
					for i := i0; i < i1; i++ {
						src, first, _, _ := c.band(x, i, y0, y1, buf[(i-i0)*band:])
						if i == i0 {
							a = src[first+g*c.cin:]
						}
					}
					from := dy[c.y.start+i0*c.y.img+y0*c.y.row+g*c.cout:]
					if !dense {
						c.copyDY(b, dy, g, i0, i1, y0, y1, ldb)
						from = b
					}
					for q := q0; q < q1; q++ {
						t.N, t.B = min(nr, c.cout-q*nr), from[q*nr:]
						for k := k0; k < k1; {
							n := min(k1-k, length-k%length)
							t.A, t.C = a[runs[k/length]+k%length:], sum[k*c.cout+q*nr:]
							c.u.Rows(&t, n)
							k += n
						}
					}
					t.Flags = kern.FlagAcc
				}
			}
		}},
		c.addChunks(chunks, size),
	}
	return p
}

// copyDY copies group g of output rows [y0,y1) of images [i0,i1) to pixels that are ld
// floats apart, with zeros behind the channels.
func (c *conv) copyDY(dst, dy []float32, g, i0, i1, y0, y1, ld int) {
	at := 0
	for i := i0; i < i1; i++ {
		for y := y0; y < y1; y++ {
			src := dy[c.y.start+i*c.y.img+y*c.y.row+g*c.cout:]
			for x := range c.y.w {
				d := dst[at : at+ld]
				copy(d, src[x*c.y.px:][:c.cout])
				clear(d[c.cout:])
				at += ld
			}
		}
	}
}

// addChunks is the phase that adds the chunks' sums, [(kh,kw,cin)][cout] a group, from
// the first to the last, and brings them into W's order. A tile is a channel of a group's input.
func (c *conv) addChunks(chunks, size int) Phase {
	return Phase{Tiles: c.group * c.cin, Run: func(call *Call, tile int, _ []byte) {
		sum, dw := kern.Floats(call.Temp), tensor.Of[float32](call.Out[0])
		g, i, taps := tile/c.cin, tile%c.cin, c.kh*c.kw
		for t := range taps {
			at := (g*c.k + t*c.cin + i) * c.cout
			first := sum[at:][:c.cout]
			for ch := 1; ch < chunks; ch++ {
				c.vec.Add(first, sum[ch*size+at:][:c.cout])
			}
			for o, v := range first {
				dw[((g*c.cout+o)*c.cin+i)*taps+t] = v
			}
		}
	}}
}
