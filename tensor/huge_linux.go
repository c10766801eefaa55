package tensor

import (
	"syscall"
	"unsafe"
)

// largePages says whether adviseHuge does anything.
const largePages = true

// hugePage is the size of a large page of memory in bytes, on amd64 and mostly on arm64. Where it
// is another, less is gained.
const hugePage = 2 << 20

// adviseHuge asks for large pages under b, which begins and ends with one: the first touch of a
// page costs a microsecond or more, of whatever size, and a first run touches thousands of small ones.
// The system may refuse; nothing depends on it.
func adviseHuge(b []byte) {
	// Invariant: b is memory that Go has allocated, and the advice changes no byte of it.
	_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), syscall.MADV_HUGEPAGE)
}
