package plan

import (
	"sort"

	"whit/tensor"
)

// pack1D gives every arena slot an offset so that slots whose lifetimes overlap do
// not overlap in memory: largest first, each at the lowest offset that fits
// (greedy by size; Pisarchyk, Lee: Efficient Memory Management for Deep Neural Net
// Inference, 2020, section 5.2). It returns the arena's size in bytes.
func pack1D(slots []slot) int64 {
	var order []int
	for i, s := range slots {
		if s.place == inArena {
			order = append(order, i)
		}
	}
	sort.SliceStable(order, func(a, b int) bool { return slots[order[a]].size > slots[order[b]].size })
	var placed []int // sorted by offset
	var total int64
	for _, i := range order {
		s := &slots[i]
		n := (s.size + tensor.Align - 1) &^ (tensor.Align - 1)
		off := 0
		for _, j := range placed {
			t := &slots[j]
			if t.last < s.first || s.last < t.first {
				continue
			}
			if off+n <= t.off {
				break
			}
			off = max(off, t.off+(t.size+tensor.Align-1)&^(tensor.Align-1))
		}
		s.off = off
		total = max(total, int64(off+n))
		at := sort.Search(len(placed), func(k int) bool { return slots[placed[k]].off >= off })
		placed = append(placed, 0)
		copy(placed[at+1:], placed[at:])
		placed[at] = i
	}
	return total
}
