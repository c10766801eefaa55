package report

import (
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"path"
	"strings"
	"sync"

	"whit/compress"
)

// Options say how the page is written. The zero value is the default.
type Options struct {
	// Images is how many of the user's images may go into the page; 0: none.
	Images int
}

//go:embed page.css
var css string

//go:embed page.html
var pageText string

// pageTemplate is parsed when it is first used: most runs of the program write no page.
var pageTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(pageFuncs).Parse(pageText))
})

var pageFuncs = template.FuncMap{
	"short": func(s string) string {
		if len(s) > 12 {
			return s[:12]
		}
		return s
	},
	"count":   func(n int) string { return group(int64(n)) },
	"bytes":   group,
	"percent": percent,
	"value":   value,
	"ms":      ms,
	"loss":    func(x float64) string { return digits(x, 3) },
	"join":    func(s []string) string { return strings.Join(s, ", ") },
	"plural":  plural,
	"class":   className,
	"level":   levelText,
	"drop":    func(m string, x compress.Interval) string { return difference(m, x.Value) },
	"between": func(m string, x compress.Interval) string {
		return difference(m, x.Low) + " to " + difference(m, x.High)
	},
	"decides": decides,
	"unit":    unit,
	"list":    func(ps []compress.Part) []compress.Part { return ps[:min(len(ps), listed)] },
	"more":    func(ps []compress.Part) int { return max(0, len(ps)-listed) },
	"far":     func(p compress.CurvePoint) string { return farText(p.Far()) },
}

type figure struct {
	Name, Big, Unit string
	Lines           []string
	SVG             template.HTML
}

type budgetRow struct {
	Name, Promise, Measured, Note string
	Met                           bool
}

type stageRow struct {
	Name, Bytes, Ratio, PaperRatio, Kept, Choice, Test, PaperError string
	Last                                                           bool
}

type layerRow struct {
	Name, Op, Shape, Weights, Kept, Codebook, Bits, IndexBits, HuffBits, Dense, Pruned, Quantised, Huffman, File string
}

type partTable struct {
	What, Metric string
	Parts        []compress.Part
}

type image struct {
	Alt, Caption string
	Src          template.URL
}

type page struct {
	R                                     *compress.Result
	CSS                                   template.CSS
	Seal                                  string
	SealIcon                              template.HTML
	Figures                               []figure
	IntervalNote, MetricName, FarUnit     string
	HasMs                                 bool
	Budgets                               []budgetRow
	MetricNotes, FlipNotes                []string
	Stages                                []stageRow
	HasPaper, HasChoice, HasTest, HasFile bool
	Layers                                []layerRow
	LayerNote                             string
	StagePlot, LayerPlot, Pareto          template.HTML
	FlipPlot, NodePlot                    template.HTML
	Curves, BitCurves, Hists              []template.HTML
	ShareKeys, BitKeys                    []keyRow
	CurveUnit                             string
	Images                                []image
	ClassParts, GroupParts                partTable
}

// listed is how many classes and groups the page shows, the worst.
const listed = 100

// The widths that plots are drawn for, in CSS pixels.
const (
	wide   = 960
	narrow = 340
	small  = 310
)

// HTML writes the page. Errors are the writer's.
func HTML(w io.Writer, r *compress.Result, o Options) error {
	copied := *r // base names only, whatever the caller put there
	copied.Model, copied.Output, copied.Unmet = base(r.Model), base(r.Output), base(r.Unmet)
	r = &copied
	p := &page{R: r, CSS: template.CSS(css), MetricName: metricName(r.Metric.Name)}
	p.head()
	p.budgets()
	p.stages()
	p.layers()
	p.plots()
	p.flips(o.Images)
	p.ClassParts, p.GroupParts = partTable{"Class", r.Metric.Name, r.Classes}, partTable{"Group", r.Metric.Name, r.Groups}
	return pageTemplate().Execute(w, p)
}

