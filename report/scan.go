package report

import (
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"

	"whit/compress"
)

// ScanSVG writes the curves of a scan as one SVG file, a panel for each layer, in
// the viewer's light or dark colours.
func ScanSVG(w io.Writer, r *compress.ScanResult) error {
	var layers []string
	maxErr := 0.0
	for _, c := range r.Curves {
		if !slices.Contains(layers, c.Layer) {
			layers = append(layers, c.Layer)
		}
		for _, p := range c.Points {
			maxErr = math.Max(maxErr, p.Error)
		}
	}
	cols := min(3, max(1, len(layers)))
	rows := (len(layers) + cols - 1) / cols
	const dx, dy, top = small + 24, 236, 84
	width, height := cols*dx+24, rows*dy+top
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="t d"><title id="t">Sensitivity of %s</title><desc id="d">Layers, the most sensitive first: %s.</desc>`,
		width, height, width, height, html.EscapeString(r.Model), html.EscapeString(strings.Join(ranking(r), ", ")))
	fmt.Fprintf(&b, "<style>%s svg{max-width:none}</style>", css)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" style="fill:var(--paper)"/>`)
	c := &canvas{w: float64(width)}
	c.text("label strong", "start", 24, 28, "How sensitive each layer is: "+r.Model)
	c.text("tick", "start", 24, 46, fmt.Sprintf("error on %s images of the choice split with a part of one layer zeroed, nothing retrained", group(int64(r.N))))
	for i, name := range []string{"single weights", "output units", "whole layer"} {
		x := 24 + 130*float64(i)
		if i < 2 {
			c.line(fmt.Sprintf("series s%d", i), x, 62, x+18, 62)
		} else {
			c.dot("mark m2", x+9, 62, 4, "")
		}
		c.text("tick", "start", x+24, 66, name)
	}
	b.WriteString(c.b.String())
	for i, l := range layers {
		var cs []compress.Curve
		for _, cv := range r.Curves {
			if cv.Layer == l {
				cs = append(cs, cv)
			}
		}
		q := &canvas{w: small, h: dy}
		p := curvePlot(l, cs, maxErr, r.Error)
		p.draw(q)
		fmt.Fprintf(&b, `<g transform="translate(%d %d)"><desc>%s</desc>%s</g>`, 24+i%cols*dx, top+i/cols*dy, html.EscapeString(p.Desc), q.b.String())
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// ranking is the layers, the most sensitive first, by the finest granularity that was scanned.
func ranking(r *compress.ScanResult) []string {
	for _, g := range granularities {
		if l := r.Ranks[g]; l != nil {
			return l
		}
	}
	return nil
}
