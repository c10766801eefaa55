package compress

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"whit/card"
	"whit/compress/method"
	"whit/compress/search"
	"whit/entropy"
	"whit/train"
)

const retrainRecipe = `recipe: 1
name: retrain
steps:
  - {method: fisher, keep: 120, epochs: 6, batch: 32, lr: 0.005, ema: 0.9, price: bits, grow: 0.2, every: 0.25, distill: 0.5}
  - {method: trained, levels: {fc1: 3, "*": 4}, coarse: true, bytes: 70, epochs: 8, batch: 32, lr: 0.005, ema: 0.9, distill: 0.5}
  - {method: order, tries: 30}
  - {method: descend, lambda: 0.1, images: 200, rounds: 2, distill: 0.5, temperature: 1}
`

// TestRetrain holds what pruning and levels within training promise: how many weights are left, how many
// levels there are, and how many bytes they take, at a small loss.
func TestRetrain(t *testing.T) {
	ctx := context.Background()
	g := mlp(t)
	sg, _ := g.Clone()
	s := &method.State{Graph: sg, Float: g, Layers: method.FindLayers(sg, ""), Train: blobs{n: 600}, Choice: blobs{n: 300, from: 700}, Seed: 1, Threads: 1}
	before, err := s.Measure(ctx, g)
	if err != nil {
		t.Fatal(err)
	}
	steps := parse(t, retrainRecipe).Steps
	if err := s.Step(ctx, steps[0], search.Methods); err != nil {
		t.Fatal(err)
	}
	left := 0
	for _, l := range s.Layers {
		left += l.Weight.Stored()
	}
	if left > 120 || left < 100 { // units without inputs or readers went too
		t.Errorf("%d weights are left, want about 120", left)
	}
	if err := s.Step(ctx, steps[1], search.Methods); err != nil {
		t.Fatal(err)
	}
	for i, l := range s.Layers {
		for k, h := range []*method.Held{&l.Weight, l.Bias} {
			top := [][]float64{{3, 15}, {4, 15}}[i][k]
			if h.Step <= 0 {
				t.Fatalf("layer %s: step %v", l.Name, h.Step)
			}
			for _, x := range h.Data() {
				if q := float64(x / h.Step); math.Abs(q) > top+1e-3 || math.Abs(q-math.Round(q)) > 1e-3 {
					t.Errorf("layer %s: %v is no level of step %v", l.Name, x, h.Step)
				}
			}
		}
	}
	after, err := s.Measure(ctx, s.Graph)
	if err != nil {
		t.Fatal(err)
	}
	if after.Error > before.Error+0.05 {
		t.Errorf("error %.3f, before %.3f", after.Error, before.Error)
	}
	if _, _, n := s.Bytes(); n > 300 {
		t.Errorf("%d bytes under Huffman's code", n)
	}
	code := func() float64 { // bits of what the coder takes
		cost, bits := entropy.NewCost(), 0.0
		for _, l := range s.Layers {
			for _, h := range []*method.Held{&l.Weight, l.Bias} {
				syms := make([]int32, h.Len())
				for i, x := range h.Data() {
					syms[i] = int32(math.Round(float64(x / h.Step)))
				}
				bits += cost.Start(entropy.Block{Dims: entropy.DimsOf(h.Value.Type.Shape), Syms: syms})
				for _, q := range syms {
					bits += cost.Take(q)
				}
			}
		}
		return bits
	}
	first := code()
	if err := s.Step(ctx, steps[2], search.Methods); err != nil {
		t.Fatal(err)
	}
	ordered, err := s.Measure(ctx, s.Graph)
	if err != nil {
		t.Fatal(err)
	}
	if b := code(); b >= first || ordered.Error != after.Error || math.Abs(ordered.Loss-after.Loss) > 1e-5 {
		t.Errorf("in order: %.0f bits of %.0f, error %v of %v, loss %v of %v", b, first, ordered.Error, after.Error, ordered.Loss, after.Loss)
	}
	soft, err := train.Evaluate(ctx, s.Float, method.First(s.Train, 200), train.EvalOptions{Logits: true})
	if err != nil {
		t.Fatal(err)
	}
	sum := func() float64 { // what descend makes less
		e, err := train.Evaluate(ctx, s.Graph, method.First(s.Train, 200), train.EvalOptions{Logits: true})
		if err != nil {
			t.Fatal(err)
		}
		taught := 0.0
		for at := 0; at < len(e.Logits); at += e.Classes {
			p, q := 0.0, 0.0
			for k := range e.Classes {
				p += math.Exp(float64(e.Logits[at+k]))
				q += math.Exp(float64(soft.Logits[at+k]))
			}
			for k := range e.Classes {
				taught -= math.Exp(float64(soft.Logits[at+k])) / q * (float64(e.Logits[at+k]) - math.Log(p)) / 200
			}
		}
		return 0.5*e.Loss + 0.5*taught + 0.1*code()/8000
	}
	before200 := sum()
	if err := s.Step(ctx, steps[3], search.Methods); err != nil {
		t.Fatal(err)
	}
	if now := sum(); now >= before200 {
		t.Errorf("loss and bytes %v after descending, %v before", now, before200)
	}
	for name, src := range map[string]string{
		"no epochs": "{method: fisher, epochs: 0}",
		"sgd":       "{method: fisher, optimizer: sgd}",
		"order":     "{method: fisher, from: 0.5, until: 0.2}",
		"no levels": "{method: trained, levels: {zz: 3}}",
		"no layer":  "{method: trained, layers: zz}",
	} {
		st := parse(t, "recipe: 1\nname: bad\nsteps:\n  - "+src).Steps[0]
		if err := s.Clone().Step(ctx, st, search.Methods); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	s.NoFinetune = true
	if err := s.Step(ctx, steps[0], search.Methods); !errors.Is(err, method.ErrNoFinetune) {
		t.Errorf("got %v, want %v", err, method.ErrNoFinetune)
	}
}

const withinRecipe = `recipe: 1
name: within
steps:
  - {method: movement, sparsity: 0.5, epochs: 4, batch: 32, lr: 0.005, every: 0.25, ema: 0.9, mimic: 1}
  - {method: rewind, sparsity: 0.7, back: weights, rounds: 2, epochs: 2, batch: 32, lr: 0.005, distill: 0.5}
`

const coarseRecipe = `recipe: 1
name: coarse
steps:
  - {method: coarse, levels: binary, layers: fc1, epochs: 8, batch: 32, lr: 0.005}
`

// A run of these methods that was stopped and is run again gives the bytes of an undisturbed
// one, for any number of threads.
func TestRetrainResumes(t *testing.T) {
	for _, recipe := range []string{retrainRecipe, withinRecipe, coarseRecipe} {
		t.Run(parse(t, recipe).Name, func(t *testing.T) { retrainResumes(t, recipe) })
	}
}

func retrainResumes(t *testing.T, recipe string) {
	g := mlp(t)
	want := ""
	for cut := range 3 {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(context.Background())
		done := 0
		o := Options{Recipe: parse(t, recipe), WorkDir: filepath.Join(dir, "work"), Out: filepath.Join(dir, "o.whit"), Resume: true, Threads: 1 + cut%2}
		o.Progress = func(e Event) {
			if e.Done > 0 && (e.Stage == "prune" || strings.HasPrefix(e.Stage, "train ") || strings.HasPrefix(e.Stage, "rewind ")) {
				if done++; cut > 0 && done == []int{0, 3, 7}[cut] {
					cancel()
				}
			}
		}
		r, err := Run(ctx, g, card.Card{}, Data{Set: blobs{n: 900}}, o)
		cancel()
		if cut > 0 {
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("cut %d: %v", cut, err)
			}
			o.Progress = nil
			r, err = Run(context.Background(), g, card.Card{}, Data{Set: blobs{n: 900}}, o)
		}
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = r.SHA256
		} else if r.SHA256 != want {
			t.Errorf("cut %d: other bytes", cut)
		}
	}
}

