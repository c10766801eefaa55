package compress

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"whit/compress/method"
	"whit/compress/prune"
	"whit/compress/search"
)

var update = flag.Bool("update", false, "write the generated part of docs/recipes.md")

// TestDocs holds the list of methods in docs/recipes.md to the code.
func TestDocs(t *testing.T) {
	var b strings.Builder
	const columns = "| parameter | default | allowed | meaning |\n|---|---|---|---|\n"
	row := func(m *method.Method, p method.Param) {
		r := DefaultRecipe()
		r.Steps = r.Steps[:1]
		r.Steps[0].Method, r.Steps[0].Set = m.Name, map[string]any{p.Name: p.Default}
		_, def, _ := strings.Cut(FormatRecipe(r, false), "    "+p.Name+": ")
		allowed := p.Kind.String()
		switch {
		case p.Choices != nil:
			allowed = strings.Join(p.Choices, ", ")
		case p.Min != 0 || p.Max != 0:
			allowed = fmt.Sprintf("%s, %s to %s", allowed, strconv.FormatFloat(p.Min, 'g', 7, 64), strconv.FormatFloat(p.Max, 'g', 7, 64))
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", p.Name, strings.TrimSpace(def), allowed, p.Doc)
	}
	// What training takes stands once, where it is the same.
	common := map[string]method.Param{}
	fmt.Fprintf(&b, "\n### Training\n\nMethods that train, where `epochs` is not 0, take these beside their own.\n\n%s", columns)
	for _, p := range method.FitParams(0, 0) {
		if p.Name != "epochs" && p.Name != "lr" {
			common[p.Name] = p
			row(prune.Magnitude, p)
		}
	}
	for _, m := range search.Methods {
		fmt.Fprintf(&b, "\n### %s\n\n%s.\n\n", m.Name, strings.ToUpper(m.Doc[:1])+m.Doc[1:])
		trains := !slices.ContainsFunc(method.FitParams(0, 0), func(p method.Param) bool { return m.Param(p.Name) == nil })
		b.WriteString(columns)
		for _, p := range m.Params {
			if c, ok := common[p.Name]; !trains || !ok || !reflect.DeepEqual(c, p) {
				row(m, p)
			}
		}
		if trains {
			b.WriteString("\nAnd those of [training](#training).\n")
		}
	}
	b.WriteString("\n")
	const name = "../docs/recipes.md"
	doc, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(doc), "<!-- methods:")
	mark, rest, ok2 := strings.Cut(rest, "-->\n")
	_, tail, ok3 := strings.Cut(rest, "<!-- end of methods -->")
	if !ok1 || !ok2 || !ok3 {
		t.Fatal("the marks are gone")
	}
	want := head + "<!-- methods:" + mark + "-->\n" + b.String() + "<!-- end of methods -->" + tail
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(doc) {
		t.Error("docs/recipes.md does not list the methods as they are; go test ./compress -run TestDocs -update")
	}
}
