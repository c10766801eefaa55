package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"whit/format"
	"whit/graph"
	"whit/internal/modelfile"
	"whit/internal/optest"
	"whit/kernel"
	"whit/tensor"
)

// tuneModel writes a convolution for Winograd, and the choices of kernels for it.
func tuneModel(t *testing.T, path string, choices []byte) {
	t.Helper()
	g := graph.New("m")
	x := g.AddInput("x", tensor.Float32, -1, 16, 12, 12)
	y := g.Add("", "Conv", map[string]any{"pads": []int64{1, 1, 1, 1}}, x, g.NewConst("w", optest.Rand(1, tensor.Float32, 32, 16, 3, 3)))
	y.Name = "y"
	g.Nodes[0].Name = "conv"
	g.Outputs = []*graph.Value{y}
	if _, err := (&modelfile.File{Graph: g, Choices: choices}).Save(path); err != nil {
		t.Fatal(err)
	}
}

const tuneSignature = "Conv 1x16x12x12 32x16x3x3 to 12x12 by 1x1 from 1x1"

// TestTune: what is measured is kept and used again, here and in a .whit, and changes nothing elsewhere.
func TestTune(t *testing.T) {
	dir := t.TempDir()
	cache := filepath.Join(dir, "cache")
	t.Setenv("WHIT_CACHE", cache)
	model, own := filepath.Join(dir, "m.onnx"), filepath.Join(dir, "own.whit")
	tuneModel(t, model, nil)
	must := func(args ...string) string {
		t.Helper()
		code, out, errs := contract(t, args...)
		if code != exitOK {
			t.Fatalf("%v: %s", args, errs)
		}
		return out
	}
	before := must("inspect", model, "--plan")
	must("bench", model, "--tune", "--iters", "1", "--threads", "1")
	files, err := filepath.Glob(filepath.Join(cache, "tuned", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v in the cache, %v", files, err)
	}
	kept, err := os.ReadFile(files[0])
	if err != nil || !strings.Contains(string(kept), "\n"+tuneSignature+" = ") {
		t.Fatalf("%v: %s", err, kept)
	}
	// A choice that no measurement made shows that the file is replayed.
	head, _, _ := strings.Cut(string(kept), tuneSignature)
	if err := os.WriteFile(files[0], []byte(head+tuneSignature+" = winograd2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := must("bench", model, "--tune", "--iters", "1", "--threads", "1", "--nodes")
	if !strings.Contains(out, "winograd2") {
		t.Errorf("not replayed:\n%s", out)
	}
	a, b := filepath.Join(dir, "a.npz"), filepath.Join(dir, "b.npz")
	must("run", model, "--seed-input", "--tune", "--threads", "1", "-o", a)
	must("run", model, "--seed-input", "--tune", "--threads", "1", "-o", b)
	if x, y := read(t, a), read(t, b); x != y {
		t.Error("replayed choices give other bits")
	}
	if after := must("inspect", model, "--plan"); after != before {
		t.Errorf("without --tune the plan has changed:\n%s", after)
	}

	must("convert", model, own, "--tune", "--threads", "1")
	f, err := modelfile.Load(own, "")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := kernel.ParseChoices(f.Choices); err != nil || c.Of[tuneSignature] == "" {
		t.Errorf("the file has %q, %v", f.Choices, err)
	}
	if out := must("inspect", own, "--plan"); !strings.Contains(out, "tuned: ") {
		t.Errorf("the plan is not tuned:\n%s", out)
	}
	copied := filepath.Join(dir, "copy.whit")
	must("convert", own, copied, "--level", "fast", "--strip")
	if g, err := format.ReadFile(copied); err != nil || string(g.Choices) != string(f.Choices) {
		t.Errorf("converting loses the choices: %v", err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		say  string
	}{
		{"onnx", []string{"convert", own, filepath.Join(dir, "x.onnx"), "--tune"}, exitUsage, ".whit"},
		{"level", []string{"convert", own, copied, "--level", "best"}, exitUsage, "small, fast or raw"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if code, _, errs := contract(t, tt.args...); code != tt.code || !strings.Contains(errs, tt.say) {
				t.Errorf("code %d: %s", code, errs)
			}
		})
	}
}

// TestChoicesInFile: choices that a .whit holds are replayed; damaged ones are an error.
func TestChoicesInFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.whit")
	for _, c := range []struct{ choices, want, fails string }{
		{"choices 1\ncpu other\n" + tuneSignature + " = winograd2\n", "tuned: winograd2", ""},
		{"choices 1\ncpu other\n" + tuneSignature + " = none\n", "", ""},
		{"choices 1\n" + tuneSignature, "", "corrupt choices"},
	} {
		tuneModel(t, path, []byte(c.choices))
		code, out, errs := contract(t, "inspect", path, "--plan")
		if (code != exitOK) != (c.fails != "") || !strings.Contains(errs, c.fails) || !strings.Contains(out, c.want) {
			t.Errorf("%q: code %d, %s\n%s", c.choices, code, errs, out)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
