package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"testing"

	"whit/entropy"
	"whit/graph"
	"whit/tensor"
	"whit/weight"
)

// nudged is a copy of f with some weights of the named value changed.
func nudged(t testing.TB, f *File, name string, every int) *File {
	t.Helper()
	b, _ := write(t, f, Options{})
	g, err := read(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range g.Graph.Values() {
		s, ok := v.Weight.(weight.Sparse)
		if !ok || v.Name != name {
			continue
		}
		c := s.Values.(weight.Codebook)
		q := c.Indices.Clone()
		for i := 0; i < q.Len(); i += every {
			q.Bytes()[i] = byte((int(q.Bytes()[i]) + 1) % len(c.Centroids))
		}
		s.Values = weight.Codebook{Indices: q, Centroids: c.Centroids}
		v.Weight = s
	}
	return g
}

func TestDelta(t *testing.T) {
	file := func(f *File, o Options) []byte {
		b, _ := write(t, f, o)
		return b
	}
	base := lenet5(10, 20, 150)
	renamed := nudged(t, base, "", 1)
	renamed.Card = append(renamed.Card, "# another\n"...)
	renamed.Graph.Meta["made"] = "2026"
	grown := lenet5(10, 20, 140)
	var arrays [2]bytes.Buffer
	for i := range arrays {
		x := someArrays()
		x[0].Name = []string{"a", "b"}[i]
		if _, err := EncodeArrays(&arrays[i], x, ArrayOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name       string
		base, next []byte
		most       int // bytes of the delta
	}{
		{"nothing", file(base, Options{}), file(base, Options{}), 60},
		{"a few weights", file(base, Options{}), file(nudged(t, base, "fc1.weight", 500), Options{}), 150},
		{"many weights", file(base, Options{}), file(nudged(t, base, "fc1.weight", 3), Options{}), 1600},
		{"texts", file(base, Options{}), file(renamed, Options{}), 90},
		{"stripped", file(base, Options{}), file(nudged(t, base, "fc1.weight", 500), Options{Strip: true}), 160},
		{"chunks", file(base, Options{}), file(nudged(t, base, "fc1.weight", 500), Options{Chunks: true}), 150},
		{"fast", file(base, Options{Profile: Fast}), file(nudged(t, base, "fc1.weight", 500), Options{Profile: Fast}), 150},
		{"another coder", file(base, Options{}), file(base, Options{Coder: "relative"}), 60},
		{"another shape", file(base, Options{}), file(grown, Options{}), 10000},
		{"another network", file(base, Options{}), file(zoo(), Options{}), 2700},
		{"arrays", arrays[0].Bytes(), arrays[1].Bytes(), 1500},
		{"a model from arrays", arrays[0].Bytes(), file(tiny(), Options{}), 300},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := EncodeDelta(c.base, c.next, 2)
			if err != nil {
				t.Fatal(err)
			}
			if t.Logf("%d bytes for %d", len(d), len(c.next)); len(d) > c.most {
				t.Errorf("%d bytes, at most %d", len(d), c.most)
			}
			back, err := DecodeDelta(c.base, d)
			if err != nil || !bytes.Equal(back, c.next) {
				t.Fatalf("not restored: %v", err)
			}
			if _, err := DecodeDelta(c.next, d); !bytes.Equal(c.base, c.next) && !errors.Is(err, ErrBase) {
				t.Errorf("another base: %v", err)
			}
			if _, err := read(d); !refused(err) {
				t.Errorf("a delta read as a model: %v", err)
			}
		})
	}
	if _, err := EncodeDelta([]byte("no"), file(base, Options{}), 0); !refused(err) {
		t.Error(err)
	}
}

