package kern

import (
	"fmt"
	"testing"

	"whit/internal/cpu"
)

// BenchmarkI8Winograd is a convolution 3x3 of 64 channels of 24x24 pixels by tiles of either size, one panel: both
// transforms and the products between, in the operations of the direct convolution.
func BenchmarkI8Winograd(b *testing.B) {
	const c, side = 64, 24
	for _, m := range []int{2, 4} {
		b.Run(fmt.Sprintf("F(%dx%d)", m, m), func(b *testing.B) {
			v := IntsOf(cpu.Detect())
			places, n := (m+2)*(m+2), side/m
			x, y, d := make([]int16, (side+2)*(side+2)*c), make([]byte, side*side*c), make([]int16, places*n*n*c)
			w, sums, rows := make([]int16, places*c*16), make([]int32, places*n*n*16), make([]int, n*n)
			bias, mul, tmp := make([]int32, 16), make([]float32, 16), make([]int32, 256)
			for i := range rows {
				rows[i] = i * c
			}
			b.ReportAllocs()
			for b.Loop() {
				for r := range n {
					in := I8WinoIn{X: x[m*r*(side+2)*c:], Row: (side + 2) * c, Pixel: c, V: d[r*n*c:], Pos: n * n * c, Step: c, Blocks: c / 16, Tiles: n}
					if m == 4 {
						v.WinoIn4(&in)
					} else {
						v.WinoIn(&in)
					}
				}
				for p := range c / 16 {
					for i := range places {
						v.Sum16(&I8Tile{A: d[i*n*n*c:], Rows: rows, Off: Zero, K: c, B: w[i*c*16:], Sums: sums[i*n*n*16:]})
					}
					for r := range n {
						out := I8WinoOut{M: sums[r*n*16:], Pos: n * n * 16, Bias: bias, Mul: mul, Y: y[m*r*side*c+16*p:], Row: side * c, Pixel: c, Tiles: n, Hi: 255, Tmp: tmp}
						if m == 4 {
							v.WinoOut4(&out)
						} else {
							v.WinoOut(&out)
						}
					}
				}
			}
			b.ReportMetric(float64(2*9*c*c*side*side)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GOP/s")
		})
	}
}

// BenchmarkI8Sum is the sum of two values of 16 KiB.
func BenchmarkI8Sum(b *testing.B) {
	v := IntsOf(cpu.Detect())
	s := I8Sum{A: make([]byte, 16<<10), B: make([]byte, 16<<10), Y: make([]byte, 16<<10), N: 16 << 10, ZA: 3, MA: 0.5, MB: 0.75, Hi: 255}
	b.SetBytes(int64(s.N))
	for b.Loop() {
		v.Sum(&s)
	}
}
