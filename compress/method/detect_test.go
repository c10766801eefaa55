package method

import (
	"math"
	"testing"
)

// grid is scores and offsets of a 3x4 grid with the given cells on.
func grid(on map[int][4]float32) (score, box []float32) {
	const n = 12
	score, box = make([]float32, 2*n), make([]float32, 4*n)
	for p := range n {
		score[p] = 1
	}
	for p, o := range on {
		score[n+p] = 2 + float32(p)/100
		for k, v := range o {
			box[k*n+p] = v
		}
	}
	return score, box
}

func TestDetections(t *testing.T) {
	d := &detector{shape: []int{3, 4}, input: []int{3, 16, 18}, stride: [2]int{2, 2}} // windows of 12 at every second pixel
	want := d.detections(grid(map[int][4]float32{0: {}, 11: {}}))
	if len(want) != 2 || want[1].x0 != 0 || want[1].x1 != 12 || want[0].x0 != 6 || want[0].y1 != 16 {
		t.Fatalf("%+v", want)
	}
	if got := d.detections(grid(map[int][4]float32{0: {}, 1: {}, 11: {}})); len(got) != 2 { // the neighbour is the same thing
		t.Errorf("%+v", got)
	}
	for _, tc := range []struct {
		name string
		on   map[int][4]float32
		want float64
	}{
		{"the same", map[int][4]float32{0: {}, 11: {}}, 1},
		{"the place beside finds it too", map[int][4]float32{1: {}, 11: {}}, 1},
		{"one is lost", map[int][4]float32{11: {}}, 0.5},
		{"its box is off", map[int][4]float32{0: {0.5, 0.5, 0.5, 0.5}, 11: {}}, 0.5},
		{"its box is a little off", map[int][4]float32{0: {0.1, 0, 0.1, 0}, 11: {}}, 1},
		{"empty boxes are none", map[int][4]float32{0: {1, 0, -1, 0}, 11: {}}, 0.5},
		{"none", nil, 0},
		{"no number", map[int][4]float32{0: {float32(math.NaN()), 0, 0, 0}}, 0},
	} {
		if got := recalled(d.detections(grid(tc.on)), want); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	if !math.IsNaN(recalled(want, nil)) {
		t.Error("nothing to find")
	}
	one := &detector{input: []int{3, 24, 24}}
	if b := one.detections([]float32{0, 1}, []float32{0, 0, 0.5, 0}); len(b) != 1 || b[0].x1 != 36 || b[0].y1 != 24 {
		t.Errorf("%+v", b)
	}
}
