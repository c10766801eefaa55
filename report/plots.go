package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"whit/compress"
)

// The text of a plot is 12 px; a character is about this wide.
const char = 6.3

// pairBar is the small drawing under a figure: before and after with intervals.
func pairBar(name string, before, after compress.Interval, fromZero bool) plot {
	lo := math.Min(before.Low, after.Low)
	hi := math.Max(before.High, after.High)
	if fromZero {
		lo = 0
	} else {
		pad := (hi - lo) * 0.08
		lo, hi = lo-pad, hi+pad
	}
	if hi <= lo {
		hi = lo + 1
	}
	return plot{
		Title: name + ", before and after",
		Desc:  fmt.Sprintf("Before %s, after %s.", tick(before.Value), tick(after.Value)),
		h:     26,
		draw: func(c *canvas) {
			s := scale{lo: lo, hi: hi, a: 4, b: c.w - 4}
			for i, v := range []compress.Interval{before, after} {
				class, y := []string{"before", "after"}[i], 7+12*float64(i)
				if fromZero {
					c.rect("fill-"+class, s.at(0), y-3, s.at(v.Value)-s.at(0), 6, "")
					continue
				}
				c.line("rail", 4, y, c.w-4, y)
				c.line("whisker "+class, s.at(v.Low), y, s.at(v.High), y)
				c.dot("fill-"+class, s.at(v.Value), y, 4, "")
			}
		},
	}
}

// stagePlot is the size after each stage, with the paper's marks.
func stagePlot(stages []compress.Stage) plot {
	hi := 1.0
	var desc []string
	for _, s := range stages {
		hi = math.Max(hi, float64(s.Bytes))
		desc = append(desc, fmt.Sprintf("%s: %s bytes, %s", s.Name, group(s.Bytes), ratio(s.Ratio)))
	}
	row := 44.0
	return plot{
		Title: "Size after each stage", Desc: strings.Join(desc, "; ") + ".",
		h: row*float64(len(stages)) + 30,
		draw: func(c *canvas) {
			s := scale{lo: 0, hi: hi, a: 2, b: c.w - 130}
			bottom := row*float64(len(stages)) + 6
			c.xAxis(s, bottom, func(t float64) string { return bytesShort(t) })
			for i, st := range stages {
				y := row*float64(i) + 14
				c.text("label", "start", 2, y, st.Name)
				class := "fill-step"
				if i == 0 {
					class = "fill-before"
				} else if i == len(stages)-1 {
					class = "fill-after"
				}
				x := s.at(float64(st.Bytes))
				c.rect(class, 2, y+7, x-2, 14, "")
				if st.PaperRatio != nil && *st.PaperRatio > 0 {
					p := s.at(float64(stages[0].Bytes) / *st.PaperRatio)
					c.line("paper", p, y+4, p, y+24)
					x = math.Max(x, p)
				}
				c.pair(x+10, y+18, ratio(st.Ratio), bytesShort(float64(st.Bytes)))
			}
		},
	}
}

