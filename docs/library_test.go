// Package docs_test holds the code of docs/library.md: every Go block there is
// an example of this file, compiled, run and copied by
//
//	go test ./docs -update
package docs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"image"
	"image/color"
	"image/png"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"whit"
	"whit/card"
	"whit/compress"
	"whit/data"
	"whit/format"
	"whit/onnx"
	"whit/report"
	"whit/tensor"
	"whit/zoo"
)

var (
	update = flag.Bool("update", false, "copy the examples into library.md")
	// here is the folder of the documents; the examples run in a folder of their own.
	here string
	// model stands for what //go:embed brings.
	model []byte
)

// TestMain makes the files that the examples name: a model with its card, and pictures.
func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "whit")
		if err != nil {
			log.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if here, err = os.Getwd(); err != nil {
			log.Fatal(err)
		}
		if err := files(dir); err != nil {
			log.Fatal(err)
		}
		if err := os.Chdir(dir); err != nil {
			log.Fatal(err)
		}
		defer os.Chdir(here)
		return m.Run()
	}())
}

func files(dir string) error {
	a, err := zoo.Find("lenet300")
	if err != nil {
		return err
	}
	g, err := a.Build(1)
	if err != nil {
		return err
	}
	if err := onnx.WriteFile(filepath.Join(dir, "model.onnx"), g); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "model.card.yaml"), []byte(a.Card), 0o644); err != nil {
		return err
	}
	if _, err := format.WriteFile(filepath.Join(dir, "model.whit"), &format.File{Graph: g, Card: []byte(a.Card)}, format.Options{Profile: format.Fast}); err != nil {
		return err
	}
	if model, err = os.ReadFile(filepath.Join(dir, "model.whit")); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "images"), 0o755); err != nil {
		return err
	}
	for i := range 60 {
		img := image.NewGray(image.Rect(0, 0, 28, 28))
		for y := range 28 {
			for x := range 28 {
				img.SetGray(x, y, color.Gray{uint8((x*(i+3) + y*y*(i%7+1)) % 256)})
			}
		}
		var b bytes.Buffer
		if err := png.Encode(&b, img); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "images", fmt.Sprintf("%02d.png", i)), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// TestLibrary holds the Go blocks of library.md to the examples named before them.
