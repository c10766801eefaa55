package pull

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type folder struct {
	dir   string
	err   error
	calls *int
}

func (f folder) Fetch(context.Context, string, bool, []File) (string, error) {
	*f.calls++
	return f.dir, f.err
}
func (f folder) Command() string { return "fetch it" }

func pinned(name, path, content string) File {
	h := sha256.Sum256([]byte(content))
	return File{Name: name, Path: path, Size: int64(len(content)), SHA256: hex.EncodeToString(h[:])}
}

func TestPull(t *testing.T) {
	src := t.TempDir()
	os.Mkdir(filepath.Join(src, "sub"), 0o755)
	os.WriteFile(filepath.Join(src, "sub", "a"), []byte("alpha"), 0o644)
	ctx := context.Background()
	t.Setenv("WHIT_OFFLINE", "")

	t.Run("fetch then cache", func(t *testing.T) {
		t.Setenv("WHIT_CACHE", t.TempDir())
		n := 0
		s := Spec{Name: "x", Source: folder{dir: src, calls: &n}, Files: []File{pinned("a.bin", "sub/a", "alpha")}}
		if Cached(s) {
			t.Error("cached before it was pulled")
		}
		for range 2 {
			dir, err := Pull(ctx, s)
			if err != nil {
				t.Fatal(err)
			}
			if b, _ := os.ReadFile(filepath.Join(dir, "a.bin")); string(b) != "alpha" {
				t.Errorf("content %q", b)
			}
		}
		if n != 1 || !Cached(s) {
			t.Errorf("fetched %d times, cached %v", n, Cached(s))
		}
		// A damaged cache is fetched again.
		dir, _ := Dir(s)
		os.WriteFile(filepath.Join(dir, "a.bin"), []byte("alphb"), 0o644)
		if _, err := Pull(ctx, s); err != nil || n != 2 {
			t.Errorf("after damage: %v, fetched %d times", err, n)
		}
	})
	t.Run("wrong checksum", func(t *testing.T) {
		t.Setenv("WHIT_CACHE", t.TempDir())
		n := 0
		for _, want := range []string{"alpho", "alph", "alphabet"} {
			s := Spec{Name: "x", Source: folder{dir: src, calls: &n}, Files: []File{pinned("a", "sub/a", want)}}
			if _, err := Pull(ctx, s); !errors.Is(err, ErrChecksum) {
				t.Errorf("%s: %v", want, err)
			}
			if Cached(s) {
				t.Error("entered the cache")
			}
		}
	})
	t.Run("unavailable", func(t *testing.T) {
		t.Setenv("WHIT_CACHE", t.TempDir())
		n := 0
		s := Spec{Name: "x", Source: folder{err: errors.New("one\nno route\n"), calls: &n}, Otherwise: "pass --data DIR"}
		s.Files = []File{pinned("a", "a", "a")}
		_, err := Pull(ctx, s)
		if !errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), "\n") {
			t.Fatal(err)
		}
		for _, w := range []string{"x is not in the cache", "no route", "`fetch it`", "or pass --data DIR"} {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q lacks %q", err, w)
			}
		}
	})
}

func TestGoModule(t *testing.T) {
	m := GoModule{Path: "example.com/none", Version: "v1.0.0"}
	t.Run("no go tool", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if _, err := m.Fetch(context.Background(), t.TempDir(), true, nil); err == nil || !strings.Contains(err.Error(), "go tool") {
			t.Error(err)
		}
	})
	t.Run("offline", func(t *testing.T) {
		t.Setenv("GOMODCACHE", t.TempDir())
		if _, err := m.Fetch(context.Background(), t.TempDir(), true, nil); err == nil {
			t.Error("no error")
		}
	})
	if got := withoutMod("-mod=vendor -buildvcs=false --modfile=x"); got != "-buildvcs=false" {
		t.Error(got)
	}
}
