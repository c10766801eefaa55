package method

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Recipe is a list of steps that one model goes through. Data and model are not
// part of it.
type Recipe struct {
	// Name says what the recipe is; it may be empty.
	Name string
	// Steps run one after the other.
	Steps []Step
	// Paper holds published figures to print beside ours; nil: none.
	Paper *Paper
}

// Step is one use of a method.
type Step struct {
	Method string
	// Set is what the step gives; the method's defaults hold for the rest. The
	// values have the Go types that Param.Default lists.
	Set map[string]any
	// Line is the step's line in the recipe's file, 0 where it was made in Go.
	Line int
}

// Paper is what a publication reports for the same network and stages.
type Paper struct {
	// Source is the citation.
	Source string
	// Stages are its figures by the names of our stages.
	Stages []PaperStage
}

// PaperStage is a published ratio (0: none) and error (0..1; negative: none) of a stage.
type PaperStage struct {
	Name  string
	Ratio float64
	Error float64
}

// Stage is the paper's figures for the stage of that name.
func (p *Paper) Stage(name string) (PaperStage, bool) {
	if p != nil {
		for _, s := range p.Stages {
			if s.Name == name {
				return s, true
			}
		}
	}
	return PaperStage{}, false
}

// MaxRecipe is the largest recipe in bytes that ParseRecipe reads.
const MaxRecipe = 64 << 10

// The limits of nesting in a recipe: deeper ones mean nothing, and paths in the
// YAML library's tree grow with the square of the depth.
const (
	maxFlow    = 8
	maxEntries = 4
)

// ErrRecipe is the root of errors about recipes.
var ErrRecipe = errors.New("invalid recipe")

func recipeErr(line int, format string, args ...any) error {
	return fmt.Errorf("%w: line %d: %s", ErrRecipe, line, fmt.Sprintf(format, args...))
}

// ParseRecipe reads a recipe in YAML. Unknown methods, keys and values outside
// of their ranges are errors that name the line.
//
//	recipe: 1
//	steps:
//	  - {method: magnitude, layers: "fc*", sparsity: 0.92, epochs: 10}
//	  - {method: codebook, bits: 5, train: true}
func ParseRecipe(src []byte, methods []*Method) (r *Recipe, err error) {
	if len(src) > MaxRecipe {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are read", ErrRecipe, len(src), MaxRecipe)
	}
	defer func() {
		// The YAML library may panic on input that it does not expect; a recipe comes from outside.
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("%w: %v", ErrRecipe, p)
		}
	}()
	tokens := lexer.Tokenize(string(src))
	if err := checkTokens(tokens); err != nil {
		return nil, err
	}
	f, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrRecipe, firstLine(err))
	}
	var docs []ast.Node
	for _, d := range f.Docs {
		if d.Body != nil {
			docs = append(docs, d.Body)
		}
	}
	if len(docs) != 1 {
		return nil, fmt.Errorf("%w: %d documents, want one", ErrRecipe, len(docs))
	}
	top, err := mapping(docs[0], "the recipe")
	if err != nil {
		return nil, err
	}
	r = &Recipe{}
	seen := false
	for _, e := range top {
		switch e.key {
		case "recipe":
			v, err := scalar(e.val, &Param{Name: "recipe", Kind: Int})
			if err != nil {
				return nil, err
			}
			if v != 1 {
				return nil, recipeErr(e.line, "recipe: version %v; this whit reads version 1", v)
			}
			seen = true
		case "name":
			v, err := scalar(e.val, &Param{Name: "name", Kind: String})
			if err != nil {
				return nil, err
			}
			r.Name = v.(string)
		case "paper":
			if r.Paper, err = parsePaper(e.val); err != nil {
				return nil, err
			}
		case "steps":
			seq, ok := e.val.(*ast.SequenceNode)
			if !ok {
				return nil, recipeErr(e.line, "steps must be a list")
			}
			for _, n := range seq.Values {
				s, err := parseStep(n, methods)
				if err != nil {
					return nil, err
				}
				r.Steps = append(r.Steps, s)
			}
		default:
			return nil, recipeErr(e.line, "unknown key %q, want recipe, name, steps or paper", e.key)
		}
	}
	if !seen {
		return nil, fmt.Errorf("%w: the key recipe (1) is missing", ErrRecipe)
	}
	if len(r.Steps) == 0 {
		return nil, fmt.Errorf("%w: no steps", ErrRecipe)
	}
	return r, nil
}

func parseStep(n ast.Node, methods []*Method) (Step, error) {
	m, err := mapping(n, "a step")
	if err != nil {
		return Step{}, err
	}
	s := Step{Set: map[string]any{}, Line: lineOf(n)}
	var def *Method
	for _, e := range m {
		if e.key != "method" {
			continue
		}
		v, err := scalar(e.val, &Param{Name: "method", Kind: String})
		if err != nil {
			return s, err
		}
		s.Method = v.(string)
		var names []string
		for _, d := range methods {
			names = append(names, d.Name)
			if d.Name == s.Method {
				def = d
			}
		}
		if def == nil {
			return s, recipeErr(e.line, "unknown method %q, want one of %s", s.Method, strings.Join(names, ", "))
		}
	}
	if def == nil {
		return s, recipeErr(s.Line, "the step names no method")
	}
	for _, e := range m {
		if e.key == "method" {
			continue
		}
		p := def.Param(e.key)
		if p == nil {
			return s, recipeErr(e.line, "method %s has no parameter %q", s.Method, e.key)
		}
		v, err := value(e.val, p)
		if err != nil {
			return s, err
		}
		if err := p.check(v); err != nil {
			return s, recipeErr(e.line, "%v", err)
		}
		s.Set[e.key] = v
	}
	return s, nil
}

