package card

import (
	"encoding/json"
	"image"
	"os"
	"testing"
)

// source is the picture that testdata/make_goldens.py makes.
func source(h, w, c int) raster {
	r := raster{h: h, w: w, c: c, px: make([]uint8, h*w*c)}
	s := uint32(h*1000003 + w*1009 + c)
	for i := range r.px {
		s = s*1664525 + 1013904223
		r.px[i] = uint8(s >> 24)
		if h%2 == 1 {
			r.px[i] = r.px[i]/4 + uint8(i/c%w*190/w)
		}
	}
	return r
}

// TestGoldens compares with Pillow and OpenCV: every byte is the same.
func TestGoldens(t *testing.T) {
	b, err := os.ReadFile("testdata/goldens.json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		Gray  []byte
		Cases []struct {
			Filter string
			From   [3]int
			To     [2]int
			Pixels []byte
		}
	}
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range g.Cases {
		seen[c.Filter] = true
		got := source(c.From[0], c.From[1], c.From[2]).resize(c.To[0], c.To[1], c.Filter)
		if got.h != c.To[0] || got.w != c.To[1] || len(got.px) != len(c.Pixels) {
			t.Fatalf("%s: %d x %d", c.Filter, got.w, got.h)
		}
		off, worst := 0, 0
		for i, want := range c.Pixels {
			if d := max(int(want), int(got.px[i])) - min(int(want), int(got.px[i])); d > 0 {
				off++
				worst = max(worst, d)
			}
		}
		if off > 0 {
			t.Errorf("%s from %v to %v: %d of %d pixels differ, by at most %d", c.Filter, c.From, c.To, off, len(c.Pixels), worst)
		}
	}
	for _, f := range Filters() {
		if !seen[f] {
			t.Errorf("no golden for %s", f)
		}
	}
	src := source(16, 16, 3)
	img := image.NewNRGBA(image.Rect(0, 0, 16, 16))
	for i := range 256 {
		copy(img.Pix[4*i:], []uint8{src.px[3*i], src.px[3*i+1], src.px[3*i+2], 255})
	}
	if got := rasterOf(img, 1, nil); string(got.px) != string(g.Gray) {
		t.Error("gray differs from Pillow's L")
	}
}
