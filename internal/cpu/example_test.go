package cpu_test

import (
	"fmt"

	"whit/internal/cpu"
)

func ExampleFeatures_And() {
	have := cpu.Features{AVX2FMA: true, AVX512: true}
	fmt.Println(have.And(cpu.Features{AVX2FMA: true}) == cpu.Features{AVX2FMA: true})
	// Output: true
}
