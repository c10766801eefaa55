package recipes_test

import (
	"fmt"

	"whit/compress"
	"whit/recipes"
)

func Example() {
	for _, name := range recipes.Names() {
		src, err := recipes.Read(name)
		if err != nil {
			fmt.Println(err)
			return
		}
		r, err := compress.ParseRecipe(src)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(r.Name, len(r.Steps), "steps")
	}
	// Output:
	// deep-compression-lenet300 3 steps
	// deep-compression-lenet5 3 steps
	// record-lenet300 4 steps
	// record-lenet300-quick 3 steps
	// record-lenet300-small 4 steps
	// record-lenet5 5 steps
	// record-lenet5-quick 5 steps
	// record-resnet20 5 steps
	// record-vgg-s 4 steps
	// record-vgg-s-quick 4 steps
}
