package method

import (
	"context"
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"
)

// Method is a way to make a model smaller or faster.
type Method struct {
	// Name is what recipes and --methods call it.
	Name string
	// Doc is one line.
	Doc string
	// Params are what a step of a recipe may set, in the order they are written.
	Params []Param
	// Apply changes the state. It must be a function of the state, the arguments
	// and the seed only, and leaves a verified graph.
	Apply func(ctx context.Context, s *State, a Args) error
}

// Kind is a parameter's kind of value.
type Kind uint8

// The kinds of parameter. PerLayer is a number or a mapping from layer globs to numbers;
// the first glob that matches a layer counts.
const (
	Int Kind = iota
	Float
	Bool
	String
	Floats
	Strings
	PerLayer
)

// String names the kind as error messages do.
func (k Kind) String() string {
	return [...]string{"an integer", "a number", "true or false", "a string", "a list of numbers", "a list of strings", "a number or a mapping from layer to number"}[k]
}

// Param is a parameter of a method. Default has the kind's Go type: int,
// float64, bool, string, []float64, []string or LayerValues. Numbers, those in
// lists and mappings too, must lie in Min..Max (both 0: no limit); strings must
// be one of Choices (nil: any).
type Param struct {
	Name     string
	Kind     Kind
	Default  any
	Min, Max float64
	Choices  []string
	Doc      string
}

// LayerValue gives the layers that Glob matches a value.
type LayerValue struct {
	Glob  string
	Value float64
}

// LayerValues is the value of a PerLayer parameter.
type LayerValues []LayerValue

// Uniform gives every layer the value v.
func Uniform(v float64) LayerValues { return LayerValues{{"*", v}} }

// For is the value of a layer; ok is false where no glob matches it.
func (l LayerValues) For(layer string) (v float64, ok bool) {
	for _, x := range l {
		if Match(x.Glob, layer) {
			return x.Value, true
		}
	}
	return 0, false
}

// Match reports whether a layer's name matches a glob (path.Match's syntax, but
// * matches slashes too) or is equal to it. Several globs may be joined by commas.
func Match(glob, layer string) bool {
	for _, g := range strings.Split(glob, ",") {
		g = strings.TrimSpace(g)
		if g == layer {
			return true
		}
		// path.Match's * stops at '/': layers of ONNX files have slashes, which mean nothing here.
		if ok, err := path.Match(strings.ReplaceAll(g, "/", "\x00"), strings.ReplaceAll(layer, "/", "\x00")); err == nil && ok {
			return true
		}
	}
	return false
}

// Find is the method of that name, nil if there is none.
func Find(methods []*Method, name string) *Method {
	for _, m := range methods {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// Param is the parameter of that name, nil if there is none.
func (m *Method) Param(name string) *Param {
	for i := range m.Params {
		if m.Params[i].Name == name {
			return &m.Params[i]
		}
	}
	return nil
}

// Args are a step's arguments: what it sets, and the defaults of the rest. The
// getters panic on a name or kind that the method does not declare.
type Args struct {
	m   *Method
	set map[string]any
}

// Args are the method's defaults, but for what set gives; set is checked.
func (m *Method) Args(set map[string]any) (Args, error) {
	for name := range set {
		if m.Param(name) == nil {
			return Args{}, fmt.Errorf("method %s has no parameter %q", m.Name, name)
		}
	}
	for _, p := range m.Params {
		v, ok := set[p.Name]
		if !ok {
			continue
		}
		if err := p.check(v); err != nil {
			return Args{}, fmt.Errorf("method %s: %w", m.Name, err)
		}
	}
	return Args{m, set}, nil
}

// IsSet reports whether the step itself gives the parameter.
func (a Args) IsSet(name string) bool { _, ok := a.set[name]; return ok }

func get[T any](a Args, name string) T {
	p := a.m.Param(name)
	if p == nil {
		panic("method " + a.m.Name + " declares no parameter " + name)
	}
	if v, ok := a.set[name]; ok {
		return v.(T)
	}
	return p.Default.(T)
}

// Int is the integer parameter name.
func (a Args) Int(name string) int { return get[int](a, name) }

// Float is the number parameter name.
func (a Args) Float(name string) float64 { return get[float64](a, name) }

// Bool is the boolean parameter name.
func (a Args) Bool(name string) bool { return get[bool](a, name) }

// String is the string parameter name.
func (a Args) String(name string) string { return get[string](a, name) }

// Floats is the list parameter name; the caller must not change it.
func (a Args) Floats(name string) []float64 { return get[[]float64](a, name) }

// Strings is the list parameter name; the caller must not change it.
func (a Args) Strings(name string) []string { return get[[]string](a, name) }

// PerLayer is the parameter name of that kind; the caller must not change it.
func (a Args) PerLayer(name string) LayerValues { return get[LayerValues](a, name) }

func (p *Param) check(v any) error {
	bad := func() error { return fmt.Errorf("%s must be %s", p.Name, p.Kind) }
	switch p.Kind {
	case Int:
		x, ok := v.(int)
		if !ok {
			return bad()
		}
		return p.inRange(float64(x))
	case Float:
		x, ok := v.(float64)
		if !ok {
			return bad()
		}
		return p.inRange(x)
	case Bool:
		if _, ok := v.(bool); !ok {
			return bad()
		}
	case String:
		x, ok := v.(string)
		if !ok {
			return bad()
		}
		return p.choice(x)
	case Floats:
		x, ok := v.([]float64)
		if !ok {
			return bad()
		}
		for _, f := range x {
			if err := p.inRange(f); err != nil {
				return err
			}
		}
	case Strings:
		x, ok := v.([]string)
		if !ok {
			return bad()
		}
		for _, s := range x {
			if err := p.choice(s); err != nil {
				return err
			}
		}
	case PerLayer:
		x, ok := v.(LayerValues)
		if !ok || len(x) == 0 {
			return bad()
		}
		for _, l := range x {
			if _, err := path.Match(l.Glob, ""); err != nil {
				return fmt.Errorf("%s: %q is not a pattern", p.Name, l.Glob)
			}
			if err := p.inRange(l.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Param) inRange(x float64) error {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return fmt.Errorf("%s must be finite", p.Name)
	}
	if (p.Min != 0 || p.Max != 0) && (x < p.Min || x > p.Max) {
		return fmt.Errorf("%s must be between %s and %s, found %s", p.Name, num(p.Min), num(p.Max), num(x))
	}
	return nil
}

func (p *Param) choice(s string) error {
	if p.Choices == nil {
		return nil
	}
	for _, c := range p.Choices {
		if c == s {
			return nil
		}
	}
	return fmt.Errorf("%s must be one of %s, found %q", p.Name, strings.Join(p.Choices, ", "), s)
}

func num(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
