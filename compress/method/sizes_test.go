package method

import (
	"slices"
	"testing"

	"whit/graph"
	"whit/tensor"
)

func mask(n int, at ...int) []uint64 {
	m := make([]uint64, (n+63)/64)
	for _, i := range at {
		m[i/64] |= 1 << (i % 64)
	}
	return m
}

func TestRelativeIndex(t *testing.T) {
	for _, tc := range []struct {
		name   string
		mask   []uint64
		n, b   int
		gap    []int
		filler []bool
	}{
		// Figure 2 of the paper: with 3 bits a distance beyond 8 takes a filler.
		{"the paper's", mask(20, 1, 4, 15), 20, 3, []int{1, 2, 7, 2}, []bool{false, false, true, false}},
		{"none", mask(100), 100, 4, nil, nil},
		{"all", mask(3, 0, 1, 2), 3, 2, []int{0, 0, 0}, []bool{false, false, false}},
		{"last of a word", mask(130, 63, 64, 129), 130, 8, []int{63, 0, 64}, []bool{false, false, false}},
		{"far", mask(200, 199), 200, 6, []int{63, 63, 63, 7}, []bool{true, true, true, false}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			gap, filler := RelativeIndex(tc.mask, tc.n, tc.b)
			if !slices.Equal(gap, tc.gap) || !slices.Equal(filler, tc.filler) {
				t.Errorf("%v %v, want %v %v", gap, filler, tc.gap, tc.filler)
			}
			pos, got := -1, make([]uint64, len(tc.mask))
			for i, g := range gap {
				pos += g + 1
				if !filler[i] {
					got[pos/64] |= 1 << (pos % 64)
				}
			}
			if !slices.Equal(got, tc.mask) {
				t.Error("the positions do not come back")
			}
		})
	}
}

func TestHuffmanBits(t *testing.T) {
	for _, tc := range []struct {
		count []int
		want  int64
	}{
		{nil, 0}, {[]int{7}, 0}, {[]int{3, 0, 5}, 8}, {[]int{1, 1, 2, 4}, 14}, {[]int{5, 5, 5, 5}, 40},
	} {
		if got := HuffmanBits(tc.count); got != tc.want {
			t.Errorf("%v: %d bits, want %d", tc.count, got, tc.want)
		}
	}
}

func TestSizeOf(t *testing.T) {
	g := graph.New("g")
	w := g.NewConst("w", tensor.New(tensor.Float32, 10, 10))
	b := g.NewConst("b", tensor.New(tensor.Float32, 10))
	l := &Layer{Name: "l", Weight: Held{Value: w}, Bias: &Held{Value: b}}
	if s := l.SizeOf(); s.Pruned != 440 || s.Quantised != 440 || s.Huffman != 440 || s.Bits != 32 {
		t.Errorf("dense: %+v", s)
	}
	at := []int{}
	for i := 0; i < 100; i += 4 {
		at = append(at, i)
	}
	l.Weight.Mask = mask(100, at...)
	s := l.SizeOf()
	if s.Stored != 25 || s.IndexBits != 2 || s.Pruned != (25*34+7)/8+40 {
		t.Errorf("pruned: %+v", s)
	}
	l.Weight.Centroids, l.Weight.Index = []float32{-1, 1}, make([]uint16, 100)
	s = l.SizeOf()
	if s.Bits != 1 || s.Quantised != (25*3+64+7)/8+40 || s.CodeBits != 0 {
		t.Errorf("shared: %+v", s)
	}
}
