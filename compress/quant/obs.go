package quant

import (
	"context"
	"fmt"
	"math"

	"whit/compress/fit"
	"whit/compress/method"
)

// OBS prunes each layer so that its outputs on images stay: the weights that stay make good for
// those that go, in closed form (E. Frantar, S. P. Singh, D. Alistarh: Optimal Brain Compression, 2022,
// section 4), beyond 1152 columns as E. Frantar, D. Alistarh: SparseGPT (2023, section 3). With bits, what
// stays is rounded in the same pass, as [GPTQ] does.
//
// It deviates in that
//   - the bias makes good for errors in the mean: second moments are centred;
//   - when the elements are chosen, those that stay are solved for once more, all
//     together, so that single precision will do on the way;
//   - levels are chosen in GPTQ's order, not by least error first, and polished;
//   - a row that plain removal (and rounding) serves better has that.
var OBS = &method.Method{
	Name: "obs",
	Doc:  "prunes weights, and rounds them with bits, so that a layer's outputs on images stay; trains nothing",
	Params: append([]method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "sparsity", Kind: method.PerLayer, Default: method.Uniform(0.5), Min: 0, Max: 0.9999, Doc: "share of weights to drop, by layer or for all; of n:m it is given by the pattern"},
		{Name: "pattern", Kind: method.String, Default: "1x1", Choices: fit.Patterns, Doc: "what goes together: single weights, 2 or 4 output channels at a position, or all but n of m inputs in a row"},
		{Name: "bits", Kind: method.PerLayer, Default: method.Uniform(0), Min: 0, Max: 8, Doc: "bits of a level, a scale for each channel; 0: weights stay float32"},
	}, calibration()...),
	Apply: obs,
}

func obs(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	sparsity, bits := a.PerLayer("sparsity"), a.PerLayer("bits")
	pt := fit.PatternOf(a.String("pattern"))
	var chosen []*method.Layer
	round := false
	for _, l := range layers {
		b, err := bitsOf(bits, l)
		if err != nil {
			return fmt.Errorf("obs: %w", err)
		}
		if _, ok := sparsity.For(l.Name); ok {
			chosen = append(chosen, l)
			round = round || b > 0
		}
	}
	if chosen == nil {
		return fmt.Errorf("obs: sparsity names none of the layers %q", a.String("layers"))
	}
	foldNorms(s)
	if round {
		s.KeepBase()
	}
	var z *leveller
	var stays []bool
	begin := func(l *method.Layer) error {
		z, stays = nil, make([]bool, l.Weight.Len())
		if b, _ := bitsOf(bits, l); b > 0 {
			z = newLeveller(Spec{Bits: b, Symmetric: true, Rule: MSE}, setsOf(l, "channel", 0), true, 4, s.Threads)
			z.fit(l.Weight.Data())
		}
		return nil
	}
	f := func(l *method.Layer, b *block) ([]float64, error) {
		p := b.p
		share, _ := sparsity.For(l.Name)
		stay, err := p.Select(pt, int(math.RoundToEven(share*float64(len(p.W)))), b.keep)
		if err != nil {
			return nil, err
		}
		plain := make([]float64, len(p.W))
		for i, st := range stay {
			if st {
				plain[i] = p.W[i]
			}
			stays[b.at(i/p.K, i%p.K)] = st
		}
		w, err := p.Compensate(stay)
		if err != nil {
			return nil, err
		}
		w = p.Better(w, plain)
		if z == nil {
			return w, nil
		}
		if p.K == b.r.K { // whole rows: their grids suit what they hold now
			parallel(p.N, s.Threads, func(r int) {
				x := make([]float32, p.K)
				for k := range x {
					x[k] = float32(w[r*p.K+k])
				}
				z.grids[b.row+r] = z.spec.Grid(x)
			})
		}
		return z.choose(b, w, stay)
	}
	done := func(l *method.Layer, x []float32) error {
		l.Weight.Centroids, l.Weight.Index, l.Weight.Step = nil, nil, 0
		l.Weight.Mask = maskOf(stays)
		if z != nil {
			return z.hold(l, x)
		}
		l.Weight.Set(x)
		return nil
	}
	if err := rewrite(ctx, s, chosen, a, begin, f, done); err != nil {
		return fmt.Errorf("obs: %w", err)
	}
	if round {
		return stage(ctx, s, "rounded")
	}
	pruned, _, _ := s.Bytes()
	_, err = s.Stage(ctx, "pruned", pruned)
	return err
}
