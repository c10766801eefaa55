package prune

import (
	"context"
	"fmt"

	"whit/compress/method"
)

// Magnitude is iterative magnitude pruning with retraining (Han, Pool, Tran, Dally
// 2015, section 3): round by round the smallest weights of each layer go, and what
// is left is trained again.
//
// It deviates in that a layer's threshold is the quantile that gives the wanted
// sparsity, not a multiple of the weights' standard deviation; that sparsity rises
// by a cubic schedule; and that Adam retrains instead of SGD by default.
var Magnitude = &method.Method{
	Name: "magnitude",
	Doc:  "prunes the smallest weights of each layer, round by round, and retrains",
	Params: append([]method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "sparsity", Kind: method.PerLayer, Default: method.Uniform(0.9), Min: 0, Max: 0.9999, Doc: "share of weights to drop, by layer or for all"},
		{Name: "by", Kind: method.String, Default: "layer", Choices: []string{"layer", "scan"}, Doc: "layer: sparsity of each; scan: of all, shared out by the last scan"},
		{Name: "rounds", Kind: method.Int, Default: 5, Min: 1, Max: 1000, Doc: "rounds of pruning, epochs of training after each"},
		{Name: "final", Kind: method.Int, Default: 5, Min: 0, Max: 10000, Doc: "epochs after the last round, instead of epochs"},
	}, method.FitParams(2, 1e-3)...),
	Apply: magnitude,
}

func magnitude(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	sparsity := a.PerLayer("sparsity")
	if a.String("by") == "scan" {
		if len(sparsity) != 1 || sparsity[0].Glob != "*" {
			return fmt.Errorf("magnitude: by scan takes one sparsity for all layers")
		}
		if sparsity, err = Share(s.Curves, layers, sparsity[0].Value); err != nil {
			return err
		}
		s.Chosen = sparsity
	}
	type job struct {
		l        *method.Layer
		from, to float64
	}
	var jobs []job
	for _, l := range layers {
		if to, ok := sparsity.For(l.Name); ok {
			jobs = append(jobs, job{l, 1 - float64(l.Weight.Stored())/float64(l.Weight.Len()), to})
		}
	}
	if len(jobs) == 0 {
		return fmt.Errorf("magnitude: sparsity names none of the layers %q", a.String("layers"))
	}
	rounds := a.Int("rounds")
	if s.NoFinetune || a.Int("epochs") == 0 && a.Int("final") == 0 {
		rounds = 1
	}
	for r := 1; r <= rounds; r++ {
		for _, j := range jobs {
			j.l.Weight.Prune(Smallest(j.l.Weight.Data(), Schedule(j.from, max(j.from, j.to), r, rounds), j.l.Weight.Mask))
		}
		o := method.FitOptions(a)
		if r == rounds {
			o.Epochs = a.Int("final")
		} else {
			o.LREnd = max(o.LREnd, 0.3) // the next round goes on
		}
		if s.NoFinetune || o.Epochs == 0 {
			continue
		}
		stored, all := 0, 0
		for _, j := range jobs {
			stored, all = stored+j.l.Weight.Stored(), all+j.l.Weight.Len()
		}
		if err := s.Fit(ctx, fmt.Sprintf("prune %d/%d to %.1f%%", r, rounds, 100*float64(stored)/float64(all)), o); err != nil {
			return err
		}
	}
	pruned, _, _ := s.Bytes()
	_, err = s.Stage(ctx, "pruned", pruned)
	return err
}
