// Command digits is a digit reader in one file: the model is inside the binary.
//
//	CGO_ENABLED=0 go build -o digits . && ./digits digit.png
package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"image"
	_ "image/png"
	"log"
	"os"

	"whit"
	"whit/tensor"
)

//go:embed digits.whit
var model []byte

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: digits PICTURE.png")
	}
	f, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	img, _, err := image.Decode(f)
	if err != nil {
		log.Fatal(err)
	}
	m, err := whit.Read(bytes.NewReader(model), int64(len(model)), whit.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	x := tensor.New(tensor.Float32, 1, 1, 28, 28)
	if err := m.Preprocess(x, img); err != nil {
		log.Fatal(err)
	}
	out, err := m.Run(context.Background(), whit.Tensors{"input": x})
	if err != nil {
		log.Fatal(err)
	}
	logits, best := tensor.Of[float32](out["logits"]), 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	fmt.Println(m.Card().Labels[best])
}
