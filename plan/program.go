package plan

import (
	"container/list"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"whit/graph"
	"whit/internal/cpu"
	"whit/kernel"
	"whit/op"
	"whit/pass"
	"whit/tensor"
)

// ErrTooLarge is the root of errors about memory limits.
var ErrTooLarge = op.ErrTooLarge

// Options say how a program is compiled and run. The zero value is the default.
type Options struct {
	// Threads is the number of workers at most, 0: the physical cores. Results do not depend on it.
	Threads int
	// CPU masks the processor's features; nil: what it has.
	CPU *cpu.Features
	// Training: params and states change between runs.
	Training bool
	// Direct turns off algorithms whose bits differ from direct convolution, or that hold weights in a larger form.
	Direct bool
	// References runs every node on its reference.
	References bool
	// Choices of kernels that decide where the tables of costs would; nil: none. See Tune.
	Choices *kernel.Choices
	// MaxMemory bounds what a plan may allocate, in bytes; 0: 4 GiB.
	MaxMemory int64
	// MaxPlans is how many bindings are kept; 0: 8.
	MaxPlans int
}

// Program is a compiled graph, before shapes. It is safe for concurrent use.
type Program struct {
	g    *graph.Graph
	root *Program // of a body: the program that it is part of
	opt  Options
	env  kernel.Env
	vars map[string]*tensor.Tensor

	mu     sync.Mutex
	packMu sync.Mutex
	packs  map[packKey]*pack
	consts map[*tensor.Tensor]bool // those of the program, whose packings are kept
	plans  map[string]*list.Element
	lru    *list.List
}

type packKey struct {
	of      any // *tensor.Tensor of the constant, or its *graph.Value where it is a Weight
	packing string
}

// pack is a packed constant.
type pack struct {
	mu   sync.Mutex  // held by who builds or fills it
	done atomic.Bool // built or filled
	kernel.Packed
	// How it is filled when a node that reads it runs; of is its constant.
	how kernel.Packing
	of  *graph.Value
	// seen: a node has run without it, see kernel.Prepared.First.
	seen atomic.Bool
}

// part fills one part.
func (e *pack) part(_ *kernel.Call, part int, scratch []byte) {
	if e.how.Make != nil {
		e.Parts[part] = e.how.Make(part)
		return
	}
	e.how.Part(e.Bytes, part, scratch)
}

// err is why the constant could not be read.
func (e *pack) err() error {
	if err := e.of.Data.Err(); err != nil {
		return fmt.Errorf("constant %q: %w", e.of.Name, err)
	}
	return nil
}

type entry struct {
	key  string
	plan *Plan
}

// NewProgram compiles a clone of g; constants are shared, params and states are
// copied into the program's own memory. The error lists all nodes whose operator
// is not known.
func NewProgram(g *graph.Graph, o Options) (*Program, error) {
	if err := g.Verify(); err != nil {
		return nil, err
	}
	if err := op.Check(g); err != nil {
		return nil, err
	}
	c, _ := g.Clone()
	pass.Simplify(c)
	if !o.Training && !o.References {
		pass.FoldBatchNorm(c)
	}
	if len(c.Nodes) != len(g.Nodes) { // something was cleaned up
		if err := c.Verify(); err != nil {
			return nil, fmt.Errorf("after clean-up: %w", err)
		}
	}
	if o.Threads <= 0 {
		o.Threads = cpu.PhysicalCores()
	}
	if o.MaxMemory == 0 {
		o.MaxMemory = 4 << 30
	}
	if o.MaxPlans == 0 {
		o.MaxPlans = 8
	}
	p := &Program{g: c, opt: o, vars: map[string]*tensor.Tensor{}, packs: map[packKey]*pack{}, consts: make(map[*tensor.Tensor]bool, 2*len(c.Nodes)),
		plans: map[string]*list.Element{}, lru: list.New()}
	constantsOf(c, p.consts)
	p.env = kernel.Env{Training: o.Training, Direct: o.Direct, Trials: &kernel.Trials{}, Choices: o.Choices}
	if o.CPU != nil {
		p.env.CPU = *o.CPU
	} else {
		p.env.CPU = cpu.Detect()
	}
	for v := range mentions(c) {
		if (v.Kind == graph.Param || v.Kind == graph.State) && p.vars[v.Name] == nil {
			p.vars[v.Name] = v.Data.Clone()
		}
	}
	return p, nil
}

// Var is the live memory of the param or state of that name, shared by all
// sessions of the program; nil if there is none. It must not be touched during a run.
func (p *Program) Var(name string) *tensor.Tensor { return p.vars[name] }

// Inputs are the graph's inputs as declared.
func (p *Program) Inputs() []*graph.Value { return p.g.Inputs }

// Outputs are the graph's outputs as declared.
func (p *Program) Outputs() []*graph.Value { return p.g.Outputs }

