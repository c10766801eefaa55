package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"whit/graph"
	"whit/onnx"
	"whit/op"
	"whit/tensor"
)

// TestCases runs the committed cases: networks that PyTorch exported, with the
// outputs of ONNX Runtime, and two of the ONNX project's own.
func TestCases(t *testing.T) {
	for _, args := range [][]string{{"testdata"}, {"-references", "testdata"}, {"-threads", "2", "testdata"}} {
		var out, errs bytes.Buffer
		code, err := run(args, &out, &errs)
		if err != nil || code != 0 {
			t.Fatalf("exit %d, %v\n%s%s", code, err, &out, &errs)
		}
		if !strings.HasSuffix(out.String(), "5 passed, 0 failed, 1 skipped\n") {
			t.Errorf("%v: got\n%s", args, &out)
		}
	}
}

func TestJSON(t *testing.T) {
	var out, errs bytes.Buffer
	if code, err := run([]string{"-json", "-ops", "scope.txt", "testdata"}, &out, &errs); code != 0 || err != nil {
		t.Fatal(code, err)
	}
	var rep report
	if err := json.Unmarshal(out.Bytes(), &rep); err != nil {
		t.Fatal(err)
	}
	if rep.Schema != 1 || rep.Passed != 5 || rep.Skipped != 1 || len(rep.Cases) != 6 || rep.Scope == nil || rep.Scope.Passed != 4 {
		t.Errorf("got %+v", rep)
	}
	for _, c := range rep.Cases {
		if (c.Status == "passed") != (c.Reason == "") {
			t.Errorf("%s %s: reason %q", c.Name, c.Status, c.Reason)
		}
	}
	if errs.String() != "5 passed, 0 failed, 1 skipped\n" {
		t.Errorf("stderr: %q", &errs)
	}
}

// TestRewrite runs what whit wrote of the cases' models.
func TestRewrite(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	if code, err := run([]string{"-rewrite", dir, "testdata"}, &out, &out); code != 0 || err != nil {
		t.Fatal(code, err, &out)
	}
	out.Reset()
	if code, err := run([]string{dir}, &out, &out); code != 0 || err != nil || !strings.HasSuffix(out.String(), "5 passed, 0 failed, 1 skipped\n") {
		t.Error(code, err, &out)
	}
}

// TestExcuses: only what is not about tensors of numbers may be skipped.
func TestExcuses(t *testing.T) {
	one := func(domain, name string) *graph.Graph {
		g := graph.New("")
		g.Outputs = []*graph.Value{g.Add(domain, name, nil)}
		return g
	}
	text := fmt.Errorf("%w: input \"x\" has element type string", onnx.ErrUnsupported)
	for _, c := range []struct {
		name string
		err  error
		g    *graph.Graph
		want string
	}{
		{"strings", text, nil, "strings"},
		{"another element type", fmt.Errorf("%w: input \"x\" has element type complex64", onnx.ErrUnsupported), nil, ""},
		{"a broken model", errors.New("element type string"), nil, ""},
		{"an operator of another field", op.ErrUnsupported, one("ai.onnx.ml", "Scaler"), "classical machine learning (ai.onnx.ml)"},
		{"image codecs", op.ErrUnsupported, one("", "ImageDecoder"), "image codecs"},
		{"an operator that must run", op.ErrUnsupported, one("", "Mystery"), ""},
		{"an element type of an operator", op.ErrUnsupported, one("", "Relu"), ""},
	} {
		if got := excuse(c.err, c.g); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	both := one("", "ImageDecoder")
	both.Add("", "Mystery", nil)
	if got := excuse(op.ErrUnsupported, both); got != "" {
		t.Errorf("an operator that must run beside one that need not: %q", got)
	}
}

// TestFailures breaks a case in every way that must be seen.
func TestFailures(t *testing.T) {
	src := filepath.Join("testdata", "branch_13_symbolic")
	data := filepath.Join("test_data_set_0", "output_0.pb")
	for _, c := range []struct {
		name, file string
		edit       func([]byte) []byte
	}{
		{"a wrong value", data, func(b []byte) []byte { b[len(b)-1] ^= 0x40; return b }},
		{"a cut model", "model.onnx", func(b []byte) []byte { return b[:len(b)/2] }},
		{"a cut output", data, func(b []byte) []byte { return b[:len(b)-4] }},
		{"a broken data.json", "data.json", func([]byte) []byte { return []byte("{") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "case")
			if err := os.CopyFS(dir, os.DirFS(src)); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(filepath.Join(dir, c.file))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, c.file), c.edit(b), 0o644); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			code, err := run([]string{dir}, &out, &out)
			if code != 1 || err != nil || !strings.HasSuffix(out.String(), "0 passed, 1 failed, 0 skipped\n") {
				t.Errorf("exit %d, %v: %s", code, err, &out)
			}
		})
	}
}

func TestWrongUse(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
	}{
		{nil, 2}, {[]string{"a", "b"}, 2}, {[]string{"-nonsense"}, 2}, {[]string{"-match", "[", "testdata"}, 2},
		{[]string{"-min", "5", "testdata"}, 0}, {[]string{"-min", "6", "testdata"}, 1},
		{[]string{"-ops", "missing", "testdata"}, 2}, {[]string{"missing"}, 1}, {[]string{"-match", "none*", "testdata"}, 1}, {[]string{"-h"}, 0},
	} {
		var out bytes.Buffer
		if code, _ := run(c.args, &out, &out); code != c.code {
			t.Errorf("%v: exit %d, want %d", c.args, code, c.code)
		}
	}
}

func TestCompare(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	f := func(v ...float32) *tensor.Tensor { return tensor.From(v, len(v)) }
	half := func(v ...float32) *tensor.Tensor {
		h := tensor.New(tensor.BFloat16, len(v))
		tensor.Convert(h, f(v...))
		return h
	}
	tol := tolerance{1e-3, 1e-7}
	for _, c := range []struct {
		name      string
		got, want *tensor.Tensor
		ok        bool
	}{
		{"equal", f(1, nan, inf), f(1, nan, inf), true},
		{"close", f(1.0009), f(1), true},
		{"far", f(1.002), f(1), false},
		{"small", f(1e-8), f(0), true},
		{"infinity of another sign", f(-inf), f(inf), false},
		{"a number for infinity", f(1), f(inf), false},
		{"infinity for a number", f(inf), f(1), false},
		{"NaN for a number", f(nan), f(1), false},
		{"a number for NaN", f(1), f(nan), false},
		{"bfloat16 one unit", half(1.0078125), half(1), true},
		{"bfloat16 two units", half(1.015625), half(1), false},
		{"integers", tensor.Ints(1, 2), tensor.Ints(1, 2), true},
		{"other integers", tensor.Ints(1, 2), tensor.Ints(1, 3), false},
	} {
		if err := compare(c.got, c.want, tol, 1); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
