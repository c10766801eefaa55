package quant

import (
	"context"
	"fmt"
	"slices"

	"whit/compress/method"
	"whit/graph"
)

// class is a quantised class of values: what its levels alone do to each output.
type class struct {
	name string
	far  []float64
}

// work is what integers save: the multiplications of a product, which reads and makes classes.
type work struct {
	classes []string
	size    float64
}

// within takes products to integers, those first that save most work for what the levels of their inputs and results
// do to the outputs, as long as these keep to a budget; what is not reached stays float, and so does what saves less than
// going to integers and back costs. p has been calibrated on the state's graph.
func (p *placement) within(ctx context.Context, s *method.State, a method.Args, j *judge, budget float64) error {
	b, err := bound(s.Graph, s.Train)
	if err != nil {
		return err
	}
	names := p.members()
	var classes []class
	for i, k := range p.ordered() {
		c := class{k.Name, p.apart[k]}
		if c.far == nil {
			if c.far, err = j.far(ctx, through(s.Graph, names[k], p.ranges[k])); err != nil {
				return err
			}
		}
		classes = append(classes, c)
		s.Tell(method.Event{Stage: "activations", Message: fmt.Sprintf("%s alone: %.3g", k.Name, worst(c.far)), Done: float64(i + 1), Total: float64(len(names))})
	}
	works := p.works(b)
	all := 0.0
	for _, w := range works {
		all += w.size
	}
	ranges := map[string]Grid{}
	for k, r := range p.ranges {
		ranges[k.Name] = r
	}
	// place quantises some classes alone; far is how far outputs are off then.
	place := func(on []string) (*placement, error) {
		float := map[string]bool{}
		for _, c := range classes {
			float[c.name] = !slices.Contains(on, c.name)
		}
		q, err := newPlaced(s, a, float)
		if err == nil {
			for _, k := range q.ordered() {
				q.ranges[k] = ranges[k.Name]
			}
		}
		return q, err
	}
	far := func(q *placement) ([]float64, error) {
		g, inside := s.Graph, q.members()
		for _, k := range q.ordered() {
			g = through(g, inside[k], q.ranges[k])
		}
		return j.far(ctx, g)
	}
	on := []string(nil)
	q, err := place(nil)
	if err != nil {
		return err
	}
	try := func(with []string, more bool) (bool, error) {
		to, err := place(with)
		if err != nil || more && len(to.ints) <= len(q.ints) {
			return false, err
		}
		if off, err := far(to); err != nil || worst(off) > budget {
			return false, err
		}
		on, q = with, to
		return true, nil
	}
	// Parts add up to more, or less, than they are alone: how many of the chain keep to the budget is measured.
	chain := order(classes, works)
	reached := func(k int) (c []string) {
		for _, w := range chain[:k] {
			c = union(c, w.classes)
		}
		return c
	}
	lo, hi := 0, len(chain)
	for mid := hi; lo < hi; mid = (lo + hi + 1) / 2 { // all of it first
		ok, err := try(reached(mid), false)
		if err != nil {
			return err
		}
		if ok {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	const most = 16 // measurements for single products behind the chain's end
	for _, w := range chain[lo:min(len(chain), lo+most)] {
		if _, err := try(union(on, w.classes), false); err != nil {
			return err
		}
	}
	// What no product reads or makes counts where sums, pools and functions run on integers then.
	for _, c := range classes {
		if with := union(on, []string{c.name}); len(with) > len(on) && !slices.ContainsFunc(works, func(w work) bool { return slices.Contains(w.classes, c.name) }) {
			if _, err := try(with, true); err != nil {
				return err
			}
		}
	}
	if on, q, err = p.worthwhile(b, works, on, q, place, a.Float("crossing")); err != nil {
		return err
	}
	done, count := 0.0, 0
	for _, w := range works {
		if len(union(on, w.classes)) == len(on) {
			done, count = done+w.size, count+1
		}
	}
	s.Tell(method.Event{Stage: "activations", Message: fmt.Sprintf("%d of %d products on integers, %.1f%% of their work; %d of %d values quantised", count, len(works), 100*done/max(1, all), len(on), len(classes))})
	return q.apply(ctx, s, a)
}

// worthwhile leaves out products as long as what the others save grows, at crossing multiplications an element that becomes
// integers or floats between nodes: on are the classes of q, which place makes.
func (p *placement) worthwhile(b *graph.Graph, works []work, on []string, q *placement, place func(on []string) (*placement, error), crossing float64) ([]string, *placement, error) {
	if crossing == 0 {
		return on, q, nil
	}
	saved := func(q *placement) float64 {
		sum := 0.0
		for _, w := range q.works(b) {
			sum += w.size / 2 // integers take about half the time
		}
		return sum - crossing*q.crossings(b)
	}
	kept := slices.DeleteFunc(slices.Clone(works), func(w work) bool { return len(union(on, w.classes)) > len(on) })
	most := saved(q)
	for len(kept) > 0 {
		best := -1
		for i := range kept {
			var less []string
			for k, w := range kept {
				if k != i {
					less = union(less, w.classes)
				}
			}
			r, err := place(less)
			if err != nil {
				return nil, nil, err
			}
			if v := saved(r); v > most {
				best, most, on, q = i, v, less, r
			}
		}
		if best < 0 {
			break
		}
		kept = slices.Delete(kept, best, best+1)
	}
	if most >= 0 {
		return on, q, nil
	}
	q, err := place(nil)
	return nil, q, err
}

// crossings is how many elements of one image become integers of floats, or floats of integers, between nodes.
func (p *placement) crossings(b *graph.Graph) float64 {
	size := func(v *graph.Value) float64 {
		if v = b.Find(v.Name); v == nil {
			return 0
		}
		return float64(v.Type.Shape.NumElements())
	}
	onInts := func(n *graph.Node) bool { return n != nil && (p.ints[n] || p.joined[n] != nil) }
	sum := 0.0
	for _, v := range p.sources() {
		if !onInts(v.Producer) {
			sum += size(v)
		}
	}
	for _, v := range p.g.Values() {
		if v.IsConst() || !p.quant[p.class(v)] {
			continue
		}
		if slices.ContainsFunc(p.uses[v], func(u graph.Use) bool { return u.Node == nil || p.moved(u.Node) == 0 && !onInts(u.Node) }) {
			sum += size(v)
		}
	}
	return sum
}

// works are those of products that integers can do: of a product whose result stays float they do none. b is the graph bound
// to one image.
func (p *placement) works(b *graph.Graph) (ws []work) {
	for _, n := range p.products {
		w, y := n.In[1].Type.Shape, b.Find(n.Out[0].Name)
		if !p.ints[n] || y == nil || len(w) == 0 {
			continue
		}
		size := float64(w.NumElements()) / float64(max(1, w[p.product(n).OutAxis])) * float64(y.Type.Shape.NumElements())
		ws = append(ws, work{union(nil, []string{p.class(n.In[0]).Name, p.class(p.result(n)).Name}), size})
	}
	return ws
}

// order sorts works by what they save for what the classes that they need beyond those before do to the outputs.
func order(classes []class, works []work) (chain []work) {
	const none = 1e-30 // of classes whose levels are exact
	var on []string
	for left := slices.Clone(works); len(left) > 0; {
		at, most := 0, -1.0
		for i, w := range left {
			var cost []float64
			for _, c := range classes {
				if !slices.Contains(w.classes, c.name) || slices.Contains(on, c.name) {
					continue
				}
				cost = append(cost, make([]float64, max(0, len(c.far)-len(cost)))...)
				for o, f := range c.far {
					cost[o] += f
				}
			}
			if gain := w.size / max(none, worst(cost)); gain > most {
				at, most = i, gain
			}
		}
		chain, on = append(chain, left[at]), union(on, left[at].classes)
		left = slices.Delete(left, at, at+1)
	}
	return chain
}

// union is a, and what of b is not in it.
func union(a, b []string) []string {
	c := slices.Clone(a)
	for _, x := range b {
		if !slices.Contains(c, x) {
			c = append(c, x)
		}
	}
	return c
}
