package whit_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// arrows says what each package may import of the others, itself or through
// what it imports. docs/architecture.md draws the same picture.
var arrows = map[string]string{
	"tensor":             "",
	"card":               "tensor internal/safefile",
	"weight":             "tensor",
	"graph":              "weight",
	"op":                 "graph",
	"onnx":               "graph card internal/safefile",
	"internal/cpu":       "",
	"internal/kern":      "internal/cpu",
	"internal/safefile":  "",
	"internal/lean":      "",
	"kernel":             "op internal/kern",
	"pass":               "op",
	"plan":               "kernel pass",
	"internal/pull":      "internal/safefile",
	"data":               "tensor card internal/pull internal/safefile",
	"stat":               "plan data",
	"train":              "op plan data internal/safefile",
	"entropy":            "",
	"format":             "op entropy card internal/safefile",
	"zoo":                "graph op format onnx internal/pull internal/torch",
	"compress/method":    "stat train pass format onnx",
	"compress/fit":       "compress/method",
	"compress/prune":     "compress/fit",
	"compress/quant":     "compress/fit",
	"compress/factor":    "compress/fit",
	"compress/distill":   "compress/method",
	"compress/search":    "compress/prune compress/quant compress/factor compress/distill",
	"compress":           "compress/search",
	"report":             "compress internal/safefile",
	"internal/optest":    "kernel plan",
	"internal/torch":     "tensor",
	"internal/modelfile": "format onnx card",
	"internal/tuned":     "kernel internal/pull internal/safefile",
	"":                   "internal/modelfile plan",
	"cmd/whit":           "*",
	"recipes":            "",
}

// TestImports holds the house's rule: a package imports only what its arrows reach.
func TestImports(t *testing.T) {
	var reach func(p string, seen map[string]bool)
	reach = func(p string, seen map[string]bool) {
		for _, q := range strings.Fields(arrows[p]) {
			if !seen[q] {
				seen[q] = true
				reach(q, seen)
			}
		}
	}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != "." && (strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") || d.Name() == "testdata" || d.Name() == "examples" || d.Name() == "bench") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		pkg := path.Dir(filepath.ToSlash(file))
		if pkg == "." {
			pkg = ""
		}
		may, known := arrows[pkg]
		if !known {
			t.Errorf("%s: package %q is not in the list of packages", file, pkg)
			return nil
		}
		ok := map[string]bool{}
		reach(pkg, ok)
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, im := range f.Imports {
			name, _ := strconv.Unquote(im.Path.Value)
			if name == "C" {
				t.Errorf("%s: imports C", file)
			}
			if name != "whit" && !strings.HasPrefix(name, "whit/") || strings.HasPrefix(may, "*") {
				continue
			}
			q := strings.TrimPrefix(strings.TrimPrefix(name, "whit"), "/")
			if !ok[q] {
				var all []string
				for r := range ok {
					all = append(all, r)
				}
				sort.Strings(all)
				t.Errorf("%s: %s may not import %s; it reaches %s", file, pkg, name, strings.Join(all, ", "))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
