package stat

import (
	"slices"
	"testing"

	"whit/tensor"
)

type last struct{ x *tensor.Tensor }

func (l *last) Observe(x *tensor.Tensor) error { l.x = x; return nil }

func TestChannels(t *testing.T) {
	x := tensor.From([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 2, 3, 2)
	for _, tc := range []struct {
		name string
		keep []int
		axis int
		want []float32
	}{
		{"all", nil, 1, []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
		{"some", []int{0, 2}, 1, []float32{1, 2, 5, 6, 7, 8, 11, 12}},
		{"of the last axis", []int{1}, -1, []float32{2, 4, 6, 8, 10, 12}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var l last
			if err := (&Channels{tc.keep, tc.axis, &l}).Observe(x); err != nil {
				t.Fatal(err)
			}
			if got := tensor.Of[float32](l.x); !slices.Equal(got, tc.want) {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
}
