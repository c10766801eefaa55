package main

import (
	"bytes"
	"context"
	"strings"
	"syscall"
	"testing"
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
