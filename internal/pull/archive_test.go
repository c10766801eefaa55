package pull

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type entry struct{ name, content string }

func zipOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		w, err := z.Create(e.name)
		if err == nil {
			_, err = io.WriteString(w, e.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, e := range entries {
		err := w.WriteHeader(&tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.content)), Typeflag: tar.TypeReg})
		if err == nil {
			_, err = io.WriteString(w, e.content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// archiveOf pins b, and writes it as a file.
func archiveOf(t testing.TB, b []byte) (Archive, string) {
	t.Helper()
	h := sha256.Sum256(b)
	p := filepath.Join(t.TempDir(), "package.bin")
	if err := os.WriteFile(p, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return Archive{Client: Pip, Package: "toy", Version: "1.0", Size: int64(len(b)), SHA256: hex.EncodeToString(h[:])}, p
}

func TestPullFrom(t *testing.T) {
	t.Setenv("WHIT_OFFLINE", "1")
	want := []File{pinned("a.bin", "toy/data/a", "alpha"), pinned("b.bin", "toy/b", strings.Repeat("b", 100000))}
	good := []entry{{"toy/x.py", "x"}, {"toy/data/a", "alpha"}, {"../../toy/evil", "evil"}, {"toy/b", strings.Repeat("b", 100000)}}
	for name, b := range map[string][]byte{"zip": zipOf(t, good...), "tar": tarOf(t, good...)} {
		t.Run(name, func(t *testing.T) {
			cache := t.TempDir()
			t.Setenv("WHIT_CACHE", cache)
			a, p := archiveOf(t, b)
			s := Spec{Name: "toy", Source: a, Files: want}
			dir, err := PullFrom(context.Background(), s, p)
			if err != nil {
				t.Fatal(err)
			}
			if b, _ := os.ReadFile(filepath.Join(dir, "a.bin")); string(b) != "alpha" || !Cached(s) {
				t.Errorf("%q, cached %v", b, Cached(s))
			}
			var all []string
			if err := filepath.WalkDir(cache, func(p string, d os.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					all = append(all, filepath.Base(p))
				}
				return err
			}); err != nil || strings.Join(all, " ") != "a.bin b.bin" {
				t.Errorf("the cache holds %v, %v", all, err)
			}
			// The cache comes first.
			if _, err := PullFrom(context.Background(), s, "/nosuch"); err != nil {
				t.Error(err)
			}
			if _, err := Pull(context.Background(), s); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("not an archive's", func(t *testing.T) {
		t.Setenv("WHIT_CACHE", t.TempDir())
		s := Spec{Name: "toy", Source: GoModule{Path: "example.com/x", Version: "v1.0.0"}, Files: want}
		if _, err := PullFrom(context.Background(), s, "x"); err == nil || !strings.Contains(err.Error(), "go mod download") {
			t.Error(err)
		}
	})
}

// lie overwrites the sizes that a zip's directory gives for its first entry.
func lie(b []byte, size uint32) []byte {
	b = bytes.Clone(b)
	i := bytes.Index(b, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(b[i+24:], size)
	return b
}

// TestUnsuitable: archives that lie, burst or lack something are errors.
func TestUnsuitable(t *testing.T) {
	want := []File{pinned("a", "a", "alpha")}
	zeros := strings.Repeat("\x00", 1<<20)
	many := make([]entry, maxEntries+1)
	for i := range many {
		many[i] = entry{name: fmt.Sprint(i)}
	}
	z := zipOf(t, entry{"a", "alpha"})
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"no file in zip": {zipOf(t, entry{"b", "alpha"}), ErrArchive},
		"no file in tar": {tarOf(t, entry{"b", "alpha"}), ErrArchive},
		"bomb in zip":    {zipOf(t, entry{"a", zeros}), ErrArchive},
		"bomb in tar":    {tarOf(t, entry{"a", zeros}), ErrArchive},
		"bomb that lies": {lie(zipOf(t, entry{"a", zeros}), 5), ErrArchive},
		"zip with many":  {zipOf(t, many...), ErrArchive},
		"tar with many":  {tarOf(t, many...), ErrArchive},
		"long names":     {zipOf(t, longNames(200)...), ErrArchive},
		"text":           {[]byte("alpha, a text"), ErrArchive},
		"empty":          {[]byte{}, ErrArchive},
		"no directory":   {z[:len(z)-22], ErrArchive},
		"cut tar":        {tarOf(t, entry{"b", zeros}, entry{"a", "alpha"})[:200], ErrArchive},
	} {
		t.Run(name, func(t *testing.T) {
			a, p := archiveOf(t, c.b)
			if _, err := a.Unpack(context.Background(), p, t.TempDir(), want); !errors.Is(err, c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	a, p := archiveOf(t, z)
	for name, change := range map[string]func(*Archive){
		"another size":     func(a *Archive) { a.Size++ },
		"another checksum": func(a *Archive) { a.SHA256 = strings.Repeat("0", 64) },
	} {
		b := a
		change(&b)
		if _, err := b.Unpack(context.Background(), p, t.TempDir(), want); !errors.Is(err, ErrChecksum) || !strings.Contains(err.Error(), "toy 1.0") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := a.Unpack(context.Background(), t.TempDir(), t.TempDir(), want); !errors.Is(err, ErrArchive) {
		t.Errorf("a folder: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := a.Unpack(ctx, p, t.TempDir(), want); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func longNames(n int) []entry {
	e := make([]entry, n)
	for i := range e {
		e[i].name = strings.Repeat("n", 60000) + fmt.Sprint(i)
	}
	return e
}

// fake is an executable that stands for a registry's client.
func fake(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
}

func TestClients(t *testing.T) {
	want := []File{pinned("a", "a", "alpha")}
	a, p := archiveOf(t, tarOf(t, entry{"a", "alpha"}))
	fetch := func(c Client, offline bool) error {
		a.Client = c
		_, err := a.Fetch(context.Background(), t.TempDir(), offline, want)
		return err
	}
	t.Run("pip", func(t *testing.T) {
		fake(t, "pip3", `while [ $# -gt 0 ]; do
case $1 in --dest) d=$2;; -r) r=$2;; esac; shift; done
grep -q -- "toy==1.0 --hash=sha256:" "$r" || exit 1
cp "`+p+`" "$d/toy-1.0.tar.gz"`)
		if err := fetch(Pip, false); err != nil {
			t.Error(err)
		}
		if err := fetch(Pip, true); err == nil {
			t.Error("offline: no error")
		}
	})
	t.Run("npm", func(t *testing.T) {
		fake(t, "npm", `[ "$2" = toy@1.0 ] || exit 1
cp "`+p+`" "$4/toy-1.0.tgz"`)
		if err := fetch(NPM, false); err != nil {
			t.Error(err)
		}
	})
	t.Run("fails", func(t *testing.T) {
		fake(t, "npm", "echo one >&2; echo no route >&2; exit 3")
		if err := fetch(NPM, false); err == nil || !strings.Contains(err.Error(), "no route") {
			t.Error(err)
		}
	})
	t.Run("brings nothing", func(t *testing.T) {
		fake(t, "npm", "exit 0")
		if err := fetch(NPM, false); err == nil {
			t.Error("no error")
		}
	})
	t.Run("not installed", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		for _, c := range []Client{Pip, NPM} {
			if err := fetch(c, false); err == nil || !strings.Contains(err.Error(), "not installed") {
				t.Error(err)
			}
		}
	})
	if got := a.Command(); got != "npm pack toy@1.0" && got != "pip download --no-deps toy==1.0" {
		t.Error(got)
	}
}

// FuzzUnpack: whatever an archive says, no more than what is wanted is written.
func FuzzUnpack(f *testing.F) {
	f.Add(zipOf(f, entry{"a", "alpha"}, entry{"../b", "b"}))
	f.Add(tarOf(f, entry{"a", "alpha"}, entry{"../b", "b"}))
	f.Add(lie(zipOf(f, entry{"a", strings.Repeat("a", 1000)}), 5))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, p := archiveOf(t, b)
		dir := t.TempDir()
		out, err := a.Unpack(context.Background(), p, dir, []File{pinned("a", "a", "alpha")})
		if err != nil {
			return
		}
		list, err := os.ReadDir(out)
		if err != nil || len(list) != 1 || list[0].Name() != "a" {
			t.Fatalf("%v, %v", list, err)
		}
		if st, err := list[0].Info(); err != nil || st.Size() != 5 {
			t.Fatalf("%v, %v", st, err)
		}
	})
}
