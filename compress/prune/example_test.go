package prune_test

import (
	"fmt"
	"log"

	"whit/compress/prune"
	"whit/zoo"
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

func ExampleNewSurgery() {
	g, err := zoo.Build("lenet5", 1)
	if err != nil {
		log.Fatal(err)
	}
	s, err := prune.NewSurgery(g, []int{1, 28, 28})
	if err != nil {
		log.Fatal(err)
	}
	for _, span := range s.Atoms[0] { // the first filter of conv1
		if span.Value.IsConst() {
			fmt.Println(span.Value.Name, "axis", span.Axis, span.Index)
		}
	}
	if err := s.Cut([]int{0}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(g.Find("conv1.weight").Type, g.Find("conv2.weight").Type)
	// Output:
	// conv1.weight axis 0 [0]
	// conv1.bias axis 0 [0]
	// conv2.weight axis 1 [0]
	// float32[19,1,5,5] float32[50,19,5,5]
}
