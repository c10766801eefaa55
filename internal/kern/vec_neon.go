package kern

import "unsafe"

// flatNEON is one call of the elementwise kernels on arm64: sa and sb are the bytes from four of
// an operand to the next four, 16, or 0 where one float four times stands for all.
type flatNEON struct {
	dst, a, b unsafe.Pointer
	sa, sb    int
	n         int // a multiple of 4
}
