package kernel

import "whit/internal/kern"

// planarPointwise reports whether a product is a convolution whose outputs meet its inputs one
// to one in row-major images: planes are read and written where they are.
func planarPointwise(s *sparseProduct) bool {
	if s.matrix || !s.pointwise() {
		return false
	}
	x, y := viewOf(s.n.In[0]), viewOf(s.n.Out[0])
	return !x.nhwc && !y.nhwc && x.sc >= 8 && 4*s.cin*x.sc < 1<<31
}

const (
	spanFloats = 32 << 10 // floats of the input that a tile should have
	blockCost  = 4        // steps that a block of rows costs beside its own
)

// planarProduct is such a convolution, prepared. A tile has a span of an image's pixels and some
// blocks of output channels; a block goes over all of its span before the next one begins.
type planarProduct struct {
	s        *sparseProduct
	u        *kern.SparseMicro
	call     kern.Sparse
	packed   sparsePacked
	starts   []int // where the steps of each block begin
	pixels   int
	strip    int
	slopes   []float32
	copyRows kern.Copier
}

func prepareSparsePlanes(s *sparseProduct, e *Env, rows, steps int) *Prepared {
	x := viewOf(s.n.In[0])
	q := &planarProduct{s: s, u: kern.SparseOf(e.CPU), pixels: x.sc, strip: 8 * kern.SparseOf(e.CPU).Vecs(rows),
		slopes: s.act.slopes(s.cout, rows), copyRows: kern.CopierOf(e.CPU)}
	q.packed = packSparse(s, e, rows, steps, q.pixels, []int{0})
	blocks, whole := (s.cout+rows-1)/rows, s.cout/rows
	q.starts = make([]int, blocks+1)
	for b := range blocks {
		q.starts[b+1] = q.starts[b] + int(q.packed.cnt[b])
	}
	// A span is whole strips of the widest call; what is left belongs to the last one.
	strips := max(1, q.pixels/q.strip)
	per := max(1, spanFloats/(s.cin*q.strip))
	spans := (strips + per - 1) / per
	cost := steps + blockCost*blocks
	units := s.images * spans
	nu, nb := split(units, blocks, rows*cost/blocks*q.pixels/spans)
	// Parts of the blocks that cost about the same.
	cuts := make([]int, nb+1)
	for i, b := 1, 0; i < nb; i++ {
		for b < blocks && (q.starts[b]+blockCost*b)*nb < cost*i {
			b++
		}
		cuts[i] = b
	}
	cuts[nb] = blocks
	q.call = kern.Sparse{Rows: rows, Lo: s.act.lo, Hi: s.act.hi, Flags: s.act.flags()}
	if s.n.Input(2) != nil {
		q.call.Flags |= kern.FlagCol
	}
	if s.add >= 0 {
		q.call.Flags |= kern.FlagAdd
	}
	p := &Prepared{Kernel: q.u.Name(rows), Packed: []int{1}}
	if whole < blocks {
		p.Scratch = 4 * (rows + 2*rows*(per+2)*q.strip)
	}
	p.Phases = []Phase{{Tiles: nu * nb, Run: func(c *Call, tile int, scratch []byte) {
		// Channels that follow each other, as depthwise convolutions take them.
		u0, u1 := part(tile%nu, nu, units)
		b0, b1 := cuts[tile/nu], cuts[tile/nu+1]
		for i := u0; i < u1; i++ {
			from, to := part(i%spans, spans, strips)
			from, to = from*q.strip, to*q.strip
			if i%spans == spans-1 {
				to = q.pixels
			}
			if b := min(b1, whole); b0 < b {
				q.run(c, i/spans, b0, b, from, to)
			}
			if b1 > whole && b0 < b1 {
				q.last(c, i/spans, from, to, kern.Floats(scratch))
			}
		}
	}}}
	return p
}

// blocks sets the weights of blocks [b0,b1).
func (q *planarProduct) blocks(t *kern.Sparse, b0, b1 int) {
	i, j := q.starts[b0], q.starts[b1]
	t.W, t.Idx, t.Cnt = q.packed.w[i*t.Rows:j*t.Rows], q.packed.idx[i:j], q.packed.cnt[b0:b1]
}

// run computes whole blocks [b0,b1) of pixels [from,to) of an image.
func (q *planarProduct) run(c *Call, img, b0, b1, from, to int) {
	t, s := q.call, q.s
	q.blocks(&t, b0, b1)
	if t.Flags&kern.FlagCol != 0 {
		t.Bias = f32s(c.In[2])[b0*t.Rows:]
	}
	if q.slopes != nil {
		t.Slope = q.slopes[b0*t.Rows:]
	}
	first := (img*s.cout + b0*t.Rows) * q.pixels
	x, y := f32s(c.In[0])[img*s.cin*q.pixels:], f32s(c.Out[0])[first:]
	var r []float32
	if s.add >= 0 {
		r = f32s(c.In[s.add])[first:]
	}
	t.LDY, t.LDR = q.pixels, q.pixels
	q.span(&t, x, y, r, from, to)
}

// last computes the block that has fewer rows than the others, in scratch.
func (q *planarProduct) last(c *Call, img, from, to int, scratch []float32) {
	t, s := q.call, q.s
	b, n := len(q.starts)-2, to-from
	row := b * t.Rows
	rows := s.cout - row
	q.blocks(&t, b, b+1)
	if t.Flags&kern.FlagCol != 0 {
		t.Bias = scratch[:t.Rows]
		clear(t.Bias[copy(t.Bias, f32s(c.In[2])[row:]):])
	}
	if q.slopes != nil {
		t.Slope = q.slopes[row:]
	}
	y, r := scratch[t.Rows:][:t.Rows*n], scratch[t.Rows*(1+n):][:t.Rows*n]
	first := (img*s.cout+row)*q.pixels + from
	lines := kern.Rows{Planes: 1, Rows: rows, N: n, DRow: n, SRow: q.pixels, Step: 1}
	if s.add >= 0 {
		lines.Dst, lines.Src = r, f32s(c.In[s.add])[first:]
		q.copyRows.Copy(&lines)
	}
	t.LDY, t.LDR = n, n
	q.span(&t, f32s(c.In[0])[img*s.cin*q.pixels+from:], y, r, 0, n)
	lines.Dst, lines.DRow, lines.Src, lines.SRow = f32s(c.Out[0])[first:], q.pixels, y, n
	q.copyRows.Copy(&lines)
}

// span computes pixels [from,to) of planes in strips, then in narrower calls, of which the last
// may compute pixels again.
func (q *planarProduct) span(t *kern.Sparse, x, y, r []float32, from, to int) {
	call := func(vecs, strips, at int) {
		if vecs*strips == 0 {
			return
		}
		t.Vecs, t.Strips, t.X, t.Y = vecs, strips, x[at:], y[at:]
		if r != nil {
			t.R = r[at:]
		}
		q.u.Run(t)
	}
	strips := (to - from) / q.strip
	call(q.strip/8, strips, from)
	from += strips * q.strip
	vecs := (to - from) / 8
	call(vecs, 1, from)
	if from += 8 * vecs; from < to {
		call(1, 1, to-8)
	}
}
