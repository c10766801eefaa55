package torch

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"whit/tensor"
)

func ExampleRead() {
	f, err := os.Open("testdata/zip.pt")
	if err != nil {
		panic(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		panic(err)
	}
	list, err := Read(f, st.Size())
	if err != nil {
		panic(err)
	}
	fmt.Println(len(list), list[0].Name, list[0].T.Type)
	// Output: 16 state_dict.conv.weight float32[2,3,2,2]
}

func stored(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func read(b []byte) ([]tensor.Named, error) { return Read(bytes.NewReader(b), int64(len(b))) }

// TestRead reads the files of testdata, which PyTorch 2.0.1 wrote: element i of a
// tensor is i/2-3, of integers i-3, of bytes i, of booleans i odd; "transposed" and
// "column" are views of "shared".
func TestRead(t *testing.T) {
	half := func(i int) float64 { return float64(i)/2 - 3 }
	whole := func(i int) float64 { return float64(i) - 3 }
	for _, name := range []string{"legacy.pt", "zip.pt"} {
		list, err := read(stored(t, name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var names []string
		for _, c := range []struct {
			name, typ string
			f         func(i int) float64
		}{
			{"conv.weight", "float32[2,3,2,2]", half},
			{"conv.bias", "float32[2]", half},
			{"half", "float16[6]", half},
			{"bf16", "bfloat16[6]", half},
			{"double", "float64[6]", half},
			{"long", "int64[6]", whole},
			{"int", "int32[6]", whole},
			{"short", "int16[6]", whole},
			{"char", "int8[6]", whole},
			{"byte", "uint8[6]", func(i int) float64 { return float64(i) }},
			{"bool", "bool[6]", func(i int) float64 { return float64(i % 2) }},
			{"transposed", "float32[4,3]", func(i int) float64 { return half(i%3*4 + i/3) }},
			{"column", "float32[3]", func(i int) float64 { return half(4*i + 1) }},
			{"shared", "float32[3,4]", half},
			{"scalar", "float32[]", func(int) float64 { return 7.5 }},
			{"empty", "float32[0,3]", nil},
		} {
			names = append(names, "state_dict."+c.name)
			i := slices.IndexFunc(list, func(n tensor.Named) bool { return n.Name == "state_dict."+c.name })
			if i < 0 {
				t.Errorf("%s: no %s", name, c.name)
				continue
			}
			x := list[i].T
			if x.Type.String() != c.typ {
				t.Errorf("%s: %s is %v, want %s", name, c.name, x.Type, c.typ)
				continue
			}
			for i := range x.Len() {
				if got, want := at(x, i), c.f(i); got != want {
					t.Errorf("%s: %s[%d] is %v, want %v", name, c.name, i, got, want)
				}
			}
		}
		var got []string
		for _, n := range list {
			got = append(got, n.Name)
		}
		if !slices.Equal(got, names) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func at(x *tensor.Tensor, i int) float64 {
	switch x.DType {
	case tensor.Float32:
		return float64(tensor.Of[float32](x)[i])
	case tensor.Float64:
		return tensor.Of[float64](x)[i]
	case tensor.Float16:
		return float64(tensor.Of[tensor.F16](x)[i].Float32())
	case tensor.BFloat16:
		return float64(tensor.Of[tensor.BF16](x)[i].Float32())
	case tensor.Int64:
		return float64(tensor.Of[int64](x)[i])
	case tensor.Int32:
		return float64(tensor.Of[int32](x)[i])
	case tensor.Int16:
		return float64(tensor.Of[int16](x)[i])
	case tensor.Int8:
		return float64(tensor.Of[int8](x)[i])
	}
	return float64(x.Bytes()[i])
}

// TestRefused: what a pickle could run is refused by its name.
func TestRefused(t *testing.T) {
	for name, want := range map[string]string{
		"evil_legacy.pt": `"posix.system"`,
		"evil_zip.pt":    `"posix.system"`,
		"module.pt":      `"torch.nn.modules.linear.Linear"`,
		"parameter.pt":   `"torch._utils._rebuild_parameter"`,
	} {
		if _, err := read(stored(t, name)); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

// legacyOf is a file whose dict is the pickle p, with no storages.
func legacyOf(p string) []byte {
	return []byte(magic + "\x80\x02M\xe9\x03." + "}\x8c\rlittle_endian\x88s." + p + "].")
}

// TestHostile: small programs that ask for too much.
func TestHostile(t *testing.T) {
	const float = "ctorch\nFloatStorage\n"
	id := func(n string) string { return "(U\x07storage" + float + "U\x01kU\x03cpu" + n + "tQ" }
	rebuilt := func(id, at, size, stride string) string {
		return "}U\x01w" + "ctorch._utils\n_rebuild_tensor_v2\n(" + id + at + size + stride + "\x89)tRs."
	}
	deep := "}"
	for range 20 {
		deep += "U\x01d}"
	}
	laughs := "}q\x00U\x01a}s"
	for i := byte(1); i < 40; i++ {
		laughs += "0}q" + string([]byte{i}) + "(U\x01ah" + string([]byte{i - 1}) + "U\x01bh" + string([]byte{i - 1}) + "u"
	}
	for name, c := range map[string]struct {
		p    string
		want error
	}{
		"no dict":             {"K\x01.", ErrCorrupt},
		"an unknown global":   {"cos\nsystem\n(U\x04truetR.", ErrRefused},
		"a global by stack":   {"\x8c\x02os\x8c\x06system\x93.", ErrRefused},
		"a subclass":          {"ccollections\nOrderedDict\nq\x00)\x81.", ErrRefused},
		"instance":            {"(ios\nsystem\n.", ErrRefused},
		"extension":           {"\x82\x01.", ErrRefused},
		"a call of a storage": {float + ")R.", ErrRefused},
		"a call of text":      {"U\x01a)R.", ErrRefused},
		"OrderedDict of":      {"ccollections\nOrderedDict\n]\x85R.", ErrCorrupt},
		"empty stack":         {"0.", ErrCorrupt},
		"no mark":             {"t.", ErrCorrupt},
		"mark for a value":    {"((R.", ErrCorrupt},
		"memo":                {"h\x05.", ErrCorrupt},
		"long text":           {"X\xff\xff\xff\x7f.", ErrCorrupt},
		"text beyond the end": {"X\x00\x00\x01\x00.", ErrCorrupt},
		"not UTF-8":           {"U\x01\xff.", ErrCorrupt},
		"long integer":        {"\x8a\xff.", ErrCorrupt},
		"build on a tuple":    {")}b.", ErrCorrupt},
		"values left":         {"}}.", ErrCorrupt},
		"key is a list":       {"}]Ns.", ErrCorrupt},
		"does not end":        {"}", ErrCorrupt},
		"not a storage":       {"U\x01aQ.", ErrRefused},
		"storage not there":   {rebuilt(id("K\x04"), "K\x00", "K\x04\x85", "K\x01\x85"), ErrCorrupt},
		"huge storage":        {rebuilt(id("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"), "K\x00", "K\x04\x85", "K\x01\x85"), ErrCorrupt},
		"negative storage":    {rebuilt(id("J\xff\xff\xff\xff"), "K\x00", "K\x04\x85", "K\x01\x85"), ErrCorrupt},
		"deep":                {deep + strings.Repeat("s", 20) + ".", ErrCorrupt},
		"shared dicts":        {laughs + ".", ErrCorrupt},
		"a dict in itself":    {"}q\x00U\x01ah\x00s.", ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := read(legacyOf(c.p))
			runtime.ReadMemStats(&after)
			if !errors.Is(err, c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want %v", err, c.want)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 256<<20 {
				t.Errorf("%d bytes allocated", n)
			}
		})
	}
	// Views that leave their storage of four elements, or are larger.
	for name, v := range map[string][3]string{
		"offset":   {"K\x01", "K\x04\x85", "K\x01\x85"},
		"negative": {"J\xff\xff\xff\xff", "K\x01\x85", "K\x01\x85"},
		"far":      {"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", "K\x01\x85", "K\x01\x85"},
		"stride":   {"K\x00", "K\x03\x85", "K\x02\x85"},
		"huge":     {"K\x00", "K\x03\x85", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85"},
		"expanded": {"K\x00", "K\xc8\x85", "K\x00\x85"},
		"ranks":    {"K\x00", "K\x02K\x02\x86", "K\x01\x85"},
		"minus":    {"K\x00", "J\xff\xff\xff\xff\x85", "K\x01\x85"},
	} {
		b := legacyOf(rebuilt(id("K\x04"), v[0], v[1], v[2]))
		b = append(b[:len(b)-2], "](U\x01ke.\x04\x00\x00\x00\x00\x00\x00\x00"+strings.Repeat("\x00", 16)...)
		if list, err := read(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("view %s: %v, %v", name, list, err)
		}
	}
	b := legacyOf(rebuilt(id("K\x04"), "K\x00", "K\x04\x85", "K\x01\x85"))
	b = append(b[:len(b)-2], "](U\x01ke.\x04\x00\x00\x00\x00\x00\x00\x00"+strings.Repeat("\x00", 16)...)
	if list, err := read(b); err != nil || len(list) != 1 {
		t.Errorf("the sound one: %v, %v", list, err)
	}
}

// TestCut: a file cut at any byte, or with any byte changed, is an error or a dict.
func TestCut(t *testing.T) {
	for _, name := range []string{"legacy.pt", "zip.pt"} {
		b := stored(t, name)
		for n := range b {
			if _, err := read(b[:n]); err == nil {
				t.Errorf("%s cut at %d: no error", name, n)
			}
			c := bytes.Clone(b)
			c[n] ^= 0xff
			if _, err := read(c); err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrRefused) {
				t.Errorf("%s, byte %d: %v", name, n, err)
			}
		}
	}
}

// FuzzRead: no panic, and no more memory than the file stands for.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"legacy.pt", "zip.pt", "evil_zip.pt", "parameter.pt"} {
		f.Add(stored(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := read(b)
		if err != nil {
			return
		}
		n := 0
		for _, x := range list {
			n += len(x.T.Bytes())
		}
		if n > maxShare*len(b) {
			t.Fatalf("%d bytes of tensors from %d", n, len(b))
		}
	})
}
