package onnx

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"whit/graph"
	"whit/internal/safefile"
	"whit/tensor"
)

// Options say how a model is read. The zero value is the default.
type Options struct {
	// Dir is the folder of external data files, "" where there may be none.
	Dir string
	// MaxBytes limits the bytes of all constants together; 0 means 8 GiB.
	MaxBytes int64
	// Stored leaves the data of large constants where they are until they are needed
	// (tensor.Stored): the reader must then stay as it is while the graph is in use.
	Stored bool
}

// Read reads a model of size bytes. The graph does not alias r, unless Options.Stored
// says so.
//
// Errors are of ErrCorrupt, ErrUnsupported (an *UnsupportedError lists all that is
// not supported) or ErrTooLarge, or come from r. That an operator is unknown is
// not an error here; op.Check says so.
func Read(r io.ReaderAt, size int64, o Options) (*graph.Graph, error) {
	return read(&source{r: r, size: size, stored: o.Stored}, o)
}

// ReadBytes reads a model from memory. Constants alias b where b holds them
// aligned for their element type: b must not change while the graph is in use.
func ReadBytes(b []byte, o Options) (*graph.Graph, error) {
	return read(&source{mem: b[:len(b):len(b)], size: int64(len(b))}, o)
}

// ReadFile reads the model at path, with external data from its folder. Errors
// begin with the file's name.
func ReadFile(path string) (*graph.Graph, error) { return readFile(path, false) }

// OpenFile is ReadFile for a model that is to be run: the data of large constants stay
// in the file until they are needed. It is held open for as long as the graph is in
// use; a change of its size or time of modification is an error of their tensors.
func OpenFile(path string) (*graph.Graph, error) { return readFile(path, true) }

func readFile(path string, stored bool) (*graph.Graph, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if !stored {
		defer f.Close()
	} // else it is closed when nothing refers to it any more
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	var r io.ReaderAt = f
	if stored {
		if r, err = safefile.KeepSame(f); err != nil {
			return nil, err
		}
	}
	g, err := Read(r, st.Size(), Options{Dir: filepath.Dir(path), Stored: stored})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return g, nil
}

func read(s *source, o Options) (*graph.Graph, error) {
	if s.size < 0 {
		return nil, corrupt("size %d", s.size)
	}
	p, err := parseModel(msg{s: s, end: s.size})
	if err != nil {
		return nil, err
	}
	l := &loader{s: s, dir: o.Dir, left: o.MaxBytes, loaded: map[*tensorProto]*tensor.Tensor{}}
	if l.left == 0 {
		l.left = 8 << 30
	}
	defer l.close()
	return build(p, l)
}

// ReadTensor reads a file of one TensorProto, as the ONNX project's test cases
// keep their inputs and outputs, and returns the tensor and its name.
func ReadTensor(b []byte) (*tensor.Tensor, string, error) {
	s := &source{mem: b[:len(b):len(b)], size: int64(len(b))}
	m := msg{s: s, end: s.size}
	p := parseTensor(&m)
	if m.err != nil {
		return nil, "", m.err
	}
	l := &loader{s: s, left: 8 << 30, loaded: map[*tensorProto]*tensor.Tensor{}}
	t, err := l.load(p)
	return t, p.name, err
}
