package search

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"whit/compress/method"
	"whit/compress/prune"
	"whit/graph"
)

// cuts are the shares of a group's channels that a table of times has, none first, and blocked those of a layer's
// weights that go in blocks.
var (
	cuts    = []float64{0, 0.125, 0.25, 0.375, 0.5, 0.625}
	blocked = []float64{0.6, 0.7, 0.8, 0.9}
)

// shape is what a layer, or a group of layers whose channels go together, may become.
type shape struct {
	hold  int // 0: floats; 1: integers; from 2 on: blocked[hold-2] of its weights pruned in blocks
	level int // of cuts: how many output channels go
	option
}

// ints is 1 for integers, else 0.
func (s shape) ints() int {
	if s.hold == 1 {
		return 1
	}
	return 0
}

// shaper holds the table of times: what a layer takes and does to the outputs as floats, as integers and with
// blocks of weights pruned, and what removing channels of each group does to all layers' times and to the outputs.
type shaper struct {
	r      *runner
	base   *method.State // without normalisations
	steps  []method.Step // that made it
	images int           // of the training part that weights are chosen by: large for small images
	turn   int64
	rows   [][]shape // of the layers, a chain in the order of the graph
	// ns is what each layer takes in each hold, [layer][hold]; 0: it cannot be held so.
	ns [][]int64
	// left is the share of a layer's time that a cut of the channels of the layer before leaves, [layer][level], floats and
	// integers; nil: it does not read them.
	left [2][][]float64
	// own is the same of the layer's own channels.
	own    [2][][]float64
	group  map[int][]int // layers whose channels go together, by the first of them
	pruned map[string]*method.State
	over   float64 // bytes that the last file took, as a multiple of its weights' bits
}

// shaped looks for the fastest model that keeps the promise, or the best one that is fast enough, where every
// layer has its own share of channels, of blocks, and its own precision: tables of milliseconds and of
// distances, a knapsack over budgets of time whose state is the precision and the channels that a layer hands on, bisection
// on models that are made and measured, and swaps between pairs of layers.
func (r *runner) shaped(ctx context.Context) ([]*attempt, error) {
	if r.start.Train == nil || find("reconstruct") == nil || !r.may("reconstruct") {
		return nil, nil
	}
	s := &shaper{r: r, base: r.start.Clone(), group: map[int][]int{}, pruned: map[string]*method.State{}, over: 1.02}
	if fold := (method.Step{Method: "fold", Set: map[string]any{}}); hasNorms(s.base.Graph) {
		if err := s.base.Step(ctx, fold, Methods); err != nil {
			return nil, err
		}
		s.steps = append(s.steps, fold)
	}
	elements := 1
	for _, d := range s.base.Train.Shape() {
		elements *= d
	}
	s.images = max(4, min(s.base.Train.Len(), max(256, min(1500, (1<<22)/max(1, elements)))))
	r.until(0.5)
	defer r.until(1)
	if err := s.tabulate(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r.refuse("channels layer by layer", err.Error())
		return nil, nil
	}
	r.until(0.95)
	return s.search(ctx)
}

// part is a copy of the base that is measured on part of the choice split, and is not told of.
func (s *shaper) part() *method.State {
	c := s.base.Clone()
	c.Choice, c.Progress = some(c.Choice, samples(c.Choice)), nil
	return c
}

// blind is a copy for methods whose result is not looked at but for its shape.
func (s *shaper) blind() *method.State {
	c := s.base.Clone()
	c.Choice, c.Memo, c.Progress = some(c.Choice, 1), nil, nil
	return c
}

// times are what the layers of a state take, on floats and on integers, in nanoseconds; 0: it is not known.
func (s *shaper) times(ctx context.Context, c *method.State) (ns [2][]int64, turn float64, err error) {
	q := c.Clone()
	q.Choice, q.Memo = some(q.Choice, 1), nil
	graphs := []*graph.Graph{nil, nil}
	if graphs[0], err = c.Freeze(); err != nil {
		return ns, 0, err
	}
	if m := find("activations"); s.r.may(m.Name) {
		quick := method.Step{Method: m.Name, Set: map[string]any{"images": 8, "correct": false, "range": "minmax"}}
		if err := q.Step(ctx, quick, Methods); err == nil {
			if graphs[1], err = q.Freeze(); err != nil {
				return ns, 0, err
			}
		} else if ctx.Err() != nil {
			return ns, 0, err
		}
	}
	for k, g := range graphs {
		ns[k] = make([]int64, len(c.Layers))
		if g == nil {
			continue
		}
		t, err := s.r.o.Nodes(ctx, g)
		if err != nil {
			return ns, 0, err
		}
		for i, l := range c.Layers {
			ns[k][i] = int64(1e6 * t.Ms[l.Node.Name])
		}
		turn = t.Turn
	}
	return ns, turn, nil
}

