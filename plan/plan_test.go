package plan

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"whit/graph"
	"whit/internal/optest"
	"whit/kernel"
	"whit/tensor"
)

func run(t *testing.T, g *graph.Graph, o Options, in map[string]*tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	p, err := NewProgram(g, o)
	if err != nil {
		t.Fatal(err)
	}
	return runProgram(t, p, in)
}

func runProgram(t *testing.T, p *Program, in map[string]*tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	types := map[string]tensor.Type{}
	for name, x := range in {
		types[name] = x.Type
	}
	pl, err := p.Plan(types)
	if err != nil {
		t.Fatal(err)
	}
	s, err := pl.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range in {
		copy(s.Input(name).Bytes(), x.Bytes())
	}
	var out []*tensor.Tensor
	for range 2 { // the second run reuses the arena
		out = nil
		if err := s.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		for _, v := range p.Outputs() {
			out = append(out, s.Output(v.Name).Clone())
		}
	}
	return out
}

// TestCases runs every harness case through a plan, on references and on
// kernels, with several worker counts.
func TestCases(t *testing.T) {
	for _, c := range optest.All() {
		if c.Err {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			g, feeds := c.Build()
			want, err := optest.Eval(g, feeds)
			if err != nil {
				t.Skip(err)
			}
			for _, o := range []Options{{References: true}, {Threads: 1}, {Threads: 3}} {
				g, feeds := c.Build()
				p, err := NewProgram(g, o)
				if err != nil {
					t.Fatal(err)
				}
				for i, y := range runProgram(t, p, feeds) {
					limit := c.Tol
					if limit == 0 && y.DType.IsFloat() {
						limit = 1e-5
					}
					if o.References {
						limit = 0
					}
					if y.DType.IsSmallFloat() {
						limit = max(limit, 1e-2)
					}
					if d := optest.Diff(y, want[i]); !(d <= limit) {
						t.Errorf("%+v: output %d differs by %g", o, i, d)
					}
				}
			}
		})
	}
}

// chain is a graph of n Relu nodes with branches, so that lifetimes overlap.
func chain(n int) *graph.Graph {
	g := graph.New("chain")
	x := g.AddInput("x", tensor.Float32, 4, 1000)
	vs := []*graph.Value{x}
	r := rand.New(rand.NewPCG(1, 2))
	for range n {
		vs = append(vs, g.Add("", "Relu", nil, vs[r.IntN(len(vs))]))
	}
	g.Outputs = vs[len(vs)-3:]
	return g
}

func TestArenaSharesMemory(t *testing.T) {
	g := graph.New("line")
	v := g.AddInput("x", tensor.Float32, 100)
	for range 20 {
		v = g.Add("", "Relu", nil, v)
	}
	g.Outputs = []*graph.Value{v}
	p, err := NewProgram(g, Options{References: true})
	if err != nil {
		t.Fatal(err)
	}
	pl, err := p.Plan(map[string]tensor.Type{"x": {DType: tensor.Float32, Shape: tensor.Shape{100}}})
	if err != nil {
		t.Fatal(err)
	}
	if pl.ArenaBytes() != 2*448 {
		t.Errorf("arena has %d bytes, want two values of 448", pl.ArenaBytes())
	}
}

func TestBranchesAgreeWithReference(t *testing.T) {
	for seed := range uint64(5) {
		g := chain(12 + int(seed))
		x := optest.Rand(seed, tensor.Float32, 4, 1000)
		want, err := optest.Eval(g, map[string]*tensor.Tensor{"x": x})
		if err != nil {
			t.Fatal(err)
		}
		for i, y := range run(t, g, Options{}, map[string]*tensor.Tensor{"x": x}) {
			if d := optest.Diff(y, want[i]); d != 0 {
				t.Errorf("seed %d output %d differs by %g", seed, i, d)
			}
		}
	}
}

