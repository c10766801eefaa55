package format

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestFilesAgreeOnEveryCPU holds the bytes of files that are written from seeded
// graphs and arrays: every CPU must write them, and a change of any is a change of
// what the format's writer does.
func TestFilesAgreeOnEveryCPU(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("# Bytes and SHA-256 of files, the same on every CPU; refreshed by -update.\n")
	line := func(name string, file []byte) {
		fmt.Fprintf(&b, "%s\t%d\t%x\n", name, len(file), sha256.Sum256(file))
	}
	for _, f := range []struct {
		name string
		file *File
	}{{"tiny", tiny()}, {"lenet", lenet()}, {"zoo", zoo()}} {
		for _, o := range []struct {
			name string
			opt  Options
		}{
			{"compact", Options{}}, {"fast", Options{Profile: Fast}}, {"strip", Options{Strip: true}},
			{"raw", Options{Coder: "raw"}}, {"huffman", Options{Coder: "huffman"}}, {"relative", Options{Coder: "relative"}}, {"rans", Options{Coder: "rans"}}, {"context", Options{Coder: "context"}},
		} {
			file, _ := write(t, f.file, o.opt)
			line(f.name+" "+o.name, file)
		}
	}
	for _, level := range []Level{Small, FastLevel} {
		var file bytes.Buffer
		if _, err := EncodeArrays(&file, someArrays(), ArrayOptions{Level: level}); err != nil {
			t.Fatal(err)
		}
		line(fmt.Sprintf("arrays %d", level), file.Bytes())
	}
	const path = "testdata/files.txt"
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("the bytes are not those of %s; got\n%s", path, b.Bytes())
	}
}

// TestFilesOfThisVersion reads files as this version wrote them: testdata/v3 never
// changes once a release has written such files, and every later release reads them.
func TestFilesOfThisVersion(t *testing.T) {
	dir := filepath.Join("testdata", fmt.Sprintf("v%d", Version))
	type golden struct {
		name  string
		write func() []byte
		check func(b []byte) error
	}
	model := func(name string, f *File, o Options) golden {
		return golden{name + ".whit", func() []byte {
			b, _ := write(t, f, o)
			return b
		}, func(b []byte) error {
			back, err := read(b)
			if err != nil {
				return err
			}
			return compare(f, back, o.Strip)
		}}
	}
	files := []golden{
		model("small", tiny(), Options{}), model("stripped", lenet5(3, 5, 11), Options{Strip: true}), model("all", zoo(), Options{}),
		model("grouped", grouped(), Options{}), model("grouped-fast", grouped(), Options{Profile: Fast}),
		model("dependent", onPaths(), Options{}), model("dependent-fast", onPaths(), Options{Profile: Fast}), model("dependent-rans", onPaths(), Options{Coder: "rans"}),
		model("levels", onLevels(0.3, []float32{.5, .25}, times(0.3, []float32{.5, .25}, 2)), Options{}),
		model("chunks", zoo(), Options{Chunks: true}), model("fast", tiny(), Options{Profile: Fast}),
		model("rans", lenet5(3, 5, 11), Options{Coder: "rans"}), model("relative", lenet5(3, 5, 11), Options{Coder: "relative"}),
		model("huffman", lenet5(3, 5, 11), Options{Coder: "huffman"}), model("raw", tiny(), Options{Coder: "raw"}),
	}
	for _, level := range []Level{Small, FastLevel} {
		files = append(files, golden{fmt.Sprintf("arrays%d.bin", level), func() []byte {
			var b bytes.Buffer
			if _, err := EncodeArrays(&b, someArrays(), ArrayOptions{Level: level}); err != nil {
				t.Fatal(err)
			}
			return b.Bytes()
		}, func(b []byte) error {
			back, err := DecodeArrays(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				return err
			}
			return compareArrays(someArrays(), back)
		}})
	}
	for name, kind := range map[string]byte{"models": deltaModels, "chunks": deltaChunks} {
		files = append(files, golden{"delta-" + name + ".bin", func() []byte {
			_, delta := smallDelta(t, kind)
			return delta
		}, func(b []byte) error {
			base, err := os.ReadFile(filepath.Join(dir, "small.whit"))
			if err != nil {
				return err
			}
			next, err := DecodeDelta(base, b)
			if err != nil {
				return err
			}
			_, err = read(next)
			return err
		}})
	}
	for _, g := range files {
		path := filepath.Join(dir, g.name)
		if *update {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, g.write(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.check(b); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
