package plan

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"whit/graph"
	"whit/kernel"
	"whit/op"
	"whit/pass"
	"whit/tensor"
)

// Plan is one binding of a program: immutable, shared by sessions.
type Plan struct {
	prog  *Program
	g     *graph.Graph
	steps []step
	slots []slot
	// values gives the slot of every value that has memory.
	values   map[*graph.Value]int
	arena    int
	scratch  int // bytes a worker
	parallel bool
	phases   []phaseRef

	rest   *graph.Graph
	needs  []string
	floats []string   // nodes that Options.Choices leaves in floats
	runs   []*control // between the steps and the rest
	pack   *packer
	env    kernel.Env
}

// step is a prepared node.
type step struct {
	node       *graph.Node
	prep       *kernel.Prepared
	control    *control // set where the node has bodies; prep does nothing then
	temp       int      // arena offset of Call.Temp
	macs       int64
	bytes      int64
	packs      []*pack // constants that a run fills; their phases come first, then those of First
	phase      int     // index of its first phase in Plan.phases
	sequential bool
}

type phaseRef struct {
	step  int
	tiles int
	run   func(c *kernel.Call, tile int, scratch []byte)
}

// where a slot's memory is.
type place uint8

const (
	inArena place = iota
	isInput
	isConst
	isVar
)

// slot is one piece of memory that one or several values share.
type slot struct {
	place place
	value *graph.Value // the input, constant or variable
	size  int
	first int // step that writes it
	last  int // last step that reads it
	off   int // in the arena
	keep  bool
}

// compile lays out, prepares and schedules a bound graph.
func (p *Program) compile(b *pass.Bound, origin map[*graph.Value]*graph.Value) (*Plan, error) {
	env := p.env
	env.Known = &kernel.Known{}
	g := b.Graph
	pl := &Plan{prog: p, g: g, values: map[*graph.Value]int{}, rest: b.Rest, needs: b.Needs}
	pl.pack = &packer{p: p, origin: origin, once: map[packKey]*pack{}}
	env.Pack = pl.pack.pack
	pl.env = env
	if err := pl.checkSizes(); err != nil {
		return nil, err
	}
	if !p.opt.Training && !p.opt.References {
		floats := func(n *graph.Node) bool {
			is := kernel.KeepFloat(n, &env)
			if is {
				pl.floats = append(pl.floats, n.Name)
			}
			return is
		}
		if env.Choices == nil {
			floats = nil
		}
		if err := pass.Quantize(g, floats); err != nil {
			return nil, err
		}
	}
	if err := pass.FoldConstants(g); err != nil {
		return nil, err
	}
	if !p.opt.Training && !p.opt.References {
		// What fusing asks about constants takes long, and is remembered.
		p.each(len(g.Nodes), func(i int) { kernel.Select(g.Nodes[i], &env) })
		pass.Fuse(g, func(n *graph.Node) bool { return kernel.Fuses(n, &env) })
		env.Planes = kernel.PlanesOf(g, &env)
	}
	chosen := assignLayouts(g, &env, p.opt.References)
	preps, packs, err := p.prepare(g, chosen, &env, pl.pack)
	if err != nil {
		return nil, err
	}
	var work int64
	for i, n := range g.Nodes {
		prep := preps[i]
		var ctl *control
		if isControl(n) {
			prep = &kernel.Prepared{Kernel: "control"}
			if ctl, err = p.control(n); err != nil {
				return nil, err
			}
		}
		s := step{node: n, prep: prep, control: ctl, packs: packs[i]}
		s.macs, s.bytes = op.Cost(n)
		// About 20 multiply-accumulates and 4 bytes a nanosecond: a step under 10 µs
		// is not worth sharing.
		cost := s.macs/20 + s.bytes/4
		s.sequential = cost < 10_000
		work += cost
		pl.steps = append(pl.steps, s)
	}
	for _, n := range b.Runs {
		c, err := p.control(n)
		if err != nil {
			return nil, err
		}
		pl.runs = append(pl.runs, c)
	}
	pl.parallel = work > 20_000
	for i := range pl.steps {
		s := &pl.steps[i]
		for _, k := range s.packs {
			pl.scratch = max(pl.scratch, k.how.Scratch)
			pl.phases = append(pl.phases, phaseRef{i, k.how.Parts, k.part})
		}
		if s.prep != nil && len(s.packs) > 0 {
			for _, ph := range s.prep.First {
				pl.phases = append(pl.phases, phaseRef{i, ph.Tiles, ph.Run})
			}
		}
		s.phase = len(pl.phases)
		if s.prep != nil {
			pl.scratch = max(pl.scratch, s.prep.Scratch)
			for _, ph := range s.prep.Phases {
				pl.phases = append(pl.phases, phaseRef{i, ph.Tiles, ph.Run})
			}
		}
	}
	if err := pl.place(); err != nil {
		return nil, err
	}
	return pl, p.storedErr()
}

