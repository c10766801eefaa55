//go:build !unix

package safefile

import (
	"fmt"
	"os"
)

// Lock keeps other processes from locking name until unlock is called. Here a
// lock file stands for the lock: after a crash it must be removed by hand.
func Lock(name string) (unlock func(), err error) {
	to, err := Target(name)
	if err != nil {
		return nil, err
	}
	path := to + ".lock"
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s exists", name, ErrInUse, path)
	}
	return func() { f.Close(); os.Remove(path) }, nil
}
