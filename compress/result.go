package compress

import (
	"cmp"
	"slices"
	"time"
)

// Schema is the version of Result's JSON form.
const Schema = 1

// Interval is a figure with its 95% interval. Where nothing is known of the
// spread, Low and High equal Value.
type Interval struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// Result is what Run did and measured. Fields that were not measured are zero or
// nil. File names are base names.
type Result struct {
	Schema int    `json:"schema"`
	Tool   Tool   `json:"tool"`
	Title  string `json:"title"` // the recipe's name, or how the search went
	Model  string `json:"model"` // the model's base name
	Output string `json:"output"`
	SHA256 string `json:"sha256"` // of the written file

	// Verdict is one sentence.
	Verdict string `json:"verdict"`
	// Met: every budget is met by its point estimate.
	Met bool `json:"met"`
	// Certified: the one-sided 95% bound of the metric is within the promise too.
	Certified bool `json:"certified"`

	Metric  Metric      `json:"metric"`
	Bytes   Bytes       `json:"bytes"`
	Latency *Latency    `json:"latency_ms,omitempty"`
	Memory  *Memory     `json:"memory_bytes,omitempty"`
	Budgets []BudgetRow `json:"budgets"`
	// Notes are sentences on what to mind about these figures.
	Notes []string `json:"notes"`

	Splits  []Split   `json:"splits"`
	Card    string    `json:"card,omitempty"` // as YAML
	Machine Machine   `json:"machine"`
	Refused []Refusal `json:"refused"`

	Stages     []Stage     `json:"stages"`
	PaperCited string      `json:"paper,omitempty"`
	Layers     []Layer     `json:"layers"`
	Curves     []Curve     `json:"curves"`
	Pareto     []Candidate `json:"candidates"`
	Table      []Way       `json:"table"`
	Histograms []Histogram `json:"histograms"`
	Flips      []Flip      `json:"flips"`
	// Classes and Groups are the parts of the test set, those that lose most first; see Comparison.
	Classes      []Part        `json:"classes"`
	Groups       []Part        `json:"groups"`
	Verification *Verification `json:"verification,omitempty"`
	Nodes        []NodeTime    `json:"nodes"`

	Recipe  string  `json:"recipe"` // as YAML, what --recipe replays
	Replay  string  `json:"replay"` // the command
	Seed    uint64  `json:"seed"`
	Seconds float64 `json:"seconds"`

	// Unmet is the file that holds the best candidate where a budget is missed.
	Unmet string `json:"unmet,omitempty"`
}

// Tool is the program that made the result.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

// Machine is where the figures were measured.
type Machine struct {
	CPU      string   `json:"cpu"`
	Features []string `json:"features"`
	OS       string   `json:"os"`
	Arch     string   `json:"arch"`
	Threads  int      `json:"threads"`
}

// Metric is the promise's metric on the test split, before and after, both
// measured with the engine that ships, after on the written file.
type Metric struct {
	// Name is top1, top5, agreement, cosine, psnr, recall or verification; see Options.Metric.
	Name   string   `json:"name"`
	N      int      `json:"n"`      // images
	Before Interval `json:"before"` // 0..1, or dB
	After  Interval `json:"after"`  // 0..1, or dB
	// Drop is before minus after, paired, 0..1 or dB (negative: better).
	Drop Interval `json:"drop"`
	// Bound is the one-sided 95% upper bound of the drop.
	Bound float64 `json:"bound"`
	// Lost and Gained count the images that only the model before, and only the one
	// after, has right; 0 where nothing is decided.
	Lost   int `json:"lost"`
	Gained int `json:"gained"`
	// Changed counts the images whose decision differs, right or wrong.
	Changed int `json:"changed"`
	// NeedN is the number of images that would certify the promise at this drop and
	// rate of flips; 0: certified, or no number would.
	NeedN int `json:"need_n,omitempty"`
}

// Bytes are sizes of files and weights.
type Bytes struct {
	Before int64   `json:"before"` // the original weights in float32
	After  int64   `json:"after"`  // the written file, every byte
	Ratio  float64 `json:"ratio"`
}

