package whit_test

import (
	"bytes"
	"flag"
	"go/ast"
	"go/build"
	"go/format"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files")

// promised is what the listings in testdata/api hold: nil is all that a package
// exports, else the types of other packages that a promised signature names.
var promised = []struct {
	dir   string
	names []string
}{
	{".", nil}, {"card", nil}, {"tensor", nil}, {"compress", nil},
	{"data", []string{"Dataset"}},
	{"graph", []string{"Dim"}},
	{"compress/method", []string{"Event", "Paper", "PaperStage", "Recipe", "Step"}},
}

// TestAPI holds the promised API to its golden listing. go test . -run TestAPI -update
// rewrites it; a line that goes or changes breaks somebody's program.
func TestAPI(t *testing.T) {
	for _, p := range promised {
		t.Run(p.dir, func(t *testing.T) {
			got := listing(t, p.dir, p.names)
			name := strings.ReplaceAll(p.dir, "/", "_")
			if p.dir == "." {
				name = "whit"
			}
			golden := filepath.Join("testdata", "api", name+".txt")
			if *update {
				if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("the promised API changed (-golden +now); if it is meant: go test . -run TestAPI -update\n%s", d)
			}
		})
	}
}

// listing is the package's exported declarations without comments, sorted; those of
// names and their methods only, where names are given.
func listing(t *testing.T, dir string, names []string) string {
	ctx := build.Default
	ctx.GOOS, ctx.GOARCH, ctx.CgoEnabled = "linux", "amd64", false // the same listing everywhere
	pkg, err := ctx.ImportDir(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, name := range pkg.GoFiles {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.FileExports(f)
		for _, d := range f.Decls {
			key := "" // what the declaration is sorted by: a method follows its type
			switch d := d.(type) {
			case *ast.FuncDecl:
				d.Body = nil
				key = "func " + d.Name.Name
				if d.Recv != nil {
					recv := typeName(d.Recv.List[0].Type)
					if !ast.IsExported(recv) || names != nil && !slices.Contains(names, recv) {
						continue
					}
					key = "type " + recv + "." + d.Name.Name
				} else if names != nil {
					continue
				}
			case *ast.GenDecl:
				if d.Tok == token.IMPORT || len(d.Specs) == 0 {
					continue
				}
				switch s := d.Specs[0].(type) {
				case *ast.TypeSpec:
					if names != nil && !slices.Contains(names, s.Name.Name) {
						continue
					}
					key = "type " + s.Name.Name
				case *ast.ValueSpec:
					if names != nil {
						continue
					}
					key = d.Tok.String() + " " + s.Names[0].Name
				}
			}
			var b bytes.Buffer
			if err := (&printer.Config{Mode: printer.UseSpaces | printer.TabIndent, Tabwidth: 8}).Fprint(&b, fset, d); err != nil {
				t.Fatal(err)
			}
			out = append(out, key+"\x00"+compact(b.String())+"\n")
		}
	}
	slices.Sort(out)
	for i := range out {
		_, out[i], _ = strings.Cut(out[i], "\x00")
	}
	src, err := format.Source([]byte("package " + pkg.Name + "\n\n" + strings.Join(out, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return string(src)
}

// compact drops blank lines, which stand where comments were.
func compact(s string) string {
	var out []string
	for l := range strings.Lines(s) {
		if strings.TrimSpace(l) != "" {
			out = append(out, strings.TrimRight(l, "\n"))
		}
	}
	return strings.Join(out, "\n")
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
