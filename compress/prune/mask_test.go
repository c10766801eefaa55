package prune

import (
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func list(m []uint64, n int) []int {
	s := []int{}
	for i := range n {
		if m[i/64]>>(i%64)&1 == 1 {
			s = append(s, i)
		}
	}
	return s
}

func TestSmallest(t *testing.T) {
	w := []float32{3, -1, 0.5, -4, 1, 0}
	for _, tc := range []struct {
		name     string
		fraction float64
		keep     []uint64
		want     []int
	}{
		{"nothing", 0, nil, []int{0, 1, 2, 3, 4, 5}},
		{"half", 0.5, nil, []int{0, 3, 4}},
		{"all", 1, nil, []int{}},
		{"shrinks only", 0.5, []uint64{0b010111}, []int{0, 4, 1}},
		{"less than is gone", 0.1, []uint64{0b000011}, []int{0, 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := list(Smallest(w, tc.fraction, tc.keep), len(w))
			slices.Sort(tc.want)
			if !slices.Equal(got, tc.want) {
				t.Errorf("keeps %v, want %v", got, tc.want)
			}
		})
	}
}

func TestSmallestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := rapid.SliceOfN(rapid.Float32Range(-1, 1), 1, 200).Draw(t, "w")
		a := rapid.Float64Range(0, 1).Draw(t, "a")
		b := rapid.Float64Range(0, 1).Draw(t, "b")
		m := Smallest(w, a, nil)
		n := Smallest(w, b, m)
		count := 0
		for i := range n {
			if n[i]&^m[i] != 0 {
				t.Fatal("a mask grew")
			}
			count += bits.OnesCount64(n[i])
		}
		direct := Smallest(w, max(a, b), nil)
		if !slices.Equal(n, direct) {
			t.Fatal("two steps differ from one")
		}
	})
}

func TestNodes(t *testing.T) {
	w := []float32{1, 2, 0, 1, 5, 0} // [2,3]: rows 1 2 0 and 1 5 0
	if got := list(Nodes(w, []int{2, 3}, 0, 0.5), 6); !slices.Equal(got, []int{3, 4, 5}) {
		t.Errorf("axis 0 keeps %v", got)
	}
	if got := list(Nodes(w, []int{2, 3}, 1, 0.67), 6); !slices.Equal(got, []int{1, 4}) {
		t.Errorf("axis 1 keeps %v", got)
	}
}

func TestSchedule(t *testing.T) {
	last := 0.2
	for r := 1; r <= 5; r++ {
		s := Schedule(0.2, 0.9, r, 5)
		if s <= last {
			t.Errorf("round %d: %v after %v", r, s, last)
		}
		last = s
	}
	if last != 0.9 {
		t.Errorf("ends at %v", last)
	}
}
