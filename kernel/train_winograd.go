package kernel

import (
	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
)

// winogradBlock is how many input tiles of training share a pass over the filters: four
// blocks of rows of the micro-kernel.
const winogradBlock = 24

// winogradPays reports whether F(4x4) takes the convolution of training: 3x3 at stride 1,
// channels in eights, and cheaper by the table of costs. Weights change at every step, so
// that nothing can be tried on them beforehand, as inference does (winogradExact): sums are
// held to 256 channels, where errors stay near 1e-5 of the largest output, far below the
// noise of a gradient.
func (c *conv) winogradPays(e *Env) bool {
	if e.Direct || c.group != 1 || c.kh != 3 || c.kw != 3 || c.sh != 1 || c.sw != 1 || c.dh != 1 || c.dw != 1 ||
		c.cin%8 != 0 || c.cout%8 != 0 || c.cin > 256 {
		return false
	}
	lines, tx := c.winogradTiles()
	return winogradCost(4, lines*tx, c.cin, c.cout) < directCost(c.y.n*c.y.h*c.y.w, c.k, c.cout)
}

// winogradTiles is how many lines of output tiles there are in all images, and how many tiles a line has.
func (c *conv) winogradTiles() (lines, tx int) { return c.y.n * ((c.y.h + 3) / 4), (c.y.w + 3) / 4 }

// winogradPlaces are the products of a tile of F(4x4).
const winogradPlaces = 36

// winograd is forward by F(4x4). Filters are transformed at every run; then a tile of the
// phase is a block of rows of tiles, from any images: their inputs are transformed,
// multiplied by the filters of each of the 36 places and transformed back within scratch.
// turned: W is that of the convolution which this one turns round.
func (c *conv) winograd(e *Env, out *graph.Value, bias, turned bool) *Prepared {
	const places = winogradPlaces
	u, wino, nr := c.u, kern.WinogradOf(e.CPU, 4), c.u.NR
	panels := c.panels(c.cout)
	size := panels * c.cin * nr // of a place's filters
	lines, tx := c.winogradTiles()
	ty := lines / c.y.n
	block := winogradBlock
	if c.cin > 128 {
		block /= 2 // the block's inputs stay in a second-level cache
	}
	perBlock := max(1, block/tx)
	blocks := (lines + perBlock - 1) / perBlock
	rows := perBlock * tx
	ldv, ldm := rows*c.cin+16, rows*nr+16 // not a power of two apart
	vLen, mLen, patch := places*ldv, places*ldm, places*c.x.px
	p := &Prepared{
		Kernel:  u.Name + "_winograd4_train",
		Temp:    4 * places * size,
		Scratch: 4 * max(vLen+mLen+patch+kern.WinogradTmp, 9*nr),
	}
	p.Phases = []Phase{
		{Tiles: panels, Run: func(call *Call, panel int, scratch []byte) {
			w, dst, g := tensor.Of[float32](call.In[1]), kern.Floats(call.Temp), kern.Floats(scratch)[:9*nr]
			o0 := panel * nr
			n := min(nr, c.cout-o0)
			for i := range c.cin {
				for j := range n {
					f := (*[9]float32)(w[((o0+j)*c.cin+i)*9:])
					if turned {
						f = (*[9]float32)(w[(i*c.cout+o0+j)*9:])
					}
					for t, v := range f {
						if turned {
							t = 8 - t
						}
						g[t*nr+j] = v
					}
				}
				to := dst[(panel*c.cin+i)*nr:]
				if n < nr {
					for q := range places {
						clear(to[q*size : q*size+nr])
					}
				}
				wino.Filters(to, g, size, nr, n)
			}
		}},
		{Tiles: blocks, Run: func(call *Call, blk int, scratch []byte) {
			x, y, filters := tensor.Of[float32](call.In[0]), tensor.Of[float32](call.Out[0]), kern.Floats(call.Temp)
			buf := kern.Floats(scratch)
			v, buf := buf[:vLen], buf[vLen:]
			m, buf := buf[:mLen], buf[mLen:]
			edge, tmp := buf[:patch], buf[patch:]
			first, last := blk*perBlock, min(lines, (blk+1)*perBlock)
			in := kern.WinogradIn{LDP: ldv, N: c.cin, Tmp: tmp}
			for l := first; l < last; l++ {
				img, row := l/ty, l%ty*4
				if row == 0 {
					clearHalo(out, c.y, y, img)
				}
				for t := range tx {
					c.x.patch(&in, 6, x, img, row-c.ph, t*4-c.pw, edge)
					in.V = v[((l-first)*tx+t)*c.cin:]
					wino.In(&in)
				}
			}
			n := (last - first) * tx
			t := kern.Tile{K: c.cin, Off: kern.Zero, RSA: c.cin, CSA: 1, LDB: nr, LDC: nr, N: nr, Ahead: size}
			o := kern.WinogradOut{LDP: ldm, SH: c.y.row, SW: c.y.px, Tmp: tmp}
			if bias {
				o.Flags = kern.FlagCol
			}
			for panel := range panels {
				for q := range places {
					t.A, t.B, t.C = v[q*ldv:], filters[q*size+panel*c.cin*nr:], m[q*ldm:]
					u.Rows(&t, n)
				}
				o.N = min(nr, c.cout-panel*nr)
				if bias {
					o.Bias = tensor.Of[float32](call.In[2])[panel*nr:]
				}
				for i := range n {
					l := first + i/tx
					img, row, col := l/ty, l%ty*4, i%tx*4
					o.M, o.NY, o.NX = m[i*nr:], min(4, c.y.h-row), min(4, c.y.w-col)
					o.Y = y[c.y.start+img*c.y.img+row*c.y.row+col*c.y.px+panel*nr:]
					wino.Out(&o)
				}
			}
		}},
	}
	return p
}

