package data_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"whit/data"
	"whit/tensor"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "whit")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "points.npz")
	f, err := os.Create(name)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = tensor.WriteNPZ(f, []tensor.Named{
		{Name: "x", T: tensor.From([]float32{1, 2, 3, 4, 5, 6}, 3, 2)},
		{Name: "y", T: tensor.Ints(0, 1, 0)},
	})
	f.Close()
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	s, err := data.Open(ctx, name, nil, []int{2}, data.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	x, y := make([]float32, 2), make([]int32, 1)
	if err := s.All.Read(ctx, []int{1}, x, y); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.All.Len(), x, y, s.All.Labels())
	// Output: 3 [3 4] [1] [0 1]
}
