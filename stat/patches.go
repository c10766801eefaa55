package stat

import (
	"fmt"
	"math"
	"sync"

	"whit/graph"
	"whit/internal/cpu"
	"whit/internal/kern"
	"whit/op"
	"whit/tensor"
)

const (
	// MaxColumns is the number of columns up to which a group's Gram matrix is kept whole:
	// 4608 (a 3x3 window of 512 channels) take 162 MiB. Above, it is the diagonal of
	// blocks of up to BlockColumns.
	MaxColumns   = 4608
	BlockColumns = 1152
	// patchRows is how many rows are summed in float32 before they join the float64 sums.
	patchRows = 512
	// patchStrip is the number of rows of a Gram matrix that a worker takes at a time.
	patchStrip = 96
)

// Window is the geometry of a Conv with one or two spatial axes; those of one have a
// height of 1.
type Window struct {
	Kernel, Stride, Dilation, Pad, End [2]int // Pad before, End behind
	// same says that the pads follow from the input's size: 1 as SAME_UPPER, 2 as SAME_LOWER.
	same int
}

// WindowOf is the window of a Conv whose type rule has accepted it; an error where it
// has more than two spatial axes.
func WindowOf(n *graph.Node) (*Window, error) {
	w := n.Input(1)
	if n.Op != "Conv" || w == nil || len(w.Type.Shape) < 3 || len(w.Type.Shape) > 4 {
		return nil, fmt.Errorf("window: %s is not a Conv with one or two spatial axes", n.Op)
	}
	r := len(w.Type.Shape) - 2
	o := &Window{Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}}
	fill := func(dst *[2]int, v []int64) {
		for i := range min(r, len(v)) {
			dst[2-r+i] = int(v[i])
		}
	}
	for i := range r {
		o.Kernel[2-r+i] = w.Type.Shape[2+i]
	}
	fill(&o.Stride, n.Ints("strides"))
	fill(&o.Dilation, n.Ints("dilations"))
	switch n.Str("auto_pad", "NOTSET") {
	case "SAME_UPPER":
		o.same = 1
	case "SAME_LOWER":
		o.same = 2
	case "VALID":
	default:
		if p := n.Ints("pads"); len(p) == 2*r {
			fill(&o.Pad, p[:r])
			fill(&o.End, p[r:])
		}
	}
	return o, nil
}

// at is the number of outputs along axis a of size in, and the padding before.
func (w *Window) at(a, in int) (out, pad int) {
	extent, pad, end := (w.Kernel[a]-1)*w.Dilation[a]+1, w.Pad[a], w.End[a]
	if w.same > 0 {
		out = (in + w.Stride[a] - 1) / w.Stride[a]
		total := max(0, (out-1)*w.Stride[a]+extent-in)
		pad = total / 2
		if w.same == 2 {
			pad = total - total/2
		}
		return out, pad
	}
	if in+pad+end < extent {
		return 0, pad
	}
	return (in+pad+end-extent)/w.Stride[a] + 1, pad
}

// Patches sums x xᵀ and x over all x that a layer multiplies by its weights: the patches
// under a Conv's window, whose elements are in the order of a row of the weight, or the rows of
// a matrix product's input. With Targets it sums y xᵀ and y too, for the outputs y of another
// network at the same places: what least squares need to make the layer give y.
//
// Rows are summed in float32 by blocks and the blocks in float64; what is summed in which
// order depends on the data only. Set the options, let [Run] or [RunAll] observe, then
// read the results. It is not safe for concurrent use.
type Patches struct {
	// Window is the Conv's; nil: rows along the last axis.
	Window *Window
	// Groups is the Conv's; 0: 1.
	Groups int
	// PerSample is how many rows of a sample are taken, spread over it at random places
	// that depend on the sample's number only; 0: all.
	PerSample int
	// Threads is the number of workers, 0: the physical cores. Results do not depend on it.
	Threads int

	// Rows is the number of rows so far.
	Rows int64
	// Parts are the sums, group by group, and within a group block by block: one, where a
	// group has at most MaxColumns columns.
	Parts []Moments
	// Outs is the number of outputs, of all groups, and YSum [Outs] and YSq [Outs] are the sums
	// of the targets and of their squares; 0 and nil without Targets.
	Outs      int
	YSum, YSq []float64

	k       int // columns of a group
	sample  int // so far
	x, y    []float32
	n       int // rows in x
	targets *targets
}

