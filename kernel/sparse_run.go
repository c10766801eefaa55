package kernel

import (
	"fmt"
	"slices"

	"whit/graph"
	"whit/internal/kern"
	"whit/tensor"
	"whit/weight"
)

// eachRows calls f for every step rows, up to four, of the weights of s (fewer at the end): n
// rows from row on, of s.k() floats each, in the constant's own order. A Sparse
// weight is expanded so many rows at a time.
func eachRows(s *sparseProduct, step int, f func(row, n int, w []float32)) {
	v, k := s.n.In[1], s.k()
	if sp, ok := v.Weight.(weight.Sparse); ok && !s.columns && sp.Type().DType == tensor.Float32 {
		buf, values, at := make([]float32, step*k), f32s(sp.Values.Dense()), 0
		for r := 0; r < s.cout; r += step {
			n := min(step, s.cout-r)
			clear(buf)
			for i := range n * k {
				if sp.Stored(r*k + i) {
					buf[i] = values[at]
					at++
				}
			}
			f(r, n, buf)
		}
		return
	}
	d := f32s(v.Tensor())
	if !s.columns {
		for r := 0; r < s.cout; r += step {
			n := min(step, s.cout-r)
			f(r, n, d[r*k:(r+n)*k])
		}
		return
	}
	// Whole cache lines of columns at a time.
	const line = 16
	buf := make([]float32, line*k)
	for r := 0; r < s.cout; r += line {
		n := min(line, s.cout-r)
		for i := range k {
			for j, x := range d[i*s.cout+r:][:n] {
				buf[j*k+i] = x
			}
		}
		for j := 0; j < n; j += step {
			f(r+j, min(step, n-j), buf[j*k:])
		}
	}
}

// sparseGroup is how many output channels are computed before they are brought
// into pixels: whole cache lines.
const sparseGroup = 32

// sparsePacked are the weights in blocks of rows, in the order in which kern.Sparse
// takes them: steps ascend in (kh, kw, cin).
type sparsePacked struct {
	w   []float32
	idx []int32
	cnt []int32 // steps of each block
}

// packSparse packs the weights of s. A step's index is that of its input plane, of
// l floats each, and tap.
func packSparse(s *sparseProduct, e *Env, rows, steps, l int, taps []int) sparsePacked {
	blocks := ((s.cout+rows-1)/rows + 3) &^ 3 // kern.Sparse.Vector wants four
	packing := fmt.Sprintf("f32_sparse/%d/%d/%d/%v/%v", s.cout, rows, l, taps, s.columns)
	all := steps == (s.cout+rows-1)/rows*s.k()
	packed := kern.Floats(e.Pack(s.n.In[1], packing, func() []byte {
		dst := kern.AlignedFloats(steps*(rows+1) + blocks)
		w, idx := dst[:0:steps*rows], kern.Int32s(kern.Bytes(dst[steps*rows : steps*(rows+1)]))[:0]
		cnt := kern.Int32s(kern.Bytes(dst[steps*(rows+1):]))
		k, nt := s.k(), len(taps)
		empty := make([]float32, k)
		step := 4 / rows * rows // whole blocks
		eachRows(s, step, func(row, n int, src []float32) {
			for r := 0; r < n; r += rows {
				b := fourRows(src[r*k:], min(rows, n-r), empty)
				r1, r2, r3 := b[1][:k], b[2][:k], b[3][:k]
				from := len(idx)
				for t, tap := range taps {
					for c, i := 0, t; i < k; c, i = c+1, i+nt {
						if !all && magnitude(b[0][i])|magnitude(r1[i])|magnitude(r2[i])|magnitude(r3[i]) == 0 {
							continue
						}
						idx = append(idx, int32(4*(c*l+tap)))
						for j := range rows {
							w = append(w, b[j][i])
						}
					}
				}
				cnt[(row+r)/rows] = int32(len(idx) - from)
			}
		})
		return kern.Bytes(dst)
	}))
	return sparsePacked{packed[:steps*rows],
		kern.Int32s(kern.Bytes(packed[steps*rows : steps*(rows+1)])), kern.Int32s(kern.Bytes(packed[steps*(rows+1):]))}
}

// starts is where the steps of every group of output channels begin, and their number.
func (p *sparsePacked) starts(rows int) []int {
	at := []int{0}
	n := 0
	for i, c := range p.cnt {
		if i > 0 && i%(sparseGroup/rows) == 0 {
			at = append(at, n)
		}
		n += int(c)
	}
	return append(at, n)
}

// group sets the weights of group g.
func (p *sparsePacked) group(t *kern.Sparse, starts []int, g int) {
	per := sparseGroup / t.Rows
	from, to := starts[g], starts[g+1]
	t.W, t.Idx = p.w[from*t.Rows:to*t.Rows], p.idx[from:to]
	t.Cnt = p.cnt[g*per : min(len(p.cnt), (g+1)*per)]
}

