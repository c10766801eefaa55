package zoo

import (
	"whit/graph"
	"whit/tensor"
)

// dlibFace is the face recognition network of D. E. King's dlib (Dlib-ml: a machine
// learning toolkit, 2009; the network is anet_type of its example
// dnn_face_recognition_ex.cpp): a residual network of 29 convolutions, where
// shortcuts of another size are averaged 2x2 and the smaller of the two summands is
// extended by zeros, and a layer without bias. The output "descriptor" tells two faces of
// one person by a distance under 0.6. An affine layer (scale and bias a channel) is a
// BatchNormalization of mean 0 and variance 1, which compiling folds away.
func dlibFace(s *given) (*graph.Graph, error) {
	b := trained("dlib-face", s, 3, 150, 150)
	b.affine("conv32_down", 32, window{k: 7, stride: 2})
	b.relu("conv32_down.relu")
	b.pool("pool", "MaxPool", window{k: 3, stride: 2})
	for _, l := range faceBlocks {
		x := *b
		stride, pad := 1, 1
		if l.down {
			stride, pad = 2, 0
		}
		b.affine(l.name+".conv1", l.n, window{k: 3, stride: stride, pad: pad})
		b.relu(l.name + ".conv1.relu")
		b.affine(l.name+".conv2", l.n, window{k: 3, stride: 1, pad: 1})
		if l.down {
			y, n, h, w := b.x, b.c, b.h, b.w
			b.x, b.c, b.h, b.w = x.x, x.c, x.h, x.w
			b.pool(l.name+".shortcut", "AveragePool", window{k: 2, stride: 2})
			b.extend(l.name+".channels", n-b.c, 0, 0)
			short, sh, sw := b.x, b.h, b.w
			b.x, b.c, b.h, b.w = y, n, h, w
			b.extend(l.name+".sides", 0, sh-h, sw-w)
			b.h, b.w = sh, sw
			b.add(l.name+".add", short)
		} else {
			b.add(l.name+".add", x.x)
		}
		b.relu(l.name)
	}
	b.global("average")
	w := b.uniform("fc", glorot, 256, 128, 256, 128)
	b.node("fc", "MatMul", nil, b.x, w)
	w.Name = "fc.weight"
	b.output("descriptor", size(128))
	return b.finish()
}

// faceBlocks are the residual blocks, from the input on.
var faceBlocks = []struct {
	name string
	n    int
	down bool
}{
	{"conv32_1", 32, false}, {"conv32_2", 32, false}, {"conv32_3", 32, false},
	{"conv64_down", 64, true}, {"conv64_1", 64, false}, {"conv64_2", 64, false}, {"conv64_3", 64, false},
	{"conv128_down", 128, true}, {"conv128_1", 128, false}, {"conv128_2", 128, false},
	{"conv256_down", 256, true}, {"conv256_1", 256, false}, {"conv256_2", 256, false},
	{"conv256_down_out", 256, true},
}

// affine is a convolution with bias and an affine layer: NAME.conv, NAME.scale.
func (b *builder) affine(name string, n int, w window) {
	b.convolve(name+".conv", n, w, he, true)
	b.node(name+".scale", "BatchNormalization", map[string]any{"epsilon": float32(0)}, b.x,
		b.fill(name+".scale.weight", n, 1), b.fill(name+".scale.bias", n, 0), b.stat(name+".scale.mean", n, 0), b.stat(name+".scale.var", n, 1))
}

// extend appends zeros: channels behind, pixels below and to the right.
func (b *builder) extend(name string, c, h, w int) {
	if c == 0 && h == 0 && w == 0 {
		return
	}
	b.node(name, "Pad", nil, b.x, b.g.NewConst(name+".pads", tensor.Ints(0, 0, 0, 0, 0, int64(c), int64(h), int64(w))))
	b.c, b.h, b.w = b.c+c, b.h+h, b.w+w
}
