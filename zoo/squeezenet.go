package zoo

import (
	"fmt"
	"slices"

	"whit/graph"
)

// squeezenet10 is SqueezeNet (F. N. Iandola, S. Han, M. W. Moskewicz, K. Ashraf,
// W. J. Dally, K. Keutzer: SqueezeNet: AlexNet-level accuracy with 50x fewer
// parameters and <0.5MB model size, 2016, table 1). The last window of a pool may
// hang over the border, as in the authors' Caffe model.
var squeezenet10 = Arch{
	Name: "squeezenet1.0", About: "SqueezeNet: conv 7x7x96, eight fire modules, conv 1x1, global pool",
	Input: imagenetInput, Classes: 1000, Params: 1248424, MACs: 818924576, Card: imagenetCard(imagenetInput), card: imagenetCard,
	build: func(b *builder, a Arch) *graph.Value {
		return squeezenet(b, a, 96, 7, "fire4", "fire8")
	},
}

// squeezenet11 is version 1.1 of the authors' repository: a smaller first
// convolution and earlier pools, 2.4 times less computation.
var squeezenet11 = Arch{
	Name: "squeezenet1.1", About: "SqueezeNet 1.1: conv 3x3x64, eight fire modules, conv 1x1, global pool",
	Input: imagenetInput, Classes: 1000, Params: 1235496, MACs: 349151936, Card: imagenetCard(imagenetInput), card: imagenetCard,
	build: func(b *builder, a Arch) *graph.Value {
		return squeezenet(b, a, 64, 3, "fire3", "fire5")
	},
}

// squeezenet pools after the first convolution, k x k, and after the named modules.
func squeezenet(b *builder, a Arch, first, k int, pools ...string) *graph.Value {
	pool := window{k: 3, stride: 2, ceil: true}
	b.convolve("conv1", first, window{k: k, stride: 2}, he, true)
	b.relu("relu1")
	b.pool("pool1", "MaxPool", pool)
	for i := 2; i <= 9; i++ {
		name, squeeze := fmt.Sprint("fire", i), 16*(i/2)
		expand := 4 * squeeze
		b.conv(name+".squeeze", squeeze, 1, he)
		b.relu(name + ".squeeze.relu")
		x := b.x
		b.conv(name+".expand1x1", expand, 1, he)
		b.relu(name + ".expand1x1.relu")
		y := b.x
		b.x, b.c = x, squeeze
		b.convolve(name+".expand3x3", expand, window{k: 3, stride: 1, pad: 1}, he, true)
		b.relu(name + ".expand3x3.relu")
		b.concat(name, y, expand)
		if slices.Contains(pools, name) {
			b.pool(name+".pool", "MaxPool", pool)
		}
	}
	b.dropout("dropout", 0.5)
	b.conv("conv10", a.Classes, 1, he)
	b.relu("relu10")
	b.global("pool10")
	return b.x
}
