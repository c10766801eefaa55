package safefile_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"whit/internal/safefile"
)

func Example() {
	dir, err := os.MkdirTemp("", "whit")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "model.whit")
	if err := safefile.WriteBytes(name, []byte("good")); err != nil {
		fmt.Println(err)
		return
	}
	// A writer that fails half way leaves what was there.
	err = safefile.Write(name, func(w io.Writer) error {
		io.WriteString(w, "ba")
		return errors.New("disk full")
	})
	b, _ := os.ReadFile(name)
	fmt.Printf("%v: %s\n", err != nil, b)
	// Output: true: good
}
