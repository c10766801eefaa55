package format

import (
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"whit/entropy"
	"whit/graph"
	"whit/tensor"
	"whit/weight"
)

// pathVector adds 64 levels of a dependent quantiser to its input.
func pathVector() *File {
	l := make([]int32, 64)
	for i, state := 0, 0; i < len(l); i++ {
		if i%16 == 0 {
			state = 0
		}
		k := int32(i*i%7-3) / int32(1+i%3)
		l[i], state = entropy.LevelValue(state, k), entropy.NextState(state, k)
	}
	q, err := weight.PackLevels(tensor.Int8, l, 4, 16)
	if err != nil {
		panic(err)
	}
	g := graph.New("")
	x := g.AddInput("x", tensor.Float32, 4, 16)
	g.Outputs = []*graph.Value{g.Add("", "Add", nil, x, g.NewWeight("w", weight.Int8{Q: q, Axis: weight.PerTensor, Scale: []float32{0.5}}))}
	return &File{Graph: g}
}

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
	paths := func() string {
		f := pathVector()
		var b strings.Builder
		w := f.Graph.Find("w").Weight.(weight.Int8)
		for i := range w.Q.Len() {
			sep := " "
			if i%16 == 15 {
				sep = "\n"
			}
			fmt.Fprintf(&b, "%d%s", w.Level(i), sep)
		}
		file, _ := write(t, f, Options{Coder: "context", Strip: true})
		return "```\n" + b.String() + "\n" + hex.Dump(file) + "```"
	}
	learned := func() string {
		syms := make([]int32, 48)
		var b strings.Builder
		for i := range syms {
			syms[i] = int32(i*i%11%4*(i%3)) / 2
			if i%17 == 5 {
				syms[i] = -1
			}
			if i == 40 {
				syms[i] = 100_000
			}
			sep := " "
			if i%16 == 15 {
				sep = "\n"
			}
			fmt.Fprintf(&b, "%d%s", syms[i], sep)
		}
		code, err := entropy.RANS{}.Append(nil, []entropy.Block{{Dims: entropy.DimsOf([]int{1, len(syms)}), Syms: syms}})
		if err != nil {
			t.Fatal(err)
		}
		return "```\n" + b.String() + "\n" + hex.Dump(code) + "```"
	}
	text := string(b)
	for name, body := range map[string]string{
		"vector": vector(Options{Coder: "context"}), "rans vector": vector(Options{Coder: "rans"}), "fast vector": vector(Options{Profile: Fast}),
		"dependent vector": paths(), "learned vector": learned(),
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
