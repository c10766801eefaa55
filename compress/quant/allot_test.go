package quant

import (
	"math/rand/v2"
	"slices"
	"testing"

	"whit/weight"
)

// The layer that hurts most a weight has the most bits, and the room is kept to.
func TestShare(t *testing.T) {
	fall := func(f float64) (x [mostBits + 1]float64) {
		for b := range x {
			x[b] = f / float64(int(1)<<(2*b))
		}
		return x
	}
	for _, c := range []struct {
		far   []float64
		sizes []float64
		least int
		mean  float64
		want  []int
	}{
		{[]float64{1, 1}, []float64{10, 10}, 2, 4, []int{4, 4}},
		{[]float64{16, 1}, []float64{10, 10}, 2, 4, []int{5, 3}},
		{[]float64{1, 1}, []float64{1, 1000}, 2, 4, []int{8, 3}},
		{[]float64{1, 1}, []float64{10, 10}, 3, 2, []int{3, 3}},
		{[]float64{0, 1}, []float64{10, 10}, 2, 5, []int{2, 8}},
		{[]float64{1, 1}, []float64{10, 10}, 2, 8, []int{8, 8}},
	} {
		var far [][mostBits + 1]float64
		room := 0.0
		for i, f := range c.far {
			far = append(far, fall(f))
			room += c.mean * c.sizes[i]
		}
		if got := share(far, c.sizes, c.least, room); !slices.Equal(got, c.want) {
			t.Errorf("%v of sizes %v, %v bits on average: %v, want %v", c.far, c.sizes, c.mean, got, c.want)
		}
	}
}

func TestAverage(t *testing.T) {
	g := net(rand.New(rand.NewPCG(3, 4)))
	before := run(t, g, 16)
	far := map[float64]float64{}
	for _, mean := range []float64{0, 4, 6} { // 0: 4 bits each
		s := stateOf(t, net(rand.New(rand.NewPCG(3, 4))), 64)
		step(t, GPTQ, s, map[string]any{"average": mean})
		bits, all := 0.0, 0.0
		for _, l := range s.Layers {
			lo, hi := levelRange(l.Weight.As.(weight.Int8))
			b := 2
			for int32(1)<<(b-1)-1 < max(hi, -lo) {
				b++
			}
			bits += float64(b * l.Weight.Len())
			all += float64(l.Weight.Len())
		}
		if bits > max(mean, 4)*all {
			t.Errorf("average %v: %.2f bits", mean, bits/all)
		}
		far[mean] = apart(before, run(t, s.Graph, 16))
	}
	if !(far[6] < far[4] && far[4] < 2*far[0]) {
		t.Errorf("apart by %v", far)
	}
	s := stateOf(t, net(rand.New(rand.NewPCG(3, 4))), 64)
	a, err := GPTQ.Args(map[string]any{"average": 1.5})
	if err != nil {
		t.Fatal(err)
	}
	if err := GPTQ.Apply(t.Context(), s, a); err == nil {
		t.Error("1.5 bits: no error")
	}
}
