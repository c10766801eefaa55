package train

import (
	"fmt"
	"slices"

	"whit/graph"
	"whit/op"
	"whit/tensor"
)

// NameSeed is the input that Response adds: one weight for each output of each sample.
const NameSeed = "response:seed"

// Response makes the graph that says how the model's first output answers to values
// inside. Beside the model's input it takes NameSeed [N,C]; its outputs are the values
// named show, and for each value named by the gradient of the sum of seed·output with respect to it, named
// name + ":response". Samples of a batch do not share anything. The model runs as in inference. shape is one
// sample's, batch the largest number of samples.
func Response(g *graph.Graph, shape []int, batch int, by, show []string) (*graph.Graph, error) {
	if len(g.Inputs) != 1 || len(g.Outputs) == 0 {
		return nil, fmt.Errorf("response: the model has %d inputs and %d outputs, want one input and logits", len(g.Inputs), len(g.Outputs))
	}
	c, _ := g.Clone()
	Demote(c)
	in, y := c.Inputs[0], c.Outputs[0]
	if in.Decl.Ranked && len(in.Decl.Dims) == len(shape)+1 {
		in.Decl.Dims[0].Size = -1
	}
	batch = max(2, batch)
	in.Type = tensor.Type{DType: tensor.Float32, Shape: append(tensor.Shape{batch}, shape...)}
	inferTypes(c)
	if !y.Bound() || len(y.Type.Shape) != 2 {
		return nil, fmt.Errorf("response: output %q is %v, want logits [N,C]", y.Name, y.Type)
	}
	seed := c.AddInput(NameSeed, tensor.Float32, -1, y.Type.Shape[1])
	seed.Type = tensor.Type{DType: tensor.Float32, Shape: y.Type.Shape}
	sum := c.Add("", "ReduceSum", map[string]any{"keepdims": int64(0)}, c.Add("", "Mul", nil, y, seed))
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
