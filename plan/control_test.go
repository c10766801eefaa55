package plan

import (
	"context"
	"errors"
	"strings"
	"testing"

	"whit/graph"
	"whit/internal/optest"
	"whit/tensor"
)

// caseOf is a harness case as a graph, its inputs' types and data.
func caseOf(t *testing.T, name string) (*graph.Graph, map[string]tensor.Type, map[string]*tensor.Tensor) {
	t.Helper()
	for _, c := range optest.All() {
		if c.Name == name {
			g, feeds := c.Build()
			types := map[string]tensor.Type{}
			for n, x := range feeds {
				types[n] = x.Type
			}
			return g, types, feeds
		}
	}
	t.Fatalf("no case %q", name)
	return nil, nil, nil
}

// TestLoopEnds: a loop without end is an error, or ends with its context.
func TestLoopEnds(t *testing.T) {
	g, types, _ := caseOf(t, "loop/forever")
	for _, references := range []bool{false, true} {
		p, err := NewProgram(g, Options{References: references})
		if err != nil {
			t.Fatal(err)
		}
		pl, err := p.Plan(types)
		if err != nil {
			t.Fatal(err)
		}
		s, err := pl.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := s.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		if err := s.Run(context.Background()); !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "iterations") {
			t.Errorf("without end: %v", err)
		}
	}
}

// TestLoopGathersWithinLimits: what iterations give together is bounded.
func TestLoopGathersWithinLimits(t *testing.T) {
	b := graph.New("body")
	n, c := b.AddInput("n", tensor.Int64), b.AddInput("c", tensor.Bool)
	b.Outputs = []*graph.Value{b.Add("", "Identity", nil, c), b.Add("", "Expand", nil, n, b.NewConst("shape", tensor.Ints(1<<10)))}
	for _, v := range b.Outputs {
		v.Name = "body/" + v.Name
	}
	g := graph.New("")
	g.Outputs = []*graph.Value{g.Add("", "Loop", map[string]any{"body": b}, g.AddInput("trips", tensor.Int64), nil)}
	p, err := NewProgram(g, Options{MaxMemory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	pl, err := p.Plan(map[string]tensor.Type{"trips": {DType: tensor.Int64, Shape: tensor.Shape{}}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := pl.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	for _, trips := range []int64{100, 1000, 2} {
		tensor.Of[int64](s.Input("trips"))[0] = trips
		err := s.Run(context.Background())
		if errors.Is(err, ErrTooLarge) != (trips == 1000) || trips != 1000 && err != nil {
			t.Errorf("%d trips: %v", trips, err)
		}
		if err == nil {
			if y := s.Output(g.Outputs[0].Name); !y.Shape.Equal(tensor.Shape{int(trips), 1 << 10}) {
				t.Errorf("%d trips: %v", trips, y.Type)
			}
		}
	}
}

// TestLoopKinds: a loop whose length is known is part of the plan, another one ends
// the segment; both of them keep the sessions of their bodies.
func TestLoopKinds(t *testing.T) {
	for name, complete := range map[string]bool{"loop/const": true, "loop": false, "scan": true, "loop/grow": false} {
		g, types, feeds := caseOf(t, name)
		p, err := NewProgram(g, Options{})
		if err != nil {
			t.Fatal(err)
		}
		pl, err := p.Plan(types)
		if err != nil {
			t.Fatal(err)
		}
		if pl.Complete() != complete {
			t.Errorf("%s: complete is %v", name, pl.Complete())
		}
		s, err := pl.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		for n, x := range feeds {
			copy(s.Input(n).Bytes(), x.Bytes())
		}
		var c *control
		for _, st := range pl.steps {
			if st.control != nil {
				c = st.control
			}
		}
		if len(pl.runs) > 0 {
			c = pl.runs[0]
		}
		var before *Session
		for range 2 {
			if err := s.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			kept := c.take()
			for _, list := range kept {
				if before != nil && list[0].s != before && name != "loop/grow" {
					t.Errorf("%s: another session of the body", name)
				}
				before = list[0].s
			}
			c.give(kept)
		}
	}
}

// TestRepeatedPlansKeepNothing plans what follows a NonZero again and again: packed
// constants that belong to one plan go with it.
func TestRepeatedPlansKeepNothing(t *testing.T) {
	g := graph.New("")
	x := g.AddInput("x", tensor.Float32, 8)
	w := g.NewConst("w", tensor.New(tensor.Float32, 1, 3))
	rows := g.Add("", "Transpose", nil, g.Add("", "Cast", map[string]any{"to": int64(1)}, g.Add("", "NonZero", nil, x)))
	g.Outputs = []*graph.Value{g.Add("", "MatMul", nil, rows, w)}
	p, err := NewProgram(g, Options{})
	if err != nil {
		t.Fatal(err)
	}
	pl, err := p.Plan(map[string]tensor.Type{"x": {DType: tensor.Float32, Shape: tensor.Shape{8}}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := pl.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	packs := 0
	for k := range 8 {
		tensor.Of[float32](s.Input("x"))[k] = 1
		if err := s.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if y := s.Output(g.Outputs[0].Name); !y.Shape.Equal(tensor.Shape{k + 1, 3}) {
			t.Errorf("%d: %v", k, y.Type)
		}
		if k == 0 {
			packs = len(p.packs)
		} else if len(p.packs) != packs {
			t.Fatalf("%d packings after %d plans, %d after the first", len(p.packs), k+1, packs)
		}
	}
}
