package method

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var toy = []*Method{{
	Name: "magnitude", Doc: "prunes",
	Params: []Param{
		{Name: "layers", Kind: String, Default: "*"},
		{Name: "sparsity", Kind: PerLayer, Default: Uniform(0.9), Min: 0, Max: 1, Doc: "share to drop"},
		{Name: "epochs", Kind: Int, Default: 3, Min: 0, Max: 100},
		{Name: "by", Kind: String, Default: "layer", Choices: []string{"layer", "scan"}},
		{Name: "train", Kind: Bool, Default: true},
		{Name: "grid", Kind: Floats, Default: []float64{0.5}, Min: 0, Max: 1},
		{Name: "what", Kind: Strings, Default: []string{"a"}, Choices: []string{"a", "b"}},
		{Name: "lr", Kind: Float, Default: 1e-3},
	},
	Apply: func(context.Context, *State, Args) error { return nil },
}, {Name: "scan"}}

const full = `# a comment
recipe: 1
name: "all of it"
steps:
  - method: scan
  - {method: magnitude, layers: "fc*", sparsity: {"fc1": 0.92, "fc*": 0.5}, epochs: 10}
  - method: magnitude
    sparsity: 0.9
    by: scan
    train: false
    grid: [0.5, 1]
    what: [a, b]
    lr: 1e-4
paper:
  source: "A. Author: A Title, 2016"
  stages:
    pruned: {ratio: 12, error: 0.0159}
    shared: {ratio: 32}
`

func TestParseRecipe(t *testing.T) {
	r, err := ParseRecipe([]byte(full), toy)
	if err != nil {
		t.Fatal(err)
	}
	want := &Recipe{Name: "all of it", Steps: []Step{
		{Method: "scan", Set: map[string]any{}},
		{Method: "magnitude", Set: map[string]any{"layers": "fc*", "sparsity": LayerValues{{"fc1", 0.92}, {"fc*", 0.5}}, "epochs": 10}},
		{Method: "magnitude", Set: map[string]any{"sparsity": Uniform(0.9), "by": "scan", "train": false, "grid": []float64{0.5, 1}, "what": []string{"a", "b"}, "lr": 1e-4}},
	}, Paper: &Paper{Source: "A. Author: A Title, 2016", Stages: []PaperStage{{"pruned", 12, 0.0159}, {"shared", 32, -1}}}}
	if got := lineless(r); !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
	if r.Steps[2].Line < 7 || r.Steps[2].Line > 8 {
		t.Errorf("step 3 on line %d", r.Steps[2].Line)
	}
	for _, all := range []bool{false, true} {
		text := r.YAML(toy, all)
		again, err := ParseRecipe([]byte(text), toy)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if !all && !cmp.Equal(lineless(again), want) {
			t.Error(cmp.Diff(want, lineless(again)))
		}
		if all && again.YAML(toy, true) != text {
			t.Errorf("with defaults, not stable:\n%s", text)
		}
	}
}

func lineless(r *Recipe) *Recipe {
	c := *r
	c.Steps = append([]Step{}, r.Steps...)
	for i := range c.Steps {
		c.Steps[i].Line = 0
	}
	return &c
}

func TestParseRecipeRefuses(t *testing.T) {
	step := "recipe: 1\nsteps:\n  - method: magnitude\n    "
	for _, tc := range []struct{ name, src, want string }{
		{"empty", "", "documents"},
		{"no version", "steps: [{method: scan}]", "recipe (1) is missing"},
		{"newer version", "recipe: 2\nsteps: [{method: scan}]", "line 1: recipe: version 2"},
		{"no steps", "recipe: 1", "no steps"},
		{"steps not a list", "recipe: 1\nsteps: 3", "line 2: steps must be a list"},
		{"unknown key", "recipe: 1\nstep: []", "line 2: unknown key \"step\""},
		{"unknown method", "recipe: 1\nsteps:\n  - method: magic", "line 3: unknown method \"magic\""},
		{"no method", "recipe: 1\nsteps:\n  - epochs: 3", "names no method"},
		{"unknown parameter", step + "epoch: 3", "line 4: method magnitude has no parameter \"epoch\""},
		{"wrong kind", step + "epochs: many", "line 4: epochs must be an integer"},
		{"number for a flag", step + "train: 1", "line 4: train must be true or false"},
		{"out of range", step + "epochs: 101", "line 4: epochs must be between 0 and 100"},
		{"layer out of range", step + "sparsity: {fc1: 1.5}", "line 4: sparsity must be between 0 and 1"},
		{"bad glob", step + "sparsity: {\"[\": 0.5}", "not a pattern"},
		{"no such choice", step + "by: luck", "must be one of layer, scan"},
		{"no such choice in a list", step + "what: [c]", "must be one of a, b"},
		{"infinite", step + "lr: .inf", "line 4"},
		{"nan", step + "lr: .nan", "line 4"},
		{"key twice", step + "epochs: 1\n    epochs: 2", "line 5"},
		{"anchor", "recipe: 1\nsteps: &a [{method: scan}]", "not used"},
		{"two documents", "recipe: 1\n---\nrecipe: 1", "documents"},
		{"deep", "recipe: " + strings.Repeat("[", 100), "too deep"},
		{"deep blocks", strings.Repeat("- ", 100), "too deep"},
		{"large", strings.Repeat("#", MaxRecipe+1), "at most"},
		{"not yaml", "recipe: 1\n\tsteps: [", "line"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ParseRecipe([]byte(tc.src), toy)
			if !errors.Is(err, ErrRecipe) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

func FuzzParseRecipe(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte("recipe: 1\nsteps: [{method: scan}, {method: magnitude, sparsity: {a: 0.5, \"*\": 1}}]"))
	f.Add([]byte("? a\n: - b\n  - !t 'x'\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		r, err := ParseRecipe(src, toy)
		if err != nil {
			return
		}
		text := r.YAML(toy, false)
		again, err := ParseRecipe([]byte(text), toy)
		if err != nil {
			t.Fatalf("what was written is refused: %v\n%s", err, text)
		}
		if !cmp.Equal(lineless(r), lineless(again)) {
			t.Fatalf("changed by writing:\n%s", cmp.Diff(lineless(r), lineless(again)))
		}
	})
}

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		glob, layer string
		want        bool
	}{
		{"*", "a/b", true}, {"fc*", "fc1", true}, {"fc*", "conv1", false}, {"conv*, fc2", "fc2", true},
		{"/layer1/*", "/layer1/conv/x", true}, {"[", "[", true}, {"[", "a", false}, {"fc?", "fc10", false},
	} {
		if got := Match(tc.glob, tc.layer); got != tc.want {
			t.Errorf("Match(%q, %q) = %v", tc.glob, tc.layer, got)
		}
	}
}

func ExampleRecipe_YAML() {
	m := []*Method{{Name: "magnitude", Params: []Param{{Name: "sparsity", Kind: PerLayer, Default: Uniform(0.9), Doc: "share of weights to drop"}}}}
	r := &Recipe{Name: "small", Steps: []Step{{Method: "magnitude"}}}
	fmt.Print(r.YAML(m, true))
	// Output:
	// recipe: 1
	// name: small
	// steps:
	//   - method: magnitude
	//     sparsity: 0.9                        # share of weights to drop
}
