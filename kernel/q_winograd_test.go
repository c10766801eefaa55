package kernel

import (
	"testing"

	"whit/graph"
	"whit/internal/cpu"
	"whit/internal/kern"
	"whit/tensor"
)

// TestSixtyFourthFits: limits of what 64 times the sums, with the bias, may be.
func TestSixtyFourthFits(t *testing.T) {
	const cin, cout, k = 128, 20, 128 * 9
	for _, tt := range []struct {
		name     string
		x, w     tensor.DType
		zero     int
		even, by int // weights, by turns, of the last channel; the others are 1
		bias     int32
		want     bool
	}{
		{"largest", tensor.Uint8, tensor.Int8, 0, 127, 127, 0, false},
		{"just", tensor.Uint8, tensor.Int8, 0, 114, 114, 0, true},
		{"just not", tensor.Uint8, tensor.Int8, 0, 115, 114, 0, false},
		{"bias", tensor.Uint8, tensor.Int8, 0, 114, 114, 1 << 20, false},
		{"bias below", tensor.Uint8, tensor.Int8, 0, 100, 100, -(1<<25 - 1 - 100*k*255), true},
		{"bias too low", tensor.Uint8, tensor.Int8, 0, 100, 100, -(1<<25 - 100*k*255), false},
		{"either sign", tensor.Uint8, tensor.Int8, 128, 127, -127, 0, true},
		{"zero point below", tensor.Int8, tensor.Int8, -128, 127, 127, 0, false},
		{"zero point in the middle", tensor.Int8, tensor.Int8, 0, -128, -128, 0, true},
		{"unsigned weights", tensor.Uint8, tensor.Uint8, 0, 128 + 114, 0, 0, true},
		{"unsigned weights, largest", tensor.Uint8, tensor.Uint8, 0, 255, 255, 0, false},
	} {
		w := tensor.New(tt.w, cout, cin, 3, 3)
		one, mid := byte(1), byte(0)
		if tt.w == tensor.Uint8 {
			one, mid = 129, 128
		}
		for i := range w.Bytes() {
			if w.Bytes()[i] = one; i/k == cout-1 {
				w.Bytes()[i] = byte([]int{tt.even, tt.by}[i%2])
			}
		}
		zero, wzero, bias := tensor.New(tt.x), tensor.New(tt.w), tensor.New(tensor.Int32, cout)
		zero.Bytes()[0], wzero.Bytes()[0] = byte(tt.zero), mid
		tensor.Of[int32](bias)[cout-1] = tt.bias
		g := graph.New("")
		one32 := g.NewConst("", tensor.Scalar(float32(1)))
		x := &graph.Value{Name: "x", Type: tensor.Type{DType: tt.x, Shape: tensor.Shape{1, cin, 8, 8}}}
		n := &graph.Node{Op: "QLinearConv", In: []*graph.Value{x, one32, g.NewConst("", zero), g.NewConst("", w), one32, g.NewConst("", wzero),
			one32, g.NewConst("", tensor.New(tensor.Uint8)), g.NewConst("", bias)}}
		for _, f := range []cpu.Features{{}, cpu.Detect()} {
			if got := sixtyFourthFits(n, kern.IntsOf(f)); got != tt.want {
				t.Errorf("%s, %v: found %v", tt.name, f, got)
			}
		}
	}
}
