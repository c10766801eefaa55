package pull_test

import (
	"errors"
	"fmt"

	"context"
	"os"
	"whit/internal/pull"
)

func ExamplePull() {
	dir, err := os.MkdirTemp("", "whit")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	os.Setenv("WHIT_CACHE", dir)
	os.Setenv("WHIT_OFFLINE", "1")
	defer os.Unsetenv("WHIT_CACHE")
	defer os.Unsetenv("WHIT_OFFLINE")
	_, err = pull.Pull(context.Background(), pull.Spec{
		Name:   "example",
		Source: pull.GoModule{Path: "example.invalid/data", Version: "v1.0.0", Sum: "h1:none"},
		Files:  []pull.File{{Name: "a.gz", Path: "a.gz", Size: 1, SHA256: "00"}},
	})
	fmt.Println(errors.Is(err, pull.ErrUnavailable))
	// Output: true
}
