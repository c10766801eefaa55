package kern_test

import (
	"fmt"

	"whit/internal/cpu"
	"whit/internal/kern"
)

func ExampleGEMM() {
	g := &kern.GEMM{M: 2, N: 2, K: 3, Hi: 0}
	g.Init(kern.F32(cpu.Detect()))
	a, b, c := []float32{1, 2, 3, 4, 5, 6}, []float32{1, 0, 0, 1, 1, 1}, make([]float32, 4)
	scratch := make([]float32, g.Scratch())
	for i := range g.Tiles() { // on any worker, in any order
		g.Run(i, a, b, c, nil, nil, scratch)
	}
	fmt.Println(c)
	// Output: [4 5 10 11]
}
