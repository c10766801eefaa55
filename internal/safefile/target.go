package safefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// maxLinks bounds how many links are followed, one after another.
const maxLinks = 40

// Target is where a file called name would be written: name, or what a link of that
// name leads to. It is an error where no file can be: a folder that does not exist, or
// something of that name that is no file, such as a folder or a device.
func Target(name string) (string, error) {
	to := name
	for range maxLinks {
		st, err := os.Lstat(to)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if dir := filepath.Dir(to); !isDir(dir) {
				return "", fmt.Errorf("%s: there is no folder %s", name, dir)
			}
			return to, nil
		case err != nil:
			return "", err
		case st.Mode().IsRegular():
			return to, nil
		case st.IsDir():
			return "", fmt.Errorf("%s is a folder, want the name of a file", name)
		case st.Mode()&fs.ModeSymlink == 0:
			return "", fmt.Errorf("%s is a device or a pipe, want the name of a file", name)
		}
		link, err := os.Readlink(to)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(link) {
			link = filepath.Join(filepath.Dir(to), link)
		}
		to = link
	}
	return "", fmt.Errorf("%s: too many links", name)
}

func isDir(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.IsDir()
}
