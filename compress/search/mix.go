package search

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"whit/compress/method"
	"whit/graph"
)

// trial is a choice that was put together and measured on the whole choice split.
type trial struct {
	pick []int
	cost int64 // of the layers
	eval method.Eval
	ok   bool // it keeps the promise
}

// mixer looks for the cheapest choice of a table that keeps the promise.
type mixer struct {
	r     *runner
	t     *table
	steps []method.Step // that made the table's base
	name  string        // of what they made
	mult  []float64
	seen  map[string]*trial
	best  *trial
}

// mix holds every layer in the way that suits it best: a table of what each way costs and how
// far it takes the outputs, the best choice within a budget by dynamic programming, the smallest
// budget that keeps the promise by bisection on choices put together and measured; then the
// layers' multipliers (what a layer does together with the others, by what it does alone) are
// corrected and pairs of layers swap what they have, until nothing improves or the time is over.
// Where one knapsack over ways and channels says that removing some is worth more than ways are, the same is done without them.
// The best choices are then made anew by the steps that a recipe holds, and repaired.
func (r *runner) mix(ctx context.Context) error {
	base, steps, err := r.thin(ctx)
	if errors.Is(err, errLate) {
		return nil
	}
	if err != nil {
		return err
	}
	nearest := r.sized()
	share := 0.3
	if nearest { // little else is done
		share = 0.8
	}
	r.until(share)
	m, err := r.mixer(ctx, base, steps, "")
	if err != nil {
		return err
	}
	if nearest {
		return m.nearest(ctx)
	}
	r.until(0.42)
	err = m.look(ctx)
	// Training goes further than what follows.
	enough := r.trains && !r.o.Deadline.IsZero() && err == nil && m.best != nil && !crowded(m.bytes(), base.Weights())
	all := []*mixer{m} // what is likely to be the best first
	if err == nil && m.best != nil && !enough {
		t, e := m.thinned(ctx, m.best.pick, 0)
		if err = e; t != nil {
			r.until(0.68)
			err = t.look(ctx)
			if t.best != nil {
				all = append(all, t)
			}
			if t.bytes() > 0 && t.bytes() < m.bytes() {
				all[0], all[1] = t, m
			}
		}
	}
	if m = all[0]; m.best == nil {
		return err
	}
	defer func() { r.f.Table = m.t.rows(m.best.pick) }()
	if errors.Is(err, context.Canceled) { // what was found is made all the same
		if e := m.finish(context.WithoutCancel(ctx), true); e != nil {
			return e
		}
	}
	if err != nil {
		return err
	}
	r.until(0.78)
	if err := m.finish(ctx, enough); err != nil || enough {
		return err
	}
	for i, x := range all {
		r.until(1 - 0.1*float64(len(all)-1-i))
		if err := x.levels(ctx); err != nil {
			return err
		}
	}
	for _, x := range all {
		if err := x.front(ctx); err != nil {
			return err
		}
	}
	return nil
}

// fold is done of every model that has norms; no choice of methods is asked.
var fold = method.Step{Method: "fold", Set: map[string]any{}}

// unfolded is done of what trains levels.
var unfolded = method.Step{Method: "unfold", Set: map[string]any{}}

// thin is the model as it came, its BatchNormalization folded, without the channels that have to go for it to be as fast as is asked for, and
// the steps that made it.
func (r *runner) thin(ctx context.Context) (*method.State, []method.Step, error) {
	var steps []method.Step
	if hasNorms(r.start.Graph) {
		steps = append(steps, fold)
	}
	if steps = slices.Concat(steps, r.slim); len(steps) == 0 {
		return r.start, nil, nil
	}
	base := r.start.Clone()
	return base, steps, r.apply(ctx, "fewer channels", base, steps)
}

// mixer makes the table of a model, which steps made.
func (r *runner) mixer(ctx context.Context, base *method.State, steps []method.Step, name string) (*mixer, error) {
	t, err := r.tabulate(ctx, base)
	if err != nil {
		return nil, err
	}
	m := &mixer{r: r, t: t, steps: steps, name: name, mult: ones(len(t.ways)), seen: map[string]*trial{}}
	return m, nil
}

