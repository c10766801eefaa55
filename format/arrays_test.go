package format

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"whit/entropy"
	"whit/tensor"
)

var tensorsDir = flag.String("tensors", "", "measure the coders on the .npz files of this folder")

func someArrays() []tensor.Named {
	return []tensor.Named{
		{Name: "levels", T: tensor.From([]int8{0, 0, 3, 0, -1, 0, 0, 0}, 2, 4)},
		{Name: "", T: tensor.Scalar(int64(-1 << 60))},
		{Name: "pruned", T: pruned(1, .2, 30, 40)},
		{Name: "floats", T: pruned(2, 1, 9)},
		{Name: "bools", T: tensor.From([]bool{true, false, true}, 3)},
		{Name: "wide", T: tensor.From([]uint32{1 << 31, 5, 1 << 30}, 3)},
		{Name: "f64", T: tensor.From([]float64{1, 0, 2}, 3, 1)},
		{Name: "none", T: tensor.New(tensor.Uint16, 3, 0)},
		{Name: "zeros", T: tensor.New(tensor.Float64, 10000)},
		{Name: "i64", T: tensor.Ints(5, -7, 1<<20)},
	}
}

func TestArrays(t *testing.T) {
	for _, level := range []Level{Small, FastLevel} {
		var b bytes.Buffer
		s, err := EncodeArrays(&b, someArrays(), ArrayOptions{Level: level})
		if err != nil || s.File != int64(b.Len()) {
			t.Fatal(err)
		}
		back, err := DecodeArrays(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		if err := compareArrays(someArrays(), back); err != nil {
			t.Fatal(err)
		}
		for n := range b.Len() {
			if _, err := DecodeArrays(bytes.NewReader(b.Bytes()[:n]), int64(n)); !refused(err) {
				t.Fatalf("cut to %d bytes: %v", n, err)
			}
		}
		if _, err := read(b.Bytes()); !refused(err) {
			t.Errorf("arrays read as a model: %v", err)
		}
	}
	b, _ := write(t, tiny(), Options{})
	if _, err := DecodeArrays(bytes.NewReader(b), int64(len(b))); !refused(err) {
		t.Errorf("a model read as arrays: %v", err)
	}
}

// TestStreams holds arrays that are coded in several streams: the same bytes for any
// number of workers, and every cut through their sizes refused.
func TestStreams(t *testing.T) {
	wide := make([]int8, 2*(entropy.StreamLen+5))
	for i := range wide {
		if i%19 == 0 {
			wide[i] = int8(i%7 - 3)
		}
	}
	arrays := []tensor.Named{
		{Name: "zeros", T: tensor.New(tensor.Int8, 1201, 1500)},
		{Name: "wide", T: tensor.From(wide, 2, entropy.StreamLen+5)},
		{Name: "small", T: tensor.From([]int8{1, 2, 3}, 3)},
		{Name: "floats", T: pruned(5, 1, 301, 1001)},
		{Name: "long", T: pruned(6, 1, 300_000)},
		{Name: "tall", T: tensor.New(tensor.Int16, 300_000, 1)},
	}
	for _, level := range []Level{Small, FastLevel} {
		var one, four bytes.Buffer
		for threads, b := range map[int]*bytes.Buffer{1: &one, 4: &four} {
			if _, err := EncodeArrays(b, arrays, ArrayOptions{Level: level, Threads: threads}); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(one.Bytes(), four.Bytes()) {
			t.Errorf("level %d: bytes depend on the number of workers", level)
		}
		for _, threads := range []int{3} {
			back, err := DecodeArrays(bytes.NewReader(one.Bytes()), int64(one.Len()), ReadOptions{Threads: threads})
			if err != nil {
				t.Fatal(err)
			}
			if err := compareArrays(arrays, back); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestNPZ(t *testing.T) {
	var npz, code, back bytes.Buffer
	if err := tensor.WriteNPZ(&npz, someArrays()); err != nil {
		t.Fatal(err)
	}
	if _, err := EncodeNPZ(&code, bytes.NewReader(npz.Bytes()), int64(npz.Len()), ArrayOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := DecodeNPZ(&back, bytes.NewReader(code.Bytes()), int64(code.Len())); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(npz.Bytes(), back.Bytes()) {
		t.Error("the .npz differs")
	}
	if _, err := EncodeNPZ(&code, bytes.NewReader([]byte("no zip")), 6, ArrayOptions{}); err == nil {
		t.Error("no .npz")
	}
}

// TestEncodeNPZFile: the file is what EncodeNPZ writes, and a difference is found and leaves the old file and nothing else.
func TestEncodeNPZFile(t *testing.T) {
	var npz, want bytes.Buffer
	if err := tensor.WriteNPZ(&npz, someArrays()); err != nil {
		t.Fatal(err)
	}
	if _, err := EncodeNPZ(&want, bytes.NewReader(npz.Bytes()), int64(npz.Len()), ArrayOptions{}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "a.bin")
	s, err := EncodeNPZFile(path, bytes.NewReader(npz.Bytes()), int64(npz.Len()), ArrayOptions{})
	if b, _ := os.ReadFile(path); err != nil || !bytes.Equal(b, want.Bytes()) || s.File != int64(len(b)) {
		t.Fatalf("%d bytes, %d said, want %d (%v)", len(b), s.File, want.Len(), err)
	}
	if _, err := EncodeNPZFile(path, bytes.NewReader([]byte("no zip")), 6, ArrayOptions{}); err == nil {
		t.Error("no .npz")
	}
	if b, _ := os.ReadFile(path); !bytes.Equal(b, want.Bytes()) {
		t.Error("the old file is gone")
	}
	if es, _ := os.ReadDir(dir); len(es) != 1 {
		t.Errorf("%d files are left", len(es))
	}
	for name, change := range map[string]func(a []tensor.Named) []tensor.Named{
		"name":   func(a []tensor.Named) []tensor.Named { a[2].Name = "x"; return a },
		"type":   func(a []tensor.Named) []tensor.Named { a[4].T = tensor.From([]uint8{1, 0, 1}, 3); return a },
		"shape":  func(a []tensor.Named) []tensor.Named { a[0].T = tensor.From(tensor.Of[int8](a[0].T), 4, 2); return a },
		"value":  func(a []tensor.Named) []tensor.Named { a[3].T.Bytes()[5] ^= 1; return a },
		"number": func(a []tensor.Named) []tensor.Named { return a[1:] },
	} {
		if err := compareArrays(someArrays(), change(someArrays())); err == nil {
			t.Errorf("another %s is not found", name)
		}
	}
	if err := compareArrays(someArrays(), someArrays()); err != nil {
		t.Error(err)
	}
}

func FuzzDecodeArrays(f *testing.F) {
	for _, level := range []Level{Small, FastLevel} {
		var b bytes.Buffer
		if _, err := EncodeArrays(&b, someArrays(), ArrayOptions{Level: level}); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, fix(b)} {
			arrays, err := DecodeArrays(bytes.NewReader(b), int64(len(b)), ReadOptions{MaxBytes: 64 << 20})
			if err != nil {
				if !refused(err) {
					t.Fatal(err)
				}
				continue
			}
			var again bytes.Buffer
			if _, err := EncodeArrays(&again, arrays, ArrayOptions{Level: FastLevel}); err != nil {
				t.Fatal(err)
			}
			back, err := DecodeArrays(bytes.NewReader(again.Bytes()), int64(again.Len()))
			if err != nil {
				t.Fatal(err)
			}
			if err := compareArrays(arrays, back); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestMeasure prints bytes and speeds: go test ./format -run Measure -v -tensors DIR.
func TestMeasure(t *testing.T) {
	if *tensorsDir == "" {
		t.Skip("no -tensors")
	}
	files, _ := filepath.Glob(filepath.Join(*tensorsDir, "*.npz"))
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, level := range []Level{Small, FastLevel} {
			var code bytes.Buffer
			start := time.Now()
			s, err := EncodeNPZ(&code, bytes.NewReader(src), int64(len(src)), ArrayOptions{Level: level})
			enc := time.Since(start)
			if err != nil {
				t.Fatal(err)
			}
			n := int64(0)
			for _, w := range s.Weights {
				n += int64(w.Type.Shape.NumElements())
			}
			start = time.Now()
			var back bytes.Buffer
			if err := DecodeNPZ(&back, bytes.NewReader(code.Bytes()), int64(code.Len())); err != nil {
				t.Fatal(err)
			}
			dec := time.Since(start)
			a, _ := tensor.ReadNPZ(bytes.NewReader(src), int64(len(src)))
			b, err := tensor.ReadNPZ(bytes.NewReader(back.Bytes()), int64(back.Len()))
			if err != nil || compareArrays(a, b) != nil {
				t.Fatalf("%s differs", name)
			}
			t.Logf("%-28s level %d %s: %7d bytes, data %7d; %.1f M/s encoding, %.1f decoding", filepath.Base(name), level, s.Weights[0].Coder,
				s.File, s.Data, float64(n)/enc.Seconds()/1e6, float64(n)/dec.Seconds()/1e6)
		}
	}
}
