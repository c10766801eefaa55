package search

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"whit/compress/method"
	"whit/compress/prune"
	"whit/graph"
	"whit/tensor"
)

// scanMethod measures how sensitive the model is to what is done to each layer, or to all layers of a residual
// block, nothing else changed and nothing retrained (Han, Pool, Tran, Dally 2015, section 4.2 and figure 6).
// Zeroed are single weights (the smallest), nodes (the output units with the smallest norm), a whole layer,
// or a whole block; the other methods hold or cut the layers as a step of a recipe does.
//
// It deviates in that more than zeroing is tried, and that how far the outputs move is measured beside the error,
// which says little before decisions flip. Entries are those of the table that a search makes.
var scanMethod = &method.Method{
	Name: "scan",
	Doc:  "measures how sensitive the model is to each layer, one by one",
	Params: []method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "methods", Kind: method.Strings, Default: []string{method.Zeroed}, Choices: scanned(), Doc: "what is tried on them"},
		{Name: "fractions", Kind: method.Floats, Default: []float64{0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98}, Min: 0, Max: 1, Doc: "shares of a layer that are zeroed"},
		{Name: "granularity", Kind: method.Strings, Default: []string{"weight", "node", "layer"}, Choices: Granularities, Doc: "what is zeroed: single weights, output units, the layer, a residual block; other methods go by layer and by block"},
		{Name: "images", Kind: method.Int, Default: 0, Min: 0, Max: 1e6, Doc: "images of the choice split to measure on; 0: all"},
	},
}

func init() { scanMethod.Apply = scan } // scan applies others of Methods

// Granularities are what a scan may go by.
var Granularities = []string{"weight", "node", "layer", "block"}

// scanWays are what a scan tries beside zeroing. Levels take the place of the parameter that is named.
var scanWays = []struct {
	name, method string
	level        string
	levels       []float64
	set          map[string]any
	apart        bool
}{
	{name: "4x1", method: "magnitude", level: "sparsity", levels: []float64{0.5, 0.7, 0.8, 0.9}, set: map[string]any{"pattern": "4x1", "epochs": 0.0, "final": 0.0}},
	{name: "channels", method: "channels", level: "sparsity", levels: []float64{0.1, 0.25, 0.5}, set: map[string]any{"round_to": 1.0, "least": 1.0}, apart: true},
	{name: "round", method: "round", level: "bits", levels: []float64{8, 7, 6, 5, 4, 3, 2}},
	{name: "codebook", method: "codebook", level: "bits", levels: []float64{6, 5, 4, 3, 2}, set: map[string]any{"train": false}},
	{name: "gptq", method: "gptq", level: "bits", levels: []float64{4, 3, 2}},
	{name: "obs", method: "obs", level: "sparsity", levels: []float64{0.5, 0.8, 0.9}},
	{name: "activations", method: "activations", level: "bits", levels: []float64{8}, apart: true},
	{name: "blocks", method: "blocks", level: "count", levels: []float64{1}, set: map[string]any{"kind": "residual", "max_loss": 1e6, "images": 1.0}, apart: true},
}

// scanned lists what a scan may try.
func scanned() []string {
	out := []string{method.Zeroed}
	for _, w := range scanWays {
		out = append(out, w.name)
	}
	return out
}

// unit is what a scan changes at a time.
type unit struct {
	name   string
	layers []int // of the state's
}

func scan(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	base := s.Clone() // measures on part of the choice split; nothing else of it changes
	base.Progress = nil
	if n := a.Int("images"); n > 0 {
		base.Choice = some(s.Choice, n)
	}
	c := &scanner{t: newTable(base), progress: s.Progress, units: map[string][]unit{}, sizes: map[*tensor.Tensor]int64{}, at: map[string]int{}}
	c.t.samples = base.Choice.Len()
	for i, l := range s.Layers {
		if slices.Contains(layers, l) {
			c.units["layer"] = append(c.units["layer"], unit{l.Name, []int{i}})
		}
	}
	grains := a.Strings("granularity")
	if slices.Contains(grains, "block") {
		if err := c.blocks(); err != nil {
			s.Refuse("a scan by block", err.Error())
		}
	}
	jobs := c.jobs(a.Strings("methods"), a.Floats("fractions"), grains)
	if err := c.start(ctx, slices.Contains(a.Strings("methods"), method.Zeroed)); err != nil {
		return err
	}
	total := 0
	for _, j := range jobs {
		total += len(j.units)
	}
	for _, j := range jobs {
		if err := c.run(ctx, j, total); err != nil {
			return err
		}
	}
	for _, r := range c.refused {
		s.Refuse(r.What, r.Why)
	}
	// The curves of a layer stand together.
	order := map[string]int{}
	for i, u := range append(slices.Clone(c.units["layer"]), c.units["block"]...) {
		order[u.name] = i + 1
	}
	slices.SortStableFunc(c.curves, func(a, b method.Curve) int { return order[a.Layer] - order[b.Layer] })
	s.Curves = c.curves
	return nil
}

