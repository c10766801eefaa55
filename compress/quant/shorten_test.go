package quant

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"whit/compress/method"
	"whit/format"
)

func TestShortened(t *testing.T) {
	for _, c := range []struct {
		x    float32
		bits int
		want float32
	}{
		{1.00390625, 8, 1}, {1.01171875, 8, 1.015625}, {-3.1, 8, -3.09375}, {0, 8, 0}, {3.1, 24, 3.1}, {1.75, 2, 2},
		{math.MaxFloat32, 8, math.MaxFloat32},
	} {
		y, err := shortened([]float32{c.x}, c.bits)
		if err != nil || y[0] != c.want {
			t.Errorf("%v with %d bits: %v %v, want %v", c.x, c.bits, y, err, c.want)
		}
	}
	if _, err := shortened([]float32{float32(math.NaN())}, 8); err == nil {
		t.Error("NaN is taken")
	}
}

// Files get smaller, outputs hardly move, and what runs on integers still does.
func TestShorten(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []*method.Method
		sets  []map[string]any
		fewer bool
	}{
		{"levels", []*method.Method{Round}, []map[string]any{{"bits": method.Uniform(4)}}, true},
		{"integers", []*method.Method{Activations}, []map[string]any{nil}, false},
		{"codebooks", []*method.Method{Codebook}, []map[string]any{{"epochs": 0, "bias_bits": 0}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := stateOf(t, net(rand.New(rand.NewPCG(3, 4))), 64)
			for i, m := range c.steps {
				step(t, m, s, c.sets[i])
			}
			size := func() int {
				f, err := s.Freeze()
				if err != nil {
					t.Fatal(err)
				}
				var b bytes.Buffer
				if _, err := format.Write(&b, &format.File{Graph: f}, format.Options{Strip: true}); err != nil {
					t.Fatal(err)
				}
				return b.Len()
			}
			f, err := s.Freeze()
			if err != nil {
				t.Fatal(err)
			}
			before, bytes, nodes := run(t, f, 16), size(), ops(t, f)
			step(t, Shorten, s, nil)
			if f, err = s.Freeze(); err != nil {
				t.Fatal(err)
			}
			if n := size(); c.fewer && n > bytes-10 || n > bytes {
				t.Errorf("%d bytes, were %d", n, bytes)
			}
			if d := apart(before, run(t, f, 16)); d > 0.01 {
				t.Errorf("outputs are %v apart", d)
			}
			if n := ops(t, f); n != nodes {
				t.Errorf("nodes %s, were %s", n, nodes)
			}
		})
	}
}
