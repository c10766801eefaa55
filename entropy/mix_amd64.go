//go:build !noasm

package entropy

import "golang.org/x/sys/cpu"

// simd says whether decisions are made by assembly; tests turn it off.
var simd = cpu.X86.HasAVX2
