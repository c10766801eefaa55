package card_test

import (
	"fmt"
	"image"

	"whit/card"
	"whit/tensor"
)

func Example() {
	c, err := card.Parse([]byte(`card: 1
input: {color: rgb, resize: {mode: stretch, filter: pil-bilinear}, scale: 0.00392156862745098, mean: 0.5, std: 0.5}
`), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	x := tensor.New(tensor.Float32, 1, 3, 2, 2)
	if err := c.Preprocess(x, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tensor.Of[float32](x)[0])

	err = card.Card{}.Preprocess(x, image.NewGray(image.Rect(0, 0, 8, 8)))
	fmt.Println(err)
	// Output:
	// -1
	// missing in the model card: input.color, input.scale, input.mean, input.std
}
