package method

import (
	"encoding/json"
	"errors"
	"slices"

	"whit/graph"
	"whit/train"
)

// Teach completes options that ask for teachers, or for a model to mimic: Teachers, or the float model where there are
// none, and what layers compute (hint) as far as the float model has it too.
func (s *State) Teach(o *train.Options) error {
	if o.Distill > 0 && o.Teachers == nil {
		if o.Teachers = s.Teachers; len(o.Teachers) == 0 {
			o.Teachers = []*graph.Graph{s.Float}
		}
		if s.Reference != nil {
			o.Soft = &s.Reference.soft
		}
	}
	if o.Mimic == nil || o.Mimic.Of != nil {
		return nil
	}
	m := &train.Mimic{Weight: o.Mimic.Weight, Of: s.Float}
	uses := s.Graph.Uses()
	for _, l := range s.Layers {
		y := s.hint(l, uses)
		if y == nil {
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

// passedOn are what may stand between a layer's output and the value that tells what it computes.
var passedOn = []string{"BatchNormalization", "Relu", "LeakyRelu", "PRelu", "Clip"}

// hint is the value that tells what a layer computes, the last that the float model has too: its output, or what a normalisation and an activation make of it
// that alone read it. nil: none.
func (s *State) hint(l *Layer, uses map[*graph.Value][]graph.Use) (last *graph.Value) {
	for y := l.Node.Out[0]; !slices.Contains(s.Graph.Outputs, y); {
		if s.Float.Find(y.Name) != nil {
			last = y
		}
		u := uses[y]
		if len(u) != 1 || u[0].Index != 0 || u[0].Node.Domain != "" || !slices.Contains(passedOn, u[0].Node.Op) {
			break
		}
		y = u[0].Node.Out[0]
	}
	return last
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
