package train

import (
	"fmt"
	"slices"

	"whit/graph"
	"whit/op"
	"whit/tensor"
)

// NameSeed begins the names of the inputs that Response adds: a weight for each element of an output.
const NameSeed = "response:seed"

// SeedName is the name of the seed of output number i.
func SeedName(i int) string { return fmt.Sprintf("%s%d", NameSeed, i) }

// Response makes the graph that says how the model's outputs answer to values inside: the float32
// outputs whose numbers outs lists. Beside the model's input it takes SeedName(i) for each output i of outs, of
// the output's shape; its own outputs are, for each value named by, the gradient of the sum of seed·output with
// respect to it, named name + ":response", and the values named show. Samples of a batch do not
// share anything. The model runs as in inference. shape is one sample's, batch the largest number of samples.
func Response(g *graph.Graph, shape []int, batch int, outs []int, by, show []string) (*graph.Graph, error) {
	if len(g.Inputs) != 1 || len(g.Outputs) == 0 || len(outs) == 0 {
		return nil, fmt.Errorf("response: the model has %d inputs and %d outputs, want one input and outputs", len(g.Inputs), len(g.Outputs))
	}
	c, _ := g.Clone()
	Demote(c)
	in := c.Inputs[0]
	if in.Decl.Ranked && len(in.Decl.Dims) == len(shape)+1 {
		in.Decl.Dims[0].Size = -1
	}
	batch = max(2, batch)
	in.Type = tensor.Type{DType: tensor.Float32, Shape: append(tensor.Shape{batch}, shape...)}
	inferTypes(c)
	var sum *graph.Value
	for _, i := range outs {
		y := c.Outputs[i]
		if !y.Bound() || y.Type.DType != tensor.Float32 || len(y.Type.Shape) < 2 || y.Type.Shape[0] != batch {
			return nil, fmt.Errorf("response: output %q is %v, want float32[%d,...]", y.Name, y.Type, batch)
		}
		dims := slices.Clone(y.Type.Shape)
		dims[0] = -1
		seed := c.AddInput(SeedName(i), tensor.Float32, dims...)
		seed.Type = y.Type
		one := c.Add("", "ReduceSum", map[string]any{"keepdims": int64(0)}, c.Add("", "Mul", nil, y, seed))
		if sum == nil {
			sum = one
		} else {
			sum = c.Add("", "Add", nil, sum, one)
		}
	}
	inferTypes(c)
	find := func(names []string) (vs []*graph.Value, err error) {
		for _, name := range names {
			v := c.Find(name)
			if v == nil || v.Kind != graph.Computed && v.Kind != graph.Input {
				return nil, fmt.Errorf("response: the model computes no value %q", name)
			}
			vs = append(vs, v)
		}
		return vs, nil
	}
	wrt, err := find(by)
	if err != nil {
		return nil, err
	}
	shown, err := find(show)
	if err != nil {
		return nil, err
	}
	ds, err := Gradients(c, sum, wrt)
	if err != nil {
		return nil, fmt.Errorf("response: %w", err)
	}
	c.Outputs = nil
	for i, d := range ds {
		if d == nil {
			return nil, fmt.Errorf("response: the output does not depend on %q", by[i])
		}
		d = c.Add("", "Identity", nil, d)
		d.Name = by[i] + ":response"
		c.Outputs = append(c.Outputs, d)
	}
	for _, v := range shown {
		if v.Kind == graph.Computed && !slices.Contains(c.Outputs, v) {
			c.Outputs = append(c.Outputs, v)
		}
	}
	if err := c.Verify(); err != nil {
		return nil, err
	}
	return c, op.Check(c)
}
