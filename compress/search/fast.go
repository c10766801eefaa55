package search

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"whit/compress/method"
)

// attempt is a list of steps that was made, measured and timed.
type attempt struct {
	name  string
	steps []method.Step
	state *method.State
	c     Candidate
	ok    bool
}

// fast looks for the fastest model that keeps the promise, or the best one that is fast
// enough: integers, with the layers that bear them least left float; then channels, blocks of weights and integers layer by layer
// (shaped), or, of large models, blocks of weights pruned, channels removed, by one share of all layers, and these on integers. Every candidate is timed on the engine that ships, in
// turn with the model as it came.
func (r *runner) fast(ctx context.Context) error {
	var best []*attempt // that hold
	add := func(a *attempt, err error) error {
		if a != nil && a.ok {
			best = append(best, a)
		}
		return err
	}
	if err := add(r.integers(ctx, "", nil)); err != nil {
		return err
	}
	if len(best) > 0 && r.quick(best[0].c) {
		return r.lightest(ctx, best)
	}
	if r.start.Weights() <= fewWeights { // tables of every layer and share take their time
		all, err := r.shaped(ctx)
		if err != nil {
			return err
		}
		if best = append(best, all...); len(all) > 0 {
			return r.lightest(ctx, best)
		}
	}
	for _, kind := range []struct {
		what, method string
		levels       []float64
		set          map[string]any
		fixes        []string
	}{
		{"blocks of 4x1", "obs", []float64{0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95}, map[string]any{"pattern": "4x1"}, []string{"refit"}},
		{"channels", "reconstruct", []float64{0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7}, map[string]any{"round_to": 8}, []string{"refit"}},
	} {
		m := find(kind.method)
		if m == nil || !r.may(kind.method) || r.late(kind.what) {
			continue
		}
		var most *attempt
		// Losses rise with the level: the first that fails ends a bisection.
		lo, hi := -1, len(kind.levels)
		for hi-lo > 1 {
			if r.late(kind.what) {
				break
			}
			mid := (lo + hi) / 2
			set := typed(m, with(kind.set, "sparsity", kind.levels[mid]))
			if !r.start.NoFinetune && m.Param("epochs") != nil {
				set = r.fit(r.start, set, "epochs", 1)
			}
			name := fmt.Sprintf("%.0f%% of %s pruned", 100*kind.levels[mid], kind.what)
			a, err := r.attempt(ctx, name, r.start, 0, append([]method.Step{{Method: kind.method, Set: set}}, r.fixes(kind.fixes)...))
			if err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				r.refuse(name, err.Error())
				hi = mid
				continue
			}
			if a == nil {
				break
			}
			if a.ok {
				most = a
				best = append(best, a) // one that is less fast may bear fewer bits
			}
			if a.ok && !r.quick(a.c) {
				lo = mid
			} else {
				hi = mid
			}
		}
		if most == nil {
			continue
		}
		if kind.what == "channels" {
			if err := add(r.integers(ctx, most.name+", ", most.steps)); err != nil {
				return err
			}
		}
	}
	return r.lightest(ctx, best)
}

// lightest gives the fastest of the models that keep the promise, and that bears them, fewer bits.
func (r *runner) lightest(ctx context.Context, best []*attempt) error {
	// What time does not pay for, bytes may: levels in the file of the fastest that bears them.
	slices.SortStableFunc(best, func(a, b *attempt) int {
		switch {
		case a.c.Ms < b.c.Ms:
			return -1
		case a.c.Ms > b.c.Ms:
			return 1
		}
		return 0
	})
	for _, a := range best {
		if done, err := r.lighter(ctx, a); done || err != nil {
			return err
		}
	}
	return nil
}

// lighter gives the weights of a fast model levels: of 8 bits or, where a size is asked for, of as many on average as
// keep to it. done: it is small enough, and keeps the promise.
func (r *runner) lighter(ctx context.Context, a *attempt) (done bool, err error) {
	ints, target := a.state.OnIntegers(), r.o.Target
	m := find("gptq")
	if m == nil || !r.may("gptq") || target == 0 && ints || target > 0 && a.c.Bytes <= target {
		return true, nil
	}
	for bits := 8.0; bits >= 2 && !r.late("levels for "+a.name); {
		set := map[string]any{"average": bits}
		if bits == 8 {
			set = map[string]any{"bits": bits}
		}
		name := fmt.Sprintf("%s, %g bits", a.name, bits)
		step := method.Step{Method: "gptq", Set: typed(m, set)}
		base, through := a.state, len(a.steps)
		steps := append(slices.Clone(a.steps), step)
		if ints { // levels come first, and integers keep them
			base, through = r.start, 0
			steps = slices.Insert(slices.Clone(a.steps), len(a.steps)-1, step)
		} else if bits < 8 {
			steps = append(steps, r.fixes([]string{"adaround"})...)
		}
		b, err := r.attempt(ctx, name, base, through, steps)
		if err != nil {
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			r.refuse(name, err.Error())
			return false, nil
		}
		if b == nil || target == 0 || b.c.Bytes <= target {
			return b != nil && (target == 0 || b.ok), nil
		}
		// As many bits as the size allows for, in quarters, and a step down at least.
		bits = min(bits-0.25, math.Floor(4*bits*float64(target)/float64(b.c.Bytes))/4)
	}
	return false, nil
}

// quick reports whether a candidate is as fast as is asked for, so that nothing faster is wanted.
func (r *runner) quick(c Candidate) bool {
	return !r.o.Fast && r.o.TargetMs > 0 && c.Ms <= r.o.TargetMs
}

func (r *runner) fixes(names []string) (out []method.Step) {
	for _, n := range names {
		if find(n) != nil && r.may(n) {
			out = append(out, method.Step{Method: n, Set: map[string]any{}})
		}
	}
	return out
}