// layerPlot is each layer's size before and after: two dots on a logarithmic axis.
func layerPlot(layers []compress.Layer) plot {
	hi, lo := 1.0, math.Inf(1)
	var desc []string
	for _, l := range layers {
		hi = math.Max(hi, float64(l.Dense))
		lo = math.Min(lo, math.Max(1, math.Min(float64(l.Dense), float64(layerBytes(l)))))
		desc = append(desc, fmt.Sprintf("%s: %s of %s bytes", l.Name, group(layerBytes(l)), group(l.Dense)))
	}
	row := 34.0
	return plot{
		Title: "Size of each layer", Desc: strings.Join(desc, "; ") + ".",
		h: row*float64(len(layers)) + 30,
		draw: func(c *canvas) {
			left := 40.0
			for _, l := range layers {
				left = math.Max(left, math.Min(float64(len([]rune(l.Name)))*char+14, c.w*0.35))
			}
			s := scale{lo: lo / 1.3, hi: hi * 1.15, a: left, b: c.w - 130, log: true}
			bottom := row*float64(len(layers)) + 6
			c.xAxis(s, bottom, func(t float64) string { return bytesShort(t) })
			for i, l := range layers {
				y := row*float64(i) + 20
				c.text("label", "start", 2, y+4, clip(l.Name, (left-10)/char))
				x, d := s.at(math.Max(1, float64(layerBytes(l)))), s.at(float64(l.Dense))
				c.line("link", x, y, d, y)
				c.dot("fill-before", d, y, 5, "before: "+group(l.Dense)+" bytes")
				c.dot("fill-after", x, y, 6, "after: "+group(layerBytes(l))+" bytes")
				r := 0.0
				if b := layerBytes(l); b > 0 {
					r = float64(l.Dense) / float64(b)
				}
				c.pair(c.w-118, y+4, ratio(r), bytesShort(float64(layerBytes(l))))
			}
		},
	}
}

func layerBytes(l compress.Layer) int64 {
	if l.File > 0 {
		return l.File
	}
	return l.Huffman
}

// paretoPlot is the metric against size of all that was tried.
func paretoPlot(cs []compress.Candidate, metric string) plot {
	lo, hi := math.Inf(1), 0.0
	mlo, mhi := 1.0, 0.0
	sign := "%"
	show := func(x float64) string { return value(metric, x) }
	if metric == "psnr" { // dB on the axis of percents
		sign, show = " dB", func(x float64) string { return value(metric, 100*x) }
		cs = slices.Clone(cs)
		for i := range cs {
			cs[i].Metric /= 100
		}
	}
	for _, c := range cs {
		lo, hi = math.Min(lo, float64(c.Bytes)), math.Max(hi, float64(c.Bytes))
		mhi = math.Max(mhi, c.Metric)
	}
	// What broke the model is drawn at the lower edge: the interesting part is near the top.
	var ms []float64
	for _, c := range cs {
		ms = append(ms, c.Metric)
	}
	slices.Sort(ms)
	mlo = math.Max(ms[0], mhi-math.Max(0.02, 2.5*(mhi-ms[len(ms)/2])))
	var desc []string
	for _, c := range cs {
		if c.Chosen {
			desc = append(desc, fmt.Sprintf("Chosen: %s with %s bytes and %s %s", c.Name, group(c.Bytes), metricName(metric), show(c.Metric)))
		}
	}
	return plot{
		Title: metricName(metric) + " against size", Desc: fmt.Sprintf("%s tried. %s.", plural(len(cs), "model", "models"), strings.Join(desc, "; ")),
		h: 300,
		draw: func(c *canvas) {
			left, right, bottom := 50.0, c.w-14, 248.0
			x := scale{lo: lo / 1.2, hi: hi * 1.2, a: left, b: right, log: true}
			a, b := nice(100*mlo, 100*mhi, 5)
			y := scale{lo: a / 100, hi: b / 100, a: bottom, b: 14}
			for _, t := range (scale{lo: a, hi: b}).ticks(5) {
				c.line("grid", left, y.at(t/100), right, y.at(t/100))
				c.text("tick", "end", left-8, y.at(t/100)+4, tick(t)+sign)
			}
			c.xAxis(x, bottom, func(t float64) string { return bytesShort(t) })
			c.text("tick", "middle", (left+right)/2, bottom+38, "bytes (smaller is to the left)")
			for _, k := range cs {
				if k.Chosen {
					continue
				}
				c.dot("mark m-tried", x.at(float64(k.Bytes)), y.at(math.Max(k.Metric, y.lo)), 4, fmt.Sprintf("%s: %s bytes, %s", k.Name, group(k.Bytes), show(k.Metric)))
			}
			for _, k := range cs {
				if !k.Chosen {
					continue
				}
				px, py := x.at(float64(k.Bytes)), y.at(math.Max(k.Metric, y.lo))
				c.dot("ring", px, py, 9, "")
				c.dot("fill-after", px, py, 5, fmt.Sprintf("%s: %s bytes, %s", k.Name, group(k.Bytes), show(k.Metric)))
				anchor, dx := "start", 14.0
				if px > (left+right)/2 {
					anchor, dx = "end", -14
				}
				ty := py - 12
				if ty < 22 {
					ty = py + 22
				}
				c.text("value strong", anchor, px+dx, ty, "chosen")
			}
		},
	}
}

