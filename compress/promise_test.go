package compress

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"whit/card"
	"whit/data"
	"whit/graph"
	"whit/tensor"
)

// A file never has the good name beyond the size that was asked for; where none is small enough, the best that was
// found is there all the same, with the error that says by how much. What can be reached is, however little time there is.
func TestTargetSize(t *testing.T) {
	for k, size := range []int64{10_000, 700, 420, 380, 330, 40, 700} {
		dir := t.TempDir()
		o := Options{Metric: "cosine", Budget: Budget{TargetSize: size, Time: time.Duration(k / 6)}, Out: filepath.Join(dir, "o.whit")}
		r, err := Run(context.Background(), blur(), card.Card{}, Data{Set: noisy{40}}, o)
		if err != nil && !errors.Is(err, ErrUnmet) {
			t.Fatal(err)
		}
		st, good := os.Stat(o.Out)
		if met := err == nil; met != (good == nil) || met != r.Met || met && st.Size() > size {
			t.Errorf("%d bytes: %v, %v, %+v", size, err, good, r.Bytes)
		}
		if err == nil {
			if size == 40 {
				t.Error("40 bytes hold a network")
			}
			continue
		}
		if size >= 700 {
			t.Errorf("%d bytes were not reached: %v", size, err)
		}
		var u *UnmetError
		if !errors.As(err, &u) || !strings.HasSuffix(u.Path, ".unmet.whit") || len(u.Missed) != 1 || !strings.HasSuffix(u.Missed[0].By, "bytes") {
			t.Errorf("%+v", err)
			continue
		}
		if st, err := os.Stat(u.Path); err != nil || st.Size() <= size || st.Size() != r.Bytes.After {
			t.Errorf("%v, %+v", err, st)
		}
	}
}

// A target of latency that was not reached, or not measured, is a budget that was missed; where fresh processes take a little longer than the
// search thought, it goes on.
func TestTargetLatency(t *testing.T) {
	for _, tc := range []struct {
		name   string
		after  []float64 // by measurement, the last for all others
		missed string
		times  int
	}{
		{"kept", []float64{0.9}, "", 2}, {"kept at the second try", []float64{1.2, 0.9}, "", 3}, {"missed", []float64{1.4}, "0.4 ms", 3},
		{"far from it", []float64{3}, "2 ms", 2}, {"not measured", nil, "not measured", 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := 0.05
			o := Options{Metric: "cosine", Budget: Budget{MaxDrop: &d, TargetLatency: time.Millisecond, Time: time.Minute}, Out: filepath.Join(t.TempDir(), "o.whit")}
			o.Methods = []string{"round"}
			times := 0
			o.Measure = func(context.Context, *graph.Graph, string) (*Measured, error) {
				if times++; tc.after == nil {
					return nil, nil
				}
				return &Measured{Latency: &Latency{Before: Interval{Value: 2}, After: Interval{Value: tc.after[min(times, len(tc.after))-1]}}}, nil
			}
			r, err := Run(context.Background(), blur(), card.Card{}, Data{Set: noisy{40}}, o)
			if (tc.missed == "") != (err == nil) || err != nil && !errors.Is(err, ErrUnmet) {
				t.Fatal(err)
			}
			if err != nil && (!strings.Contains(err.Error(), "target latency") || !strings.Contains(err.Error(), tc.missed) || r.Met || r.Unmet == "") {
				t.Errorf("%v, %+v", err, r.Budgets)
			}
			if times != tc.times {
				t.Errorf("measured %d times, want %d", times, tc.times)
			}
		})
	}
}

// A certificate needs more than the point estimate, and what is missing is said.
func TestCertified(t *testing.T) {
	for _, tc := range []struct {
		name         string
		lost, gained int
		met, sure    bool
	}{{"nothing lost", 0, 0, true, true}, {"within, not certain", 8, 0, true, false}, {"beyond", 15, 0, false, false}, {"better", 1, 9, true, true}} {
		t.Run(tc.name, func(t *testing.T) {
			var p points
			for i := range 1000 {
				x := []float32{1, 0}
				switch {
				case i < tc.lost:
					x[1] = 2
				case i < tc.lost+tc.gained:
					x[0], x[1] = -1, -2
				}
				p.x, p.y, p.group = append(p.x, x), append(p.y, 0), append(p.group, "")
			}
			c, err := Compare(context.Background(), linear([]float32{1, 0}, []float32{0, 0}), linear([]float32{1, 0}, []float32{0, 1}), p, "top1", nil, 1)
			if err != nil {
				t.Fatal(err)
			}
			d := 0.01
			r := &run{o: Options{Budget: Budget{MaxDrop: &d}}, metric: "top1", res: &Result{Metric: c.Metric}}
			r.budgets()
			if b := r.res.Budgets[0]; b.Met != tc.met || r.res.Certified != tc.sure {
				t.Errorf("%+v, certified %v, %+v", b, r.res.Certified, c.Metric)
			}
			if need := r.res.Metric.NeedN; (need > 1000) != (tc.met && !tc.sure) {
				t.Errorf("%d images would be enough", need)
			}
		})
	}
}

// Models of several inputs are refused in words, before anything is done.
func TestSeveralInputs(t *testing.T) {
	g := residual()
	g.Outputs[0] = g.Add("", "Add", nil, g.Outputs[0], g.AddInput("other", tensor.Float32, -1, 1, 12, 12))
	_, err := Run(context.Background(), g, card.Card{}, Data{Set: noisy{40}}, Options{Metric: "cosine"})
	if err == nil || !strings.Contains(err.Error(), "2 inputs") {
		t.Error(err)
	}
}

// TestNotes holds that a model that does better on the images that choices are made by than on the test images is spoken of.
func TestNotes(t *testing.T) {
	g := mlp(t)
	for name, hard := range map[string]bool{"alike": false, "harder": true} {
		t.Run(name, func(t *testing.T) {
			test := blobs{n: 300, from: 2000, shuffled: hard}
			d := Data{Set: blobs{n: 900}, Test: func(context.Context) (data.Dataset, error) { return test, nil }}
			res, err := Run(context.Background(), g, card.Card{}, d, Options{Budget: Budget{MaxDrop: drop(0.05)}, NoFinetune: true})
			if err != nil {
				t.Fatal(err)
			}
			if got := len(res.Notes) == 1 && strings.Contains(res.Notes[0], "trained on"); got != hard || !hard && len(res.Notes) > 0 {
				t.Errorf("%q", res.Notes)
			}
		})
	}
}