// patch lets in read the size x size pixels of image img from (row, col) on: where they
// are, or from a copy in edge where they hang over the image, which is zero beyond.
func (m *image) patch(in *kern.WinogradIn, size int, x []float32, img, row, col int, edge []float32) {
	at := m.start + img*m.img
	if row >= 0 && col >= 0 && row+size <= m.h && col+size <= m.w {
		in.X, in.SH, in.SW = x[at+row*m.row+col*m.px:], m.row, m.px
		return
	}
	// As lines of the image, of which those pixels that it has are copied at once.
	in.X, in.SH, in.SW = edge, size*m.px, m.px
	from, to := max(0, -col), min(size, m.w-col)
	for r := range size {
		line := edge[r*in.SH:][:in.SH]
		if row+r < 0 || row+r >= m.h || from >= to {
			clear(line)
			continue
		}
		clear(line[:from*m.px])
		n := (to-from-1)*m.px + m.c
		copy(line[from*m.px:], x[at+(row+r)*m.row+(col+from)*m.px:][:n])
		clear(line[from*m.px+n:])
	}
}

const (
	// winogradSums is the most bytes of the sums of a weight gradient's chunks of lines of
	// tiles, winogradChunks the most chunks, and winogradLeast the least tiles of one.
	winogradSums, winogradChunks, winogradLeast = 24 << 20, 32, 64
	// winogradSum is how many bytes of transformed tiles are summed over at a time: what is
	// left of a second-level cache, or of a third where a place's sum is large.
	winogradSum = 640 << 10
)

// winogradGradChunks is the number of chunks for winogradGradW, 0 where it does not pay.
func (c *conv) winogradGradChunks(e *Env) int {
	lines, tx := c.winogradTiles()
	n := min(winogradChunks, lines*tx/winogradLeast, winogradSums/(4*winogradPlaces*c.cin*c.cout))
	if !c.winogradPays(e) || n < 4 {
		return 0
	}
	return min(n, lines)
}

