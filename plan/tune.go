package plan

import (
	"context"
	"math"
	"slices"
	"time"

	"whit/graph"
	"whit/kernel"
	"whit/tensor"
)

// A Timer measures plans of one model on this machine: for every plan the time of each
// of its nodes, in the order of Plan.Nodes. [Measure] is one.
type Timer func(ctx context.Context, plans []*Plan) ([][]time.Duration, error)

// Gains that decide: what is measured to be faster by less is noise.
const (
	tuneNode  = 0.97 // of a node's time
	tuneModel = 0.99 // of the whole model's
)

// Tune finds the candidates of kernels (see [kernel.Candidates]) that are fastest
// for that binding of g on this machine, as choices for Options.Choices. Each node is
// timed in place on each of its candidates, with what it takes to get there: plans of the whole model
// are made in which every node that can runs on one of them. The best are then taken together;
// where the whole is no faster with them, the choices are those of the tables. time may be nil.
func Tune(ctx context.Context, g *graph.Graph, in map[string]tensor.Type, o Options, time Timer) (*kernel.Choices, error) {
	if time == nil {
		time = Measure
	}
	o.Choices = nil
	table, err := tunedPlan(g, in, o)
	if err != nil {
		return nil, err
	}
	c := &kernel.Choices{CPU: table.env.CPU.String(), Of: map[string]string{}}
	units := table.units()
	var names []string
	for _, u := range units {
		c.Of[u.sig] = u.taken
		for _, n := range u.names {
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	plans, of := []*Plan{table}, []string{""}
	for _, name := range names {
		v := &kernel.Choices{CPU: c.CPU, Of: map[string]string{}}
		differs := false
		for _, u := range units {
			if slices.Contains(u.names, name) {
				v.Of[u.sig] = name
				differs = differs || u.taken != name
			}
		}
		if !differs {
			continue
		}
		o.Choices = v
		pl, err := tunedPlan(g, in, o)
		if err != nil {
			return nil, err
		}
		plans, of = append(plans, pl), append(of, name)
	}
	if len(plans) == 1 {
		return c, nil
	}
	times, err := time(ctx, plans)
	if err != nil {
		return nil, err
	}
	// The time of a signature on a candidate is that of all nodes that have it.
	sum := map[string]map[string]float64{}
	for i, pl := range plans {
		cost := pl.costs(times[i])
		for _, u := range units {
			name := of[i]
			if i == 0 {
				name = u.taken
			} else if !slices.Contains(u.names, name) || name == u.taken {
				continue
			}
			if sum[u.sig] == nil {
				sum[u.sig] = map[string]float64{}
			}
			sum[u.sig][name] += cost(u.node)
		}
	}
	best := &kernel.Choices{CPU: c.CPU, Of: map[string]string{}}
	changed := false
	for _, u := range units {
		taken, least := u.taken, tuneNode*sum[u.sig][u.taken]
		for _, name := range u.names {
			if t, ok := sum[u.sig][name]; ok && t < least {
				taken, least = name, t
			}
		}
		best.Of[u.sig] = taken
		changed = changed || taken != u.taken
	}
	if !changed {
		return c, nil
	}
	o.Choices = best
	tuned, err := tunedPlan(g, in, o)
	if err != nil {
		return nil, err
	}
	if times, err = time(ctx, []*Plan{table, tuned}); err != nil {
		return nil, err
	}
	if total(times[1]) > tuneModel*total(times[0]) {
		return c, nil
	}
	return best, nil
}

func tunedPlan(g *graph.Graph, in map[string]tensor.Type, o Options) (*Plan, error) {
	p, err := NewProgram(g, o)
	if err != nil {
		return nil, err
	}
	return p.Plan(in)
}

func total(times []time.Duration) float64 {
	t := 0.0
	for _, d := range times {
		t += float64(d)
	}
	return t
}

// unit is a node that has something to choose from.
type unit struct {
	node  *graph.Node
	sig   string
	names []string
	taken string
}

func (pl *Plan) units() []unit {
	var us []unit
	for i := range pl.steps {
		n := pl.steps[i].node
		if sig, names, taken := kernel.Candidates(n, &pl.env); len(names) > 1 {
			us = append(us, unit{n, sig, names, taken})
		}
	}
	return us
}

// costs gives what a plan needs for a node of another plan of the model: for all that
// lies between the values of the names that the node reads and that which it writes.
func (pl *Plan) costs(times []time.Duration) func(n *graph.Node) float64 {
	of := map[*graph.Node]float64{}
	written := map[string]*graph.Value{}
	for i := range pl.steps {
		n := pl.steps[i].node
		of[n] = float64(times[i])
		for _, v := range n.Out {
			if v != nil {
				written[v.Name] = v
			}
		}
	}
	return func(n *graph.Node) float64 {
		reads := map[string]bool{}
		for _, v := range n.In {
			if v != nil {
				reads[source(v).Name] = true
			}
		}
		sum, seen := 0.0, map[*graph.Node]bool{}
		var add func(v *graph.Value)
		add = func(v *graph.Value) {
			if v == nil || v.Producer == nil || reads[v.Name] || seen[v.Producer] {
				return
			}
			seen[v.Producer] = true
			sum += of[v.Producer]
			for _, x := range v.Producer.In {
				add(x)
			}
		}
		last := written[n.Out[0].Name]
		if last == nil {
			return math.Inf(1) // unknown here: no gain
		}
		add(last)
		return sum
	}
}

// source is the value of which v is a copy in another order.
func source(v *graph.Value) *graph.Value {
	for v.Producer != nil && v.Producer.Domain == graph.Domain && v.Producer.Op == "Reorder" {
		v = v.Producer.In[0]
	}
	return v
}

// Measure times plans by their sessions: some runs of each in turn, several times over. A
// node's time is the least of all runs.
func Measure(ctx context.Context, plans []*Plan) ([][]time.Duration, error) {
	const rounds, runs, most, burst = 5, 3, 40, 30 * time.Millisecond
	sessions, out := make([]*Session, len(plans)), make([][]time.Duration, len(plans))
	each := make([]time.Duration, len(plans)) // of a run
	for i, pl := range plans {
		s, err := pl.NewSession()
		if err != nil {
			return nil, err
		}
		sessions[i] = s
		for k, v := range pl.g.Inputs {
			fillTuned(s.Input(v.Name), uint64(k)+1)
		}
		for range 3 { // the first runs pack
			t0 := time.Now()
			if err := s.Run(ctx); err != nil {
				return nil, err
			}
			each[i] = time.Since(t0)
		}
		out[i] = make([]time.Duration, len(pl.Nodes()))
	}
	for range rounds {
		for i, s := range sessions {
			n := max(runs, min(most, int(burst/max(1, each[i]))))
			d := make([]time.Duration, len(out[i]))
			for k := range n + 1 {
				clear(d)
				if err := s.RunTimed(ctx, d); err != nil {
					return nil, err
				}
				for j, t := range d {
					if k > 0 && (out[i][j] == 0 || t < out[i][j]) { // the first run warms caches
						out[i][j] = t
					}
				}
			}
		}
	}
	return out, nil
}

// fillTuned fills an input of floats with seeded uniform numbers about 0.
func fillTuned(t *tensor.Tensor, seed uint64) {
	if t.DType != tensor.Float32 {
		return
	}
	state := seed * 0x9e3779b97f4a7c15
	for i, s := 0, tensor.Of[float32](t); i < len(s); i++ {
		state = state*6364136223846793005 + 1442695040888963407
		s[i] = float32(int32(state>>32)) * (1.0 / (1 << 30))
	}
}