// TestDiffer: differences of any bits, and of near floats small ones.
func TestDiffer(t *testing.T) {
	for _, e := range []entropy.Elements{{Size: 1}, {Size: 2}, {Size: 4}, {Size: 8}, {Size: 2, Float: true}, {Size: 4, Float: true}, {Size: 8, Float: true}} {
		r := rand.New(rand.NewPCG(uint64(e.Size), 1))
		e.N, e.Cols = 600, 3
		f := e
		for range e.N * e.Size {
			e.Data = append(e.Data, byte(r.Uint32()))
			f.Data = append(f.Data, byte(r.Uint32()))
		}
		copy(f.Data, e.Data[:100])
		a, b := []entropy.Elements{e}, []entropy.Elements{f}
		if back := undiffer(differ(a, b), b); !bytes.Equal(back[0].Data, e.Data) || back[0].Cols != 3 || back[0].Float != e.Float {
			t.Errorf("%d bytes, float %v: not restored", e.Size, e.Float)
		}
	}
	one := func(x float32) []entropy.Elements {
		return []entropy.Elements{{Size: 4, Float: true, Cols: 1, N: 1, Data: binary.LittleEndian.AppendUint32(nil, math.Float32bits(x))}}
	}
	if d := differ(one(-2), one(math.Nextafter32(-2, 0))); binary.LittleEndian.Uint32(d[0].Data) > 4 {
		t.Errorf("% x", d[0].Data)
	}
}

// smallDelta is a base and a delta of few bytes.
func smallDelta(t testing.TB, kind byte) (base, delta []byte) {
	f := tiny()
	base, _ = write(t, f, Options{})
	g := tiny()
	w := g.Graph.Find("w").Weight.(weight.Sparse)
	w.Values = weight.Codebook{Indices: tensor.From([]uint8{1, 1, 0}, 3), Centroids: []float32{-.5, .75}}
	g.Graph.Find("w").Weight = w
	g.Graph.Outputs = append(g.Graph.Outputs, g.Graph.Add("", "Relu", nil, g.Graph.Outputs[0], g.Graph.NewWeight("new", shared(pruned(3, .4, 5, 7), 6))))
	g.Graph.Outputs[1].Decl = graph.Decl{}
	next, _ := write(t, g, Options{})
	var body []byte
	if kind == deltaModels {
		body = modelsDelta(base, next, 1)
	} else {
		body, _ = chunksDelta(base, next)
	}
	if body == nil {
		t.Fatal("no delta")
	}
	delta = append(binary.AppendUvarint([]byte(magic), Version), fileDelta)
	delta = append(append(append(delta, hashOf(base)...), hashOf(next)...), body...)
	delta = binary.LittleEndian.AppendUint32(delta, crc32.Checksum(delta, castagnoli))
	if back, err := DecodeDelta(base, delta); err != nil || !bytes.Equal(back, next) {
		t.Fatalf("not restored: %v", err)
	}
	return base, delta
}

// resum recomputes a delta's checksum.
func resum(d []byte) []byte {
	d = bytes.Clone(d)
	if n := len(d) - sumSize; n >= 0 {
		binary.LittleEndian.PutUint32(d[n:], crc32.Checksum(d[:n], castagnoli))
	}
	return d
}

func TestDeltaDamaged(t *testing.T) {
	for _, kind := range []byte{deltaChunks, deltaModels} {
		base, delta := smallDelta(t, kind)
		for n := range delta {
			if _, err := DecodeDelta(base, delta[:n]); !refused(err) {
				t.Fatalf("cut to %d bytes: %v", n, err)
			}
		}
		for i := range delta {
			for _, x := range []byte{1, 0x80, 0xff, delta[i]} {
				d := bytes.Clone(delta)
				if d[i] ^= x; x == 0 {
					continue
				}
				if _, err := DecodeDelta(base, d); !refused(err) && !errors.Is(err, ErrBase) {
					t.Fatalf("byte %d changed by %#x: %v", i, x, err)
				}
				if _, err := DecodeDelta(base, resum(d), ReadOptions{MaxBytes: 1 << 24}); err != nil && !refused(err) && !errors.Is(err, ErrBase) {
					t.Fatalf("byte %d changed by %#x, checksum recomputed: %v", i, x, err)
				}
			}
		}
	}
}

func FuzzDecodeDelta(f *testing.F) {
	base, delta := smallDelta(f, deltaModels)
	_, chunks := smallDelta(f, deltaChunks)
	f.Add(delta)
	f.Add(chunks)
	f.Fuzz(func(t *testing.T, d []byte) {
		for _, d := range [][]byte{d, resum(d)} {
			_, err := DecodeDelta(base, d, ReadOptions{MaxBytes: 1 << 24})
			if err != nil && !refused(err) && !errors.Is(err, ErrBase) {
				t.Fatal(err)
			}
		}
	})
}
