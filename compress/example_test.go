package compress_test

import (
	"fmt"

	"whit/compress"
)

func ExampleParseRecipe() {
	r, err := compress.ParseRecipe([]byte(`
recipe: 1
name: mine
steps:
  - {method: magnitude, sparsity: {"fc*": 0.9, conv1: 0.5}}
  - {method: codebook, bits: 5}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(compress.FormatRecipe(r, false))

	_, err = compress.ParseRecipe([]byte("recipe: 1\nsteps:\n  - {method: codebook, bits: 17}\n"))
	fmt.Println(err)
	// Output:
	// recipe: 1
	// name: mine
	// steps:
	//   - method: magnitude
	//     sparsity: {"fc*": 0.9, conv1: 0.5}
	//   - method: codebook
	//     bits: 5
	// invalid recipe: line 3: bits must be between 1 and 16, found 17
}
