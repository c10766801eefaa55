package search

import (
	"math/rand/v2"
	"testing"

	"whit/compress/method"
)

// TestExpectedLoss draws margins, moves them by normal noise, and compares what 150
// images foretell with what happens to a million: never less, and not many times more.
func TestExpectedLoss(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	draw := func(n int, noise float64) (a, b method.Eval, lost float64) {
		for range n {
			m := 6 + 3*r.NormFloat64()
			q := 1.2*m + noise*r.NormFloat64()
			a.Margin, b.Margin = append(a.Margin, float32(m)), append(b.Margin, float32(q))
			if m > 0 && q < 0 {
				lost += 1 / float64(n)
			}
		}
		return a, b, lost
	}
	for _, noise := range []float64{0, 0.5, 1, 2, 4} {
		_, _, truth := draw(1_000_000, noise)
		sum := 0.0
		for range 50 {
			a, b, _ := draw(150, noise)
			sum += expectedLoss(a, b) / 50
		}
		if sum < 0.8*truth || sum > 0.005+3*truth {
			t.Errorf("noise %v: %.4f expected, %.4f are lost", noise, sum, truth)
		}
	}
	if e := expectedLoss(method.Eval{}, method.Eval{}); e != 0 {
		t.Errorf("without margins: %v", e)
	}
}
