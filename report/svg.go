package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// canvas draws one SVG. Colours and fonts are CSS classes: the page's variables
// decide them. Coordinates are CSS pixels at scale 1.
type canvas struct {
	b    strings.Builder
	w, h float64
}

// plot is one drawing, for wide and narrow columns where they differ.
type plot struct {
	Title string
	Desc  string // the text alternative
	draw  func(c *canvas)
	h     float64
}

func num(x float64) string {
	s := strconv.FormatFloat(x, 'f', 1, 64)
	return strings.TrimSuffix(s, ".0")
}

func (c *canvas) el(format string, args ...any) { fmt.Fprintf(&c.b, format, args...) }

func (c *canvas) line(class string, x1, y1, x2, y2 float64) {
	c.el(`<path class="%s" d="M%s %sL%s %s"/>`, class, num(x1), num(y1), num(x2), num(y2))
}

func (c *canvas) rect(class string, x, y, w, h float64, title string) {
	if w < 0 {
		x, w = x+w, -w
	}
	r := math.Min(1.5, math.Min(w, h)/2)
	c.el(`<rect class="%s" x="%s" y="%s" width="%s" height="%s" rx="%s"`, class, num(x), num(y), num(math.Max(w, 0.75)), num(h), num(r))
	c.close("rect", title)
}

func (c *canvas) dot(class string, x, y, r float64, title string) {
	c.el(`<circle class="%s" cx="%s" cy="%s" r="%s"`, class, num(x), num(y), num(r))
	c.close("circle", title)
}

func (c *canvas) close(el, title string) {
	if title == "" {
		c.el("/>")
		return
	}
	c.el("><title>%s</title></%s>", html.EscapeString(title), el)
}

// text puts s at x, y (its baseline); anchor is start, middle or end.
func (c *canvas) text(class, anchor string, x, y float64, s string) {
	c.el(`<text class="%s" text-anchor="%s" x="%s" y="%s">%s</text>`, class, anchor, num(x), num(y), html.EscapeString(s))
}

// pair is a figure in bold and another one behind it.
func (c *canvas) pair(x, y float64, bold, plain string) {
	c.el(`<text class="value" x="%s" y="%s"><tspan class="strong">%s</tspan><tspan class="soft" dx="7">%s</tspan></text>`, num(x), num(y), html.EscapeString(bold), html.EscapeString(plain))
}

// xAxis draws upright grid lines from the top to bottom and labels those that have room.
func (c *canvas) xAxis(s scale, bottom float64, label func(float64) string) {
	last := math.Inf(-1)
	ts := s.ticks(max(2, int((s.b-s.a)/110)))
	for _, t := range ts {
		x := s.at(t)
		c.line("grid", x, 0, x, bottom)
		l := label(t)
		w := float64(len([]rune(l))) * char
		mid := math.Max(x, w/2)
		if mid-w/2 < last+12 {
			continue
		}
		last = mid + w/2
		c.text("tick", "middle", mid, bottom+16, l)
	}
}

func (c *canvas) poly(class string, xs, ys []float64) {
	c.el(`<path class="%s" d="`, class)
	for i := range xs {
		op := "L"
		if i == 0 {
			op = "M"
		}
		c.el("%s%s %s", op, num(xs[i]), num(ys[i]))
	}
	c.el(`"/>`)
}

// svg renders a plot at width w. ids must be unique on the page.
func svg(id string, p plot, w float64, class string) template.HTML {
	c := &canvas{w: w, h: p.h}
	p.draw(c)
	return template.HTML(fmt.Sprintf(`<svg class="%s" viewBox="0 0 %s %s" width="%s" height="%s" role="img" aria-labelledby="%s-t %s-d"><title id="%s-t">%s</title><desc id="%s-d">%s</desc>%s</svg>`,
		class, num(w), num(c.h), num(w), num(c.h), id, id, id, html.EscapeString(p.Title), id, html.EscapeString(p.Desc), c.b.String()))
}

// scale maps lo..hi to a..b, linearly or by logarithm.
type scale struct {
	lo, hi, a, b float64
	log          bool
}

func (s scale) at(x float64) float64 {
	lo, hi := s.lo, s.hi
	if s.log {
		lo, hi, x = math.Log(lo), math.Log(hi), math.Log(math.Max(x, s.lo*1e-3))
	}
	if hi == lo {
		return (s.a + s.b) / 2
	}
	return s.a + (x-lo)/(hi-lo)*(s.b-s.a)
}

// ticks are about n round numbers in lo..hi.
func (s scale) ticks(n int) (out []float64) {
	if s.log {
		for e := math.Floor(math.Log10(s.lo)); e <= math.Ceil(math.Log10(s.hi)); e++ {
			steps := []float64{1}
			if s.hi/s.lo < 300 {
				steps = []float64{1, 3}
			}
			if s.hi/s.lo < 15 {
				steps = []float64{1, 2, 5}
			}
			for _, m := range steps {
				if v := m * math.Pow(10, e); v >= s.lo*0.999 && v <= s.hi*1.001 {
					out = append(out, v)
				}
			}
		}
		return out
	}
	span := s.hi - s.lo
	if !(span > 0) {
		return []float64{s.lo}
	}
	step := math.Pow(10, math.Floor(math.Log10(span/float64(n))))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if span/(step*m) <= float64(n)+0.01 {
			step *= m
			break
		}
	}
	for i := math.Ceil(s.lo/step - 1e-9); i*step <= s.hi+step*1e-6; i++ {
		out = append(out, i*step+0) // never -0
	}
	return out
}

// nice widens lo..hi to round numbers.
func nice(lo, hi float64, n int) (float64, float64) {
	if hi <= lo {
		hi = lo + 1
	}
	t := scale{lo: lo, hi: hi}.ticks(n)
	if len(t) < 2 {
		return lo, hi
	}
	step := t[1] - t[0]
	return math.Floor(lo/step+1e-9) * step, math.Ceil(hi/step-1e-9) * step
}
