package cpu

import (
	"runtime"
	"testing"
)

func TestDetect(t *testing.T) {
	f := Detect()
	t.Logf("%v, %d physical cores", f, PhysicalCores())
	if f.AVX512 && !f.AVX2FMA || f.VNNI && !f.AVX512 || f.VBMI && !f.VNNI || f.AMX && !f.VNNI {
		t.Errorf("%v: a set without the sets that it builds on", f)
	}
	if n := PhysicalCores(); n < 1 || n > runtime.GOMAXPROCS(0) {
		t.Errorf("PhysicalCores() = %d", n)
	}
}

func TestVariants(t *testing.T) {
	all := Features{AVX2FMA: true, AVX512: true, VNNI: true, VBMI: true, AMX: true}
	for _, c := range []struct {
		f    Features
		want int
		name string
	}{
		{Features{}, 1, "portable"},
		{Features{AVX2FMA: true}, 2, "avx2+fma"},
		{all, 7, "avx2+fma avx512 avx512vnni avx512vbmi amxint8"},
		{Features{NEON: true}, 2, "neon"},
	} {
		vs := c.f.Variants()
		if len(vs) != c.want || vs[0] != (Features{}) || vs[len(vs)-1] != c.f {
			t.Errorf("%v: variants %v", c.f, vs)
		}
		if c.f.String() != c.name {
			t.Errorf("String() = %q, want %q", c.f.String(), c.name)
		}
	}
}
