package report

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"

	img "image"

	"whit/compress"
)

var write = flag.String("write", "", "write the fixtures' pages into this folder, to look at them")

func ptr(x float64) *float64 { return &x }

// fixture is a result as a run on LeNet-300-100 gives it; the figures are made up.
func fixture(met bool) *compress.Result {
	iv := func(v, l, h float64) compress.Interval { return compress.Interval{Value: v, Low: l, High: h} }
	r := &compress.Result{
		Schema: compress.Schema, Tool: compress.Tool{Name: "whit", Version: "0.1.0", Commit: "0123456789abcdef0123", Go: "go1.26.8"},
		Title: "deep-compression-lenet300", Model: "/home/someone/secret/dense.onnx", Output: "demo/compressed.whit", SHA256: strings.Repeat("5f0c", 16),
		Verdict: "dense.onnx is 63.4 times smaller, and loses 0.04 points of accuracy on 10,000 test images.",
		Met:     met, Certified: met,
		Metric: compress.Metric{Name: "top1", N: 10000, Before: iv(0.9847, 0.9821, 0.9869), After: iv(0.9843, 0.9817, 0.9865),
			Drop: iv(0.0004, -0.0011, 0.0019), Bound: 0.0017, Lost: 31, Gained: 27, Changed: 71},
		Bytes:   compress.Bytes{Before: 1066440, After: 16822, Ratio: 63.4},
		Latency: &compress.Latency{Before: iv(0.0412, 0.0398, 0.0507), After: iv(0.0187, 0.0176, 0.0248), Runs: 400, Batch: 1},
		Memory:  &compress.Memory{Before: iv(14.2e6, 13.9e6, 14.8e6), After: iv(12.4e6, 12.0e6, 13.1e6)},
		Budgets: []compress.BudgetRow{{Name: "max drop", Unit: "points", Promise: 0.5, Measured: 0.04, Met: true, Note: "certified: with 95% confidence at most 0.17 points"}, {Name: "target size", Unit: "bytes", Promise: 26661, Measured: 16822, Met: true}},
		Splits:  []compress.Split{{Name: "train", Use: "pruning, retraining, centroids", N: 50000, Hash: strings.Repeat("a1b2", 16)}, {Name: "choice", Use: "every decision", N: 10000, Hash: strings.Repeat("c3d4", 16)}, {Name: "test", Use: "the figures above, once", N: 10000, Hash: strings.Repeat("e5f6", 16)}},
		Card:    "card: 1\ntask: classify\ninput: {name: input, color: gray, orient: ignore,\n  resize: {mode: stretch, size: 28, filter: pil-bilinear},\n  scale: 0.00392156862745098, mean: [0], std: [1]}\noutput: {name: logits, activation: none}\nlicence: CC-BY-SA-3.0\n",
		Machine: compress.Machine{CPU: "AMD EPYC 7B13", Features: []string{"avx2", "fma"}, OS: "linux", Arch: "amd64", Threads: 2},
		Refused: []compress.Refusal{{What: "layer fc3 beyond 74% sparsity", Why: "the error on the choice split rises by more than the promise"}},
		Stages: []compress.Stage{
			{Name: "dense", Bytes: 1066440, Ratio: 1, Kept: 1, Choice: compress.ErrorRate{Interval: iv(0.0165, 0.0142, 0.0192), N: 10000}, Test: compress.ErrorRate{Interval: iv(0.0153, 0.0131, 0.0179), N: 10000}, PaperRatio: ptr(1), PaperError: ptr(0.0164)},
			{Name: "pruned", Bytes: 81200, Ratio: 13.1, Kept: 0.062, Choice: compress.ErrorRate{Interval: iv(0.0161, 0.0138, 0.0188), N: 10000}, Test: compress.ErrorRate{Interval: iv(0.0149, 0.0127, 0.0175), N: 10000}, PaperRatio: ptr(12), PaperError: ptr(0.0159)},
			{Name: "shared", Bytes: 25870, Ratio: 41.2, Kept: 0.062, Choice: compress.ErrorRate{Interval: iv(0.0166, 0.0143, 0.0193), N: 10000}, Test: compress.ErrorRate{Interval: iv(0.0157, 0.0135, 0.0183), N: 10000}, PaperRatio: ptr(32)},
			{Name: "huffman", Bytes: 20112, Ratio: 53, Kept: 0.062, PaperRatio: ptr(40), PaperError: ptr(0.0158)},
			{Name: ".whit file", Bytes: 16822, Ratio: 63.4, Kept: 0.062, Test: compress.ErrorRate{Interval: iv(0.0157, 0.0135, 0.0183), N: 10000}},
		},
		PaperCited: "S. Han, H. Mao, W. J. Dally: Deep Compression, 2016, tables 1 and 2",
		Layers: []compress.Layer{
			{Name: "fc1", Op: "Gemm", Shape: []int{300, 784}, Weights: 235200, Stored: 12700, Encoding: "sparse(codebook)", Codebook: 32, Bits: 5, IndexBits: 5, CodeBits: 4.4, GapBits: 3.9, Dense: 942000, Pruned: 62000, Quantised: 19800, Huffman: 14900, File: 12310},
			{Name: "fc2", Op: "Gemm", Shape: []int{100, 300}, Weights: 30000, Stored: 2900, Encoding: "sparse(codebook)", Codebook: 32, Bits: 5, IndexBits: 4, CodeBits: 4.5, GapBits: 3.6, Dense: 120400, Pruned: 14100, Quantised: 4100, Huffman: 3400, File: 3220},
			{Name: "fc3", Op: "Gemm", Shape: []int{10, 100}, Weights: 1000, Stored: 280, Encoding: "sparse(codebook)", Codebook: 16, Bits: 4, IndexBits: 3, CodeBits: 3.7, GapBits: 2.1, Dense: 4040, Pruned: 1300, Quantised: 420, Huffman: 380, File: 340},
		},
		Nodes:  []compress.NodeTime{{Name: "fc1", Op: "Gemm+Relu", Before: 0.0302, After: 0.0121}, {Name: "fc2", Op: "Gemm+Relu", Before: 0.0061, After: 0.0034}, {Name: "fc3", Op: "Gemm", Before: 0.0009, After: 0.0009}},
		Recipe: "recipe: 1\nname: deep-compression-lenet300\nsteps:\n  - method: scan\n  - method: magnitude\n    sparsity: 0.94\n  - method: codebook\n    bits: 5\n",
		Replay: "whit compress dense.onnx --data mnist --recipe recipe.yaml --seed 1 -o compressed.whit", Seed: 1, Seconds: 83.7,
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for i, l := range []string{"fc1", "fc2", "fc3"} {
		k := []float64{0.5, 0.9, 2}[i]
		for _, g := range []string{"weight", "node"} {
			c := compress.Curve{Layer: l, Granularity: g, Method: "zero", Chosen: []float64{0.945, 0.903, 0.72}[i]}
			if g == "node" {
				c.Chosen = 0
			}
			for _, f := range []float64{0, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95} {
				e := 0.0165 + 0.7*math.Pow(f, map[string]float64{"weight": 12, "node": 3}[g])*k/2
				c.Points = append(c.Points, compress.CurvePoint{Fraction: f, Error: math.Min(e, 0.9), Loss: 4 * e, MSE: 3 * (e - 0.0165), KL: ptr(4 * (e - 0.0165))})
			}
			r.Curves = append(r.Curves, c)
		}
		r.Curves = append(r.Curves, compress.Curve{Layer: l, Granularity: "layer", Method: "zero", Points: []compress.CurvePoint{{Fraction: 1, Error: 0.902, Loss: 2.303, KL: ptr(2.2)}}})
		q := compress.Curve{Layer: l, Granularity: "layer", Method: "round"}
		for b := 8.0; b > 1; b-- {
			q.Points = append(q.Points, compress.CurvePoint{Fraction: b, Error: 0.0165, KL: ptr(k * math.Pow(4, -b)), Saved: int64(1000 * (32 - b))})
		}
		r.Curves = append(r.Curves, q)
		h := compress.Histogram{Layer: l, Min: -0.31, Max: 0.29}
		for b := range 48 {
			x := (float64(b) - 24.5) / 7
			h.Before = append(h.Before, int(9000*math.Exp(-x*x)))
			after := 0
			if math.Abs(x) > 0.6 {
				after = int(1400 * math.Exp(-x*x/4))
			}
			h.After = append(h.After, after)
		}
		for range 32 >> i {
			h.Marks = append(h.Marks, 0.09*rng.NormFloat64()+math.Copysign(0.06, rng.Float64()-0.5))
		}
		for k, m := range h.Marks {
			h.Marks[k] = math.Max(h.Min, math.Min(h.Max, m))
		}
		r.Histograms = append(r.Histograms, h)
	}
	for i := range 14 {
		s := 14000 * math.Pow(1.35, float64(i))
		r.Pareto = append(r.Pareto, compress.Candidate{Name: fmt.Sprintf("sparsity %d%%, 5 bits", 97-i*2), Bytes: int64(s), Metric: 0.985 - 0.03*math.Exp(-float64(i)/1.6), Chosen: i == 1})
	}
	for i := range 71 {
		a, b := rng.IntN(10), rng.IntN(10)
		if a == b {
			b = (a + 5) % 10
		}
		l := []int{a, b, (a + 1) % 10}[rng.IntN(3)]
		r.Flips = append(r.Flips, compress.Flip{Index: 100*i + rng.IntN(100), Label: l, Before: a, After: b})
	}
	var buf bytes.Buffer
	m := img.NewGray(img.Rect(0, 0, 28, 28))
	for i := range m.Pix {
		m.Pix[i] = uint8(i)
	}
	if err := png.Encode(&buf, m); err != nil {
		panic(err)
	}
	for i := range 8 {
		r.Flips[i].PNG = buf.Bytes()
	}
	part := func(name string, class int, lost, changed int) compress.Part {
		return compress.Part{Name: name, Class: class, N: 1000, Before: iv(0.98, 0.97, 0.99), After: iv(0.98-float64(lost)/1000, 0.96, 0.99), Drop: iv(float64(lost)/1000, -0.001, 0.02), Lost: lost, Changed: changed}
	}
	r.Classes = []compress.Part{part("8", 8, 12, 14), part("3", 3, 4, 9), part("<0>", 0, 0, 1)}
	r.Groups = []compress.Part{part("night", -1, 9, 12), part("day", -1, 1, 2)}
	if !met {
		v := compress.Verified{Same: 900, Different: 60000, Identities: 60, Rates: []compress.Accepted{{FAR: 1e-3, Interval: iv(0.97, 0.96, 0.98), Threshold: 0.4}, {FAR: 1e-2, Interval: iv(0.99, 0.98, 1), Threshold: 0.3}}, EqualError: iv(0.012, 0.009, 0.015)}
		r.Verification = &compress.Verification{Before: v, After: v}
		r.Verdict = "No model within 26,661 bytes kept the promise of 0.5 points: the best one lost 1.12 points on 10,000 test images."
		r.Budgets[0].Met, r.Budgets[0].Measured, r.Budgets[0].Note = false, 1.12, "by 0.62 points"
		r.Unmet, r.Latency, r.Memory = "compressed.unmet.whit", nil, nil
		r.Metric.NeedN = 2200
	}
	return r
}

func render(t *testing.T, r *compress.Result, o Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := HTML(&b, r, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestHTML(t *testing.T) {
	hostile := fixture(true)
	hostile.Verdict = `<script>alert(1)</script>"&`
	hostile.Layers[0].Name, hostile.Stages[1].Name, hostile.Curves[0].Layer = `</svg><b>`, `a<b>&"c"`, `x" onload="y`
	one := &compress.Result{Schema: 1, Verdict: "Nothing was measured.", Bytes: compress.Bytes{Before: 10, After: 5, Ratio: 2}}
	degenerate := fixture(true)
	degenerate.Curves = []compress.Curve{{Layer: "a", Granularity: "weight", Points: []compress.CurvePoint{{}}}, {Layer: "b", Granularity: "other"}}
	degenerate.Histograms = []compress.Histogram{{Layer: "a"}, {Layer: "b", Before: []int{0}, After: []int{0}, Marks: []float64{0}}}
	degenerate.Pareto, degenerate.Stages = degenerate.Pareto[:1], degenerate.Stages[:1]
	degenerate.Nodes = []compress.NodeTime{{Name: "a"}}
	for _, tc := range []struct {
		name string
		r    *compress.Result
		o    Options
	}{
		{"met", fixture(true), Options{}}, {"images", fixture(true), Options{Images: 3}}, {"unmet", fixture(false), Options{}},
		{"hostile", hostile, Options{}}, {"empty", one, Options{}}, {"degenerate", degenerate, Options{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			page := render(t, tc.r, tc.o)
			if *write != "" {
				if err := os.WriteFile(*write+"/"+tc.name+".html", []byte(page), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if page != render(t, tc.r, tc.o) {
				t.Error("the page differs from one time to the next")
			}
			if tc.name == "met" || tc.name == "unmet" {
				for _, want := range []string{"Who loses", "night", "&lt;0&gt;", "Flipped"} {
					if !strings.Contains(page, want) {
						t.Errorf("the page has no %q", want)
					}
				}
			}
			for _, bad := range []string{"<script", "http://", "https://", "//cdn", "@import", "url(", "/home/", "secret", "NaN", "Inf", "ZgotmplZ", "%!"} {
				if strings.Contains(page, bad) {
					t.Errorf("the page holds %q", bad)
				}
			}
			if n := strings.Count(page, "data:image"); n != tc.o.Images {
				t.Errorf("%d images, want %d", n, tc.o.Images)
			}
			ids := map[string]bool{}
			for _, m := range regexp.MustCompile(`\bid="([^"]+)"`).FindAllStringSubmatch(page, -1) {
				if ids[m[1]] {
					t.Errorf("id %s stands twice", m[1])
				}
				ids[m[1]] = true
			}
			for _, s := range regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1) {
				d := xml.NewDecoder(strings.NewReader(s))
				for {
					if _, err := d.Token(); err == io.EOF {
						break
					} else if err != nil {
						t.Fatalf("%v in %.200s", err, s)
					}
				}
				if !strings.Contains(s, "<desc") && !strings.Contains(s, "aria-hidden") {
					t.Errorf("no text alternative: %.100s", s)
				}
			}
		})
	}
}

func TestText(t *testing.T) {
	var b bytes.Buffer
	if err := Text(&b, fixture(true)); err != nil {
		t.Fatal(err)
	}
	if err := Text(&b, fixture(false)); err != nil {
		t.Fatal(err)
	}
	if err := Comparison(&b, &compress.Comparison{Metric: fixture(true).Metric, Classes: fixture(true).Classes}, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"63.4× smaller", "1,066,440", "pruned", "1.64%", "certified", "decisions flipped", "worst class, 8", "worst group, night", "verified at FAR 0.10%", "equal error rate"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if *write != "" {
		t.Log("\n" + b.String())
	}
}

func TestFormat(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{group(0), "0"}, {group(999), "999"}, {group(1066440), "1,066,440"}, {group(-1234), "−1,234"},
		{bytesShort(16822), "16.8 kB"}, {bytesShort(12), "12 B"}, {bytesShort(1.5e6), "1.50 MB"},
		{digits(0.0412, 3), "0.0412"}, {digits(123.4, 2), "123"}, {percent(-0.00001), "0.00%"}, {points(-0.0013), "−0.13"},
		{ratio(63.44), "63.4×"}, {ratio(1000), "1000×"},
	} {
		if tc.got != tc.want {
			t.Errorf("%q, want %q", tc.got, tc.want)
		}
	}
}

func TestScan(t *testing.T) {
	f := fixture(true)
	r := &compress.ScanResult{Model: "dense<1>.onnx", N: 10000, Error: 0.0165, Curves: f.Curves, Ranks: map[string][]string{"weight": {"fc3", "fc2", "fc1"}}}
	var b, page bytes.Buffer
	if err := ScanSVG(&b, r); err != nil {
		t.Fatal(err)
	}
	r.Curves = append(r.Curves, compress.Curve{Layer: "add<1>", Granularity: "block", Method: "blocks", Points: []compress.CurvePoint{{Fraction: 1, MSE: math.MaxFloat64}}},
		compress.Curve{Layer: "odd", Method: "other", Points: []compress.CurvePoint{{}}}, compress.Curve{Layer: "none", Method: "zero", Granularity: "weight"})
	if err := ScanHTML(&page, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"removed", "broken", "4 bits", "add&lt;1&gt;", "single weights", "--h:100%"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, bad := range []string{"<script", "http:", "https:", "NaN", "Inf", "ZgotmplZ", "%!", "<1>"} {
		if strings.Contains(page.String(), bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if *write != "" {
		for name, x := range map[string][]byte{"scan.svg": b.Bytes(), "scan.html": page.Bytes()} {
			if err := os.WriteFile(*write+"/"+name, x, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for d := xml.NewDecoder(&b); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := ScanSVG(io.Discard, &compress.ScanResult{}); err != nil {
		t.Error(err)
	}
	if err := ScanHTML(io.Discard, &compress.ScanResult{}); err != nil {
		t.Error(err)
	}
}
