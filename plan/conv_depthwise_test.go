package plan

import (
	"bytes"
	"fmt"
	"testing"

	"whit/graph"
	"whit/internal/optest"
	"whit/tensor"
)

// TestConvDepthwise runs a convolution and the depthwise one after it in one pass and
// apart: the same bits, for any number of workers.
func TestConvDepthwise(t *testing.T) {
	for _, size := range [][3]int{{7, 7, 160}, {14, 14, 96}, {56, 57, 24}, {112, 112, 16}} {
		for _, stride := range []int64{1, 2} {
			t.Run(fmt.Sprintf("%dx%dx%d/%d", size[0], size[1], size[2], stride), func(t *testing.T) {
				h, w, cin := size[0], size[1], size[2]
				cout := 4*cin + 4
				in := map[string]*tensor.Tensor{"x": optest.Rand(1, tensor.Float32, 2, cin, h, w)}
				build := func(apart bool) *graph.Graph {
					g := graph.New("pair")
					x := g.AddInput("x", tensor.Float32, 2, cin, h, w)
					mid := g.Add("", "Relu", nil, g.Add("", "Conv", nil, x,
						g.NewConst("", optest.Rand(2, tensor.Float32, cout, cin, 1, 1)), g.NewConst("", optest.Rand(3, tensor.Float32, cout))))
					y := g.Add("", "Conv", map[string]any{"group": int64(cout), "pads": []int64{1, 1, 1, 1}, "strides": []int64{stride, stride}}, mid,
						g.NewConst("", optest.Rand(4, tensor.Float32, cout, 1, 3, 3)), g.NewConst("", optest.Rand(5, tensor.Float32, cout)))
					g.Outputs = []*graph.Value{g.Add("", "Relu", nil, y)}
					if apart {
						g.Outputs = append(g.Outputs, mid)
					}
					return g
				}
				want := run(t, build(true), Options{Threads: 1}, in)[0]
				for _, threads := range []int{1, 2, 5} {
					if got := run(t, build(false), Options{Threads: threads}, in)[0]; !bytes.Equal(got.Bytes(), want.Bytes()) {
						t.Errorf("%d threads: the bits differ, by up to %g", threads, optest.Diff(got, want))
					}
				}
				p, err := NewProgram(build(false), Options{})
				if err != nil {
					t.Fatal(err)
				}
				pl, err := p.Plan(map[string]tensor.Type{"x": in["x"].Type})
				if err != nil {
					t.Fatal(err)
				}
				if n := len(pl.steps); n > 3 { // with two of reordering
					t.Errorf("%d steps: the pair was not fused", n)
				}
			})
		}
	}
}
