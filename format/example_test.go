package format_test

import (
	"bytes"
	"errors"
	"fmt"

	"whit/format"
	"whit/graph"
	"whit/tensor"
)

func Example() {
	g := graph.New("tiny")
	x := g.AddInput("x", tensor.Float32, -1, 4)
	y := g.Add("", "MatMul", nil, x, g.NewConst("w", tensor.New(tensor.Float32, 4, 100)))
	y.Name = "y"
	g.Outputs = append(g.Outputs, y)

	var file bytes.Buffer
	if _, err := format.Write(&file, &format.File{Graph: g}, format.Options{}); err != nil {
		fmt.Println(err)
		return
	}
	f, err := format.Read(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f.Graph.Nodes[0].Op, f.Graph.Find("w").Type, "in fewer than 200 bytes:", file.Len() < 200)

	file.Bytes()[file.Len()/2] ^= 1 // damage is noticed
	_, err = format.Read(bytes.NewReader(file.Bytes()), int64(file.Len()))
	fmt.Println(errors.Is(err, format.ErrCorrupt))
	// Output:
	// MatMul float32[4,100] in fewer than 200 bytes: true
	// true
}
