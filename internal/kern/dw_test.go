package kern

import (
	"math"
	"testing"
	"unsafe"
)

func TestDepthwiseOffsets(t *testing.T) {
	var x Depthwise
	for i, c := range []struct{ got, want uintptr }{
		{unsafe.Offsetof(x.X), 0}, {unsafe.Offsetof(x.Off), 24}, {unsafe.Offsetof(x.RSX), 48}, {unsafe.Offsetof(x.W), 56},
		{unsafe.Offsetof(x.Y), 80}, {unsafe.Offsetof(x.LDY), 104}, {unsafe.Offsetof(x.Pixels), 112}, {unsafe.Offsetof(x.Flags), 120},
		{unsafe.Offsetof(x.Bias), 128}, {unsafe.Offsetof(x.Lo), 152}, {unsafe.Offsetof(x.Hi), 156}, {unsafe.Offsetof(x.mask), 160},
		{unsafe.Offsetof(x.N), 168}, {unsafe.Offsetof(x.Slope), 176}, {unsafe.Offsetof(x.stride), 200},
	} {
		if c.got != c.want {
			t.Errorf("field %d is at %d, the assembly reads %d", i, c.got, c.want)
		}
	}
}

// TestDepthwise compares every variant, tail and epilogue with float64.
func TestDepthwise(t *testing.T) {
	x, w, bias := random(1, 3000), random(2, 9*3*16), random(3, 48)
	for _, i := range []isa{isaGo, isaAVX2, isaAVX512, isaNEON} {
		u := dwMicros[i]
		t.Run(u.Name, func(t *testing.T) {
			if !canRun(micros[i]) {
				t.Skip("NOT RUN: this CPU or build lacks it")
			}
			for n := 1; n <= 3*u.Width; n++ {
				if n > u.Width && n%u.Width != 0 {
					continue
				}
				for i := range 3 * 19 {
					pixels, off, rsx := i/3, []int{0, 20, 40, 205, 225, 300}, 49+n%3
					if stride := i % 3; stride > 0 { // windows of 3x3
						off, rsx = []int{0, 51, 102, 500, 551, 602, 900, 951, 1002}, 51*stride
					}
					d := &Depthwise{X: x, Off: off, RSX: rsx, W: w, LDY: n + 3, Pixels: pixels, N: n,
						Flags: []int{0, FlagCol, FlagClamp, FlagCol | FlagPRelu | FlagClamp}[(n+pixels)%4], Slope: bias, Bias: bias, Lo: -0.5, Hi: 1}
					start := random(4, max(1, pixels)*d.LDY)
					d.Y = append([]float32{}, start...)
					u.Run(d)
					for at := range start {
						p, c := at/d.LDY, at%d.LDY
						if p >= pixels || c >= n {
							if d.Y[at] != start[at] {
								t.Fatalf("%d pixels of %d channels: wrote outside", pixels, n)
							}
							continue
						}
						var s, abs float64
						for i, off := range d.Off {
							v := float64(x[p*d.RSX+off+c]) * float64(w[(c/u.Width*len(d.Off)+i)*u.Width+c%u.Width])
							s, abs = s+v, abs+math.Abs(v)
						}
						if d.Flags&FlagCol != 0 {
							s, abs = s+float64(bias[c]), abs+math.Abs(float64(bias[c]))
						}
						if d.Flags&FlagPRelu != 0 && s < 0 {
							s *= float64(bias[c])
							abs *= max(1, math.Abs(float64(bias[c])))
						}
						if d.Flags&FlagClamp != 0 {
							s = min(1, max(-0.5, s))
						}
						if math.Abs(float64(d.Y[at])-s) > 8*0x1p-24*abs {
							t.Fatalf("%d pixels of %d channels: [%d,%d] = %g, want %g", pixels, n, p, c, d.Y[at], s)
						}
					}
				}
			}
		})
	}
}