// look looks for the cheapest choice that keeps the promise.
func (m *mixer) look(ctx context.Context) error {
	err := m.bisect(ctx, m.t.most())
	if err == nil && m.best != nil {
		if err = m.refine(ctx); err == nil {
			err = m.swap(ctx)
		}
	}
	return err
}

// worth is by how much removing channels must do better by the table, bytes or distance, to be tried: a share.
const worth = 0.97

// thinned is the mixer of the model with channels removed, where one knapsack over ways and cuts says that fewer bytes than pick's are
// as near to the float model; or, where layers have a budget of bytes, that what keeps to it is nearer, or there at all. Else nil.
func (m *mixer) thinned(ctx context.Context, pick []int, budget int64) (*mixer, error) {
	r, layers := m.r, m.t.base.Layers
	r.until(0.52)
	x := &thinning{base: m.t.base, images: looked(m.t.base)}
	if err := x.pace(ctx, r, len(layers)*len(cutOrder), len(layers)*roughCuts); err != nil {
		return nil, err
	}
	if err := x.tabulate(ctx, r); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r.refuse("removing channels", err.Error())
		return nil, nil
	}
	type held struct{ way, level int }
	at, rows := make([][]held, len(layers)), make([][]option, len(layers))
	for i, ws := range m.t.ways {
		for _, v := range x.levels(i) {
			o := option{cost: -int64(x.saved(i, v, func(k int) float64 { return float64(m.t.ways[k][pick[k]].cost) })), kind: v}
			for j, w := range ws {
				if o.far = m.mult[i] * w.far; v > 0 {
					o.far += x.far[i][v]
				}
				rows[i], at[i] = append(rows[i], o), append(at[i], held{j, v})
			}
		}
	}
	cost, far := m.t.cost(pick), 0.0
	for i, j := range pick {
		far += m.mult[i] * m.t.ways[i][j].far
	}
	f := allocate(rows, max(cost, budget), func(i, before, j int) int64 {
		h := at[i][j]
		return int64(float64(m.t.ways[i][h.way].cost) * x.share(i, h.level, before))
	})
	sum := func(p []int) (d float64) {
		for i, j := range p {
			d += rows[i][j].far
		}
		return d
	}
	best := f.within(cmp.Or(budget, cost))
	switch {
	case budget > 0 && best == nil:
		_, best = f.cheapest()
	case best == nil || budget >= cost && sum(best) > worth*far:
		return nil, nil
	}
	for lo, hi := f.least, cost; budget == 0 && hi-lo > f.unit; {
		mid := lo + (hi-lo)/2
		if p := f.within(mid); p != nil && sum(p) <= far {
			best, hi = p, mid
		} else {
			lo = mid
		}
	}
	levels, gone, bytes := map[int]int{}, 0, 0.0
	for i, j := range best {
		h := at[i][j]
		levels[i] = h.level
		gone += h.level
		bytes += float64(m.t.ways[i][h.way].cost) * x.left(i, func(g int) int { return at[g][best[g]].level })
	}
	m.t.base.Tell(method.Event{Stage: "mix", Message: fmt.Sprintf("%.0f bytes of layers with channels removed, %d without, are as near", bytes, cost)})
	if gone == 0 || budget == 0 && bytes > worth*float64(cost) {
		return nil, nil
	}
	st := x.removal("reconstruct", levels)
	base := m.t.base.Clone()
	base.Choice = some(base.Choice, 1) // it measures what it made; nobody asks
	if err := base.Step(ctx, st, Methods); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r.refuse("removing channels", err.Error())
		return nil, nil
	}
	base.Choice = m.t.base.Choice
	r.until(0.6)
	return r.mixer(ctx, base, append(slices.Clone(m.steps), st), "channels removed, ")
}

// fewWeights is how many weights a model may have for levels to be chosen one by one, again and again.
const fewWeights = 4 << 20

