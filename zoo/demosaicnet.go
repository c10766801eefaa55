package zoo

import (
	"fmt"

	"whit/graph"
	"whit/tensor"
)

// The demosaicking networks of M. Gharbi, G. Chaurasia, S. Paris, F. Durand: Deep joint
// demosaicking and denoising, 2016, as the authors' package demosaicnet holds them,
// which differs from the paper: the features of the Bayer network are masked by half
// of themselves. The input is the mosaic as a picture of three channels, 0 where the
// sensor has no such pixel; convolutions have no padding, so that the output lacks 31
// (Bayer) or 12 (X-Trans) pixels on every side. A Bayer mosaic has even sides.

// crop cuts n pixels from every side of x.
func (b *builder) crop(name string, x *graph.Value, n int) *graph.Value {
	at := func(suffix string, v ...int64) *graph.Value { return b.g.NewConst(name+suffix, tensor.Ints(v...)) }
	k := int64(n)
	b.node(name, "Slice", nil, x, at(".starts", k, k), at(".ends", -k, -k), at(".axes", 2, 3))
	return b.x
}

// fullres joins the mosaic, cropped, to the features and makes the picture of them.
func (b *builder) fullres(mosaic *graph.Value, crop int) (*graph.Graph, error) {
	features := b.x
	cropped := b.crop("crop", mosaic, crop)
	b.x = features
	b.concat("packed", cropped, 3)
	b.conv("fullres_processor.post_conv", 64, 3, he)
	b.relu("fullres_processor.post_relu")
	b.conv("fullres_processor.output", 3, 1, glorot)
	b.output("image", size(3), symbol("h"), symbol("w"))
	return b.finish()
}

func demosaicBayer(s *given) (*graph.Graph, error) {
	b := trained("demosaicnet-bayer", s, 3, 128, 128)
	b.anySize()
	mosaic := b.x
	b.convolve("main_processor.pack_mosaic", 4, window{k: 2, stride: 2}, glorot, true)
	for i := 1; i <= 15; i++ {
		n := 64
		if i == 15 {
			n = 128
		}
		b.conv(fmt.Sprint("main_processor.conv", i), n, 3, he)
		b.relu(fmt.Sprint("main_processor.relu", i))
	}
	halves := b.g.AddN("", "Split", map[string]any{"axis": int64(1)}, 2, b.x, b.g.NewConst("halves", tensor.Ints(64, 64)))
	halves[0].Producer.Name, halves[0].Name, halves[1].Name = "split", "filters", "masks"
	b.node("filtered", "Mul", nil, halves[0], halves[1])
	b.c = 64
	b.conv("residual_predictor", 12, 1, glorot)
	b.node("upsampler", "ConvTranspose", map[string]any{
		"kernel_shape": []int64{2, 2}, "strides": []int64{2, 2}, "pads": []int64{0, 0, 0, 0}, "dilations": []int64{1, 1}, "group": int64(3),
	}, b.x, b.uniform("upsampler.weight", glorot, 16, 4, 12, 1, 2, 2), b.fill("upsampler.bias", 3, 0))
	b.c, b.h, b.w = 3, 2*b.h, 2*b.w
	return b.fullres(mosaic, 30)
}

func demosaicXTrans(s *given) (*graph.Graph, error) {
	b := trained("demosaicnet-xtrans", s, 3, 96, 96)
	b.anySize()
	mosaic := b.x
	for i := 1; i <= 11; i++ {
		b.conv(fmt.Sprint("main_processor.conv", i), 64, 3, he)
		b.relu(fmt.Sprint("main_processor.relu", i))
	}
	return b.fullres(mosaic, 11)
}
