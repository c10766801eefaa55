package card

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// version is the value of the key card.
const version = 1

// MetaKey is the entry of an ONNX model's metadata_props that holds its card.
const MetaKey = "whit.card"

// The forms of the YAML. Pointers tell what is left out.
type cardYAML struct {
	Card    int         `yaml:"card"`
	Task    string      `yaml:"task,omitempty"`
	Input   *inputYAML  `yaml:"input,omitempty,flow"`
	Output  *outputYAML `yaml:"output,omitempty,flow"`
	Labels  any         `yaml:"labels,omitempty,flow"`
	Licence string      `yaml:"licence,omitempty"`
}

type inputYAML struct {
	Name   string      `yaml:"name,omitempty"`
	Color  string      `yaml:"color,omitempty"`
	Orient string      `yaml:"orient,omitempty"`
	Layout string      `yaml:"layout,omitempty"`
	Resize *resizeYAML `yaml:"resize,omitempty,flow"`
	Crop   sizeYAML    `yaml:"crop,omitempty,flow"`
	Scale  float64     `yaml:"scale,omitempty"`
	Mean   floatsYAML  `yaml:"mean,omitempty,flow"`
	Std    floatsYAML  `yaml:"std,omitempty,flow"`
}

type resizeYAML struct {
	Mode   string   `yaml:"mode,omitempty"`
	Size   sizeYAML `yaml:"size,omitempty,flow"`
	Filter string   `yaml:"filter,omitempty"`
	Fill   int      `yaml:"fill,omitempty"`
}

type outputYAML struct {
	Name       string `yaml:"name,omitempty"`
	Activation string `yaml:"activation,omitempty"`
}

// sizeYAML is one number, or height and width.
type sizeYAML []int

// UnmarshalYAML takes a number or a list.
func (s *sizeYAML) UnmarshalYAML(b []byte) error {
	var one int
	if err := yaml.Unmarshal(b, &one); err == nil {
		*s = sizeYAML{one}
		return nil
	}
	var list []int
	if err := yaml.Unmarshal(b, &list); err != nil || len(list) != 2 {
		return fmt.Errorf("want one number, or height and width: %s", clip(strings.TrimSpace(string(b))))
	}
	*s = list
	return nil
}

// floatsYAML is one number or a list.
type floatsYAML []float64

// UnmarshalYAML takes a number or a list.
func (f *floatsYAML) UnmarshalYAML(b []byte) error {
	var one float64
	if err := yaml.Unmarshal(b, &one); err == nil {
		*f = floatsYAML{one}
		return nil
	}
	var list []float64
	if err := yaml.Unmarshal(b, &list); err != nil || len(list) == 0 {
		return fmt.Errorf("want a number or a list of numbers: %s", clip(strings.TrimSpace(string(b))))
	}
	*f = list
	return nil
}

// MarshalYAML writes one number where one suffices.
func (s sizeYAML) MarshalYAML() (any, error) {
	if len(s) == 1 {
		return s[0], nil
	}
	return []int(s), nil
}

// MarshalYAML writes one number where one suffices.
func (f floatsYAML) MarshalYAML() (any, error) {
	if len(f) == 1 {
		return f[0], nil
	}
	return []float64(f), nil
}

func (s sizeYAML) size() Size {
	switch len(s) {
	case 1:
		return Size{s[0], s[0]}
	case 2:
		return Size{s[0], s[1]}
	}
	return Size{}
}

func yamlSize(s Size) sizeYAML {
	switch {
	case s == Size{}:
		return nil
	case s.H == s.W:
		return sizeYAML{s.H}
	}
	return sizeYAML{s.H, s.W}
}

// maxDepth bounds how deep a card's YAML may nest, and maxNodes how large it may be.
const (
	maxDepth = 8
	maxNodes = MaxLabels + 1000
)

// Parse reads a card. Unknown keys and wrong values are errors with their line.
// readLabels gives the contents of a file of labels beside the card; nil: labels
// must be inline. It reads at most MaxBytes and allocates a small multiple of
// that; anchors and aliases are refused.
func Parse(b []byte, readLabels func(name string) ([]byte, error)) (Card, error) {
	if len(b) > MaxBytes {
		return Card{}, fmt.Errorf("%w: a card of %d bytes, at most %d", ErrTooLarge, len(b), MaxBytes)
	}
	if err := plain(b); err != nil {
		return Card{}, err
	}
	var y cardYAML
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.DisallowUnknownField()).Decode(&y); err != nil {
		if errors.Is(err, io.EOF) {
			return Card{}, fmt.Errorf("%w: empty", ErrCorrupt)
		}
		return Card{}, fmt.Errorf("%w: %s", ErrCorrupt, firstLine(yaml.FormatError(err, false, false)))
	}
	if y.Card != version {
		return Card{}, fmt.Errorf("%w: card: %d, want card: %d", ErrCorrupt, y.Card, version)
	}
	c := Card{Task: y.Task, Licence: y.Licence}
	if i := y.Input; i != nil {
		c.Input = Input{Name: i.Name, Color: i.Color, Orient: i.Orient, Layout: i.Layout, Crop: i.Crop.size(),
			Scale: i.Scale, Mean: i.Mean, Std: i.Std}
		if r := i.Resize; r != nil {
			c.Input.Resize = &Resize{Mode: r.Mode, Size: r.Size.size(), Filter: r.Filter, Fill: r.Fill}
		}
	}
	if y.Output != nil {
		c.Output = Output{Name: y.Output.Name, Activation: y.Output.Activation}
	}
	var err error
	if c.Labels, err = labels(y.Labels, readLabels); err != nil {
		return Card{}, err
	}
	return c, c.check()
}

