package safefile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a.bin")
	if err := WriteBytes(name, []byte("one")); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	for label, f := range map[string]func() error{
		"write fails": func() error {
			return Write(name, func(w io.Writer) error { w.Write([]byte("two")); return boom })
		},
		"check fails": func() error {
			return WriteChecked(name, func(w io.Writer) error { _, err := w.Write([]byte("two")); return err },
				func(p string) error {
					if b, _ := os.ReadFile(p); string(b) != "two" {
						t.Errorf("check sees %q", b)
					}
					return boom
				})
		},
	} {
		if err := f(); !errors.Is(err, boom) {
			t.Errorf("%s: got %v", label, err)
		}
		if b, _ := os.ReadFile(name); string(b) != "one" {
			t.Errorf("%s: the file holds %q", label, b)
		}
	}
	if es, _ := os.ReadDir(dir); len(es) != 1 {
		t.Errorf("%d files stand in the folder, want 1", len(es))
	}
}

func TestLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out.onnx")
	unlock, err := Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(name); !errors.Is(err, ErrInUse) {
		t.Errorf("second lock: got %v, want ErrInUse", err)
	}
	unlock()
	unlock, err = Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if _, err := os.Stat(name + ".lock"); !os.IsNotExist(err) {
		t.Error("the lock file stays")
	}
}
