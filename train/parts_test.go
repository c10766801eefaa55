package train

import (
	"bytes"
	"context"
	"crypto/sha256"
	"math"
	"slices"
	"testing"

	"whit/tensor"
)

func TestSchedules(t *testing.T) {
	tests := []struct {
		name string
		o    Options
		at   map[int]float64
	}{
		{"cosine", Options{LR: 1}, map[int]float64{0: 1, 50: 0.5, 25: 0.5 + math.Sqrt2/4}},
		{"end", Options{LR: 1, LREnd: 0.5}, map[int]float64{0: 1, 50: 0.75, 100: 0.5}},
		{"warm", Options{LR: 1, Warmup: 0.1}, map[int]float64{0: 0.1, 9: 1, 10: 1, 55: 0.5}},
		{"step", Options{LR: 1, Schedule: "step"}, map[int]float64{49: 1, 50: 0.1, 74: 0.1, 75: 0.01}},
		{"drops", Options{LR: 1, Schedule: "step", Drops: []float64{0.2}, Gamma: 0.5}, map[int]float64{19: 1, 20: 0.5, 99: 0.5}},
		{"constant", Options{LR: 1, Schedule: "constant"}, map[int]float64{0: 1, 99: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, err := tt.o.WithDefaults()
			if err != nil {
				t.Fatal(err)
			}
			for s, want := range tt.at {
				if got := o.lrAt(s, 100); math.Abs(got-want) > 1e-9 {
					t.Errorf("step %d: %v, want %v", s, got, want)
				}
			}
		})
	}
}

func TestElementary(t *testing.T) {
	for x := -6.28; x < 6.28; x += 0.01 {
		if d := math.Abs(sine(x) - math.Sin(x)); d > 1e-12 {
			t.Errorf("sine(%v) is off by %g", x, d)
		}
		if d := math.Abs(cosine(x) - math.Cos(x)); x < 4.7 && d > 1e-12 {
			t.Errorf("cosine(%v) is off by %g", x, d)
		}
	}
	for n := range 50 {
		if d := math.Abs(power(0.9, n) - math.Pow(0.9, float64(n))); d > 1e-14 {
			t.Errorf("power(0.9, %d) is off by %g", n, d)
		}
	}
}

func TestShuffle(t *testing.T) {
	a, b := make([]int, 1000), make([]int, 1000)
	shuffle(a, 1, 0)
	shuffle(b, 1, 0)
	if !slices.Equal(a, b) {
		t.Error("not a function of its arguments")
	}
	shuffle(b, 1, 1)
	if slices.Equal(a, b) {
		t.Error("two epochs have one order")
	}
	slices.Sort(a)
	for i, v := range a {
		if v != i {
			t.Fatal("not a permutation")
		}
	}
	// Every place is about as likely: chi-square of where sample 0 goes, 10 cells.
	var cells [10]int
	p := make([]int, 10)
	for e := range 5000 {
		shuffle(p, 3, uint64(e))
		cells[slices.Index(p, 0)]++
	}
	chi := 0.0
	for _, c := range cells {
		chi += float64((c-500)*(c-500)) / 500
	}
	if chi > 30 { // 9 degrees of freedom: beyond 30 is less likely than 0.0005
		t.Errorf("chi-square %v: %v", chi, cells)
	}
}

func TestAugment(t *testing.T) {
	const h, w = 9, 11
	img := func() []float32 {
		x := make([]float32, 2*h*w)
		for i := range x {
			x[i] = float32(i%(h*w)%w) + float32(i/(h*w))
		}
		return x
	}
	apply := func(s string, seed, epoch, sample uint64) []float32 {
		a, err := parseAugment(s)
		if err != nil {
			t.Fatal(err)
		}
		x := img()
		a.apply(x, make([]float32, h*w), 2, h, w, seed, epoch, sample)
		return x
	}
	for _, s := range []string{"shift2", "rotate10", "scale20", "shear10", "flip,cutout3", "shift1.5,rotate5,scale5,shear2,flip,cutout2"} {
		t.Run(s, func(t *testing.T) {
			if !slices.Equal(apply(s, 1, 2, 3), apply(s, 1, 2, 3)) {
				t.Error("not a function of seed, epoch and sample")
			}
			changed := 0
			for k := range uint64(20) {
				x := apply(s, 1, 2, k)
				if !slices.Equal(x, img()) {
					changed++
				}
				for _, v := range x {
					if !(v >= 0 && v <= w) {
						t.Fatalf("value %v is out of the image's range", v)
					}
				}
			}
			if changed < 10 {
				t.Errorf("%d of 20 images changed", changed)
			}
		})
	}
	for _, s := range []string{"shift", "shift0", "flip2", "rotate-3", "rotate1e9", "zoom3", "shift2;flip", ",", "cutoutx"} {
		if _, err := parseAugment(s); err == nil {
			t.Errorf("%q: want an error", s)
		}
	}
}

