// Command _gen writes the assembly of packages kern and entropy: one file a
// micro-kernel and its Go declaration. Run it by go generate in internal/kern.
package main

import (
	"fmt"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/gotypes"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
)

// kernel is one micro-kernel: f builds its function in the context. Its files
// are name_amd64.s and name_amd64.go.
type kernel struct {
	name string
	f    func(c *build.Context)
}

// kernels are those of package kern, coders those of package entropy.
var kernels, coders []kernel

// main writes into the packages' folders, or all into the one that is named.
func main() {
	kern, entropy := "..", "../../../entropy"
	if len(os.Args) > 1 {
		kern, entropy = os.Args[1], os.Args[1]
	}
	check := func(name string, err error) {
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(1)
		}
	}
	for _, k := range kernels {
		check(k.name, write(kern, "kern", k))
	}
	for _, k := range coders {
		check(k.name, write(entropy, "entropy", k))
	}
	for _, k := range armKernels {
		check(k.name, writeArm(kern, k))
	}
}

func write(dir, pkg string, k kernel) error {
	c := build.NewContext()
	c.ConstraintExpr("!noasm")
	k.f(c)
	file, err := c.Result()
	if err != nil {
		return err
	}
	if err := pass.Compile.Execute(file); err != nil {
		return err
	}
	cfg := printer.Config{Name: "_gen", Pkg: pkg}
	for _, o := range []struct {
		ext string
		p   printer.Printer
	}{{".s", printer.NewGoAsm(cfg)}, {".go", printer.NewStubs(cfg)}} {
		b, err := o.p.Print(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, k.name+"_amd64"+o.ext), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// function begins a function without result, of the signature expr in which the
// named struct types of the package may stand behind pointers.
func function(c *build.Context, name, expr, doc string, structs ...string) {
	pkg := types.NewPackage("kern", "kern")
	for _, s := range structs {
		n := types.NewTypeName(token.NoPos, pkg, s, nil)
		types.NewNamed(n, types.NewStruct(nil, nil), nil)
		pkg.Scope().Insert(n)
	}
	sig, err := gotypes.ParseSignatureInPackage(pkg, expr)
	if err != nil {
		panic(err)
	}
	c.Function(name)
	c.Attributes(attr.NOSPLIT)
	c.Pragma("noescape")
	c.Doc(strings.Split(doc, "\n")...)
	c.Signature(sig)
}
