package quant

import (
	"context"
	"errors"
	"fmt"
	"math"

	"whit/compress/method"
)

// Layers have up to mostBits, from 3 on where the average allows that; what they do to the outputs is measured at tellingBits.
const (
	leastBits   = 2
	tellingBits = 4
	mostBits    = 8
)

// allot says how many bits layers should have, so that they have so many on average over their weights and the outputs miss the
// float model's least: mixed precision, with the measure of Z. Dong et al.: HAWQ-V2 (2020, section 3), a sum over layers,
// taken from the outputs themselves. Each layer alone is rounded to a few bits and the outputs are compared; with b bits it is taken to miss by
// as much more or less as its weights do. Bits then go one by one to the layer whose gain a weight is largest.
// round makes a state's layers such of tellingBits. It sees three quarters of the images and the rest judge: of few
// images rounding knows how not to show.
func allot(ctx context.Context, s *method.State, layers []*method.Layer, average float64, images int, round func(s *method.State) error) (method.LayerValues, error) {
	if !hasImages(s) {
		return nil, errors.New("there are no images to see what layers do to the outputs")
	}
	images = min(images, s.Train.Len())
	held := images / 4
	judging := *s
	if held > 0 {
		judging.Train = part{s.Train, images - held, held}
	}
	j, err := newJudge(ctx, &judging, s.Graph, images)
	if err != nil {
		return nil, err
	}
	quiet := func() *method.State {
		c := s.Clone()
		c.Train = part{s.Train, 0, images - held}
		c.Choice, c.Memo, c.Progress = nil, nil, nil
		return c
	}
	all := quiet()
	if err := round(all); err != nil {
		return nil, err
	}
	at := map[string]int{}
	for i, l := range all.Layers {
		at[l.Name] = i
	}
	far := make([][mostBits + 1]float64, len(layers))
	weights := 0.0
	for i, l := range layers {
		k := at[l.Name]
		made := all.Layers[k]
		c := quiet()
		c.Layers[k].Weight.Value.Data = made.Weight.Value.Data
		if y := biasOf(made, made.Weight.Value.Type.Shape[made.OutAxis]); y != nil && made.Bias != nil {
			setBias(c.Graph, c.Layers[k].Node, c.Layers[k], append([]float32(nil), y...))
		}
		outs, err := j.far(ctx, c.Graph)
		if err != nil {
			return nil, err
		}
		sum := total(outs)
		var miss [mostBits + 1]float64 // of the weights
		x := l.Weight.Data()
		each := setsOf(l, "channel", 0)
		for b := leastBits; b <= mostBits; b++ {
			errs := make([]float64, each.count())
			parallel(len(errs), s.Threads, func(k int) {
				set := each.gather(nil, x, k)
				errs[k] = Spec{Bits: b, Symmetric: true, Rule: MSE}.Grid(set).Error(set)
			})
			miss[b] = total(errs)
		}
		for b := leastBits; b <= mostBits; b++ {
			if miss[tellingBits] > 0 {
				far[i][b] = sum * miss[b] / miss[tellingBits]
			}
		}
		weights += float64(l.Weight.Len())
		s.Tell(method.Event{Stage: "bits", Message: fmt.Sprintf("%s alone at %d bits: %.3g", l.Name, tellingBits, sum), Done: float64(i + 1), Total: float64(len(layers))})
	}
	sizes := make([]float64, len(layers))
	for i, l := range layers {
		sizes[i] = float64(l.Weight.Len())
	}
	var out method.LayerValues
	for i, b := range share(far, sizes, min(3, max(leastBits, int(average))), average*weights) {
		out = append(out, method.LayerValue{Glob: layers[i].Name, Value: float64(b)})
		s.Tell(method.Event{Stage: "bits", Message: fmt.Sprintf("%s: %d bits", layers[i].Name, b)})
	}
	return out, nil
}

// share gives layers of so many weights bits, from least on as many as the room has in all. far is what each is off by with so
// many.
func share(far [][mostBits + 1]float64, sizes []float64, least int, room float64) []int {
	bits := make([]int, len(far))
	for i := range bits {
		bits[i] = least
		room -= float64(least) * sizes[i]
	}
	for {
		most, to, gain := -1, 0, math.Inf(-1)
		for i, f := range far {
			for b := bits[i] + 1; b <= mostBits; b++ { // several at once, where one brings little
				if need := float64(b-bits[i]) * sizes[i]; need <= room+1e-6 {
					if g := (f[bits[i]] - f[b]) / need; g > gain {
						most, to, gain = i, b, g
					}
				}
			}
		}
		if most < 0 {
			return bits
		}
		room -= float64(to-bits[most]) * sizes[most]
		bits[most] = to
	}
}
