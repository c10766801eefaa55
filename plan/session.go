package plan

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"time"

	"whit/graph"
	"whit/kernel"
	"whit/op"
	"whit/pass"
	"whit/tensor"
)

// Session is the memory for runs of a plan. One goroutine uses it at a time; the
// second and later runs allocate nothing (where shapes do not depend on data and
// no node runs on its reference).
type Session struct {
	plan    *Plan
	tensors map[string]*tensor.Tensor // inputs and outputs by name
	crew    crew
	pace    pace
	scratch []byte

	// left is how many iterations loops may still run: own's count, or that of the
	// session which runs this one.
	left *int
	own  int
	// what follows a part whose shapes depend on data
	made      map[string]*tensor.Tensor // by the plan's runs
	next      *Session
	nextTypes map[string]tensor.Type
	nextVals  []*tensor.Tensor
	nextOut   map[string]*tensor.Tensor
}

// NewSession allocates a session.
func (pl *Plan) NewSession() (*Session, error) {
	s := &Session{plan: pl, tensors: map[string]*tensor.Tensor{}}
	workers := 1
	if pl.parallel {
		// There are never more helpers than processors: no scratch for others.
		workers = min(pl.prog.opt.Threads, max(1, runtime.GOMAXPROCS(0)))
	}
	// All of a run's memory is one block.
	lines := func(n int) int { return (n + tensor.Align - 1) &^ (tensor.Align - 1) }
	block := lines(pl.arena) + workers*lines(pl.scratch)
	for _, sl := range pl.slots {
		if sl.place == isInput {
			block += lines(sl.size)
		}
	}
	alloc := tensor.WorkingBytes
	if pl.prog.opt.Direct {
		alloc = tensor.AlignedBytes
	}
	free := alloc(block)
	take := func(n int) []byte {
		b := free[:n:n]
		free = free[lines(n):]
		return b
	}
	mem, arena := make([][]byte, len(pl.slots)), take(pl.arena)
	for i, sl := range pl.slots {
		switch sl.place {
		case inArena:
			mem[i] = arena[sl.off : sl.off+sl.size : sl.off+sl.size]
		case isInput:
			mem[i] = take(sl.size)
		case isVar:
			t := pl.prog.vars[sl.value.Name]
			if t == nil {
				return nil, fmt.Errorf("variable %q has no memory", sl.value.Name)
			}
			mem[i] = t.Bytes()
		}
	}
	views := map[*graph.Value]*tensor.Tensor{}
	view := func(v *graph.Value) (*tensor.Tensor, error) {
		if v == nil {
			return nil, nil
		}
		if t := views[v]; t != nil {
			return t, nil
		}
		var t *tensor.Tensor
		i := pl.values[v]
		if sl := &pl.slots[i]; sl.place == isConst {
			t = pl.constant(sl.value)
			t.Bytes() // now, not at a run
			if err := t.Err(); err != nil {
				return nil, fmt.Errorf("constant %q: %w", sl.value.Name, err)
			}
			if sl.value != v {
				t = t.Reshape(v.Type.Shape...)
			}
		} else {
			var err error
			_, at := whole(v)
			if t, err = tensor.View(v.Type, mem[i][at*v.Type.DType.Bits()/8:]); err != nil {
				return nil, fmt.Errorf("value %q: %w", v.Name, err)
			}
		}
		views[v] = t
		return t, nil
	}
	s.crew.phases = pl.phases
	s.crew.calls = make([]kernel.Call, len(pl.steps))
	for i := range pl.steps {
		st := &pl.steps[i]
		if st.prep == nil {
			continue
		}
		c := &s.crew.calls[i]
		c.In, c.Out = make([]*tensor.Tensor, len(st.node.In)), make([]*tensor.Tensor, len(st.node.Out))
		for k, v := range st.node.In {
			if v != nil && v.IsConst() && !st.prep.Reads(k) {
				continue // packed: the kernel does not look at it
			}
			var err error
			if c.In[k], err = view(v); err != nil {
				return nil, err
			}
		}
		for k, v := range st.node.Out {
			var err error
			if c.Out[k], err = view(v); err != nil {
				return nil, err
			}
		}
		if st.prep.Temp > 0 {
			c.Temp = arena[st.temp : st.temp+st.prep.Temp]
		}
	}
	for _, vs := range [][]*graph.Value{pl.g.Inputs, pl.g.Outputs} {
		for _, v := range vs {
			t, err := view(v)
			if err != nil {
				return nil, err
			}
			s.tensors[v.Name] = t
		}
	}
	s.scratch = take(pl.scratch)
	s.crew.closed.Store(true)
	s.crew.slots, s.crew.lanes = make([]slotOf, workers-1), make([]lane, workers)
	for i := range s.crew.slots {
		s.crew.slots[i].scratch = take(pl.scratch)
	}
	return s, nil
}