func TestLibrary(t *testing.T) {
	src, err := os.ReadFile(filepath.Join(here, "library_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "", src, 0)
	if err != nil {
		t.Fatal(err)
	}
	code := map[string]string{}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "Example") {
			body := string(src[fset.Position(fn.Body.Lbrace).Offset+1 : fset.Position(fn.Body.Rbrace).Offset])
			body, _, _ = strings.Cut(body, "\t// Output:")
			code[fn.Name.Name] = strings.ReplaceAll("\n"+strings.TrimSpace(body)+"\n", "\n\t", "\n")
		}
	}
	name := filepath.Join(here, "library.md")
	doc, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	// <!-- ExampleName -->, a line break, and the block.
	parts := strings.Split(string(doc), "```go\n")
	for i, p := range parts[1:] {
		head := strings.TrimSpace(parts[i])
		_, mark, _ := strings.Cut(head[max(strings.LastIndex(head, "\n"), 0):], "<!-- ")
		mark = strings.TrimSuffix(mark, " -->")
		want, ok := code[mark]
		_, rest, ok2 := strings.Cut(p, "```\n")
		if !ok || !ok2 {
			t.Fatalf("block %d: no example is named in the line before it: %q", i+1, mark)
		}
		delete(code, mark)
		parts[i+1] = strings.TrimPrefix(want, "\n") + "```\n" + rest
	}
	for n := range code {
		t.Errorf("%s does not stand in library.md", n)
	}
	if want := strings.Join(parts, "```go\n"); want != string(doc) {
		if !*update {
			t.Fatal("library.md is not what the examples say: go test ./docs -update")
		}
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func Example_run() {
	m, err := whit.Open("model.whit", whit.Options{}) // or an .onnx file: told apart by content
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	f, err := os.Open("images/07.png")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	img, _, err := image.Decode(f)
	if err != nil {
		log.Fatal(err)
	}

	x := tensor.New(tensor.Float32, 1, 1, 28, 28) // [N,C,H,W]
	if err := m.Preprocess(x, img); err != nil {  // as the model's card says
		log.Fatal(err)
	}
	out, err := m.Run(context.Background(), whit.Tensors{"input": x})
	if err != nil {
		log.Fatal(err)
	}
	logits := tensor.Of[float32](out["logits"])
	fmt.Println(out["logits"].Type, len(logits), len(m.Card().Labels))
	// Output: float32[1,10] 10 10
}

func Example_ports() {
	m, err := whit.Open("model.onnx", whit.Options{Threads: 1, MaxMemory: 1 << 30})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	for _, p := range m.Inputs() {
		t, ok := p.Default() // a symbolic batch as 1; false where another dimension is open
		fmt.Println(p.Name, p.Dims[0].Name, t, ok)
	}
	// Output: input N float32[1,1,28,28] true
}

func Example_embed() {
	// In your program, above a package variable of type []byte:
	//
	//	//go:embed model.whit
	//	var model []byte
	m, err := whit.Read(bytes.NewReader(model), int64(len(model)), whit.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	fmt.Println(m.Card().Task)
	// Output: classify
}

func Example_session() {
	m, err := whit.Open("model.whit", whit.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s := m.NewSession() // one a goroutine; no allocation after its first run
			x, err := s.Input("input")
			if err != nil {
				log.Fatal(err)
			}
			for frame := range 3 {
				tensor.Of[float32](x)[0] = float32(frame) // fill the input in place
				if err := s.Run(context.Background()); err != nil {
					log.Fatal(err)
				}
			}
			y, err := s.Output("logits") // valid until the next Run
			if err != nil {
				log.Fatal(err)
			}
			_ = tensor.Of[float32](y)
		})
	}
	wg.Wait()
	// Output:
}

func Example_batch() {
	m, err := whit.Open("model.whit", whit.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	ctx := context.Background()

	// Requests that came one by one: results[i] belongs to in[i].
	in := []whit.Tensors{
		{"input": tensor.New(tensor.Float32, 1, 1, 28, 28)},
		{"input": tensor.New(tensor.Float32, 1, 1, 28, 28)},
	}
	results, err := m.RunBatch(ctx, in)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(results), results[1]["logits"].Type)

	// One tensor of many samples, where the model's batch is symbolic: faster.
	out, err := m.Run(ctx, whit.Tensors{"input": tensor.New(tensor.Float32, 32, 1, 28, 28)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(out["logits"].Type)
	// Output:
	// 2 float32[1,10]
	// float32[32,10]
}

func Example_errors() {
	m, err := whit.Open("model.whit", whit.Options{})
	if err != nil {
		log.Fatal(err)
	}
	_, err = m.Run(context.Background(), whit.Tensors{"picture": tensor.New(tensor.Float32, 1)})
	fmt.Println(errors.Is(err, whit.ErrInput))

	err = m.Preprocess(tensor.New(tensor.Float32, 1, 3, 28, 28), image.NewGray(image.Rect(0, 0, 28, 28)))
	fmt.Println(errors.Is(err, card.ErrConflict))

	m.Close()
	_, err = m.Run(context.Background(), whit.Tensors{"input": tensor.New(tensor.Float32, 1, 1, 28, 28)})
	fmt.Println(errors.Is(err, whit.ErrClosed))

	_, err = whit.Read(bytes.NewReader(model[:len(model)/2]), int64(len(model)/2), whit.Options{})
	fmt.Println(errors.Is(err, whit.ErrCorrupt))
	// Output:
	// true
	// true
	// true
	// true
}

func Example_compress() {
	ctx := context.Background()
	g, err := onnx.ReadFile("model.onnx")
	if err != nil {
		log.Fatal(err)
	}
	c, err := card.Load(card.Source{Own: []byte(g.Meta[card.MetaKey]), Model: "model.onnx", Meta: g.Meta})
	if err != nil {
		log.Fatal(err)
	}
	sets, err := data.Open(ctx, "images", &c, []int{1, 28, 28}, data.Options{})
	if err != nil {
		log.Fatal(err)
	}

	recipe, err := compress.ParseRecipe([]byte(`
recipe: 1
steps:
  - {method: codebook, bits: 6, train: false}
`))
	if err != nil {
		log.Fatal(err)
	}
	drop := 0.2 // 20 points; Options without Budget and Recipe search within 0.5, for ten minutes
	res, err := compress.Run(ctx, g, c, compress.Data{Set: sets.All}, compress.Options{
		Budget:   compress.Budget{MaxDrop: &drop},
		Recipe:   recipe,
		Seed:     1,
		Out:      "small.whit",
		Model:    "model.onnx",
		Progress: func(e compress.Event) { /* e.Stage, e.Done of e.Total */ },
	})
	var unmet *compress.UnmetError
	switch {
	case errors.As(err, &unmet):
		fmt.Println(unmet.Missed, "the best is", unmet.Path) // and res says what was measured
	case err != nil:
		log.Fatal(err)
	}
	fmt.Println(res.Metric.Name, res.Met, res.Bytes.Ratio > 4)
	for _, s := range res.Splits {
		fmt.Println(s.Name, s.N > 0)
	}

	var page bytes.Buffer
	if err := report.HTML(&page, res, report.Options{}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// agreement true true
	// train true
	// choice true
	// test true
}

func Example_result() {
	// What json.Marshal makes of a *compress.Result, for example in a log of runs.
	stored := []byte(`{"schema": 1, "verdict": "...", "met": true, "bytes": {"before": 1066440, "after": 24000, "ratio": 44.4},
		"metric": {"name": "top1", "n": 10000, "drop": {"value": -0.0004, "low": -0.002, "high": 0.0012}}}`)
	var r compress.Result
	if err := json.Unmarshal(stored, &r); err != nil {
		log.Fatal(err)
	}
	if r.Schema != compress.Schema {
		log.Fatalf("schema %d, this program reads %d", r.Schema, compress.Schema)
	}
	fmt.Printf("%.1fx, %s fell by %.2f points (95%%: %.2f to %.2f)\n", r.Bytes.Ratio, r.Metric.Name,
		100*r.Metric.Drop.Value, 100*r.Metric.Drop.Low, 100*r.Metric.Drop.High)
	// Output: 44.4x, top1 fell by -0.04 points (95%: -0.20 to 0.12)
}
