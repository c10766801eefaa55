package report

import (
	_ "embed"
	"fmt"
	"html"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
	"sync"

	"whit/compress"
)

// tried is what a scan may try, in the order of columns and colours. Shares of a layer are one axis, bits another.
var tried = []struct {
	method, grain, what string
	bits                bool
}{
	{"zero", "weight", "single weights zeroed, smallest first", false},
	{"zero", "node", "output units zeroed, weakest first", false},
	{"zero", "layer", "the whole layer zeroed", false},
	{"zero", "block", "the whole block zeroed", false},
	{"4x1", "", "blocks of 4 output channels pruned", false},
	{"channels", "", "channels removed", false},
	{"obs", "", "pruned and fitted (obs)", false},
	{"blocks", "", "the block removed", false},
	{"round", "", "rounded", true},
	{"codebook", "", "codebooks", true},
	{"gptq", "", "rounded and fitted (gptq)", true},
	{"activations", "", "on integers of 8 bits", true},
}

// kind is a curve's place in tried; -1: none.
func kind(c compress.Curve) int {
	for i, t := range tried {
		if t.method == c.Method && (t.grain == "" || t.grain == c.Granularity) {
			return i
		}
	}
	return -1
}

// colour is the class number of a kind among those of its axis.
func colour(k int) int {
	n := 0
	for i := range k {
		if tried[i].bits == tried[k].bits {
			n++
		}
	}
	return n
}

// levelText is a point's level in words.
func levelText(c compress.Curve, p compress.CurvePoint) string {
	k := kind(c)
	switch {
	case c.Method == "blocks":
		return "removed"
	case k >= 0 && tried[k].bits:
		return fmt.Sprintf("%s bits", tick(p.Fraction))
	}
	return tick(100*p.Fraction) + "%"
}

// farText is a distance in words.
func farText(x float64) string {
	if x >= math.MaxFloat64/2 {
		return "broken"
	}
	if x > 0 && (x < 1e-3 || x >= 1e4) {
		return fmt.Sprintf("%.1e", x)
	}
	return digits(x, 2)
}

// farAxis is a common axis of curves' distances: six powers of ten at most.
type farAxis struct{ lo, hi float64 }

func axisOf(cs []compress.Curve) farAxis {
	a := farAxis{math.Inf(1), 0}
	for _, c := range cs {
		for _, p := range c.Points {
			if f := p.Far(); f > 0 && f < 1e12 {
				a.lo, a.hi = math.Min(a.lo, f), math.Max(a.hi, f)
			}
		}
	}
	if a.hi == 0 {
		return farAxis{1e-6, 1}
	}
	a.lo = math.Min(math.Max(a.lo, a.hi*1e-6), a.hi/10)
	return a
}

// heat is where a distance lies on the axis, 0..1.
func (a farAxis) heat(x float64) float64 {
	if x <= a.lo {
		return 0
	}
	return math.Min(1, math.Log(x/a.lo)/math.Log(a.hi/a.lo))
}

func farUnit(cs []compress.Curve) string {
	for _, c := range cs {
		for _, p := range c.Points {
			if p.KL != nil {
				return "nats"
			}
		}
	}
	return "squared"
}

// units lists the layers and blocks of curves in order, with their curves.
func units(all []compress.Curve) (names []string, of [][]compress.Curve) {
	at := map[string]int{}
	for _, c := range all {
		key := c.Layer
		if c.Granularity == "block" {
			key = "\x00" + key
		}
		i, ok := at[key]
		if !ok {
			i = len(names)
			at[key] = i
			names, of = append(names, c.Layer), append(of, nil)
		}
		of[i] = append(of[i], c)
	}
	return names, of
}

