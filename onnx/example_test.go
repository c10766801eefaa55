package onnx_test

import (
	"bytes"
	"errors"
	"fmt"

	"whit/graph"
	"whit/onnx"
	"whit/tensor"
)

func Example() {
	g := graph.New("tiny")
	y := g.Add("", "Relu", nil, g.AddInput("x", tensor.Float32, -1, 4))
	y.Name, y.Decl = "y", graph.Decl{DType: tensor.Float32, Ranked: true, Dims: []graph.Dim{{Size: -1, Name: "N"}, {Size: 4}}}
	g.Outputs = append(g.Outputs, y)
	var file bytes.Buffer
	if err := onnx.Write(&file, g); err != nil {
		fmt.Println(err)
		return
	}
	h, err := onnx.ReadBytes(file.Bytes(), onnx.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h.Inputs[0].Decl, h.Nodes[0].Op, h.Outputs[0].Decl)

	_, err = onnx.ReadBytes(file.Bytes()[:file.Len()/2], onnx.Options{})
	fmt.Println(errors.Is(err, onnx.ErrCorrupt))
	// Output:
	// float32[?,4] Relu float32[N,4]
	// true
}
