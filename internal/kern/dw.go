package kern

import "whit/internal/cpu"

// Depthwise is one call of the depthwise convolution kernel: a row of Pixels
// output pixels of N channels, fewer than the Width of the [DWMicro] or a multiple of it.
//
//	Y[p*LDY+c] = epilogue(Σ_i X[p*RSX+Off[i]+c] * W[(c/Width*len(Off)+i)*Width+c%Width])
//
// with one accumulator an output, taps ascending, one FMA a step. W and Bias hold
// whole vectors of Width whatever N is. An output may be computed and written twice.
// Flags are FlagCol (Bias), FlagPRelu (Slope) and FlagClamp.
type Depthwise struct {
	X      []float32
	Off    []int // where each tap is, from the pixel
	RSX    int   // from output pixel to output pixel in X: stride times the pixel's floats
	W      []float32
	Y      []float32
	LDY    int
	Pixels int
	Flags  int
	Bias   []float32
	Lo, Hi float32
	mask   uintptr // as Tile.mask, 0 for all of Width
	N      int
	Slope  []float32 // as Bias
	stride int       // of windows of 3x3 whose columns follow each other: pixels from output to output, 1 or 2; else 0
}

// DWMicro is a depthwise micro-kernel.
type DWMicro struct {
	Name  string
	Width int // channels of a call
	isa   isa
}

var dwMicros = map[isa]*DWMicro{
	isaGo:     {Name: "f32_dw_go", Width: 8, isa: isaGo},
	isaAVX2:   {Name: "f32_dw_6x8_avx2", Width: 8, isa: isaAVX2},
	isaAVX512: {Name: "f32_dw_6x16_avx512", Width: 16, isa: isaAVX512},
	isaNEON:   {Name: "f32_dw_4x8_neon", Width: 8, isa: isaNEON},
}

// DW is the best depthwise kernel for a processor with features f.
func DW(f cpu.Features) *DWMicro { return dwMicros[isaOf(f)] }

// Run computes the row. It panics where a slice is too short.
func (u *DWMicro) Run(t *Depthwise) {
	if t.Pixels == 0 {
		return
	}
	if t.N < 1 || t.N > u.Width && t.N%u.Width != 0 || t.Pixels < 0 || len(t.Off) == 0 {
		panic("kern: depthwise call out of range")
	}
	_ = t.X[(t.Pixels-1)*t.RSX+t.Off[len(t.Off)-1]+t.N-1]
	blocks := (t.N + u.Width - 1) / u.Width
	_ = t.W[blocks*len(t.Off)*u.Width-1]
	_ = t.Y[(t.Pixels-1)*t.LDY+t.N-1]
	if t.Flags&FlagCol != 0 {
		_ = t.Bias[blocks*u.Width-1]
	}
	if t.Flags&FlagPRelu != 0 {
		_ = t.Slope[blocks*u.Width-1]
	}
	t.stride = t.window3()
	u.run(t)
}

// window3 is the stride of windows of 3x3 whose columns follow each other, if it is 1 or 2.
func (t *Depthwise) window3() int {
	o := t.Off
	if len(o) != 9 {
		return 0
	}
	step := o[1] - o[0]
	for i := range 9 {
		if o[i] != o[i/3*3]+i%3*step {
			return 0
		}
	}
	switch t.RSX {
	case step:
		return 1
	case 2 * step:
		return 2
	}
	return 0
}

func depthwiseGo(t *Depthwise) {
	const width = 8
	for c0 := 0; c0 < t.N; c0 += width {
		n := min(width, t.N-c0)
		weights := t.W[c0*len(t.Off):]
		for p := range t.Pixels {
			var acc [width]float32
			x := t.X[p*t.RSX+c0:]
			for i, off := range t.Off {
				w := (*[width]float32)(weights[i*width:])
				for c, v := range x[off : off+n] {
					acc[c&7] += float32(v * w[c&7])
				}
			}
			y := t.Y[p*t.LDY+c0:][:n]
			for c, v := range acc[:n] {
				if t.Flags&FlagCol != 0 {
					v += t.Bias[c0+c]
				}
				if t.Flags&FlagPRelu != 0 {
					v = prelu(v, t.Slope[c0+c])
				}
				if t.Flags&FlagClamp != 0 {
					v = clamp(v, t.Lo, t.Hi)
				}
				y[c] = v
			}
		}
	}
}
