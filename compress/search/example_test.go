package search_test

import (
	"fmt"

	"whit/compress/search"
)

func Example() {
	for _, m := range search.Methods { // in the order in which a search uses them
		fmt.Println(m.Name)
	}
	// Output:
	// scan
	// magnitude
	// equalise
	// codebook
	// rdo
	// round
	// adaround
	// correct
	// activations
}
