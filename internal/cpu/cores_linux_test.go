package cpu

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestCountCores(t *testing.T) {
	dir := t.TempDir()
	// two packages of two cores of two threads
	for i := range 8 {
		d := filepath.Join(dir, fmt.Sprintf("cpu%d", i), "topology")
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		os.WriteFile(filepath.Join(d, "physical_package_id"), fmt.Appendf(nil, "%d\n", i/4), 0o644)
		os.WriteFile(filepath.Join(d, "core_id"), fmt.Appendf(nil, "%d\n", i/2%2), 0o644)
	}
	for _, c := range []struct {
		name string
		has  func(int) bool
		want int
	}{
		{"all", func(i int) bool { return i < 8 }, 4},
		{"two threads of a core", func(i int) bool { return i < 2 }, 1},
		{"one of each package", func(i int) bool { return i == 0 || i == 7 }, 2},
		{"unknown CPU", func(i int) bool { return i == 9 }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if n := countCores(dir, c.has, 16); n != c.want {
				t.Errorf("%d cores, want %d", n, c.want)
			}
		})
	}
}