// levels lets rdo choose every level by the bytes it costs, after pruning as the best mix prunes and without,
// and looks for the largest lambda that keeps the promise.
func (m *mixer) levels(ctx context.Context) error {
	steps := m.steps
	if find("rdo") == nil || !m.r.may("rdo") || m.t.base.Weights() > fewWeights {
		return nil
	}
	if err := m.lambda(ctx, m.t.base, steps, 3e-5); err != nil {
		return err
	}
	// Pruned, but only as far as leaves half of the promise to the levels.
	for relax := 1.0; relax < 4; relax *= 1.7 {
		if m.r.late("levels chosen one by one") {
			return nil
		}
		from := slices.Clone(steps)
		for i, j := range m.best.pick {
			if w := m.t.ways[i][j]; w.step.Method == "obs" {
				layer := m.t.base.Layers[i].Name
				share, _ := w.step.Set["sparsity"].(method.LayerValues).For(layer)
				share = math.Round(1e3*(1-(1-share)*relax)) / 1e3
				if share > 0 {
					from = append(from, method.Step{Method: "obs", Set: map[string]any{"layers": layer, "sparsity": method.Uniform(share)}})
				}
			}
		}
		if len(from) == len(steps) {
			return nil
		}
		from = append(from, m.r.fixes([]string{"refit"})...)
		base := m.t.base.Clone()
		for _, st := range from[len(steps):] {
			if err := base.Step(ctx, st, Methods); err != nil {
				return err
			}
		}
		e, err := base.Measure(ctx, base.Graph)
		if err != nil {
			return err
		}
		if m.r.holds(Candidate{Eval: e, Drop: 2 * (m.r.base.Value - e.Value)}) {
			return m.lambda(ctx, base, from, 1e-5)
		}
	}
	return nil
}

// lambda looks for the largest lambda of rdo that keeps the promise, on base, which has been through from.
func (m *mixer) lambda(ctx context.Context, base *method.State, from []method.Step, lambda float64) error {
	holds, fails := 0.0, math.Inf(1) // the largest that does, the smallest that does not
	for k := 0; k < 6 && !m.r.late("levels chosen one by one"); k++ {
		st := method.Step{Method: "rdo", Set: map[string]any{"lambda": math.Round(lambda*1e10) / 1e10}}
		_, ok, err := m.r.tryAll(ctx, fmt.Sprintf("%slevels by bytes, lambda %.2g", m.name, lambda), base, len(from), slices.Concat(from, []method.Step{st}, m.r.last()))
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			m.r.refuse("levels chosen one by one", err.Error())
			return nil
		}
		if ok {
			holds = max(holds, lambda)
		} else {
			fails = min(fails, lambda)
		}
		switch {
		case holds == 0:
			lambda = fails / 4
		case math.IsInf(fails, 1):
			lambda = 4 * holds
		default:
			lambda = math.Sqrt(holds * fails)
		}
	}
	return nil
}

func hasNorms(g *graph.Graph) bool { return count(g, "BatchNormalization") > 0 }

// count is how many nodes of ONNX's operator op there are.
func count(g *graph.Graph, op string) (n int) {
	for _, x := range g.Nodes {
		if x.Domain == "" && x.Op == op {
			n++
		}
	}
	return n
}

// try measures a choice, once.
func (m *mixer) try(ctx context.Context, pick []int) (*trial, error) {
	key := fmt.Sprint(pick)
	if x := m.seen[key]; x != nil {
		return x, nil
	}
	s, err := m.t.stitch(ctx, pick)
	if err != nil {
		return nil, err
	}
	e, err := s.Measure(ctx, s.Graph)
	if err != nil {
		return nil, err
	}
	x := &trial{pick: slices.Clone(pick), cost: m.t.cost(pick), eval: e}
	x.ok = m.r.holds(Candidate{Eval: e, Drop: m.r.base.Value - e.Value + m.r.reserve})
	m.seen[key] = x
	if x.ok && (m.best == nil || x.cost < m.best.cost) {
		m.best = x
	}
	s.Tell(method.Event{Stage: "mix", Message: fmt.Sprintf("%d choices, %d bytes the best", len(m.seen), m.bytes())})
	return x, nil
}

func (m *mixer) bytes() int64 {
	if m.best == nil {
		return 0
	}
	return m.t.rest + m.best.cost
}

