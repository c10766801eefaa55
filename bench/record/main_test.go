package main

import (
	"context"
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

// TestQuick follows the quick recipe on a part of MNIST, where the images are on this machine already: what the
// recipe promises in a minute, loosely.
func TestQuick(t *testing.T) {
	if testing.Short() {
		t.Skip("it trains a network")
	}
	t.Setenv("WHIT_OFFLINE", "1")
	ctx := context.Background()
	a, err := zoo.Find("lenet300")
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
	g, err := zoo.Build("lenet300", 1)
	if err != nil {
		t.Fatal(err)
	}
	train.Promote(g)
	if _, err := train.Run(ctx, g, fit, train.Options{Epochs: 5, LR: 0.003, EMA: 0.98, Seed: 1, Augment: "shift1,rotate6,scale6,shear4"}); err != nil {
		t.Fatal(err)
	}
	train.Demote(g)
	sg, _ := g.Clone()
	s := &method.State{Graph: sg, Float: g, Layers: method.FindLayers(sg, ""), Train: fit, Choice: choice, Seed: 1}
	src, err := recipes.Read("record-lenet300-quick")
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
	if len(n) > 6000 || e.Error > 0.06 { // 10,000 images, 8 epochs
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
