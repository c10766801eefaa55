package compress

import (
	"strings"
	"testing"
)

func TestFront(t *testing.T) {
	for _, tc := range []struct {
		name string
		all  []Candidate
		want string
	}{
		{"none", nil, ""},
		{"one", []Candidate{{Name: "a", Bytes: 5, Metric: 0.5}}, "a"},
		{"smaller and worse stays", []Candidate{{Name: "a", Bytes: 5, Metric: 0.5}, {Name: "b", Bytes: 4, Metric: 0.4}}, "b a"},
		{"larger and worse goes", []Candidate{{Name: "a", Bytes: 5, Metric: 0.5}, {Name: "b", Bytes: 6, Metric: 0.4}, {Name: "c", Bytes: 5, Metric: 0.45}}, "a"},
		{"faster stays", []Candidate{{Name: "a", Bytes: 5, Metric: 0.5, Ms: 2}, {Name: "b", Bytes: 6, Metric: 0.4, Ms: 1}}, "a b"},
		{"equal ones are one", []Candidate{{Name: "a", Bytes: 5, Metric: 0.5}, {Name: "b", Bytes: 5, Metric: 0.5}}, "a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var names []string
			for _, c := range (&Result{Pareto: tc.all}).Front() {
				names = append(names, c.Name)
			}
			if got := strings.Join(names, " "); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}
