package fit

import (
	"cmp"
	"container/heap"
	"fmt"
	"math"
	"slices"

	"whit/internal/cpu"
	"whit/internal/kern"
)

// Problem is to replace rows w [N,K] by rows that cost less to hold, at the least error
// (w - w')ᵀ H (w - w'): second-order pruning and quantising of a layer, whose rows meet the same
// inputs. Methods may be called from one goroutine at a time.
type Problem struct {
	N, K int
	// H is symmetric and positive semidefinite [K,K]; Damped is what is solved with in its place.
	H, Damped []float64
	W         []float64 // [N,K]
	Threads   int

	h32 []float32
}

// NewProblem damps H by share of its mean diagonal. It keeps h and w.
func NewProblem(h, w []float64, k int, share float64, threads int) *Problem {
	d := slices.Clone(h)
	Damp(d, k, share)
	return &Problem{N: len(w) / max(1, k), K: k, H: h, Damped: d, W: w, Threads: threads}
}

// Pattern says which elements must go together: Rows consecutive rows share their positions
// (1, 2 or 4 are what sparse kernels run), or, if M is not 0, of every M consecutive columns
// of a row N stay.
type Pattern struct{ Rows, N, M int }

// Patterns are the names of patterns in recipes, single elements first.
var Patterns = []string{"1x1", "2x1", "4x1", "1:2", "1:4", "2:4", "4:8"}

// PatternOf is the pattern of a name in Patterns.
func PatternOf(name string) (p Pattern) {
	if _, err := fmt.Sscanf(name, "%d:%d", &p.N, &p.M); err != nil {
		p = Pattern{}
		fmt.Sscanf(name, "%dx1", &p.Rows)
	}
	return p
}

// ExactColumns is the number of columns up to which Select removes elements one by
// one, best first; beyond, it walks along the columns.
const ExactColumns = 1152

// Select chooses which elements stay, [N,K]: all but drop of them, as near as the pattern comes. What
// keep (nil: all) names as gone is gone already, and counts.
//
// Up to ExactColumns columns it is ExactOBS (E. Frantar, S. P. Singh, D. Alistarh: Optimal Brain
// Compression, 2022, section 4 and algorithm 1): of each row the element goes whose removal costs least,
// the others make good for it, and so on; how many go from which row follows from
// these costs, layer-wide. Beyond, it is SparseGPT (E. Frantar, D. Alistarh, 2023, section
// 3): columns in order, in blocks of 128, of which each loses its share.
func (p *Problem) Select(pt Pattern, drop int, keep []bool) (stay []bool, err error) {
	if keep == nil {
		keep = make([]bool, p.N*p.K)
		for i := range keep {
			keep[i] = true
		}
	}
	rows := max(1, pt.Rows)
	if p.K > ExactColumns {
		return p.walk(pt, drop, keep)
	}
	inv := slices.Clone(p.Damped)
	if err := Inverse(inv, p.K, p.Threads); err != nil {
		return nil, err
	}
	inv32 := narrow(inv)
	blocks := (p.N + rows - 1) / rows
	share := float64(drop) / float64(max(1, p.N*p.K))
	most := p.K
	if pt.M == 0 && share < 1 { // no row goes much further than the others
		most = min(p.K, int(math.Ceil(float64(p.K)*(share+0.5*(1-share)))))
	}
	traces := make([]*trace, blocks)
	u := kern.F32(cpu.Detect())
	each(blocks, 1, p.Threads, func(b int) {
		r0, r1 := b*rows, min(p.N, (b+1)*rows)
		t := newTrace(u, inv32, p.K, p.W[r0*p.K:r1*p.K], keep[r0*p.K:r1*p.K])
		t.run(pt, most)
		traces[b] = &trace{order: t.order, loss: t.loss, given: t.given, rows: t.rows} // the rest is large
	})
	stay = slices.Clone(keep)
	gone := 0
	for _, k := range keep {
		if !k {
			gone++
		}
	}
	lose := func(b int) { // what block b loses next
		t := traces[b]
		for r := b * rows; r < min(p.N, (b+1)*rows); r++ {
			if e := r*p.K + t.order[t.at]; stay[e] {
				stay[e] = false
				gone++
			}
		}
		t.at++
	}
	q := &queue{}
	next := func(b int) {
		if t := traces[b]; t.at < len(t.order) {
			heap.Push(q, item{t.loss[t.at] / float64(t.rows), b})
		}
	}
	for b, t := range traces {
		t.at = t.given
		next(b)
	}
	for q.Len() > 0 && (gone < drop || pt.M > 0) {
		b := heap.Pop(q).(item).block
		lose(b)
		next(b)
	}
	return stay, nil
}

