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
