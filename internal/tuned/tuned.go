package tuned

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"whit/internal/pull"
	"whit/internal/safefile"
	"whit/kernel"
)

// Key is all that choices depend on.
type Key struct {
	Model   string // hash of its content
	Binding string // types of the inputs
	CPU     string // features
	Threads int
	Direct  bool
	Version string // whit's
}

// text is the head of the key's file.
func (k Key) text() []byte {
	return fmt.Appendf(nil, "model %q\nbinding %q\ncpu %q\nthreads %d\ndirect %v\nwhit %q\n", k.Model, k.Binding, k.CPU, k.Threads, k.Direct, k.Version)
}

// maxFile is more than any file of choices has.
const maxFile = 4 << 20

// Path is the key's file: tuned/HASH in the cache.
func Path(k Key) (string, error) {
	dir, err := pull.CacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(k.text())
	return filepath.Join(dir, "tuned", hex.EncodeToString(sum[:16])), nil
}

// Choices are those that are kept for the key, or what measure finds, which is kept from
// then on. A file that is damaged or of another key is measured again and written anew. replayed
// tells which.
func Choices(k Key, measure func() (*kernel.Choices, error)) (c *kernel.Choices, replayed bool, err error) {
	name, err := Path(k)
	if err != nil {
		return nil, false, err
	}
	if c := read(name, k); c != nil {
		return c, true, nil
	}
	if c, err = measure(); err != nil {
		return nil, false, err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, false, fmt.Errorf("keeping choices of kernels: %w", err)
	}
	if err := safefile.WriteBytes(name, c.Append(k.text())); err != nil {
		return nil, false, fmt.Errorf("keeping choices of kernels: %w", err)
	}
	return c, false, nil
}

// read is nil where there is nothing that can be used.
func read(name string, k Key) *kernel.Choices {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() || st.Size() > maxFile {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil
	}
	text, ok := bytes.CutPrefix(b, k.text())
	if !ok {
		return nil
	}
	c, err := kernel.ParseChoices(text)
	if err != nil || c.CPU != k.CPU {
		return nil
	}
	return c
}