func parsePaper(n ast.Node) (*Paper, error) {
	m, err := mapping(n, "paper")
	if err != nil {
		return nil, err
	}
	p := &Paper{}
	for _, e := range m {
		switch e.key {
		case "source":
			v, err := scalar(e.val, &Param{Name: "source", Kind: String})
			if err != nil {
				return nil, err
			}
			p.Source = v.(string)
		case "stages":
			rows, err := mapping(e.val, "stages")
			if err != nil {
				return nil, err
			}
			for _, r := range rows {
				s := PaperStage{Name: r.key, Error: -1}
				cols, err := mapping(r.val, r.key)
				if err != nil {
					return nil, err
				}
				for _, c := range cols {
					q := &Param{Name: c.key, Kind: Float, Min: 0, Max: 1e6}
					v, err := scalar(c.val, q)
					if err != nil {
						return nil, err
					}
					if err := q.check(v); err != nil {
						return nil, recipeErr(c.line, "%v", err)
					}
					switch c.key {
					case "ratio":
						s.Ratio = v.(float64)
					case "error":
						s.Error = v.(float64)
					default:
						return nil, recipeErr(c.line, "unknown key %q, want ratio or error", c.key)
					}
				}
				p.Stages = append(p.Stages, s)
			}
		default:
			return nil, recipeErr(e.line, "unknown key %q, want source or stages", e.key)
		}
	}
	return p, nil
}

type entry struct {
	key  string
	val  ast.Node
	line int
}

// mapping lists a mapping's entries; duplicate keys are errors.
func mapping(n ast.Node, what string) ([]entry, error) {
	var vals []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		vals = n.Values
	case *ast.MappingValueNode:
		vals = []*ast.MappingValueNode{n}
	default:
		return nil, recipeErr(lineOf(n), "%s must be a mapping", what)
	}
	var out []entry
	for _, v := range vals {
		t := v.Key.GetToken()
		e := entry{t.Value, v.Value, t.Position.Line}
		for _, o := range out {
			if o.key == e.key {
				return nil, recipeErr(e.line, "key %q stands twice", e.key)
			}
		}
		out = append(out, e)
	}
	return out, nil
}

func lineOf(n ast.Node) int {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 0
	}
	return n.GetToken().Position.Line
}

func value(n ast.Node, p *Param) (any, error) {
	item := *p
	switch p.Kind {
	case Floats, Strings:
		item.Kind = Float
		if p.Kind == Strings {
			item.Kind = String
		}
		seq, ok := n.(*ast.SequenceNode)
		if !ok {
			return nil, recipeErr(lineOf(n), "%s must be %s", p.Name, p.Kind)
		}
		fs, ss := []float64{}, []string{}
		for _, v := range seq.Values {
			x, err := scalar(v, &item)
			if err != nil {
				return nil, err
			}
			if f, ok := x.(float64); ok {
				fs = append(fs, f)
			} else {
				ss = append(ss, x.(string))
			}
		}
		if p.Kind == Strings {
			return ss, nil
		}
		return fs, nil
	case PerLayer:
		item.Kind = Float
		switch n.(type) {
		case *ast.MappingNode, *ast.MappingValueNode:
		default:
			x, err := scalar(n, &item)
			if err != nil {
				return nil, recipeErr(lineOf(n), "%s must be %s", p.Name, p.Kind)
			}
			return Uniform(x.(float64)), nil
		}
		m, err := mapping(n, p.Name)
		if err != nil {
			return nil, err
		}
		var l LayerValues
		for _, e := range m {
			x, err := scalar(e.val, &item)
			if err != nil {
				return nil, err
			}
			l = append(l, LayerValue{e.key, x.(float64)})
		}
		return l, nil
	}
	return scalar(n, p)
}

func scalar(n ast.Node, p *Param) (any, error) {
	switch n := n.(type) {
	case *ast.IntegerNode:
		var x int64
		switch v := n.Value.(type) {
		case int64:
			x = v
		case uint64:
			if v > 1<<53 {
				return nil, recipeErr(lineOf(n), "%s is out of range", p.Name)
			}
			x = int64(v)
		}
		if x > 1<<53 || x < -(1<<53) {
			return nil, recipeErr(lineOf(n), "%s is out of range", p.Name)
		}
		switch p.Kind {
		case Int:
			return int(x), nil
		case Float:
			return float64(x), nil
		}
	case *ast.FloatNode:
		if p.Kind == Float {
			return n.Value, nil
		}
	case *ast.BoolNode:
		if p.Kind == Bool {
			return n.Value, nil
		}
	case *ast.StringNode:
		if p.Kind == String {
			return n.Value, nil
		}
		// The library takes 1e-4, without a point, for a string.
		if p.Kind == Float && n.Token.Type == token.StringType && strings.Trim(n.Value, "0123456789+-.eE") == "" {
			if x, err := strconv.ParseFloat(n.Value, 64); err == nil {
				return x, nil
			}
		}
	}
	return nil, recipeErr(lineOf(n), "%s must be %s", p.Name, p.Kind)
}