// histPlot is a layer's weights before (outline) and after, with the codebook's marks.
func histPlot(h compress.Histogram) plot {
	top := 1
	for i := range h.Before {
		// The pruned middle would hide the rest: the scale is that of what is kept,
		// and at least of the second fullest bin before.
		if i < len(h.After) {
			top = max(top, h.After[i])
		}
	}
	before := slices.Clone(h.Before)
	slices.Sort(before)
	if n := len(before); n > 0 {
		top = max(top, before[n*3/4])
	}
	kept := 0
	for _, n := range h.After {
		kept += n
	}
	return plot{
		Title: "Weights of " + h.Layer,
		Desc:  fmt.Sprintf("From %s to %s. %s kept on %s.", tick(h.Min), tick(h.Max), plural(kept, "weight", "weights"), plural(len(h.Marks), "shared value", "shared values")),
		h:     180,
		draw: func(c *canvas) {
			left, right, bottom := 4.0, c.w-4, 138.0
			c.text("label strong", "start", 0, 13, h.Layer)
			x := scale{lo: h.Min, hi: h.Max, a: left, b: right}
			y := scale{lo: 0, hi: float64(top) * 1.06, a: bottom, b: 26}
			n := len(h.Before)
			if n == 0 {
				return
			}
			bw := (right - left) / float64(n)
			xs, ys := []float64{left}, []float64{bottom}
			for i, v := range h.Before {
				py := math.Max(y.at(float64(v)), 22)
				xs, ys = append(xs, left+bw*float64(i), left+bw*float64(i+1)), append(ys, py, py)
			}
			c.poly("hist-before", append(xs, right), append(ys, bottom))
			for i, v := range h.After {
				if v > 0 {
					c.rect("fill-after", left+bw*float64(i)+0.4, y.at(float64(v)), bw-0.8, bottom-y.at(float64(v)), "")
				}
			}
			c.line("axis", left, bottom, right, bottom)
			for _, m := range h.Marks {
				c.line("book", x.at(m), bottom+3, x.at(m), bottom+12)
			}
			for i, t := range []float64{h.Min, 0, h.Max} {
				if i == 1 && (h.Min > 0 || h.Max < 0 || x.at(0)-left < 60 || right-x.at(0) < 60) {
					continue
				}
				c.text("tick", []string{"start", "middle", "end"}[i], x.at(t), bottom+30, digits(t, 2))
			}
		},
	}
}

// nodePlot is the time of each node before and after.
func nodePlot(ns []compress.NodeTime) plot {
	hi := 0.0
	var desc []string
	for _, n := range ns {
		hi = math.Max(hi, math.Max(n.Before, n.After))
	}
	unit, per := "ms", 1.0
	if hi < 0.1 {
		unit, per = "µs", 1000
	}
	for _, n := range ns {
		desc = append(desc, fmt.Sprintf("%s: %s %s before, %s %s after", n.Name, ms(per*n.Before), unit, ms(per*n.After), unit))
	}
	row := 40.0
	return plot{
		Title: "Time by layer", Desc: strings.Join(desc, "; ") + ".",
		h: row*float64(len(ns)) + 30,
		draw: func(c *canvas) {
			s := scale{lo: 0, hi: hi * per, a: 2, b: c.w - 124}
			bottom := row*float64(len(ns)) + 6
			c.xAxis(s, bottom, func(t float64) string { return tick(t) + " " + unit })
			for i, n := range ns {
				y := row*float64(i) + 12
				a, b := s.at(per*n.Before), s.at(per*n.After)
				c.text("label", "start", 2, y, clip(n.Name, c.w/char*0.6)+" · "+n.Op)
				c.rect("fill-before", 2, y+5, a-2, 6, "")
				c.rect("fill-after", 2, y+13, b-2, 6, "")
				c.text("value", "start", math.Max(a, b)+8, y+16, ms(per*n.Before)+" → "+ms(per*n.After)+" "+unit)
			}
		},
	}
}

