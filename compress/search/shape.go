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
	"whit/graph"
)

// blocked are the shares of a layer's weights that go in blocks.
var blocked = []float64{0.6, 0.7, 0.8, 0.9}

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
// blocks of weights pruned, and what removing channels of each group does to all layers' sizes and to the outputs.
type shaper struct {
	thinning // its base is without normalisations, by steps
	r        *runner
	steps    []method.Step
	turn     int64
	rows     [][]shape // of the layers, a chain in the order of the graph
	// ns is what each layer takes in each hold, [layer][hold]; 0: it cannot be held so.
	ns [][]int64
	// onInts is what all takes on integers, in ms; rest what is no layer then takes, or on floats where nothing can be on integers.
	onInts, rest float64
	intsFar      float64 // what all on integers does to the outputs, by layer
	pruned       map[string]*method.State
	over         float64 // bytes that the last file took, as a multiple of its weights' bits
}

// shaper times the model as it came, on floats and on integers, by layer.
func (r *runner) shaper(ctx context.Context) (*shaper, error) {
	s := &shaper{thinning: thinning{base: r.start.Clone()}, r: r, pruned: map[string]*method.State{}, over: 1.02, onInts: math.Inf(1)}
	if hasNorms(s.base.Graph) {
		if err := s.base.Step(ctx, fold, Methods); err != nil {
			return nil, err
		}
		s.steps = append(s.steps, fold)
	}
	s.images, s.sample = looked(s.base), samples(s.base.Choice)
	g, err := s.base.Freeze()
	if err != nil {
		return nil, err
	}
	q, err := s.hurried(ctx, s.base, "*")
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r.refuse("integers", err.Error())
	}
	s.ns = make([][]int64, len(s.base.Layers))
	for k, g := range []*graph.Graph{g, q} {
		if g == nil {
			continue
		}
		t, err := r.o.Nodes(ctx, g)
		if err != nil {
			return nil, err
		}
		s.rest = 0
		for _, ms := range t.Ms {
			s.rest += ms
		}
		if k == 1 {
			s.onInts, s.turn = s.rest, int64(1e6*t.Turn)
		}
		for i, l := range s.base.Layers {
			if k == 0 {
				s.ns[i] = make([]int64, 2+len(blocked))
			}
			s.ns[i][k] = int64(1e6 * t.Ms[l.Node.Name])
			s.rest -= t.Ms[l.Node.Name]
		}
	}
	if q != nil {
		e, err := s.part().Measure(ctx, q)
		if err != nil {
			return nil, err
		}
		s.intsFar = e.Far / float64(len(s.base.Layers))
	}
	return s, nil
}

// hurried is a state's graph with layers on integers, made in a hurry: what is asked is how long it takes. nil, with
// the reason, where it cannot be.
func (s *shaper) hurried(ctx context.Context, c *method.State, layers string) (*graph.Graph, error) {
	if find("activations") == nil || !s.r.may("activations") {
		return nil, nil
	}
	c = c.Clone()
	c.Choice, c.Memo, c.Progress = some(c.Choice, 1), nil, nil
	set := map[string]any{"layers": layers, "images": 4, "correct": false, "range": "minmax", "scale": "max"}
	if err := c.Step(ctx, method.Step{Method: "activations", Set: set}, Methods); err != nil {
		return nil, err
	}
	return c.Freeze()
}

// run looks for the fastest model that keeps the promise, or the best one that is fast enough, where every
// layer has its own share of channels, of blocks, and its own precision: tables of milliseconds and of
// distances, a knapsack over budgets of time whose state is the precision and the channels that a layer hands on, models of
// that shape that are timed, and then those that are made and measured.
func (s *shaper) run(ctx context.Context) ([]*attempt, error) {
	s.r.until(0.4)
	defer s.r.until(1)
	if err := s.tabulate(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		s.r.refuse("channels layer by layer", err.Error())
		return nil, nil
	}
	s.r.until(0.95)
	return s.search(ctx)
}