// constant is the data of a constant as a tensor; weights under an encoding are
// expanded once a program.
func (pl *Plan) constant(v *graph.Value) *tensor.Tensor {
	if v.Data != nil {
		return v.Data
	}
	b := pl.pack.pack(v, "dense", func() []byte { return v.Weight.Dense().Bytes() })
	t, err := tensor.View(v.Type, b)
	if err != nil {
		panic(err) // the weight's own expansion has its own type's size
	}
	return t
}

// Input is the memory of the input of that name; nil if there is none. Its
// contents stay as they are over runs.
func (s *Session) Input(name string) *tensor.Tensor {
	for _, v := range s.plan.g.Inputs {
		if v.Name == name {
			return s.tensors[name]
		}
	}
	return nil
}

// Output is the output of that name after a run, valid until the next one; nil if
// there is none.
func (s *Session) Output(name string) *tensor.Tensor {
	if t := s.nextOut[name]; t != nil {
		return t
	}
	return s.tensors[name]
}

// Plan is the session's plan.
func (s *Session) Plan() *Plan { return s.plan }

// Run computes the outputs. ctx is checked between nodes.
func (s *Session) Run(ctx context.Context) error { return s.RunTimed(ctx, nil) }

// RunTimed is Run, adding to times the time of every node, in the order of
// Plan.Nodes; that of all which is planned later to the first such node.
func (s *Session) RunTimed(ctx context.Context, times []time.Duration) error {
	s.left, s.own = &s.own, op.MaxIterations
	return s.run(ctx, times)
}

func (s *Session) run(ctx context.Context, times []time.Duration) (err error) {
	c := &s.crew
	alone := len(c.slots) == 0
	c.short = false
	if !alone {
		began := time.Now()
		defer func() {
			if err == nil {
				s.pace.took(time.Since(began))
			}
		}()
		alone = s.pace.next() || !c.call()
	}
	defer c.closed.Store(true)
	done := ctx.Done()
	for i := range s.plan.steps {
		st := &s.plan.steps[i]
		if st.prep == nil {
			continue
		}
		if done != nil {
			select {
			case <-done:
				return ctx.Err()
			default:
			}
		}
		if c.short && c.call() {
			alone = false
		}
		var t0 time.Time
		if times != nil {
			t0 = time.Now()
		}
		first, err := s.packs(st, alone)
		if err != nil {
			return op.At(st.node, err)
		}
		if !first {
			for k := range st.prep.Phases {
				s.phase(st.phase+k, alone || st.sequential)
			}
		}
		if st.control != nil {
			c := &c.calls[i]
			res, err := st.control.run(ctx, s.left, c.In)
			if err == nil {
				err = op.Deliver(st.node, res, c.Out)
			}
			if err != nil {
				return err
			}
		}
		if st.prep.Err != nil {
			if err := st.prep.Err(&c.calls[i]); err != nil {
				return op.At(st.node, err)
			}
		}
		if times != nil {
			times[i] += time.Since(t0)
		}
	}
	if s.plan.rest != nil {
		return s.runRest(ctx, times)
	}
	return nil
}

// phase runs the tiles of a phase, with the crew's helpers or alone.
func (s *Session) phase(p int, alone bool) {
	c := &s.crew
	ph := &c.phases[p]
	if !alone && ph.tiles > 1 && ph.tiles>>tileBits == 0 && p>>tileBits == 0 {
		c.share(p, s.scratch)
		return
	}
	for t := range ph.tiles {
		ph.run(&c.calls[ph.step], t, s.scratch)
	}
}

// packs fills the step's packed constants where they are not, or, at their first use,
// runs the step without them where its kernel can: first.
func (s *Session) packs(st *step, alone bool) (first bool, err error) {
	from := st.phase - len(st.prep.First)
	for k, e := range st.packs {
		if e.done.Load() {
			continue
		}
		if len(st.prep.First) > 0 && len(st.packs) == 1 && e.seen.CompareAndSwap(false, true) {
			for p := from; p < st.phase; p++ {
				s.phase(p, alone)
			}
			return true, e.err()
		}
		if err := s.fill(e, from-len(st.packs)+k, alone); err != nil {
			return false, err
		}
	}
	return false, nil
}

