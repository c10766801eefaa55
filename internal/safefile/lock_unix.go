//go:build unix

package safefile

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Lock keeps other processes from locking name until unlock is called or the
// process ends, however it ends. It holds name+".lock", which unlock removes.
// A lock held elsewhere is ErrInUse.
func Lock(name string) (unlock func(), err error) {
	to, err := Target(name)
	if err != nil {
		return nil, err
	}
	path := to + ".lock"
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			return nil, fmt.Errorf("%s: %w: another process is writing it", name, ErrInUse)
		}
		// The holder before us may have removed the file between our open and our lock.
		a, err1 := f.Stat()
		b, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(a, b) {
			return func() { os.Remove(path); f.Close() }, nil
		}
		f.Close()
	}
}