type item struct {
	loss  float64
	block int
}

type queue []item

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].loss != q[j].loss {
		return q[i].loss < q[j].loss
	}
	return q[i].block < q[j].block
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(item)) }
func (q *queue) Pop() any {
	n := len(*q) - 1
	x := (*q)[n]
	*q = (*q)[:n]
	return x
}

// trace is the order in which a block of rows loses its columns. The inverse of what is left of
// H after columns j went is inv - Σ u_j u_jᵀ; a column of it is computed when it is wanted, for a few
// that will probably go next at once. Dead columns are squeezed out now and then.
type trace struct {
	order []int
	loss  []float64
	given int // of order were gone before
	at    int // of order, in Select

	u      *kern.Micro
	inv    []float32
	k      int
	live   []int32   // column of each place
	w      []float32 // [rows, len(live)]
	diag   []float32 // of the inverse
	dead   []bool
	rows   int
	us     []float32 // [len(order), len(live)]
	cand   []int     // places
	cols   []float32 // [len(cand), len(live)]
	a      []float32
	scales []float32
}

// candidates is how many columns are computed at once.
const candidates = 16

func newTrace(u *kern.Micro, inv []float32, k int, w []float64, keep []bool) *trace {
	t := &trace{u: u, inv: inv, k: k, rows: len(w) / k, w: narrow(w), diag: make([]float32, k), dead: make([]bool, k), live: make([]int32, k)}
	for i := range k {
		t.live[i] = int32(i)
		t.diag[i] = inv[i*k+i]
	}
	// What is gone already goes first.
	flush := func() {
		if len(t.cand) > 0 {
			t.columns()
		}
		for c := range t.cand {
			t.remove(c)
		}
		t.cand = t.cand[:0]
	}
	for i := range k {
		gone := true
		for r := range t.rows {
			gone = gone && !keep[r*k+i]
		}
		if gone {
			t.cand = append(t.cand, i)
		}
		if len(t.cand) == candidates {
			flush()
		}
	}
	flush()
	t.given = len(t.order)
	t.squeeze()
	return t
}

// run removes columns until most are gone, or the pattern allows no more.
func (t *trace) run(pt Pattern, most int) {
	var left []int
	if pt.M > 0 {
		left = make([]int, (t.k+pt.M-1)/pt.M)
		for i, c := range t.live {
			if !t.dead[i] {
				left[int(c)/pt.M]++
			}
		}
	}
	may := func(i int) bool {
		return !t.dead[i] && (left == nil || left[int(t.live[i])/pt.M] > t.quota(pt, int(t.live[i])/pt.M))
	}
	score := make([]float32, t.k)
	for len(t.order) < most {
		n := len(t.live)
		best := -1
		for i := range n {
			score[i] = float32(math.Inf(1))
			if !may(i) {
				continue
			}
			s := float32(0)
			for r := range t.rows {
				v := t.w[r*n+i]
				s += float32(v * v)
			}
			score[i] = s / max(t.diag[i], 1e-30)
			if best < 0 || score[i] < score[best] {
				best = i
			}
		}
		if best < 0 {
			return
		}
		c := slices.Index(t.cand, best)
		if c < 0 {
			t.choose(score[:n])
			t.columns()
			c = slices.Index(t.cand, best)
		}
		if left != nil {
			left[int(t.live[best])/pt.M]--
		}
		t.remove(c)
		if len(t.live) > 32 && len(t.live)-t.deads() < len(t.live)*3/4 {
			t.squeeze()
		}
	}
}

