package compress

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"whit/compress/method"
	"whit/data"
	"whit/format"
	"whit/graph"
	"whit/internal/safefile"
	"whit/tensor"
)

// finish writes the file, reads it back and, for the first and only time, opens the test split.
func (r *run) finish(ctx context.Context, started time.Time) error {
	res := r.res
	for _, x := range r.state.Refused {
		res.Refused = append(res.Refused, Refusal{x.What, x.Why})
	}
	written, sizes, err := r.encode(r.state)
	if err != nil {
		return err
	}
	// The file gets its name when the verdict is known; until then it is measured
	// where work is kept.
	work := ""
	if r.o.WorkDir != "" || r.o.Out != "" || r.o.Measure != nil {
		var remove func()
		if work, remove, err = r.place(); err != nil {
			return err
		}
		defer remove()
	}
	var after *format.File
	if work != "" {
		if err := safefile.WriteBytes(work, written); err != nil {
			return err
		}
		after, err = format.ReadFile(work)
	} else {
		after, err = format.Read(bytes.NewReader(written), int64(len(written)))
	}
	if err != nil {
		return err
	}
	sum := sha256.Sum256(written)
	res.SHA256 = hex.EncodeToString(sum[:])
	res.Bytes = Bytes{Before: method.DenseBytes(r.g), After: int64(len(written))}
	res.Bytes.Ratio = float64(res.Bytes.Before) / float64(res.Bytes.After)
	r.tell("measure", "the written file on the test split")
	if err := r.test(ctx, after.Graph); err != nil {
		return err
	}
	if r.o.Measure != nil {
		m, err := r.o.Measure(ctx, r.g, work)
		if err != nil {
			return err
		}
		if m != nil {
			res.Latency, res.Memory = m.Latency, m.Memory
			res.Nodes = append(res.Nodes, m.Nodes...)
		}
	}
	r.layers(sizes)
	r.curves()
	r.histograms()
	r.budgets()
	r.notes()
	res.Seconds = time.Since(started).Seconds()
	r.path = r.o.Out
	if len(r.missed) > 0 && r.o.Out != "" {
		r.path = strings.TrimSuffix(r.o.Out, ".whit") + ".unmet.whit"
		res.Unmet = base(r.path)
	}
	res.Met = len(r.missed) == 0
	r.verdict()
	if r.path != "" {
		return safefile.WriteBytes(r.path, written)
	}
	return nil
}

// test opens the test split and measures on it the model as it came, the written
// file, and the stages between.
func (r *run) test(ctx context.Context, after *graph.Graph) error {
	res := r.res
	ds, err := r.open(ctx)
	if err != nil {
		return fmt.Errorf("test split: %w", err)
	}
	if ds.Len() == 0 {
		return errors.New("test split: it is empty")
	}
	res.Splits = append(res.Splits, Split{"test", "the final figures, once", ds.Len(), splitHash(ds)})
	c, err := Compare(ctx, r.g, after, ds, string(r.metric), r.labels, r.o.Threads)
	if err != nil {
		return fmt.Errorf("test split: %w", err)
	}
	res.Metric, res.Flips, res.Classes, res.Groups, res.Verification = c.Metric, c.Flips, c.Classes, c.Groups, c.Verification
	for k := range res.Flips {
		if k >= r.o.Images || r.o.Image == nil {
			break
		}
		if res.Flips[k].PNG, err = r.o.Image(res.Flips[k].Index); err != nil {
			return err
		}
	}
	return r.stages(ctx, ds, c.truth, c.Metric)
}

// maxFlips bounds the list of decisions that flipped.
const maxFlips = 500

func (r *run) stages(ctx context.Context, ds data.Dataset, truth []int32, m Metric) error {
	res := r.res
	var paper *method.Paper
	if r.o.Recipe != nil {
		paper = r.o.Recipe.Paper
	}
	if paper != nil {
		res.PaperCited = paper.Source
	}
	add := func(name string, s Stage) {
		s.Name = name
		s.Ratio = float64(res.Bytes.Before) / float64(s.Bytes)
		if p, ok := paper.Stage(name); ok {
			if p.Ratio > 0 {
				s.PaperRatio = &p.Ratio
			}
			if p.Error >= 0 {
				s.PaperError = &p.Error
			}
		}
		res.Stages = append(res.Stages, s)
	}
	errRate := func(wrong, n int) ErrorRate { return ErrorRate{rate(wrong, n), n} }
	var kept float64
	all := r.state.Stages
	for i, st := range all {
		if i+1 < len(all) && all[i+1].Name == st.Name {
			continue // a rung on the way; the candidates show it
		}
		kept = float64(st.Stored) / float64(max(1, all[0].Stored))
		s := Stage{Bytes: st.Bytes, Kept: kept, Choice: errRate(int(math.Round(st.Choice.Error*float64(st.Choice.N))), st.Choice.N)}
		same := i > 0 && all[i-1].Graph == st.Graph
		switch {
		case !r.metric.Decides():
			s.Choice = ErrorRate{}
		case i == 0:
			s.Test = errRate(m.N-int(math.Round(m.Before.Value*float64(m.N))), m.N)
		case same:
			s.Test = res.Stages[len(res.Stages)-1].Test
		default:
			got, err := decisions(ctx, st.Graph, ds, r.o.Threads, r.metric.Top())
			if err != nil {
				return err
			}
			if r.metric == method.Agreement {
				got.right = agree(got.class, truth)
			}
			wrong, n := 0, 0
			for k, y := range truth {
				if y >= 0 {
					n++
					if !got.right[k] {
						wrong++
					}
				}
			}
			s.Test = errRate(wrong, n)
		}
		add(st.Name, s)
	}
	file := Stage{Bytes: res.Bytes.After, Kept: kept}
	if r.metric.Decides() {
		file.Test = errRate(m.N-int(math.Round(m.After.Value*float64(m.N))), m.N)
	}
	add(".whit file", file)
	return nil
}

