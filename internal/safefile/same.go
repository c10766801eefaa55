package safefile

import (
	"fmt"
	"os"
	"path/filepath"
)

// Same is an open file that must not change while it is read, now and then.
type Same struct {
	*os.File
	st os.FileInfo
}

// KeepSame notes what the file is now.
func KeepSame(f *os.File) (*Same, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &Same{f, st}, nil
}

// Err is an error if the file's size or time of modification has changed.
func (s *Same) Err() error {
	st, err := s.Stat()
	if err == nil && (st.Size() != s.st.Size() || !st.ModTime().Equal(s.st.ModTime())) {
		err = fmt.Errorf("%s has been changed since it was opened", filepath.Base(s.Name()))
	}
	return err
}
