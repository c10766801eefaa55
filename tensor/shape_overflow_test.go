package tensor

import "testing"

// TestNumBytesOverflow: the largest shape that Check accepts has a positive size.
func TestNumBytesOverflow(t *testing.T) {
	s := Shape{1 << 30, 1 << 29}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	for d := Bool; d < numDTypes; d++ {
		want := map[int]int{64: 1 << 62, 32: 1 << 61, 16: 1 << 60, 8: 1 << 59, 4: 1 << 58, 2: 1 << 57}[d.Bits()]
		if got := (Type{d, s}).NumBytes(); got != want {
			t.Errorf("%v: %d bytes, want %d", d, got, want)
		}
	}
}