// clip shortens a name in its middle to about n characters.
func clip(s string, n float64) string {
	r := []rune(s)
	if k := int(n); len(r) > k && k > 5 {
		return string(r[:k/2]) + "…" + string(r[len(r)-k/2+1:])
	}
	return s
}

// flipPlot is the decisions that changed, from which class to which.
func flipPlot(flips []compress.Flip) plot {
	type pair struct{ from, to string }
	count := map[pair]int{}
	var classes []string
	add := func(s string) {
		if !slices.Contains(classes, s) {
			classes = append(classes, s)
		}
	}
	right, wrong := map[pair]int{}, map[pair]int{}
	for _, f := range flips {
		p := pair{className(f.Before, f.BeforeName), className(f.After, f.AfterName)}
		add(p.from)
		add(p.to)
		count[p]++
		if f.Label >= 0 && f.Label == f.After {
			right[p]++
		}
		if f.Label >= 0 && f.Label == f.Before {
			wrong[p]++
		}
	}
	slices.SortFunc(classes, func(a, b string) int {
		if len(a) != len(b) && len(a) < 3 && len(b) < 3 {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	if len(classes) > 16 {
		classes = classes[:16]
	}
	return plot{
		Title: "Decisions that changed, from row to column",
		Desc:  fmt.Sprintf("%s over %s.", plural(len(flips), "decision", "decisions"), plural(len(classes), "class", "classes")),
		h:     float64(len(classes))*24 + 46,
		draw: func(c *canvas) {
			left := 48.0
			for _, s := range classes {
				left = math.Max(left, math.Min(float64(len([]rune(s))), 12)*char+12)
			}
			cell := math.Min(24, (c.w-left-4)/float64(len(classes)))
			c.h = cell*float64(len(classes)) + 46
			c.text("tick", "start", left, 12, "to →")
			c.text("tick", "end", left-8, 30, "from ↓")
			for i, to := range classes {
				c.text("tick", "middle", left+cell*(float64(i)+0.5), 30, clip(to, cell/char+4))
			}
			for r, from := range classes {
				y := 38 + cell*float64(r)
				c.text("tick", "end", left-8, y+cell/2+4, clip(from, 12))
				for k, to := range classes {
					x := left + cell*float64(k)
					c.rect("cell", x+1, y+1, cell-2, cell-2, "")
					p := pair{from, to}
					n := count[p]
					if n == 0 {
						continue
					}
					class := "fill-step"
					if right[p] > wrong[p] {
						class = "fill-good"
					} else if wrong[p] > right[p] {
						class = "fill-bad"
					}
					size := (cell - 4) * math.Sqrt(math.Min(1, 0.35+0.13*float64(n)))
					c.rect(class, x+(cell-size)/2, y+(cell-size)/2, size, size, fmt.Sprintf("%s to %s: %d (%d now right, %d now wrong)", from, to, n, right[p], wrong[p]))
					if n > 1 && size > 11 {
						c.text("cellnum", "middle", x+cell/2, y+cell/2+4, fmt.Sprint(n))
					}
				}
			}
		},
	}
}

func className(i int, name string) string {
	if name != "" {
		return name
	}
	return fmt.Sprint(i)
}