// checkTokens refuses what recipes do not use (anchors, tags, directives, block
// scalars) and deep nesting, before a tree is built.
func checkTokens(ts token.Tokens) error {
	flow, entries, line := 0, 0, 0
	for _, t := range ts {
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			if flow++; flow > maxFlow {
				return recipeErr(t.Position.Line, "nested too deep")
			}
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType:
			if t.Position.Line != line {
				entries, line = 0, t.Position.Line
			}
			if entries++; entries > maxEntries {
				return recipeErr(t.Position.Line, "nested too deep")
			}
		case token.AnchorType, token.AliasType, token.TagType, token.MergeKeyType, token.DirectiveType,
			token.LiteralType, token.FoldedType:
			return recipeErr(t.Position.Line, "%q is not used in recipes", t.Value)
		}
	}
	return nil
}

// firstLine is the YAML library's message without its excerpt of the source:
// "[3:5] text" becomes "line 3: text".
func firstLine(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\n")
	if pos, rest, ok := strings.Cut(strings.TrimPrefix(s, "["), "] "); ok {
		if line, _, ok := strings.Cut(pos, ":"); ok {
			return "line " + line + ": " + rest
		}
	}
	return s
}

// YAML writes the recipe; ParseRecipe reads it back. With all, the defaults that
// steps leave out are written too, each with its meaning as a comment.
func (r *Recipe) YAML(methods []*Method, all bool) string {
	var b strings.Builder
	b.WriteString("recipe: 1\n")
	if r.Name != "" {
		fmt.Fprintf(&b, "name: %s\n", quote(r.Name))
	}
	b.WriteString("steps:\n")
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "  - method: %s\n", s.Method)
		var def *Method
		for _, m := range methods {
			if m.Name == s.Method {
				def = m
			}
		}
		if def == nil { // written as it stands: the reader will complain
			names := make([]string, 0, len(s.Set))
			for k := range s.Set {
				names = append(names, k)
			}
			sort.Strings(names)
			for _, k := range names {
				fmt.Fprintf(&b, "    %s: %s\n", k, yamlValue(s.Set[k]))
			}
			continue
		}
		for _, p := range def.Params {
			v, ok := s.Set[p.Name]
			if !ok {
				if !all {
					continue
				}
				v = p.Default
			}
			line := fmt.Sprintf("    %s: %s", p.Name, yamlValue(v))
			if all && p.Doc != "" {
				line = fmt.Sprintf("%-40s # %s", line, p.Doc)
			}
			b.WriteString(line + "\n")
		}
	}
	if r.Paper != nil {
		fmt.Fprintf(&b, "paper:\n  source: %s\n", quote(r.Paper.Source))
		if len(r.Paper.Stages) > 0 {
			b.WriteString("  stages:\n")
		}
		for _, s := range r.Paper.Stages {
			var cols []string
			if s.Ratio > 0 {
				cols = append(cols, "ratio: "+num(s.Ratio))
			}
			if s.Error >= 0 {
				cols = append(cols, "error: "+num(s.Error))
			}
			fmt.Fprintf(&b, "    %s: {%s}\n", quote(s.Name), strings.Join(cols, ", "))
		}
	}
	return b.String()
}

func yamlValue(v any) string {
	switch v := v.(type) {
	case int:
		return strconv.Itoa(v)
	case float64:
		return num(v)
	case bool:
		return strconv.FormatBool(v)
	case string:
		return quote(v)
	case []float64:
		s := make([]string, len(v))
		for i, x := range v {
			s[i] = num(x)
		}
		return "[" + strings.Join(s, ", ") + "]"
	case []string:
		s := make([]string, len(v))
		for i, x := range v {
			s[i] = quote(x)
		}
		return "[" + strings.Join(s, ", ") + "]"
	case LayerValues:
		if len(v) == 1 && v[0].Glob == "*" {
			return num(v[0].Value)
		}
		s := make([]string, len(v))
		for i, x := range v {
			s[i] = quote(x.Glob) + ": " + num(x.Value)
		}
		return "{" + strings.Join(s, ", ") + "}"
	}
	return quote(fmt.Sprint(v))
}

// quote leaves plain words alone and quotes the rest as YAML's double-quoted form.
func quote(s string) string {
	plain := s != ""
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
		if !letter && (i == 0 || !(r >= '0' && r <= '9' || r == '-')) {
			plain = false
		}
	}
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "null", "y", "n":
		plain = false
	}
	if plain {
		return s
	}
	return strconv.Quote(s)
}