func (r *run) layers(sizes format.Sizes) {
	// The file lists its constants in the order in which nodes read them, and may have dropped their names.
	at := map[*graph.Value]int64{}
	k := 0
	for _, v := range constants(r.state.Graph) {
		if k < len(sizes.Weights) {
			at[v] = sizes.Weights[k].Bytes
		}
		k++
	}
	if k != len(sizes.Weights) {
		at = nil
	}
	for _, l := range r.state.Layers {
		p := l.SizeOf()
		row := Layer{Name: l.Name, Op: l.Node.OpName(), Shape: l.Weight.Value.Type.Shape, Weights: p.Weights, Stored: p.Stored, Encoding: "dense",
			Codebook: len(l.Weight.Centroids), Bits: p.Bits, IndexBits: p.IndexBits, CodeBits: p.CodeBits, GapBits: p.GapBits,
			Pruned: p.Pruned, Quantised: p.Quantised, Huffman: p.Huffman, Dense: 4 * int64(p.Weights), File: at[l.Weight.Value]}
		switch {
		case l.Weight.As != nil:
			row.Encoding = l.Weight.As.Kind()
		case l.Weight.Step != 0:
			row.Encoding = "int8"
		case l.Weight.Mask != nil && l.Weight.Centroids != nil:
			row.Encoding = "sparse(codebook)"
		case l.Weight.Mask != nil:
			row.Encoding = "sparse(dense)"
		case l.Weight.Centroids != nil:
			row.Encoding = "codebook"
		}
		if l.Bias != nil {
			row.Dense += 4 * int64(l.Bias.Len())
			row.File += at[l.Bias.Value]
		}
		r.res.Layers = append(r.res.Layers, row)
	}
}

// constants lists a graph's constants in the order in which nodes read them.
func constants(g *graph.Graph) (out []*graph.Value) {
	for _, v := range g.Values() {
		if v.Kind == graph.Const {
			out = append(out, v)
		}
	}
	return out
}

func (r *run) curves() {
	for _, c := range r.state.Curves {
		k := Curve{Layer: c.Layer, Granularity: c.Granularity, Method: c.Method}
		for _, p := range c.Points {
			q := CurvePoint{Fraction: p.Fraction, Error: p.Error, Loss: p.Loss, MSE: p.MSE, Saved: p.Saved}
			if r.metric.Decides() {
				q.KL = &p.Far
			}
			k.Points = append(k.Points, q)
		}
		for _, l := range r.state.Layers {
			if l.Name == c.Layer && c.Granularity == "weight" && c.Method == method.Zeroed {
				k.Chosen = 1 - float64(l.Weight.Stored())/float64(l.Weight.Len())
			}
		}
		r.res.Curves = append(r.res.Curves, k)
	}
}

const histBins = 48

func (r *run) histograms() {
	before := map[string]*graph.Value{}
	for _, v := range constants(r.g) {
		before[v.Name] = v
	}
	for _, l := range r.state.Layers {
		old := before[l.Weight.Value.Name]
		if old == nil {
			continue
		}
		a, b := tensor.Of[float32](old.Tensor()), l.Weight.Data()
		h := Histogram{Layer: l.Name, Before: make([]int, histBins), After: make([]int, histBins), Marks: []float64{}}
		lo, hi := float32(0), float32(0)
		for _, x := range [][]float32{a, b} {
			for _, v := range x {
				lo, hi = min(lo, v), max(hi, v)
			}
		}
		if lo == hi {
			hi = lo + 1
		}
		h.Min, h.Max = float64(lo), float64(hi)
		bin := func(v float32) int {
			return min(int(float64(v-lo)/float64(hi-lo)*histBins), histBins-1)
		}
		for _, v := range a {
			h.Before[bin(v)]++
		}
		used := map[uint16]bool{}
		for i, v := range b {
			if l.Weight.Kept(i) {
				h.After[bin(v)]++
				if l.Weight.Centroids != nil {
					used[l.Weight.Index[i]] = true
				}
			}
		}
		for k, c := range l.Weight.Centroids {
			if used[uint16(k)] {
				h.Marks = append(h.Marks, float64(c))
			}
		}
		r.res.Histograms = append(r.res.Histograms, h)
	}
}