// fill fills a packed constant by the parts of phase p, or waits for the session that does.
func (s *Session) fill(e *pack, p int, alone bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.done.Load() {
		return nil
	}
	e.Bytes, e.Parts = tensor.AlignedBytes(e.how.Bytes), nil
	if e.how.Make != nil {
		e.Parts = make([][]byte, e.how.Parts)
	}
	s.phase(p, alone)
	if err := e.err(); err != nil {
		return err
	}
	e.how.Fill, e.how.Make = nil, nil
	e.done.Store(true)
	return nil
}

// runRest runs the nodes that say their outputs' types themselves, then plans and
// runs those whose shapes depend on what has been computed by now. The last plan is
// kept while types and needed data stay the same.
func (s *Session) runRest(ctx context.Context, times []time.Duration) error {
	pl := s.plan
	if times != nil {
		times = times[len(pl.steps):]
	}
	if err := s.runDynamic(ctx, times); err != nil {
		return err
	}
	if times = times[min(len(times), len(pl.runs)):]; len(times) > 0 {
		began := time.Now()
		defer func() { times[0] += time.Since(began) }()
	}
	given := func(name string) *tensor.Tensor {
		if t := s.made[name]; t != nil {
			return t
		}
		return s.tensors[name]
	}
	same := s.next != nil
	for _, v := range pl.rest.Inputs {
		same = same && given(v.Name).Type.Equal(s.nextTypes[v.Name])
	}
	for i, name := range pl.needs {
		same = same && bytes.Equal(s.nextVals[i].Bytes(), given(name).Bytes())
	}
	if !same {
		types, known := map[string]tensor.Type{}, map[string]*tensor.Tensor{}
		for _, v := range pl.rest.Inputs {
			types[v.Name] = given(v.Name).Type
		}
		s.next, s.nextVals = nil, s.nextVals[:0]
		for _, name := range pl.needs {
			known[name] = given(name).Clone()
			s.nextVals = append(s.nextVals, known[name])
		}
		c, _ := pl.rest.Clone()
		b, err := pass.Bind(c, types, known, pl.prog.lowerings()...)
		if err != nil {
			return err
		}
		// Every round plans a node, runs one, or turns an input into a constant.
		if b.Rest != nil && len(b.Runs)+len(pl.runs) == 0 && len(b.Rest.Nodes) >= len(pl.rest.Nodes) && len(b.Rest.Inputs) >= len(pl.rest.Inputs) {
			n := b.Rest.Nodes[0]
			return op.Unsupported(n, "its shape stays unknown after its inputs have been computed")
		}
		sub, err := pl.prog.compile(b, nil)
		if err != nil {
			return err
		}
		if s.next, err = sub.NewSession(); err != nil {
			return err
		}
		s.nextTypes = types
	}
	for _, v := range pl.rest.Inputs {
		if in := s.next.Input(v.Name); in != nil {
			copy(in.Bytes(), given(v.Name).Bytes())
		}
	}
	s.next.left = s.left
	if err := s.next.run(ctx, nil); err != nil {
		return err
	}
	if s.nextOut == nil {
		s.nextOut = map[string]*tensor.Tensor{}
	}
	for _, v := range pl.rest.Outputs {
		s.nextOut[v.Name] = s.next.Output(v.Name)
	}
	return nil
}

// runDynamic runs the nodes between the plan's steps and the rest.
func (s *Session) runDynamic(ctx context.Context, times []time.Duration) error {
	if len(s.plan.runs) > 0 && s.made == nil {
		s.made = map[string]*tensor.Tensor{}
	}
	for k, c := range s.plan.runs {
		began := time.Now()
		in := make([]*tensor.Tensor, len(c.node.In))
		for i, v := range c.node.In {
			switch {
			case v == nil:
			case v.IsConst():
				in[i] = s.plan.constant(v)
			case v.Kind == graph.Param || v.Kind == graph.State:
				in[i] = s.plan.prog.vars[v.Name]
			default:
				in[i] = s.tensors[v.Name]
			}
		}
		out, err := c.run(ctx, s.left, in)
		if err != nil {
			return err
		}
		for i, v := range c.node.Out {
			if v != nil {
				s.made[v.Name] = out[i]
			}
		}
		if times != nil {
			times[k] += time.Since(began)
		}
	}
	return nil
}
