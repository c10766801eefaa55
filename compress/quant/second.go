package quant

import (
	"context"
	"errors"
	"fmt"

	"whit/compress/fit"
	"whit/compress/method"
	"whit/graph"
	"whit/stat"
	"whit/tensor"
	"whit/weight"
)

// calibration are the parameters of methods that look at layers' inputs.
func calibration() []method.Param {
	return []method.Param{
		{Name: "images", Kind: method.Int, Default: 256, Min: 1, Max: 1e5, Doc: "images of the training part that are looked at, without their labels"},
		fit.RowsParam,
		{Name: "damp", Kind: method.Float, Default: 0.01, Min: 1e-9, Max: 10, Doc: "added to the diagonal of the inputs' second moments, of its mean"},
	}
}

func fitOptions(a method.Args) fit.Options {
	return fit.Options{Images: a.Int("images"), Rows: a.Int("rows")}
}

// block is the part of a layer whose rows meet the same inputs: all of it, a group of a
// Conv, or some columns where there are very many.
type block struct {
	p    *fit.Problem
	keep []bool // [N,K] what the layer's mask keeps; nil: all
	row  int    // where it begins in the layer
	col  int
	r    fit.Rows
}

// at is an element of the block in the layer's weight.
func (b *block) at(r, k int) int { return b.r.At(b.row+r, b.col+k) }

// rewrite collects the inputs of layers and lets f replace a layer's weight, block by block, by
// rows that miss its outputs least; done is told when all blocks of a layer are. What is off in the mean, the
// bias makes good for, where the layer has or can be given one: errors are then of centred
// inputs. Batch normalisation is folded before. Layers that cannot be fitted are left out.
func rewrite(ctx context.Context, s *method.State, layers []*method.Layer, a method.Args,
	begin func(l *method.Layer) error, f func(l *method.Layer, b *block) ([]float64, error), done func(l *method.Layer, x []float32) error) error {
	if s.Train == nil || s.Train.Len() == 0 {
		return errors.New("it looks at a layer's inputs, and there are no images")
	}
	foldNorms(s)
	var suited []*method.Layer
	for _, l := range layers {
		if _, err := fit.RowsOf(l); errors.Is(err, fit.ErrUnsuited) {
			s.Tell(method.Event{Stage: "layers", Message: err.Error()})
			continue
		}
		if err := finite(l.Weight.Data()); err != nil {
			return fmt.Errorf("layer %s: %w", l.Name, err)
		}
		suited = append(suited, l)
	}
	if suited == nil {
		return errors.New("none of the layers is a Conv, Gemm or MatMul that can be fitted")
	}
	n := 0
	return fit.Inputs(ctx, s, suited, fitOptions(a), func(l *method.Layer, in *stat.Patches) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := rewriteLayer(s, l, in, a.Float("damp"), begin, f, done); err != nil {
			return fmt.Errorf("layer %s: %w", l.Name, err)
		}
		n++
		s.Tell(method.Event{Stage: "layers", Message: l.Name, Done: float64(n), Total: float64(len(suited))})
		return nil
	})
}

func rewriteLayer(s *method.State, l *method.Layer, in *stat.Patches, damp float64,
	begin func(l *method.Layer) error, f func(l *method.Layer, b *block) ([]float64, error), done func(l *method.Layer, x []float32) error) error {
	r, err := fit.RowsOf(l)
	if err != nil {
		return err
	}
	if in.Columns() != r.K || in.Rows == 0 {
		return fmt.Errorf("inputs of %d columns in %d rows, the weight has %d", in.Columns(), in.Rows, r.K)
	}
	if err := begin(l); err != nil {
		return err
	}
	bias := biasOf(l, r.N)
	x := append([]float32(nil), l.Weight.Data()...)
	was := l.Weight.Data()
	shift := make([]float64, r.N)
	each := r.N / r.Groups
	for i := range in.Parts {
		m := &in.Parts[i]
		if bias != nil {
			centre(m, in.Rows)
		}
		b := &block{row: i / in.Blocks() * each, col: m.From, r: r}
		w := make([]float64, each*m.K)
		for o := range each {
			for k := range m.K {
				w[o*m.K+k] = float64(was[b.at(o, k)])
			}
		}
		if l.Weight.Mask != nil {
			b.keep = make([]bool, len(w))
			for o := range each {
				for k := range m.K {
					b.keep[o*m.K+k] = l.Weight.Kept(b.at(o, k))
				}
			}
		}
		var to []float64
		for d := damp; to == nil; d *= 10 {
			b.p = fit.NewProblem(m.G, w, m.K, d, s.Threads)
			// Sums are rounded: where one channel outshines all others it takes more damping.
			if to, err = f(l, b); err != nil && (d > 1 || !errors.Is(err, fit.ErrSingular)) {
				return err
			}
		}
		for o := range each {
			for k := range m.K {
				v := float32(to[o*m.K+k])
				x[b.at(o, k)] = v
				shift[b.row+o] += (w[o*m.K+k] - float64(v)) * m.Sum[k] / float64(in.Rows)
			}
		}
		m.G = nil
	}
	if bias != nil {
		y := make([]float32, r.N)
		for o := range y {
			y[o] = float32(float64(bias[o]) + shift[o])
		}
		setBias(s.Graph, l.Node, l, y)
	}
	return done(l, x)
}

// centre makes second moments those about the mean.
func centre(m *stat.Moments, rows int64) {
	for i, v := range m.Sum {
		mean := v / float64(rows)
		for j, u := range m.Sum {
			m.G[i*m.K+j] -= float64(mean * u)
		}
		m.G[i*m.K+i] = max(0, m.G[i*m.K+i])
	}
}

// biasOf is the layer's bias, zeros where it can be given one; nil where it cannot be changed.
func biasOf(l *method.Layer, n int) []float32 {
	if l.Node.Op != "Conv" && l.Node.Op != "Gemm" {
		return nil
	}
	b := l.Node.Input(2)
	switch {
	case b == nil:
		return make([]float32, n)
	case b.Kind != graph.Const || b.Type.DType != tensor.Float32 || b.Type.Shape.NumElements() != n:
		return nil
	case l.Bias != nil && (l.Bias.As != nil || l.Bias.Centroids != nil):
		return nil
	}
	return tensor.Of[float32](b.Tensor())
}

// bitsOf are the whole bits of the layers; 0 where there are none.
func bitsOf(bits method.LayerValues, l *method.Layer) (int, error) {
	b, _ := bits.For(l.Name)
	if b != float64(int(b)) || b == 1 {
		return 0, fmt.Errorf("%v bits for layer %s, want a whole number from 2 on", b, l.Name)
	}
	return int(b), nil
}

// maskOf is the mask of the elements that are true.
func maskOf(stay []bool) []uint64 {
	m := make([]uint64, weight.MaskWords(len(stay)))
	for i, s := range stay {
		if s {
			m[i/64] |= 1 << (i % 64)
		}
	}
	return m
}
