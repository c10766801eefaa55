package zoo

import (
	"fmt"

	"whit/graph"
	"whit/tensor"
)

// shufflenet1 is ShuffleNet with three groups (X. Zhang, X. Zhou, M. Lin, J. Sun:
// ShuffleNet: an extremely efficient convolutional neural network for mobile devices,
// 2017, table 1 and figure 2). The first pointwise convolution of all has one group, as
// the paper says.
var shufflenet1 = Arch{
	Name: "shufflenet1", About: "ShuffleNet 1x, 3 groups: 240-480-960, pointwise group convolutions and channel shuffles",
	Input: imagenetInput, Classes: 1000, Width: 1, Params: 1865728, MACs: 137460672, Card: imagenetCard(imagenetInput), card: imagenetCard,
	build: func(b *builder, a Arch) *graph.Value {
		const groups = 3
		n := func(c int) int { return max(1, int(float64(c)*a.Width/(4*groups))) * 4 * groups }
		b.convBN("conv1", max(1, int(24*a.Width)), window{k: 3, stride: 2, pad: 1}, he)
		b.relu("conv1.relu")
		b.pool("pool1", "MaxPool", window{k: 3, stride: 2, pad: 1})
		for stage, units := range []int{4, 8, 4} {
			out := n(240 << stage)
			for i := range units {
				name, x := fmt.Sprintf("stage%d.%d", stage+2, i+1), *b
				last, stride, first := out, 1, groups
				if i == 0 {
					last, stride = out-b.c, 2
					if stage == 0 {
						first = 1
					}
				}
				b.convBN(name+".a", out/4, window{k: 1, stride: 1, group: first}, he)
				b.relu(name + ".a.relu")
				b.shuffle(name+".shuffle", groups)
				b.convBN(name+".dw", out/4, window{k: 3, stride: stride, pad: 1, group: out / 4}, he)
				b.convBN(name+".b", last, window{k: 1, stride: 1, group: groups}, glorot)
				if stride == 1 {
					b.add(name+".add", x.x)
				} else {
					y := b.x
					b.x, b.c, b.h, b.w = x.x, x.c, x.h, x.w
					b.pool(name+".pool", "AveragePool", window{k: 3, stride: 2, pad: 1})
					short := b.x
					b.x, b.c = y, last
					b.concat(name+".join", short, x.c)
				}
				b.relu(name)
			}
		}
		b.global("pool")
		b.fc("fc", a.Classes, glorot)
		return b.x
	},
}

// shufflenet2 is ShuffleNet V2 (N. Ma, X. Zhang, H.-T. Zheng, J. Sun: ShuffleNet V2:
// practical guidelines for efficient CNN architecture design, 2018, table 5 and
// figure 3). Widths 0.5, 1, 1.5 and 2 are the paper's; others are in proportion to 1.
var shufflenet2 = Arch{
	Name: "shufflenet2", About: "ShuffleNet V2 1x: 116-232-464, channel split and shuffle",
	Input: imagenetInput, Classes: 1000, Width: 1, Params: 2278604, MACs: 144907992, Card: imagenetCard(imagenetInput), card: imagenetCard,
	build: func(b *builder, a Arch) *graph.Value {
		c, last := 0, 1024
		switch a.Width {
		case 0.5:
			c = 48
		case 1.5:
			c = 176
		case 2:
			c, last = 244, 2048
		default:
			c = 2 * max(1, int(58*a.Width+0.5))
		}
		one, down := window{k: 1, stride: 1}, window{k: 3, stride: 2, pad: 1}
		b.convBN("conv1", 24, down, he)
		b.relu("conv1.relu")
		b.pool("pool1", "MaxPool", down)
		for stage, units := range []int{4, 8, 4} {
			out := c << stage
			half := out / 2
			for i := range units {
				name := fmt.Sprintf("stage%d.%d", stage+2, i+1)
				var left *graph.Value
				dw := window{k: 3, stride: 1, pad: 1, group: half}
				if i == 0 {
					x := *b
					b.convBN(name+".short.dw", b.c, window{k: 3, stride: 2, pad: 1, group: b.c}, glorot)
					b.convBN(name+".short.pw", half, one, he)
					b.relu(name + ".short.relu")
					left, dw.stride = b.x, 2
					b.x, b.c, b.h, b.w = x.x, x.c, x.h, x.w
				} else {
					halves := b.g.AddN("", "Split", map[string]any{"axis": int64(1)}, 2, b.x, b.g.NewConst(name+".halves", tensor.Ints(int64(half), int64(half))))
					halves[0].Producer.Name = name + ".split"
					halves[0].Name, halves[1].Name = name+".left", name+".right"
					left, b.x, b.c = halves[0], halves[1], half
				}
				b.convBN(name+".a", half, one, he)
				b.relu(name + ".a.relu")
				b.convBN(name+".dw", half, dw, glorot)
				b.convBN(name+".b", half, one, he)
				b.relu(name + ".b.relu")
				b.concat(name+".join", left, half)
				b.shuffle(name, 2)
			}
		}
		b.convBN("conv5", last, one, he)
		b.relu("conv5.relu")
		b.global("pool")
		b.fc("fc", a.Classes, glorot)
		return b.x
	},
}
