package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"whit/internal/optest"
	"whit/tensor"
)

// TestTrainArch trains an architecture on arrays that are not its usual input: the
// number of classes and the input come from the data.
func TestTrainArch(t *testing.T) {
	dir := t.TempDir()
	x := optest.Rand(1, tensor.Float32, 24, 1, 12, 10)
	y := make([]int64, 24)
	for i := range y {
		y[i] = int64(i % 4)
	}
	npz := filepath.Join(dir, "tiny.npz")
	f, err := os.Create(npz)
	if err != nil {
		t.Fatal(err)
	}
	if err := tensor.WriteNPZ(f, []tensor.Named{{Name: "x", T: x}, {Name: "y", T: tensor.From(y, len(y))}}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out.whit")
	if code, _, errs := whit(t, "train", "--arch", "vgg-s", "--data", npz, "--epochs", "1", "--batch", "8", "-o", out); code != exitOK {
		t.Fatal(errs)
	}
	// What whit compress chooses by, 30% of 24, is left out, and what it tests on.
	held := filepath.Join(dir, "held.whit")
	if code, so, errs := whit(t, "train", "--arch", "vgg-s", "--data", npz, "--epochs", "1", "--batch", "8", "--hold-out", "--json", "-o", held); code != exitOK || !strings.Contains(so, `"n":7,`) {
		t.Errorf("%s%s", so, errs)
	}
	if read(t, out) == read(t, held) {
		t.Error("trained on what was to be left out")
	}
	code, so, errs := whit(t, "inspect", out)
	if code != exitOK || !strings.Contains(so, "float32[N,1,12,10]") || !strings.Contains(so, "float32[N,4]") {
		t.Errorf("%s%s", so, errs)
	}
	if code, _, errs := whit(t, "eval", out, "--data", npz); code != exitOK {
		t.Error(errs)
	}
	for args, want := range map[string]string{
		"--arch resnet18 --width 2":            "no width",
		"--arch mobilenet1 --width -1":         "width",
		"--arch resnet20 --size -4":            "sides",
		"--arch lenet5 --size 2 --data " + npz: "too small",
	} {
		if code, _, errs := whit(t, append([]string{"train"}, strings.Fields(args)...)...); code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d, %q, want %q", args, code, errs, want)
		}
	}
}