// tabulate fills the table; what the time does not allow for is guessed or left out.
func (s *shaper) tabulate(ctx context.Context) error {
	layers := s.base.Layers
	n := len(layers)
	if err := s.pace(ctx, s.r, n*(1+len(blocked)+len(cutOrder)), n*roughCuts); err != nil {
		return err
	}
	if s.rough {
		s.images = min(s.images, 32)
	}
	far := make([][]float64, n) // by hold
	for i := range far {
		far[i] = make([]float64, 2+len(blocked))
	}
	if err := s.integers(ctx, far); err != nil {
		return err
	}
	if err := s.blocks(ctx, far); err != nil {
		return err
	}
	if err := s.thinning.tabulate(ctx, s.r); err != nil {
		return err
	}
	for i, l := range layers {
		var row []shape
		for h, ns := range s.ns[i] {
			if ns == 0 && h > 0 || math.IsInf(far[i][h], 1) {
				continue
			}
			for _, v := range s.levels(i) {
				x := shape{hold: h, level: v, option: option{far: far[i][h]}}
				x.cost = -int64(s.saved(i, v, func(k int) float64 { return float64(cmp.Or(s.ns[k][x.ints()], s.ns[k][0])) }))
				if v > 0 {
					x.far += s.far[i][v]
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
	for i, far := range s.far {
		for _, v := range s.levels(i)[1:] {
			ms := s.saved(i, v, func(k int) float64 { return float64(s.ns[k][0]) }) + (1-s.kept[i][v][i])*float64(s.ns[i][0])
			s.r.f.Table = append(s.r.f.Table, Way{Layer: layers[i].Name, Name: fmt.Sprintf("%.1f%% of channels removed", 100*cuts[v]), Far: far[v], Ms: ms / 1e6})
		}
	}
	return nil
}

func (s *shaper) note(layer, what string, far, ms float64) {
	s.r.f.Table = append(s.r.f.Table, Way{Layer: layer, Name: what, Far: far, Ms: ms})
	s.base.Tell(method.Event{Stage: "table", Message: fmt.Sprintf("%s: %s, %.4f ms, off by %.3g", layer, what, ms, far)})
}

// integers measures every layer alone on integers; of a rough table all of them have the same part in what is lost.
func (s *shaper) integers(ctx context.Context, far [][]float64) error {
	for i, l := range s.base.Layers {
		far[i][1] = math.Inf(1)
		switch {
		case s.ns[i][1] == 0:
			continue
		case s.rough || s.r.late("the layers on integers"):
			far[i][1] = s.intsFar
		default:
			x, err := s.entry(ctx, "integers", i, 8, func(c *method.State) error {
				return c.Step(ctx, alone(l, s.images), Methods)
			})
			if err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				continue // it stays float
			}
			far[i][1] = x
		}
		s.note(l.Name, "integers", far[i][1], float64(s.ns[i][1])/1e6)
	}
	return nil
}

// blocks measures every layer alone with blocks of its weights pruned, where that makes it faster.
func (s *shaper) blocks(ctx context.Context, far [][]float64) error {
	for k, share := range blocked {
		h := 2 + k
		for i := range far {
			far[i][h] = math.Inf(1)
		}
		if find("obs") == nil || !s.r.may("obs") || s.rough || s.r.late("blocks of weights") {
			continue
		}
		c := s.blind() // what is pruned says how long it takes, not the values
		if err := c.Step(ctx, magnitude("*", method.Uniform(share)), Methods); err != nil {
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
			if float64(ns) > 0.95*float64(s.ns[i][0]) || s.r.late("blocks of weights") {
				continue
			}
			x, err := s.entry(ctx, "blocks", i, share, func(c *method.State) error {
				return c.Step(ctx, s.obs([]string{l.Name}, method.Uniform(share)), Methods)
			})
			if err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				continue
			}
			s.ns[i][h], far[i][h] = ns, x
			s.note(l.Name, fmt.Sprintf("%.0f%% pruned in blocks", 100*share), x, float64(ns)/1e6)
		}
	}
	return nil
}

// magnitude prunes blocks where weights are small, and fits nothing.
func magnitude(layers string, sparsity method.LayerValues) method.Step {
	return method.Step{Method: "magnitude", Set: map[string]any{"layers": layers, "pattern": "4x1", "sparsity": sparsity, "epochs": 0, "final": 0}}
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

// cost is what shape j of layer i takes after a layer of a kind: its time, less what the cuts of both leave out, and what turning takes.
func (s *shaper) cost(i, before, j int) int64 {
	x := s.rows[i][j]
	ns := float64(s.ns[i][x.hold]) * s.share(i, x.level, before/2)
	if before%2 != x.ints() {
		ns += float64(s.turn)
	}
	return int64(ns)
}

// choice is what the layers of a pick become.
type choice struct {
	levels   map[int]int // of channels, by the first of a group
	ints     []string
	blocks   []string
	sparsity method.LayerValues
	what     []string // in words
}

func (s *shaper) choice(pick []int) (c choice) {
	c.levels = map[int]int{}
	for i, j := range pick {
		x, l := s.rows[i][j], s.base.Layers[i]
		if x.level > 0 {
			c.levels[i] = x.level
			c.what = append(c.what, fmt.Sprintf("%s -%g%%", l.Name, 100*cuts[x.level]))
		}
		switch {
		case x.hold == 1:
			c.ints = append(c.ints, l.Name)
		case x.hold > 1:
			c.blocks = append(c.blocks, l.Name)
			c.sparsity = append(c.sparsity, method.LayerValue{Glob: l.Name, Value: blocked[x.hold-2]})
			c.what = append(c.what, fmt.Sprintf("%s %g%% zero", l.Name, 100*blocked[x.hold-2]))
		}
	}
	if c.ints != nil {
		c.what = append(c.what, fmt.Sprintf("%d of %d layers on integers", len(c.ints), len(pick)))
	}
	return c
}

// timed is what a model of a choice's shape takes, in ms; its weights are not those that it would have.
func (s *shaper) timed(ctx context.Context, pick []int) (float64, error) {
	c, x := s.blind(), s.choice(pick)
	if len(x.levels) > 0 {
		if err := c.Step(ctx, s.removal("channels", x.levels), Methods); err != nil {
			return 0, err
		}
	}
	if x.blocks != nil {
		if err := c.Step(ctx, magnitude(strings.Join(x.blocks, ","), x.sparsity), Methods); err != nil {
			return 0, err
		}
	}
	var g *graph.Graph
	var err error
	if x.ints != nil {
		g, err = s.hurried(ctx, c, strings.Join(x.ints, ","))
	} else {
		g, err = c.Freeze()
	}
	if err != nil {
		return 0, err
	}
	ms, err := s.r.o.Millis(ctx, g)
	s.base.Tell(method.Event{Stage: "shape", Message: fmt.Sprintf("%.4g ms: %s", ms, strings.Join(x.what, ", "))})
	return ms, err
}

// takes is what layers take in a choice, all cuts together; the knapsack adds up what cuts of other layers save.
func (s *shaper) takes(pick []int) (ns float64) {
	before := 0
	for i, j := range pick {
		x := s.rows[i][j]
		ns += float64(s.ns[i][x.hold]) * s.left(i, func(g int) int { return s.rows[g][pick[g]].level })
		if x.ints() != before {
			ns += float64(s.turn)
		}
		before = x.ints()
	}
	return ns
}

// within is the nearest choice whose layers take at most ns; the fastest where none does.
func (s *shaper) within(f *front, ns float64) []int {
	low, pick := f.cheapest()
	for high := f.least + buckets*f.unit; high-low > f.unit; {
		mid := low + (high-low)/2
		if p := f.within(mid); p != nil && s.takes(p) <= ns {
			low, pick = mid, p
		} else {
			high = mid
		}
	}
	return pick
}

// aim is what layers may take for the whole to be as fast as is asked for, and the choice then, by models of its shape that
// are timed; where none is, the fastest.
func (s *shaper) aim(ctx context.Context, f *front) (ns float64, pick []int, err error) {
	target := s.r.o.TargetMs
	pick = s.within(f, 0)
	ns = s.takes(pick)
	for k, try, low, high := 0, 1e6*(target-s.rest), 0.0, math.Inf(1); k < 6 && (k < 3 || !s.r.late("timing shapes")); k++ {
		p := s.within(f, try)
		ms, err := s.timed(ctx, p)
		if err != nil {
			return 0, nil, err
		}
		try = s.takes(p)
		if ms <= target {
			low, ns, pick = try, try, p
		} else {
			high = try
		}
		if ms <= target && ms > 0.96*target || ms > target && try <= ns || high < 1.01*low {
			break
		}
		// What layers take is in proportion; what they do not take is not known well.
		if try += 1e6 * (0.98*target - ms); try <= low || try >= high {
			try = (low + min(high, 2*low)) / 2
		}
	}
	return ns, pick, nil
}

// fruitlessSwaps is how many swaps in a row may bring nothing: every one is made and measured.
const fruitlessSwaps = 6

// search makes the best choice that is fast enough, or bisects the budget of time for the fastest that keeps the promise, and lets pairs of
// layers swap.
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
	if target := s.r.o.TargetMs; target > 0 && !s.r.o.Fast {
		ns, p, err := s.aim(ctx, f)
		if err != nil {
			return nil, err
		}
		for range 3 {
			a, err := try(p)
			if a == nil || err != nil {
				return held, err
			}
			lo = max(lo, float64(f.cost(p)))
			if a.c.Ms <= target || s.r.late("channels layer by layer") {
				break
			}
			ns -= 1e6 * (a.c.Ms - 0.98*target) // it takes more than models of its shape did
			p = s.within(f, ns)
		}
		if math.IsInf(s.r.o.MaxDrop, 1) {
			return held, nil // nothing else is asked for
		}
	}
	for range 8 {
		if hi < 1.02*lo || best != nil && s.r.quick(best.c) || s.r.late("channels layer by layer") {
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
		if a != nil && a.ok {
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
	x := s.choice(pick)
	steps := slices.Clone(s.steps)
	if len(x.levels) > 0 {
		steps = append(steps, s.removal("reconstruct", x.levels))
	}
	if x.blocks != nil {
		steps = append(append(steps, s.obs(x.blocks, x.sparsity)), s.looking(s.r.fixes([]string{"refit"}))...)
	}
	if len(steps) == len(s.steps) && x.ints == nil {
		return nil, nil
	}
	mid, err := s.prune(ctx, steps)
	if err != nil {
		return nil, err
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
		name := strings.Join(x.what, ", ")
		if gptq != nil && s.r.may("gptq") && bits >= 2 && !(s.rough && bits == 8 && x.ints != nil) {
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
		case x.ints != nil:
			set := map[string]any{"adaround": true, "range": "outputs"}
			if s.rough {
				set = map[string]any{"images": s.images}
			}
			if len(x.ints) < len(pick) {
				set["layers"] = strings.Join(x.ints, ",")
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
