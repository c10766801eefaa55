package compress

import (
	"context"
	"testing"

	"whit/compress/method"
	"whit/compress/search"
	"whit/graph"
)

// Where floats are too slow and integers are not, what the search holds in fewer bytes is put on integers too: the smallest model that keeps the promise
// is as fast as is asked for. The times are made up.
func TestSmallAndFast(t *testing.T) {
	ctx := context.Background()
	g := blur()
	c, _ := g.Clone()
	d := noisy{40}
	s := &method.State{Graph: c, Float: g, Layers: method.FindLayers(c, ""), Train: d, Choice: d, Seed: 1, Metric: method.Cosine, NoFinetune: true}
	ints := func(g *graph.Graph) bool { return (&method.State{Graph: g}).OnIntegers() }
	r := &run{state: s}
	so := search.Options{MaxDrop: 0.02, TargetMs: 0.5, Bytes: r.fileBytes, Constant: func(h *method.Held) (int64, error) { return h.FileBytes(1) }}
	so.Millis = func(_ context.Context, g *graph.Graph) (float64, error) {
		if ints(g) {
			return 0.4, nil
		}
		return 1, nil
	}
	so.Nodes = func(_ context.Context, g *graph.Graph) (search.NodeTimes, error) {
		out := search.NodeTimes{Ms: map[string]float64{}, Turn: 0.01}
		for _, n := range g.Nodes {
			if n.Op == "Conv" {
				ms, _ := so.Millis(ctx, g)
				out.Ms[n.Name] = ms / 2
			}
		}
		return out, nil
	}
	f, err := search.Run(ctx, s, so)
	if err != nil {
		t.Fatal(err)
	}
	frozen, err := f.State.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	var chosen, fast search.Candidate
	for _, x := range f.Candidates {
		t.Logf("%s: %d bytes, %v ms, drop %v, %v", x.Name, x.Bytes, x.Ms, x.Drop, x.Chosen)
		if x.Chosen {
			chosen = x
		}
		if x.Name == "integers" {
			fast = x
		}
	}
	if chosen.Ms > so.TargetMs || !ints(frozen) {
		t.Errorf("%s takes %v ms", chosen.Name, chosen.Ms)
	}
	if fast.Bytes == 0 || chosen.Bytes >= fast.Bytes {
		t.Errorf("%s takes %d bytes, the one on integers in 8 bits %d", chosen.Name, chosen.Bytes, fast.Bytes)
	}
}