// curvePlot is the sensitivity of a layer to what takes a share of it, or to what takes bits.
func curvePlot(layer string, all []compress.Curve, a farAxis, bits bool) (plot, bool) {
	var cs []compress.Curve
	var desc []string
	for _, c := range all {
		if k := kind(c); k < 0 || tried[k].bits != bits || len(c.Points) == 0 {
			continue
		}
		cs = append(cs, c)
		var pts []string
		for _, p := range c.Points {
			pts = append(pts, fmt.Sprintf("%s: %s", levelText(c, p), farText(p.Far())))
		}
		desc = append(desc, tried[kind(c)].what+": "+strings.Join(pts, ", "))
	}
	const bottom = 172
	return plot{
		Title: "Sensitivity of " + layer, Desc: strings.Join(desc, "; ") + ".",
		h: 210,
		draw: func(c *canvas) {
			x := scale{lo: 0, hi: 1, a: 44, b: c.w - 12}
			at, under := []float64{0, 0.25, 0.5, 0.75, 1}, "of the layer gone"
			label := func(t float64) string { return tick(100*t) + "%" }
			if bits {
				x, at, under = scale{lo: 8, hi: 2, a: 44, b: c.w - 12}, []float64{8, 7, 6, 5, 4, 3, 2}, "bits"
				label = tick
			}
			y := scale{lo: a.lo / 1.3, hi: a.hi * 1.3, a: bottom, b: 28, log: true}
			c.text("label strong", "start", 0, 13, clip(layer, c.w/char*0.9))
			ts := y.ticks(4)
			for len(ts) > 5 {
				for i := range len(ts) / 2 {
					ts[i] = ts[2*i]
				}
				ts = ts[:len(ts)/2]
			}
			for _, t := range ts {
				c.line("grid", 44, y.at(t), c.w-12, y.at(t))
				c.text("tick", "end", 39, y.at(t)+4, axisText(t))
			}
			for _, t := range at {
				c.text("tick", "middle", x.at(t), 188, label(t))
			}
			c.text("tick", "middle", (44+c.w-12)/2, 204, under)
			for _, cv := range cs {
				k := kind(cv)
				n := colour(k)
				var xs, ys []float64
				for _, p := range cv.Points {
					xs, ys = append(xs, x.at(p.Fraction)), append(ys, y.at(math.Min(math.Max(p.Far(), a.lo), a.hi)))
				}
				if len(xs) > 1 {
					c.poly(fmt.Sprintf("series s%d", n), xs, ys)
				}
				for i, p := range cv.Points {
					c.dot(fmt.Sprintf("mark m%d", n), xs[i], ys[i], 3, fmt.Sprintf("%s, %s: %s", tried[k].what, levelText(cv, p), farText(p.Far())))
				}
				if cv.Chosen > 0 {
					c.line("chosen", x.at(cv.Chosen), 22, x.at(cv.Chosen), bottom)
				}
			}
		},
	}, len(cs) > 0
}

func axisText(x float64) string {
	if x >= 0.01 && x < 1000 {
		return tick(x)
	}
	return strings.Replace(fmt.Sprintf("%.0e", x), "-", "−", 1)
}

// keyRow is a colour and what it stands for.
type keyRow struct {
	Colour template.CSS
	What   string
	colour int
}

// keys are the colours of curves on one axis.
func keys(cs []compress.Curve, bits bool) (out []keyRow) {
	for k, t := range tried {
		if t.bits == bits && slices.ContainsFunc(cs, func(c compress.Curve) bool { return kind(c) == k && len(c.Points) > 0 }) {
			out = append(out, keyRow{template.CSS(fmt.Sprintf("background:var(--s%d)", colour(k))), t.what, colour(k)})
		}
	}
	return out
}

// sensitivity draws the curves: a panel for every layer and block, and axis. Names of SVGs begin with id.
func sensitivity(id string, all []compress.Curve) (shares, bits []template.HTML) {
	a := axisOf(all)
	names, of := units(all)
	for i, name := range names {
		for k, out := range []*[]template.HTML{&shares, &bits} {
			if p, ok := curvePlot(name, of[i], a, k == 1); ok {
				*out = append(*out, svg(fmt.Sprintf("%s%d-%d", id, k, i), p, small, ""))
			}
		}
	}
	return shares, bits
}

//go:embed scan.html
var scanText string

var scanTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("scan").Parse(scanText))
})

type heatCell struct {
	Text, Title string
	Style       template.CSS
}

type scanPage struct {
	R                  *compress.ScanResult
	CSS                template.CSS
	Far                string
	Columns            []string
	Groups             []heatGroup
	Rows               []heatRow
	Shares, Bits       []template.HTML
	ShareKeys, BitKeys []keyRow
	Ranks              []rank
	N                  string
	Refused            []compress.Refusal
}

type heatGroup struct {
	What string
	Span int
}

type heatRow struct {
	Name  string
	Cells []heatCell
}

type rank struct{ What, Layers string }

var rankNames = []struct{ key, what string }{
	{"weight", "half of its weights"}, {"node", "half of its output units"}, {"layer", "the whole layer"}, {"block", "the whole block"},
}

// ScanHTML writes a scan as a page without scripts: a table of all that was tried, by how far the outputs move,
// and a chart for each layer.
func ScanHTML(w io.Writer, r *compress.ScanResult) error {
	copied := *r
	copied.Model = base(r.Model)
	p := scanPage{R: &copied, CSS: template.CSS(css), N: group(int64(r.N)), Refused: r.Refused}
	p.Far = "mean squared difference of the outputs from the model's as it came"
	if farUnit(r.Curves) == "nats" {
		p.Far = "mean Kullback-Leibler divergence of the decisions from the model's as it came, in nats"
	}
	p.heat(r.Curves)
	p.Shares, p.Bits = sensitivity("c", r.Curves)
	p.ShareKeys, p.BitKeys = keys(r.Curves, false), keys(r.Curves, true)
	for _, k := range rankNames {
		if l := r.Ranks[k.key]; l != nil {
			p.Ranks = append(p.Ranks, rank{k.what, strings.Join(l, ", ")})
		}
	}
	return scanTemplate().Execute(w, p)
}

