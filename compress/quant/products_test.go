package quant

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"whit/compress/method"
)

func TestOrder(t *testing.T) {
	classes := []class{{"x", []float64{4, 0}}, {"a", []float64{1, 1}}, {"b", []float64{0, 8}}, {"c", []float64{0, 0}}}
	for _, c := range []struct {
		name  string
		works []work
		want  string
	}{
		{"by work for what it does", []work{{[]string{"x", "a"}, 10}, {[]string{"a", "b"}, 10}}, "xa ab"},
		{"what is there costs nothing more", []work{{[]string{"x", "b"}, 10}, {[]string{"x", "a"}, 30}, {[]string{"a", "c"}, 1}}, "xa ac xb"},
		{"exact levels come first", []work{{[]string{"a"}, 1e6}, {[]string{"c"}, 1}}, "c a"},
		{"none", nil, ""},
	} {
		var got []string
		for _, w := range order(classes, c.works) {
			got = append(got, strings.Join(w.classes, ""))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %q, want %q", c.name, s, c.want)
		}
	}
}

// More budget takes at least as many products to integers, and outputs keep to it.
func TestBudgets(t *testing.T) {
	last := -1
	for _, budget := range []float64{1e-9, 1e-5, 1e-4, 1} {
		s := stateOf(t, net(rand.New(rand.NewPCG(3, 4))), 64)
		step(t, Activations, s, map[string]any{"budget": budget, "crossing": 1.0})
		f, err := s.Freeze()
		if err != nil {
			t.Fatal(err)
		}
		n := strings.Count(ops(t, f), "QLinearConv")
		if n < last {
			t.Errorf("budget %v: %d products on integers, %d with less", budget, n, last)
		}
		last = n
	}
	if last < 2 {
		t.Errorf("%d products on integers within any budget", last)
	}
}

// pixels are images with all values of 8 bits.
type pixels struct {
	fixtures
	value func(k int) float32
}

func (d *pixels) Read(_ context.Context, idx []int, x []float32, _ []int32) error {
	for i := range x {
		x[i] = d.value((i + 192*(idx[0]%2)) % 256)
	}
	return nil
}

func TestLattice(t *testing.T) {
	for _, c := range []struct {
		name   string
		value  func(k int) float32 // of a pixel 0..255
		signed bool
		want   Grid
	}{
		{"unit", func(k int) float32 { return float32(k) / 255 }, false, Grid{Scale: 1 / 255.0, Hi: 255}},
		{"whole", func(k int) float32 { return float32(k) }, false, Grid{Scale: 1, Hi: 255}},
		{"some levels", func(k int) float32 { return float32(k/3*3) / 255 }, false, Grid{Scale: 3 / 255.0, Hi: 255}},
		{"whole, zero in the middle", func(k int) float32 { return float32(k - 128) }, false, Grid{Scale: 1, Zero: 128, Hi: 255}},
		{"signed", func(k int) float32 { return float32(k-128) / 128 }, true, Grid{}}, // 256 levels, of which one is missing
		{"signed, fewer", func(k int) float32 { return float32(min(k, 254)-127) / 128 }, true, Grid{Scale: 1 / 128.0, Lo: -127, Hi: 127}},
		{"zero between levels", func(k int) float32 { return (float32(k) - 127.5) / 128 }, false, Grid{}},
		{"curved", func(k int) float32 { return float32(math.Sqrt(float64(k))) }, false, Grid{}},
		{"constant", func(int) float32 { return 0.25 }, false, Grid{}},
	} {
		d := &pixels{fixtures{4}, c.value}
		g, ok, err := lattice(t.Context(), &method.State{Train: d}, 100, c.signed)
		if err != nil || ok != (c.want != Grid{}) || ok && (g.Zero != c.want.Zero || g.Lo != c.want.Lo || g.Hi != c.want.Hi || math.Abs(float64(g.Scale/c.want.Scale-1)) > 1e-6) {
			t.Errorf("%s: %+v %v %v, want %+v", c.name, g, ok, err, c.want)
		}
	}
}
