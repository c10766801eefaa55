package format

import (
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestDocs holds the tables and vectors of docs/format.md; -update rewrites them.
func TestDocs(t *testing.T) {
	const path = "../docs/format.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	vector := func(o Options) string {
		f := tiny()
		f.Graph.Nodes[0].Name = "n"
		b, _ := write(t, f, o)
		return "```\n" + hex.Dump(b) + "```"
	}
	list := func(names []string) string {
		var b strings.Builder
		for i, n := range names {
			if n == "" {
				continue
			}
			sep := ", "
			if i == len(names)-1 {
				sep = ""
			}
			fmt.Fprintf(&b, "%d %s%s", i, n, sep)
			if i%8 == 0 {
				b.WriteByte('\n')
			}
		}
		return strings.TrimSpace(b.String())
	}
	var known strings.Builder
	for _, s := range samples {
		if s.Text == "" {
			fmt.Fprintf(&known, "%d absent\n", s.Kind)
		} else {
			fmt.Fprintf(&known, "%d %s\n", s.Kind, strconv.Quote(s.Text))
		}
	}
	text := string(b)
	for name, body := range map[string]string{
		"vector": vector(Options{Coder: "context"}), "rans vector": vector(Options{Coder: "rans"}), "fast vector": vector(Options{Profile: Fast}),
		"chunks vector": vector(Options{Chunks: true}), "samples": "```\n" + known.String() + "```",
		"operators": list(opNames), "attributes": list(attrNames), "dictionary": "```\n" + strconv.Quote(dictionary) + "\n```",
	} {
		begin := "<!-- generated: " + name + " -->\n"
		head, rest, ok1 := strings.Cut(text, begin)
		_, tail, ok2 := strings.Cut(rest, "<!-- end -->")
		if !ok1 || !ok2 {
			t.Fatalf("no place for %q", name)
		}
		text = head + begin + body + "\n<!-- end -->" + tail
	}
	if text == string(b) {
		return
	}
	if !*update {
		t.Fatal("docs/format.md is not up to date; read the difference after go test ./format -update")
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
