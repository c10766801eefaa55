package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFullDisk writes to a file system that is too small, and to one that is read-only.
func TestFullDisk(t *testing.T) {
	t.Setenv("WHIT_CACHE", t.TempDir())
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	src := t.TempDir()
	model, npz := filepath.Join(src, "m.onnx"), filepath.Join(src, "d.npz")
	save(t, smallGraph(1), model)
	dataset(t, npz, 60)
	digits := filepath.Join(src, "digits.onnx")
	if code, _, errs := contract(t, "train", "--data", npz, "--epochs", "1", "-o", digits); code != exitOK {
		t.Fatal(errs)
	}
	for name, c := range map[string]struct {
		flags uintptr
		opts  string
		want  string
	}{
		"full":      {0, "size=4k", "no space"},
		"read-only": {syscall.MS_RDONLY, "size=4k", "read-only"},
	} {
		t.Run(name, func(t *testing.T) {
			disk := t.TempDir()
			if err := syscall.Mount("whit", disk, "tmpfs", c.flags, c.opts); err != nil {
				t.Skip(err)
			}
			defer syscall.Unmount(disk, syscall.MNT_DETACH)
			if name == "full" {
				put(t, filepath.Join(disk, "fill"), make([]byte, 4096))
			}
			out := filepath.Join(disk, "o.onnx")
			for _, args := range [][]string{
				{"convert", model, out}, {"convert", model, filepath.Join(disk, "o.whit")},
				{"run", model, "--seed-input", "--output", filepath.Join(disk, "y.npz")},
				{"encode", npz, filepath.Join(disk, "o.bin")},
				{"train", "--data", npz, "--epochs", "1", "-o", out},
				{"scan", digits, "--data", npz, "--methods", "zero", "-o", filepath.Join(disk, "s.json")},
				{"compress", digits, "--data", npz, "--time", "1s", "-o", filepath.Join(disk, "o.whit")},
			} {
				code, _, errs := contract(t, args...)
				if code != exitFailed || !strings.Contains(errs, c.want) {
					t.Errorf("%s: exit %d, %q", args[0], code, errs)
				}
				es, _ := os.ReadDir(disk)
				for _, e := range es {
					if e.Name() != "fill" && !strings.HasSuffix(e.Name(), ".work") {
						t.Errorf("%s leaves %s", args[0], e.Name())
					}
				}
			}
		})
	}
}