// prepare binds the nodes to their kernels, nil where a node only renames memory.
// Packing constants takes long: as many goroutines share the nodes as runs have workers.
// packs are those that wait for the node's first run.
func (p *Program) prepare(g *graph.Graph, chosen map[*graph.Node]*kernel.Kernel, env *kernel.Env, k *packer) ([]*kernel.Prepared, [][]*pack, error) {
	preps, packs, errs := make([]*kernel.Prepared, len(g.Nodes)), make([][]*pack, len(g.Nodes)), make([]error, len(g.Nodes))
	one := func(i int) {
		n := g.Nodes[i]
		c := chosen[n]
		switch {
		case alias(n) || placed(n) || isControl(n):
		case c == nil:
			preps[i] = kernel.Reference(n)
		default:
			env := *env
			env.PackParts = k.later(&packs[i])
			prep, err := c.Prepare(n, &env)
			if err != nil {
				errs[i] = fmt.Errorf("node %q (%s): %s: %w", n.Name, n.OpName(), c.Name, err)
				return
			}
			if prep.Kernel == "" {
				prep.Kernel = c.Name
			}
			preps[i] = prep
		}
	}
	p.each(len(g.Nodes), one)
	for _, err := range errs {
		if err != nil {
			return nil, nil, err
		}
	}
	return preps, packs, nil
}

