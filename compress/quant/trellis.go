package quant

import (
	"math"

	"whit/entropy"
)

const (
	minTrellis   = 8   // the columns from which weights have dependent levels: a row begins anew
	trellisAhead = 20  // weights that are open: of 8 the error is 0.3 dB larger
	trellisWide  = 512 // and those with the zeros between them
	trellisSize  = 8   // states

	// The step of a dependent quantiser, of that of one scale. Half of a scale that is 0.99 dB coarser has the same error, 0.56; at
	// low rates larger ones are better.
	dependentStep = 0.6
)

// path is the best way into a state: the open weights' levels, and what they move by.
type path struct {
	cost   float64
	levels [trellisAhead + 1]int32
	moves  [trellisAhead + 1]float64
}

// trellis chooses the levels of a dependent quantiser (see [entropy.NextState]), as walk does those of one scale, and returns
// their bits. Of each of the eight states the best path is kept (A. J. Viterbi: Error bounds for convolutional codes and an
// asymptotically optimum decoding algorithm, 1967); a level is settled trellisAhead weights later. What open weights do to each
// other's gradients is counted on every path. Prices are the coder's after the best path of the same scale, with what it has
// learned of settled levels.
func (q *rounded) trellis(cost *entropy.Cost, lambda, shrink float64) (bits float64) {
	t := &trellis{q: q, cost: cost, x: q.h.Data(), lambda: lambda, shrink: shrink}
	for r := range q.rows {
		q.j.begin(r)
		t.begin()
		for i := r * q.cols; i < (r+1)*q.cols; i++ {
			if t.n == 0 && q.fixed[i] {
				t.skip(i)
				continue
			}
			t.extend(i)
			for t.free > trellisAhead || t.n == trellisWide || t.n > 0 && q.fixed[t.first] {
				t.settle()
			}
		}
		for t.n > 0 {
			t.settle()
		}
		q.j.end(r)
	}
	return t.bits
}

type trellis struct {
	q              *rounded
	cost           *entropy.Cost
	x              []float32
	lambda, shrink float64
	bits           float64
	paths, next    [trellisSize]path
	first, n       int // the open elements
	state          int // before them
	free           int // those of them that are not fixed
	open           [trellisAhead + 1]int
	pairs          [trellisAhead + 1]float64
	syms           [trellisWide]int32
}

// begin begins a row.
func (t *trellis) begin() {
	for s := range t.paths {
		t.paths[s].cost = math.Inf(1)
	}
	t.paths[0].cost = 0
	t.n, t.free, t.state = 0, 0, 0
}

// skip takes the zero i where nothing is open: the one path goes on.
func (t *trellis) skip(i int) {
	p := t.paths[t.state]
	t.paths[t.state].cost = math.Inf(1)
	t.state = entropy.NextState(t.state, 0)
	t.paths[t.state] = p
	t.q.levels[i] = 0
	t.bits += t.cost.Take(0)
}

// best is the state of the best path of those with the scale, of all where it is negative.
func (t *trellis) best(scale int) int {
	best := -1
	for s := range t.paths {
		if (scale < 0 || s&1 == scale) && (best < 0 || t.paths[s].cost < t.paths[best].cost) {
			best = s
		}
	}
	return best
}

