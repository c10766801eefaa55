package kern

import (
	"slices"
	"testing"

	"whit/internal/cpu"
)

func TestZip(t *testing.T) {
	fast := ZipperOf(cpu.Detect())
	if !fast.asm {
		t.Log("NOT RUN: this CPU or build lacks the assembly")
	}
	for n := range 70 {
		a, b, c, want := make([]uint32, n), make([]uint32, n), make([]uint32, n), make([]uint32, 2*n+1)
		for i := range a {
			a[i], b[i] = uint32(i), uint32(1000+i)
			want[2*i], want[2*i+1] = a[i], b[i]
		}
		for _, z := range []Zipper{fast, {}} {
			got := make([]uint32, 2*n+1)
			z.Zip(got, a, b)
			if !slices.Equal(got, want) {
				t.Fatalf("%d words: %v", n, got)
			}
			got3, want3 := make([]uint32, 3*n+1), make([]uint32, 3*n+1)
			for i, v := range a {
				want3[3*i], want3[3*i+1], want3[3*i+2] = v, b[i], ^v
				c[i] = ^v
			}
			z.Zip3(got3, a, b, c)
			if !slices.Equal(got3, want3) {
				t.Fatalf("%d words of three: %v", n, got3)
			}
		}
	}
}
