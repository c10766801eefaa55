package tuned

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"whit/kernel"
)

func TestChoices(t *testing.T) {
	t.Setenv("WHIT_CACHE", filepath.Join(t.TempDir(), "cache"))
	k := Key{Model: "m", Binding: "x", CPU: "avx2+fma", Threads: 2, Version: "1"}
	calls := 0
	measure := func() (*kernel.Choices, error) {
		calls++
		return &kernel.Choices{CPU: k.CPU, Of: map[string]string{"Conv": "direct"}}, nil
	}
	get := func(t *testing.T, k Key, measured int) {
		t.Helper()
		before := calls
		c, replayed, err := Choices(k, measure)
		if err != nil || c.Of["Conv"] != "direct" || calls-before != measured || replayed != (measured == 0) {
			t.Fatalf("%v, %v, %v after %d measurements, want %d", c, replayed, err, calls-before, measured)
		}
	}
	get(t, k, 1)
	get(t, k, 0)
	for _, other := range []Key{
		{"n", k.Binding, k.CPU, k.Threads, false, k.Version}, {k.Model, "y", k.CPU, k.Threads, false, k.Version},
		{k.Model, k.Binding, k.CPU, 1, false, k.Version}, {k.Model, k.Binding, k.CPU, k.Threads, true, k.Version},
		{k.Model, k.Binding, k.CPU, k.Threads, false, "2"},
	} {
		get(t, other, 1)
	}
	name, err := Path(k)
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		text []byte
	}{
		{"cut", good[:len(good)-1]}, {"empty", nil}, {"no text", bytes.Repeat([]byte{0xff}, 100)}, {"a candidate less", bytes.Replace(good, []byte("direct\n"), []byte("\n"), 1)},
		{"of another model", bytes.Replace(good, []byte(`"m"`), []byte(`"o"`), 1)}, {"of another processor", bytes.Replace(good, []byte("\ncpu avx2"), []byte("\ncpu avx3"), 1)},
		{"huge", append(bytes.Clone(good), make([]byte, maxFile)...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(name, tt.text, 0o644); err != nil {
				t.Fatal(err)
			}
			get(t, k, 1)
			get(t, k, 0)
			if b, err := os.ReadFile(name); err != nil || !bytes.Equal(b, good) {
				t.Errorf("%v: the file is not written anew: %q", err, b)
			}
		})
	}
	t.Run("not measured", func(t *testing.T) {
		bad := errors.New("bad")
		k.Model = "third"
		if _, _, err := Choices(k, func() (*kernel.Choices, error) { return nil, bad }); err != bad {
			t.Errorf("%v", err)
		}
		if name, _ := Path(k); name != "" {
			if _, err := os.Stat(name); err == nil {
				t.Error("a file without choices")
			}
		}
	})
}
