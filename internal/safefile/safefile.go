package safefile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// ErrInUse is returned by Lock where another process holds the lock.
var ErrInUse = errors.New("in use")

// Write makes the file name with what write writes: into a temporary file in the
// same folder, synced, then renamed over name. On any error name is left as it
// was and the temporary file is removed. A link stays, and what it leads to is written;
// see Target. A file that was there keeps its permissions; those of a new one are the user's default.
func Write(name string, write func(io.Writer) error) error {
	return WriteChecked(name, write, nil)
}

// WriteChecked is Write with a look at the temporary file, by its path, before it
// takes its name: check reads it back and refuses it with an error.
func WriteChecked(name string, write func(io.Writer) error, check func(path string) error) (err error) {
	to, err := Target(name)
	if err != nil {
		return err
	}
	dir, base := filepath.Split(to)
	if dir == "" {
		dir = "."
	}
	f, err := createTemp(dir, "."+base+".tmp")
	if err != nil {
		return err
	}
	tmp := f.Name()
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(tmp)
		}
	}()
	w := bufio.NewWriterSize(f, 1<<18)
	if err = write(w); err != nil {
		return err
	}
	if err = w.Flush(); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if st, err := os.Stat(to); err == nil && st.Mode().IsRegular() {
		if err := f.Chmod(st.Mode().Perm()); err != nil {
			return err
		}
	}
	if err = f.Close(); err != nil {
		return err
	}
	if check != nil {
		if err = check(tmp); err != nil {
			return fmt.Errorf("%s: what was written does not read back: %w", name, err)
		}
	}
	if err = os.Rename(tmp, to); err != nil {
		return err
	}
	syncDir(dir)
	return nil
}

// createTemp makes a file of a new name that begins with prefix. Unlike os.CreateTemp's,
// its permissions are those of any new file.
func createTemp(dir, prefix string) (*os.File, error) {
	for {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("%s%08x", prefix, rand.Uint32())), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

// WriteBytes is Write of b.
func WriteBytes(name string, b []byte) error {
	return Write(name, func(w io.Writer) error { _, err := w.Write(b); return err })
}

// syncDir makes the rename durable where the system can; errors do not matter:
// the file itself is already whole.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		d.Close()
	}
}
