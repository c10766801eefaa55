package compress

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"path/filepath"
	"testing"

	"whit/card"
	"whit/data"
	"whit/graph"
	"whit/tensor"
)

func TestScan(t *testing.T) {
	g := mlp(t)
	before := g.String()
	d := Data{Set: blobs{n: 900}, Test: func(context.Context) (data.Dataset, error) {
		t.Error("the test set was opened")
		return nil, errors.New("closed")
	}}
	r, err := Scan(context.Background(), g, card.Card{}, d, Options{Model: "a/b.onnx", NoFinetune: true}, map[string]any{"fractions": []float64{0.5, 0.9}})
	if err != nil {
		t.Fatal(err)
	}
	if g.String() != before {
		t.Error("the model was changed")
	}
	if len(r.Curves) != 6 || len(r.Ranks) != 3 || len(r.Ranks["weight"]) != 2 || r.N != 150 || r.Model != "b.onnx" {
		t.Errorf("%+v", r)
	}
	for _, c := range r.Curves {
		switch last := c.Points[len(c.Points)-1]; {
		case c.Granularity == "layer" && (len(c.Points) != 1 || last.Fraction != 1 || last.Error < 0.3):
			t.Errorf("%+v", c)
		case c.Granularity == "weight" && (len(c.Points) != 3 || last.Loss < c.Points[0].Loss):
			t.Errorf("%+v", c)
		}
	}
	for _, c := range r.Curves {
		if p := c.Points[len(c.Points)-1]; c.Method != "zero" || p.KL == nil || !(*p.KL > 0) || !(p.MSE > 0) || p.Far() != *p.KL {
			t.Errorf("%+v", c)
		}
	}
	if _, err := Scan(context.Background(), g, card.Card{}, d, Options{}, map[string]any{"granularity": []string{"atom"}}); err == nil {
		t.Error("an unknown granularity")
	}
}

// residual is a network with two residual blocks, of seeded weights.
func residual() *graph.Graph {
	g := graph.New("residual")
	x := g.AddInput("input", tensor.Float32, -1, 1, 12, 12)
	seed := 0.0
	conv := func(name string, x *graph.Value, out, in int) *graph.Value {
		v := tensor.New(tensor.Float32, out, in, 3, 3)
		f := tensor.Of[float32](v)
		for i := range f {
			seed++
			f[i] = float32(0.3 * math.Sin(seed*seed))
		}
		return g.Add("", "Conv", map[string]any{"pads": []int64{1, 1, 1, 1}, "kernel_shape": []int64{3, 3}}, x, g.NewConst(name+".weight", v))
	}
	h := g.Add("", "Relu", nil, conv("stem", x, 8, 1))
	for _, b := range []string{"a", "b"} {
		y := conv(b+"2", g.Add("", "Relu", nil, conv(b+"1", h, 8, 8)), 8, 8)
		h = g.Add("", "Add", nil, h, y)
		h.Producer.Name = "add_" + b
		h = g.Add("", "Relu", nil, h)
	}
	g.Outputs = []*graph.Value{conv("last", h, 1, 8)}
	return g
}

// Every method is tried by layer and by block; what was measured is found again after an interruption, and
// differs only where something else is asked for.
func TestScanMethods(t *testing.T) {
	g := residual()
	set := map[string]any{"methods": []string{"zero", "4x1", "channels", "round", "codebook", "gptq", "obs", "activations", "blocks"},
		"granularity": []string{"weight", "node", "layer", "block"}, "fractions": []float64{0.5}, "images": 6}
	if err := CheckScan(set); err != nil {
		t.Fatal(err)
	}
	d := Data{Set: noisy{24}}
	o := Options{Model: "b.onnx", Metric: "cosine", WorkDir: t.TempDir(), Resume: true}
	ctx, cancel := context.WithCancel(context.Background())
	events := 0
	o.Progress = func(Event) {
		if events++; events == 20 {
			cancel()
		}
	}
	if _, err := Scan(ctx, g, card.Card{}, d, o, set); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	kept, _ := filepath.Glob(filepath.Join(o.WorkDir, "*.memo"))
	if len(kept) < 15 {
		t.Errorf("%d entries are kept", len(kept))
	}
	o.Progress = nil
	r, err := Scan(context.Background(), g, card.Card{}, d, o, set)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"zero weight": 6, "zero node": 6, "zero layer": 6, "zero block": 2, "4x1 layer": 6, "4x1 block": 2, "round layer": 6, "round block": 2,
		"codebook layer": 6, "codebook block": 2, "gptq layer": 6, "gptq block": 2, "obs layer": 6, "obs block": 2, "activations layer": 6, "activations block": 2, "blocks block": 2}
	got := map[string]int{}
	for _, c := range r.Curves {
		got[c.Method+" "+c.Granularity]++
		for _, p := range c.Points {
			if p.KL != nil || p.Fraction > 0 && !(p.MSE > 0) && c.Layer != "last" {
				t.Errorf("%s of %s: %+v", c.Method, c.Layer, p)
			}
			if c.Method == "round" && p.Saved <= 0 {
				t.Errorf("%s of %s saves %d bytes", c.Method, c.Layer, p.Saved)
			}
		}
		if first, last := c.Points[0], c.Points[len(c.Points)-1]; c.Method == "round" && !(last.MSE > first.MSE) {
			t.Errorf("2 bits of %s are off by %v, 8 bits by %v", c.Layer, last.MSE, first.MSE)
		}
	}
	for k, n := range want {
		if got[k] != n {
			t.Errorf("%d curves of %s, want %d", got[k], k, n)
		}
	}
	if got["channels layer"] == 0 || len(r.Ranks["block"]) != 2 || r.N != 6 {
		t.Errorf("%v, %v, refused %v", got, r.Ranks, r.Refused)
	}
	before, _ := filepath.Glob(filepath.Join(o.WorkDir, "*.memo"))
	again, err := Scan(context.Background(), g, card.Card{}, d, o, set)
	if err != nil {
		t.Fatal(err)
	}
	if a, _ := json.Marshal(r); !bytes.Equal(a, func() []byte { b, _ := json.Marshal(again); return b }()) {
		t.Error("what was kept is not what was measured")
	}
	if after, _ := filepath.Glob(filepath.Join(o.WorkDir, "*.memo")); len(after) != len(before) {
		t.Errorf("%d entries, then %d", len(before), len(after))
	}
}
