package search

import "math"

// option is one way to hold a layer: what it costs (bytes or nanoseconds) and how far it takes
// the outputs from the float model's. Kind is what the layer reads and writes (float or
// integers, an order of pixels): a change between layers that follow each other costs too.
type option struct {
	cost int64
	far  float64
	kind int
}

// buckets is how finely a budget is cut.
const buckets = 2048

// front holds, for every budget from the least on, the choice whose distances sum to the least.
type front struct {
	rows   [][]option
	low    []int64 // the cheapest of each row
	least  int64   // the cheapest of all, changes of kind left out
	unit   int64   // of a bucket
	change func(i, a, j int) int64
	kinds  int
	far    [][]float64 // [kind][bucket], of whole choices
	from   [][][]int16 // [row][kind][bucket]: option*kinds + kind before, or -1
}

// allocate solves the multiple-choice knapsack by dynamic programming over budgets up to most:
// one option a row, distances add up. change is what option j of row i costs more where the row before
// is of kind a, at least nothing; nil: nothing. The state is the kind and the cost so far.
func allocate(rows [][]option, most int64, change func(i, a, j int) int64) *front {
	f := &front{rows: rows, low: make([]int64, len(rows)), change: change, kinds: 1}
	for i, r := range rows {
		f.low[i] = math.MaxInt64
		for _, o := range r {
			f.low[i] = min(f.low[i], o.cost)
			f.kinds = max(f.kinds, o.kind+1)
		}
		f.least += f.low[i]
	}
	f.unit = max(1, (most-f.least+buckets-1)/buckets)
	inf := math.Inf(1)
	f.far = make([][]float64, f.kinds)
	for k := range f.far {
		f.far[k] = make([]float64, buckets+1)
		if k > 0 { // the model's input is a float image
			for b := range f.far[k] {
				f.far[k][b] = inf
			}
		}
	}
	for i, r := range rows {
		next := make([][]float64, f.kinds)
		from := make([][]int16, f.kinds)
		for k := range next {
			next[k], from[k] = make([]float64, buckets+1), make([]int16, buckets+1)
			for b := range next[k] {
				next[k][b], from[k][b] = inf, -1
			}
		}
		for j, o := range r {
			for k := range f.kinds {
				step := f.step(i, j, k)
				for b := step; b <= buckets; b++ {
					if d := f.far[k][b-step] + o.far; d < next[o.kind][b] {
						next[o.kind][b], from[o.kind][b] = d, int16(j*f.kinds+k)
					}
				}
			}
		}
		f.far, f.from = next, append(f.from, from)
	}
	return f
}

// within is the best choice that costs at most budget: the options' indices, by row; nil where
// there is none.
func (f *front) within(budget int64) []int {
	b := int(min((budget-f.least)/f.unit, buckets))
	if budget < f.least {
		return nil
	}
	k := 0
	for i := range f.far {
		if f.far[i][b] < f.far[k][b] {
			k = i
		}
	}
	if math.IsInf(f.far[k][b], 1) {
		return nil
	}
	pick := make([]int, len(f.rows))
	for i := len(f.rows) - 1; i >= 0; i-- {
		c := int(f.from[i][k][b])
		pick[i], k = c/f.kinds, c%f.kinds
		b -= f.step(i, pick[i], k)
	}
	return pick
}

// cheapest is the smallest budget within which there is a choice, and that choice.
func (f *front) cheapest() (budget int64, pick []int) {
	for b := range int64(buckets + 1) {
		if pick = f.within(f.least + b*f.unit); pick != nil {
			return f.least + b*f.unit, pick
		}
	}
	return 0, nil
}

// step is how many buckets option j of row i takes after kind k; it is rounded up, so that no
// budget is passed.
func (f *front) step(i, j, k int) int {
	o := f.rows[i][j]
	c := o.cost - f.low[i]
	if f.change != nil {
		c += f.change(i, k, j)
	}
	return int((c + f.unit - 1) / f.unit)
}

// cost is what a choice costs, changes of kind included.
func (f *front) cost(pick []int) (c int64) {
	k := 0
	for i, j := range pick {
		o := f.rows[i][j]
		c += o.cost
		if f.change != nil {
			c += f.change(i, k, j)
		}
		k = o.kind
	}
	return c
}