// scanner collects the curves of a scan.
type scanner struct {
	t        *table
	units    map[string][]unit        // by layer and by block
	from     string                   // hash of the base
	sizes    map[*tensor.Tensor]int64 // bytes of the base's constants in a file, where asked for
	zero     *method.CurvePoint
	curves   []method.Curve
	at       map[string]int // of a curve, by what it is of
	refused  []method.Refusal
	progress func(method.Event)
	done     int
}

// job is one level of a method on all units.
type job struct {
	way
	method, grain string
	level         float64
	units         []unit
}

func (c *scanner) blocks() error {
	s := c.t.base
	bs, err := prune.ResidualBlocks(s)
	if err != nil {
		return err
	}
	for _, b := range bs {
		u := unit{name: b.Name}
		for _, l := range b.Layers {
			i := slices.Index(s.Layers, l)
			if !slices.ContainsFunc(c.units["layer"], func(u unit) bool { return u.layers[0] == i }) {
				u.layers = nil
				break
			}
			u.layers = append(u.layers, i)
		}
		if u.layers != nil {
			c.units["block"] = append(c.units["block"], u)
		}
	}
	return nil
}

// jobs lists what is tried, in the order in which it is: what says most first.
func (c *scanner) jobs(methods []string, fractions []float64, grains []string) (js []job) {
	fractions = slices.Clone(fractions)
	slices.Sort(fractions)
	fractions = slices.Compact(fractions)
	if slices.Contains(methods, method.Zeroed) {
		for _, g := range grains {
			at, units := fractions, c.units["layer"]
			switch g {
			case "layer":
				at = []float64{1}
			case "block":
				at, units = []float64{1}, c.units["block"]
			}
			for _, f := range at {
				if f == 0 {
					continue // the base
				}
				mask := func(l *method.Layer) []uint64 { return prune.Smallest(l.Weight.Data(), f, nil) }
				if g == "node" {
					mask = func(l *method.Layer) []uint64 {
						return prune.Nodes(l.Weight.Data(), l.Weight.Value.Type.Shape, l.OutAxis, f)
					}
				}
				js = append(js, job{way{name: fmt.Sprintf("%s %s %v", method.Zeroed, g, f), mask: mask}, method.Zeroed, g, f, units})
			}
		}
	}
	for _, w := range scanWays {
		if !slices.Contains(methods, w.name) {
			continue
		}
		m := find(w.method)
		for _, level := range w.levels {
			st := method.Step{Method: w.method, Set: typed(m, with(w.set, w.level, level))}
			for _, g := range []string{"layer", "block"} {
				if slices.Contains(grains, g) && len(c.units[g]) > 0 && (w.name != "blocks" || g == "block") {
					js = append(js, job{way{name: fmt.Sprintf("%s %v", w.name, level), step: st, apart: w.apart}, w.name, g, level, c.units[g]})
				}
			}
		}
	}
	return js
}

// start measures the base: the beginning of curves by parts that are zeroed.
func (c *scanner) start(ctx context.Context, zeroed bool) error {
	s := c.t.base
	c.from = s.Memo.Key("scan").Graph(s.Graph).Sum() // once: the weights may be many
	if !zeroed {
		return nil
	}
	var m measured
	err := c.entry(ctx, &m, s.Memo.Key("cell").Add("", c.t.samples, c.from), func() (*method.State, error) { return s.Clone(), nil }, false)
	c.zero = &method.CurvePoint{Error: m.Error, Loss: m.Loss, MSE: m.MSE, Far: m.Far}
	return err
}

// entry measures what state gives, unless the memo has it.
func (c *scanner) entry(ctx context.Context, m *measured, key *method.Key, state func() (*method.State, error), sized bool) error {
	memo := c.t.base.Memo
	if memo.Get(key, m) {
		return nil
	}
	s, err := state()
	if err != nil {
		return err
	}
	if sized {
		if m.Bytes, err = c.saved(s); err != nil {
			return err
		}
	}
	if err := m.look(ctx, s); err != nil {
		return err
	}
	return memo.Put(key, *m)
}

// saved is by how many bytes the constants of a state are smaller in a file than the base's; those that are the same
// are not encoded.
func (c *scanner) saved(s *method.State) (n int64, err error) {
	was := constants(c.t.base)
	for data, h := range constants(s) {
		if was[data] != nil {
			delete(was, data)
			continue
		}
		b, err := fileBytes(h, s.Threads)
		if err != nil {
			return 0, err
		}
		n -= b
	}
	for data, h := range was {
		b, ok := c.sizes[data]
		if !ok {
			if b, err = fileBytes(h, s.Threads); err != nil {
				return 0, err
			}
			c.sizes[data] = b
		}
		n += b
	}
	return n, nil
}

