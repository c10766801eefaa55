package zoo

import (
	"fmt"
	"math"
)

// imagenetCard is the card of networks trained on ImageNet as the papers' test
// crops are made: the shorter side to 256, the centre 224, mean and deviation of the
// training set. Other inputs keep the proportion.
func imagenetCard(in []int) string {
	side := in[1]
	color, mean, std := "rgb", "[0.485, 0.456, 0.406]", "[0.229, 0.224, 0.225]"
	if in[0] == 1 {
		color, mean, std = "gray", "[0.449]", "[0.226]" // the means of the above
	}
	resize := fmt.Sprintf("resize: {mode: shorter, size: %d, filter: pil-bilinear}, crop: %d", int(math.Round(float64(side)*256/224)), side)
	if in[1] != in[2] {
		resize = fmt.Sprintf("resize: {mode: stretch, size: [%d, %d], filter: pil-bilinear}", in[1], in[2])
	}
	return fmt.Sprintf(`card: 1
task: classify
input: {name: input, color: %s, orient: ignore,
  %s,
  scale: 0.00392156862745098, mean: %s, std: %s}
output: {name: logits, activation: none}
`, color, resize, mean, std)
}

// cifarCard is the card of networks for small pictures, with mean and deviation of
// CIFAR-10's training set.
func cifarCard(in []int) string {
	color, mean, std := "rgb", "[0.4914, 0.4822, 0.4465]", "[0.2470, 0.2435, 0.2616]"
	if in[0] == 1 {
		color, mean, std = "gray", "[0.4734]", "[0.2507]" // the means of the above
	}
	return fmt.Sprintf(`card: 1
task: classify
input: {name: input, color: %s, orient: ignore,
  resize: {mode: stretch, size: [%d, %d], filter: pil-bilinear},
  scale: 0.00392156862745098, mean: %s, std: %s}
output: {name: logits, activation: none}
`, color, in[1], in[2], mean, std)
}

// imagenetInput and cifarInput are the usual inputs.
var imagenetInput, cifarInput = []int{3, 224, 224}, []int{3, 32, 32}
