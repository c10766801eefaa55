package kern

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"whit/internal/cpu"
)

// TestVariants lists every micro-kernel in assembly: those that this CPU and build
// run, and those that no test of this run has reached (go test -run Variants -v).
func TestVariants(t *testing.T) {
	f := cpu.Detect()
	can := map[string]bool{
		"amd64/avx2": f.AVX2FMA, "amd64/avx512": f.AVX512, "amd64/vnni": f.VNNI, "amd64/vbmi": f.VBMI, "amd64/amx": f.AMX,
		"arm64/neon": f.NEON, "arm64/dotprod": f.DotProd,
	}
	files, err := filepath.Glob("*.s")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no assembly found")
	}
	for _, file := range files {
		name, arch, ok := cutLast(strings.TrimSuffix(file, ".s"), "_")
		_, isa, ok2 := cutLast(name, "_")
		runs, known := can[arch+"/"+isa]
		if !ok || !ok2 || !known {
			t.Errorf("%s: the name must end in _ISA_ARCH.s", file)
			continue
		}
		if !testing.Verbose() {
			continue
		}
		if runs && arch == runtime.GOARCH {
			fmt.Println("RUN", name)
		} else {
			fmt.Printf("NOT RUN %s: this CPU or build (%s, %v) lacks %s\n", name, runtime.GOARCH, f, isa)
		}
	}
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
