package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"whit/graph"
	"whit/tensor"
)

// whit runs one command line in this process.
func whit(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string // on stderr
	}{
		{"version", exitOK, ""},
		{"version --json", exitOK, ""},
		{"--help", exitOK, ""},
		{"", exitOK, ""},
		{"nosuchverb", exitUsage, "unknown verb"},
		{"bench", exitUsage, "accepts 1 arg"},
		{"bench --nosuch x", exitUsage, "unknown flag"},
		{"bench /nosuch/model.onnx", exitFailed, "model.onnx"},
		{"run main.go", exitUsage, "--input"},
		{"inspect main.go", exitFailed, "main.go"},
		{"convert a.onnx b.txt", exitUsage, ".onnx or .whit"},
		{"run main.go --seed-input --threads -1", exitUsage, "--threads"},
		{"run main.go --seed-input --threads 1000000", exitUsage, "--threads"},
		{"eval main.go --batch -1", exitUsage, "--batch"},
		{"train --batch -1", exitUsage, "--batch"},
		{"completion bash", exitOK, ""},
		{"completion nosuch", exitUsage, "completion --help"},
		{"train --arch nosuch", exitUsage, "lenet300"},
		{"help bench", exitOK, ""},
		{"help nosuch", exitUsage, "nosuch"},
		{"help data nosuch", exitUsage, "nosuch"},
		{"data pull", exitUsage, "whit data pull --help"},
		{"data pull nosuch", exitUsage, "nosuch"},
		{"data list x", exitUsage, "whit data list --help"},
		{"model pull", exitUsage, "whit model pull --help"},
		{"model list x", exitUsage, "whit model list --help"},
	} {
		t.Run(c.args, func(t *testing.T) {
			code, _, errs := whit(t, strings.Fields(c.args)...)
			if code != c.code || !strings.Contains(errs, c.want) {
				t.Errorf("exit %d, stderr %q; want %d, %q", code, errs, c.code, c.want)
			}
			if code != exitOK && strings.Count(errs, "\n") != 1 {
				t.Errorf("stderr is not one line: %q", errs)
			}
		})
	}
}

