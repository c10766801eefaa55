package search

import (
	"math"
	"testing"
)

// What was not measured goes with the square of the share that goes, from what was; the same share does the same, and where
// nothing was measured of a group others stand for it.
func TestGuess(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	x := &thinning{far: [][]float64{{0, nan, 0.25, nan, nan, inf, 4}, nil, {0, nan, nan, nan, nan, nan, inf}}, kept: make([][][]float64, 3)}
	for i, own := range [][]float64{{1, 0.75, 0.75, 0.625, 0.5, 0.5, 0.25}, nil, {1, 0.9, 0.8, 0.7, 0.5, 0.4, 1}} {
		for _, k := range own {
			x.kept[i] = append(x.kept[i], []float64{k, 1, k})
		}
	}
	x.guess()
	per := (0.25/0.0625 + 4/0.5625) / 2
	for i, want := range [][]float64{{0, 0.25, 0.25, 0.5625, 1, inf, 4}, nil, {0, per * 0.01, per * 0.04, per * 0.09, per * 0.25, per * 0.36, inf}} {
		for v, w := range want {
			if got := x.far[i][v]; got != w && math.Abs(got-w) > 1e-9 {
				t.Errorf("group %d, level %d: %v, want %v", i, v, got, w)
			}
		}
	}
	if got := x.levels(2); len(got) != 6 || len(x.levels(1)) != 1 {
		t.Errorf("levels %v", got)
	}
}