// tabulate fills the table; what the time does not allow for is left out.
func (s *shaper) tabulate(ctx context.Context) error {
	layers := s.base.Layers
	base, turn, err := s.times(ctx, s.base)
	if err != nil {
		return err
	}
	s.turn = int64(1e6 * turn)
	far := make([][]float64, len(layers)) // by hold
	cutFar := make([][]float64, len(layers))
	delta := [2][][]int64{} // what a cut saves of layers other than its own and the next
	for p := range 2 {
		s.left[p], s.own[p], delta[p] = make([][]float64, len(layers)), make([][]float64, len(layers)), make([][]int64, len(layers))
	}
	for i := range layers {
		s.ns = append(s.ns, make([]int64, 2+len(blocked)))
		far[i] = make([]float64, 2+len(blocked))
		s.ns[i][0], s.ns[i][1] = base[0][i], base[1][i]
	}
	if err := s.integers(ctx, far); err != nil {
		return err
	}
	if err := s.blocks(ctx, base[0], far); err != nil {
		return err
	}
	groups, err := prune.Groups(s.base)
	if err != nil {
		return err
	}
	at := map[*method.Layer]int{}
	for i, l := range layers {
		at[l] = i
	}
	for _, g := range groups {
		first := at[g[0]]
		for _, l := range g {
			s.group[first] = append(s.group[first], at[l])
		}
		cutFar[first] = make([]float64, len(cuts))
		for p := range 2 {
			s.own[p][first], delta[p][first] = ones(len(cuts)), make([]int64, len(cuts))
			if first+1 < len(layers) {
				s.left[p][first+1] = ones(len(cuts))
			}
		}
	}
	for _, level := range []int{2, 4, 1, 3, 5} { // so that what time there is goes over all groups
		for _, g := range groups {
			first := at[g[0]]
			cutFar[first][level] = math.Inf(1)
			if s.r.late("channels of " + g[0].Name) {
				continue
			}
			c, err := s.cut(ctx, s.blind(), "channels", first, level)
			if err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				continue // too few channels, or none
			}
			now, _, err := s.times(ctx, c)
			if err != nil {
				return err
			}
			saved := int64(0)
			for i, l := range c.Layers {
				if l.Weight.Len() == layers[i].Weight.Len() {
					continue // not touched: what differs is noise
				}
				for p := range 2 {
					if base[p][i] == 0 {
						continue
					}
					share := min(1, float64(now[p][i])/float64(base[p][i]))
					switch i {
					case first:
						s.own[p][i][level] = share
					case first + 1:
						s.left[p][i][level] = share
					default:
						delta[p][first][level] -= int64((1 - share) * float64(base[p][i]))
					}
					saved += int64((1 - share) * float64(base[p][i]))
				}
			}
			if saved < base[0][first]/50 {
				continue
			}
			m, err := s.entry(ctx, "cut", first, cuts[level], func(c *method.State) (*method.State, error) {
				return s.cut(ctx, c, "reconstruct", first, level)
			})
			if err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				s.r.refuse(fmt.Sprintf("%.0f%% of the channels of %s", 100*cuts[level], g[0].Name), err.Error())
				continue
			}
			cutFar[first][level] = m.Far
			s.note(g[0].Name, fmt.Sprintf("%.1f%% of channels removed", 100*cuts[level]), m.Far, float64(saved)/2e6)
		}
	}
	for i, l := range layers {
		var row []shape
		for h, ns := range s.ns[i] {
			if ns == 0 && h > 0 || math.IsInf(far[i][h], 1) {
				continue
			}
			for v := range cuts {
				if v > 0 && (cutFar[i] == nil || math.IsInf(cutFar[i][v], 1)) {
					continue
				}
				x := shape{hold: h, level: v, option: option{far: far[i][h]}}
				if v > 0 {
					x.far += cutFar[i][v]
					x.cost = delta[x.ints()][i][v]
				}
				x.kind = x.ints() + 2*v
				row = append(row, x)
			}
		}
		if len(row) == 0 {
			return fmt.Errorf("layer %s cannot be held in any way", l.Name)
		}
		s.rows = append(s.rows, row)
	}
	return nil
}

