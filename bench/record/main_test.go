package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"whit/compress"
	"whit/compress/method"
	"whit/compress/search"
	"whit/data"
	"whit/internal/modelfile"
	"whit/recipes"
	"whit/train"
	"whit/zoo"
)

// TestQuick follows the quick recipes on a part of MNIST, where the images are on this machine already: what they
// promise in a minute, loosely.
func TestQuick(t *testing.T) {
	if testing.Short() {
		t.Skip("it trains networks")
	}
	t.Setenv("WHIT_OFFLINE", "1")
	for _, tt := range []struct {
		arch  string
		o     train.Options
		bytes int
		error float64
		long  bool
	}{
		{arch: "lenet300", o: train.Options{Epochs: 5, LR: 0.003, EMA: 0.98, Seed: 1, Augment: "shift1,rotate6,scale6,shear4"}, bytes: 6000, error: 0.06},
		{arch: "lenet5", o: train.Options{Epochs: 4, LR: 0.003, EMA: 0.98, Seed: 1, Augment: "shift1"}, bytes: 3600, error: 0.04, long: true},
	} {
		t.Run(tt.arch, func(t *testing.T) {
			if tt.long && os.Getenv("WHIT_LONG") == "" {
				t.Skip("WHIT_LONG is not set")
			}
			quick(t, tt.arch, tt.o, tt.bytes, tt.error)
		})
	}
}

func quick(t *testing.T, arch string, o train.Options, most int, worst float64) {
	ctx := context.Background()
	a, err := zoo.Find(arch)
	if err != nil {
		t.Fatal(err)
	}
	c, err := modelfile.ParseCard(a.Card)
	if err != nil {
		t.Fatal(err)
	}
	sets, err := data.Open(ctx, "mnist", c, a.Input, data.Options{})
	if err != nil {
		t.Skip(err)
	}
	fit, choice, err := compress.Parts(compress.Data{Set: sets.Train, Test: func(context.Context) (data.Dataset, error) { panic("the test set stays closed") }})
	if err != nil {
		t.Fatal(err)
	}
	fit = data.Subset(fit, every(fit.Len(), 5))
	g, err := zoo.Build(arch, 1)
	if err != nil {
		t.Fatal(err)
	}
	train.Promote(g)
	if _, err := train.Run(ctx, g, fit, o); err != nil {
		t.Fatal(err)
	}
	train.Demote(g)
	sg, _ := g.Clone()
	s := &method.State{Graph: sg, Float: g, Layers: method.FindLayers(sg, ""), Train: fit, Choice: choice, Seed: 1}
	src, err := recipes.Read("record-" + arch + "-quick")
	if err != nil {
		t.Fatal(err)
	}
	r, err := compress.ParseRecipe(src)
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range r.Steps {
		if err := s.Step(ctx, st, search.Methods); err != nil {
			t.Fatal(err)
		}
	}
	n, e, err := measure(ctx, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, error %.2f%%", len(n), 100*e.Error)
	if len(n) > most || e.Error > worst { // 10,000 images, 8 epochs
		t.Errorf("%d bytes, error %.2f%%", len(n), 100*e.Error)
	}
}

// every is each k-th of n numbers.
func every(n, k int) (idx []int) {
	for i := 0; i < n; i += k {
		idx = append(idx, i)
	}
	return idx
}

// TestRace holds that rivals meet with more and more of their epochs, and that the better half goes on.
func TestRace(t *testing.T) {
	var all []*rival
	for i, name := range []string{"a", "b", "c", "d", "e"} {
		all = append(all, &rival{name: name, recipe: &method.Recipe{Steps: []method.Step{
			{Method: "order"}, {Method: "fisher", Set: map[string]any{"epochs": 10 + i}},
		}}})
	}
	var ran []string
	var out bytes.Buffer
	err := race(&out, all, 3, func(r *rival, steps []method.Step) ([]byte, method.Eval, error) {
		epochs := steps[1].Set["epochs"].(int)
		ran = append(ran, fmt.Sprint(r.name, epochs))
		loss := map[string]float64{"a": 5, "b": 2, "c": 4, "d": 1, "e": 3}[r.name]
		if r.name == "d" && epochs > 4 {
			loss = 9 // only good at first
		}
		return nil, method.Eval{Loss: loss}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(ran, " "), "a3 b3 c3 d4 e4 d7 b6 e7 b11 e14"; got != want {
		t.Errorf("ran %s, want %s", got, want)
	}
	if n := all[0].recipe.Steps[1].Set["epochs"]; n.(int) < 10 {
		t.Errorf("a recipe was changed: %v epochs", n)
	}
	if !strings.HasPrefix(out.String(), "with 1/4 of the epochs:\n  1. d: ") {
		t.Errorf("printed %q", out.String())
	}
}
