package quant

import (
	"math"

	"whit/tensor"
)

// Output channels of a weight may have steps of their own: powers of √2 of the layer's. In the file a step takes a bit or less
// where it is that of the channel before, else up to two bytes, so that a channel gets another where that pays.
const (
	sameStep  = 0.4 // bits of one that is the channel's before
	otherStep = 12  // and of any other
	mostSteps = 48  // powers of √2 between the largest step and the least
)

// channel is the output channel of element i.
func (q *rounded) channel(i int) int {
	if q.axis == 0 {
		return i / q.cols
	}
	return i % q.cols
}

// unit is the step of element i.
func (q *rounded) unit(i int) float64 {
	if q.powers == nil {
		return q.step
	}
	return q.steps[q.channel(i)]
}

// spread sets the channels' steps from the layer's, to 8 significant bits.
func (q *rounded) spread() {
	q.steps = q.steps[:0]
	for _, k := range q.powers {
		q.steps = append(q.steps, float64(tensor.ToBF16(float32(q.step*rootPower(k))).Float32()))
	}
}

// rootPower is √2 to the k.
func rootPower(k int) float64 {
	v := math.Ldexp(1, k>>1)
	if k&1 == 1 {
		v *= math.Sqrt2
	}
	return v
}

// stepsOfChannels sets powers for a layer of which factor times the best step at a high rate is step, and returns the bits that
// they take. Each channel has a best step too, by its own curvature: with one r times as large its n levels that are not 0
// cost n (r²/(2 ln 2) - log2 r) bits, error and rate together (see begin). Of all sequences of powers the cheapest is found, with the
// bits of changes (A. J. Viterbi, 1967). limit says how small a channel's step may be, of its largest weight.
func (q *rounded) stepsOfChannels(step, limit float64) (bits float64) {
	n := q.h.Value.Type.Shape[q.axis]
	type channel struct{ sum, free, top, near float64 }
	chans := make([]channel, n)
	var sum, free float64
	q.each(func(i int) {
		if !q.fixed[i] {
			c := &chans[q.channel(i)]
			h := q.j.norm(i)
			c.sum, c.free, c.top = c.sum+h, c.free+1, max(c.top, math.Abs(float64(q.float[i])))
			sum, free = sum+h, free+1
		}
	})
	q.powers = nil
	if !(sum > 0) {
		return 0
	}
	best := make([]float64, n) // the square of the best step, of the layer's
	lo, hi := 0, 0
	for i, c := range chans {
		if best[i] = 1; c.sum > 0 {
			best[i] = min(max(c.free/c.sum*sum/free, 0x1p-40), 0x1p40)
			_, e := math.Frexp(best[i])
			lo, hi = min(lo, e-2), max(hi, e+1)
		}
		for step*rootPower(hi) < limit*c.top {
			hi++
		}
	}
	lo = max(lo, hi-mostSteps)
	q.each(func(i int) {
		if !q.fixed[i] {
			c := q.channel(i)
			if v := float64(q.float[i]); v*v > best[c]*step*step/4 {
				chans[c].near++
			}
		}
	})
	width := hi - lo + 1
	cost, from := make([]float64, width), make([]uint8, n*width)
	for i, c := range chans {
		cheapest := 0
		for k, v := range cost {
			if v < cost[cheapest] {
				cheapest = k
			}
		}
		other := cost[cheapest] + otherStep
		for k := range cost {
			from[i*width+k] = uint8(k)
			if cost[k] += sameStep; i > 0 && other < cost[k] {
				cost[k], from[i*width+k] = other, uint8(cheapest)
			}
			if p := lo + k; step*rootPower(p) < limit*c.top {
				cost[k] = math.Inf(1)
			} else {
				cost[k] += c.near * (math.Ldexp(1, p)/best[i]/(2*math.Ln2) - float64(p)/2)
			}
		}
	}
	at := 0
	for k, v := range cost {
		if v < cost[at] {
			at = k
		}
	}
	q.powers = make([]int, n)
	changes := 0
	for i := n - 1; i >= 0; i-- {
		q.powers[i] = lo + at
		if before := int(from[i*width+at]); before != at {
			at = before
			changes++
		}
	}
	if changes == 0 {
		q.powers = nil
		return 0
	}
	return float64(n)*sameStep + float64(changes)*(otherStep-sameStep)
}