// fileBytes is what a constant takes in a file; a few elements count as they are, since a coder's models cost more time
// than they save bytes.
func fileBytes(h *method.Held, threads int) (int64, error) {
	if h.Len() < 64 {
		return int64(len(h.Value.Data.Bytes())), nil
	}
	return h.FileBytes(threads)
}

// constants are how a state holds its constants, by their elements.
func constants(s *method.State) map[*tensor.Tensor]*method.Held {
	held := map[*graph.Value]*method.Held{}
	for _, l := range s.Layers {
		held[l.Weight.Value] = &l.Weight
		if l.Bias != nil {
			held[l.Bias.Value] = l.Bias
		}
	}
	out := map[*tensor.Tensor]*method.Held{}
	for _, v := range s.Graph.Values() {
		if v.Kind != graph.Const || v.Data == nil {
			continue
		}
		out[v.Data] = &method.Held{Value: v}
		if h := held[v]; h != nil {
			out[v.Data] = h
		}
	}
	return out
}

// run measures a job's units. What a method refuses is noted, and the rest goes on.
func (c *scanner) run(ctx context.Context, j job, total int) error {
	base := c.t.base
	if !j.apart {
		defer delete(c.t.made, j.name) // it is not asked for again
	}
	for _, u := range j.units {
		state := func() (*method.State, error) { return c.apart(ctx, j, u) }
		if !j.apart {
			state = func() (*method.State, error) { return c.together(ctx, j, u) }
		}
		var m measured
		key := base.Memo.Key("cell").Add(j.name, j.grain, j.step.Method, fmt.Sprint(j.step.Set), u.name, u.layers, c.t.samples, c.from)
		err := c.entry(ctx, &m, key, state, j.method != method.Zeroed)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.done++
		c.tell(method.Event{Stage: "scan", Done: float64(c.done), Total: float64(total), Message: j.name + ", " + u.name})
		if err != nil && !j.apart && c.t.made[j.name] == nil { // it cannot be made of any
			c.refused = append(c.refused, method.Refusal{What: "scan by " + j.name, Why: err.Error()})
			return nil
		}
		if err != nil {
			c.refused = append(c.refused, method.Refusal{What: fmt.Sprintf("scan of %s by %s", u.name, j.name), Why: err.Error()})
			continue
		}
		c.add(u.name, j, method.CurvePoint{Fraction: j.level, Error: m.Error, Loss: m.Loss, MSE: m.MSE, Far: m.Far, Saved: m.Bytes})
	}
	return nil
}

func (c *scanner) add(name string, j job, p method.CurvePoint) {
	key := fmt.Sprintf("%q %s %s", name, j.grain, j.method)
	i, ok := c.at[key]
	if !ok {
		i = len(c.curves)
		c.at[key] = i
		cv := method.Curve{Layer: name, Granularity: j.grain, Method: j.method}
		if j.method == method.Zeroed && j.level < 1 {
			cv.Points = append(cv.Points, *c.zero)
		}
		c.curves = append(c.curves, cv)
	}
	c.curves[i].Points = append(c.curves[i].Points, p)
}

// together is the base with a unit held by a way that was made of all layers at once.
func (c *scanner) together(ctx context.Context, j job, u unit) (*method.State, error) {
	made, err := c.t.make(ctx, j.way)
	if err != nil {
		return nil, err
	}
	s, any := c.t.base.Clone(), false
	for _, i := range u.layers {
		if made[i] != nil {
			made[i].put(s, i)
			any = true
		}
	}
	if !any {
		return nil, fmt.Errorf("%s leaves it as it is", j.name)
	}
	return s, nil
}

// apart is the base after a step on a unit alone.
func (c *scanner) apart(ctx context.Context, j job, u unit) (*method.State, error) {
	s := c.t.base.Clone()
	names := []string{u.name}
	if j.step.Method != prune.Blocks.Name {
		names = nil
		for _, i := range u.layers {
			names = append(names, s.Layers[i].Name)
		}
	}
	choice := s.Choice
	s.Choice, s.Memo, s.Progress = some(choice, 1), nil, nil // methods measure what they made; nobody asks
	if err := s.Step(ctx, method.Step{Method: j.step.Method, Set: with(j.step.Set, "layers", strings.Join(names, ","))}, Methods); err != nil {
		return nil, err
	}
	s.Choice = choice
	return s, nil
}

func (c *scanner) tell(e method.Event) {
	if c.progress != nil {
		c.progress(e)
	}
}
