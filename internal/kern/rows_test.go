package kern

import (
	"slices"
	"testing"
	"unsafe"

	"whit/internal/cpu"
)

func TestRows(t *testing.T) {
	var x Rows
	for i, c := range []struct{ got, want uintptr }{
		{unsafe.Offsetof(x.Dst), 0}, {unsafe.Offsetof(x.Src), 24}, {unsafe.Offsetof(x.Planes), 48}, {unsafe.Offsetof(x.Rows), 56},
		{unsafe.Offsetof(x.N), 64}, {unsafe.Offsetof(x.DPlane), 72}, {unsafe.Offsetof(x.DRow), 80}, {unsafe.Offsetof(x.SPlane), 88},
		{unsafe.Offsetof(x.SRow), 96},
	} {
		if c.got != c.want {
			t.Errorf("field %d is at %d, the assembly reads %d", i, c.got, c.want)
		}
	}
	for step := 1; step <= 3; step++ {
		for n := 1; n <= 35; n++ {
			planes, rows := 1+n%3, 1+n%4
			r := Rows{Planes: planes, Rows: rows, N: n, Step: step, DRow: n + 1, SRow: n*step + 2}
			r.DPlane, r.SPlane = r.DRow*rows+3, r.SRow*rows+1
			// No float more than is read.
			r.Src = random(1, (planes-1)*r.SPlane+(rows-1)*r.SRow+(n-1)*step+1)
			start := random(2, planes*r.DPlane)
			var got [2][]float32
			for i, u := range []Copier{{}, CopierOf(cpu.Detect())} {
				r.Dst = slices.Clone(start)
				u.Copy(&r)
				got[i] = r.Dst
			}
			want := slices.Clone(start)
			for p := range planes {
				for y := range rows {
					for i := range n {
						want[p*r.DPlane+y*r.DRow+i] = r.Src[p*r.SPlane+y*r.SRow+i*step]
					}
				}
			}
			if !slices.Equal(got[0], want) || !slices.Equal(got[1], want) {
				t.Fatalf("%d floats, step %d: %v and %v, want %v", n, step, got[0], got[1], want)
			}
		}
	}
}
