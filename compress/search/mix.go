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
	r    *runner
	t    *table
	mult []float64
	seen map[string]*trial
	best *trial
}

// mix holds every layer in the way that suits it best: a table of what each way costs and how
// far it takes the outputs, the best choice within a budget by dynamic programming, the smallest
// budget that keeps the promise by bisection on choices put together and measured; then the
// layers' multipliers (what a layer does together with the others, by what it does alone) are
// corrected and pairs of layers swap what they have, until nothing improves or the time is over.
// The best choices are then made anew by the steps that a recipe holds, and repaired.
func (r *runner) mix(ctx context.Context, base *method.State, steps []method.Step, name string) error {
	if fold := (method.Step{Method: "fold", Set: map[string]any{}}); hasNorms(base.Graph) {
		base = base.Clone()
		if err := base.Step(ctx, fold, Methods); err != nil {
			return err
		}
		steps = append(slices.Clone(steps), fold)
	}
	r.until(0.35)
	t, err := r.tabulate(ctx, base)
	if err != nil {
		return err
	}
	m := &mixer{r: r, t: t, mult: make([]float64, len(t.ways)), seen: map[string]*trial{}}
	for i := range m.mult {
		m.mult[i] = 1
	}
	most := t.most()
	if r.o.Target > 0 && math.IsInf(r.o.MaxDrop, 1) {
		return m.within(ctx, steps, name)
	}
	defer func() {
		m.front(steps)
		if m.best != nil {
			r.f.Table = t.rows(m.best.pick)
		}
	}()
	r.until(0.55)
	err = m.bisect(ctx, most)
	if err == nil && m.best != nil {
		if err = m.refine(ctx); err == nil {
			err = m.swap(ctx)
		}
	}
	if m.best == nil {
		return err
	}
	if errors.Is(err, context.Canceled) { // what was found is made all the same
		if e := m.finish(context.WithoutCancel(ctx), steps, name, true); e != nil {
			return e
		}
	}
	if err != nil {
		return err
	}
	r.until(0.7)
	if err := m.finish(ctx, steps, name, false); err != nil {
		return err
	}
	r.until(1)
	return m.levels(ctx, steps)
}

// fewWeights is how many weights a model may have for levels to be chosen one by one, again and again.
const fewWeights = 4 << 20

// levels lets rdo choose every level by the bytes it costs, after pruning as the best mix prunes and without,
// and looks for the largest lambda that keeps the promise.
func (m *mixer) levels(ctx context.Context, steps []method.Step) error {
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
		_, ok, err := m.r.tryAll(ctx, fmt.Sprintf("levels by bytes, lambda %.2g", lambda), base, len(from), append(slices.Clone(from), st))
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

func hasNorms(g *graph.Graph) bool {
	return slices.ContainsFunc(g.Nodes, func(n *graph.Node) bool { return n.Domain == "" && n.Op == "BatchNormalization" })
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
	x.ok = m.r.holds(Candidate{Eval: e, Drop: m.r.base.Value - e.Value})
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
		if hi < lo*1.01 || m.r.late("looking for a mix") {
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

// front adds what was put together, and nothing else beats in bytes and metric both, to the
// candidates.
func (m *mixer) front(steps []method.Step) {
	var all []*trial
	for _, x := range m.seen {
		all = append(all, x)
	}
	slices.SortFunc(all, func(a, b *trial) int {
		return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(b.eval.Value, a.eval.Value), slices.Compare(a.pick, b.pick))
	})
	top := math.Inf(-1)
	for _, x := range all {
		if x.eval.Value > top {
			top = x.eval.Value
			m.r.f.Candidates = append(m.r.f.Candidates, Candidate{Name: fmt.Sprintf("mix of %d bytes, not written", m.t.rest+x.cost), Bytes: m.t.rest + x.cost,
				Eval: x.eval, Drop: m.r.base.Value - x.eval.Value, Steps: append(slices.Clone(steps), m.t.steps(x.pick)...)})
		}
	}
}

// repairs are the methods that follow a choice, each with its own defaults.
var repairs = []string{"refit", "adaround", "correct", "blockwise"}

// finish makes the best choice by its steps and, unless in a hurry, smaller ones as long as repair
// lets them keep the promise.
func (m *mixer) finish(ctx context.Context, steps []method.Step, name string, hurry bool) error {
	made := func(pick []int, what string, more ...method.Step) (bool, error) {
		all := append(append(slices.Clone(steps), m.t.steps(pick)...), more...)
		_, ok, err := m.r.tryAll(ctx, what, m.t.base, len(steps), all)
		return ok, err
	}
	if name != "" {
		name += ", "
	}
	name += "a mix of ways"
	// What is put together and what the steps make may differ: a dearer choice then.
	f := allocate(m.t.options(m.mult), m.t.most(), nil)
	pick := m.best.pick
	for k := range 5 {
		if k > 0 {
			if pick = f.within(int64(float64(m.best.cost) * math.Pow(1.1, float64(k)))); pick == nil {
				break
			}
		}
		ok, err := made(pick, name)
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
			ok, err := made(pick, fmt.Sprintf("%s, %s", name, fix), method.Step{Method: fix, Set: map[string]any{}})
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

// within makes the choice that is nearest to the float model within the target size.
func (m *mixer) within(ctx context.Context, steps []method.Step, name string) error {
	f := allocate(m.t.options(m.mult), m.t.most(), nil)
	for _, q := range []float64{1, 0.99, 0.97, 0.93, 0.85} {
		pick := f.within(int64(q * float64(m.r.o.Target-m.t.rest)))
		if pick == nil {
			break
		}
		all := append(slices.Clone(steps), m.t.steps(pick)...)
		if _, _, err := m.r.tryAll(ctx, "the best mix within the size", m.t.base, len(steps), all); err != nil {
			return err
		}
		if c := m.r.f.Candidates[len(m.r.f.Candidates)-1]; c.Bytes <= m.r.o.Target {
			return nil
		}
	}
	return nil
}
