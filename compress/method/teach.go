package method

import (
	"encoding/json"
	"errors"
	"slices"

	"whit/graph"
	"whit/train"
)

// Teach completes options that ask for teachers, or for a model to mimic: Teachers, or the float model where there are
// none, and the outputs of those layers that the float model has too.
func (s *State) Teach(o *train.Options) error {
	if o.Distill > 0 && o.Teachers == nil {
		if o.Teachers = s.Teachers; len(o.Teachers) == 0 {
			o.Teachers = []*graph.Graph{s.Float}
		}
	}
	if o.Mimic == nil || o.Mimic.Of != nil {
		return nil
	}
	m := &train.Mimic{Weight: o.Mimic.Weight, Of: s.Float}
	for _, l := range s.Layers {
		y := l.Node.Out[0]
		if s.Float.Find(y.Name) == nil || slices.Contains(s.Graph.Outputs, y) {
			continue
		}
		h := train.Hint{Value: y.Name, Channels: s.Left[l.Weight.Value.Name]}
		if h.Channels != nil {
			if h.Axis = 1; l.Node.Op == "MatMul" {
				h.Axis = -1
			}
		}
		m.Hints = append(m.Hints, h)
	}
	if m.Hints == nil {
		return errors.New("mimic: no layer but the last is the float model's")
	}
	o.Mimic = m
	return nil
}

// taught adds the options that decide a fit's result to a key, and the models that they aim at.
func taught(k *Key, o train.Options) (*Key, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	k = k.Add(string(text))
	for _, g := range o.Aims() {
		k = k.Graph(g)
	}
	return k, nil
}
