package tensor

import (
	"testing"
	"unsafe"
)

// Blocks have the length that was asked for, are aligned and zero, large pages or not.
func TestAlignedBytes(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 4097, hugePage/2 - 1, hugePage / 2, hugePage - 1, hugePage, hugePage + 1, 2*hugePage - 1, 2*hugePage + 1, 5*hugePage/2 + 7} {
		for name, f := range map[string]func(int) []byte{"aligned": AlignedBytes, "working": WorkingBytes} {
			b := f(n)
			if len(b) != n || cap(b) != n {
				t.Fatalf("%s(%d): length %d, capacity %d", name, n, len(b), cap(b))
			}
			if n > 0 && uintptr(unsafe.Pointer(&b[0]))%Align != 0 {
				t.Errorf("%s(%d): not aligned", name, n)
			}
			for i := range b {
				if b[i] != 0 {
					t.Fatalf("%s(%d): byte %d is %d", name, n, i, b[i])
				}
				b[i] = 1 // what is collected and handed out again is zero again
			}
		}
	}
}
