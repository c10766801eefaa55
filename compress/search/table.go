package search

import (
	"context"
	"fmt"
	"slices"
	"time"

	"whit/compress/method"
	"whit/graph"
	"whit/tensor"
	"whit/train"
)

// way is a way to hold one layer, as a step of a recipe for that layer.
type way struct {
	name string
	step method.Step // of no method: the layer stays as it is
	// mask, if not nil, is what is done instead of a step: the weights that stay.
	mask func(*method.Layer) []uint64
	// apart: the step does more than hold weights otherwise, so that it is done anew for every layer.
	apart bool
	option
}

// table is what every layer may be held as.
type table struct {
	base    *method.State
	samples int // of the choice split that it is measured on
	ways    [][]way
	rest    int64              // bytes of the file that are no layer's weight
	made    map[string][]*held // by a way's name
	bytes   int64              // that made takes, about
}

// maxHeld bounds the weights that a table keeps under all ways; beyond it they are made again.
const maxHeld = 1 << 29

// menu lists the steps that are tried on every layer: what serves most first, since time may end
// it. Those of methods that are not known, or may not be used, are left out.
func (r *runner) menu() (out []way) {
	add := func(name, m string, set map[string]any) {
		if k := find(m); k != nil && r.may(m) {
			out = append(out, way{name: name, step: method.Step{Method: m, Set: typed(k, set)}})
		}
	}
	bits := func(b float64) {
		m := "gptq"
		if !r.may(m) {
			m = "round"
		}
		add(fmt.Sprintf("%v bits", b), m, map[string]any{"bits": b})
	}
	obs := func(sparsity, b float64) {
		add(fmt.Sprintf("%.0f%% pruned, %v bits", 100*sparsity, b), "obs", map[string]any{"sparsity": sparsity, "bits": b})
	}
	bits(8)
	bits(4)
	bits(6)
	obs(0.8, 4)
	bits(3)
	obs(0.5, 5)
	obs(0.9, 4)
	bits(5)
	obs(0.7, 4)
	obs(0.6, 5)
	obs(0.35, 5)
	bits(2)
	for _, b := range []float64{5, 4, 3, 2, 6} {
		add(fmt.Sprintf("codebook of %v bits", b), "codebook", map[string]any{"bits": b, "train": false})
	}
	return out
}

// prunedFirst is the menu with what prunes in front of the rest.
func prunedFirst(menu []way) []way {
	var first, rest []way
	for _, w := range menu {
		if w.step.Method == "obs" {
			first = append(first, w)
		} else {
			rest = append(rest, w)
		}
	}
	return append(first, rest...)
}

func find(name string) *method.Method { return method.Find(Methods, name) }

// typed gives numbers the type that the method's parameter has.
func typed(m *method.Method, set map[string]any) map[string]any {
	out := map[string]any{}
	for name, v := range set {
		p := m.Param(name)
		if p == nil {
			continue
		}
		if x, ok := v.(float64); ok {
			switch p.Kind {
			case method.Int:
				v = int(x)
			case method.PerLayer:
				v = method.Uniform(x)
			}
		}
		out[name] = v
	}
	return out
}

// some is the part of the choice split that tables are measured on: n samples, or fewer.
func some(ds train.Dataset, n int) train.Dataset { return method.First(ds, min(ds.Len(), n)) }

// samples is how many of a dataset's samples a table is measured on, where time does not press.
func samples(ds train.Dataset) int {
	return max(16, min(512, (1<<23)/max(1, tensor.Shape(ds.Shape()).NumElements())))
}

// fewer makes the table fit the time that it has, by fewer samples.
func (r *runner) fewer(ctx context.Context, t *table, ways int) error {
	t.samples = samples(t.base.Choice)
	if r.o.Deadline.IsZero() {
		return nil
	}
	c := t.base.Clone()
	c.Choice, c.Memo = some(c.Choice, t.samples), nil
	began := time.Now()
	if _, err := c.Measure(ctx, c.Graph); err != nil {
		return err
	}
	each := time.Since(began) / 2 // the float model ran too
	if all, left := each*time.Duration(ways*len(t.ways)), time.Until(r.limit)/2; all > left {
		t.samples = max(4, int(float64(t.samples)*float64(left)/float64(all)))
	}
	return nil
}

// measured is what a table's entry leaves in the memo.
type measured struct {
	Bytes                 int64
	Far, MSE, Error, Loss float64
}

