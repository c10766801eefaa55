package main

import (
	"strings"
	"testing"
)

func TestPairs(t *testing.T) {
	at := map[string]int{"a/1.png": 0, "a/2.png": 1, "b/1.png": 2}
	ps, err := parsePairs(strings.NewReader("# two\na/1.png, a/2.png,1\n\na/1.png,b/1.png,0\n"), at)
	if err != nil || len(ps) != 2 || !ps[0].Same || ps[1].Same || ps[1].B != 2 {
		t.Errorf("%v %v", ps, err)
	}
	for src, want := range map[string]string{"a/1.png,a/2.png": "line 1: want NAME", "\na/1.png,c/1.png,1": `line 2: the data have no "c/1.png"`, "a/1.png,a/2.png,yes": "want 1 or 0"} {
		if _, err := parsePairs(strings.NewReader(src), at); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", src, err)
		}
	}
}

func FuzzPairs(f *testing.F) {
	f.Add("a,b,1\nb,a,0")
	f.Add("a,,\n#")
	f.Fuzz(func(t *testing.T, src string) {
		ps, err := parsePairs(strings.NewReader(src), map[string]int{"a": 0, "b": 1})
		for _, p := range ps {
			if err == nil && (p.A < 0 || p.A > 1 || p.B < 0 || p.B > 1) {
				t.Errorf("%+v", p)
			}
		}
	})
}
