package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"whit/graph"
	"whit/internal/modelfile"
	"whit/internal/optest"
	"whit/internal/pull"
	"whit/tensor"
	"whit/zoo"
)

// toy is a model whose package is the archive that is returned.
func toy(t *testing.T, commercial string) (zoo.Model, string) {
	t.Helper()
	const content = "the seed is 7"
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("toy/weights.txt")
	if err == nil {
		_, err = w.Write([]byte(content))
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	wheel := filepath.Join(t.TempDir(), "toy-1.0.whl")
	if err := os.WriteFile(wheel, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	all, one := sha256.Sum256(b.Bytes()), sha256.Sum256([]byte(content))
	a, err := zoo.Find("lenet300")
	if err != nil {
		t.Fatal(err)
	}
	return zoo.Model{
		Name: "toy", About: "a toy", Package: "toy 1.0", Licence: "MIT", Terms: "nobody said a word", Commercial: commercial, Trained: "nothing",
		Card: strings.Replace(a.Card, "CC-BY-SA-3.0", "MIT", 1), Note: "mind the gap",
		Spec: pull.Spec{Name: "toy-1.0",
			Source: pull.Archive{Client: pull.Pip, Package: "toy", Version: "1.0", Size: int64(b.Len()), SHA256: hex.EncodeToString(all[:])},
			Files:  []pull.File{{Name: "w.txt", Path: "toy/weights.txt", Size: int64(len(content)), SHA256: hex.EncodeToString(one[:])}}},
		Build: func(dir string) (*graph.Graph, error) {
			b, err := os.ReadFile(filepath.Join(dir, "w.txt"))
			if err != nil {
				return nil, err
			}
			var seed uint64
			if _, err := fmt.Sscanf(string(b), "the seed is %d", &seed); err != nil {
				return nil, err
			}
			return zoo.Build("lenet300", seed)
		},
	}, wheel
}

// model runs the verb with one known model.
func model(t *testing.T, m zoo.Model, args ...string) (stdout string, err error) {
	t.Helper()
	c := modelCmd([]zoo.Model{m})
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs(args)
	c.SilenceErrors, c.SilenceUsage = true, true
	err = c.Execute()
	return out.String(), err
}

func TestModelPull(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("WHIT_CACHE", filepath.Join(dir, "cache"))
	t.Setenv("WHIT_OFFLINE", "1")
	m, wheel := toy(t, "unclear")
	out := filepath.Join(dir, "toy.whit")

	var u usageError
	if _, err := model(t, m, "pull", "toy", "--from", wheel, "-o", out); err == nil || !asUsage(err, &u) || !strings.Contains(err.Error(), "--accept-licence") || !strings.Contains(err.Error(), "nobody said a word") {
		t.Errorf("terms not accepted: %v", err)
	}
	if _, err := model(t, m, "pull", "toy", "--accept-licence", "-o", out); err == nil || !strings.Contains(err.Error(), "pip download --no-deps toy==1.0") || strings.Contains(err.Error(), "\n") {
		t.Errorf("offline: %v", err)
	}
	if _, err := model(t, m, "pull", "toy", "--accept-licence", "--from", "model_test.go", "-o", out); err == nil || !strings.Contains(err.Error(), "toy 1.0") {
		t.Errorf("another file: %v", err)
	}
	if _, err := model(t, m, "pull", "toy", "-o", "toy.bin"); !asUsage(err, &u) {
		t.Errorf("ending: %v", err)
	}
	if _, err := model(t, m, "pull", "nosuch"); !asUsage(err, &u) || !strings.Contains(err.Error(), "toy") {
		t.Errorf("unknown: %v", err)
	}
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("a model was written: %v", err)
	}
	so, err := model(t, m, "pull", "toy", "--accept-licence", "--from", wheel, "-o", out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"toy.whit: ", "unclear: nobody said a word", "pip download", "gray, stretch 28x28", "mind the gap", "MIT", "nothing"} {
		if !strings.Contains(so, want) {
			t.Errorf("%q is not in\n%s", want, so)
		}
	}
	// From now on the cache has it.
	onnx := filepath.Join(dir, "toy.onnx")
	so, err = model(t, m, "pull", "toy", "--accept-licence", "-o", onnx, "--json")
	var r struct {
		Schema, Bytes int
		Output, Terms string
		Cached        bool
	}
	if e := json.Unmarshal([]byte(so), &r); err != nil || e != nil || r.Schema != 1 || r.Bytes < 1000 || r.Terms != m.Terms || !r.Cached {
		t.Errorf("%v, %v, %s", err, e, so)
	}
	so, err = model(t, m, "list")
	if err != nil || !strings.Contains(so, "true") || !strings.Contains(so, "unclear") {
		t.Errorf("%v\n%s", err, so)
	}
	if so, err = model(t, m, "list", "--long"); err != nil || !strings.Contains(so, "mind the gap") {
		t.Errorf("%v\n%s", err, so)
	}

	// Card, source and terms stay with the model.
	digits, recipe := filepath.Join(dir, "digits.npz"), filepath.Join(dir, "recipe.yaml")
	y := make([]int64, 60)
	for i := range y {
		y[i] = int64(i % 10)
	}
	var npz bytes.Buffer
	if err := tensor.WriteNPZ(&npz, []tensor.Named{{Name: "x", T: optest.Rand(1, tensor.Float32, 60, 1, 28, 28)}, {Name: "y", T: tensor.From(y, 60)}}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(digits, npz.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(recipe, []byte("recipe: 1\nsteps:\n  - {method: codebook, bits: 4}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	back, small := filepath.Join(dir, "back.onnx"), filepath.Join(dir, "small.whit")
	if code, _, errs := whit(t, "convert", out, back); code != exitOK {
		t.Fatal(errs)
	}
	if code, _, errs := whit(t, "compress", onnx, "--data", digits, "--recipe", recipe, "-o", small); code != exitOK {
		t.Fatal(errs)
	}
	for _, p := range []string{out, onnx, back, small} {
		f, err := modelfile.Load(p, "")
		if err != nil {
			t.Fatal(err)
		}
		if f.Card == nil || f.Card.Licence != "MIT" || f.Graph.Meta[zoo.MetaModel] != "toy from toy 1.0" || !strings.Contains(f.Graph.Meta[zoo.MetaTerms], m.Terms) || f.Graph.Meta[zoo.MetaTrained] != "nothing" {
			t.Errorf("%s: card %+v, metadata %v", filepath.Base(p), f.Card, f.Graph.Meta)
		}
		code, so, errs := whit(t, "inspect", p)
		if code != exitOK || !strings.Contains(so, "toy from toy 1.0") || !strings.Contains(so, "nobody said a word") || !strings.Contains(so, "licence  MIT") {
			t.Errorf("inspect %s: %s%s", filepath.Base(p), so[:min(len(so), 600)], errs)
		}
	}
}

func asUsage(err error, u *usageError) bool {
	v, ok := err.(usageError)
	*u = v
	return ok
}

func TestModelList(t *testing.T) {
	t.Setenv("WHIT_CACHE", t.TempDir())
	code, so, errs := whit(t, "model", "list", "--json")
	var r struct {
		Schema int
		Models []struct {
			Name, Licence, Package, Command string
			Commercial                      string `json:"commercial_use"`
			Prep                            string `json:"preprocessing"`
			Trained                         string `json:"trained_on"`
		}
	}
	if err := json.Unmarshal([]byte(so), &r); code != exitOK || err != nil || r.Schema != 1 || len(r.Models) != len(zoo.Models()) {
		t.Fatalf("exit %d, %v: %s%s", code, err, so, errs)
	}
	for _, m := range r.Models {
		if m.Name == "" || m.Licence == "" || m.Package == "" || m.Command == "" || m.Commercial == "" || m.Prep == "" || m.Trained == "" {
			t.Errorf("%+v", m)
		}
	}
}
