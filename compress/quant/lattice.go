package quant

import (
	"context"
	"math"
	"slices"

	"whit/compress/method"
	"whit/tensor"
)

// latticed is how many elements of images are looked at for the levels that they have.
const latticed = 1 << 20

// lattice is the grid of 8 bits on which all elements of images of the training part lie, as those of pictures of
// 8 bits do where zero is one of their levels; ok: there is one.
func lattice(ctx context.Context, s *method.State, images int, signed bool) (g Grid, ok bool, err error) {
	size := max(1, tensor.Shape(s.Train.Shape()).NumElements())
	n := min(images, s.Train.Len(), max(1, latticed/size))
	seen := map[float32]bool{0: true}
	x := make([]float32, size)
	for i := range n {
		if err := s.Train.Read(ctx, []int{i}, x, nil); err != nil {
			return g, false, err
		}
		last := float32(0)
		for _, v := range x {
			if v == last {
				continue
			}
			last = v
			if seen[v] = true; v-v != 0 || len(seen) > 256 {
				return g, false, nil
			}
		}
	}
	var levels []float32
	for v := range seen {
		levels = append(levels, v)
	}
	slices.Sort(levels)
	step := math.Inf(1)
	for i, v := range levels[1:] {
		step = min(step, float64(v)-float64(levels[i]))
	}
	lo, hi := float64(levels[0]), float64(levels[len(levels)-1])
	if len(levels) < 3 || (hi-lo)/step > 255.5 {
		return g, false, nil
	}
	// The farthest level says best what a step is; others must be whole numbers of it.
	far := max(hi, -lo)
	step = far / math.Round(far/step)
	for _, v := range levels {
		if k := float64(v) / step; math.Abs(k-math.RoundToEven(k)) > 1e-3 {
			return g, false, nil
		}
	}
	least, most := math.RoundToEven(lo/step), math.RoundToEven(hi/step)
	switch {
	case !signed:
		g = Grid{Scale: float32(step), Zero: int32(-least), Hi: 255}
	case least >= -127 && most <= 127:
		g = Grid{Scale: float32(step), Lo: -127, Hi: 127}
	default:
		return g, false, nil
	}
	return g, g.Scale >= minScale, nil
}
