package train

import (
	"fmt"

	"whit/graph"
	"whit/tensor"
)

// Mimic makes values within the model come close to the same ones of another model
// (A. Romero, N. Ballas, S. E. Kahou, A. Chassang, C. Gatta, Y. Bengio: FitNets: hints for thin deep
// nets, 2015, section 2.2):
//
//	Σ_hints Σ(s - t)² / Σt² / number of hints
//
// It deviates from the paper in that all hints count throughout, next to the loss that there is, and not one
// in a stage before; in that errors are measured against the values themselves; and in that where the model has fewer channels, they are compared with those
// of the teacher's that they come from, and not through a layer that is trained for it.
type Mimic struct {
	Weight float64 `json:"weight"` // what the sum counts beside the loss
	Hints  []Hint  `json:"hints"`
	// Of is the model whose values are aimed at; it is not changed, and part of a checkpoint's identity.
	Of *graph.Graph `json:"-"`
}

// Hint names a value of both models.
type Hint struct {
	Value string `json:"value"`
	// Channels are the places along Axis of the other model's value that are compared with; nil: all.
	Channels []int `json:"channels,omitempty"`
	Axis     int   `json:"axis,omitempty"`
}

// mimicry appends the other model to c, reading in, and the loss.
func mimicry(c *graph.Graph, in *graph.Value, m *Mimic) (*graph.Value, error) {
	const prefix = "mimic:"
	if _, err := graft(c, m.Of, in, prefix); err != nil {
		return nil, err
	}
	byName := map[string]*graph.Value{}
	for _, v := range c.Values() {
		byName[v.Name] = v
	}
	square := func(x *graph.Value) *graph.Value { return c.Add("", "Mul", nil, x, x) }
	mean := func(x *graph.Value) *graph.Value {
		return c.Add("", "ReduceMean", map[string]any{"keepdims": int64(0)}, x)
	}
	number := func(x float64) *graph.Value { return c.NewConst("", tensor.Scalar(float32(x))) }
	var sum *graph.Value
	for _, h := range m.Hints {
		s, t := byName[h.Value], byName[prefix+h.Value]
		if s == nil || t == nil {
			return nil, fmt.Errorf("train: %q is to be mimicked and is not in both models", h.Value)
		}
		if h.Channels != nil {
			left := make([]int64, len(h.Channels))
			for i, k := range h.Channels {
				left[i] = int64(k)
			}
			t = c.Add("", "Gather", map[string]any{"axis": int64(h.Axis)}, t, c.NewConst("", tensor.Ints(left...)))
		}
		inferTypes(c)
		if !s.Bound() || !t.Bound() || !s.Type.Equal(t.Type) {
			return nil, fmt.Errorf("train: %q is to be mimicked and is %v in the model, %v in the other", h.Value, s.Type, t.Type)
		}
		// A teacher's value may be all zeros.
		off := c.Add("", "Div", nil, mean(square(c.Add("", "Sub", nil, s, t))), c.Add("", "Add", nil, mean(square(t)), number(1e-12)))
		if sum == nil {
			sum = off
		} else {
			sum = c.Add("", "Add", nil, sum, off)
		}
	}
	return c.Add("", "Mul", nil, sum, number(m.Weight/float64(len(m.Hints)))), nil
}