// quota is how many columns of a group stay: N of M, a part of them at the end of a row.
func (t *trace) quota(pt Pattern, group int) int {
	size := min(pt.M, t.k-group*pt.M)
	return (size*pt.N + pt.M - 1) / pt.M
}

func (t *trace) deads() int { return len(t.order) - (t.k - len(t.live)) }

// choose makes the places with the least scores the candidates.
func (t *trace) choose(score []float32) {
	t.cand = t.cand[:0]
	for i, s := range score {
		if math.IsInf(float64(s), 1) && len(t.cand) >= 1 {
			continue
		}
		n := len(t.cand)
		if n == candidates && s >= score[t.cand[n-1]] {
			continue
		}
		if n == candidates {
			n--
		}
		at := n
		for at > 0 && s < score[t.cand[at-1]] {
			at--
		}
		t.cand = slices.Insert(t.cand[:n], at, i)
	}
}

// columns computes the candidates' columns of the inverse.
func (t *trace) columns() {
	n, m, depth := len(t.live), len(t.cand), len(t.order)
	t.cols = grow(t.cols, m*n)
	for c, p := range t.cand {
		from := t.inv[int(t.live[p])*t.k:][:t.k]
		to := t.cols[c*n : (c+1)*n]
		for i, at := range t.live {
			to[i] = from[at]
		}
	}
	if depth == 0 {
		return
	}
	t.a = grow(t.a, m*depth)
	for c, p := range t.cand {
		for j := range depth {
			t.a[c*depth+j] = -t.us[j*n+p]
		}
	}
	g := kern.GEMM{M: m, N: n, K: depth, Flags: kern.FlagAcc}
	g.Init(t.u)
	t.scales = grow(t.scales, g.Scratch())
	for i := range g.Tiles() {
		g.Run(i, t.a, t.us, t.cols, nil, nil, t.scales)
	}
}

func grow(x []float32, n int) []float32 {
	if cap(x) < n {
		return make([]float32, n, n+n/4)
	}
	return x[:n]
}

// remove takes candidate c away.
func (t *trace) remove(c int) {
	n, p := len(t.live), t.cand[c]
	col := t.cols[c*n : (c+1)*n]
	d := float64(max(col[p], 1e-30))
	loss := 0.0
	for r := range t.rows {
		w := t.w[r*n : (r+1)*n]
		f := float32(float64(w[p]) / d)
		loss += float64(w[p]) * float64(w[p]) / d
		for i, v := range col[:len(w)] {
			w[i] -= float32(f * v)
		}
		w[p] = 0
	}
	at := len(t.us)
	t.us = append(t.us, col...)
	u := t.us[at:]
	f := float32(1 / math.Sqrt(d))
	diag := t.diag[:len(u)]
	for i := range u {
		u[i] *= f
		diag[i] -= float32(u[i] * u[i])
	}
	t.order, t.loss, t.dead[p] = append(t.order, int(t.live[p])), append(t.loss, loss), true
	for k := range t.cand {
		if k == c || t.dead[t.cand[k]] {
			continue
		}
		f := u[t.cand[k]]
		row := t.cols[k*n : (k+1)*n]
		for i, v := range u[:len(row)] {
			row[i] -= float32(f * v)
		}
	}
}

// squeeze leaves the dead columns out.
func (t *trace) squeeze() {
	n := len(t.live)
	var at []int
	for i := range n {
		if !t.dead[i] {
			at = append(at, i)
		}
	}
	pack := func(x []float32) []float32 {
		d := 0
		for r := 0; r < len(x); r += n {
			for _, i := range at {
				x[d] = x[r+i]
				d++
			}
		}
		return x[:d]
	}
	if len(at) == n || len(at) == 0 {
		return
	}
	t.w, t.diag, t.us = pack(t.w), pack(t.diag), pack(t.us)
	for d, i := range at {
		t.live[d] = t.live[i]
	}
	t.live, t.dead = t.live[:len(at)], make([]bool, len(at))
	t.cand = t.cand[:0]
}

// walkBlock is the number of columns whose elements SparseGPT chooses together.
const walkBlock = 128

