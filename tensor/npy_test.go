package tensor

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"
)

func npyBytes(t testing.TB, x *Tensor) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteNPY(&b, x); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestNPYRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, ty := range npyTypes {
		for _, shape := range [][]int{{}, {0}, {5}, {2, 3}, {2, 0, 3}, {2, 3, 4}} {
			x := New(ty.d, shape...)
			for i := range x.Bytes() {
				x.Bytes()[i] = byte(r.Uint32())
				if ty.d == Bool {
					x.Bytes()[i] &= 1
				}
			}
			y, err := ReadNPY(bytes.NewReader(npyBytes(t, x)))
			if err != nil {
				t.Fatalf("%v: %v", x.Type, err)
			}
			if !y.Type.Equal(x.Type) || !bytes.Equal(x.Bytes(), y.Bytes()) {
				t.Errorf("%v came back as %v", x.Type, y.Type)
			}
		}
	}
}

func TestNPYVariants(t *testing.T) {
	head := func(h string, data ...byte) []byte {
		return append(append([]byte("\x93NUMPY\x01\x00"), byte(len(h)), byte(len(h)>>8)), append([]byte(h), data...)...)
	}
	for _, c := range []struct {
		name string
		b    []byte
		want []int16
	}{
		{"big endian", head("{'descr': '>i2', 'fortran_order': False, 'shape': (2,)}", 1, 2, 3, 4), []int16{0x102, 0x304}},
		{"fortran order", head("{'shape': (2, 3), 'fortran_order': True, 'descr': '<i2'}", 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0), []int16{1, 3, 5, 2, 4, 6}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, err := ReadNPY(bytes.NewReader(c.b))
			if err != nil {
				t.Fatal(err)
			}
			for i, w := range c.want {
				if Of[int16](x)[i] != w {
					t.Fatalf("got %v, want %v", Of[int16](x), c.want)
				}
			}
		})
	}
	for _, h := range []string{
		"{'descr': '<i2', 'fortran_order': False, 'shape': (99999999999, 99999999999)}",
		"{'descr': '<i2', 'fortran_order': False, 'shape': (-1,)}",
		"{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}",
		"{'descr': [('a', '<i2')], 'fortran_order': False, 'shape': (1,)}",
		"{'descr': '<i2', 'fortran_order': 3, 'shape': (1,)}",
		"{'descr': '<i2', 'fortran_order': False, 'shape': (1",
		"",
	} {
		if _, err := ReadNPY(bytes.NewReader(head(h, 0, 0))); err == nil {
			t.Errorf("header %q: no error", h)
		}
	}
}

func TestNPZ(t *testing.T) {
	in := []Named{{"z", Ints(1, 2, 3)}, {"a", Scalar(float32(1.5))}, {"dir/x", New(Uint8, 2, 2)}}
	var b, again bytes.Buffer
	if err := WriteNPZ(&b, in); err != nil {
		t.Fatal(err)
	}
	if err := WriteNPZ(&again, in); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Errorf("not the same bytes twice: %v", err)
	}
	out, err := ReadNPZ(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range in {
		if out[i].Name != a.Name || !out[i].T.Type.Equal(a.T.Type) || !bytes.Equal(out[i].T.Bytes(), a.T.Bytes()) {
			t.Errorf("array %d is %q %v", i, out[i].Name, out[i].T.Type)
		}
	}
	for cut := 0; cut < b.Len(); cut++ {
		if _, err := ReadNPZ(bytes.NewReader(b.Bytes()[:cut]), int64(cut)); err == nil {
			t.Fatalf("cut at %d: no error", cut)
		}
	}
	damaged := bytes.Clone(b.Bytes())
	i := bytes.Index(damaged, []byte("\x93NUMPY"))
	damaged[i+128] ^= 1
	if _, err := ReadNPZ(bytes.NewReader(damaged), int64(len(damaged))); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a flipped bit: got %v", err)
	}
}

// TestNPZLimits reads what NumPy's savez_compressed writes, and refuses members that
// declare more than the file can hold.
func TestNPZLimits(t *testing.T) {
	deflated := func(declared uint64) []byte {
		var packed, b bytes.Buffer
		w, _ := flate.NewWriter(&packed, 9)
		data := npyBytes(t, New(Int32, 1000))
		w.Write(data)
		w.Close()
		z := zip.NewWriter(&b)
		if declared == 0 {
			declared = uint64(len(data))
		}
		f, err := z.CreateRaw(&zip.FileHeader{Name: "a.npy", Method: zip.Deflate, CRC32: crc32.ChecksumIEEE(data),
			CompressedSize64: uint64(packed.Len()), UncompressedSize64: declared})
		if err != nil {
			t.Fatal(err)
		}
		f.Write(packed.Bytes())
		z.Close()
		return b.Bytes()
	}
	b := deflated(0)
	if a, err := ReadNPZ(bytes.NewReader(b), int64(len(b))); err != nil || a[0].T.Len() != 1000 {
		t.Fatal(err)
	}
	for _, n := range []uint64{1 << 20, 1 << 63, 100, 4000} {
		b := deflated(n)
		if _, err := ReadNPZ(bytes.NewReader(b), int64(len(b))); err == nil {
			t.Errorf("%d bytes declared: no error", n)
		}
	}
}

func FuzzNPY(f *testing.F) {
	f.Add(npyBytes(f, Ints(1, 2, 3)))
	f.Add(npyBytes(f, New(Float16, 2, 3)))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := ReadNPY(bytes.NewReader(b))
		if err == nil && x.NumBytes() > len(b) {
			t.Errorf("%v from %d bytes", x.Type, len(b))
		}
	})
}

func FuzzNPZ(f *testing.F) {
	var b bytes.Buffer
	if err := WriteNPZ(&b, []Named{{"a", Ints(1)}, {"b", New(Bool, 3)}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) { ReadNPZ(bytes.NewReader(b), int64(len(b))) })
}
