package kern

import "unsafe"

// Floats views b, whose first byte must be 4-byte aligned, as float32s.
func Floats(b []byte) []float32 {
	if len(b) < 4 {
		return nil
	}
	p := unsafe.Pointer(unsafe.SliceData(b))
	if uintptr(p)%4 != 0 {
		panic("kern.Floats: bytes are not aligned")
	}
	// Invariant: p is aligned and the view stays within b.
	return unsafe.Slice((*float32)(p), len(b)/4)
}

// Bytes views s as bytes.
func Bytes(s []float32) []byte {
	// Invariant: every byte of s belongs to it.
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), 4*len(s))
}

// AlignedFloats allocates n zeroed floats whose first is 64-byte aligned.
func AlignedFloats(n int) []float32 {
	s := make([]float32, n+15)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(s)))&63) / 4
	return s[off : off+n : off+n]
}
