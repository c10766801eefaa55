package tensor_test

import (
	"bytes"
	"fmt"

	"whit/tensor"
)

func Example() {
	x := tensor.From([]float32{1, 2, 3, 4, 5, 6}, 2, 3)
	row := tensor.Of[float32](x)[3:] // the only typed access: a view, not a copy
	fmt.Println(x.Type, x.Len(), "elements,", len(x.Bytes()), "bytes, second row", row)

	var b bytes.Buffer
	if err := tensor.WriteNPY(&b, x); err != nil {
		fmt.Println(err)
		return
	}
	y, err := tensor.ReadNPY(&b)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(y.Type, tensor.Of[float32](y))
	// Output:
	// float32[2,3] 6 elements, 24 bytes, second row [4 5 6]
	// float32[2,3] [1 2 3 4 5 6]
}
