package train

import (
	"fmt"

	"whit/graph"
	"whit/tensor"
)

// distillation is the loss against the teachers (G. Hinton, O. Vinyals, J. Dean:
// Distilling the knowledge in a neural network, 2015, section 2):
//
//	T² · Σ_i -Σ_c q_ic·log p_ic / N      p = softmax(logits / T)
//
// with q the mean of the teachers' softmax(logits / T). The teachers run on the batch
// itself, augmented as it is, within the same graph. It deviates from the paper in that several
// teachers' softened decisions are averaged arithmetically, as section 5 leaves open.
func distillation(c *graph.Graph, in, logits, labels *graph.Value, o *Options) (*graph.Value, error) {
	number := func(x float64) *graph.Value { return c.NewConst("", tensor.Scalar(float32(x))) }
	cool := number(1 / o.Temperature)
	var soft *graph.Value
	for i, t := range o.Teachers {
		y, err := graft(c, t, in, fmt.Sprintf("teacher%d:", i))
		if err != nil {
			return nil, err
		}
		q := c.Add("", "Softmax", map[string]any{"axis": int64(1)}, c.Add("", "Mul", nil, y, cool))
		if soft == nil {
			soft = q
		} else {
			soft = c.Add("", "Add", nil, soft, q)
		}
	}
	if n := len(o.Teachers); n > 1 {
		soft = c.Add("", "Mul", nil, soft, number(1/float64(n)))
	}
	loss := c.AddN(graph.Domain, "SoftmaxXent", map[string]any{"alpha": float32(1)}, 2, c.Add("", "Mul", nil, logits, cool), labels, soft)[0]
	return c.Add("", "Mul", nil, loss, number(float64(o.Temperature*o.Temperature))), nil
}

// graft appends the nodes of the model t, as constants, to c, reading in; it returns the first output.
func graft(c, t *graph.Graph, in *graph.Value, prefix string) (*graph.Value, error) {
	if len(t.Inputs) != 1 || len(t.Outputs) == 0 {
		return nil, fmt.Errorf("train: a teacher has %d inputs and %d outputs, want one input and logits", len(t.Inputs), len(t.Outputs))
	}
	k, _ := t.Clone()
	Demote(k)
	out := k.Outputs[0]
	if out == k.Inputs[0] {
		return nil, fmt.Errorf("train: a teacher computes nothing")
	}
	k.Replace(k.Inputs[0], in)
	for _, v := range k.Values() {
		if v != in {
			v.Name = prefix + v.Name
		}
	}
	for _, n := range k.Nodes {
		n.Name = prefix + n.Name
	}
	c.Nodes = append(c.Nodes, k.Nodes...)
	return out, nil
}