// heat makes the table: a row for every layer and block, a column for every level.
func (p *scanPage) heat(all []compress.Curve) {
	type column struct {
		kind  int
		level float64
	}
	var cols []column
	text := map[column]string{}
	for _, c := range all {
		for _, q := range c.Points {
			k := column{kind(c), q.Fraction}
			if k.kind < 0 || c.Method == "zero" && q.Fraction == 0 || text[k] != "" {
				continue
			}
			cols, text[k] = append(cols, k), levelText(c, q)
		}
	}
	slices.SortFunc(cols, func(a, b column) int {
		d := a.level - b.level
		if a.kind == b.kind && tried[a.kind].bits {
			d = -d
		}
		switch {
		case a.kind != b.kind:
			return a.kind - b.kind
		case d < 0:
			return -1
		}
		return 1
	})
	at := map[column]int{}
	for i, c := range cols {
		at[c] = i
		p.Columns = append(p.Columns, text[c])
		if what := tried[c.kind].what; len(p.Groups) == 0 || p.Groups[len(p.Groups)-1].What != what {
			p.Groups = append(p.Groups, heatGroup{what, 1})
		} else {
			p.Groups[len(p.Groups)-1].Span++
		}
	}
	a := axisOf(all)
	names, of := units(all)
	for i, name := range names {
		row := heatRow{Name: name, Cells: make([]heatCell, len(cols))}
		for _, c := range of[i] {
			for _, q := range c.Points {
				k, ok := at[column{kind(c), q.Fraction}]
				if !ok {
					continue
				}
				title := fmt.Sprintf("%s, %s: %s, error %s", name, tried[kind(c)].what, levelText(c, q), percent(q.Error))
				if q.Saved != 0 {
					title += fmt.Sprintf(", %s bytes saved", group(q.Saved))
				}
				row.Cells[k] = heatCell{farText(q.Far()), title, template.CSS(fmt.Sprintf("--h:%.0f%%", 100*a.heat(q.Far())))}
			}
		}
		p.Rows = append(p.Rows, row)
	}
}

// ScanSVG writes the curves of a scan as one SVG file, a panel for each layer and axis, in
// the viewer's light or dark colours.
func ScanSVG(w io.Writer, r *compress.ScanResult) error {
	names, of := units(r.Curves)
	a := axisOf(r.Curves)
	var panels []plot
	for _, bits := range []bool{false, true} {
		for i, name := range names {
			if p, ok := curvePlot(name, of[i], a, bits); ok {
				panels = append(panels, p)
			}
		}
	}
	legend := append(keys(r.Curves, false), keys(r.Curves, true)...)
	shares := len(keys(r.Curves, false))
	cols := min(3, max(1, len(panels)))
	rows := (len(panels) + cols - 1) / cols
	const dx, dy = small + 24, 236
	top := 62 + 18*((len(legend)+cols-1)/cols) + 12
	width, height := cols*dx+24, rows*dy+top
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="t d"><title id="t">Sensitivity of %s</title><desc id="d">Layers, the most sensitive first: %s.</desc>`,
		width, height, width, height, html.EscapeString(r.Model), html.EscapeString(strings.Join(ranking(r), ", ")))
	fmt.Fprintf(&b, "<style>%s svg{max-width:none}</style>", css)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" style="fill:var(--paper)"/>`)
	c := &canvas{w: float64(width)}
	c.text("label strong", "start", 24, 28, "How sensitive each layer is: "+r.Model)
	c.text("tick", "start", 24, 46, fmt.Sprintf("how far the outputs move (%s), on %s images of the choice split, nothing retrained", farUnit(r.Curves), group(int64(r.N))))
	for i, k := range legend {
		axis := "shares: "
		if i >= shares {
			axis = "bits: "
		}
		x, y := 24+dx*float64(i%cols), 66+18*float64(i/cols)
		c.line(fmt.Sprintf("series s%d", k.colour), x, y, x+18, y)
		c.text("tick", "start", x+24, y+4, axis+k.What)
	}
	b.WriteString(c.b.String())
	for i, p := range panels {
		q := &canvas{w: small, h: dy}
		p.draw(q)
		fmt.Fprintf(&b, `<g transform="translate(%d %d)"><desc>%s</desc>%s</g>`, 24+i%cols*dx, top+i/cols*dy, html.EscapeString(p.Desc), q.b.String())
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// ranking is the layers, the most sensitive first, by the finest granularity that was scanned.
func ranking(r *compress.ScanResult) []string {
	for _, k := range rankNames {
		if l := r.Ranks[k.key]; l != nil {
			return l
		}
	}
	return nil
}
