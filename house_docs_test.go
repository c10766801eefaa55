package whit_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// stable are the packages of the promised API.
var stable = "card tensor compress"

// TestPackageDocs: every package has a doc.go with a diagram, formula or example set
// off from the text, says so where it is unstable, and shows an example that runs.
func TestPackageDocs(t *testing.T) {
	for pkg := range arrows {
		dir := filepath.FromSlash(pkg)
		if dir == "" {
			dir = "."
		}
		if _, err := os.Stat(dir); os.IsNotExist(err) {
			continue // drawn, not built
		}
		name := pkg
		if name == "" {
			name = "whit"
		}
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, "doc.go"))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(b, []byte("\n//\t")) {
				t.Error("doc.go has no diagram, formula or example")
			}
			open := pkg == "" || strings.HasPrefix(pkg, "internal/") || strings.HasPrefix(pkg, "cmd/") || strings.Contains(" "+stable+" ", " "+pkg+" ")
			if !open && !bytes.Contains(b, []byte("\n// Unstable:")) {
				t.Error("doc.go does not say that the package is unstable")
			}
			if strings.HasPrefix(pkg, "cmd/") {
				return
			}
			tests, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range tests {
				src, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Contains(src, []byte("\nfunc Example")) && bytes.Contains(src, []byte("\t// Output:")) {
					return
				}
			}
			t.Error("no example that runs")
		})
	}
}
