package graph

import (
	"errors"
	"fmt"

	"whit/tensor"
)

// MaxDepth is how deep subgraphs may nest.
const MaxDepth = 8

// ErrInvalid is the root of everything that Verify reports.
var ErrInvalid = errors.New("invalid graph")

// Verify checks the structure: every value that is read is an input, a constant,
// a variable or the output of an earlier node (so that the graph is acyclic),
// names are unique, producers are right, constants hold data of their type,
// attributes have known types, subgraphs are valid in turn and take their
// captures explicitly. Operators' own rules are not looked at.
func (g *Graph) Verify() error { return g.verify(make(map[string]bool, g.size()), 0) }

func (g *Graph) verify(names map[string]bool, depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("%w: subgraphs nest deeper than %d", ErrInvalid, MaxDepth)
	}
	ready := make(map[*Value]bool, g.size())
	// n is the node that defines or reads a value, nil: what says who.
	define := func(v *Value, n *Node, what string) error {
		if v.Name == "" {
			if n != nil {
				what = n.title() + ": " + what
			}
			return fmt.Errorf("%w: %s without a name", ErrInvalid, what)
		}
		if names[v.Name] {
			return fmt.Errorf("%w: name %q is defined twice", ErrInvalid, v.Name)
		}
		names[v.Name], ready[v] = true, true
		return nil
	}
	for _, v := range g.Inputs {
		if v == nil || v.Kind != Input || v.Producer != nil {
			return fmt.Errorf("%w: graph input is not of kind input", ErrInvalid)
		}
		if err := define(v, nil, "graph input"); err != nil {
			return err
		}
	}
	read := func(v *Value, n *Node) error {
		if ready[v] {
			return nil
		}
		switch v.Kind {
		case Const, Param, State:
			if v.Producer != nil {
				return fmt.Errorf("%w: %s %q has a producer", ErrInvalid, v.Kind, v.Name)
			}
			if v.Data == nil && v.Weight == nil {
				return fmt.Errorf("%w: %s %q has no data", ErrInvalid, v.Kind, v.Name)
			}
			if v.Weight != nil && v.Kind != Const {
				return fmt.Errorf("%w: %s %q is held as %s", ErrInvalid, v.Kind, v.Name, v.Weight.Kind())
			}
			var t tensor.Type
			if v.Data != nil {
				t = v.Data.Type
			} else {
				t = v.Weight.Type()
			}
			if !t.Equal(v.Type) {
				return fmt.Errorf("%w: %s %q says %v and holds %v", ErrInvalid, v.Kind, v.Name, v.Type, t)
			}
			return define(v, nil, v.Kind.String())
		}
		who := "graph output"
		if n != nil {
			who = n.title()
		}
		return fmt.Errorf("%w: %s reads %q before it is defined", ErrInvalid, who, v.Name)
	}
	for i, n := range g.Nodes {
		if n == nil || n.Op == "" {
			return fmt.Errorf("%w: node %d has no operator", ErrInvalid, i)
		}
		for _, v := range n.In {
			if v == nil {
				continue
			}
			if err := read(v, n); err != nil {
				return err
			}
		}
		for name, a := range n.Attrs {
			switch a := a.(type) {
			case int64, float32, string, []int64, []float32, []string, *tensor.Tensor:
			case *Graph:
				if err := a.verify(names, depth+1); err != nil {
					return fmt.Errorf("%s: %w", n.title(), err)
				}
			case []*Graph:
				for _, s := range a {
					if err := s.verify(names, depth+1); err != nil {
						return fmt.Errorf("%s: %w", n.title(), err)
					}
				}
			default:
				return fmt.Errorf("%w: %s: attribute %q has type %T", ErrInvalid, n.title(), name, a)
			}
		}
		for _, v := range n.Out {
			if v == nil {
				continue
			}
			if v.Producer != n || v.Kind != Computed {
				return fmt.Errorf("%w: %s: output %q has another producer", ErrInvalid, n.title(), v.Name)
			}
			if err := define(v, n, "output"); err != nil {
				return err
			}
		}
	}
	for i, v := range g.Outputs {
		if v == nil {
			return fmt.Errorf("%w: output %d is missing", ErrInvalid, i)
		}
		if err := read(v, nil); err != nil {
			return err
		}
	}
	return nil
}

// title is what errors call the node.
func (n *Node) title() string { return fmt.Sprintf("node %q (%s)", n.Name, n.OpName()) }
