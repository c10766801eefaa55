package tuned_test

import (
	"fmt"
	"os"

	"whit/internal/tuned"
	"whit/kernel"
)

func Example() {
	dir, err := os.MkdirTemp("", "whit")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	os.Setenv("WHIT_CACHE", dir)
	defer os.Unsetenv("WHIT_CACHE")
	for range 2 {
		c, replayed, err := tuned.Choices(tuned.Key{Model: "hash", CPU: "neon", Threads: 4}, func() (*kernel.Choices, error) {
			return &kernel.Choices{CPU: "neon", Of: map[string]string{"Conv 1x8x9x9 8x8x3x3": "winograd2"}}, nil
		})
		fmt.Println(len(c.Of), replayed, err)
	}
	// Output:
	// 1 false <nil>
	// 1 true <nil>
}
