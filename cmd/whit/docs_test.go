package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write docs/commands.md")

// TestDocs holds docs/commands.md to the commands' own help.
func TestDocs(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# The command line

<!-- written by go test ./cmd/whit -run TestDocs -update -->

Exit codes: 0 done, 1 failed (one line on stderr that says what, where and what to do), 2 wrong use. ` + "`--json`" + ` prints one line of JSON with
` + "`\"schema\": 1`" + ` last on stdout; progress goes to stderr, and is off where that is no terminal. ` + "`whit completion bash|zsh|fish|powershell`" + ` writes a completion script.

| environment | meaning |
|---|---|
| ` + "`WHIT_CACHE`" + ` | the folder for fetched datasets and models; default: ` + "`whit`" + ` in the user's cache folder |
| ` + "`WHIT_OFFLINE=1`" + ` | forbids the network |

`)
	root := newRoot()
	var verbs []*cobra.Command
	for _, c := range root.Commands() {
		if subs := c.Commands(); len(subs) > 0 {
			verbs = append(verbs, subs...)
		} else {
			verbs = append(verbs, c)
		}
	}
	b.WriteString("| command | |\n|---|---|\n")
	for _, c := range verbs {
		path := c.CommandPath()
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", path, strings.ReplaceAll(path, " ", "-"), c.Short)
	}
	for _, c := range verbs {
		long := c.Long
		if long == "" {
			long = c.Short + "."
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n```\n%s\n```\n", c.CommandPath(), long, c.UseLine())
		if c.Example != "" {
			fmt.Fprintf(&b, "\n```\n%s\n```\n", strings.ReplaceAll(strings.TrimSpace(c.Example), "\n  ", "\n"))
		}
		if f := c.LocalFlags().FlagUsages(); f != "" {
			fmt.Fprintf(&b, "\n```\n%s```\n", f)
		}
	}
	const name = "../../docs/commands.md"
	want, err := os.ReadFile(name)
	if err != nil && !*update {
		t.Fatal(err)
	}
	if b.String() == string(want) {
		return
	}
	if !*update {
		t.Fatal("docs/commands.md is not what the commands say of themselves: go test ./cmd/whit -run TestDocs -update")
	}
	if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
