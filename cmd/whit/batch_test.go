package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"whit/graph"
	"whit/tensor"
)

// pictures writes n pictures a class into sub-folders of dir: the class's row is white.
func pictures(t *testing.T, dir string, n, side int, classes ...string) {
	t.Helper()
	for c, name := range classes {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		for k := range n {
			img := image.NewGray(image.Rect(0, 0, side, side))
			for x := range side {
				img.SetGray(x, c%side, color.Gray{Y: 255})
			}
			img.SetGray(k%side, side-1, color.Gray{Y: 99}) // no two are the same
			f, err := os.Create(filepath.Join(dir, name, fmt.Sprintf("%d.png", k)))
			if err != nil {
				t.Fatal(err)
			}
			if err := png.Encode(f, img); err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
	}
}

// rowModel decides for the brightest of the first three rows of pictures of 4x4. It is written for one picture:
// its Reshape has the shape to, and what follows makes [1,3] of it.
func rowModel(t *testing.T, path string, to ...int64) {
	t.Helper()
	w := tensor.New(tensor.Float32, 16, 3)
	for r := range 3 {
		for x := range 4 {
			tensor.Of[float32](w)[(r*4+x)*3+r] = 1
		}
	}
	g := graph.New("rows")
	x := g.AddInput("x", tensor.Float32, 1, 1, 4, 4)
	v := g.Add("", "Reshape", nil, x, g.NewConst("s", tensor.Ints(to...)))
	v = g.Add("", "MatMul", nil, v, g.NewConst("w", w))
	if len(to) == 1 {
		v = g.Add("", "Unsqueeze", nil, v, g.NewConst("axes", tensor.Ints(0)))
	}
	v.Name = "y"
	g.Outputs = []*graph.Value{v}
	save(t, g, path)
}

// TestFixedBatch: models that were exported for one picture are measured like others.
func TestFixedBatch(t *testing.T) {
	dir := t.TempDir()
	pictures(t, filepath.Join(dir, "images"), 13, 4, "0", "1", "2")
	card := filepath.Join(dir, "unit.yaml")
	put(t, card, []byte("card: 1\ninput: {color: gray, scale: 1, mean: 0, std: 1}\n"))
	for name, to := range map[string][]int64{"written": {1, 16}, "inferred": {1, -1}, "kept": {0, 16}, "flat": {16}} {
		t.Run(name, func(t *testing.T) {
			model := filepath.Join(dir, name+".onnx")
			rowModel(t, model, to...)
			for _, args := range [][]string{{"eval"}, {"eval", "--metric", "agreement", "--against", model}, {"eval", "--metric", "cosine", "--against", model}, {"check"}} {
				args := append(args, model, "--data", filepath.Join(dir, "images"), "--card", card)
				code, out, errs := contract(t, args...)
				if code != exitOK {
					t.Fatalf("%s: exit %d, %q", args[0], code, errs)
				}
				want := map[string]string{"eval": "39 samples", "check": "100.0%"}[args[0]]
				if !strings.Contains(out, want) {
					t.Errorf("%q: %s", args, out)
				}
			}
		})
	}
}

// TestCheckData: check --data fails where nothing could be measured.
func TestCheckData(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "m.onnx")
	rowModel(t, model, 1, 16)
	for name, fill := range map[string]func(dir string){
		"none":  func(string) {},
		"empty": func(dir string) { os.MkdirAll(dir, 0o755) },
		"broken": func(dir string) {
			pictures(t, dir, 1, 4, "0", "1")
			put(t, filepath.Join(dir, "1", "x.png"), []byte("no picture"))
		},
	} {
		fill(filepath.Join(dir, name))
		code, out, errs := contract(t, "check", model, "--data", filepath.Join(dir, name))
		if code != exitFailed || !strings.Contains(errs, name) && name != "broken" || name == "broken" && !strings.Contains(errs, "x.png") {
			t.Errorf("%s: exit %d, %q, %q", name, code, out, errs)
		}
	}
}

// TestLabels: folders that are no classes of the model's are an error, not a guess; what cannot be measured or
// trained on is said.
func TestLabels(t *testing.T) {
	dir := t.TempDir()
	in := func(s string) string { return filepath.Join(dir, s) }
	rowModel(t, in("m.onnx"), 1, 16)
	put(t, in("card.yaml"), []byte("card: 1\ninput: {color: gray, scale: 1, mean: 0, std: 1}\n"))
	put(t, in("part.yaml"), []byte("card: 1\ninput: {color: gray, scale: 1}\n"))
	pictures(t, in("three"), 2, 4, "a", "b", "c")
	pictures(t, in("two"), 2, 4, "a", "b")
	pictures(t, in("some"), 2, 4, "0", "2")
	pictures(t, in("many"), 2, 4, "0", "1", "2", "3")
	pictures(t, in("loose"), 2, 4, ".")
	var b bytes.Buffer
	if err := tensor.WriteNPZ(&b, []tensor.Named{{Name: "x", T: tensor.New(tensor.Float32, 8, 1, 28, 28)}}); err != nil {
		t.Fatal(err)
	}
	put(t, in("x.npz"), b.Bytes())
	card := in("card.yaml")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{list("eval", in("m.onnx"), "--card", card, "--data", in("three")), exitOK, ""},
		{list("eval", in("m.onnx"), "--card", card, "--data", in("some")), exitOK, ""},
		{list("eval", in("m.onnx"), "--card", card, "--data", in("two")), exitFailed, "3 classes"},
		{list("eval", in("m.onnx"), "--card", card, "--data", in("many")), exitFailed, "3 classes"},
		{list("eval", in("m.onnx"), "--card", card, "--data", in("two"), "--metric", "verification"), exitOK, ""},
		{list("check", in("m.onnx"), "--data", in("two")), exitFailed, "3 classes"},
		{list("check", in("m.onnx"), "--data", in("some")), exitOK, ""},
		{list("compress", in("m.onnx"), "--card", card, "--data", in("two"), "-o", in("o.whit")), exitFailed, "3 classes"},
		{list("eval", in("m.onnx"), "--card", card, "--data", in("loose")), exitUsage, "no labels"},
		{list("eval", in("m.onnx"), "--card", in("part.yaml"), "--data", in("three")), exitUsage, "input.mean, input.std"},
		{list("run", in("m.onnx"), "--card", in("part.yaml"), "--input", filepath.Join(in("two"), "a", "0.png")), exitUsage, "input.mean, input.std"},
		{list("train", "--data", in("x.npz"), "--epochs", "1", "-o", in("t.onnx")), exitFailed, "no labels"},
	} {
		code, _, errs := contract(t, c.args...)
		if code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%q: exit %d, %q, want %d, %q", c.args[:1], code, errs, c.code, c.want)
		}
	}
}
