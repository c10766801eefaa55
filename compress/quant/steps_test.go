package quant

import (
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"whit/compress/method"
	"whit/entropy"
	"whit/format"
	"whit/graph"
	"whit/tensor"
	"whit/weight"
)

// uneven is small with hidden units that are up to 100 times as large as others, and are read as much less.
func uneven() *graph.Graph {
	g := small()
	scale := func(k int) float32 { return float32(math.Pow(100, float64(k*5%12)/11)) }
	w, bias, next := tensor.Of[float32](g.Find("a.weight").Data), tensor.Of[float32](g.Find("a.bias").Data), tensor.Of[float32](g.Find("b.weight").Data)
	cols, outs := len(w)/len(bias), len(next)/len(bias)
	for k := range bias {
		bias[k] *= scale(k)
		for i := range w[k*cols : (k+1)*cols] {
			w[k*cols+i] *= scale(k)
		}
		for i := range outs {
			next[k*outs+i] /= scale(k)
		}
	}
	return g
}

// data is the bytes of the state's constants in the file.
func data(t *testing.T, s *method.State) int64 {
	t.Helper()
	g, err := s.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	sizes, err := format.Write(io.Discard, &format.File{Graph: g}, format.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return sizes.Data
}

// Where output channels differ in scale, steps of their own take fewer bytes at the same error.
func TestChannelSteps(t *testing.T) {
	for _, c := range []struct {
		lambda    float64
		dependent bool
		most      float64
	}{{1e-3, false, 0.9}, {1e-2, false, 0.8}, {1e-3, true, 0.95}} {
		point := func(granularity string, lambda float64) (int64, float64) {
			s := state(uneven(), 60)
			apply(t, s, map[string]any{"lambda": lambda, "granularity": granularity, "dependent": c.dependent, "passes": 3})
			return data(t, s), off(t, s)
		}
		bytes, far := point("channel", c.lambda)
		// The largest lambda at which the tensor's step is as near: the fewest bytes.
		fewest, e := int64(math.MaxInt64), 0.0
		for lo, hi := c.lambda/30, c.lambda*3; hi > lo*1.1; {
			mid := math.Sqrt(lo * hi)
			n, other := point("tensor", mid)
			if other > far {
				hi = mid
				continue
			}
			if lo = mid; n < fewest {
				fewest, e = n, other
			}
		}
		t.Logf("dependent %v, lambda %v: %d bytes off by %.4g, with the tensor's step %d off by %.4g", c.dependent, c.lambda, bytes, far, fewest, e)
		if float64(bytes) > c.most*float64(fewest) {
			t.Errorf("%d bytes, want %v of them", bytes, c.most)
		}
	}
}

// Channels that are alike keep the tensor's step, and the bytes; others are held by levels and scales of 16 bits.
func TestChannelForm(t *testing.T) {
	for _, dependent := range []bool{false, true} {
		s := state(uneven(), 60)
		apply(t, s, map[string]any{"granularity": "channel", "dependent": dependent, "lambda": 1e-2})
		g, err := s.Freeze()
		if err != nil {
			t.Fatal(err)
		}
		several := 0
		for k, l := range s.Layers {
			v := g.Find(l.Weight.Value.Name)
			w, ok := v.Weight.(weight.Int8)
			if !ok || !slices.Equal(tensor.Of[float32](v.Tensor()), l.Weight.Data()) {
				t.Fatalf("layer %s is frozen as another weight", l.Name)
			}
			for i, x := range method.FindLayers(uneven(), "")[k].Weight.Data() {
				if x == 0 && l.Weight.Data()[i] != 0 {
					t.Fatalf("layer %s: element %d was zero", l.Name, i)
				}
			}
			if w.Axis == weight.PerTensor {
				continue
			}
			several++
			if w.Axis != l.OutAxis {
				t.Errorf("layer %s: scales along %d, want %d", l.Name, w.Axis, l.OutAxis)
			}
			for c, x := range w.Scale {
				if x != tensor.ToBF16(x).Float32() || !(x > 0) {
					t.Errorf("layer %s: scale %d is %v", l.Name, c, x)
				}
			}
			if dependent && w.Q.Len() >= 64 {
				cols := w.Q.Len() / w.Q.Shape[0]
				for i, z := 0, 0; i < w.Q.Len(); i++ {
					if i%cols == 0 {
						z = 0
					}
					k, ok := entropy.ValueLevel(z, w.Level(i))
					if !ok {
						t.Fatalf("layer %s: level %d of element %d is on no path", l.Name, w.Level(i), i)
					}
					z = entropy.NextState(z, k)
				}
			}
		}
		if several == 0 {
			t.Error("no layer has steps for its channels")
		}
	}
	var bytes [2]int64
	for k, granularity := range []string{"tensor", "channel"} {
		s := state(many(), 60)
		apply(t, s, map[string]any{"granularity": granularity, "lambda": 1e-3})
		bytes[k] = data(t, s)
	}
	if bytes[1] > bytes[0]+bytes[0]/50 {
		t.Errorf("channels that are alike take %d bytes, with one step %d", bytes[1], bytes[0])
	}
}

func TestChannelLaws(t *testing.T) {
	last := int64(math.MaxInt64)
	for _, lambda := range []float64{1e-4, 1e-2, 1} {
		s := state(uneven(), 80)
		apply(t, s, map[string]any{"lambda": lambda, "granularity": "channel"})
		if n := data(t, s); n >= last {
			t.Errorf("lambda %v: %d bytes after %d", lambda, n, last)
		} else {
			last = n
		}
	}
	var first [][]float32
	for _, threads := range []int{1, 3} {
		s := state(uneven(), 77)
		s.Threads = threads
		apply(t, s, map[string]any{"passes": 2, "granularity": "channel"})
		for k, l := range s.Layers {
			if threads == 1 {
				first = append(first, l.Weight.Data())
			} else if !slices.Equal(first[k], l.Weight.Data()) {
				t.Errorf("%d workers: layer %s differs", threads, l.Name)
			}
		}
	}
	for _, want := range []int{300, 600} { // of levels and scales; the file has those of biases, and sizes, beside them
		s := state(uneven(), 40)
		apply(t, s, map[string]any{"bytes": want, "passes": 2, "granularity": "channel"})
		if n := data(t, s); n > int64(want)+48 || n < int64(want)/2 {
			t.Errorf("%d bytes, want %d", n, want)
		}
	}
}

// curvature is a jacobian of norms.
type curvature []float64

func (c curvature) begin(int)              {}
func (c curvature) end(int)                {}
func (c curvature) norm(i int) float64     { return c[i] }
func (c curvature) grad(int) float64       { return 0 }
func (c curvature) pair(int, int) float64  { return 0 }
func (c curvature) move(i int, by float32) {}

// TestStepsOfChannels compares the powers with the cheapest of all.
func TestStepsOfChannels(t *testing.T) {
	for _, x := range []float64{-3, 0, 1, 4, 5} {
		if got, want := rootPower(int(x)), math.Pow(2, x/2); math.Abs(got/want-1) > 1e-15 {
			t.Errorf("√2 to the %v is %v", x, got)
		}
	}
	const n, cols, step = 4, 40, 0.1
	r := rand.New(rand.NewPCG(6, 6))
	for trial := range 20 {
		q := &rounded{h: &method.Held{Value: graph.New("").NewConst("w", tensor.New(tensor.Float32, n, cols))}, rows: n, cols: cols,
			float: make([]float32, n*cols), fixed: make([]bool, n*cols)}
		h := make(curvature, n*cols)
		for c := range n {
			size := math.Exp2(r.NormFloat64())
			for i := range cols {
				q.float[c*cols+i] = float32(r.NormFloat64() * size)
				q.fixed[c*cols+i] = r.IntN(3) == 0
				h[c*cols+i] = r.ExpFloat64() / size
			}
		}
		q.j = h
		bits := q.stepsOfChannels(step, 1./127)
		var sum, free, all [n + 1]float64
		for i, x := range h {
			if !q.fixed[i] {
				for _, c := range []int{i / cols, n} {
					sum[c], free[c] = sum[c]+x, free[c]+1
				}
			}
		}
		for i, v := range q.float { // levels that are not 0
			best := step * math.Sqrt(free[i/cols]/sum[i/cols]*sum[n]/free[n])
			if !q.fixed[i] && math.Abs(float64(v)) > best/2 {
				all[i/cols]++
			}
		}
		cost := func(powers []int) (total float64) {
			for c, p := range powers {
				ratio := math.Pow(2, float64(p)/2) / math.Sqrt(free[c]/sum[c]*sum[n]/free[n])
				total += all[c] * (ratio*ratio/2/math.Ln2 - math.Log2(ratio))
				if total += sameStep; c > 0 && p != powers[c-1] {
					total += otherStep - sameStep
				}
			}
			return total
		}
		least := math.Inf(1)
		const wide = 13
		for k := range wide * wide * wide * wide {
			least = min(least, cost([]int{k%wide - 6, k/wide%wide - 6, k/wide/wide%wide - 6, k/wide/wide/wide - 6}))
		}
		if q.powers == nil { // all the same: whatever power is nearest
			if bits != 0 {
				t.Errorf("trial %d: %v bits for one step", trial, bits)
			}
			continue
		}
		if got := cost(q.powers); got > least+1e-9 {
			t.Errorf("trial %d: %v cost %v bits, the least is %v", trial, q.powers, got, least)
		}
	}
}
