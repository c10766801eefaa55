package op

import (
	"whit/graph"
	"whit/tensor"
)

// Col2Im adds the columns of x [N,C·block,L] into images [N,C,image...]: column l
// holds the block that a window of block_shape (input 2) sees at its place l in an
// image of image_shape (input 1), padded and with strides and dilations as Conv has
// them. What several blocks cover is summed.
func init() {
	Register(Op{
		Name: "Col2Im",
		Infer: func(n *graph.Node) ([]tensor.Type, error) {
			if err := Want(n, 3, 3); err != nil {
				return nil, err
			}
			if err := inputType(n, 0, Numbers); err != nil {
				return nil, err
			}
			image, err := shapeInput(n, 1)
			if err != nil {
				return nil, err
			}
			block, err := shapeInput(n, 2)
			if err != nil {
				return nil, err
			}
			x := n.In[0].Type
			if len(x.Shape) != 3 || len(image) < 1 || len(block) != len(image) || block.NumElements() < 1 || x.Shape[1]%block.NumElements() != 0 {
				return nil, Errorf(n, "x %v, image %v and block %v do not fit", x.Shape, image, block)
			}
			w, err := newWindow(n, image, block, false)
			if err != nil {
				return nil, err
			}
			places := tensor.Shape(w.out)
			if places.Check() != nil || places.NumElements() != x.Shape[2] {
				return nil, Errorf(n, "x has %d columns, the blocks have %v places", x.Shape[2], w.out)
			}
			y := append(tensor.Shape{x.Shape[0], x.Shape[1] / block.NumElements()}, image...)
			return []tensor.Type{{DType: x.DType, Shape: y}}, nil
		},
		Ref: numbers{f32: col2im[float32, float64], f64: col2im[float64, float64],
			i8: col2im[int8, int8], i16: col2im[int16, int16], i32: col2im[int32, int32], i64: col2im[int64, int64],
			u8: col2im[uint8, uint8], u16: col2im[uint16, uint16], u32: col2im[uint32, uint32], u64: col2im[uint64, uint64]}.ref,
		Cost: func(n *graph.Node) (macs, bytes int64) {
			return int64(n.In[0].Type.Shape.NumElements()), IOBytes(n)
		},
	})
}

// col2im sums in A.
func col2im[T, A Number](n *graph.Node, in, out []*tensor.Tensor) error {
	image := out[0].Shape[2:]
	kernel := make([]int, len(image))
	for i, k := range ints64(in[2]) {
		kernel[i] = int(k)
	}
	w, err := newWindow(n, image, kernel, false)
	if err != nil {
		return err
	}
	x, acc := vals[T](in[0]), make([]A, out[0].Len())
	if len(acc) == 0 || len(x) == 0 {
		clear(vals[T](out[0]))
		return nil
	}
	cols, taps, size := in[0].Shape[2], w.taps(), image.NumElements()
	along := w.stride[len(w.stride)-1]
	at := make([]int, len(kernel))
	var segs []segment
	for t := range taps {
		segs = w.segments(at, segs)
		for c := range out[0].Shape[0] * out[0].Shape[1] {
			src, dst := x[(c*taps+t)*cols:], acc[c*size:]
			for _, g := range segs {
				for i := range g.n {
					dst[g.in+i*along] += A(src[g.out+i])
				}
			}
		}
		step(at, kernel)
	}
	for i, v := range acc {
		vals[T](out[0])[i] = T(v)
	}
	return nil
}