// Latency is the median of one inference in ms, with the interval that 95% of
// the runs fall in.
type Latency struct {
	Before Interval `json:"before"`
	After  Interval `json:"after"`
	Runs   int      `json:"runs"`
	Batch  int      `json:"batch"`
}

// Memory is the peak of resident memory of a fresh process, in bytes.
type Memory struct {
	Before Interval `json:"before"`
	After  Interval `json:"after"`
}

// BudgetRow is one promise and what was measured.
type BudgetRow struct {
	Name     string  `json:"name"`     // "max drop", "target size", "time"
	Unit     string  `json:"unit"`     // "points", "bytes", "ms", "s"
	Promise  float64 `json:"promise"`  // in Unit
	Measured float64 `json:"measured"` // in Unit
	Met      bool    `json:"met"`
	Note     string  `json:"note,omitempty"`
}

// Split is a part of the data.
type Split struct {
	Name string `json:"name"` // "train", "choice", "test"
	Use  string `json:"use"`  // what it was used for
	N    int    `json:"n"`
	Hash string `json:"hash"` // SHA-256 over the samples' hashes, sorted
}

// Refusal is something that was not done.
type Refusal struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// Stage is a row of the stage table.
type Stage struct {
	Name  string  `json:"name"`
	Bytes int64   `json:"bytes"`
	Ratio float64 `json:"ratio"`
	// Kept is the share of the original model's weights that are left, 0..1.
	Kept float64 `json:"kept"`
	// Choice and Test are errors on those splits, 0..1; N is 0 where not measured.
	Choice ErrorRate `json:"choice"`
	Test   ErrorRate `json:"test"`
	// PaperRatio and PaperError are what the cited paper reports; nil: nothing.
	PaperRatio *float64 `json:"paper_ratio,omitempty"`
	PaperError *float64 `json:"paper_error,omitempty"`
}

// ErrorRate is a share of wrong decisions, 0..1, with its 95% interval.
type ErrorRate struct {
	Interval
	N int `json:"n"`
}

// Layer is one compressed layer.
type Layer struct {
	Name     string `json:"name"`
	Op       string `json:"op"`
	Shape    []int  `json:"shape"`
	Weights  int    `json:"weights"`
	Stored   int    `json:"stored"`
	Encoding string `json:"encoding"`
	// Codebook is the number of shared values, 0: none.
	Codebook  int     `json:"codebook"`
	Bits      int     `json:"bits"`       // of a codebook index, 32 without
	IndexBits int     `json:"index_bits"` // of a relative index, 0 without
	CodeBits  float64 `json:"code_bits"`  // of a codebook index under Huffman, mean
	GapBits   float64 `json:"gap_bits"`   // of a relative index under Huffman, mean
	// Dense is the layer in float32, the others are as the paper counts the stages; bytes.
	Dense     int64 `json:"dense_bytes"`
	Pruned    int64 `json:"pruned_bytes"`
	Quantised int64 `json:"quantised_bytes"`
	Huffman   int64 `json:"huffman_bytes"`
	// File is what the layer takes in the written file; 0: not known.
	File int64 `json:"file_bytes"`
}

// Curve is a layer's sensitivity: the model on the choice split with a method's levels in
// the layer, nothing else changed and nothing retrained.
type Curve struct {
	Layer string `json:"layer"` // or the residual block
	// Granularity is weight, node (output units), layer or block.
	Granularity string `json:"granularity"`
	// Method is zero, or what else was tried: see the method scan.
	Method string       `json:"method"`
	Points []CurvePoint `json:"points"`
	// Chosen is the fraction that was pruned in the end, 0..1.
	Chosen float64 `json:"chosen"`
}