func base(name string) string {
	if name == "" {
		return ""
	}
	return path.Base(strings.ReplaceAll(name, `\`, "/"))
}

func metricName(m string) string {
	switch m {
	case "top1":
		return "Accuracy (top-1)"
	case "top5":
		return "Accuracy (top-5)"
	case "verification":
		return "Pairs verified"
	case "agreement":
		return "Agreement with the float model"
	case "psnr":
		return "PSNR"
	case "cosine":
		return "Cosine to the float model"
	case "recall":
		return "Recall of the float model"
	case "":
		return "Metric"
	}
	return strings.ToUpper(m[:1]) + m[1:]
}

func (p *page) head() {
	r := p.R
	p.SealIcon = `<svg width="15" height="15" viewBox="0 0 15 15" aria-hidden="true"><path d="M2.5 8l3.5 3.5L12.5 4" fill="none" stroke="currentColor" stroke-width="2.2" stroke-linecap="round" stroke-linejoin="round"/></svg>`
	switch {
	case !r.Met:
		p.Seal = "A budget was missed"
		p.SealIcon = `<svg width="15" height="15" viewBox="0 0 15 15" aria-hidden="true"><path d="M3 3l9 9M12 3l-9 9" fill="none" stroke="currentColor" stroke-width="2.2" stroke-linecap="round"/></svg>`
	case len(r.Budgets) == 0:
		p.Seal = "Done; no budget was set"
	case r.Certified:
		p.Seal = "All budgets met, the drop certified at 95%"
	default:
		p.Seal = "All budgets met by the measured figures"
	}
	m := r.Metric
	show := func(x float64) string { return value(m.Name, x) }
	fall := func(x float64) string { return difference(m.Name, x) }
	f := figure{Name: p.MetricName, Big: show(m.After.Value), Lines: []string{
		fmt.Sprintf("%s to %s; was %s", show(m.After.Low), show(m.After.High), show(m.Before.Value)),
		fmt.Sprintf("on %s test images", group(int64(m.N))),
		fmt.Sprintf("drop %s %s (%s to %s)", fall(m.Drop.Value), unit(m.Name), fall(m.Drop.Low), fall(m.Drop.High)),
	}, SVG: svg("fig-metric", pairBar(p.MetricName, m.Before, m.After, false), 220, "")}
	if m.N == 0 {
		f = figure{Name: p.MetricName, Big: "–", Lines: []string{"not measured"}}
	}
	p.Figures = append(p.Figures, f)
	exact := func(n int64) compress.Interval { x := float64(n); return compress.Interval{Value: x, Low: x, High: x} }
	p.Figures = append(p.Figures, figure{Name: "Size on disk", Big: ratio(r.Bytes.Ratio), Unit: "smaller", Lines: []string{
		group(r.Bytes.After) + " bytes, all counted",
		"was " + group(r.Bytes.Before) + ", weights in fp32",
	}, SVG: svg("fig-bytes", pairBar("Size", exact(r.Bytes.Before), exact(r.Bytes.After), true), 220, "")})
	f = figure{Name: "Time for one image", Big: "–", Lines: []string{"not measured"}}
	if l := r.Latency; l != nil {
		f = figure{Name: "Median time of one run", Big: ms(l.After.Value), Unit: "ms", Lines: []string{
			fmt.Sprintf("%s to %s; was %s", ms(l.After.Low), ms(l.After.High), ms(l.Before.Value)),
			fmt.Sprintf("batch %d, %s, %s", l.Batch, plural(r.Machine.Threads, "thread", "threads"), plural(l.Runs, "run", "runs")),
		}, SVG: svg("fig-ms", pairBar("Latency", l.Before, l.After, false), 220, "")}
	}
	p.Figures = append(p.Figures, f)
	f = figure{Name: "Peak memory", Big: "–", Lines: []string{"not measured"}}
	if m := r.Memory; m != nil {
		v, u, _ := strings.Cut(bytesShort(m.After.Value), " ")
		f = figure{Name: "Peak memory of a process", Big: v, Unit: u, Lines: []string{
			fmt.Sprintf("%s to %s", bytesShort(m.After.Low), bytesShort(m.After.High)), "was " + bytesShort(m.Before.Value),
		}, SVG: svg("fig-mem", pairBar("Peak memory", m.Before, m.After, false), 220, "")}
	}
	p.Figures = append(p.Figures, f)
	p.IntervalNote = "95% intervals; of the time, the middle 95% of the runs"

	if m.N > 0 && !decides(m.Name) {
		p.MetricNotes = append(p.MetricNotes, fmt.Sprintf("On %s test images the drop is %s %s, 95%% interval %s to %s (paired); with 95%% confidence it is at most %s.",
			group(int64(m.N)), fall(m.Drop.Value), unit(m.Name), fall(m.Drop.Low), fall(m.Drop.High), fall(m.Bound)))
	} else if m.N > 0 {
		p.MetricNotes = append(p.MetricNotes, fmt.Sprintf("On %s test images %s: %s only the original had right, %s only the compressed model. The drop is %s percentage points, 95%% interval %s to %s (paired); with 95%% confidence it is at most %s.",
			group(int64(m.N)), changed(m.Changed), group(int64(m.Lost)), group(int64(m.Gained)), points(m.Drop.Value), points(m.Drop.Low), points(m.Drop.High), points(m.Bound)))
	}
	if m.NeedN > 0 {
		p.MetricNotes = append(p.MetricNotes, fmt.Sprintf("To certify the promise at this drop and spread, about %s test images are needed.", group(int64(m.NeedN))))
	}
	p.MetricNotes = append(p.MetricNotes, r.Notes...)
	if r.Unmet != "" {
		p.MetricNotes = append(p.MetricNotes, fmt.Sprintf("The best candidate was kept as %s.", r.Unmet))
	}
}

func changed(n int) string {
	if n == 1 {
		return "1 decision differs"
	}
	return group(int64(n)) + " decisions differ"
}

func amount(x float64, unit string) string {
	switch unit {
	case "bytes":
		return group(int64(x)) + " bytes"
	case "points":
		return fixed(x, 2) + " points"
	case "ratio":
		return ratio(x)
	case "percent":
		return fixed(x, 2) + "%"
	}
	return digits(x, 3) + " " + unit
}

func (p *page) budgets() {
	for _, b := range p.R.Budgets {
		p.Budgets = append(p.Budgets, budgetRow{b.Name, amount(b.Promise, b.Unit), amount(b.Measured, b.Unit), b.Note, b.Met})
	}
}

func errorRate(e compress.ErrorRate) string {
	if e.N == 0 {
		return "–"
	}
	return fmt.Sprintf("%s (%s–%s)", percent(e.Value), fixed(100*e.Low, 2), fixed(100*e.High, 2))
}

func (p *page) stages() {
	r := p.R
	for i, s := range r.Stages {
		p.HasPaper = p.HasPaper || s.PaperRatio != nil || s.PaperError != nil
		p.HasChoice = p.HasChoice || s.Choice.N > 0
		p.HasTest = p.HasTest || s.Test.N > 0
		row := stageRow{Name: s.Name, Bytes: group(s.Bytes), Ratio: ratio(s.Ratio), PaperRatio: "–", PaperError: "–",
			Kept: fixed(100*s.Kept, 1) + "%", Choice: errorRate(s.Choice), Test: errorRate(s.Test), Last: i == len(r.Stages)-1}
		if s.PaperRatio != nil {
			row.PaperRatio = ratio(*s.PaperRatio)
		}
		if s.PaperError != nil {
			row.PaperError = percent(*s.PaperError)
		}
		p.Stages = append(p.Stages, row)
	}
	if len(r.Stages) > 0 {
		p.StagePlot = both("stages", stagePlot(r.Stages))
	}
}

func dash(n int) string {
	if n == 0 {
		return "–"
	}
	return group(int64(n))
}

func (p *page) layers() {
	r := p.R
	for _, l := range r.Layers {
		p.HasFile = p.HasFile || l.File > 0
		row := layerRow{Name: l.Name, Op: l.Op, Weights: group(int64(l.Weights)), Kept: "–", Codebook: dash(l.Codebook), Bits: fmt.Sprint(l.Bits),
			IndexBits: dash(l.IndexBits), HuffBits: "–", Dense: group(l.Dense), Pruned: group(l.Pruned), Quantised: group(l.Quantised), Huffman: group(l.Huffman), File: group(l.File)}
		var dims []string
		for _, d := range l.Shape {
			dims = append(dims, fmt.Sprint(d))
		}
		row.Shape = strings.Join(dims, "×")
		if l.Weights > 0 {
			row.Kept = fixed(100*float64(l.Stored)/float64(l.Weights), 1) + "%"
		}
		if l.CodeBits+l.GapBits > 0 {
			row.HuffBits = fixed(l.CodeBits, 1) + " + " + fixed(l.GapBits, 1)
		}
		p.Layers = append(p.Layers, row)
	}
	if len(r.Layers) == 0 {
		return
	}
	what := "under Huffman codes, as the paper counts"
	if p.HasFile {
		what = "in the written file"
	}
	p.LayerNote = "Each layer in float32 and " + what + ", on a logarithmic axis."
	p.LayerPlot = both("layers", layerPlot(r.Layers))
}

func both(id string, q plot) template.HTML {
	return svg(id, q, wide, "wide") + svg(id+"-n", q, narrow, "narrow")
}

func (p *page) plots() {
	r := p.R
	p.Curves, p.BitCurves = sensitivity("curve", r.Curves)
	p.ShareKeys, p.BitKeys = keys(r.Curves, false), keys(r.Curves, true)
	p.CurveUnit = "the mean squared difference of its outputs from the float model's"
	if farUnit(r.Curves) == "nats" {
		p.CurveUnit = "the mean Kullback-Leibler divergence of its decisions from the float model's, in nats"
	}
	p.FarUnit = "squared difference, as a share of the outputs' squares"
	if decides(r.Metric.Name) {
		p.FarUnit = "mean Kullback-Leibler divergence of its decisions, in nats"
	}
	for _, c := range r.Pareto {
		p.HasMs = p.HasMs || c.Ms > 0
	}
	if len(r.Pareto) > 0 {
		p.Pareto = both("pareto", paretoPlot(r.Pareto, r.Metric.Name))
	}
	for i, h := range r.Histograms {
		p.Hists = append(p.Hists, svg(fmt.Sprintf("hist%d", i), histPlot(h), small, ""))
	}
	if len(r.Nodes) > 0 {
		p.NodePlot = both("nodes", nodePlot(r.Nodes))
	}
}

func (p *page) flips(images int) {
	r := p.R
	m := r.Metric
	switch {
	case m.N == 0:
		p.FlipNotes = []string{"Not measured."}
		return
	case !decides(m.Name):
		p.FlipNotes = []string{"The model decides nothing that could flip."}
		return
	case m.Changed == 0:
		p.FlipNotes = []string{fmt.Sprintf("None of %s.", group(int64(m.N)))}
		return
	}
	note := fmt.Sprintf("%s of %s (%s).", changed(m.Changed), group(int64(m.N)), percent(float64(m.Changed)/float64(m.N)))
	if len(r.Flips) < m.Changed {
		note += fmt.Sprintf(" The first %s are listed.", group(int64(len(r.Flips))))
	}
	p.FlipNotes = []string{note}
	if len(r.Flips) == 0 {
		return
	}
	p.FlipPlot = both("flips", flipPlot(r.Flips))
	for _, f := range r.Flips {
		if len(f.PNG) == 0 || len(p.Images) >= images {
			continue
		}
		c := fmt.Sprintf("%s → %s", className(f.Before, f.BeforeName), className(f.After, f.AfterName))
		if f.Label >= 0 {
			c += fmt.Sprintf(", is %s", className(f.Label, f.LabelName))
		}
		p.Images = append(p.Images, image{Alt: fmt.Sprintf("Test image %d", f.Index), Caption: c,
			Src: template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(f.PNG))})
	}
}