// extend extends all paths by element i.
func (t *trellis) extend(i int) {
	q := t.q
	if t.n == 0 {
		t.first = i
	}
	for s := range t.next {
		t.next[s].cost = math.Inf(1)
	}
	from, level, move := [trellisSize]int{}, [trellisSize]int32{}, [trellisSize]float64{}
	var h, g float64
	w, x, step := float64(q.float[i]), float64(t.x[i]), q.unit(i)
	fixed := q.fixed[i]
	if !fixed {
		h = q.j.norm(i)
		g = (1 - t.shrink) * (q.j.grad(i) - float64(h*(x-w)))
		for k, e := range t.open[:t.free] {
			t.pairs[k] = (1 - t.shrink) * q.j.pair(e, i)
		}
	}
	for scale := range 2 {
		b := t.best(scale)
		if math.IsInf(t.paths[b].cost, 1) {
			continue
		}
		t.cost.Ahead(t.after(&t.paths[b]), b)
		var known [8]struct {
			level int32
			bits  float64
		}
		n := 0
		price := func(l int32) float64 {
			for _, k := range known[:n] {
				if k.level == l {
					return k.bits
				}
			}
			bits := t.lambda * t.cost.Bits(l)
			if n < len(known) {
				known[n].level, known[n].bits = l, bits
				n++
			}
			return bits
		}
		for s := scale; s < trellisSize; s += 2 {
			p := &t.paths[s]
			if math.IsInf(p.cost, 1) {
				continue
			}
			try := func(l int32) {
				v := float64(float32(entropy.LevelValue(s, l)) * float32(step))
				d := v - w
				c := p.cost + price(l)
				if !fixed {
					c += float64(h*d*d)/2 + float64(t.grad(g, p)*d)
				}
				if to := entropy.NextState(s, l); c < t.next[to].cost {
					t.next[to].cost, from[to], level[to], move[to] = c, s, l, v-x
				}
			}
			try(0)
			if fixed {
				continue
			}
			at := w / step
			if h > 0 {
				at -= t.grad(g, p) / h / step
			}
			at = min(max(at, -125), 125)
			// The two values of the scale around it, and one further towards zero.
			lo := int32(2*math.Floor((at+float64(scale))/2)) - int32(scale)
			inner := max(lo-2, 0)
			if lo < 0 {
				inner = min(lo+4, 0)
			}
			for _, v := range [...]int32{lo, lo + 2, inner} {
				if l, ok := entropy.ValueLevel(s, v); ok && l != 0 {
					try(l)
				}
			}
		}
	}
	low := math.Inf(1)
	for s := range t.next {
		low = min(low, t.next[s].cost)
	}
	for s := range t.next {
		p := &t.next[s]
		if math.IsInf(p.cost, 1) {
			continue
		}
		old := &t.paths[from[s]]
		p.cost -= low
		copy(p.levels[:t.free], old.levels[:t.free])
		copy(p.moves[:t.free], old.moves[:t.free])
		if !fixed {
			p.levels[t.free], p.moves[t.free] = level[s], move[s]
		}
	}
	t.paths, t.next = t.next, t.paths
	t.n++
	if !fixed {
		t.open[t.free] = i
		t.free++
	}
}

// after is the open elements' levels on a path.
func (t *trellis) after(p *path) []int32 {
	syms := t.syms[:t.n]
	clear(syms)
	for k, i := range t.open[:t.free] {
		syms[i-t.first] = p.levels[k]
	}
	return syms
}

// grad is the gradient of the next element on a path, g where the open elements have not moved.
func (t *trellis) grad(g float64, p *path) float64 {
	for k, c := range t.pairs[:t.free] {
		g += float64(c * p.moves[k])
	}
	return g
}

// settle takes the first open element from the best path and ends those that have another level there.
func (t *trellis) settle() {
	q, i, l := t.q, t.first, int32(0)
	t.first++
	t.n--
	if !q.fixed[i] {
		l = t.paths[t.best(-1)].levels[0]
		t.free--
		copy(t.open[:t.free], t.open[1:])
		for s := range t.paths {
			p := &t.paths[s]
			if p.levels[0] != l {
				p.cost = math.Inf(1)
			}
			copy(p.levels[:t.free], p.levels[1:])
			copy(p.moves[:t.free], p.moves[1:])
		}
	}
	q.levels[i] = entropy.LevelValue(t.state, l)
	t.state = entropy.NextState(t.state, l)
	t.bits += t.cost.Take(l)
	if v := q.value(i, q.levels[i]); v != t.x[i] {
		q.j.move(i, v-t.x[i])
	}
}