func ones(n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = 1
	}
	return x
}

func (s *shaper) note(layer, what string, far, ms float64) {
	s.r.f.Table = append(s.r.f.Table, Way{Layer: layer, Name: what, Far: far, Ms: ms})
	s.base.Tell(method.Event{Stage: "table", Message: fmt.Sprintf("%s: %s, %.4f ms, off by %.3g", layer, what, ms, far)})
}

// entry measures what a change of the base does to the outputs, unless the memo has it.
func (s *shaper) entry(ctx context.Context, what string, layer int, level float64, change func(*method.State) (*method.State, error)) (m measured, err error) {
	c := s.part()
	key := s.base.Memo.Key("shape").Add(what, layer, level, s.images, c.Choice.Len()).Graph(s.base.Graph)
	if s.base.Memo.Get(key, &m) {
		return m, nil
	}
	c.Memo = nil
	choice := c.Choice
	c.Choice = some(choice, 1) // methods measure what they made; nobody asks
	if c, err = change(c); err != nil {
		return m, err
	}
	c.Choice = choice
	if err := m.look(ctx, c); err != nil {
		return m, err
	}
	return m, s.base.Memo.Put(key, m)
}

// integers measures every layer alone on integers.
func (s *shaper) integers(ctx context.Context, far [][]float64) error {
	for i, l := range s.base.Layers {
		far[i][1] = math.Inf(1)
		if s.ns[i][1] == 0 || s.r.late("the layers on integers") {
			continue
		}
		m, err := s.entry(ctx, "integers", i, 8, func(c *method.State) (*method.State, error) {
			return c, c.Step(ctx, method.Step{Method: "activations", Set: map[string]any{"layers": l.Name}}, Methods)
		})
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue // it stays float
		}
		far[i][1] = m.Far
		s.note(l.Name, "integers", m.Far, float64(s.ns[i][1])/1e6)
	}
	return nil
}

// blocks measures every layer alone with blocks of its weights pruned, where that makes it faster.
func (s *shaper) blocks(ctx context.Context, dense []int64, far [][]float64) error {
	for k, share := range blocked {
		h := 2 + k
		for i := range far {
			far[i][h] = math.Inf(1)
		}
		if find("obs") == nil || !s.r.may("obs") || s.r.late("blocks of weights") {
			continue
		}
		c := s.blind() // what is pruned says how long it takes, not the values
		quick := method.Step{Method: "magnitude", Set: map[string]any{"pattern": "4x1", "sparsity": method.Uniform(share), "epochs": 0, "final": 0}}
		if err := c.Step(ctx, quick, Methods); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		g, err := c.Freeze()
		if err != nil {
			return err
		}
		t, err := s.r.o.Nodes(ctx, g)
		if err != nil {
			return err
		}
		for i, l := range c.Layers {
			ns := int64(1e6 * t.Ms[l.Node.Name])
			if float64(ns) > 0.95*float64(dense[i]) || s.r.late("blocks of weights") {
				continue
			}
			m, err := s.entry(ctx, "blocks", i, share, func(c *method.State) (*method.State, error) {
				return c, c.Step(ctx, s.obs([]string{l.Name}, method.Uniform(share)), Methods)
			})
			if err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				continue
			}
			s.ns[i][h], far[i][h] = ns, m.Far
			s.note(l.Name, fmt.Sprintf("%.0f%% pruned in blocks", 100*share), m.Far, float64(ns)/1e6)
		}
	}
	return nil
}

func (s *shaper) obs(layers []string, sparsity method.LayerValues) method.Step {
	return method.Step{Method: "obs", Set: map[string]any{"layers": strings.Join(layers, ","), "pattern": "4x1", "sparsity": sparsity, "images": s.images}}
}

// looking makes steps look at as many images as the others.
func (s *shaper) looking(steps []method.Step) []method.Step {
	for _, st := range steps {
		st.Set["images"] = s.images
	}
	return steps
}

// cut removes channels of a group from a state with the base's layers.
func (s *shaper) cut(ctx context.Context, c *method.State, by string, first, level int) (*method.State, error) {
	return c, c.Step(ctx, s.removal(by, map[int]int{first: level}), Methods)
}