// bisect looks for the smallest budget whose best choice keeps the promise.
func (m *mixer) bisect(ctx context.Context, most int64) error {
	f := allocate(m.t.options(m.mult), most, nil)
	lo, hi := float64(max(1, f.least)), float64(most)
	if m.best != nil {
		hi = float64(m.best.cost)
	}
	for range 12 {
		if hi < lo*1.01 || m.r.late("looking for a mix") && (m.best != nil || m.r.over()) { // as long as nothing holds, all the time there is
			return nil
		}
		mid := math.Sqrt(lo * hi)
		if hi < 8*lo && f.unit > int64(mid/200) { // finer, around what is left
			f = allocate(m.t.options(m.mult), int64(hi), nil)
		}
		pick := f.within(int64(mid))
		if pick == nil {
			lo = mid
			continue
		}
		x, err := m.try(ctx, pick)
		if err != nil {
			return err
		}
		if x.ok {
			hi = math.Min(mid, float64(x.cost))
		} else {
			lo = mid
		}
	}
	return nil
}

// refine corrects the layers' multipliers from what the best choice does when one layer at a
// time is held better, and looks again.
func (m *mixer) refine(ctx context.Context) error {
	for range 3 {
		was := m.best
		// The layers that the table blames most.
		order := make([]int, len(was.pick))
		far := func(i int) float64 { return m.mult[i] * m.t.ways[i][was.pick[i]].far }
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int {
			switch x, y := far(a), far(b); {
			case x > y:
				return -1
			case x < y:
				return 1
			}
			return 0
		})
		for _, i := range order[:min(len(order), 12)] {
			if m.r.late("correcting the table") {
				return nil
			}
			alone := m.t.ways[i][was.pick[i]].far
			if alone <= 0 {
				continue
			}
			p := slices.Clone(was.pick)
			p[i] = 0
			x, err := m.try(ctx, p)
			if err != nil {
				return err
			}
			m.mult[i] = min(max((was.eval.Far-x.eval.Far)/alone, 0.1), 10)
		}
		if err := m.bisect(ctx, was.cost); err != nil {
			return err
		}
		if float64(m.best.cost) > 0.995*float64(was.cost) {
			return nil
		}
	}
	return nil
}

// fruitless is how many swaps in a row may bring nothing.
const fruitless = 24

// swap lets pairs of layers change what they have: one is held cheaper, another perhaps better.
func (m *mixer) swap(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(m.t.base.Seed, 0x73776170))
	for n := 0; n < fruitless; n++ {
		if m.r.late("swapping") {
			return nil
		}
		was := m.best
		p := slices.Clone(was.pick)
		i, j := rng.IntN(len(p)), rng.IntN(len(p))
		p[i] = m.neighbour(i, p[i], false)
		if i != j {
			p[j] = m.neighbour(j, p[j], true)
		}
		if m.t.cost(p) >= was.cost || m.seen[fmt.Sprint(p)] != nil {
			continue
		}
		if _, err := m.try(ctx, p); err != nil {
			return err
		}
		if m.best != was {
			n = 0
		}
	}
	return nil
}

// neighbour is the way of layer i that is next to j in cost: dearer and nearer to the float
// model, or cheaper; j where there is none.
func (m *mixer) neighbour(i, j int, dearer bool) int {
	ws, at := m.t.ways[i], j
	for k, w := range ws {
		switch {
		case dearer && w.cost > ws[j].cost && w.far < ws[j].far && (at == j || w.cost < ws[at].cost):
			at = k
		case !dearer && w.cost < ws[j].cost && (at == j || w.cost > ws[at].cost):
			at = k
		}
	}
	return at
}

// fronted is how many of the choices that were put together, and nothing else beats in bytes and metric both, are made.
const fronted = 4

