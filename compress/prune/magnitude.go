package prune

import (
	"context"
	"fmt"

	"whit/compress/fit"
	"whit/compress/method"
)

// Magnitude is iterative magnitude pruning with retraining (Han, Pool, Tran, Dally
// 2015, section 3): round by round the smallest weights of each layer go, and what
// is left is trained again.
//
// It deviates in that a layer's threshold is the quantile that gives the wanted
// sparsity, not a multiple of the weights' standard deviation; that sparsity rises
// by a cubic schedule; that Adam retrains instead of SGD by default; and that what goes together may be
// blocks of output channels, whose positions a sparse kernel reads once (mean square), or all
// but n of m inputs (A. Mishra et al.: Accelerating sparse deep neural networks, 2021).
var Magnitude = &method.Method{
	Name: "magnitude",
	Doc:  "prunes the smallest weights of each layer, round by round, and retrains",
	Params: append([]method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "sparsity", Kind: method.PerLayer, Default: method.Uniform(0.9), Min: 0, Max: 0.9999, Doc: "share of weights to drop, by layer or for all"},
		{Name: "by", Kind: method.String, Default: "layer", Choices: []string{"layer", "scan", "global"}, Doc: "layer: sparsity of each; scan: of all, shared out by the last scan; global: of all, one threshold"},
		{Name: "pattern", Kind: method.String, Default: fit.Patterns[0], Choices: fit.Patterns, Doc: "what goes together: single weights, 2 or 4 output channels at a position, or all but n of m inputs in a row"},
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
	pt := fit.PatternOf(a.String("pattern"))
	by := a.String("by")
	if by != "layer" && (len(sparsity) != 1 || sparsity[0].Glob != "*") {
		return fmt.Errorf("magnitude: by %s takes one sparsity for all layers", by)
	}
	if by == "scan" {
		if sparsity, err = share(s.Curves, layers, sparsity[0].Value); err != nil {
			return err
		}
		s.Chosen = sparsity
	}
	type job struct {
		l        *method.Layer
		from, to float64
	}
	var jobs []job
	was, of := 0, 0
	for _, l := range layers {
		if to, ok := sparsity.For(l.Name); ok {
			jobs = append(jobs, job{l, 1 - float64(l.Weight.Stored())/float64(l.Weight.Len()), to})
			was, of = was+l.Weight.Stored(), of+l.Weight.Len()
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
		if plain := by != "global" && a.String("pattern") == fit.Patterns[0]; plain {
			for _, j := range jobs {
				j.l.Weight.Prune(Smallest(j.l.Weight.Data(), Schedule(j.from, max(j.from, j.to), r, rounds), j.l.Weight.Mask))
			}
		} else {
			var ls []*method.Layer
			var to []float64
			for _, j := range jobs {
				from := j.from
				if by == "global" {
					from = 1 - float64(was)/float64(of)
				}
				ls, to = append(ls, j.l), append(to, Schedule(from, max(from, j.to), r, rounds))
			}
			if err := Pattern(ls, pt, to, by == "global"); err != nil {
				return fmt.Errorf("magnitude: %w", err)
			}
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
