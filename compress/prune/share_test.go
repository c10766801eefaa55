package prune

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"whit/compress/method"
	"whit/graph"
	"whit/tensor"
)

func curve(layer string, losses ...float64) method.Curve {
	c := method.Curve{Layer: layer, Granularity: "weight", Method: method.Zeroed}
	for i, l := range losses {
		c.Points = append(c.Points, method.CurvePoint{Fraction: []float64{0, 0.5, 0.8, 0.95}[i], Loss: l})
	}
	return c
}

func layers(sizes ...int) (ls []*method.Layer) {
	g := graph.New("g")
	for i, n := range sizes {
		name := string(rune('a' + i))
		ls = append(ls, &method.Layer{Name: name, Weight: method.Held{Value: g.NewConst(name, tensor.New(tensor.Float32, 1, n))}})
	}
	return ls
}

func TestShare(t *testing.T) {
	curves := []method.Curve{curve("a", 0.1, 0.1, 0.11, 0.3), curve("b", 0.1, 0.2, 0.6, 2), {Layer: "c", Granularity: "node", Method: method.Zeroed}}
	for _, target := range []float64{0, 0.2, 0.5, 0.7, 0.9, 0.95, 0.99, 0.999} {
		t.Run(fmt.Sprint(target), func(t *testing.T) {
			ls := layers(900, 100)
			s, err := share(curves, ls, target)
			if err != nil {
				t.Fatal(err)
			}
			a, _ := s.For("a")
			b, _ := s.For("b")
			if got := 0.9*a + 0.1*b; math.Abs(got-target) > 1e-6 && !(target < 0.45 && got >= target) {
				t.Errorf("a %v, b %v: %v in all", a, b, got)
			}
			if a < b && target < 0.95 {
				t.Errorf("the sensitive layer gives more: a %v, b %v", a, b)
			}
			if a > 1 || b > 1 || a < 0 || b < 0 {
				t.Errorf("a %v, b %v", a, b)
			}
		})
	}
	if _, err := share(curves, layers(1, 1, 1), 0.5); err == nil {
		t.Error("a layer without a curve by weight")
	}
}

func TestRank(t *testing.T) {
	curves := []method.Curve{curve("a", 0.1, 0.1, 0.11, 0.3), curve("b", 0.1, 0.2, 0.6, 2), curve("c", 0.1, 0.15, 0.16, 9)}
	if got := Rank(curves, "weight", 0.5); !slices.Equal(got, []string{"b", "c", "a"}) {
		t.Error(got)
	}
	if got := Rank(curves, "weight", 0.95); !slices.Equal(got, []string{"c", "b", "a"}) {
		t.Error(got)
	}
	if got := Rank(curves, "layer", 1); got != nil {
		t.Error(got)
	}
}

// A dip in a noisy curve counts as flat.
func TestCurvesAreMonotonic(t *testing.T) {
	ps := curve("a", 0.2, 0.1, 0.3, 0.25).Points
	if f := fractionAt(ps, 0.2); f != 0.5 {
		t.Error(f)
	}
	if f := fractionAt(ps, 0.3); f != 0.95 {
		t.Error(f)
	}
	if l := lossAt(ps, 0.95); l != 0.3 {
		t.Error(l)
	}
}