// Options are the options with defaults filled in.
func (p *Program) Options() Options { return p.opt }

// Plan is the plan for those input types; recent plans are kept.
func (p *Program) Plan(in map[string]tensor.Type) (*Plan, error) {
	key := typesKey(in)
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.plans[key]; e != nil {
		p.lru.MoveToFront(e)
		return e.Value.(*entry).plan, nil
	}
	c, origin := p.clone()
	b, err := pass.Bind(c, in, nil, p.lowerings()...)
	if err != nil {
		return nil, err
	}
	pl, err := p.compile(b, origin)
	if err != nil {
		return nil, err
	}
	p.plans[key] = p.lru.PushFront(&entry{key, pl})
	for p.lru.Len() > p.opt.MaxPlans {
		e := p.lru.Remove(p.lru.Back()).(*entry)
		delete(p.plans, e.key)
	}
	return pl, nil
}

// lowerings are what binding may do so that kernels are found.
func (p *Program) lowerings() []pass.Lowering {
	if p.opt.References {
		return nil
	}
	return pass.Lowerings()
}

func typesKey(in map[string]tensor.Type) string {
	var ks []string
	for name, t := range in {
		ks = append(ks, fmt.Sprintf("%q:%v", name, t))
	}
	slices.Sort(ks)
	return strings.Join(ks, ";")
}

// clone copies the program's graph and says which constant each copy of a
// weight-encoded constant comes from.
func (p *Program) clone() (*graph.Graph, map[*graph.Value]*graph.Value) {
	c, m := p.g.Clone()
	origin := map[*graph.Value]*graph.Value{}
	for old, v := range m {
		if v.Kind == graph.Const && v.Data == nil {
			origin[v] = old
		}
	}
	return c, origin
}

// packer finds packed constants for one compilation. Constants of the program are packed
// once; those that binding made, once a plan.
type packer struct {
	p      *Program
	origin map[*graph.Value]*graph.Value
	once   map[packKey]*pack
}

// find is the place of the packed constant.
func (k *packer) find(v *graph.Value, packing string) *pack {
	of, key, kept := k.p, packKey{v, packing}, false
	if k.p.root != nil && v.Data != nil {
		of = k.p.root
	}
	if v.Data != nil {
		key.of = v.Data
		kept = of.consts[v.Data]
	} else if o := k.origin[v]; o != nil {
		key.of, kept = o, true
	}
	of.packMu.Lock()
	defer of.packMu.Unlock()
	packs := k.once
	if kept {
		packs = of.packs
	}
	e := packs[key]
	if e == nil {
		e = &pack{}
		packs[key] = e
	}
	return e
}

// pack is kernel.Env.Pack.
func (k *packer) pack(v *graph.Value, packing string, build func() []byte) []byte {
	e := k.find(v, packing)
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.done.Load() {
		e.Bytes = build()
		e.done.Store(true)
	}
	return e.Bytes
}

// later is kernel.Env.PackParts: what is not packed yet joins pending. Encoded constants
// are packed at once, so that they are expanded side by side.
func (k *packer) later(pending *[]*pack) func(*graph.Value, string, kernel.Packing) *kernel.Packed {
	return func(v *graph.Value, packing string, p kernel.Packing) *kernel.Packed {
		if v.Data == nil {
			return &kernel.Packed{Bytes: k.pack(v, packing, p.Build)}
		}
		e := k.find(v, packing)
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.of == nil {
			e.how, e.of = p, v
		}
		if !e.done.Load() {
			*pending = append(*pending, e)
		}
		return &e.Packed
	}
}

// storedErr is the first error in reading a constant of the program.
func (p *Program) storedErr() error {
	if p.root != nil {
		p = p.root
	}
	for t := range p.consts {
		if err := t.Err(); err != nil {
			return fmt.Errorf("a constant: %w", err)
		}
	}
	return nil
}

// mentions goes through the values of g as often as they are named.
func mentions(g *graph.Graph) iter.Seq[*graph.Value] {
	return func(yield func(*graph.Value) bool) {
		all := func(vs []*graph.Value) bool {
			for _, v := range vs {
				if v != nil && !yield(v) {
					return false
				}
			}
			return true
		}
		if !all(g.Inputs) {
			return
		}
		for _, n := range g.Nodes {
			if !all(n.In) || !all(n.Out) {
				return
			}
		}
		all(g.Outputs)
	}
}

// constantsOf notes the data of all constants of g and its bodies.
func constantsOf(g *graph.Graph, into map[*tensor.Tensor]bool) {
	for v := range mentions(g) {
		if v.Kind == graph.Const && v.Data != nil {
			into[v.Data] = true
		}
	}
	for _, n := range g.Nodes {
		for _, b := range n.Bodies() {
			constantsOf(b, into)
		}
	}
}