// removal is the step that removes channels of groups, each by its level.
func (s *shaper) removal(by string, levels map[int]int) method.Step {
	var share method.LayerValues
	var names []string
	for i := range s.base.Layers {
		if levels[i] == 0 {
			continue
		}
		for _, j := range s.group[i] {
			name := s.base.Layers[j].Name
			share = append(share, method.LayerValue{Glob: name, Value: cuts[levels[i]]})
			names = append(names, name)
		}
	}
	return method.Step{Method: by, Set: map[string]any{"layers": strings.Join(names, ","), "sparsity": share, "round_to": 8, "images": s.images}}
}

// cost is what shape j of layer i takes after a layer of a kind: its time, less what the cuts of both leave out, and what turning takes.
func (s *shaper) cost(i, before, j int) (c int64) {
	x := s.rows[i][j]
	p, ns := x.ints(), float64(s.ns[i][x.hold])
	if own := s.own[p][i]; own != nil {
		ns *= own[x.level]
	}
	if left := s.left[p][i]; left != nil {
		ns *= left[before/2]
	}
	if before%2 != p {
		ns += float64(s.turn)
	}
	return int64(ns)
}

// fruitlessSwaps is how many swaps in a row may bring nothing: every one is made and measured.
const fruitlessSwaps = 6

// search bisects the budget of time, and lets pairs of layers swap.
func (s *shaper) search(ctx context.Context) (held []*attempt, err error) {
	rows := make([][]option, len(s.rows))
	most := int64(0)
	for i, row := range s.rows {
		high := int64(0)
		for j, x := range row {
			rows[i] = append(rows[i], x.option)
			for k := range 2 * len(cuts) {
				high = max(high, x.cost+s.cost(i, k, j))
			}
		}
		most += high
	}
	f := allocate(rows, most, s.cost)
	seen := map[string]*attempt{}
	var best *attempt
	var pick []int
	try := func(p []int) (*attempt, error) {
		key := fmt.Sprint(p)
		if a, ok := seen[key]; ok {
			return a, nil
		}
		a, err := s.make(ctx, p)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			s.r.refuse("a mix of shapes", err.Error())
		}
		seen[key] = a
		if a != nil && a.ok {
			held = append(held, a)
			if best == nil || s.r.better(a.c, best.c) {
				best, pick = a, p
			}
		}
		return a, nil
	}
	lo, hi := float64(max(1, f.least)), float64(most)
	if p := f.within(most); p != nil {
		hi = float64(f.cost(p)) // nothing held otherwise
	}
	for range 8 {
		if hi < 1.02*lo || s.r.late("channels layer by layer") {
			break
		}
		mid := (lo + hi) / 2
		p := f.within(int64(mid))
		if p == nil {
			lo = mid
			continue
		}
		a, err := try(p)
		if err != nil {
			return held, err
		}
		if a != nil && a.ok && !s.r.quick(a.c) {
			hi = min(mid, float64(f.cost(p)))
		} else {
			lo = mid
		}
	}
	if best == nil || s.r.quick(best.c) {
		return held, nil
	}
	rng := rand.New(rand.NewPCG(s.base.Seed, 0x7368617065))
	for n, tries := 0, 0; n < fruitlessSwaps && tries < 1000; tries++ {
		if s.r.late("swapping") {
			break
		}
		was := best
		p := slices.Clone(pick)
		i, j := rng.IntN(len(p)), rng.IntN(len(p))
		p[i] = s.neighbour(rng, i, p[i], false)
		if i != j {
			p[j] = s.neighbour(rng, j, p[j], true)
		}
		if _, ok := seen[fmt.Sprint(p)]; ok || f.cost(p) >= f.cost(pick) {
			continue
		}
		if _, err := try(p); err != nil {
			return held, err
		}
		if n++; best != was {
			n = 0
		}
	}
	return held, nil
}

// neighbour is a shape of layer i that takes less time than j, or is nearer to the float model, and of such the nearest in distance; j where
// there is none. One in two times it is the second nearest.
func (s *shaper) neighbour(rng *rand.Rand, i, j int, nearer bool) int {
	var all []int
	for k, x := range s.rows[i] {
		y := s.rows[i][j]
		if nearer && x.far < y.far || !nearer && x.far > y.far && x.cost+s.cost(i, 0, k) < y.cost+s.cost(i, 0, j) {
			all = append(all, k)
		}
	}
	if len(all) == 0 {
		return j
	}
	off := func(k int) float64 { return math.Abs(s.rows[i][k].far - s.rows[i][j].far) }
	slices.SortStableFunc(all, func(a, b int) int { return cmp.Compare(off(a), off(b)) })
	return all[min(rng.IntN(2), len(all)-1)]
}

