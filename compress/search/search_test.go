package search

import (
	"math/rand/v2"
	"testing"
	"time"

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

// TestUntil: a part of the search that comes late has some of the time that is left.
func TestUntil(t *testing.T) {
	for _, c := range []struct {
		name       string
		gone, left time.Duration
		from, to   time.Duration // of the limit from now
	}{
		{"in time", time.Minute, 3 * time.Minute, time.Minute - time.Second, time.Minute},
		{"late", 3 * time.Minute, time.Minute, 5 * time.Second, 7 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := time.Now()
			r := &runner{began: now.Add(-c.gone), o: Options{Deadline: now.Add(c.left)}}
			r.until(0.5)
			if d := r.limit.Sub(now); d < c.from || d > c.to {
				t.Errorf("%v from now, want %v to %v", d, c.from, c.to)
			}
		})
	}
}
