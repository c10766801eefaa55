package prune_test

import (
	"fmt"

	"whit/compress/prune"
)

func ExampleSmallest() {
	w := []float32{0.9, -0.1, 0.3, -0.7, 0.05, 0.2}
	mask := prune.Smallest(w, 0.5, nil) // a bit a weight, set where it is kept
	for i, x := range w {
		if mask[i/64]>>(i%64)&1 != 0 {
			fmt.Println(i, x)
		}
	}
	// Output:
	// 0 0.9
	// 2 0.3
	// 3 -0.7
}

func ExampleSchedule() {
	for r := range 4 { // sparsity rises steeply at first (Zhu, Gupta 2017)
		fmt.Printf("%.3f ", prune.Schedule(0, 0.9, r+1, 4))
	}
	// Output: 0.520 0.787 0.886 0.900
}
