package cpu

import (
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/cpu"
)

// Detect reports what this processor and its system can run. Instruction sets
// count only where the system saves their registers (XCR0 on amd64). Under the
// build tag noasm it reports nothing.
func Detect() Features {
	if noasm {
		return Features{}
	}
	switch runtime.GOARCH {
	case "amd64":
		x := &cpu.X86
		f := Features{AVX2FMA: x.HasAVX2 && x.HasFMA}
		f.AVX512 = f.AVX2FMA && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL
		f.VNNI = f.AVX512 && x.HasAVX512VNNI
		f.VBMI = f.VNNI && x.HasAVX512VBMI
		f.AMX = f.VNNI && x.HasAMXTile && x.HasAMXInt8 && tilesAllowed()
		return f
	case "arm64":
		return Features{NEON: cpu.ARM64.HasASIMD || runtime.GOOS == "darwin", DotProd: cpu.ARM64.HasASIMDDP}
	}
	return Features{}
}

// And is the features that both sets have: a mask for tests.
func (f Features) And(m Features) Features {
	return Features{
		AVX2FMA: f.AVX2FMA && m.AVX2FMA, AVX512: f.AVX512 && m.AVX512, VNNI: f.VNNI && m.VNNI, VBMI: f.VBMI && m.VBMI, AMX: f.AMX && m.AMX,
		NEON: f.NEON && m.NEON, DotProd: f.DotProd && m.DotProd,
	}
}

// Variants lists the feature sets that kernels should be tested under on a
// processor with features f, from none (portable Go) to all of f, each once.
func (f Features) Variants() []Features {
	out := []Features{{}}
	for _, m := range []Features{
		{AVX2FMA: true},
		{AVX2FMA: true, AVX512: true},
		{AVX2FMA: true, AVX512: true, VNNI: true},
		{AVX2FMA: true, AVX512: true, VNNI: true, AMX: true},
		{AVX2FMA: true, AVX512: true, VNNI: true, VBMI: true},
		{AVX2FMA: true, AVX512: true, VNNI: true, VBMI: true, AMX: true},
		{NEON: true},
		{NEON: true, DotProd: true},
	} {
		if v := f.And(m); v == m {
			out = append(out, v)
		}
	}
	return out
}

// String lists the features by name, "portable" where there are none.
func (f Features) String() string {
	var s []string
	for _, x := range []struct {
		has  bool
		name string
	}{{f.AVX2FMA, "avx2+fma"}, {f.AVX512, "avx512"}, {f.VNNI, "avx512vnni"}, {f.VBMI, "avx512vbmi"}, {f.AMX, "amxint8"}, {f.NEON, "neon"}, {f.DotProd, "dotprod"}} {
		if x.has {
			s = append(s, x.name)
		}
	}
	if s == nil {
		return "portable"
	}
	return strings.Join(s, " ")
}

var physical = sync.OnceValue(func() int {
	n := physicalCores()
	if n <= 0 {
		n = runtime.NumCPU()
	}
	return n
})

// PhysicalCores is the number of processor cores, hyper-threads not counted,
// that this process may run on: at least 1, and at most GOMAXPROCS, which heeds
// the limits of a container. Affinity is read once.
func PhysicalCores() int { return max(1, min(physical(), runtime.GOMAXPROCS(0))) }