// CurvePoint is one measurement of a Curve.
type CurvePoint struct {
	// Fraction is the level: the share 0..1 that is gone, or bits.
	Fraction float64 `json:"fraction"`
	Error    float64 `json:"error"` // 0..1
	Loss     float64 `json:"loss"`
	// MSE is the mean squared difference of the logits or outputs from the float model's, KL the mean
	// Kullback-Leibler divergence of the decisions in nats; nil: nothing is decided.
	MSE float64  `json:"mse"`
	KL  *float64 `json:"kl,omitempty"`
	// Saved is what the constants save in the file, in bytes; 0: not counted.
	Saved int64 `json:"saved_bytes,omitempty"`
}

// Far is how far the outputs moved: KL where there is one, else MSE.
func (p CurvePoint) Far() float64 {
	if p.KL != nil {
		return *p.KL
	}
	return p.MSE
}

// Candidate is a model that was tried, measured on the choice split.
type Candidate struct {
	Name   string  `json:"name"`
	Bytes  int64   `json:"bytes"`
	Metric float64 `json:"metric"` // 0..1, or dB
	// Ms is the time of one inference, by the model's as it came in the same moments; 0: not timed.
	Ms     float64 `json:"ms,omitempty"`
	Chosen bool    `json:"chosen"`
	// Recipe makes it, as YAML; "": the model as it came.
	Recipe string `json:"recipe,omitempty"`
}

// Front is the models of Pareto that no other beats: none is as small, as good by the metric on the choice
// split and, where times were taken, as fast, and better in one of these. The smallest comes first.
func (r *Result) Front() []Candidate {
	var front []Candidate
	for i, a := range r.Pareto {
		if !slices.ContainsFunc(r.Pareto[:i], func(b Candidate) bool { return b.beats(a) || b.same(a) }) &&
			!slices.ContainsFunc(r.Pareto[i+1:], func(b Candidate) bool { return b.beats(a) }) {
			front = append(front, a)
		}
	}
	slices.SortStableFunc(front, func(a, b Candidate) int { return cmp.Compare(a.Bytes, b.Bytes) })
	return front
}

func (a Candidate) same(b Candidate) bool {
	return a.Bytes == b.Bytes && a.Metric == b.Metric && a.Ms == b.Ms
}

func (a Candidate) beats(b Candidate) bool {
	return a.Bytes <= b.Bytes && a.Metric >= b.Metric && a.Ms <= b.Ms && !a.same(b)
}

// Way is a way to hold one layer that was tried with nothing else changed.
type Way struct {
	Layer string `json:"layer"`
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
	// Far is how far the model's outputs are then from the float model's on the choice split: the mean
	// Kullback-Leibler divergence of decisions in nats, or the squared difference by the outputs' squares.
	Far    float64 `json:"far"`
	Chosen bool    `json:"chosen"`
	// Ms, where a search looks for speed, is what the layer then takes or, of channels that are removed, what all
	// layers take less, in ms; else 0.
	Ms float64 `json:"ms,omitempty"`
}

// Histogram is a layer's weights before and after. Bins are equal parts of Min..Max.
type Histogram struct {
	Layer  string    `json:"layer"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Before []int     `json:"before"`
	After  []int     `json:"after"` // pruned weights left out
	Marks  []float64 `json:"marks"` // the codebook
}

// Flip is a test image whose decision changed.
type Flip struct {
	Index  int `json:"index"`
	Label  int `json:"label"` // -1: none
	Before int `json:"before"`
	After  int `json:"after"`
	// Names are the classes' names, where there are any.
	LabelName  string `json:"label_name,omitempty"`
	BeforeName string `json:"before_name,omitempty"`
	AfterName  string `json:"after_name,omitempty"`
	// PNG is the image, only where the user asked for images.
	PNG []byte `json:"png,omitempty"`
}

// NodeTime is one node's time in ms before and after; a fused node has one row
// where both plans have it.
type NodeTime struct {
	Name   string  `json:"name"`
	Op     string  `json:"op"`
	Before float64 `json:"before_ms"`
	After  float64 `json:"after_ms"`
}

// Duration is Seconds as a time.Duration.
func (r *Result) Duration() time.Duration {
	return time.Duration(r.Seconds * float64(time.Second)).Round(time.Second / 10)
}