// TestWarpIsExact: a ramp stays a ramp under an affine map, away from the border.
func TestWarpIsExact(t *testing.T) {
	const h, w = 12, 12
	src := make([]float32, h*w)
	for i := range src {
		src[i] = float32(2*(i%w) + 3*(i/w))
	}
	dst := make([]float32, 6)
	warpRow(dst, src, w, h, 2.25, 3.5, 1.25, 0.5)
	for i, v := range dst {
		if want := float32(2*(2.25+1.25*float64(i)) + 3*(3.5+0.5*float64(i))); math.Abs(float64(v-want)) > 1e-5 {
			t.Errorf("pixel %d: %v, want %v", i, v, want)
		}
	}
}

func TestBatches(t *testing.T) {
	ds := newBlobs(10, 3, 1, 4)
	o := Options{Batch: 4, Seed: 1}
	b := newBatches(ds, &o)
	ctx := context.Background()
	if b.steps != 3 {
		t.Fatalf("%d steps", b.steps)
	}
	var seen []int
	for s := range 3 {
		x, err := b.get(ctx, 0, s, true)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, x.idx...)
		for i, k := range x.idx {
			if x.y[i] != ds.y[k] || !slices.Equal(x.x[i*4:(i+1)*4], ds.x[k*4:(k+1)*4]) {
				t.Fatal("wrong data")
			}
		}
		b.put(x)
	}
	slices.Sort(seen)
	if !slices.Equal(seen, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
		t.Errorf("an epoch has the samples %v", seen)
	}
	// Out of order, as after Restore.
	for _, at := range [][2]int{{3, 1}, {0, 2}, {0, 0}, {0, 1}} {
		x, err := b.get(ctx, at[0], at[1], true)
		if err != nil {
			t.Fatal(err)
		}
		want := make([]int, 10)
		shuffle(want, 1, uint64(at[0]))
		if from := 4 * at[1]; !slices.Equal(x.idx, want[from:min(10, from+4)]) {
			t.Errorf("epoch %d, step %d: samples %v", at[0], at[1], x.idx)
		}
		b.put(x)
	}
	b.stop()
	o.DropLast = true
	if n := newBatches(ds, &o).steps; n != 2 {
		t.Errorf("%d steps without the last", n)
	}
}

func snapshotBytes(t testing.TB) []byte {
	s := &Snapshot{Epoch: 1, Step: 2, vars: map[string]*tensor.Tensor{
		"a": tensor.From([]float32{1, 2, 3}, 3), "b": tensor.From([]int64{7}), "c": tensor.New(tensor.Float32, 0, 4)}}
	var b bytes.Buffer
	if err := s.write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSnapshotFile(t *testing.T) {
	b := snapshotBytes(t)
	s, err := readSnapshot(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if s.Epoch != 1 || s.Step != 2 || len(s.vars) != 3 || tensor.Of[float32](s.Var("a"))[2] != 3 {
		t.Errorf("%+v", s)
	}
	for n := range len(b) {
		if _, err := readSnapshot(bytes.NewReader(b[:n]), int64(n)); err == nil {
			t.Fatalf("cut to %d bytes it is read", n)
		}
		c := bytes.Clone(b)
		c[n] ^= 1 << (n % 8)
		if _, err := readSnapshot(bytes.NewReader(c), int64(len(c))); err == nil {
			t.Fatalf("with byte %d flipped it is read", n)
		}
	}
}

func FuzzReadSnapshot(f *testing.F) {
	f.Add(snapshotBytes(f)[:len(snapshotBytes(f))-sha256.Size])
	f.Add([]byte("whit-ck1\xff\xff\xff\xff{}"))
	f.Add([]byte("whit-ck1\x3f\x00\x00\x00" + `{"vars":[{"name":"a","dtype":"float32","shape":[1000000000]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		sum := sha256.Sum256(b) // a right checksum, so that what is behind it is reached
		b = append(bytes.Clone(b), sum[:]...)
		s, err := readSnapshot(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		var o bytes.Buffer
		if err := s.write(&o); err != nil {
			t.Fatal(err)
		}
		if _, err := readSnapshot(bytes.NewReader(o.Bytes()), int64(o.Len())); err != nil {
			t.Fatalf("what was read does not read back: %v", err)
		}
	})
}
