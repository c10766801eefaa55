package kern

import (
	"slices"
	"testing"
	"unsafe"

	"whit/internal/cpu"
)

// TestDWPlanes compares the kernels with the loop that they stand for, on small integers,
// whose sums are exact.
func TestDWPlanes(t *testing.T) {
	var x DWPlanes
	for i, c := range []struct{ got, want uintptr }{
		{unsafe.Offsetof(x.X), 0}, {unsafe.Offsetof(x.At), 24}, {unsafe.Offsetof(x.SPlane), 32}, {unsafe.Offsetof(x.W), 40},
		{unsafe.Offsetof(x.Y), 64}, {unsafe.Offsetof(x.DPlane), 88}, {unsafe.Offsetof(x.DRow), 96}, {unsafe.Offsetof(x.Planes), 104},
		{unsafe.Offsetof(x.H), 112}, {unsafe.Offsetof(x.Width), 120}, {unsafe.Offsetof(x.Rows), 128}, {unsafe.Offsetof(x.Cols), 136},
		{unsafe.Offsetof(x.PH), 144}, {unsafe.Offsetof(x.PW), 152}, {unsafe.Offsetof(x.zero), 160}, {unsafe.Offsetof(x.masks), 168},
		{unsafe.Offsetof(x.Flags), 176}, {unsafe.Offsetof(x.Lo), 184}, {unsafe.Offsetof(x.Hi), 188}, {unsafe.Offsetof(x.Bias), 192},
		{unsafe.Offsetof(x.Slope), 216},
	} {
		if c.got != c.want {
			t.Errorf("field %d is at %d, the assembly reads %d", i, c.got, c.want)
		}
	}
	if !HaveDWPlanes(cpu.Detect()) {
		t.Skip("NOT RUN: this CPU or build lacks it")
	}
	ints := func(seed uint64, n int) []float32 {
		x := random(seed, n)
		for i := range x {
			x[i] = float32(int(4 * x[i]))
		}
		return x
	}
	for stride := 1; stride <= 2; stride++ {
		for cols := 1; cols <= 34; cols++ {
			for pads := range 16 {
				const planes = 3
				rows := 4 + (cols+pads)%6
				d := DWPlanes{At: DWPlanesSlack, W: ints(1, 9*planes), Planes: planes, Rows: rows, Cols: cols, Stride: stride, PH: pads & 1, PW: pads >> 1 & 1,
					Flags: []int{0, FlagCol, FlagClamp, FlagCol | FlagPRelu}[(cols+pads)%4], Bias: ints(2, planes), Slope: ints(3, planes), Lo: -3, Hi: 9}
				d.H, d.Width = (rows-1)*stride+3-d.PH-pads>>2&1, (cols-1)*stride+3-d.PW-pads>>3
				if d.Width < 1 || d.H < 1 {
					continue
				}
				d.SPlane, d.DRow = d.H*d.Width+5, max(8, cols)
				d.DPlane = d.DRow*rows + 1
				d.X, d.Y = ints(4, 2*DWPlanesSlack+planes*d.SPlane), ints(5, planes*d.DPlane)
				want := slices.Clone(d.Y)
				d.Init()
				d.Run()
				for p := range planes {
					for oy := range rows {
						for ox := range cols {
							acc := float32(0)
							for i := range 3 {
								for j := range 3 {
									iy, ix := oy*stride-d.PH+i, ox*stride-d.PW+j
									if iy >= 0 && iy < d.H && ix >= 0 && ix < d.Width {
										acc += d.X[d.At+p*d.SPlane+iy*d.Width+ix] * d.W[p*9+i*3+j]
									}
								}
							}
							if d.Flags&FlagCol != 0 {
								acc += d.Bias[p]
							}
							if d.Flags&FlagPRelu != 0 {
								acc = prelu(acc, d.Slope[p])
							}
							if d.Flags&FlagClamp != 0 {
								acc = clamp(acc, d.Lo, d.Hi)
							}
							want[p*d.DPlane+oy*d.DRow+ox] = acc
						}
						for ox := cols; ox < 8; ox++ { // anything
							at := p*d.DPlane + oy*d.DRow + ox
							want[at], d.Y[at] = 0, 0
						}
					}
				}
				if !slices.Equal(want, d.Y) {
					t.Fatalf("stride %d, %dx%d, pads %b: got %v, want %v", stride, rows, cols, pads, d.Y, want)
				}
			}
		}
	}
}