// Moments are the sums over the columns From to From+K of a group.
type Moments struct {
	From, K int
	G       []float64 // Σ x xᵀ [K,K], symmetric after Done
	Sum     []float64 // Σ x [K]
	Cross   []float64 // Σ y xᵀ [Outs/Groups,K]; nil without Targets
}

// Targets is the observer of the outputs y, [N,Outs,...] of a Conv or [...,Outs] of a
// matrix product. It must come before the Patches among the points.
func (p *Patches) Targets() Observer {
	p.targets = &targets{p: p}
	return p.targets
}

// Columns is the number of columns of a group, 0 before the first Observe.
func (p *Patches) Columns() int { return p.k }

// Blocks is the number of parts of a group.
func (p *Patches) Blocks() int { return len(p.Parts) / max(1, p.Groups) }

type targets struct {
	p      *Patches
	sample int
	rows   []float32
}

func (t *targets) Observe(y *tensor.Tensor) error {
	p := t.p
	if len(y.Shape) < 2 {
		return fmt.Errorf("targets: shape %v, want at least two axes", y.Shape)
	}
	n := y.Shape[0]
	outs, pixels, step := y.Shape[len(y.Shape)-1], 0, 1
	if p.Window != nil {
		outs = y.Shape[1]
		pixels = y.Shape[2:].NumElements()
		step = pixels
	} else if outs > 0 {
		pixels = y.Shape[1:].NumElements() / outs
	}
	if outs < 1 || outs%max(1, p.Groups) != 0 || p.Outs != 0 && outs != p.Outs {
		return fmt.Errorf("targets: %d outputs in %d groups, after %d", outs, max(1, p.Groups), p.Outs)
	}
	if p.Outs == 0 {
		p.Outs, p.YSum, p.YSq = outs, make([]float64, outs), make([]float64, outs)
	}
	v := tensor.Of[float32](y)
	t.rows = t.rows[:0]
	for i := range n {
		img := v[i*outs*pixels:]
		for r := range p.taken(pixels) {
			at := p.place(t.sample, r, pixels)
			if p.Window == nil {
				t.rows = append(t.rows, img[at*outs:][:outs]...)
				continue
			}
			for o := range outs {
				t.rows = append(t.rows, img[o*step+at])
			}
		}
		t.sample++
	}
	return nil
}

// taken is how many rows are taken of a sample of so many.
func (p *Patches) taken(pixels int) int {
	if p.PerSample > 0 && p.PerSample < pixels {
		return p.PerSample
	}
	return pixels
}

// place is where the r-th row of a sample lies: in the r-th of equal parts of it.
func (p *Patches) place(sample, r, pixels int) int {
	if p.taken(pixels) == pixels {
		return r
	}
	lo, hi := r*pixels/p.PerSample, (r+1)*pixels/p.PerSample
	return lo + int(op.Random(0x7a7c4e5, uint64(sample), uint64(r))%uint64(hi-lo))
}