// walk is SparseGPT's selection, for rows of many columns. Errors are made good by the
// columns behind.
func (p *Problem) walk(pt Pattern, drop int, keep []bool) (stay []bool, err error) {
	root := slices.Clone(p.Damped)
	if err := InverseRoot(root, p.K, p.Threads); err != nil {
		return nil, err
	}
	u := narrow(root)
	rows := max(1, pt.Rows)
	blocks := (p.N + rows - 1) / rows
	share := float64(drop) / float64(max(1, p.N*p.K))
	w := narrow(p.W)
	errs := make([]float32, p.N*walkBlock)
	stay = slices.Clone(keep)
	m, gone := kern.F32(cpu.Detect()), 0
	for j0 := 0; j0 < p.K; j0 += walkBlock {
		j1 := min(p.K, j0+walkBlock)
		if pt.M == 0 {
			gone += p.cheapest(w, u, stay, rows, j0, j1, int(math.RoundToEven(share*float64(p.N*j1)))-gone)
		}
		each(blocks, 1, p.Threads, func(b int) {
			for r := b * rows; r < min(p.N, (b+1)*rows); r++ {
				row := w[r*p.K : (r+1)*p.K]
				for j := j0; j < j1; j++ {
					if pt.M > 0 && j%pt.M == 0 {
						nOfM(row, u, p.K, stay[r*p.K:(r+1)*p.K], pt, j)
					}
					e := float32(0)
					if !stay[r*p.K+j] {
						e = row[j] / u[j*p.K+j]
						for i, v := range u[j*p.K+j : j*p.K+j1] {
							row[j+i] -= float32(e * v)
						}
						row[j] = 0
					}
					errs[r*walkBlock+j-j0] = -e
				}
			}
		})
		if j1 == p.K {
			break
		}
		g := kern.GEMM{M: p.N, N: p.K - j1, K: j1 - j0, LDA: walkBlock, LDB: p.K, LDC: p.K, Flags: kern.FlagAcc}
		g.Init(m)
		each(g.Tiles(), 1, p.Threads, func(i int) {
			g.Run(i, errs, u[j0*p.K+j1:], w[j1:], nil, nil, make([]float32, g.Scratch()))
		})
	}
	return stay, nil
}

// cheapest marks the elements of columns j0 to j1 as gone whose loss is least, so that
// drop of them are, and returns how many that are.
func (p *Problem) cheapest(w, u []float32, stay []bool, rows, j0, j1, drop int) (gone int) {
	type element struct {
		loss float32
		at   int32
	}
	var es []element
	for r := 0; r < p.N; r += rows {
		n := min(rows, p.N-r)
		for j := j0; j < j1; j++ {
			s, any := float32(0), false
			for i := r; i < r+n; i++ {
				v := w[i*p.K+j] / u[j*p.K+j]
				s += float32(v * v)
				if stay[i*p.K+j] {
					any = true
				} else {
					gone++
				}
			}
			if !any {
				continue
			}
			es = append(es, element{s / float32(n), int32(r*p.K + j)})
		}
	}
	slices.SortFunc(es, func(a, b element) int {
		if c := cmp.Compare(a.loss, b.loss); c != 0 {
			return c
		}
		return cmp.Compare(a.at, b.at)
	})
	for _, e := range es {
		if gone >= drop {
			break
		}
		r := int(e.at) / p.K
		for i := r; i < min(p.N, r+rows); i++ {
			if k := i*p.K + int(e.at)%p.K; stay[k] {
				stay[k] = false
				gone++
			}
		}
	}
	return gone
}

// nOfM chooses which of the M columns from j on stay.
func nOfM(w, u []float32, k int, stay []bool, pt Pattern, j int) {
	end := min(k, j+pt.M)
	n := ((end-j)*pt.N + pt.M - 1) / pt.M
	for {
		left, worst, least := 0, -1, float32(0)
		for i := j; i < end; i++ {
			if !stay[i] {
				continue
			}
			left++
			v := w[i] / u[i*k+i]
			if v *= v; worst < 0 || v < least {
				worst, least = i, v
			}
		}
		if left <= n {
			return
		}
		stay[worst] = false
	}
}

func narrow(x []float64) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	return y
}