// With Whole a recipe sees all but the test part, and a search may not have it.
func TestWhole(t *testing.T) {
	g := mlp(t)
	d := Data{Set: blobs{n: 400}}
	r, err := newRun(context.Background(), g, card.Card{}, d, Options{Recipe: parse(t, toyRecipe), Whole: true})
	if err != nil {
		t.Fatal(err)
	}
	test, err := r.open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if n := r.state.Train.Len() + test.Len(); n != 400 {
		t.Errorf("%d images to train on, %d to test", r.state.Train.Len(), test.Len())
	}
	for i := range test.Len() {
		for k := range r.state.Train.Len() {
			if test.Hash(i) == r.state.Train.Hash(k) {
				t.Fatal("a test image is trained on")
			}
		}
	}
	res, err := Run(context.Background(), g, card.Card{}, d, Options{Recipe: parse(t, toyRecipe), Whole: true})
	if err != nil {
		t.Fatal(err)
	}
	if res.Splits[0].N+test.Len() != 400 || res.Metric.N != test.Len() {
		t.Errorf("parts %+v, measured on %d images", res.Splits, res.Metric.N)
	}
	if _, err := newRun(context.Background(), g, card.Card{}, d, Options{Whole: true}); err == nil {
		t.Error("a search trains on what it chooses by")
	}
}