// integers puts what steps make on integers, and leaves those layers float whose part in what is lost is the
// largest, until the promise holds.
func (r *runner) integers(ctx context.Context, name string, steps []method.Step) (*attempt, error) {
	m := find("activations")
	if m == nil || !r.may("activations") || r.late("integers") {
		return nil, nil
	}
	base := r.start.Clone() // through the steps once, not for every try
	for _, st := range steps {
		if err := base.Step(ctx, st, Methods); err != nil {
			return nil, err
		}
	}
	try := func(skip []string) (*attempt, error) {
		set := map[string]any{}
		what := name + "integers"
		if len(skip) > 0 {
			set["skip"] = strings.Join(skip, ",")
			what = fmt.Sprintf("%sintegers but for %d layers", name, len(skip))
		}
		a, err := r.attempt(ctx, what, base, len(steps), append(slices.Clone(steps), method.Step{Method: "activations", Set: set}))
		if err != nil && ctx.Err() == nil {
			r.refuse(what, err.Error())
			return nil, nil
		}
		return a, err
	}
	a, err := try(nil)
	if a == nil || a.ok || err != nil {
		return a, err
	}
	// Values that do most to the outputs stay float: the loosest budget that keeps the promise.
	var within *attempt
	for _, budget := range []float64{1e-2, 1e-3, 1e-4, 1e-5} {
		what := fmt.Sprintf("%sintegers within %g of the outputs", name, budget)
		if r.late(what) || base.Train == nil {
			break
		}
		set := map[string]any{"budget": budget, "adaround": true, "range": "outputs"}
		b, err := r.attempt(ctx, what, base, len(steps), append(slices.Clone(steps), method.Step{Method: "activations", Set: set}))
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			r.refuse(what, err.Error())
			break
		}
		if b == nil {
			break
		}
		if b.ok {
			within = b
			break
		}
	}
	// What each layer does alone, on a part of the choice split.
	part := base.Clone()
	part.Choice = some(base.Choice, samples(base.Choice))
	far := map[string]float64{}
	var names []string
	for _, l := range part.Layers {
		if r.late("the layers on integers") {
			return within, nil
		}
		c := part.Clone()
		if err := c.Step(ctx, method.Step{Method: "activations", Set: map[string]any{"layers": l.Name}}, Methods); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			continue // it stays float anyway
		}
		e, err := c.Measure(ctx, c.Graph)
		if err != nil {
			return nil, err
		}
		far[l.Name] = e.Far
		names = append(names, l.Name)
		r.f.Table = append(r.f.Table, Way{Layer: l.Name, Name: name + "integers", Far: e.Far})
	}
	b, err := r.floats(ctx, base, a, far, names, try)
	if within != nil && (b == nil || r.better(within.c, b.c)) {
		b = within
	}
	return b, err
}

// floats looks for the layers that stay float: the fastest choice that keeps the promise. Each layer costs
// what its node takes on floats or on integers, and what turning its input into the other takes where the
// layer before is held otherwise; layers count as a chain in the order of the graph. all is everything on integers.
func (r *runner) floats(ctx context.Context, base *method.State, all *attempt, far map[string]float64, names []string, try func(skip []string) (*attempt, error)) (*attempt, error) {
	before, err := r.o.Nodes(ctx, base.Graph)
	if err != nil {
		return nil, err
	}
	g, err := all.state.Freeze()
	if err != nil {
		return nil, err
	}
	after, err := r.o.Nodes(ctx, g)
	if err != nil {
		return nil, err
	}
	node := map[string]string{}
	for _, l := range base.Layers {
		node[l.Name] = l.Node.Name
	}
	ns := func(ms float64) int64 { return int64(1e6 * ms) }
	var rows [][]option
	most, turn := int64(0), ns(after.Turn)
	for _, n := range names {
		f, i := before.Ms[node[n]], after.Ms[node[n]]
		rows = append(rows, []option{{cost: ns(f)}, {cost: ns(i), far: far[n], kind: 1}})
		most += max(ns(f), ns(i)) + turn
	}
	change := func(i, a, j int) int64 {
		if a == rows[i][j].kind {
			return 0
		}
		return turn
	}
	f := allocate(rows, most, change)
	lo, hi := float64(max(1, f.least)), float64(most)
	var best *attempt
	seen := map[string]bool{}
	for range 8 {
		if hi < 1.02*lo || r.late("which layers stay float") {
			break
		}
		mid := (lo + hi) / 2
		pick := f.within(int64(mid))
		if pick == nil {
			lo = mid
			continue
		}
		var skip []string
		for i, j := range pick {
			if j == 0 {
				skip = append(skip, names[i])
			}
		}
		if len(skip) == 0 || len(skip) == len(names) || seen[strings.Join(skip, ",")] {
			if len(skip) == len(names) || best != nil {
				hi = mid
			} else {
				lo = mid
			}
			continue
		}
		seen[strings.Join(skip, ",")] = true
		a, err := try(skip)
		if err != nil {
			return nil, err
		}
		if a != nil && a.ok {
			best, hi = a, mid
		} else {
			lo = mid
		}
	}
	return best, nil
}

// attempt makes, measures and times a candidate from base, which has been through the first done steps; it
// becomes the best where it is better.
func (r *runner) attempt(ctx context.Context, name string, base *method.State, done int, steps []method.Step) (*attempt, error) {
	next, ok, err := r.tryAll(ctx, name, base, done, steps)
	if err != nil {
		return nil, err
	}
	if r.late(name) && !ok {
		return nil, nil
	}
	return &attempt{name: name, steps: steps, state: next, c: r.f.Candidates[len(r.f.Candidates)-1], ok: ok}, nil
}