// winogradGradW is the gradient of the weights by F(4x4): y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ x B)]A is
// linear in g, and its adjoint Gᵀ[(A dy Aᵀ) ⊙ (Bᵀ x B)]G, where ⊙ over all tiles is a
// product in each of 36 places. Tiles are summed in chunks of lines, in order.
func (c *conv) winogradGradW(e *Env, chunks int) *Prepared {
	const places = winogradPlaces
	u, wino, nr := c.u, kern.WinogradOf(e.CPU, 4), c.u.NR
	panels := c.panels(c.cout)
	lines, tx := c.winogradTiles()
	ty := lines / c.y.n
	size := places * c.cin * c.cout // of a chunk's sum
	// Tiles are not a power of two apart, which would share cache lines' sets.
	ldx, ldy := gapped(c.cin), gapped(panels*nr)
	perBlock := max(1, winogradSum/(4*places*(ldx+ldy))/tx)
	perBlock = min(perBlock, (lines+chunks-1)/chunks)
	block := perBlock * tx
	xLen, yLen, patch := places*block*ldx, places*block*ldy, max(36*c.x.px, 16*c.y.px)
	p := &Prepared{
		Kernel:  u.Name + "_winograd4_gradw",
		Temp:    4 * chunks * size,
		Scratch: 4 * (xLen + yLen + patch + kern.WinogradTmp),
	}
	p.Phases = []Phase{
		{Tiles: chunks, Run: func(call *Call, ch int, scratch []byte) {
			dy, x, sum := tensor.Of[float32](call.In[0]), tensor.Of[float32](call.In[1]), kern.Floats(call.Temp)[ch*size:][:size]
			buf := kern.Floats(scratch)
			v, buf := buf[:xLen], buf[xLen:]
			z, buf := buf[:yLen], buf[yLen:]
			edge, tmp := buf[:patch], buf[patch:]
			first, end := part(ch, chunks, lines)
			in := kern.WinogradIn{LDP: block * ldx, N: c.cin, Tmp: tmp}
			gr := kern.WinogradIn{LDP: block * ldy, N: c.cout, Tmp: tmp}
			t := kern.Tile{Off: kern.Zero, RSA: 1, CSA: ldx, LDB: ldy, LDC: c.cout}
			for first < end {
				last := min(end, first+perBlock)
				for l := first; l < last; l++ {
					img, row := l/ty, l%ty*4
					for k := range tx {
						at := (l-first)*tx + k
						c.x.patch(&in, 6, x, img, row-c.ph, k*4-c.pw, edge)
						in.V = v[at*ldx:]
						wino.In(&in)
						c.y.patch(&gr, 4, dy, img, row, k*4, edge)
						gr.V = z[at*ldy:]
						wino.Grad(&gr)
					}
				}
				t.K = (last - first) * tx
				for q := range places {
					for panel := range panels {
						t.N = min(nr, c.cout-panel*nr)
						t.A, t.B = v[q*block*ldx:], z[q*block*ldy+panel*nr:]
						t.C = sum[q*c.cin*c.cout+panel*nr:]
						u.Rows(&t, c.cin)
					}
				}
				t.Flags = kern.FlagAcc
				first = last
			}
		}},
		{Tiles: c.cin, Run: func(call *Call, i int, _ []byte) {
			sum, dw := kern.Floats(call.Temp), tensor.Of[float32](call.Out[0])
			plane := c.cin * c.cout
			for q := range places {
				first := sum[q*plane+i*c.cout:][:c.cout]
				for ch := 1; ch < chunks; ch++ {
					c.vec.Add(first, sum[ch*size+q*plane+i*c.cout:][:c.cout])
				}
			}
			var s [places]float32
			for o := range c.cout {
				for q := range s {
					s[q] = sum[q*plane+i*c.cout+o]
				}
				*(*[9]float32)(dw[(o*c.cin+i)*9:]) = kern.FilterGrad(&s)
			}
		}},
	}
	return p
}

// gapped is how far apart rows of n floats are laid so that columns do not share cache
// lines' sets.
func gapped(n int) int {
	if n%64 == 0 {
		return n + 16
	}
	return n
}