// look measures a state.
func (m *measured) look(ctx context.Context, s *method.State) error {
	s.Memo = nil // the entry itself is kept
	e, err := s.Measure(ctx, s.Graph)
	m.Far, m.MSE, m.Error, m.Loss = e.Far, e.MSE, e.Error, e.Loss
	return err
}

func newTable(base *method.State) *table {
	return &table{base: base, made: map[string][]*held{}, ways: make([][]way, len(base.Layers))}
}

// tabulate measures every layer under every way of the menu, nothing else changed. A way is
// applied to all layers at once, from the base, and then each of them is put alone into the base: data are
// looked at once a way. Where the time ends, the ways that were not reached are left out.
func (r *runner) tabulate(ctx context.Context, base *method.State) (*table, error) {
	t := newTable(base)
	g, err := base.Freeze()
	if err != nil {
		return nil, err
	}
	if t.rest, err = r.o.Bytes(g); err != nil {
		return nil, err
	}
	for i, l := range base.Layers {
		b, err := r.o.Constant(&l.Weight)
		if err != nil {
			return nil, err
		}
		t.rest -= b
		t.ways[i] = []way{{name: "as it is", option: option{cost: b}}}
	}
	menu := r.menu()
	if room := 8 * (r.o.Target - t.rest); r.o.Target > 0 && 2*room < 5*int64(base.Weights()) { // hardly two bits a weight
		menu = prunedFirst(menu)
	}
	if err := r.fewer(ctx, t, len(menu)); err != nil {
		return nil, err
	}
	from := base.Memo.Key("table").Graph(base.Graph).Sum() // once: the weights may be many
	for k, w := range menu {
		late := r.late("the table from " + w.name + " on")
		if late && (r.o.Target == 0 || t.least() <= r.o.Target) {
			break // else what is small enough must be there, measured or not
		}
		if late { // by what takes no time
			if w.step.Method != "gptq" && w.step.Method != "round" {
				continue
			}
			if find("round") != nil && r.may("round") {
				w.step = method.Step{Method: "round", Set: map[string]any{"bits": w.step.Set["bits"]}}
			}
		}
		var made []*held
		for i, l := range base.Layers {
			key := base.Memo.Key("way").Add(w.step.Method, fmt.Sprint(w.step.Set), i, t.samples, from)
			var m measured
			if !base.Memo.Get(key, &m) {
				if made == nil {
					if made, err = t.make(ctx, w); err != nil {
						if ctx.Err() != nil {
							return nil, ctx.Err()
						}
						r.refuse(w.name, err.Error())
						break
					}
				}
				if made[i] == nil {
					continue
				}
				c := base.Clone()
				c.Choice = some(c.Choice, t.samples)
				made[i].put(c, i)
				if m.Bytes, err = r.o.Constant(&c.Layers[i].Weight); err != nil {
					return nil, err
				}
				switch {
				case late:
					for _, x := range t.ways[i] {
						m.Far = max(m.Far, 1e-3, 4*x.far)
					}
				case m.Bytes < t.ways[i][0].cost:
					if err := m.look(ctx, c); err != nil {
						return nil, err
					}
					fallthrough
				default:
					if err := base.Memo.Put(key, m); err != nil {
						return nil, err
					}
				}
			}
			if m.Bytes < t.ways[i][0].cost {
				w.cost, w.far = m.Bytes, m.Far
				t.ways[i] = append(t.ways[i], w)
			}
			base.Tell(method.Event{Stage: "table", Done: float64(k*len(base.Layers) + i + 1), Total: float64(len(menu) * len(base.Layers)), Message: w.name + ", " + l.Name})
		}
	}
	return t, nil
}

// held is what a way makes of a layer.
type held struct{ w, b *method.Held }

// put makes layer i of a state with the same layers hold it.
func (h *held) put(s *method.State, i int) {
	l := s.Layers[i]
	put(&l.Weight, h.w)
	if h.b == nil {
		return
	}
	if l.Bias == nil { // the way gave it one
		b := s.Graph.NewConst(s.Graph.NewName(l.Name+".bias"), h.b.Value.Data)
		l.Node.In = append(slices.Clone(l.Node.In[:2]), b)
		l.Bias = &method.Held{Value: b}
	}
	put(l.Bias, h.b)
}

// put makes h hold what from holds.
func put(h, from *method.Held) {
	v := h.Value
	*h = *from
	h.Value = v
	if from.As != nil {
		v.Data = from.As.Dense()
	} else {
		v.Data = from.Value.Data
	}
}

