package zoo

import (
	"fmt"
	"math"

	"whit/graph"
	"whit/tensor"
)

// The residual networks of K. He, X. Zhang, S. Ren, J. Sun: Deep residual learning
// for image recognition, 2015: table 1 with projections where the size changes
// (option B of section 3.3), and section 4.2 with shortcuts without parameters
// (option A), where a width multiplies all channels (S. Zagoruyko, N. Komodakis: Wide residual
// networks, 2016, whose blocks differ). Bottlenecks have their stride in the first convolution, as in the paper
// (section 4.1); later implementations move it to the second, which costs 4.1 GMACs.
var (
	resnet18 = Arch{
		Name: "resnet18", About: "ResNet-18: blocks of two convolutions 3x3, 2-2-2-2",
		Input: imagenetInput, Classes: 1000, Params: 11689512, MACs: 1814073344, Card: imagenetCard(imagenetInput), card: imagenetCard,
		build: func(b *builder, a Arch) *graph.Value { return resnet(b, a, false, 2, 2, 2, 2) },
	}
	resnet50 = Arch{
		Name: "resnet50", About: "ResNet-50: bottlenecks of 1x1, 3x3, 1x1, 3-4-6-3",
		Input: imagenetInput, Classes: 1000, Params: 25557032, MACs: 3857973248, Card: imagenetCard(imagenetInput), card: imagenetCard,
		build: func(b *builder, a Arch) *graph.Value { return resnet(b, a, true, 3, 4, 6, 3) },
	}
	resnet20 = Arch{
		Name: "resnet20", About: "ResNet-20 for small pictures: blocks of two convolutions 3x3, 16-32-64, shortcuts without parameters",
		Input: cifarInput, Classes: 10, Width: 1, Params: 269722, MACs: 40551040, Card: cifarCard(cifarInput), card: cifarCard,
		build: func(b *builder, a Arch) *graph.Value {
			narrow := max(1, int(16*a.Width))
			b.convBN("conv1", narrow, window{k: 3, stride: 1, pad: 1}, he)
			b.relu("relu1")
			for stage := range 3 {
				n := narrow << stage
				for i := range 3 {
					stride := 1
					if i == 0 && stage > 0 {
						stride = 2
					}
					b.residual(fmt.Sprintf("stage%d.%d", stage+1, i+1), n, stride, false)
				}
			}
			b.global("pool")
			b.fc("fc", a.Classes, glorot)
			return b.x
		},
	}
)

func resnet(b *builder, a Arch, bottleneck bool, stages ...int) *graph.Value {
	b.convBN("conv1", 64, window{k: 7, stride: 2, pad: 3}, he)
	b.relu("relu1")
	b.pool("pool1", "MaxPool", window{k: 3, stride: 2, pad: 1})
	for stage, blocks := range stages {
		n := 64 << stage
		for i := range blocks {
			name, stride := fmt.Sprintf("stage%d.%d", stage+1, i+1), 1
			if i == 0 && stage > 0 {
				stride = 2
			}
			if bottleneck {
				b.bottleneck(name, n, stride)
			} else {
				b.residual(name, n, stride, true)
			}
		}
	}
	b.global("pool")
	b.fc("fc", a.Classes, glorot)
	return b.x
}

// residual is relu(x + conv(relu(conv(x)))) with n channels.
func (b *builder) residual(name string, n, stride int, project bool) {
	in := *b
	b.convBN(name+".a", n, window{k: 3, stride: stride, pad: 1}, he)
	b.relu(name + ".a.relu")
	b.convBN(name+".b", n, window{k: 3, stride: 1, pad: 1}, glorot)
	b.join(name, &in, stride, project)
}

// bottleneck is a residual of 1x1 to n, 3x3, 1x1 to 4n channels.
func (b *builder) bottleneck(name string, n, stride int) {
	in := *b
	b.convBN(name+".a", n, window{k: 1, stride: stride}, he)
	b.relu(name + ".a.relu")
	b.convBN(name+".b", n, window{k: 3, stride: 1, pad: 1}, he)
	b.relu(name + ".b.relu")
	b.convBN(name+".c", 4*n, window{k: 1, stride: 1}, glorot)
	b.join(name, &in, stride, true)
}

// join adds the shortcut from in to the value so far: as it is, through a 1x1
// convolution, or (option A) every stride-th pixel with channels of zeros behind.
func (b *builder) join(name string, in *builder, stride int, project bool) {
	y, c, h, w := b.x, b.c, b.h, b.w
	b.x, b.c, b.h, b.w = in.x, in.c, in.h, in.w
	switch {
	case stride == 1 && in.c == c:
	case project:
		b.convBN(name+".shortcut", c, window{k: 1, stride: stride}, glorot)
	default:
		at := func(suffix string, v ...int64) *graph.Value { return b.g.NewConst(name+suffix, tensor.Ints(v...)) }
		b.node(name+".every", "Slice", nil, b.x, at(".starts", 0, 0), at(".ends", math.MaxInt64, math.MaxInt64), at(".axes", 2, 3), at(".steps", int64(stride), int64(stride)))
		b.node(name+".widen", "Pad", nil, b.x, at(".pads", 0, 0, 0, 0, 0, int64(c-in.c), 0, 0))
	}
	short := b.x
	b.x, b.c, b.h, b.w = y, c, h, w
	b.add(name+".add", short)
	b.relu(name)
}
