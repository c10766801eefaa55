package kernel

import (
	"fmt"
	"math"
	"slices"

	"whit/internal/kern"
)

// verdict is the block form that a product's sparse kernel takes, 0 rows where the
// dense kernel is faster, and the reason.
type verdict struct {
	rows   int
	why    string
	tiling sparseTiling
}

// sparseTimes are measured times in cycles of one core (AVX2: Zen 3, AVX-512: Zen 4; what matters is their
// ratio). step is a step of a block of each of sparseForms for 8 pixels, block what a
// block costs beside, in and out the transposition of a float, few times as much where there are less than
// 8 channels; vector is a step for
// a single pixel. dense is a multiply-add of the dense kernel, half one of its tile of half the
// columns, denseVector one of a
// single pixel, bound by memory, and winograd the gain of Winograd's algorithm where
// the dense kernel may take it.
type sparseTimes struct {
	step                     [4]float64
	vector                   [3]float64
	block, in, out, few      float64
	dense, half, denseVector float64
	winograd, stream         float64
}

var (
	sparseAVX2Times = sparseTimes{step: [4]float64{1.4, 1.8, 2.8, 2.3}, vector: [3]float64{2.2, 3.2, 5.5}, block: 6,
		in: 0.35, out: 0.5, few: 10, dense: 0.078, half: 0.1, denseVector: 0.9, winograd: 2.2, stream: 0.24}
	sparseAVX512Times = sparseTimes{step: [4]float64{1.4, 1.8, 2.8, 2.3}, vector: [3]float64{2.2, 3.2, 5.5}, block: 6,
		in: 0.35, out: 0.5, few: 10, dense: 0.062, half: 0.083, denseVector: 0.9, winograd: 3, stream: 0.24}
	sparseGoTimes = sparseTimes{step: [4]float64{12, 24, 48, 36}, vector: [3]float64{3, 6, 12}, block: 40,
		in: 2, out: 2, few: 1, dense: 1.1, half: 1.1, denseVector: 1.1, winograd: 1, stream: 0.24}
)

// columns is what the dense kernel's columns of n outputs cost for each step and pixel.
func (t *sparseTimes) columns(u *kern.Micro, n int) float64 {
	cost := float64(n/u.NR*u.NR) * t.dense
	switch rest := n % u.NR; {
	case rest > u.Width:
		cost += float64(u.NR) * t.dense
	case rest > 0:
		cost += float64(u.Width) * t.half
	}
	return cost
}

func sparseTimesOf(e *Env) *sparseTimes {
	switch {
	case kern.SparseOf(e.CPU).ISA == "go":
		return &sparseGoTimes
	case kern.F32(e.CPU).NR > 16:
		return &sparseAVX512Times
	}
	return &sparseAVX2Times
}

// sparseVerdict compares the dense kernel with the sparse one in each form. It is a
// function of shapes, zeros and CPU features.
func sparseVerdict(s *sparseProduct, e *Env) verdict {
	z := stepsOf(s, e)
	weights := s.k() * s.cout
	if z == nil {
		return verdict{why: "dense: few zeros"}
	}
	t := sparseTimesOf(e)
	w := &s.w
	if c := e.chosen(s.n); c != "" && c != sameBits {
		return chosenVerdict(s, e, c, z)
	}
	pixels := s.images * w.oh * w.ow
	dense := float64(s.k()*pixels) * t.columns(kern.F32(e.CPU), s.cout)
	if pixels == 1 {
		dense = float64(weights) * t.denseVector
	} else if !s.matrix && winogradFits(s.n, e) {
		dense /= t.winograd
	}
	best, v := dense, verdict{}
	// For the reason: the form that comes nearest, its density and up to which it would pay.
	nearest, form, density, limit := math.Inf(1), "", 0.0, 0.0
	for i, rows := range z.forms() {
		blocks := (s.cout + rows - 1) / rows
		var tl sparseTiling
		var fixed, each float64 // cost = fixed + each·steps
		if s.vector() {
			fixed, each = float64(blocks)*t.block+float64(s.k())*t.in, t.vector[i]
		} else {
			tl = tileSparse(s, e, rows, z.steps[i])
			if tl.l == 0 {
				continue
			}
			fixed, each = tl.fixed, tl.each
		}
		cost := fixed + each*float64(z.steps[i])
		if cost < nearest {
			all := float64(blocks) * float64(s.k())
			nearest, density, limit = cost, float64(z.steps[i])/all, (dense-fixed)/each/all
			if rows > 1 {
				form = fmt.Sprintf(" of %dx1 blocks", rows)
			}
		}
		if cost < best {
			best, v.rows, v.tiling = cost, rows, tl
		}
	}
	single := float64(z.steps[0]) / float64(weights)
	switch {
	case v.rows > 0 && z.all:
		v.why = kern.SparseOf(e.CPU).Name(v.rows) + ": few outputs"
	case v.rows > 0:
		v.why = fmt.Sprintf("%s: density %.2f", kern.SparseOf(e.CPU).Name(v.rows), single)
	case limit <= 0:
		v.why = fmt.Sprintf("dense: density %.2f, too little work for a sparse kernel", single)
	default:
		v.why = fmt.Sprintf("dense: density %.3f%s above %.3f", density, form, limit)
	}
	return v
}

// chosenVerdict is the verdict where Env.Choices has named the candidate c.
func chosenVerdict(s *sparseProduct, e *Env, c string, z *zeroCount) verdict {
	for i, rows := range z.forms() {
		if c != fmt.Sprint(sparse, rows) {
			continue
		}
		v := verdict{rows: rows, why: kern.SparseOf(e.CPU).Name(rows)}
		if !s.vector() {
			v.tiling = tileSparse(s, e, rows, z.steps[i])
		}
		return v
	}
	return verdict{why: "dense"}
}

