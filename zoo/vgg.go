package zoo

import (
	"fmt"

	"whit/graph"
)

// vgg16 is configuration D of K. Simonyan, A. Zisserman: Very deep convolutional
// networks for large-scale image recognition, 2015, table 1.
var vgg16 = Arch{
	Name: "vgg16", About: "VGG-16 (configuration D): thirteen convolutions 3x3, fc 4096, 4096",
	Input: imagenetInput, Classes: 1000, Params: 138357544, MACs: 15470264320, Card: imagenetCard(imagenetInput), card: imagenetCard,
	build: func(b *builder, a Arch) *graph.Value {
		b.stack([]int{64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0}, false)
		b.flatten("flatten")
		for i := 1; i <= 2; i++ {
			b.fc(fmt.Sprint("fc", i), 4096, he)
			b.relu(fmt.Sprint("fc", i, ".relu"))
			b.dropout(fmt.Sprint("fc", i, ".dropout"), 0.5)
		}
		b.fc("fc3", a.Classes, glorot)
		return b.x
	},
}

// vggS is a network of VGG's blocks for small pictures: two convolutions of 32, 64 and
// 128 channels, a global pool instead of the wide fully connected layers (M. Lin,
// Q. Chen, S. Yan: Network in network, 2014, section 3.2), and BatchNormalization after
// each convolution, as in the variants of VGG that followed it. The width multiplies all
// channels.
var vggS = Arch{
	Name: "vgg-s", About: "VGG for small pictures: convolutions 3x3 of 32-32-M-64-64-M-128-128, global pool, fc",
	Input: cifarInput, Classes: 10, Width: 1, Params: 288746, MACs: 38634752, Card: cifarCard(cifarInput), card: cifarCard,
	build: func(b *builder, a Arch) *graph.Value {
		widths := []int{32, 32, 0, 64, 64, 0, 128, 128}
		for i, n := range widths {
			if n > 0 {
				widths[i] = max(1, int(float64(n)*a.Width))
			}
		}
		b.stack(widths, true)
		b.global("pool")
		b.fc("fc", a.Classes, glorot)
		return b.x
	},
}

// stack appends 3x3 convolutions with ReLU of those widths, with a bias or with
// BatchNormalization; 0 is a 2x2 pool.
func (b *builder) stack(widths []int, norm bool) {
	conv, pool := 0, 0
	for _, n := range widths {
		if n == 0 {
			pool++
			b.maxpool(fmt.Sprint("pool", pool), 2)
			continue
		}
		conv++
		if name, w := fmt.Sprint("conv", conv), (window{k: 3, stride: 1, pad: 1}); norm {
			b.convBN(name, n, w, he)
		} else {
			b.convolve(name, n, w, he, true)
		}
		b.relu(fmt.Sprint("relu", conv))
	}
}
