package quant

import (
	"context"
	"fmt"

	"whit/compress/method"
)

// Codebook shares the weights of each layer among the centroids of k-means and
// trains the centroids (Han, Mao, Dally 2016, section 3): the gradient of a
// centroid is the sum of the gradients of its weights.
//
// It deviates in that biases may share values too (bias_bits), since every byte of
// the file counts; the paper leaves them out of its tables.
var Codebook = &method.Method{
	Name: "codebook",
	Doc:  "shares weights among k-means centroids and trains the centroids",
	Params: append([]method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "bits", Kind: method.PerLayer, Default: method.Uniform(5), Min: 1, Max: 16, Doc: "bits of an index, by layer or for all; a codebook has up to 2^bits values"},
		{Name: "init", Kind: method.String, Default: string(Linear), Choices: Inits, Doc: "where k-means starts"},
		{Name: "bias_bits", Kind: method.Int, Default: 0, Min: 0, Max: 16, Doc: "bits of an index of biases; 0: biases stay float32"},
		{Name: "train", Kind: method.Bool, Default: true, Doc: "train the centroids"},
	}, method.FitParams(5, 5e-4)...),
	Apply: codebook,
}

func codebook(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	share := func(h *method.Held, bits int) error {
		x := h.Data()
		if h.Mask != nil {
			x = nil
			for i, v := range h.Data() {
				if h.Kept(i) {
					x = append(x, v)
				}
			}
		}
		s.Draws++
		c, short, _, err := KMeans(x, 1<<bits, Init(a.String("init")), s.Seed+s.Draws, 0)
		if err != nil {
			return err
		}
		index := short
		if h.Mask != nil {
			index = make([]uint16, h.Len())
			k := 0
			for i := range index {
				if h.Kept(i) {
					index[i] = short[k]
					k++
				}
			}
		}
		h.Share(c, index)
		return nil
	}
	n := 0
	bits := a.PerLayer("bits")
	for _, l := range layers {
		b, ok := bits.For(l.Name)
		if !ok {
			continue
		}
		if b != float64(int(b)) {
			return fmt.Errorf("codebook: %v bits for layer %s, want a whole number", b, l.Name)
		}
		n++
		if err := share(&l.Weight, int(b)); err != nil {
			return fmt.Errorf("layer %s: %w", l.Name, err)
		}
		if k := a.Int("bias_bits"); k > 0 && l.Bias != nil {
			if err := share(l.Bias, k); err != nil {
				return fmt.Errorf("bias of layer %s: %w", l.Name, err)
			}
		}
	}
	if n == 0 {
		return fmt.Errorf("codebook: bits names none of the layers %q", a.String("layers"))
	}
	if o := method.FitOptions(a); a.Bool("train") && !s.NoFinetune && o.Epochs > 0 {
		if err := s.Fit(ctx, "train centroids", o); err != nil {
			return err
		}
	}
	return s.StageShared(ctx)
}
