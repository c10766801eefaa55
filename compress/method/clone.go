package method

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Clone is a copy of the state: changes of one are not seen by the other. Data
// are shared, since methods replace and never write them.
func (s *State) Clone() *State {
	if s.Reference == nil {
		s.Reference = &Reference{} // one for all copies
	}
	c := *s
	g, m := s.Graph.Clone()
	c.Graph = g
	c.Layers = make([]*Layer, len(s.Layers))
	for i, l := range s.Layers {
		k := *l
		for j, n := range s.Graph.Nodes {
			if n == l.Node {
				k.Node = g.Nodes[j]
			}
		}
		k.Weight.Value = m[l.Weight.Value]
		if l.Bias != nil {
			b := *l.Bias
			b.Value = m[b.Value]
			k.Bias = &b
		}
		c.Layers[i] = &k
	}
	c.Stages, c.Curves, c.Chosen, c.Refused = slices.Clone(s.Stages), slices.Clone(s.Curves), slices.Clone(s.Chosen), slices.Clone(s.Refused)
	c.Left = maps.Clone(s.Left)
	return &c
}

// Step applies one step of a recipe.
func (s *State) Step(ctx context.Context, st Step, methods []*Method) error {
	m := Find(methods, st.Method)
	if m == nil {
		return fmt.Errorf("unknown method %q", st.Method)
	}
	a, err := m.Args(st.Set)
	if err != nil {
		return err
	}
	return m.Apply(ctx, s, a)
}
