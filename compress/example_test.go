package compress_test

import (
	"context"
	"fmt"
	"log"

	"whit/compress"
	"whit/graph"
	"whit/tensor"
)

func ExampleParseRecipe() {
	r, err := compress.ParseRecipe([]byte(`
recipe: 1
name: mine
steps:
  - {method: magnitude, sparsity: {"fc*": 0.9, conv1: 0.5}}
  - {method: codebook, bits: 5}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(compress.FormatRecipe(r, false))

	_, err = compress.ParseRecipe([]byte("recipe: 1\nsteps:\n  - {method: codebook, bits: 17}\n"))
	fmt.Println(err)
	// Output:
	// recipe: 1
	// name: mine
	// steps:
	//   - method: magnitude
	//     sparsity: {"fc*": 0.9, conv1: 0.5}
	//   - method: codebook
	//     bits: 5
	// invalid recipe: line 3: bits must be between 1 and 16, found 17
}

// corners are the points (1,0) and (0,1), ten of each: their classes, half of them in the group "night".
type corners struct{}

func (corners) Len() int            { return 20 }
func (corners) Shape() []int        { return []int{2} }
func (corners) Labels() []string    { return []string{"left", "right"} }
func (corners) Hash(i int) [32]byte { return [32]byte{byte(i)} }
func (corners) Name(i int) string   { return fmt.Sprint(i) }
func (corners) Group(i int) string  { return []string{"day", "night"}[i/10] }
func (corners) Read(_ context.Context, idx []int, x []float32, y []int32) error {
	for k, i := range idx {
		x[2*k], x[2*k+1] = float32((i+1)%2), float32(i%2)
		if i == 19 { // one that is hard to tell
			x[2*k] = 0.9
		}
		if y != nil {
			y[k] = int32(i % 2)
		}
	}
	return nil
}

// classifier decides by the larger coordinate, the first one times gain.
func classifier(gain float32) *graph.Graph {
	g := graph.New("classifier")
	x := g.AddInput("x", tensor.Float32, -1, 2)
	w := tensor.From([]float32{gain, 0, 0, 1}, 2, 2)
	g.Outputs = []*graph.Value{g.Add("", "MatMul", nil, x, g.NewConst("weight", w))}
	return g
}

func ExampleCompare() {
	c, err := compress.Compare(context.Background(), classifier(1), classifier(1.2), corners{}, "top1", nil, 1)
	if err != nil {
		log.Fatal(err)
	}
	m := c.Metric
	fmt.Printf("%d flipped, drop %.2f (%.2f to %.2f)\n", m.Changed, m.Drop.Value, m.Drop.Low, m.Drop.High)
	for _, p := range append(c.Classes, c.Groups...) {
		fmt.Printf("%s: %.2f to %.2f\n", p.Name, p.Before.Value, p.After.Value)
	}
	// Output:
	// 1 flipped, drop 0.05 (-0.12 to 0.24)
	// right: 1.00 to 0.90
	// left: 1.00 to 1.00
	// night: 1.00 to 0.90
	// day: 1.00 to 1.00
}
