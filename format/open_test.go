package format

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"whit/graph"
	"whit/tensor"
)

// counting counts the bytes that are read.
type counting struct {
	r io.ReaderAt
	n int64
}

func (c *counting) ReadAt(b []byte, at int64) (int, error) {
	n, err := c.r.ReadAt(b, at)
	c.n += int64(n)
	return n, err
}

// large has weights of more than a group, and small ones between them.
func large() *File {
	g := graph.New("large")
	v := g.AddInput("x", tensor.Float32, 1)
	for i := range 3 {
		v = g.Add("", "Add", nil, v, g.NewConst(fmt.Sprint("b", i), pruned(uint64(i), 1, 40)))
		v = g.Add("", "Add", nil, v, g.NewWeight(fmt.Sprint("w", i), shared(pruned(uint64(i), .01, 1100, 1000), 8)))
	}
	g.Outputs = []*graph.Value{v}
	return &File{Graph: g}
}

// TestOpen: one constant is read without the others.
func TestOpen(t *testing.T) {
	for _, o := range []Options{{Coder: "relative"}, {Profile: Fast}} {
		f := large()
		b, s := write(t, f, o)
		r := &counting{r: bytes.NewReader(b)}
		x, err := Open(r, int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		if r.n > 1000 {
			t.Errorf("%+v: opening reads %d bytes", o, r.n)
		}
		for _, name := range []string{"w1", "b2", "w0"} {
			r.n = 0
			got, err := x.Tensor(name)
			if err != nil {
				t.Fatal(err)
			}
			if want := f.Graph.Find(name).Tensor(); !sameTensor(got, want) {
				t.Fatalf("%s differs", name)
			}
			var own int64
			for _, w := range s.Weights {
				if w.Name == name {
					own = w.Bytes
				}
			}
			if r.n < own || r.n > own+100 {
				t.Errorf("%+v: %s has %d bytes, %d were read", o, name, own, r.n)
			}
			r.n = 0
			if _, err := x.Tensor(name); err != nil || r.n > 0 {
				t.Errorf("%s is read twice: %v", name, err)
			}
		}
		if len(x.List()) != 6 || x.List()[1].Name != "w0" || !x.List()[1].Type.Equal(tensor.Type{DType: tensor.Float32, Shape: tensor.Shape{1100, 1000}}) {
			t.Errorf("%+v", x.List())
		}
		if _, err := x.Tensor("none"); !errors.Is(err, ErrNoTensor) {
			t.Error(err)
		}
		// Damage is found where it is read, and only there.
		at := bytes.LastIndexByte(b[:len(b)-40], b[len(b)-41])
		b[at] ^= 1
		if x, err = Open(bytes.NewReader(b), int64(len(b))); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Tensor("w0"); err != nil {
			t.Error(err)
		}
		if _, err := x.Tensor("w2"); !errors.Is(err, ErrCorrupt) {
			t.Errorf("damaged: %v", err)
		}
	}
}

// TestOpenAll: every constant of every kind of file, as Read has it.
func TestOpenAll(t *testing.T) {
	for _, o := range []Options{{}, {Chunks: true}, {Profile: Fast}, {Strip: true}} {
		b, _ := write(t, zoo(), o)
		f, err := read(b)
		if err != nil {
			t.Fatal(err)
		}
		x, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range x.List() {
			v := f.Graph.Find(e.Name)
			if v == nil {
				continue // of a body, or an attribute
			}
			w, c, err := x.Constant(e.Name)
			if err != nil || (w == nil) != (v.Weight == nil) || w != nil && !sameWeight(w, v.Weight) || w == nil && !sameTensor(c, v.Data) {
				t.Errorf("%+v: %q differs: %v", o, e.Name, err)
			}
			if !e.Type.Equal(v.Type) {
				t.Errorf("%q is listed as %v, is %v", e.Name, e.Type, v.Type)
			}
		}
	}
	var b bytes.Buffer
	if _, err := EncodeArrays(&b, someArrays(), ArrayOptions{}); err != nil {
		t.Fatal(err)
	}
	x, err := Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range someArrays() {
		if got, err := x.Tensor(a.Name); err != nil || !sameTensor(got, a.T) {
			t.Errorf("%q differs: %v", a.Name, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	for _, o := range []Options{{}, {Chunks: true}, {Profile: Fast}} {
		b, _ := write(f, zoo(), o)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, fix(b)} {
			x, err := Open(bytes.NewReader(b), int64(len(b)), ReadOptions{MaxBytes: 16 << 20})
			if err != nil {
				if !refused(err) {
					t.Fatal(err)
				}
				continue
			}
			for _, e := range x.List() {
				if _, err := x.Tensor(e.Name); err != nil && !refused(err) {
					t.Fatal(err)
				}
			}
		}
	})
}
