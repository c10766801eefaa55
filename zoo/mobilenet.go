package zoo

import (
	"fmt"

	"whit/graph"
)

// mobilenet1 is MobileNet (A. G. Howard, M. Zhu, B. Chen, D. Kalenichenko, W. Wang,
// T. Weyand, M. Andreetto, H. Adam: MobileNets: efficient convolutional neural
// networks for mobile vision applications, 2017, table 1). The last depthwise
// convolution has stride 1: the 7x7 map that the table gives after it says so.
var mobilenet1 = Arch{
	Name: "mobilenet1", About: "MobileNet: thirteen depthwise separable convolutions",
	Input: imagenetInput, Classes: 1000, Width: 1, Params: 4231976, MACs: 568740352, Card: imagenetCard(imagenetInput), card: imagenetCard,
	build: func(b *builder, a Arch) *graph.Value {
		n := func(c int) int { return max(8, int(float64(c)*a.Width)) }
		b.convBN("conv1", n(32), window{k: 3, stride: 2, pad: 1}, he)
		b.relu("conv1.relu")
		for i, l := range []struct{ out, stride int }{
			{64, 1}, {128, 2}, {128, 1}, {256, 2}, {256, 1}, {512, 2}, {512, 1}, {512, 1}, {512, 1}, {512, 1}, {512, 1}, {1024, 2}, {1024, 1},
		} {
			name := fmt.Sprint("conv", i+2)
			b.convBN(name+".dw", b.c, window{k: 3, stride: l.stride, pad: 1, group: b.c}, he)
			b.relu(name + ".dw.relu")
			b.convBN(name+".pw", n(l.out), window{k: 1, stride: 1}, he)
			b.relu(name + ".pw.relu")
		}
		b.global("pool")
		b.fc("fc", a.Classes, glorot)
		return b.x
	},
}

// mobilenet2 is MobileNetV2 (M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen:
// MobileNetV2: inverted residuals and linear bottlenecks, 2018, table 2). Channels of
// other widths are multiples of 8, within 10% of the product, as in the authors'
// implementation, and the last layer never gets narrower (section 6.1).
var mobilenet2 = Arch{
	Name: "mobilenet2", About: "MobileNetV2: seventeen inverted residuals",
	Input: imagenetInput, Classes: 1000, Width: 1, Params: 3504872, MACs: 300774272, Card: imagenetCard(imagenetInput), card: imagenetCard,
	build: func(b *builder, a Arch) *graph.Value {
		b.convBN("conv1", eights(32*a.Width), window{k: 3, stride: 2, pad: 1}, he)
		b.relu6("conv1.relu")
		block := 0
		for _, l := range []struct{ t, c, n, s int }{
			{1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1},
		} {
			for i := range l.n {
				block++
				name, x, in := fmt.Sprint("block", block), b.x, b.c
				out, stride := eights(float64(l.c)*a.Width), 1
				if i == 0 {
					stride = l.s
				}
				if l.t > 1 {
					b.convBN(name+".expand", in*l.t, window{k: 1, stride: 1}, he)
					b.relu6(name + ".expand.relu")
				}
				b.convBN(name+".dw", b.c, window{k: 3, stride: stride, pad: 1, group: b.c}, he)
				b.relu6(name + ".dw.relu")
				b.convBN(name+".project", out, window{k: 1, stride: 1}, glorot)
				if stride == 1 && in == out {
					b.add(name, x)
				}
			}
		}
		b.convBN("conv2", eights(1280*max(1, a.Width)), window{k: 1, stride: 1}, he)
		b.relu6("conv2.relu")
		b.global("pool")
		b.dropout("dropout", 0.2)
		b.fc("fc", a.Classes, glorot)
		return b.x
	},
}

// eights is x to the nearest multiple of 8, but no less than nine tenths of it.
func eights(x float64) int {
	n := max(8, int(x+4)/8*8)
	if float64(n) < 0.9*x {
		n += 8
	}
	return n
}