// vector reports a product with a single row.
func (s *sparseProduct) vector() bool { return s.matrix && s.images*s.w.oh*s.w.ow == 1 }

// sparseTiling divides an image's outputs into ny x nx chunks of up to rows x cols
// pixels. A chunk's inputs are held as planes of l floats for each channel: one
// plane of hq rows of wq pixels for each phase of the stride that a tap meets, so
// that a tap is a constant distance away from the output, and a run of outputs may
// go over the ends of rows.
type sparseTiling struct {
	ny, nx, rows, cols int
	phasesH, phasesW   []phase
	hq, wq, l          int
	taps               []int // where each tap's plane begins, from the output's place
	fixed, each        float64
}

// phase is a remainder of the stride, and how far its taps reach in whole strides.
type phase struct{ at, reach int }

func phases(kernel, dilation, stride int) (ps []phase, reach int) {
	for i := range kernel {
		r, far := i*dilation%stride, i*dilation/stride
		at := slices.IndexFunc(ps, func(p phase) bool { return p.at == r })
		if at < 0 {
			at, ps = len(ps), append(ps, phase{at: r})
		}
		ps[at].reach, reach = max(ps[at].reach, far), max(reach, far)
	}
	return ps, reach
}

func phaseOf(ps []phase, r int) int {
	for i, p := range ps {
		if p.at == r {
			return i
		}
	}
	return 0
}

// How many floats of planes and of results a chunk should have, and the most planes.
const (
	sparsePlanes    = 160 << 10 / 4
	sparsePlanesMax = 4 << 20 / 4
	sparseResults   = 48 << 10 / 4
)

// flatten makes one row of a pointwise product's outputs.
func (s *sparseProduct) flatten() {
	if s.pointwise() {
		s.w.oh, s.w.ow = 1, s.w.oh*s.w.ow
		s.w.h, s.w.w = 1, s.w.h*s.w.w
	}
}

// tileSparse finds the chunks that cost least; l is 0 where none fits.
func tileSparse(s *sparseProduct, e *Env, rows, steps int) sparseTiling {
	t, form, most := sparseTimesOf(e), slices.Index(sparseForms[:], rows), kern.SparseOf(e.CPU).Vecs(rows)
	c := *s
	c.flatten()
	w := &c.w
	var best sparseTiling
	ph, rh := phases(w.kh, w.dh, w.sh)
	pw, rw := phases(w.kw, w.dw, w.sw)
	blocks := float64((s.cout + rows - 1) / rows)
	in, out := t.in, t.out
	if s.cin < 8 {
		in *= t.few
	}
	if s.cout < 8 {
		out *= t.few
	}
	cost := 0.0
	try := func(ny, nx int) (fits bool) {
		g := sparseTiling{ny: ny, nx: nx, rows: (w.oh + ny - 1) / ny, cols: (w.ow + nx - 1) / nx, phasesH: ph, phasesW: pw}
		g.hq, g.wq = g.rows+rh, g.cols+rw
		g.l = planeLen(len(ph) * len(pw) * g.hq * g.wq)
		size := s.cin * g.l
		if size > sparsePlanesMax {
			return false
		}
		vecs := ((g.rows-1)*g.wq + g.cols + 7) / 8
		chunks := float64(s.images * ny * nx)
		g.fixed = chunks*(float64(size)*in+float64(vecs)*blocks*t.block/float64(most)) +
			float64(s.images*w.oh*w.ow*s.cout)*out
		g.each = chunks * float64(vecs) * t.step[form]
		c := g.fixed + g.each*float64(steps)
		// Weights are read again for every chunk; planes and results want near caches.
		c += chunks * float64(steps*(rows+1)) * t.stream
		if size > sparsePlanes {
			c *= 1 + float64(size-sparsePlanes)/(4*sparsePlanes)
		}
		if out := g.rows * g.cols * s.cout; out > sparseResults {
			c *= 1 + float64(out-sparseResults)/(4*sparseResults)
		}
		if best.l == 0 || c < cost {
			best, cost = g, c
		}
		return size <= 1<<10
	}
	for ny := 1; ny <= w.oh; ny = next(ny, w.oh) {
		for nx := 1; nx <= (w.ow+7)/8; nx = next(nx, w.ow) {
			if try(ny, nx) {
				break // smaller chunks are no better
			}
		}
	}
	if best.l > 0 {
		best.findTaps(w)
	}
	return best
}

// planeLen is the length of planes for n floats each: of cache lines, whose number is odd, so that planes
// do not share the sets of a cache.
func planeLen(n int) int { return (n+15)&^15 | 16 }

// findTaps sets where the taps' planes begin.
func (g *sparseTiling) findTaps(w *window) {
	for i := range w.kh {
		for j := range w.kw {
			a, b := phaseOf(g.phasesH, i*w.dh%w.sh), phaseOf(g.phasesW, j*w.dw%w.sw)
			g.taps = append(g.taps, ((a*len(g.phasesW)+b)*g.hq+i*w.dh/w.sh)*g.wq+j*w.dw/w.sw)
		}
	}
}

// next is the least number of parts above n that makes the parts of total smaller.
func next(n, total int) int {
	size := (total + n - 1) / n
	if size <= 1 {
		return n + total // no more
	}
	return (total + size - 2) / (size - 1)
}