// TestStdoutFull: a result that cannot be told is a failure.
func TestStdoutFull(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"version", "--json"}, {"data", "list"}, {"--help"}} {
		var errs bytes.Buffer
		if code := run(context.Background(), args, fullWriter{}, &errs); code != exitFailed || !strings.Contains(errs.String(), "no space") {
			t.Errorf("%q: exit %d, %q", args, code, errs.String())
		}
	}
}

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestFlags: flags that contradict each other, or could only fail when the work is done, are refused at once.
func TestFlags(t *testing.T) {
	dir := t.TempDir()
	in := func(s string) string { return filepath.Join(dir, s) }
	save(t, smallGraph(1), in("m.onnx"))
	save(t, smallGraph(2), in("m.whit"))
	dataset(t, in("d.npz"), 60)
	if code, _, errs := contract(t, "encode", in("d.npz"), in("d.bin")); code != exitOK {
		t.Fatal(errs)
	}
	loose := t.TempDir()
	put(t, filepath.Join(loose, "a.png"), nil)
	compress := func(args ...string) []string {
		return append(list("compress", in("m.onnx"), "--data", in("d.npz"), "-o", in("o.whit")), args...)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{list("--version"), exitOK, ""},
		{list("demo", "--arch", "resnet20", "--dir", in("demo")), exitUsage, "lenet300 or lenet5"},
		{list("bench", in("m.onnx"), "--iters", "99999999999"), exitUsage, "--iters"},
		{list("bench", in("m.onnx"), "--iters", "0"), exitUsage, "--iters"},
		{list("convert", in("m.onnx"), in("o.onnx"), "--level", "fast"), exitUsage, "--level"},
		{list("convert", in("m.onnx"), in("o.onnx"), "--strip"), exitUsage, "--strip"},
		{list("convert", in("m.onnx"), in("o.onnx"), "--tune"), exitUsage, "--tune"},
		{list("inspect", in("m.onnx"), "--tune"), exitUsage, "--plan"},
		{list("inspect", in("d.bin")), exitFailed, "whit decode"},
		{list("encode", in("d.npz"), in("d.npz")), exitUsage, "is an input"},
		{list("encode", "--base", in("m.whit"), in("m.whit"), in("m.whit")), exitUsage, "is an input"},
		{list("decode", in("d.bin"), in("d.bin")), exitUsage, "is an input"},
		{list("decode", in("d.bin"), in("o.npz"), "--only", "x", "--only", "x"), exitUsage, "twice"},
		{list("run", in("m.onnx"), "--seed-input", "--output", in("m.onnx")), exitUsage, "is the model"},
		{list("run", in("m.onnx"), "--seed-input", "--output", in("none/y.npz")), exitFailed, "there is no folder " + in("none")},
		{list("scan", in("m.onnx"), "--data", in("d.npz"), "--plot", in("none/s.svg")), exitFailed, "there is no folder"},
		{list("scan", in("m.onnx"), "--data", in("d.npz"), "--keep", "["), exitUsage, "--keep"},
		{compress("--report", in("none/r.html")), exitFailed, "there is no folder"},
		{compress("--onnx", in("none/o.onnx")), exitFailed, "there is no folder"},
		{compress("--onnx", in("o.txt")), exitUsage, ".onnx"},
		{compress("--test", in("none")), exitFailed, "--test"},
		{compress("--report-images", "-1"), exitUsage, "--report-images"},
		{compress("--keep", "a*,["), exitUsage, "--keep"},
		{compress("--whole"), exitUsage, "--recipe"},
		{compress("--optimizer", "frobnicate"), exitUsage, "adamw"},
		{compress("--augment", "frobnicate"), exitUsage, "shiftP"},
		{compress("--max-drop", "0.5dB", "--metric", "top1"), exitUsage, "dB"},
		{compress("--max-drop", "0.5%", "--metric", "psnr"), exitUsage, "dB"},
	} {
		code, _, errs := contract(t, c.args...)
		if code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%q: exit %d, %q; want %d, %q", c.args, code, errs, c.code, c.want)
		}
	}
	only(t, dir, "m.onnx", "m.whit", "d.npz", "d.bin")
	trained := in("t.onnx")
	if code, _, errs := contract(t, "train", "--data", in("d.npz"), "--epochs", "1", "-o", trained); code != exitOK {
		t.Fatal(errs)
	}
	// Of decisions there are no dB: it was half of them.
	if code, _, errs := contract(t, "compress", trained, "--data", in("d.npz"), "-o", in("o.whit"), "--max-drop", "0.5dB"); code != exitFailed || !strings.Contains(errs, "psnr") {
		t.Errorf("dB of a classifier: exit %d, %q", code, errs)
	}
	if code, _, errs := contract(t, "compress", trained, "--data", in("d.npz"), "-o", in("o.whit"), "--keep", "*"); code != exitFailed || !strings.Contains(errs, "keeps every layer") {
		t.Errorf("all kept: exit %d, %q", code, errs)
	}
	if code, _, errs := contract(t, "compress", trained, "--data", in("d.npz"), "-o", in("o.whit"), "--test", loose); code != exitFailed || !strings.Contains(errs, "no class folders") {
		t.Errorf("a test set without classes: exit %d, %q", code, errs)
	}
	q := graph.New("quantised")
	w := q.Add("", "DequantizeLinear", nil, q.NewConst("w", tensor.New(tensor.Int8, 784, 10)), q.NewConst("s", tensor.From([]float32{1}, 1)))
	v := q.Add("", "MatMul", nil, q.Add("", "Flatten", nil, q.AddInput("x", tensor.Float32, -1, 1, 28, 28)), w)
	v.Name, q.Outputs = "y", []*graph.Value{v}
	save(t, q, in("q.onnx"))
	if code, _, errs := contract(t, "compress", in("q.onnx"), "--data", in("d.npz"), "-o", in("o.whit")); code != exitFailed || !strings.Contains(errs, "quantised already") {
		t.Errorf("a quantised model: exit %d, %q", code, errs)
	}
	for s, want := range map[string]int64{"5": 5, "3kb": 3000, "2 KiB": 2048, "1GB": 1e9, "1.5MB": 1.5e6, "7B": 7} {
		if n, err := parseSize(s); err != nil || n != want {
			t.Errorf("size %s: %d, %v", s, n, err)
		}
	}
}