// labels are inline, or the lines of a file.
func labels(v any, read func(string) ([]byte, error)) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		if read == nil {
			return nil, fmt.Errorf("%w: labels names the file %q; here they must be a list", ErrCorrupt, clip(v))
		}
		b, err := read(v)
		if err != nil {
			return nil, fmt.Errorf("labels: %w", err)
		}
		out := strings.Split(strings.TrimRight(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n"), "\n")
		for i := range out {
			out[i] = strings.TrimSpace(out[i])
			if len(out[i]) > maxName {
				return nil, fmt.Errorf("%w: label %d is longer than %d bytes", ErrCorrupt, i, maxName)
			}
		}
		return out, nil
	case []any:
		var out []string
		for i, x := range v {
			s := fmt.Sprint(x)
			switch x.(type) {
			case string, int, int64, uint64, float64, bool:
			default:
				return nil, fmt.Errorf("%w: label %d is no text", ErrCorrupt, i)
			}
			if len(s) > maxName {
				return nil, fmt.Errorf("%w: label %d is longer than %d bytes", ErrCorrupt, i, maxName)
			}
			out = append(out, s)
		}
		return out, nil
	}
	return nil, fmt.Errorf("%w: labels is neither a file's name nor a list", ErrCorrupt)
}

// plain refuses YAML that is deep, has anchors, aliases or merges, or many parts:
// none has a place in a card, and expanding them costs without bound.
func plain(b []byte) (err error) {
	// Depth is counted on the text first: the parser itself recurses.
	depth, indent := 0, 0
	for line := range bytes.Lines(b) {
		lead := len(line) - len(bytes.TrimLeft(line, " -?:\t"))
		indent = max(indent, lead)
		for _, x := range line {
			switch x {
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			if depth > maxDepth {
				return fmt.Errorf("%w: nests deeper than %d", ErrCorrupt, maxDepth)
			}
		}
	}
	if indent > 64 {
		return fmt.Errorf("%w: indented deeper than 64", ErrCorrupt)
	}
	defer func() { // the parser is not ours: whatever it does on nonsense is nonsense
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: not YAML", ErrCorrupt)
		}
	}()
	f, err := parser.ParseBytes(b, 0)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrCorrupt, firstLine(yaml.FormatError(err, false, false)))
	}
	v := &counter{}
	for _, d := range f.Docs {
		if d.Body != nil {
			ast.Walk(v, d.Body)
		}
	}
	if len(f.Docs) > 1 || v.n > maxNodes || v.bad {
		return fmt.Errorf("%w: want one plain document, without anchors and aliases", ErrCorrupt)
	}
	return nil
}

type counter struct {
	n   int
	bad bool
}

// Visit implements ast.Visitor.
func (c *counter) Visit(n ast.Node) ast.Visitor {
	c.n++
	switch n.Type() {
	case ast.AnchorType, ast.AliasType, ast.MergeKeyType, ast.TagType:
		c.bad = true
		return nil
	}
	return c
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}

// YAML is the card as Parse reads it, labels inline. The same card gives the same bytes.
func (c Card) YAML() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	y := cardYAML{Card: version, Task: c.Task, Licence: c.Licence}
	i := inputYAML{Name: c.Input.Name, Color: c.Input.Color, Orient: c.Input.Orient, Layout: c.Input.Layout,
		Crop: yamlSize(c.Input.Crop), Scale: c.Input.Scale, Mean: c.Input.Mean, Std: c.Input.Std}
	if r := c.Input.Resize; r != nil {
		i.Resize = &resizeYAML{Mode: r.Mode, Size: yamlSize(r.Size), Filter: r.Filter, Fill: r.Fill}
	}
	y.Input = &i
	if c.Output != (Output{}) {
		y.Output = &outputYAML{c.Output.Name, c.Output.Activation}
	}
	if len(c.Labels) > 0 {
		y.Labels = c.Labels
	}
	return yaml.Marshal(y)
}
