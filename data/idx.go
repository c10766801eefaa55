package data

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxIDX bounds the values of one idx file, in bytes: 1 GiB.
const maxIDX = 1 << 30

// IDX is an idx file of unsigned bytes, the format of MNIST.
type IDX struct {
	Dims []int   // 1 to 4 dimensions, outermost first
	Data []uint8 // row-major
}

// ReadIDX reads an idx file of unsigned bytes from r, gzipped or not. size is the
// number of bytes that r holds: memory is bounded by the size as written when it is not
// gzipped, by 1040 times that (deflate's own limit) when it is, and by 1 GiB in any case.
func ReadIDX(r io.Reader, size int64) (IDX, error) {
	br := bufio.NewReader(r)
	bound := size
	if magic, _ := br.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(br)
		if err != nil {
			return IDX{}, fmt.Errorf("idx: %w: %v", ErrCorrupt, err)
		}
		defer z.Close()
		return readIDX(z, min(size, maxIDX/1040)*1040)
	}
	return readIDX(br, bound)
}

// readIDX reads a plain idx file of at most bound bytes.
func readIDX(r io.Reader, bound int64) (IDX, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return IDX{}, fmt.Errorf("idx: %w: header: %v", ErrCorrupt, err)
	}
	if head[0] != 0 || head[1] != 0 || head[3] < 1 || head[3] > 4 {
		return IDX{}, fmt.Errorf("idx: %w: the first bytes are % x, want 00 00 08 and 1 to 4 dimensions", ErrCorrupt, head)
	}
	if head[2] != 0x08 {
		return IDX{}, fmt.Errorf("idx: element type 0x%02x is not supported, want 0x08 (unsigned bytes)", head[2])
	}
	out := IDX{Dims: make([]int, head[3])}
	n := int64(1)
	for i := range out.Dims {
		var b [4]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return IDX{}, fmt.Errorf("idx: %w: dimension %d: %v", ErrCorrupt, i, err)
		}
		d := int64(binary.BigEndian.Uint32(b[:]))
		if d == 0 {
			return IDX{}, fmt.Errorf("idx: %w: dimension %d is 0", ErrCorrupt, i)
		}
		if n *= d; n > maxIDX { // both were below 2^32: no overflow
			return IDX{}, fmt.Errorf("idx: more than %d bytes: %w", maxIDX, ErrTooLarge)
		}
		out.Dims[i] = int(d)
	}
	if n > bound {
		return IDX{}, fmt.Errorf("idx: %w: dimensions %v want %d bytes, the file cannot hold them", ErrCorrupt, out.Dims, n)
	}
	// Grow with what arrives: a gzip header may promise more than it holds.
	var buf bytes.Buffer
	buf.Grow(int(min(n, 16<<20)))
	got, err := io.Copy(&buf, io.LimitReader(r, n+1))
	if err != nil {
		return IDX{}, fmt.Errorf("idx: %w: %v", ErrCorrupt, err)
	}
	if got != n {
		how := "fewer"
		if got > n {
			how = "more"
		}
		return IDX{}, fmt.Errorf("idx: %w: dimensions %v want %d bytes, found %s", ErrCorrupt, out.Dims, n, how)
	}
	out.Data = buf.Bytes()
	return out, nil
}

func readIDXFile(name string) (IDX, error) {
	f, err := os.Open(name)
	if err != nil {
		return IDX{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return IDX{}, err
	}
	x, err := ReadIDX(f, st.Size())
	if err != nil {
		return IDX{}, fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return x, nil
}

// The base names of MNIST's files; the part before "-" of each pair names the set.
var idxPairs = [2][2]string{
	{"train-images-idx3-ubyte", "train-labels-idx1-ubyte"},
	{"t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"},
}

// findIDX finds an idx file in dir under the spellings in use: gzipped or not,
// "-idx3-ubyte" or ".idx3-ubyte".
func findIDX(dir, base string) (string, error) {
	dotted := base[:len(base)-len("-idx3-ubyte")] + "." + base[len(base)-len("idx3-ubyte"):]
	for _, n := range []string{base, base + ".gz", dotted, dotted + ".gz"} {
		p := filepath.Join(dir, n)
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s: no %s[.gz]: %w", filepath.Base(dir), base, os.ErrNotExist)
}

// isIDXDir reports whether dir holds the training or test images of an idx dataset.
func isIDXDir(dir string) bool {
	for _, p := range idxPairs {
		if _, err := findIDX(dir, p[0]); err == nil {
			return true
		}
	}
	return false
}