// each calls f for 0 to n-1, on as many goroutines as runs have workers.
func (p *Program) each(n int, f func(int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(p.opt.Threads, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// isControl reports nodes that run graphs of their own.
func isControl(n *graph.Node) bool { return op.Of(n).Run != nil && len(n.Bodies()) > 0 }

// alias reports nodes that only rename row-major memory: their output shares
// their first input's.
func alias(n *graph.Node) bool {
	if n.Domain != "" {
		return false
	}
	switch n.Op {
	case "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity":
		return n.In[0].Layout == (graph.Layout{}) && n.Out[0].Layout == (graph.Layout{})
	case "Dropout":
		return len(n.Out) == 1 && n.Int("training_mode", 0) == 0 && n.Input(2) == nil && n.In[0].Layout == (graph.Layout{})
	}
	return false
}

// size is the memory of a value in bytes.
func size(v *graph.Value) int {
	if v.Layout.Order == graph.RowMajor {
		return v.Type.NumBytes()
	}
	return kernel.PhysicalLen(v.Type.Shape, v.Layout) * v.Type.DType.Bits() / 8
}

// checkSizes refuses bindings whose values are beyond the memory limit before
// anything is allocated.
func (pl *Plan) checkSizes() error {
	for v := range mentions(pl.g) {
		if n := int64(v.Type.NumBytes()); n > pl.prog.opt.MaxMemory {
			return fmt.Errorf("%w: value %q (%v) needs %d bytes, the limit is %d", ErrTooLarge, v.Name, v.Type, n, pl.prog.opt.MaxMemory)
		}
	}
	return nil
}

// place gives every value memory: lifetimes, sharing, arena offsets.
func (pl *Plan) place() error {
	end := len(pl.steps)
	newSlot := func(s slot) int {
		pl.slots = append(pl.slots, s)
		return len(pl.slots) - 1
	}
	base := func(v *graph.Value) int {
		if i, ok := pl.values[v]; ok {
			return i
		}
		pc := isConst
		switch v.Kind {
		case graph.Input:
			pc = isInput
		case graph.Param, graph.State:
			pc = isVar
		}
		i := newSlot(slot{place: pc, value: v, size: size(v), first: -1, last: end, keep: true})
		pl.values[v] = i
		return i
	}
	for _, v := range pl.g.Inputs {
		base(v)
	}
	lastUse := make(map[*graph.Value]int, len(pl.steps))
	for i, s := range pl.steps {
		for _, v := range s.node.In {
			if v != nil {
				lastUse[v] = i
			}
		}
	}
	for _, v := range pl.g.Outputs {
		lastUse[v] = end
	}
	for v := range mentions(pl.g) {
		if r, _ := whole(v); r != v {
			lastUse[r] = max(lastUse[r], lastUse[v])
		}
	}
	// Aliases pass their last use on to what they alias, last step first.
	for i := len(pl.steps) - 1; i >= 0; i-- {
		if n := pl.steps[i].node; pl.steps[i].prep == nil && !placed(n) {
			lastUse[n.In[0]] = max(lastUse[n.In[0]], lastUse[n.Out[0]])
		}
	}
	temps := make([]int, len(pl.steps))
	for i := range pl.steps {
		s := &pl.steps[i]
		for _, v := range s.node.In {
			if v != nil {
				j := base(v)
				pl.slots[j].last = max(pl.slots[j].last, lastUse[v])
			}
		}
		if s.prep == nil && placed(s.node) {
			for _, v := range s.node.Out {
				r, _ := whole(v)
				pl.values[v] = pl.values[r]
			}
			continue
		}
		if s.prep == nil {
			j := pl.values[s.node.In[0]]
			pl.values[s.node.Out[0]] = j
			pl.slots[j].last = max(pl.slots[j].last, lastUse[s.node.Out[0]])
			continue
		}
		for k, v := range s.node.Out {
			if v == nil {
				continue
			}
			if r, _ := whole(v); r != v {
				// The first part that is written begins the life of the whole.
				j, ok := pl.values[r]
				if !ok {
					j = newSlot(slot{place: inArena, value: r, size: size(r), first: i, last: max(i, lastUse[r])})
					pl.values[r] = j
				}
				pl.values[v] = j
				continue
			}
			if _, ok := pl.values[v]; ok {
				continue // parts of it have been written
			}
			if j, ok := pl.takeOver(i, k); ok {
				pl.slots[j].last = max(i, lastUse[v])
				pl.values[v] = j
				continue
			}
			pl.values[v] = newSlot(slot{place: inArena, value: v, size: size(v), first: i, last: max(i, lastUse[v])})
		}
		temps[i] = -1
		if s.prep.Temp > 0 {
			temps[i] = newSlot(slot{place: inArena, size: s.prep.Temp, first: i, last: i})
		}
	}
	for _, v := range pl.g.Outputs {
		base(v)
	}
	var total int64
	if total = pack1D(pl.slots); total > pl.prog.opt.MaxMemory {
		return fmt.Errorf("%w: the plan needs %d bytes of working memory, the limit is %d", ErrTooLarge, total, pl.prog.opt.MaxMemory)
	}
	pl.arena = int(total)
	for i, t := range temps {
		if pl.steps[i].prep != nil && t >= 0 {
			pl.steps[i].temp = pl.slots[t].off
		}
	}
	return nil
}

// takeOver finds an input of step i whose memory output k can use: one that the
// kernel allows, whose last reader is this step, once.
func (pl *Plan) takeOver(i, k int) (slot int, ok bool) {
	n := pl.steps[i].node
	for _, a := range pl.steps[i].prep.InPlace {
		if k != 0 || a >= len(n.In) || n.In[a] == nil {
			continue
		}
		in, out := n.In[a], n.Out[0]
		if in.Within != nil {
			continue
		}
		j := pl.values[in]
		sl := &pl.slots[j]
		if sl.place != inArena || sl.last != i || sl.size < size(out) || in.Layout != out.Layout {
			continue
		}
		readers := 0
		for _, v := range n.In {
			if v != nil && pl.values[v] == j {
				readers++
			}
		}
		if readers == 1 {
			return j, true
		}
	}
	return 0, false
}

// NodeInfo describes one step of a plan, as `inspect --plan` prints it.
type NodeInfo struct {
	Node   string `json:"node"`
	Op     string `json:"op"`
	Kernel string `json:"kernel"`
	MACs   int64  `json:"macs"`
	Bytes  int64  `json:"bytes"`
	Output string `json:"output"`
	// Why says what decided on the kernel, where it was tuned, and where weights are compressed or hold many zeros.
	Why string `json:"why,omitempty"`
}

// Nodes lists the steps in the order in which they run. Nodes that only rename
// memory have the kernel "view", those that run bodies or are run to know their
// outputs' types "control", and those that are planned when shapes are known "later".
func (pl *Plan) Nodes() []NodeInfo {
	var out []NodeInfo
	for _, s := range pl.steps {
		k := "view"
		if s.prep != nil {
			k = s.prep.Kernel
		}
		o := ""
		if len(s.node.Out) > 0 && s.node.Out[0] != nil {
			o = s.node.Out[0].Type.String()
		}
		why := ""
		if !pl.prog.opt.References {
			why = pl.why(s.node)
		}
		out = append(out, NodeInfo{s.node.Name, s.node.OpName(), k, s.macs, s.bytes, o, why})
	}
	for _, c := range pl.runs {
		out = append(out, NodeInfo{Node: c.node.Name, Op: c.node.OpName(), Kernel: "control"})
	}
	if pl.rest != nil {
		for _, n := range pl.rest.Nodes {
			out = append(out, NodeInfo{Node: n.Name, Op: n.OpName(), Kernel: "later"})
		}
	}
	return out
}

// why says what decided on a node's kernel.
func (pl *Plan) why(n *graph.Node) string {
	if slices.Contains(pl.floats, n.Name) {
		return "tuned: float"
	}
	if c := kernel.Chosen(n, &pl.env); c != "" {
		return "tuned: " + c
	}
	return kernel.Why(n, &pl.env)
}

// ArenaBytes is the memory that a session needs for activations, in bytes.
func (pl *Plan) ArenaBytes() int { return pl.arena }

// Graph is the compiled graph; it must not be changed.
func (pl *Plan) Graph() *graph.Graph { return pl.g }

// Complete reports whether all nodes could be planned: false where shapes depend
// on data and the rest is planned at every run.
func (pl *Plan) Complete() bool { return pl.rest == nil }

// OutputType is the type of the output of that name; Invalid where it depends on data.
func (pl *Plan) OutputType(name string) tensor.Type {
	for _, v := range pl.g.Outputs {
		if v.Name == name {
			return v.Type
		}
	}
	return tensor.Type{}
}