// front makes some of the choices that were put together and nothing else beats in bytes and metric both, so that
// the candidates show what other promises would have given, and any of them can be had by its steps.
func (m *mixer) front(ctx context.Context) error {
	var all, top []*trial
	for _, x := range m.seen {
		all = append(all, x)
	}
	slices.SortFunc(all, func(a, b *trial) int {
		return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(b.eval.Value, a.eval.Value), slices.Compare(a.pick, b.pick))
	})
	most := math.Inf(-1)
	for _, x := range all {
		if x.eval.Value > most {
			top, most = append(top, x), x.eval.Value
		}
	}
	for k := range min(fronted, len(top)) {
		x := top[k*(len(top)-1)/max(1, min(fronted, len(top))-1)]
		if x == m.best || m.r.late("other points of the front") {
			continue
		}
		if _, err := m.made(ctx, m.name+"a mix of ways, another promise", x.pick); err != nil {
			return err
		}
	}
	return nil
}

// made makes a choice by its steps, and more.
func (m *mixer) made(ctx context.Context, what string, pick []int, more ...method.Step) (bool, error) {
	all := slices.Concat(m.steps, m.t.steps(pick), more, m.r.last())
	_, ok, err := m.r.tryAll(ctx, what, m.t.base, len(m.steps), all)
	if err != nil && ctx.Err() == nil && len(m.r.ints) > 0 {
		m.r.refuse(what, err.Error())
		return false, nil
	}
	return ok, err
}

// repairs are the methods that follow a choice, each with its own defaults.
var repairs = []string{"refit", "adaround", "correct", "blockwise"}

// finish makes the best choice by its steps and, unless in a hurry, smaller ones as long as repair
// lets them keep the promise.
func (m *mixer) finish(ctx context.Context, hurry bool) error {
	name := m.name + "a mix of ways"
	// What is put together and what the steps make may differ: a dearer choice then.
	f := allocate(m.t.options(m.mult), m.t.most(), nil)
	pick, dearer := m.best.pick, 1.1
	if len(m.r.ints) > 0 { // which always differ
		dearer = 1.04
	}
	for k := range 5 {
		if k > 0 {
			if pick = f.within(int64(float64(m.best.cost) * math.Pow(dearer, float64(k)))); pick == nil {
				break
			}
		}
		ok, err := m.made(ctx, name, pick)
		if err != nil {
			return err
		}
		if ok {
			break
		}
		if m.r.late("a dearer mix") {
			return nil
		}
	}
	if hurry {
		return nil
	}
	for _, fix := range repairs {
		if find(fix) == nil || !m.r.may(fix) {
			continue
		}
		failed := 0
		if fix == "blockwise" { // gradients take their time
			failed = 1
			if m.t.base.Weights() > fewWeights {
				continue
			}
		}
		for q := 0.94; failed < 2 && q > 0.4; q *= 0.94 {
			pick := f.within(int64(q * float64(m.best.cost)))
			if pick == nil || m.r.late("repairing a smaller mix") {
				break
			}
			ok, err := m.made(ctx, fmt.Sprintf("%s, %s", name, fix), pick, method.Step{Method: fix, Set: map[string]any{}})
			if err != nil {
				return err
			}
			if !ok {
				failed++
			}
		}
	}
	return nil
}

// nearest makes the choice that is nearest to the float model within the target size, and that of the model without some of its
// channels where that is promising.
func (m *mixer) nearest(ctx context.Context) error {
	pick, err := m.within(ctx)
	if pick == nil || err != nil || m.r.late("removing channels") {
		return err
	}
	t, err := m.thinned(ctx, pick, max(1, m.r.o.Target-m.t.rest))
	if t == nil || err != nil {
		return err
	}
	m.r.until(1)
	_, err = t.within(ctx)
	return err
}

// within makes the choice that is nearest to the float model within the target size; where that is too small for any, the smallest.
func (m *mixer) within(ctx context.Context) (pick []int, err error) {
	f := allocate(m.t.options(m.mult), m.t.most(), nil)
	for left := m.r.o.Target - m.t.rest; ; {
		if pick = f.within(left); pick == nil {
			_, pick = f.cheapest()
			left = f.least
		}
		if _, err := m.made(ctx, m.name+"the best mix within the size", pick); err != nil {
			return nil, err
		}
		over := m.r.f.Candidates[len(m.r.f.Candidates)-1].Bytes - m.r.o.Target
		if over <= 0 || left <= f.least {
			return pick, nil
		}
		left = min(left, f.cost(pick)) - over - m.r.o.Target/1000
	}
}
