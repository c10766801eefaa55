package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"whit/graph"
	"whit/internal/modelfile"
	"whit/tensor"
)

// TestDelta: a file is restored from another and the delta; a wrong base, a delta alone
// and a file that is none are told.
func TestDelta(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, last float32) string {
		g := graph.New("m")
		x := tensor.New(tensor.Float32, 8, 4)
		for i, f := 0, tensor.Of[float32](x); i < len(f); i++ {
			f[i] = float32(i)
		}
		tensor.Of[float32](x)[31] = last
		y := g.Add("", "MatMul", nil, g.AddInput("x", tensor.Float32, -1, 8), g.NewConst("w", x))
		y.Name = "y"
		g.Outputs = []*graph.Value{y}
		path := filepath.Join(dir, name)
		if _, err := modelfile.Save(path, g, nil); err != nil {
			t.Fatal(err)
		}
		return path
	}
	old, next := file("old.whit", 31), file("new.whit", -7)
	delta, back, npz := filepath.Join(dir, "delta.bin"), filepath.Join(dir, "back.whit"), filepath.Join(dir, "w.npz")
	if code, _, errs := contract(t, "encode", "--base", old, next, delta); code != exitOK {
		t.Fatal(errs)
	}
	if code, _, errs := contract(t, "decode", "--base", old, delta, back); code != exitOK {
		t.Fatal(errs)
	}
	a, _ := os.ReadFile(next)
	if b, _ := os.ReadFile(back); !bytes.Equal(a, b) {
		t.Error("the file is not restored")
	}
	for _, c := range []struct {
		args []string
		code int
		say  string
	}{
		{[]string{"decode", "--base", next, delta, back}, exitFailed, "another base"},
		{[]string{"decode", "--base", old, next, back}, exitFailed, "no delta"},
		{[]string{"decode", delta, npz}, exitFailed, "--base"},
		{[]string{"inspect", delta}, exitFailed, "--base"},
		{[]string{"encode", "--base", old, npz, delta}, exitFailed, "w.npz"},
		{[]string{"encode", "--base", old, "--level", "fast", next, delta}, exitUsage, "--level"},
		{[]string{"decode", "--base", old, "--only", "w", delta, back}, exitUsage, "--only"},
		{[]string{"decode", "--only", "none", old, npz}, exitFailed, "none"},
	} {
		if code, _, errs := contract(t, c.args...); code != c.code || !strings.Contains(errs, c.say) {
			t.Errorf("%v: exit %d, %q", c.args, code, errs)
		}
	}
	if code, _, errs := contract(t, "decode", "--only", "w", next, npz); code != exitOK {
		t.Fatal(errs)
	}
	r, size, err := openSized(npz)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	arrays, err := tensor.ReadNPZ(r, size)
	if err != nil || len(arrays) != 1 || arrays[0].Name != "w" || tensor.Of[float32](arrays[0].T)[31] != -7 {
		t.Errorf("%v, %v", arrays, err)
	}
}
