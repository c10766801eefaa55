package zoo

import "whit/graph"

// mnistCard is the card of networks trained on MNIST as package data gives it:
// white digits on black, x = (pixel/255 - 0.1307)/0.3081.
const mnistCard = `card: 1
task: classify
input: {name: input, color: gray, orient: ignore,
  resize: {mode: stretch, size: 28, filter: pil-bilinear},
  scale: 0.00392156862745098, mean: [0.1307], std: [0.3081]}
output: {name: logits, activation: none}
labels: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
licence: CC-BY-SA-3.0
`

// lenet300 is LeNet-300-100 (Y. LeCun, L. Bottou, Y. Bengio, P. Haffner:
// Gradient-based learning applied to document recognition, 1998, section III.C.3),
// with ReLU as in S. Han, H. Mao, W. J. Dally: Deep Compression, 2016.
var lenet300 = Arch{
	Name: "lenet300", About: "LeNet-300-100: 784-300-100-10, fully connected, ReLU",
	Input: []int{1, 28, 28}, Classes: 10, Params: 266610, MACs: 266200, Card: mnistCard,
	build: func(b *builder, a Arch) *graph.Value {
		b.flatten("flatten")
		b.fc("fc1", 300, he)
		b.relu("relu1")
		b.fc("fc2", 100, he)
		b.relu("relu2")
		b.fc("fc3", a.Classes, glorot)
		return b.x
	},
}

// lenet5 is LeNet-5 as Caffe's examples/mnist/lenet.prototxt draws it (Y. Jia and
// others: Caffe, 2014): no nonlinearity but pooling between the convolutions.
var lenet5 = Arch{
	Name: "lenet5", About: "LeNet-5 as in Caffe: conv 5x5x20, pool, conv 5x5x50, pool, fc 500, fc 10",
	Input: []int{1, 28, 28}, Classes: 10, Params: 431080, MACs: 2293000, Card: mnistCard,
	build: func(b *builder, a Arch) *graph.Value {
		b.conv("conv1", 20, 5, glorot)
		b.maxpool("pool1", 2)
		b.conv("conv2", 50, 5, glorot)
		b.maxpool("pool2", 2)
		b.flatten("flatten")
		b.fc("fc1", 500, he)
		b.relu("relu1")
		b.fc("fc2", a.Classes, glorot)
		return b.x
	},
}
