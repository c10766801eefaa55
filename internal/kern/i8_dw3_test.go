package kern

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"whit/internal/cpu"
)

func TestI8DW3Offsets(t *testing.T) {
	var a I8DW3
	for i, c := range []struct{ got, want uintptr }{
		{unsafe.Offsetof(a.Row), 24}, {unsafe.Offsetof(a.W), 32}, {unsafe.Offsetof(a.Bias), 56}, {unsafe.Offsetof(a.Mul), 80}, {unsafe.Offsetof(a.Y), 104},
		{unsafe.Offsetof(a.LDY), 128}, {unsafe.Offsetof(a.Line), 136}, {unsafe.Offsetof(a.Second), 144}, {unsafe.Offsetof(a.Pixels), 152}, {unsafe.Offsetof(a.Rows), 160},
		{unsafe.Offsetof(a.consts), 192},
	} {
		if c.got != c.want {
			t.Errorf("field %d is at %d, the assembly reads %d", i, c.got, c.want)
		}
	}
}

// TestI8DW3 compares both variants with plain sums over the bytes, random and at their limits.
func TestI8DW3(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 8))
	for _, across := range []int{1, 2} {
		for _, pixels := range []int{1, 2, 7, 30} {
			for _, rows := range []int{1, 2, 3, 6} {
				for _, extreme := range []bool{false, true} {
					down, cols, stride := across, (pixels-1)*across+3, 37
					image := make([][]byte, (rows-1)*down+3)
					for i := range image {
						image[i] = make([]byte, cols*stride)
						for j := range image[i] {
							if image[i][j] = byte(r.IntN(256)); extreme {
								image[i][j] = byte(-r.IntN(2))
							}
						}
					}
					flip := byte(0x80 * r.IntN(2))
					var w [16][9]int16
					bias, mul := make([]int32, 16), make([]float32, 16)
					for c := range w {
						bias[c], mul[c] = int32(r.IntN(20001)-10000), r.Float32()*0.01
						for i := range w[c] {
							if w[c][i] = int16(r.IntN(511) - 255); extreme {
								w[c][i] = int16(510*r.IntN(2) - 255)
							}
						}
					}
					lo, hi, zero, flipOut := int32(r.IntN(20)), int32(200+r.IntN(56)), int32(r.IntN(256)), int32(0x80*r.IntN(2))
					ldy, line := 19, 19*pixels+5
					want := make([]byte, rows*line+16)
					for y := range rows {
						for p := range pixels {
							for c := range 16 {
								acc := bias[c]
								for i := range 9 {
									acc += int32(image[y*down+i/3][(p*across+i%3)*stride+c]^flip) * int32(w[c][i])
								}
								want[y*line+p*ldy+c] = byte(int32(Quantise(acc, mul[c], float32(lo-zero), float32(hi-zero), zero)) ^ flipOut)
							}
						}
					}
					for _, v := range []Ints{{}, IntsOf(cpu.Detect())} {
						got := make([]byte, len(want))
						d := I8DW3{Row: 32 * cols, W: make([]int16, DW3Weights), Bias: bias, Mul: mul, Y: got, LDY: ldy, Line: line,
							Pixels: pixels, Rows: rows, Across: across, Zero: zero, Lo: lo, Hi: hi, Flip: flipOut}
						var taps [16 * 9]int16
						for i := range taps {
							taps[i] = w[i/9][i%9]
						}
						PackDW3(d.W, &taps)
						pairs := (len(image) + 1) / 2
						d.X = make([]int16, (pairs+1)*d.Row)
						other := bytes.Repeat([]byte{0xa5}, 16) // behind the last row
						for q := range pairs {
							src, strides := [2][]byte{image[2*q], other}, [2]int{stride, 0}
							if 2*q+1 < len(image) {
								src[1], strides[1] = image[2*q+1], stride
							}
							v.WidenPairs(d.X[q*d.Row:], src, strides, cols, flip)
						}
						if across == 2 {
							v.DW3(&d)
						} else {
							d.Line, d.Second, d.Rows = 2*line, line, rows/2
							v.DW3(&d)
							d.X, d.Y, d.Second, d.Rows = d.X[rows/2*d.Row:], d.Y[rows/2*2*line:], 0, rows%2
							v.DW3(&d)
						}
						if !bytes.Equal(got, want) {
							t.Fatalf("%s: stride %d, %d pixels, %d rows: differs", v.Name(), across, pixels, rows)
						}
					}
				}
			}
		}
	}
}

func BenchmarkI8DW3(b *testing.B) {
	v := IntsOf(cpu.Detect())
	for _, across := range []int{1, 2} {
		for _, size := range []int{7, 14, 28} {
			cols := (size-1)*across + 3
			d := I8DW3{X: make([]int16, (size+2)*32*cols), Row: 32 * cols, W: make([]int16, DW3Weights), Bias: make([]int32, 16), Mul: make([]float32, 16),
				Y: make([]byte, size*size*16), LDY: 16, Line: 32 * size, Second: 16 * size, Pixels: size, Rows: size / 2, Across: across, Hi: 255}
			b.Run(fmt.Sprintf("%d/%d", across, size), func(b *testing.B) {
				for range b.N {
					v.DW3(&d)
				}
				rows := d.Rows
				if across == 1 {
					rows *= 2
				}
				b.ReportMetric(float64(b.N)*float64(2*9*16*rows*size)/b.Elapsed().Seconds()/1e9, "GOP/s")
			})
		}
	}
	b.Run("widen", func(b *testing.B) {
		d, s := make([]int16, 32*14), make([]byte, 14*384)
		for range b.N {
			v.WidenPairs(d, [2][]byte{s, s}, [2]int{384, 384}, 14, 0)
		}
	})
}
