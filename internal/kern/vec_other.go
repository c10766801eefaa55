//go:build (!amd64 && !arm64) || noasm

package kern

func (Flat) binary(op Op, dst, a, b []float32, sa, sb int) int { return 0 }

func (Flat) clamp(dst, a []float32, lo, hi float32) int { return 0 }