// make applies a way to all layers of the base: what it makes of each, nil where it leaves it.
func (t *table) make(ctx context.Context, w way) ([]*held, error) {
	if m := t.made[w.name]; m != nil {
		return m, nil
	}
	c := t.base.Clone()
	c.Choice, c.Memo = some(c.Choice, 1), nil // methods measure what they made; nobody asks
	if w.mask != nil {
		for _, l := range c.Layers {
			l.Weight.Prune(w.mask(l))
		}
	} else if err := c.Step(ctx, method.Step{Method: w.step.Method, Set: with(w.step.Set, "layers", "*")}, Methods); err != nil {
		return nil, err
	}
	if len(c.Layers) != len(t.base.Layers) {
		return nil, fmt.Errorf("%s changed the layers themselves", w.step.Method)
	}
	out := make([]*held, len(c.Layers))
	for i, l := range c.Layers {
		if l.Weight.Value.Data == t.base.Layers[i].Weight.Value.Data {
			continue
		}
		out[i] = &held{w: slim(&l.Weight)}
		if l.Bias != nil {
			out[i].b = slim(l.Bias)
		}
		t.bytes += int64(l.Weight.Len())
	}
	if t.bytes > maxHeld {
		clear(t.made)
		t.bytes = 0
	}
	t.made[w.name] = out
	return out, nil
}

// slim is a copy of h that shares no more with its state than it must.
func slim(h *method.Held) *method.Held {
	c := *h
	c.Value = &graph.Value{Type: h.Value.Type}
	if h.As == nil {
		c.Value.Data = h.Value.Data
	}
	return &c
}

// stitch is the base with each layer held as the choice says, put together from what ways made of
// all layers.
func (t *table) stitch(ctx context.Context, pick []int) (*method.State, error) {
	c := t.base.Clone()
	for i, j := range pick {
		if j == 0 {
			continue
		}
		made, err := t.make(ctx, t.ways[i][j])
		if err != nil {
			return nil, err
		}
		if made[i] == nil {
			return nil, fmt.Errorf("layer %s: %s leaves it as it is", c.Layers[i].Name, t.ways[i][j].name)
		}
		made[i].put(c, i)
	}
	return c, nil
}

// steps are the steps that make a choice: layers that are held alike share one.
func (t *table) steps(pick []int) []method.Step {
	var out []method.Step
	var keys []string
	for i, j := range pick {
		if j == 0 {
			continue
		}
		w := t.ways[i][j]
		name := t.base.Layers[i].Name
		key := w.step.Method + fmt.Sprint(with(w.step.Set, "layers", ""))
		at := -1
		for k := range keys {
			if keys[k] == key {
				at = k
			}
		}
		if at < 0 {
			keys = append(keys, key)
			out = append(out, method.Step{Method: w.step.Method, Set: with(w.step.Set, "layers", name)})
			continue
		}
		out[at].Set["layers"] = out[at].Set["layers"].(string) + "," + name
	}
	return out
}

// with is a copy of a set with one entry more.
func with(set map[string]any, name string, v any) map[string]any {
	out := map[string]any{name: v}
	for k, x := range set {
		if k != name {
			out[k] = x
		}
	}
	return out
}

// options are the table's costs and distances, the latter by the layers' multipliers.
func (t *table) options(mult []float64) [][]option {
	rows := make([][]option, len(t.ways))
	for i, ws := range t.ways {
		for _, w := range ws {
			o := w.option
			o.far *= mult[i]
			rows[i] = append(rows[i], o)
		}
	}
	return rows
}

// most is the cost of the dearest choice.
func (t *table) most() (c int64) {
	for _, ws := range t.ways {
		high := int64(0)
		for _, w := range ws {
			high = max(high, w.cost)
		}
		c += high
	}
	return c
}

// least is the size of the smallest file that the table knows of.
func (t *table) least() int64 {
	c := t.rest
	for _, ws := range t.ways {
		low := ws[0].cost
		for _, w := range ws {
			low = min(low, w.cost)
		}
		c += low
	}
	return c
}

func (t *table) cost(pick []int) (c int64) {
	for i, j := range pick {
		c += t.ways[i][j].cost
	}
	return c
}

// rows are the table for the result.
func (t *table) rows(pick []int) (out []Way) {
	for i, ws := range t.ways {
		for j, w := range ws {
			out = append(out, Way{Layer: t.base.Layers[i].Name, Name: w.name, Bytes: w.cost, Far: w.far, Chosen: pick != nil && pick[i] == j})
		}
	}
	return out
}

func (r *runner) refuse(what, why string) {
	x := Refusal{What: what, Why: why}
	if !slices.Contains(r.f.Refused, x) {
		r.f.Refused = append(r.f.Refused, x)
	}
}
