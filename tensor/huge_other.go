//go:build !linux

package tensor

const (
	largePages = false
	hugePage   = 2 << 20
)

func adviseHuge([]byte) {}