// TestSlotsDoNotOverlap checks the packing itself on random lifetimes.
func TestSlotsDoNotOverlap(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 200 {
		var slots []slot
		for range 1 + r.IntN(30) {
			a, b := r.IntN(20), r.IntN(20)
			slots = append(slots, slot{place: inArena, size: 1 + r.IntN(5000), first: min(a, b), last: max(a, b)})
		}
		total := pack1D(slots)
		for i, a := range slots {
			if int64(a.off+a.size) > total || a.off%tensor.Align != 0 {
				t.Fatalf("slot %+v in %d bytes", a, total)
			}
			for _, b := range slots[:i] {
				if a.last >= b.first && b.last >= a.first && a.off < b.off+b.size && b.off < a.off+a.size {
					t.Fatalf("%+v and %+v overlap", a, b)
				}
			}
		}
	}
}

// tilesKernel runs a node of 1,000 tiles over 1 to 16 workers, many sessions at once.
func TestCrewRunsEveryTileOnce(t *testing.T) {
	const tiles, steps = 1000, 50
	for _, workers := range []int{1, 2, 5, 16} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					counts := make([]int, tiles*steps)
					pl := &Plan{prog: &Program{opt: Options{Threads: workers}}, g: graph.New("x"), parallel: true, values: map[*graph.Value]int{}}
					for i := range steps {
						ph := kernel.Phase{Tiles: tiles, Run: func(_ *kernel.Call, tile int, _ []byte) { counts[i*tiles+tile]++ }}
						pl.steps = append(pl.steps, step{node: &graph.Node{}, prep: &kernel.Prepared{Phases: []kernel.Phase{ph}}, phase: i})
						pl.phases = append(pl.phases, phaseRef{i, tiles, ph.Run})
					}
					s, err := pl.NewSession()
					if err != nil {
						t.Error(err)
						return
					}
					for range 3 {
						if err := s.Run(context.Background()); err != nil {
							t.Error(err)
						}
					}
					if i := slices.IndexFunc(counts, func(n int) bool { return n != 3 }); i >= 0 {
						t.Errorf("tile %d ran %d times, want 3", i, counts[i])
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestCancelled(t *testing.T) {
	p, err := NewProgram(chain(5), Options{})
	if err != nil {
		t.Fatal(err)
	}
	pl, err := p.Plan(map[string]tensor.Type{"x": {DType: tensor.Float32, Shape: tensor.Shape{4, 1000}}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := pl.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Run(ctx); err != context.Canceled {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestTooLarge(t *testing.T) {
	g := graph.New("big")
	x := &graph.Value{Name: "x", Kind: graph.Input}
	g.Inputs = []*graph.Value{x}
	g.Outputs = []*graph.Value{g.Add("", "Relu", nil, x)}
	p, err := NewProgram(g, Options{MaxMemory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Plan(map[string]tensor.Type{"x": {DType: tensor.Float32, Shape: tensor.Shape{1 << 20}}}); err == nil {
		t.Error("a value of 4 MiB passed a limit of 1 MiB")
	}
}

// TestErrorsNameTheNodeOnce: what a run finds wrong says where, once.
func TestErrorsNameTheNodeOnce(t *testing.T) {
	g := graph.New("")
	x, ix := g.AddInput("x", tensor.Float32, 4), g.AddInput("i", tensor.Int64, 1)
	g.Outputs = []*graph.Value{g.Add("", "Gather", nil, x, ix)}
	g.Nodes[0].Name = "pick"
	p, err := NewProgram(g, Options{})
	if err != nil {
		t.Fatal(err)
	}
	pl, err := p.Plan(map[string]tensor.Type{"x": {DType: tensor.Float32, Shape: tensor.Shape{4}}, "i": {DType: tensor.Int64, Shape: tensor.Shape{1}}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := pl.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	tensor.Of[int64](s.Input("i"))[0] = 7
	if err := s.Run(context.Background()); err == nil || strings.Count(err.Error(), `node "pick" (Gather)`) != 1 {
		t.Errorf("got %v", err)
	}
}
