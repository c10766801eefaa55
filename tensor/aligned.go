package tensor

import "unsafe"

// Aligned reports whether Of can read b as elements of d: whether b begins at a
// multiple of the element's size.
func Aligned(b []byte, d DType) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))%uintptr(max(1, d.Bits()/8)) == 0
}
