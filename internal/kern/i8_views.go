package kern

import "unsafe"

// Int8s views b as int8s.
func Int8s(b []byte) []int8 {
	// Invariant: the two have one size.
	return unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(b))), len(b))
}

// Int16s views b, whose first byte must be 2-byte aligned, as int16s.
func Int16s(b []byte) []int16 { return views[int16](b, 2) }

// CutInt16 is the first n int16s of b, which must be 8-byte aligned, and the bytes behind
// them from the next multiple of 8 on.
func CutInt16(b []byte, n int) ([]int16, []byte) {
	k := (2*n + 7) &^ 7
	return views[int16](b[:k], 2)[:n], b[k:]
}

// CutInts is the first n ints of b, which must be 8-byte aligned, and the bytes behind them.
func CutInts(b []byte, n int) ([]int, []byte) { return views[int](b[:8*n], 8)[:n], b[8*n:] }

// CutInt32 is the first n int32s of b, which must be 4-byte aligned, and the bytes behind them.
func CutInt32(b []byte, n int) ([]int32, []byte) { return views[int32](b[:4*n], 4)[:n], b[4*n:] }

// views is b as elements of at most size bytes.
func views[T int | int16 | int32](b []byte, size int) []T {
	if len(b) < size {
		return nil
	}
	p := unsafe.Pointer(unsafe.SliceData(b))
	if uintptr(p)%uintptr(size) != 0 {
		panic("kern: bytes are not aligned")
	}
	// Invariant: p is aligned for T, of at most size bytes, and the view stays within b.
	return unsafe.Slice((*T)(p), len(b)/size)
}
