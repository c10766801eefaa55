package recipes

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

//go:embed *.yaml
var files embed.FS

// Names lists the recipes, sorted.
func Names() []string {
	var out []string
	es, err := fs.ReadDir(files, ".")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	for _, e := range es {
		out = append(out, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	slices.Sort(out) // without the ending, which folders are sorted with
	return out
}

// Read is the recipe of that name as YAML; the error lists the names that exist.
func Read(name string) ([]byte, error) {
	b, err := files.ReadFile(name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("no recipe %q, want one of %s", name, strings.Join(Names(), ", "))
	}
	return b, nil
}
