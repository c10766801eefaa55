package search

import (
	"cmp"
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

// fast looks for the fastest model that keeps the promise, or the best one that is fast enough: integers, with the layers
// that bear them least left float, where they may be enough; then channels, blocks of weights and integers layer by layer
// (shaper). Every candidate is timed on the engine that ships, in turn with the model as it came.
func (r *runner) fast(ctx context.Context) error {
	s, err := r.shaper(ctx)
	if err != nil {
		return err
	}
	var best []*attempt // that hold
	if r.o.Fast || s.onInts <= 1.05*r.o.TargetMs {
		a, err := r.integers(ctx, s.images)
		if err != nil {
			return err
		}
		if a != nil && a.ok {
			best = append(best, a)
		}
	}
	if len(best) == 0 || !r.quick(best[0].c) {
		all, err := s.run(ctx)
		if err != nil {
			return err
		}
		best = append(best, all...)
	}
	slices.SortStableFunc(best, func(a, b *attempt) int { return cmp.Compare(a.c.Ms, b.c.Ms) })
	r.keep(best)
	return r.lightest(ctx, best)
}

// reserved is the share of what integers lose alone that a choice made on floats is to leave them: not all that one loses, the other does.
const reserved = 0.5

// last are the steps that come after all others: what is left of floats in fewer bits, then integers where floats are too slow.
func (r *runner) last() []method.Step {
	return slices.Concat(r.fixes([]string{"shorten"}), r.ints)
}

// keep remembers how the fastest model that holds was put on integers, for those that are held in fewer bytes afterwards, where
// the model as it came is slower than is asked for. The fastest comes first.
func (r *runner) keep(best []*attempt) {
	if r.f.Candidates[0].Ms <= r.o.TargetMs || len(best) == 0 {
		return
	}
	var slim, ints []method.Step
	for _, st := range best[0].steps {
		switch st.Method {
		case "fold", "gptq": // the one is done anyway, levels are chosen anew
		case "reconstruct":
			slim = append(slim, st)
		case "activations": // whose levels are few then
			ints = append(ints, method.Step{Method: st.Method, Set: with(st.Set, "adaround", true)})
		default:
			return
		}
	}
	if best[0].ok && ints != nil {
		r.slim, r.ints = slim, ints
		if slim == nil {
			r.reserve = reserved * max(0, best[0].c.Drop)
		}
	}
}

// lightest gives the fastest of the models that keep the promise, and that bears them, fewer bits. The fastest comes first.
func (r *runner) lightest(ctx context.Context, best []*attempt) error {
	// What time does not pay for, bytes may: levels in the file of the fastest that bears them.
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

// fixes are steps of methods with their defaults, of those that are known and may be used.
func (r *runner) fixes(names []string) (out []method.Step) {
	for _, n := range names {
		if find(n) != nil && r.may(n) {
			out = append(out, method.Step{Method: n, Set: map[string]any{}})
		}
	}
	return out
}

// integers puts the model on integers, and leaves those layers float whose part in what is lost is the
// largest, until the promise holds. images are as many as may be looked at.
func (r *runner) integers(ctx context.Context, images int) (*attempt, error) {
	m := find("activations")
	if m == nil || !r.may("activations") || r.late("integers") {
		return nil, nil
	}
	base := r.start
	images = min(images, 512) // more say little more
	try := func(skip []string) (*attempt, error) {
		set := map[string]any{"images": images}
		what := "integers"
		if len(skip) > 0 {
			set["skip"] = strings.Join(skip, ",")
			what = fmt.Sprintf("integers but for %d layers", len(skip))
		}
		a, err := r.attempt(ctx, what, base, 0, []method.Step{{Method: "activations", Set: set}})
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
		what := fmt.Sprintf("integers within %g of the outputs", budget)
		if r.late(what) || base.Train == nil {
			break
		}
		set := map[string]any{"budget": budget, "adaround": true, "range": "outputs", "images": images}
		b, err := r.attempt(ctx, what, base, 0, []method.Step{{Method: "activations", Set: set}})
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
		if err := c.Step(ctx, alone(l, images), Methods); err != nil {
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
		r.f.Table = append(r.f.Table, Way{Layer: l.Name, Name: "integers", Far: e.Far})
	}
	b, err := r.floats(ctx, base, a, far, names, try)
	if within != nil && (b == nil || r.better(within.c, b.c)) {
		b = within
	}
	return b, err
}

// alone puts a layer on integers by itself, by the look of as many images as there may be.
func alone(l *method.Layer, images int) method.Step {
	return method.Step{Method: "activations", Set: map[string]any{"layers": l.Name, "images": min(images, 256)}}
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
