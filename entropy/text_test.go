package entropy

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var textSamples = []TextSample{{0, "the quick brown fox"}, {1, "\x00\x01\x02\x03\x04\x05\x06\x07"}, {0, ""}}

func codeTexts(p *TextPrior, texts []TextSample) []byte {
	w := NewTextWriter(p)
	for _, t := range texts {
		w.Begin(t.Kind)
		w.Write([]byte(t.Text))
	}
	return w.Finish()
}

func TestText(t *testing.T) {
	noise := make([]byte, 5000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	p := NewTextPrior(textSamples)
	texts := []TextSample{{0, "the quick brown fox, the quick brown fix"}, {7, ""}, {1, string(noise)}, {3, strings.Repeat("a", 1000)}}
	code := codeTexts(p, texts)
	if !bytes.Equal(code, codeTexts(p, texts)) {
		t.Fatal("a writer changes the prior")
	}
	if len(code) > len(noise)*51/50+40 {
		t.Errorf("%d bytes", len(code))
	}
	if n := len(codeTexts(p, textSamples[:1])); n > 6 {
		t.Errorf("a sample again takes %d bytes", n)
	}
	read := NewTextReader(p, code)
	for _, x := range texts {
		read.Begin(x.Kind)
		for i := range len(x.Text) {
			if b, err := read.Byte(); err != nil || b != x.Text[i] {
				t.Fatalf("kind %d, byte %d: %d, %v", x.Kind, i, b, err)
			}
		}
	}
	if read.Len() != len(code) && read.Len() < len(code)-4 {
		t.Errorf("read %d of %d bytes", read.Len(), len(code))
	}
}

// FuzzText: whatever the bytes, texts come to an end.
func FuzzText(f *testing.F) {
	p := NewTextPrior(textSamples)
	f.Add(codeTexts(p, textSamples))
	f.Fuzz(func(t *testing.T, src []byte) {
		r := NewTextReader(p, src)
		r.Begin(0)
		for n := 0; n < 16384*(len(src)+8); n++ {
			if _, err := r.Byte(); err != nil {
				if !errors.Is(err, ErrCorrupt) {
					t.Fatal(err)
				}
				return
			}
			if n > 1<<14 {
				return
			}
		}
		t.Fatal("no end")
	})
}

// TestShortFloats: bfloat16 values held as float32 cost a few bits over a byte each.
func TestShortFloats(t *testing.T) {
	for _, c := range []struct {
		name string
		bits []uint32
		most int
	}{
		{"centroids", []uint32{0xbe80, 0xbe40, 0xbe10, 0xbdc0, 0x3d90, 0x3df0, 0x3e20, 0x3e60, 0x3e90, 0x3eb0}, 16},
		{"odd ones", []uint32{0, 0x8000, 0x7fc0, 0x7f80, 0xff80, 1, 0x7fff, 0xffff}, 32},
	} {
		e := Elements{Size: 4, Float: true, Cols: 1, N: len(c.bits)}
		for _, b := range c.bits {
			e.Data = append(e.Data, 0, 0, byte(b), byte(b>>8))
		}
		code, err := AppendElements(nil, []Elements{e, e}, false)
		if err != nil {
			t.Fatal(err)
		}
		one, err := AppendElements(nil, []Elements{e}, false)
		if err != nil || len(one) > c.most {
			t.Errorf("%s: %d bytes, at most %d: %v", c.name, len(one), c.most, err)
		}
		back := []Elements{{Size: 4, Float: true, Cols: 1, N: e.N}, {Size: 4, Float: true, Cols: 1, N: e.N}}
		if err := DecodeElements(back, code, false); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(back[0].Data, e.Data) || !bytes.Equal(back[1].Data, e.Data) {
			t.Errorf("%s: % x", c.name, back[0].Data)
		}
	}
}

func TestDeltaOfSymbols(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	old := make([]int32, 30*40)
	next := make([]int32, len(old))
	for i := range old {
		if r.IntN(10) == 0 {
			old[i] = int32(r.IntN(15) - 7)
		}
		if next[i] = old[i]; r.IntN(100) == 0 {
			next[i] = int32(r.IntN(9) - 4)
		}
	}
	old[5], next[5], old[6], next[6] = -1<<31, 1<<31-1, 1<<31-1, -1<<31
	code := AppendDelta(nil, old, next, 40)
	if len(code) > 60 {
		t.Errorf("%d bytes", len(code))
	}
	back := make([]int32, len(old))
	if err := DecodeDelta(back, old, 40, code); err != nil || !slices.Equal(back, next) {
		t.Fatalf("not restored: %v", err)
	}
	for n := range len(code) - maxTail {
		if err := DecodeDelta(back, old, 40, code[:n]); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	}
	if len(AppendDelta(nil, old, old, 40)) > 8 {
		t.Error("no change takes bytes")
	}
}
