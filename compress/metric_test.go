package compress

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"whit/card"
	"whit/graph"
	"whit/tensor"
)

// noisy is a set of pictures with noise, and without as targets.
type noisy struct{ n int }

func (d noisy) Len() int         { return d.n }
func (noisy) Shape() []int       { return []int{1, 12, 12} }
func (noisy) TargetShape() []int { return []int{1, 12, 12} }
func (noisy) Labels() []string   { return nil }
func (noisy) Hash(i int) [32]byte {
	return sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(i)))
}
func (d noisy) at(i, p int) float64 {
	h := d.Hash(i)
	return 0.5 + 0.4*math.Sin(float64(p%12)*(0.1+float64(h[0])/512)+float64(p/12)*float64(h[1])/512)
}

func (d noisy) Read(_ context.Context, idx []int, x []float32, y []int32) error {
	for k, i := range idx {
		for p := range 144 {
			h := sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(i*144+p)))
			x[k*144+p] = float32(d.at(i, p) + 0.1*(float64(h[0])/255-0.5))
		}
		if y != nil {
			y[k] = -1
		}
	}
	return nil
}

func (d noisy) ReadTargets(_ context.Context, idx []int, t []float32) error {
	for k, i := range idx {
		for p := range 144 {
			t[k*144+p] = float32(d.at(i, p))
		}
	}
	return nil
}

// blur is a network that removes some of the noise, in two convolutions.
func blur() *graph.Graph {
	g := graph.New("blur")
	x := g.AddInput("input", tensor.Float32, -1, 1, 12, 12)
	w := func(name string, out, in int, gain float64) *graph.Value {
		v := tensor.New(tensor.Float32, out, in, 3, 3)
		f := tensor.Of[float32](v)
		for i := range f {
			k := []float64{1, 2, 1, 2, 4, 2, 1, 2, 1}[i%9] / 16
			f[i] = float32(gain * k * (1 + 0.02*math.Sin(float64(i))))
		}
		return g.NewConst(name, v)
	}
	attrs := map[string]any{"pads": []int64{1, 1, 1, 1}, "kernel_shape": []int64{3, 3}}
	h := g.Add("", "Conv", attrs, x, w("a.weight", 8, 1, 1))
	h = g.Add("", "Relu", nil, h)
	g.Outputs = []*graph.Value{g.Add("", "Conv", attrs, h, w("b.weight", 1, 8, 0.125))}
	return g
}

// Models that decide nothing are compressed by what their outputs lose.
func TestMetrics(t *testing.T) {
	for _, tc := range []struct {
		metric, want, unit string
		drop               float64
	}{
		{"", "psnr", "dB", 0.05},
		{"psnr", "psnr", "dB", 0.5},
		{"cosine", "cosine", "of cosine", 0.001},
	} {
		t.Run(tc.metric+" "+tc.unit, func(t *testing.T) {
			o := Options{Metric: tc.metric, Budget: Budget{MaxDrop: &tc.drop}, Out: filepath.Join(t.TempDir(), "o.whit")}
			r, err := Run(context.Background(), blur(), card.Card{}, Data{Set: noisy{120}}, o)
			if err != nil {
				t.Fatal(err)
			}
			m := r.Metric
			if m.Name != tc.want || r.Budgets[0].Unit != tc.unit || m.N != 36 {
				t.Errorf("%+v, %+v", m, r.Budgets[0])
			}
			if !(m.Drop.Value <= tc.drop) || r.Bytes.Ratio < 2 || len(r.Table) < 5 {
				t.Errorf("drop %v, ratio %v, %d ways", m.Drop, r.Bytes.Ratio, len(r.Table))
			}
			if m.Before.Value == m.After.Value {
				t.Error("nothing changed")
			}
			t.Logf("%s, %+v", r.Verdict, r.Budgets)
		})
	}
	for _, tc := range []struct{ metric, want string }{{"recall", "two classes"}, {"top1", "needs labels"}, {"agreement", "needs decisions"}} {
		if _, err := Run(context.Background(), blur(), card.Card{}, Data{Set: noisy{60}}, Options{Metric: tc.metric}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.metric, err)
		}
	}
}

// A search that is stopped writes the best that it has verified.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	drop, dir := 0.05, t.TempDir()
	o := Options{Budget: Budget{MaxDrop: &drop}, Out: filepath.Join(dir, "o.whit"), WorkDir: filepath.Join(dir, "work")}
	n := 0
	o.Progress = func(e Event) {
		if e.Stage == "mix" {
			if n++; n == 3 {
				cancel()
			}
		}
	}
	r, err := Run(ctx, blur(), card.Card{}, Data{Set: noisy{120}}, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(o.Out); err != nil || r.Bytes.Ratio < 2 || !r.Met {
		t.Errorf("%v, ratio %v", err, r.Bytes.Ratio)
	}
	if _, err := os.Stat(o.WorkDir); err != nil {
		t.Error("what was finished is gone")
	}
}
