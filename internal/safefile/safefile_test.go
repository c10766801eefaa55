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

// TestTarget: links are followed, and what is no file stays what it is.
func TestTarget(t *testing.T) {
	dir := t.TempDir()
	in := func(s string) string { return filepath.Join(dir, s) }
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, in(name)); err != nil {
			t.Skip(err)
		}
	}
	if err := os.Mkdir(in("sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	link("sub/model.whit", "link")
	link("link", "twice")
	link("sub", "folder")
	link("loop", "loop")
	link("none/model.whit", "nowhere")
	link(os.DevNull, "device")
	for _, c := range []struct{ name, to string }{
		{"plain", "plain"}, {"link", "sub/model.whit"}, {"twice", "sub/model.whit"}, {"folder/a", "folder/a"},
		{"folder", ""}, {"sub", ""}, {"loop", ""}, {"nowhere", ""}, {"none/a", ""}, {"device", ""},
	} {
		for range 2 { // what is there already changes nothing
			err := WriteBytes(in(c.name), []byte(c.name))
			unlock, lerr := Lock(in(c.name))
			if c.to == "" {
				if err == nil || lerr == nil {
					t.Errorf("%s: written (%v), locked (%v)", c.name, err, lerr)
				}
				continue
			}
			if err != nil || lerr != nil {
				t.Errorf("%s: %v, %v", c.name, err, lerr)
				continue
			}
			if _, err := os.Stat(in(c.to) + ".lock"); err != nil {
				t.Error(err)
			}
			unlock()
			if b, _ := os.ReadFile(in(c.to)); string(b) != c.name {
				t.Errorf("%s: %s holds %q", c.name, c.to, b)
			}
		}
	}
	for _, name := range []string{"link", "twice", "folder", "device"} {
		if st, err := os.Lstat(in(name)); err != nil || st.Mode()&os.ModeSymlink == 0 {
			t.Errorf("%s is no link any more", name)
		}
	}
}

// Permissions are those that the user's umask gives a new file, and stay what they were of one that is there.
func TestPermissions(t *testing.T) {
	dir := t.TempDir()
	plain, err := os.OpenFile(filepath.Join(dir, "plain"), os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	plain.Close()
	perm := func(name string) os.FileMode {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return st.Mode().Perm()
	}
	if err := WriteBytes(filepath.Join(dir, "new"), []byte("a")); err != nil {
		t.Fatal(err)
	}
	if got, want := perm("new"), perm("plain"); got != want {
		t.Errorf("a new file has %v, want %v", got, want)
	}
	if err := os.Chmod(filepath.Join(dir, "new"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := perm("new")
	if err := WriteBytes(filepath.Join(dir, "new"), []byte("b")); err != nil {
		t.Fatal(err)
	}
	if got := perm("new"); got != want {
		t.Errorf("written again it has %v, had %v", got, want)
	}
}
