package plan

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"whit/graph"
	"whit/internal/optest"
	"whit/tensor"
)

// TestSessionsAtOnce: sessions of one program that begin together, while its constants are not packed, share helpers
// and packed forms, and give the bits of one that runs alone.
func TestSessionsAtOnce(t *testing.T) {
	floats, _ := firstGraph(randomWeight())
	seed := uint64(10)
	integers := integersGraph(func(shape ...int) *tensor.Tensor {
		seed++
		return optest.Rand(seed, tensor.Int8, shape...)
	})
	for _, c := range []struct {
		name string
		g    *graph.Graph
		in   *tensor.Tensor
	}{
		{"floats", floats, optest.Rand(1, tensor.Float32, 1, 96, 10, 9)},
		{"integers", integers, optest.Rand(1, tensor.Float32, 1, 96, 12, 11)},
	} {
		types := map[string]tensor.Type{"x": c.in.Type}
		sessions := func(n, threads int) []*Session {
			pl, err := tunedPlan(c.g, types, Options{Threads: threads})
			if err != nil {
				t.Fatal(err)
			}
			var ss []*Session
			for range n {
				s, err := pl.NewSession()
				if err != nil {
					t.Fatal(err)
				}
				copy(s.Input("x").Bytes(), c.in.Bytes())
				ss = append(ss, s)
			}
			return ss
		}
		outputs := func(s *Session) (b []byte) {
			for _, v := range s.Plan().Graph().Outputs {
				b = append(b, s.Output(v.Name).Bytes()...)
			}
			return b
		}
		alone := sessions(1, 1)[0]
		if err := alone.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		want := outputs(alone)
		for _, threads := range []int{1, 2, 4} {
			t.Run(fmt.Sprint(c.name, "/", threads), func(t *testing.T) {
				var wg sync.WaitGroup
				for i, s := range sessions(4, threads) {
					wg.Go(func() {
						for run := range 4 {
							if err := s.Run(context.Background()); err != nil {
								t.Error(err)
								return
							}
							if !bytes.Equal(outputs(s), want) {
								t.Errorf("session %d, run %d: other bits than alone", i, run+1)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}

// BenchmarkSessions is the time of a run where one session has two workers, where two of one worker run side by side, and
// where two of two workers want the same helper: the last should not cost more than the second.
func BenchmarkSessions(b *testing.B) {
	g, in := firstGraph(randomWeight())
	for _, c := range []struct{ sessions, threads int }{{1, 1}, {1, 2}, {2, 1}, {2, 2}} {
		b.Run(fmt.Sprintf("%dx%d", c.sessions, c.threads), func(b *testing.B) {
			pl, err := tunedPlan(g, map[string]tensor.Type{"x": in["x"].Type}, Options{Threads: c.threads})
			if err != nil {
				b.Fatal(err)
			}
			ss := make([]*Session, c.sessions)
			for i := range ss {
				if ss[i], err = pl.NewSession(); err != nil {
					b.Fatal(err)
				}
				for range 2 { // pack
					if err := ss[i].Run(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			for i, s := range ss {
				wg.Go(func() {
					for range b.N/len(ss) + i*(b.N%len(ss)) {
						if err := s.Run(context.Background()); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// TestSessionsInTurn: a session has a helper in its runs though each begins while the helper lingers after another's.
func TestSessionsInTurn(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("one processor")
	}
	g := graph.New("steps")
	y := g.AddInput("x", tensor.Float32, 1, 32, 40, 40)
	for i := range 4 {
		y = g.Add("", "Conv", map[string]any{"pads": []int64{1, 1, 1, 1}}, y, g.NewConst(fmt.Sprint("w", i), optest.Rand(2, tensor.Float32, 32, 32, 3, 3)))
	}
	g.Outputs = []*graph.Value{y}
	in := optest.Rand(1, tensor.Float32, 1, 32, 40, 40)
	pl, err := tunedPlan(g, map[string]tensor.Type{"x": in.Type}, Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	var ss [2]*Session
	for i := range ss {
		if ss[i], err = pl.NewSession(); err != nil {
			t.Fatal(err)
		}
		ss[i].pace = pace{run: paceKnown} // together
		copy(ss[i].Input("x").Bytes(), in.Bytes())
	}
	const runs = 100
	var helped [2]int
	for range runs {
		for i, s := range ss {
			before := s.crew.lanes[1].done.Load()
			if err := s.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s.crew.lanes[1].done.Load() > before {
				helped[i]++
			}
		}
	}
	t.Logf("of %d runs each, %d had help", runs, helped)
	if helped[0] == 0 || helped[1] == 0 {
		t.Errorf("of %d runs each, %d had help", runs, helped)
	}
}
