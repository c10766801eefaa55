package format

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"

	"whit/graph"
	"whit/tensor"
)

// heavy has constants that have raw data chunks of their own, those that share one, and a weight.
func heavy() *File {
	g := graph.New("heavy")
	v := g.AddInput("x", tensor.Float32, 1, 600)
	for i, n := range []int{600, 20, 600} {
		w := tensor.New(tensor.Float32, 600, n)
		for j := range tensor.Of[float32](w) {
			tensor.Of[float32](w)[j] = float32(i*1000 + j%777)
		}
		m := g.Add("", "MatMul", nil, v, g.NewConst(string(rune('a'+i)), w))
		v = g.Add("", "Add", nil, v, g.Add("", "ReduceMax", nil, m))
	}
	v = g.Add("", "Mul", nil, v, g.NewWeight("w", shared(pruned(1, .01, 1300, 1000), 8)))
	g.Outputs = []*graph.Value{v}
	return &File{Graph: g}
}

// changing is a reader that says whether it has changed.
type changing struct {
	io.ReaderAt
	err error
}

func (c *changing) Err() error { return c.err }

// TestStored: what has a chunk of its own stays in the file, and is what reading gives; checksums are
// checked after reading, as is what the reader says of itself.
func TestStored(t *testing.T) {
	b, _ := write(t, heavy(), Options{Profile: Fast})
	want, err := Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	r := &counting{r: bytes.NewReader(b)}
	src := &changing{ReaderAt: r}
	got, err := Read(src, int64(len(b)), ReadOptions{Stored: true})
	if err != nil {
		t.Fatal(err)
	}
	if most := int64(len(b)) - 2*600*600*4 + 1000; r.n > most {
		t.Errorf("%d bytes of %d are read, want at most %d", r.n, len(b), most)
	}
	if !reflect.DeepEqual(got.Sizes, want.Sizes) {
		t.Errorf("sizes differ: %+v, %+v", got.Sizes, want.Sizes)
	}
	for name, stored := range map[string]bool{"a": true, "b": false, "c": true} {
		x, y := got.Graph.Find(name).Data, want.Graph.Find(name).Data
		if x.IsStored() != stored || y.IsStored() {
			t.Errorf("%s: stays in the file: %v", name, x.IsStored())
		}
		before := r.n
		if x.Err() != nil || r.n != before {
			t.Errorf("%s: %d bytes are read for a checksum before any other, %v", name, r.n-before, x.Err())
		}
		if !sameTensor(x, y) || x.Err() != nil {
			t.Errorf("%s differs, or %v", name, x.Err())
		}
	}
	src.err = errors.New("changed")
	if err := got.Graph.Find("a").Data.Err(); !errors.Is(err, src.err) {
		t.Errorf("changed: %v", err)
	}
}

// TestStoredDamage: whatever byte is another, it is an error when the file is opened or after what has it was read.
func TestStoredDamage(t *testing.T) {
	b, _ := write(t, heavy(), Options{Profile: Fast})
	read := func(b []byte) error {
		f, err := Read(bytes.NewReader(b), int64(len(b)), ReadOptions{Stored: true})
		if err != nil {
			return err
		}
		for _, v := range f.Graph.Values() {
			if v.Data != nil {
				v.Data.Bytes()
				err = errors.Join(err, v.Data.Err())
			}
		}
		return err
	}
	if err := read(b); err != nil {
		t.Fatal(err)
	}
	c, err := openContainer(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var at []int
	for _, k := range c.chunks { // headers, what follows them, checksums
		for _, i := range []int{0, 1, 2, 3, 4, 5, 20, 70} {
			at = append(at, int(k.head)+i, int(k.end())-1-i)
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		at = append(at, rnd.IntN(len(b)))
	}
	for _, i := range at {
		// The checksum of the whole file is not looked at.
		if i < 0 || i >= len(b)-sumSize {
			continue
		}
		b[i] ^= 0x10
		if err := read(b); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("byte %d of %d: %v", i, len(b), err)
		}
		b[i] ^= 0x10
	}
	for _, n := range []int{0, 1, 10, 100, 1 << 10, 1 << 20, len(b) - 1} {
		if err := read(b[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

// checkStored reads b with as much as may be left where it is: what reading as a whole gives, or an error.
func checkStored(t *testing.T, b []byte) {
	opt := ReadOptions{MaxBytes: 1 << 20}
	want, refusal := Read(bytes.NewReader(b), int64(len(b)), opt)
	opt.Stored, opt.least = true, 1
	got, err := Read(bytes.NewReader(b), int64(len(b)), opt)
	if err != nil {
		if refusal == nil || !refused(err) {
			t.Fatalf("%v, as a whole %v", err, refusal)
		}
		return
	}
	for _, v := range got.Graph.Values() {
		if v.Data == nil {
			continue
		}
		v.Data.Bytes()
		err := v.Data.Err()
		switch {
		case err != nil && (refusal == nil || !refused(err)):
			t.Fatalf("%q: %v, as a whole %v", v.Name, err, refusal)
		case err == nil && refusal == nil && !sameTensor(v.Data, want.Graph.Find(v.Name).Data):
			t.Fatalf("%q differs", v.Name)
		}
	}
}