// make makes, measures and times a choice; where a size is asked for its weights get as many bits as that allows for.
func (s *shaper) make(ctx context.Context, pick []int) (*attempt, error) {
	levels := map[int]int{}
	var ints, blocks, what []string
	var sparsity method.LayerValues
	for i, j := range pick {
		x, l := s.rows[i][j], s.base.Layers[i]
		if levels[i] = x.level; x.level > 0 {
			what = append(what, fmt.Sprintf("%s -%g%%", l.Name, 100*cuts[x.level]))
		}
		switch {
		case x.hold == 1:
			ints = append(ints, l.Name)
		case x.hold > 1:
			blocks = append(blocks, l.Name)
			sparsity = append(sparsity, method.LayerValue{Glob: l.Name, Value: blocked[x.hold-2]})
			what = append(what, fmt.Sprintf("%s %g%% zero", l.Name, 100*blocked[x.hold-2]))
		}
	}
	steps := slices.Clone(s.steps)
	if slices.ContainsFunc(what, func(w string) bool { return strings.HasSuffix(w, "%") }) {
		steps = append(steps, s.removal("reconstruct", levels))
	}
	if blocks != nil {
		steps = append(append(steps, s.obs(blocks, sparsity)), s.looking(s.r.fixes([]string{"refit"}))...)
	}
	if len(steps) == len(s.steps) && ints == nil {
		return nil, nil
	}
	mid, err := s.prune(ctx, steps)
	if err != nil {
		return nil, err
	}
	if ints != nil {
		what = append(what, fmt.Sprintf("%d of %d layers on integers", len(ints), len(pick)))
	}
	weights := 0
	for _, l := range mid.Layers {
		for k := range l.Weight.Len() {
			if l.Weight.Kept(k) {
				weights++
			}
		}
	}
	gptq, target := find("gptq"), s.r.o.Target
	most := 8.0
	for {
		bits := 8.0
		if target > 0 {
			bits = min(most, math.Floor(80*float64(target)/float64(weights)/s.over)/10)
		}
		all := slices.Clone(steps)
		name := strings.Join(what, ", ")
		if gptq != nil && s.r.may("gptq") && bits >= 2 {
			set := map[string]any{"average": bits, "images": s.images}
			if bits == 8 {
				set = map[string]any{"bits": bits, "images": s.images}
			}
			all = append(all, method.Step{Method: "gptq", Set: typed(gptq, set)})
			if target > 0 {
				all = append(all, s.r.fixes([]string{"shorten"})...)
			}
			name += fmt.Sprintf(", %g bits", bits)
		}
		switch {
		case ints != nil:
			set := map[string]any{"adaround": true, "range": "outputs"}
			if len(ints) < len(pick) {
				set["layers"] = strings.Join(ints, ",")
			}
			all = append(all, method.Step{Method: "activations", Set: set})
		case bits < 8:
			all = append(all, s.r.fixes([]string{"adaround"})...)
		}
		a, err := s.r.attempt(ctx, name, mid, len(steps), all)
		if a == nil || err != nil {
			return nil, err
		}
		if target == 0 || bits < 2 {
			return a, nil
		}
		s.over = float64(a.c.Bytes) * 8 / bits / float64(weights)
		if a.c.Bytes <= target {
			return a, nil
		}
		most = bits - 0.1
	}
}

// prune is the base through steps; the last few are kept.
func (s *shaper) prune(ctx context.Context, steps []method.Step) (*method.State, error) {
	key := fmt.Sprint(steps)
	if c := s.pruned[key]; c != nil {
		return c, nil
	}
	c := s.base.Clone()
	choice := c.Choice
	c.Choice = some(choice, 1)
	for _, st := range steps[len(s.steps):] {
		if err := c.Step(ctx, st, Methods); err != nil {
			return nil, err
		}
	}
	c.Choice = choice
	if len(s.pruned) >= 4 {
		clear(s.pruned)
	}
	s.pruned[key] = c
	return c, nil
}
