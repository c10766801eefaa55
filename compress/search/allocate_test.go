package search

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Against all choices of small problems, with and without costs of changing kind: what is found
// is within the budget, and as near as any choice that leaves room for what buckets round away.
func TestAllocate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		rows := make([][]option, 1+r.IntN(5))
		kinds := 1 + n%2
		for i := range rows {
			for range 1 + r.IntN(4) {
				rows[i] = append(rows[i], option{cost: r.Int64N(100000), far: r.Float64(), kind: r.IntN(kinds)})
			}
		}
		var change func(i, a, j int) int64
		if kinds > 1 {
			change = func(i, a, j int) int64 {
				if a != rows[i][j].kind {
					return 5000 + int64(i)
				}
				return 0
			}
		}
		most := int64(0)
		for _, row := range rows {
			high := int64(0)
			for _, o := range row {
				high = max(high, o.cost)
			}
			most += high + 6000
		}
		f := allocate(rows, most, change)
		budget := f.least + r.Int64N(most-f.least+1)
		slackless := budget - int64(2*len(rows)+2)*f.unit
		best := math.Inf(1)
		pick := make([]int, len(rows))
		var all func(i int)
		all = func(i int) {
			if i < len(rows) {
				for j := range rows[i] {
					pick[i] = j
					all(i + 1)
				}
				return
			}
			if far := total(rows, pick); f.cost(pick) <= slackless && far < best {
				best = far
			}
		}
		all(0)
		got := f.within(budget)
		if got == nil {
			if !math.IsInf(best, 1) {
				t.Fatalf("problem %d: nothing within %d, there is a choice at distance %v", n, budget, best)
			}
			continue
		}
		if c := f.cost(got); c > budget {
			t.Fatalf("problem %d: costs %d of %d", n, c, budget)
		}
		if far := total(rows, got); far > best+1e-12 {
			t.Fatalf("problem %d: distance %v, the best is %v", n, far, best)
		}
	}
	f := allocate([][]option{{{cost: 10}}}, 100, nil)
	if f.within(9) != nil || f.within(10) == nil {
		t.Error("the least budget")
	}
}

func total(rows [][]option, pick []int) (far float64) {
	for i, j := range pick {
		far += rows[i][j].far
	}
	return far
}

// Numbers get the types that parameters have, and what has its type keeps it.
func TestTyped(t *testing.T) {
	m := find("reconstruct")
	got := typed(m, map[string]any{"sparsity": 0.4, "round_to": 8, "nothing": 1.0})
	if _, err := m.Args(got); err != nil || len(got) != 2 || got["round_to"] != 8 {
		t.Errorf("%v: %v", got, err)
	}
}
