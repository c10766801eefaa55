package quant

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"whit/compress/method"
	"whit/internal/cpu"
	"whit/tensor"
	"whit/weight"
)

// Round holds weights as the next of few uniform levels (R. Krishnamoorthi: Quantizing deep
// convolutional networks for efficient inference, 2018, section 2), or of two or three (see
// [Binary], [Ternary]). It needs no images. Batch normalisation is folded into the weights
// before, so that they are what runs. Layers that are already held as levels are rounded
// anew from those.
var Round = &method.Method{
	Name: "round",
	Doc:  "rounds weights to few uniform levels; needs no images",
	Params: []method.Param{
		{Name: "layers", Kind: method.String, Default: "*", Doc: "which layers: globs, joined by commas"},
		{Name: "bits", Kind: method.PerLayer, Default: method.Uniform(8), Min: 2, Max: 8, Doc: "bits of a level, by layer or for all; layers that no pattern matches are left alone"},
		{Name: "levels", Kind: method.String, Default: uniform, Choices: []string{uniform, ternary, binary}, Doc: "ternary and binary have three and two levels, whatever bits says"},
		{Name: "granularity", Kind: method.String, Default: "channel", Choices: []string{"tensor", "channel", "group"}, Doc: "what shares a scale: the tensor, an output channel, or groups of its inputs"},
		{Name: "group", Kind: method.Int, Default: 32, Min: 1, Max: 1 << 16, Doc: "inputs in a group"},
		{Name: "symmetric", Kind: method.Bool, Default: true, Doc: "as many levels on both sides of zero; else a zero point fits the range"},
		{Name: "scale", Kind: method.String, Default: string(MSE), Choices: Rules, Doc: "where the levels end: at the largest weight, where the mean square error is least, or at a percentile"},
		{Name: "percentile", Kind: method.Float, Default: 99.9, Min: 50, Max: 100, Doc: "of the weights that lie within, for that scale"},
	},
	Apply: round,
}

func round(ctx context.Context, s *method.State, a method.Args) error {
	layers, err := s.Match(a.String("layers"))
	if err != nil {
		return err
	}
	foldNorms(s)
	s.KeepBase()
	bits := a.PerLayer("bits")
	n := 0
	for _, l := range layers {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, ok := bits.For(l.Name)
		if !ok {
			continue
		}
		if b != float64(int(b)) {
			return fmt.Errorf("round: %v bits for layer %s, want a whole number", b, l.Name)
		}
		n++
		t := target{spec: Spec{Bits: int(b), Symmetric: a.Bool("symmetric"), Rule: Rule(a.String("scale")), Percentile: a.Float("percentile")},
			levels: a.String("levels"), sets: setsOf(l, a.String("granularity"), a.Int("group"))}
		if t.levels == binary && l.Weight.Mask != nil {
			return fmt.Errorf("round: layer %s is pruned, and two levels have no zero", l.Name)
		}
		w, err := t.round(l.Weight.Data(), s.Threads)
		if err != nil {
			return fmt.Errorf("round: layer %s: %w", l.Name, err)
		}
		l.Weight.Hold(w)
	}
	if n == 0 {
		return fmt.Errorf("round: bits names none of the layers %q", a.String("layers"))
	}
	return stage(ctx, s, "rounded")
}

// stage notes the state, as many bytes as its levels take without a coder.
func stage(ctx context.Context, s *method.State, name string) error {
	_, bytes, _ := s.Bytes()
	_, err := s.Stage(ctx, name, bytes)
	return err
}

// setsOf are the sets of a layer's weights that share a scale.
func setsOf(l *method.Layer, granularity string, group int) sets {
	s := sets{shape: l.Weight.Value.Type.Shape, axis: l.OutAxis}
	switch granularity {
	case "tensor":
		s.axis = weight.PerTensor
	case "group": // along the inputs, next to the outputs
		s.group = group
		if s.axis++; l.OutAxis > 0 {
			s.axis = l.OutAxis - 1
		}
	}
	return s
}

// target is what a weight becomes.
type target struct {
	spec   Spec
	levels string
	sets   sets
}

// round rounds each set for itself.
func (t target) round(x []float32, threads int) (weight.Weight, error) {
	if err := finite(x); err != nil {
		return nil, err
	}
	n := t.sets.count()
	levels, scales, zeros := make([]int32, len(x)), make([]float32, n), make([]int32, n)
	parallel(n, threads, func(k int) {
		set := t.sets.gather(nil, x, k)
		var q []int32
		switch t.levels {
		case ternary:
			q, scales[k] = Ternary(set)
		case binary:
			q, scales[k] = Binary(set)
		default:
			g := t.spec.Grid(set)
			scales[k], zeros[k] = g.Scale, g.Zero
			for _, v := range set {
				q = append(q, g.Level(v))
			}
		}
		at := 0
		t.sets.each(k, func(i int) { levels[i] = q[at]; at++ })
	})
	signed := t.spec.Symmetric || t.levels != uniform
	if signed {
		zeros = nil
	}
	return t.sets.weight(levels, signed, scales, zeros)
}

// weight holds levels of the sets.
func (s sets) weight(levels []int32, signed bool, scales []float32, zeros []int32) (weight.Weight, error) {
	bits := 8
	for _, b := range []int{4, 2} {
		lo, hi := int32(0), int32(1)<<b-1
		if signed {
			lo, hi = -hi/2-1, hi/2
		}
		if !slices.ContainsFunc(levels, func(v int32) bool { return v < lo || v > hi }) && !slices.ContainsFunc(zeros, func(v int32) bool { return v > hi }) {
			bits = b
		}
	}
	d := map[int]tensor.DType{8: tensor.Uint8, 4: tensor.Uint4, 2: tensor.Uint2}[bits]
	if signed {
		d = map[int]tensor.DType{8: tensor.Int8, 4: tensor.Int4, 2: tensor.Int2}[bits]
	}
	q, err := weight.PackLevels(d, levels, s.shape...)
	if err != nil {
		return nil, err
	}
	return weight.NewGrouped(q, s.axis, s.group, scales, zeros)
}

// parallel calls f for 0..n-1, each once, on several goroutines.
func parallel(n, threads int, f func(k int)) {
	if threads <= 0 {
		threads = cpu.PhysicalCores()
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(threads, n) {
		wg.Go(func() {
			for k := int(next.Add(1)) - 1; k < n; k = int(next.Add(1)) - 1 {
				f(k)
			}
		})
	}
	wg.Wait()
}