func prepareSparse(n *graph.Node, e *Env) (*Prepared, error) {
	s := sparseOf(n)
	v := sparseVerdict(s, e)
	z := stepsOf(s, e)
	steps := z.steps[slices.Index(sparseForms[:], v.rows)]
	if v.tiling.l == 0 {
		return prepareSparseVector(s, e, v.rows, steps), nil
	}
	if planarPointwise(s) {
		return prepareSparsePlanes(s, e, v.rows, steps), nil
	}
	return prepareSparseImage(s, e, v.rows, steps, v.tiling), nil
}

// prepareSparseVector is the product with a single row.
func prepareSparseVector(s *sparseProduct, e *Env, rows, steps int) *Prepared {
	u := kern.SparseOf(e.CPU)
	packed := packSparse(s, e, rows, steps, 1, []int{0})
	starts := packed.starts(rows)
	groups, bias := len(starts)-1, s.n.Input(2) != nil
	clamps := s.act.flags() != 0
	tiles, _ := split(groups, 1, 8*rows*steps/groups)
	return &Prepared{Kernel: u.Name(rows), Packed: []int{1}, Scratch: 4 * sparseGroup, Phases: []Phase{{
		Tiles: tiles, Run: func(c *Call, tile int, scratch []byte) {
			t := kern.Sparse{Rows: rows, X: f32s(c.In[0]), Y: kern.Floats(scratch)}
			y := f32s(c.Out[0])
			g0, g1 := part(tile, tiles, groups)
			for g := g0; g < g1; g++ {
				packed.group(&t, starts, g)
				u.Vector(&t)
				from, to := g*sparseGroup, min(s.cout, (g+1)*sparseGroup)
				for i, v := range t.Y[:to-from] {
					if bias {
						v += f32s(c.In[2])[from+i]
					}
					if clamps {
						if v < s.act.lo {
							v = s.act.lo
						}
						if v > s.act.hi {
							v = s.act.hi
						}
					}
					y[from+i] = v
				}
			}
		}}}}
}

// sparseChunk is where the pixels of a chunk of one size are, from its first input
// and output on: an input for every float of a plane, an output (or -1) for every
// float of a run, and where its residual is (or any).
type sparseChunk struct {
	in, out, res []int
	vecs         int
}

func (g *sparseTiling) chunk(w *window, x, y, r *view, rows, cols int) sparseChunk {
	var c sparseChunk
	for _, a := range g.phasesH {
		for _, b := range g.phasesW {
			for i := range g.hq {
				for j := range g.wq {
					i, j := min(i, rows-1+a.reach), min(j, cols-1+b.reach)
					c.in = append(c.in, (i*w.sh+a.at)*x.sh+(j*w.sw+b.at)*x.sw)
				}
			}
		}
	}
	for len(c.in)%8 != 0 {
		c.in = append(c.in, c.in[len(c.in)-1])
	}
	c.vecs = ((rows-1)*g.wq + cols + 7) / 8
	for q := range 8 * c.vecs {
		if i, j := q/g.wq, q%g.wq; i < rows && j < cols {
			c.out, c.res = append(c.out, i*y.sh+j*y.sw), append(c.res, i*r.sh+j*r.sw)
		} else {
			c.out, c.res = append(c.out, -1), append(c.res, 0)
		}
	}
	return c
}

// fill copies the first channels of what a chunk whose first output is [oy0,ox0] reads from an image that is
// planes already, row-major and without halo; what lies outside is zero.
func (g *sparseTiling) fill(u kern.Copier, dst, src []float32, w *window, x *view, channels, oy0, ox0 int) {
	clear(dst[:channels*g.l])
	at := 0
	for _, a := range g.phasesH {
		// Rows [i0,i1) and columns [j0,j1) lie within the image.
		iy := oy0*w.sh + a.at - w.ph
		i0, i1 := inside(iy, w.sh, w.h, g.hq)
		for _, b := range g.phasesW {
			ix := ox0*w.sw + b.at - w.pw
			j0, j1 := inside(ix, w.sw, w.w, g.wq)
			if i0 < i1 && j0 < j1 {
				u.Copy(&kern.Rows{Dst: dst[at+i0*g.wq+j0:], Src: src[(iy+i0*w.sh)*w.w+ix+j0*w.sw:], Planes: channels, Rows: i1 - i0, N: j1 - j0,
					DPlane: g.l, DRow: g.wq, SPlane: x.sc, SRow: w.w * w.sh, Step: w.sw})
			}
			at += g.hq * g.wq
		}
	}
}

