package method

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"whit/graph"
	"whit/tensor"
	"whit/train"
)

// plane is points of two classes.
type plane struct{ n int }

func (d plane) Len() int            { return d.n }
func (d plane) Shape() []int        { return []int{4} }
func (d plane) Hash(i int) [32]byte { return [32]byte{byte(i), byte(i >> 8)} }
func (d plane) Read(_ context.Context, idx []int, x []float32, y []int32) error {
	for k, i := range idx {
		r := rand.New(rand.NewPCG(uint64(i), 3))
		for j := range 4 {
			x[4*k+j] = float32(r.NormFloat64())
		}
		if y != nil {
			if y[k] = 0; x[4*k]+x[4*k+1] > 0 {
				y[k] = 1
			}
		}
	}
	return nil
}

func liveState(t *testing.T, dir string, threads int) *State {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 1))
	g := graph.New("plane")
	x := g.AddInput("x", tensor.Float32, -1, 4)
	for i, n := range []int{6, 2} {
		k := []int{4, 6}[i]
		w := make([]float32, n*k)
		for j := range w {
			w[j] = float32(r.NormFloat64() / 2)
		}
		name := string(rune('a' + i))
		x = g.Add("", "Gemm", map[string]any{"transB": int64(1)}, x, g.NewConst(name+".weight", tensor.From(w, n, k)), g.NewConst(name+".bias", tensor.New(tensor.Float32, n)))
		if i == 0 {
			x = g.Add("", "Relu", nil, x)
		}
	}
	g.Outputs = []*graph.Value{x}
	f, _ := g.Clone()
	s := &State{Graph: g, Float: f, Layers: FindLayers(g, ""), Train: plane{300}, Choice: plane{50}, Seed: 5, Threads: threads}
	if dir != "" {
		s.Memo = &Memo{Dir: dir}
	}
	return s
}

// TestLive holds that what a method writes is what steps compute with, and that a run that was
// stopped goes on to the same numbers.
func TestLive(t *testing.T) {
	stop := errors.New("stop")
	run := func(s *State, fail int) ([]float32, error) {
		steps, sum := 0, []float32(nil)
		w := Rewrite{Key: "test", Slow: 0.1,
			Step: func(_ *Layer, h *Held) float32 {
				if len(h.Value.Type.Shape) > 1 {
					return 0.25
				}
				return 0
			},
			Begin: func(l *Live) error {
				kept := tensor.New(tensor.Float32, 1)
				sum = tensor.Of[float32](kept)
				l.Keep("sum", kept)
				if n := len(l.Parts); n != 4 || l.Parts[0].Step == nil || l.Parts[1].Step != nil || l.Parts[0].Elems[1] != s.Layers[0].Weight.Data()[1]*4 {
					t.Errorf("%d parts, the first %+v", n, l.Parts[0])
				}
				return nil
			},
			After: func(l *Live) error {
				if steps++; steps == fail {
					return stop
				}
				p := l.Parts[0]
				sum[0] += p.Elems[1]
				p.Elems[0] = 0
				return nil
			}}
		l, err := s.Live(context.Background(), "test", train.Options{Epochs: 4, Batch: 32, Distill: 0.5, Temperature: 2}, w)
		if err != nil {
			return nil, err
		}
		out := slices.Clone(sum)
		for _, p := range l.Parts {
			out = append(out, p.Elems...)
			out = append(out, p.Step...)
		}
		if l.Parts[0].Elems[0] != 0 || l.Parts[0].Second[0] == 0 {
			t.Error("a weight that was rewritten did not stay, or had no gradient")
		}
		if f, _ := l.Progress(); f != 1 {
			t.Errorf("progress %v at the end", f)
		}
		return out, nil
	}
	want, err := run(liveState(t, "", 1), 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := run(liveState(t, dir, 2), 27); !errors.Is(err, stop) {
		t.Fatalf("got %v, want the method's own error", err)
	}
	for range 2 { // the second finds it finished
		got, err := run(liveState(t, dir, 2), 0)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("resumed: %v, undisturbed: %v", got, want)
		}
	}
	s := liveState(t, "", 1)
	if s.NoFinetune = true; s != nil {
		if _, err := run(s, 0); !errors.Is(err, ErrNoFinetune) {
			t.Errorf("got %v, want %v", err, ErrNoFinetune)
		}
	}
}
