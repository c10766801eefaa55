package quant

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func ExampleKMeans() {
	w := []float32{-1.1, -0.9, 0.1, -0.1, 2, 1, 1.1}
	c, idx, cost, _ := KMeans(w, 3, Linear, 0, 0)
	fmt.Println(c, idx)
	fmt.Printf("%.2f\n", cost)
	// Output:
	// [-1 0.525 2] [0 0 1 1 2 1 1]
	// 1.15
}

func TestKMeans(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	normal := make([]float32, 5000)
	for i := range normal {
		normal[i] = float32(r.NormFloat64())
	}
	for _, tc := range []struct {
		name string
		x    []float32
		k    int
		init Init
		want []float32 // nil: not compared
	}{
		{"two values", []float32{1, 2, 1, 2}, 4, Linear, []float32{1, 2}},
		{"one cluster", []float32{1, 2, 3}, 1, Linear, []float32{2}},
		{"one cluster, density", []float32{1, 2, 6}, 1, Density, []float32{3}},
		{"constant", []float32{5, 5, 5}, 3, Random, []float32{5}},
		{"empty clusters go", []float32{0, 0.01, 0.02, 10, 10.01}, 4, Linear, nil},
		{"signed zeros", []float32{0, float32(math.Copysign(0, -1)), 1}, 2, Linear, []float32{0, 1}},
		{"normal linear", normal, 32, Linear, nil},
		{"normal density", normal, 32, Density, nil},
		{"normal random", normal, 32, Random, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, idx, cost, err := KMeans(tc.x, tc.k, tc.init, 7, 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(c) > tc.k || !slices.IsSorted(c) {
				t.Fatalf("centroids %v", c)
			}
			if tc.want != nil && !slices.Equal(c, tc.want) {
				t.Errorf("centroids %v, want %v", c, tc.want)
			}
			var sum float64
			for i, v := range tc.x {
				d := math.Abs(float64(v) - float64(c[idx[i]]))
				sum += d * d
				for _, o := range c {
					if math.Abs(float64(v)-float64(o)) < d {
						t.Fatalf("%v is assigned to %v, %v is nearer", v, c[idx[i]], o)
					}
				}
			}
			if math.Abs(sum-cost) > 1e-9*(1+sum) {
				t.Errorf("cost %v, want %v", cost, sum)
			}
		})
	}
	for _, bad := range []struct {
		name string
		x    []float32
		k    int
		init Init
	}{
		{"nan", []float32{1, float32(math.NaN())}, 2, Linear},
		{"infinite", []float32{1, float32(math.Inf(1))}, 2, Linear},
		{"no clusters", []float32{1}, 0, Linear},
		{"too many", []float32{1}, 1<<16 + 1, Linear},
		{"unknown start", []float32{1, 2, 3}, 2, "best"},
	} {
		t.Run(bad.name, func(t *testing.T) {
			if _, _, _, err := KMeans(bad.x, bad.k, bad.init, 0, 0); err == nil {
				t.Error("no error")
			}
		})
	}
}

// The result does not depend on the order of the values, and more rounds never cost more.
func TestKMeansLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Float32Range(-100, 100), 1, 60).Draw(t, "x")
		k := rapid.IntRange(1, 9).Draw(t, "k")
		init := Init(rapid.SampledFrom(Inits).Draw(t, "init"))
		c, _, cost, err := KMeans(x, k, init, 3, 0)
		if err != nil {
			t.Fatal(err)
		}
		y := slices.Clone(x)
		slices.Reverse(y)
		c2, _, _, _ := KMeans(y, k, init, 3, 0)
		if !slices.Equal(c, c2) {
			t.Fatalf("order matters: %v %v", c, c2)
		}
		_, _, first, _ := KMeans(x, k, init, 3, 1)
		if cost > first*(1+1e-6)+1e-6 {
			t.Fatalf("cost rose from %v to %v", first, cost)
		}
	})
}