// inside is the range of i < n for which first + i·stride lies in [0,size).
func inside(first, stride, size, n int) (from, to int) {
	if first < 0 {
		from = (-first + stride - 1) / stride
	}
	if first < size {
		to = min(n, (size-1-first)/stride+1)
	}
	return from, to
}

func prepareSparseImage(s *sparseProduct, e *Env, rows, steps int, g sparseTiling) *Prepared {
	u, rowsOf := kern.SparseOf(e.CPU), kern.CopierOf(e.CPU)
	var x, y view
	if s.matrix {
		m := s.w.ow
		x = view{n: 1, c: s.cin, h: 1, w: m, sh: m * s.cin, sw: s.cin}
		y = view{n: 1, c: s.cout, h: 1, w: m, sh: m * s.cout, sw: s.cout}
	} else {
		x, y = viewOf(s.n.In[0]), viewOf(s.n.Out[0])
	}
	rv := y
	if s.add >= 0 {
		rv = viewOf(s.fused.In[s.add])
	}
	height, planar := s.w.oh, !s.matrix && !x.nhwc
	if s.pointwise() {
		if x.sh == x.w*x.sw && y.sh == y.w*y.sw && rv.sh == rv.w*rv.sw {
			s.flatten()
		} else {
			// Halos part the rows: the chunks are found again for rows as they are.
			g = tileRows(s, g)
		}
	}
	w := s.w
	packed := packSparse(s, e, rows, steps, g.l, g.taps)
	starts := packed.starts(rows)
	groups, bias := len(starts)-1, s.n.Input(2) != nil
	call := kern.Sparse{Rows: rows, Lo: s.act.lo, Hi: s.act.hi, Flags: s.act.flags()}
	if bias {
		call.Flags |= kern.FlagCol
	}
	if s.add >= 0 {
		call.Flags |= kern.FlagAdd
	}
	slopes := s.act.slopes(s.cout, sparseGroup)
	var chunks [2][2]sparseChunk // of full size, and one row or column less
	for i := range chunks {
		for j := range chunks[i] {
			if g.rows > i && g.cols > j {
				chunks[i][j] = g.chunk(&w, &x, &y, &rv, g.rows-i, g.cols-j)
			}
		}
	}
	most := u.Vecs(rows)
	// What is computed before it goes to where it belongs: of pixels few in a call, of
	// planes whole runs.
	planarOut, run := !s.matrix && !y.nhwc, sparseGroup*8*most
	if planarOut {
		run = sparseGroup * 8 * chunks[0][0].vecs
	}
	planes, sums := s.cin*g.l+8, 0
	if s.add >= 0 {
		sums = run
	}
	units := s.images * g.ny * g.nx
	nu, ng := split(units, groups, (rows*steps+2*s.cin+2*s.cout)*8*chunks[0][0].vecs/groups)
	at := func(i int) (img, cy, cx, oy0, oy1, ox0, ox1 int) {
		cx, cy, img = i%g.nx, i/g.nx%g.ny, i/(g.nx*g.ny)
		oy0, oy1 = part(cy, g.ny, w.oh)
		ox0, ox1 = part(cx, g.nx, w.ow)
		return
	}
	// read brings channels [c0,c1) of what unit i reads into planes.
	read := func(dst, in []float32, i, c0, c1 int) {
		img, _, _, oy0, oy1, ox0, ox1 := at(i)
		dst = dst[c0*g.l:]
		if planar {
			g.fill(rowsOf, dst, in[x.at+img*x.sn+c0*x.sc:], &w, &x, c1-c0, oy0, ox0)
			return
		}
		u.To(&kern.Planes{Pixels: in[x.at+img*x.sn+(oy0*w.sh-w.ph)*x.sh+(ox0*w.sw-w.pw)*x.sw+c0:],
			Off: chunks[g.rows-(oy1-oy0)][g.cols-(ox1-ox0)].in, Planes: dst, LD: g.l, C: c1 - c0})
	}
	p := &Prepared{Kernel: u.Name(rows), Packed: []int{1}, Scratch: 4 * (run + sums + 2*sparseGroup)}
	// Where tiles divide the output channels, they share planes that a phase of its own
	// has made; else every tile makes its own.
	shared := ng > 1 && units*planes <= sparsePlanesMax
	if shared {
		nc := max(1, min(s.cin/64, (8+units-1)/units))
		p.Temp = 4 * units * planes
		p.Phases = append(p.Phases, Phase{Tiles: units * nc, Run: func(c *Call, tile int, _ []byte) {
			i := tile / nc
			c0, c1 := part(tile%nc, nc, (s.cin+7)/8) // whole vectors of channels
			read(kern.Floats(c.Temp)[i*planes:][:planes], f32s(c.In[0]), i, 8*c0, min(s.cin, 8*c1))
		}})
	} else {
		p.Scratch += 4 * planes
	}
	tiles := gridOf(nu, ng, units, groups, 0, y.size())
	p.Phases = append(p.Phases, Phase{Tiles: tiles.tiles(), Run: func(c *Call, tile int, scratch []byte) {
		t, f := call, kern.Floats(scratch)
		in, out := f32s(c.In[0]), f32s(c.Out[0])
		dst, f := f[:run], f[run:]
		biases, dummy, f := f[:sparseGroup], f[sparseGroup:][:sparseGroup], f[2*sparseGroup:]
		sum, src := f[:sums], f[sums:]
		var res []float32
		if s.add >= 0 {
			res = f32s(c.In[s.add])
		}
		u0, u1, g0, g1 := tiles.at(tile)
		for i := u0; i < u1; i++ {
			img, _, cx, oy0, oy1, ox0, ox1 := at(i)
			if g0 == 0 && cx == 0 {
				if w.oh == height {
					y.clearHalo(out, img, oy0, oy1)
				} else {
					y.clearHalo(out, img, 0, height)
				}
			}
			if shared {
				src = kern.Floats(c.Temp)[i*planes:][:planes]
			} else {
				read(src, in, i, 0, s.cin)
			}
			ch := &chunks[g.rows-(oy1-oy0)][g.cols-(ox1-ox0)]
			first := y.at + img*y.sn + oy0*y.sh + ox0*y.sw
			for k := g0; k < g1; k++ {
				ch0 := k * sparseGroup
				n := min(sparseGroup, s.cout-ch0)
				if bias {
					t.Bias = biases
					clear(biases[copy(biases, f32s(c.In[2])[ch0:ch0+n]):])
				}
				if slopes != nil {
					t.Slope = slopes[ch0:]
				}
				packed.group(&t, starts, k)
				if planarOut {
					t.LDY, t.LDR, t.R = 8*ch.vecs, 8*ch.vecs, sum
					line := kern.Rows{Planes: n, Rows: oy1 - oy0, N: ox1 - ox0, DPlane: t.LDY, DRow: g.wq, SPlane: y.sc, SRow: y.sh, Step: 1}
					if res != nil {
						line.Dst, line.Src = sum, res[first+ch0*y.sc:]
						rowsOf.Copy(&line)
					}
					for v := 0; v < ch.vecs; v += t.Vecs * t.Strips {
						t.Vecs, t.Strips = most, (ch.vecs-v)/most
						if t.Strips == 0 {
							t.Vecs, t.Strips = ch.vecs-v, 1
						}
						t.X, t.Y = src[8*v:], dst[8*v:]
						if res != nil {
							t.R = sum[8*v:]
						}
						u.Run(&t)
					}
					line.Dst, line.DPlane, line.DRow = out[first+ch0*y.sc:], y.sc, y.sh
					line.Src, line.SPlane, line.SRow = dst, t.LDY, g.wq
					rowsOf.Copy(&line)
					continue
				}
				calls := (ch.vecs + most - 1) / most
				for r := range calls {
					v0, v1 := part(r, calls, ch.vecs)
					t.Vecs, t.Strips, t.X, t.Y, t.LDY = v1-v0, 1, src[8*v0:], dst, 8*(v1-v0)
					if res != nil {
						t.R, t.LDR = sum, t.LDY
						u.To(&kern.Planes{Pixels: res[rv.at+img*rv.sn+oy0*rv.sh+ox0*rv.sw+ch0:], Off: ch.res[8*v0 : 8*v1], Planes: sum, LD: t.LDY, C: n})
					}
					u.Run(&t)
					u.From(&kern.Planes{Pixels: out[first+ch0:], Off: ch.out[8*v0 : 8*v1], Planes: dst, LD: t.LDY, C: n, Dummy: dummy})
				}
			}
		}
	}})
	return p
}

// tileRows is a pointwise product's tiling for rows that do not follow each other:
// about as many pixels a chunk.
func tileRows(s *sparseProduct, flat sparseTiling) sparseTiling {
	g := flat
	g.cols = min(s.w.ow, max(8, flat.cols))
	g.nx = (s.w.ow + g.cols - 1) / g.cols
	g.cols = (s.w.ow + g.nx - 1) / g.nx
	g.rows = max(1, min(s.w.oh, flat.cols/g.cols))
	g.ny = (s.w.oh + g.rows - 1) / g.rows
	g.rows = (s.w.oh + g.ny - 1) / g.ny
	g.hq, g.wq = g.rows, g.cols
	g.l = planeLen(g.rows * g.cols)
	return g
}
