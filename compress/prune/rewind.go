package prune

import (
	"context"
	"fmt"
	"slices"

	"whit/compress/fit"
	"whit/compress/method"
	"whit/graph"
	"whit/tensor"
)

// Rewind prunes the smallest weights of all layers round by round, and each round is trained from an earlier moment on: with
// weights as they were then (J. Frankle, G. K. Dziugaite, D. M. Roy, M. Carbin: Linear mode connectivity and the lottery ticket
// hypothesis, 2020, section 4), or with the learning rate alone as it was then (A. Renda, J. Frankle, M. Carbin: Comparing rewinding and fine-tuning in neural network pruning, 2020,
// section 3).
//
// It deviates in that the moment lies in a training that begins with the model as it comes, since of the one that made it nothing is known:
// early epochs at the first learning rate, before the schedule, which every round repeats; and in that sparsity rises
// by a cubic schedule, where the papers drop a fifth of the weights in each round.
var Rewind = &method.Method{
	Name: "rewind",
	Doc:  "prunes the smallest weights round by round, and trains each round from an early moment on",
	Params: append([]method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "sparsity", Kind: method.Float, Default: 0.9, Min: 0, Max: 0.9999, Doc: "share of all weights to drop"},
		{Name: "rounds", Kind: method.Int, Default: 5, Min: 1, Max: 1000, Doc: "rounds of pruning, epochs of training after each"},
		{Name: "back", Kind: method.String, Default: "rate", Choices: []string{"rate", "weights"}, Doc: "what goes back: the learning rate, or the weights that are left too"},
		{Name: "early", Kind: method.Int, Default: 1, Min: 0, Max: 10000, Doc: "epochs before the moment to which weights go back; 0: they go back to the model as it came"},
	}, method.FitParams(5, 1e-3)...),
	Apply: rewind,
}

func rewind(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	o, rounds, sparsity := method.FitOptions(a), a.Int("rounds"), a.Float("sparsity")
	if o.Epochs == 0 {
		return fmt.Errorf("rewind: every round is trained, and epochs is 0")
	}
	was, all := 0, 0
	for _, l := range layers {
		if l.Weight.Centroids != nil {
			return fmt.Errorf("rewind: the weights of layer %s are shared already", l.Name)
		}
		was, all = was+l.Weight.Stored(), all+l.Weight.Len()
	}
	from := 1 - float64(was)/float64(all)
	var moment *method.State
	if a.String("back") == "weights" {
		if n := a.Int("early"); n > 0 {
			first := o
			first.Epochs, first.Schedule = n, "constant"
			if err := s.Fit(ctx, "train to the moment", first); err != nil {
				return err
			}
		}
		moment = s.Clone()
		if err := s.Fit(ctx, "train dense", o); err != nil {
			return err
		}
	}
	for r := 1; r <= rounds; r++ {
		to := Schedule(from, max(from, sparsity), r, rounds)
		if err := Pattern(layers, fit.PatternOf(fit.Patterns[0]), slices.Repeat([]float64{to}, len(layers)), true); err != nil {
			return fmt.Errorf("rewind: %w", err)
		}
		if moment != nil {
			back(s, moment)
		}
		if err := s.Fit(ctx, fmt.Sprintf("rewind %d/%d to %.1f%%", r, rounds, 100*to), o); err != nil {
			return err
		}
	}
	pruned, _, _ := s.Bytes()
	_, err = s.Stage(ctx, "pruned", pruned)
	return err
}

// back gives the state the constants of another moment; its masks stay.
func back(s, moment *method.State) {
	was := map[string]*tensor.Tensor{}
	for _, v := range moment.Graph.Values() {
		if v.Kind == graph.Const && v.Data != nil {
			was[v.Name] = v.Data
		}
	}
	held := map[*graph.Value]*method.Held{}
	for _, l := range s.Layers {
		for _, h := range []*method.Held{&l.Weight, l.Bias} {
			if h != nil {
				held[h.Value] = h
			}
		}
	}
	for _, v := range s.Graph.Values() {
		t := was[v.Name]
		if t == nil || v.Kind != graph.Const {
			continue
		}
		if h := held[v]; h != nil && h.Mask != nil {
			h.Set(slices.Clone(tensor.Of[float32](t)))
		} else {
			v.Data = t
		}
	}
}
