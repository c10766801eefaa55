package kernel

import (
	"fmt"
	"slices"
	"testing"

	"whit/graph"
	"whit/internal/cpu"
	"whit/internal/kern"
	"whit/tensor"
)

// reorder runs the kernel's rows; out begins as garbage.
func reorder(x *tensor.Tensor, from, to graph.Layout) *tensor.Tensor {
	y := tensor.New(tensor.Float32, PhysicalLen(x.Shape, to))
	for i := range tensor.Words(y) {
		tensor.Words(y)[i] = 0xffffffff
	}
	y, err := tensor.View(x.Type, y.Bytes())
	if err != nil {
		panic(err)
	}
	c := &Call{In: []*tensor.Tensor{x}, Out: []*tensor.Tensor{y}}
	for i := range x.Shape[0] * rows(x.Shape[2], to) {
		reorderRow(tensor.Words(c.In[0]), tensor.Words(c.Out[0]), x.Shape, from, to, kern.ZipperOf(cpu.Detect()), i)
	}
	return y
}

func TestReorder(t *testing.T) {
	for _, c := range []int{1, 2, 3, 4, 6, 8, 12, 13} {
		for _, to := range []graph.Layout{
			{Order: graph.NHWC, CStride: c},
			{Order: graph.NHWC, CStride: c, Halo: [4]int{1, 2, 0, 3}},
			{Order: graph.NHWC, CStride: c + 3, Halo: [4]int{0, 0, 1, 0}},
		} {
			t.Run(fmt.Sprintf("%d channels, stride %d, halo %v", c, to.CStride, to.Halo), func(t *testing.T) {
				s := tensor.Shape{2, c, 3, 19}
				x := tensor.New(tensor.Float32, s...)
				for i := range tensor.Words(x) {
					tensor.Words(x)[i] = uint32(i + 1)
				}
				y := reorder(x, graph.Layout{}, to)
				want := make([]uint32, PhysicalLen(s, to)) // halo and what is between pixels: zero
				ni, ci, hi, wi, off := Stride(s, to)
				for i, v := range tensor.Words(x) {
					w, h, ch, n := i%19, i/19%3, i/57%c, i/57/c
					want[off+n*ni+ch*ci+h*hi+w*wi] = v
				}
				if !slices.Equal(tensor.Words(y), want) {
					t.Error("to NHWC differs")
				}
				if back := reorder(y, to, graph.Layout{}); !slices.Equal(tensor.Words(back), tensor.Words(x)) {
					t.Error("back to row-major differs")
				}
			})
		}
	}
}

func BenchmarkReorder(b *testing.B) {
	x := tensor.New(tensor.Float32, 1, 3, 224, 224)
	to := graph.Layout{Order: graph.NHWC, CStride: 3, Halo: [4]int{1, 1, 1, 1}}
	y := tensor.New(tensor.Float32, PhysicalLen(x.Shape, to))
	c := &Call{In: []*tensor.Tensor{x}, Out: []*tensor.Tensor{y}}
	b.SetBytes(int64(2 * x.NumBytes()))
	for b.Loop() {
		for i := range rows(224, to) {
			reorderRow(tensor.Words(c.In[0]), tensor.Words(c.Out[0]), x.Shape, graph.Layout{}, to, kern.ZipperOf(cpu.Detect()), i)
		}
	}
}

// TestReorderBytes: there and back, by every variant, with tiles in any order.
func TestReorderBytes(t *testing.T) {
	for _, s := range []tensor.Shape{{3, 40, 1, 1}, {2, 3, 5, 7}, {1, 1, 16, 3}, {2, 16, 3, 3}, {1, 35, 7, 7}, {1, 64, 40, 30}, {1, 2, 175, 31}} {
		for _, to := range []graph.Layout{
			{Order: graph.NHWC, CStride: s[1]},
			{Order: graph.NHWC, CStride: round16(s[1])},
			{Order: graph.NHWC, CStride: s[1] + 21},
			{Order: graph.NHWC, CStride: s[1], Halo: [4]int{1, 0, 2, 1}},
		} {
			for _, f := range cpu.Detect().Variants() {
				run := func(x *tensor.Tensor, from, to graph.Layout) *tensor.Tensor {
					n := &graph.Node{In: []*graph.Value{{Type: x.Type, Layout: from}}, Out: []*graph.Value{{Type: x.Type, Layout: to}}}
					p, err := prepareByteReorder(n, &Env{CPU: f})
					if err != nil {
						t.Fatal(err)
					}
					y := tensor.New(tensor.Uint8, PhysicalLen(s, to))
					fill(y.Bytes(), 0xff)
					if y, err = tensor.View(x.Type, y.Bytes()); err != nil {
						t.Fatal(err)
					}
					c := &Call{In: []*tensor.Tensor{x}, Out: []*tensor.Tensor{y}}
					for tile := range p.Phases[0].Tiles {
						p.Phases[0].Run(c, p.Phases[0].Tiles-1-tile, nil)
					}
					return y
				}
				x := tensor.New(tensor.Uint8, s...)
				for i := range x.Bytes() {
					x.Bytes()[i] = byte(i*i + i>>8)
				}
				y := run(x, graph.Layout{}, to)
				want := make([]byte, PhysicalLen(s, to))
				ni, ci, hi, wi, off := Stride(s, to)
				for i, v := range x.Bytes() {
					w, h, ch, n := i%s[3], i/s[3]%s[2], i/s[3]/s[2]%s[1], i/s[3]/s[2]/s[1]
					want[off+n*ni+ch*ci+h*hi+w*wi] = v
				}
				if !slices.Equal(y.Bytes(), want) {
					t.Errorf("%v, %v, %v: to NHWC differs", s, to, f)
				}
				if back := run(y, to, graph.Layout{}); !slices.Equal(back.Bytes(), x.Bytes()) {
					t.Errorf("%v, %v, %v: back to row-major differs", s, to, f)
				}
			}
		}
	}
}
