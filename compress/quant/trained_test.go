package quant

import (
	"math"
	"math/rand/v2"
	"testing"

	"whit/compress/method"
	"whit/graph"
	"whit/tensor"
)

// What is left of a layer of which most is gone takes the coarser steps the more a bit is worth, and what the choice minimises is never
// more than at the steps that it had.
func TestChoose(t *testing.T) {
	const n, top = 2000, 7
	rng := rand.New(rand.NewPCG(1, 2))
	p := &method.Part{Elems: make([]float32, n), Second: make([]float32, n)}
	c := &trainedPart{p: p, top: top, unit: []float32{1}, level: make([]float32, n), fixed: make([]uint8, n)}
	for i := range n {
		if p.Elems[i], p.Second[i] = float32(2*rng.NormFloat64()), 1; math.Abs(float64(p.Elems[i])) < 3 {
			p.Elems[i], c.fixed[i] = 0, 1
		}
	}
	cost := func(lambda, unit float64) (sum float64, used int) {
		count := map[float32]int{}
		left := 0
		for i, x := range p.Elems {
			if c.fixed[i] == 0 {
				q := c.to(x, float32(unit))
				count[q]++
				left++
				sum += math.Pow(float64(x)-float64(q)*unit, 2) / 2
			}
		}
		for _, m := range count {
			sum += lambda * float64(m) * math.Log2(float64(left)/float64(m))
		}
		return sum, len(count)
	}
	was := 0.0
	for _, lambda := range []float64{1e-3, 0.1, 0.5, 2} {
		c.unit[0] = 1
		c.choose(lambda, 1)
		unit := float64(c.unit[0])
		now, used := cost(lambda, unit)
		before, had := cost(lambda, 1)
		t.Logf("lambda %v: unit %.3g, %d levels instead of %d, cost %.4g instead of %.4g", lambda, unit, used, had, now, before)
		if unit < was || now > before*(1+1e-6) {
			t.Errorf("lambda %v: unit %v after %v, cost %v instead of %v", lambda, unit, was, now, before)
		}
		was = unit
	}
	if was < 3 {
		t.Errorf("unit %v where bits are dear", was)
	}
	c.nearest()
	c.round(0)
	for i, x := range p.Elems {
		if c.fixed[i] != 1 || x != c.level[i]*c.unit[0] {
			t.Fatalf("element %d is %v, level %v of unit %v", i, x, c.level[i], c.unit[0])
		}
	}
}

// Between until and freeze all is rounded: evenly, or most of it early, while the rest may still move far.
func TestRoundingEarly(t *testing.T) {
	for _, x := range []struct{ early, share, want float64 }{
		{1, 0.4, 1}, {1, 0.6, 0.5}, {1, 0.8, 0}, {1, 1, 0},
		{2, 0.4, 1}, {2, 0.6, 0.25}, {2, 0.7, 0.0625}, {2, 0.8, 0},
	} {
		r := &training{until: 0.4, freeze: 0.8, early: x.early}
		if got := r.left(x.share); math.Abs(got-x.want) > 1e-12 {
			t.Errorf("early %v: %v is left after %v of the training, want %v", x.early, got, x.share, x.want)
		}
	}
}

// Where no weight is zero yet a zero costs more than what it takes the place of: prices say nothing then of what many zeros save.
func TestPruneAtOnce(t *testing.T) {
	const n, top = 50_000, 7
	for _, share := range []float64{0.9, 0.6, 0.3, 0.05} {
		rng := rand.New(rand.NewPCG(3, 4))
		g := graph.New("g")
		p := &method.Part{Elems: make([]float32, n), Second: make([]float32, n), Held: &method.Held{Value: g.NewConst("w", tensor.New(tensor.Float32, 50, n/50))}}
		c := &trainedPart{p: p, top: top, unit: []float32{1}, level: make([]float32, n), fixed: make([]uint8, n)}
		for i := range n {
			p.Elems[i], p.Second[i] = float32(3*rng.NormFloat64()), 1
		}
		tr := &training{coded: []*trainedPart{c}, now: make([]float64, 4)}
		c.nearest()
		tr.bytes = int(share * tr.walk(nil) / 8)
		tr.prune(1, 1)
		bytes := tr.walk(nil) / 8
		t.Logf("%d bytes asked for, %.0f are there", tr.bytes, bytes)
		if bytes < 0.85*float64(tr.bytes) || bytes > 1.05*float64(tr.bytes) {
			t.Errorf("%.0f bytes, want %d", bytes, tr.bytes)
		}
	}
}