// Observe implements Observer.
func (p *Patches) Observe(x *tensor.Tensor) error {
	if len(x.Shape) < 2 || p.Window != nil && (len(x.Shape) < 3 || len(x.Shape) > 4) {
		return fmt.Errorf("patches: shape %v does not suit the layer", x.Shape)
	}
	groups := max(1, p.Groups)
	v := tensor.Of[float32](x)
	k := x.Shape[len(x.Shape)-1]
	var im image
	pixels := 0
	if w := p.Window; w != nil {
		c := x.Shape[1]
		if c%groups != 0 {
			return fmt.Errorf("patches: %d channels in %d groups", c, groups)
		}
		k = c / groups * w.Kernel[0] * w.Kernel[1]
		im.c, im.h, im.w = c, 1, x.Shape[len(x.Shape)-1]
		if len(x.Shape) == 4 {
			im.h = x.Shape[2]
		}
		im.oh, im.ph = w.at(0, im.h)
		im.ow, im.pw = w.at(1, im.w)
		pixels = im.oh * im.ow
	} else if k > 0 {
		pixels = x.Shape[1:].NumElements() / k
	}
	if err := p.begin(k, groups); err != nil {
		return err
	}
	size := x.Shape[1:].NumElements()
	taken := p.taken(pixels)
	total := taken * x.Shape[0]
	if p.targets != nil && len(p.targets.rows) != total*p.Outs {
		return fmt.Errorf("patches: %d rows of inputs, %d of targets", total, len(p.targets.rows)/max(1, p.Outs))
	}
	for from := 0; from < total; {
		n := min(total-from, patchRows-p.n)
		each((n+15)/16, p.Threads, func(part int) {
			for i := part * 16; i < min(n, part*16+16); i++ {
				s := (from + i) / taken
				at := p.place(p.sample+s, (from+i)%taken, pixels)
				row := p.x[(p.n+i)*k*groups:][:k*groups]
				if p.Window == nil {
					copy(row, v[s*size+at*k:])
				} else {
					p.Window.patch(row, v[s*size:][:size], &im, at)
				}
			}
		})
		if p.targets != nil {
			copy(p.y[p.n*p.Outs:], p.targets.rows[from*p.Outs:(from+n)*p.Outs])
		}
		p.n += n
		from += n
		if p.n == patchRows {
			p.flush()
		}
	}
	p.sample += x.Shape[0]
	return nil
}

// image is the input's size, the output's, and the padding before.
type image struct{ c, h, w, oh, ow, ph, pw int }

// patch copies what lies under output at: channel by channel, row by row.
func (w *Window) patch(dst, x []float32, im *image, at int) {
	y0, x0 := at/im.ow*w.Stride[0]-im.ph, at%im.ow*w.Stride[1]-im.pw
	inside := w.Dilation[1] == 1 && x0 >= 0 && x0+w.Kernel[1] <= im.w
	d := 0
	for c := range im.c {
		plane := x[c*im.h*im.w:][:im.h*im.w]
		for i := range w.Kernel[0] {
			y := y0 + i*w.Dilation[0]
			row := dst[d : d+w.Kernel[1]]
			d += w.Kernel[1]
			if y < 0 || y >= im.h {
				clear(row)
				continue
			}
			if inside {
				copy(row, plane[y*im.w+x0:])
				continue
			}
			for j := range row {
				row[j] = 0
				if u := x0 + j*w.Dilation[1]; u >= 0 && u < im.w {
					row[j] = plane[y*im.w+u]
				}
			}
		}
	}
}

// begin makes the sums at the first batch.
func (p *Patches) begin(k, groups int) error {
	if p.k != 0 {
		if k != p.k {
			return fmt.Errorf("patches: %d columns after %d", k, p.k)
		}
		return nil
	}
	const most = 1 << 27 // float64s: 1 GiB
	if k < 1 || k > most/patchRows/groups {
		return fmt.Errorf("patches: %d columns in %d groups, want 1 to %d", k, groups, most/patchRows/groups)
	}
	blocks := 1
	if k > MaxColumns {
		blocks = (k + BlockColumns - 1) / BlockColumns
	}
	width := (k + blocks - 1) / blocks
	if groups*blocks*width > most/width {
		return fmt.Errorf("patches: %d columns in %d groups are too many", k, groups)
	}
	p.k, p.x = k, make([]float32, patchRows*k*groups)
	if p.targets != nil {
		p.y = make([]float32, patchRows*p.Outs)
	}
	for range groups {
		for b := range blocks {
			from := b * k / blocks
			n := (b+1)*k/blocks - from
			m := Moments{From: from, K: n, G: make([]float64, n*n), Sum: make([]float64, n)}
			if p.targets != nil {
				m.Cross = make([]float64, p.Outs/groups*n)
			}
			p.Parts = append(p.Parts, m)
		}
	}
	return nil
}

