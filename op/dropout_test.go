package op

import "testing"

func TestDropoutBits(t *testing.T) {
	// The sequence is part of what makes a training run repeatable: it must not change.
	key := DropoutKey(1, 2, 3)
	if got := [2]uint64{DropoutBits(key, 0), DropoutBits(key, 1)}; got != [2]uint64{1171707897159637, 3939014255082492} {
		t.Errorf("bits %v", got)
	}
	seen := map[uint64]bool{}
	for seed := range uint64(4) {
		for step := range uint64(4) {
			for node := range uint64(4) {
				seen[DropoutKey(seed, step, node)] = true
			}
		}
	}
	if len(seen) != 64 {
		t.Errorf("%d different keys, want 64", len(seen))
	}
	for _, ratio := range []float64{0, .1, .5, .9} {
		const n = 100000
		dropped := 0
		for i := range uint64(n) {
			if DropoutBits(key, i) < DropoutLimit(ratio) {
				dropped++
			}
		}
		if d := float64(dropped)/n - ratio; d < -.006 || d > .006 { // four standard deviations
			t.Errorf("ratio %g: dropped %d of %d", ratio, dropped, n)
		}
	}
}
