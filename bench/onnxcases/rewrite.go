package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"whit/onnx"
)

// rewriteCases copies cases, with models that whit has read and written, so that
// other programs can run what whit writes.
func rewriteCases(out string, dirs []string, stdout io.Writer) (int, error) {
	var c counts
	for _, dir := range dirs {
		to := filepath.Join(out, filepath.Base(dir))
		switch err := rewriteCase(dir, to); {
		case err == nil:
			c.Passed++
		case errors.Is(err, onnx.ErrUnsupported):
			c.Skipped++
			os.RemoveAll(to)
		default:
			c.Failed++
			fmt.Fprintf(stdout, "failed %s: %v\n", filepath.Base(dir), err)
		}
	}
	fmt.Fprintln(stdout, c)
	if c.Failed > 0 {
		return 1, nil
	}
	return 0, nil
}

func rewriteCase(dir, to string) error {
	g, err := onnx.ReadFile(filepath.Join(dir, "model.onnx"))
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(dir, "test_data_set_*", "*.pb"))
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "data.json")); err == nil {
		files = append(files, filepath.Join(dir, "data.json"))
	}
	for _, f := range files {
		rel, err := filepath.Rel(dir, f)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(dst, b, 0o644); err != nil {
			return err
		}
	}
	return onnx.WriteFile(filepath.Join(to, "model.onnx"), g)
}