// flush adds the rows that are held to the sums. Every worker has elements of its own.
func (p *Patches) flush() {
	if p.n == 0 {
		return
	}
	groups, blocks, n := max(1, p.Groups), p.Blocks(), p.n
	outs, ld := p.Outs/groups, p.k*groups
	type job struct{ part, lo, hi int } // rows of G; hi 0: Cross and the sums
	var jobs []job
	for i, m := range p.Parts {
		jobs = append(jobs, job{i, 0, 0})
		for hi := m.K; hi > 0; hi -= patchStrip { // the longest rows first
			jobs = append(jobs, job{i, max(0, hi-patchStrip), hi})
		}
	}
	u := kern.F32(cpu.Detect())
	each(len(jobs), p.Threads, func(i int) {
		j := jobs[i]
		m := &p.Parts[j.part]
		g := j.part / blocks
		x := p.x[g*p.k+m.From:]
		if j.hi > 0 {
			addProduct(u, m.G[j.lo*m.K:], m.K, x[j.lo:], x, j.hi-j.lo, j.hi, n, ld, ld)
			return
		}
		for r := range n {
			for c, v := range x[r*ld:][:m.K] {
				m.Sum[c] += float64(v)
			}
		}
		if outs > 0 {
			addProduct(u, m.Cross, m.K, p.y[g*outs:], x, outs, m.K, n, p.Outs, ld)
		}
	})
	for r := range n {
		for o, v := range p.y[r*p.Outs:][:p.Outs] {
			p.YSum[o] += float64(v)
			p.YSq[o] += float64(v) * float64(v)
		}
	}
	p.Rows += int64(n)
	p.n = 0
}

// addProduct adds aᵀ b to dst [m,n], for a [k,m] and b [k,n].
func addProduct(u *kern.Micro, dst []float64, ldd int, a, b []float32, m, n, k, lda, ldb int) {
	g := kern.GEMM{M: m, N: n, K: k, TransA: true, LDA: lda, LDB: ldb}
	g.Init(u)
	c, scratch := make([]float32, m*n), make([]float32, g.Scratch())
	for t := range g.Tiles() {
		g.Run(t, a, b, c, nil, nil, scratch)
	}
	for i := range m {
		d := dst[i*ldd:][:n]
		for j, v := range c[i*n:][:n] {
			d[j] += float64(v)
		}
	}
}

// Done adds what is left and mirrors the lower halves; [Run] calls it. ErrNotFinite where
// a sum is not finite.
func (p *Patches) Done() error {
	p.flush()
	p.x, p.y = nil, nil
	for _, m := range p.Parts {
		for i := range m.K {
			for j := range i {
				m.G[j*m.K+i] = m.G[i*m.K+j]
			}
			if d := m.G[i*m.K+i]; math.IsNaN(d) || math.IsInf(d, 0) {
				return ErrNotFinite
			}
		}
	}
	for _, v := range p.YSq {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return ErrNotFinite
		}
	}
	return nil
}

// each runs f(0..n-1) on up to threads goroutines, 0: the physical cores.
func each(n, threads int, f func(i int)) {
	if threads <= 0 {
		threads = cpu.PhysicalCores()
	}
	if threads = min(threads, n); threads <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	next := make(chan int, n)
	for i := range n {
		next <- i
	}
	close(next)
	var wg sync.WaitGroup
	for range threads {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	wg.Wait()
}
