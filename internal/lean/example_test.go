package lean_test

import (
	"fmt"

	"whit/internal/lean"
)

func Example() {
	lean.Release()
	fmt.Println("goes on")
	// Output: goes on
}
