package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"whit/compress"
)

// Text writes the result for a terminal: the verdict, the figures, the budgets
// and the stage table.
func Text(w io.Writer, r *compress.Result) error {
	var b strings.Builder
	fmt.Fprintln(&b, r.Verdict)
	b.WriteByte('\n')
	m := r.Metric
	t := table{head: []string{"", "before", "after", "95% interval"}, left: 1}
	if m.N > 0 {
		show := func(x float64) string { return value(m.Name, x) }
		t.add(metricName(m.Name), show(m.Before.Value), show(m.After.Value), show(m.After.Low)+" to "+show(m.After.High))
		t.add("drop, "+unit(m.Name), "", difference(m.Name, m.Drop.Value), difference(m.Name, m.Drop.Low)+" to "+difference(m.Name, m.Drop.High))
	}
	losses(&t, &compress.Comparison{Metric: m, Classes: r.Classes, Groups: r.Groups, Verification: r.Verification})
	t.add("bytes", group(r.Bytes.Before), group(r.Bytes.After), ratio(r.Bytes.Ratio)+" smaller")
	if l := r.Latency; l != nil {
		t.add("median ms", ms(l.Before.Value), ms(l.After.Value), ms(l.After.Low)+" to "+ms(l.After.High))
	}
	if q := r.Memory; q != nil {
		t.add("peak memory", bytesShort(q.Before.Value), bytesShort(q.After.Value), bytesShort(q.After.Low)+" to "+bytesShort(q.After.High))
	}
	t.write(&b)
	if len(r.Budgets) > 0 {
		b.WriteByte('\n')
		t := table{head: []string{"budget", "promise", "measured", ""}, left: 1}
		for _, x := range r.Budgets {
			met := "met"
			if !x.Met {
				met = "MISSED"
			}
			if x.Note != "" {
				met += ", " + x.Note
			}
			t.add(x.Name, amount(x.Promise, x.Unit), amount(x.Measured, x.Unit), met)
		}
		t.write(&b)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "\n%s\n", n)
	}
	if len(r.Stages) > 0 {
		b.WriteByte('\n')
		stageTable(&b, r)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// losses are the rows of a comparison: flips, what net is lost where most is, and pairs.
func losses(t *table, r *compress.Comparison) {
	m := r.Metric
	if m.N > 0 && decides(m.Name) {
		t.add("decisions flipped", "", group(int64(m.Changed)), fmt.Sprintf("%s: %s only before right, %s only after", percent(float64(m.Changed)/float64(m.N)), group(int64(m.Lost)), group(int64(m.Gained))))
	}
	for _, x := range []struct {
		what  string
		parts []compress.Part
	}{{"class", r.Classes}, {"group", r.Groups}} {
		if len(x.parts) > 1 && x.parts[0].Drop.Value > 0 {
			p := x.parts[0]
			t.add(fmt.Sprintf("worst %s, %s", x.what, p.Name), value(m.Name, p.Before.Value), value(m.Name, p.After.Value), "drop "+difference(m.Name, p.Drop.Low)+" to "+difference(m.Name, p.Drop.High)+" "+unit(m.Name))
		}
	}
	if v := r.Verification; v != nil {
		for i, b := range v.Before.Rates {
			a := v.After.Rates[i]
			t.add("verified at FAR "+percent(b.FAR), percent(b.Value), percent(a.Value), percent(a.Low)+" to "+percent(a.High))
		}
		t.add("equal error rate", percent(v.Before.EqualError.Value), percent(v.After.EqualError.Value), percent(v.After.EqualError.Low)+" to "+percent(v.After.EqualError.High))
	}
}

// Comparison writes what a comparison found for a terminal; against: of two models.
func Comparison(w io.Writer, c *compress.Comparison, against bool) error {
	m := c.Metric
	t := table{head: []string{"", "before", "after", "95% interval"}, left: 1}
	if against {
		t.add(metricName(m.Name), value(m.Name, m.Before.Value), value(m.Name, m.After.Value), value(m.Name, m.After.Low)+" to "+value(m.Name, m.After.High))
		t.add("drop, "+unit(m.Name), "", difference(m.Name, m.Drop.Value), difference(m.Name, m.Drop.Low)+" to "+difference(m.Name, m.Drop.High))
		losses(&t, c)
	} else if c.Verification != nil {
		losses(&t, &compress.Comparison{Metric: compress.Metric{Name: m.Name}, Verification: c.Verification})
	}
	if len(t.rows) == 0 {
		return nil
	}
	var b strings.Builder
	t.write(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// StageTable writes the size and error of every stage, with the paper's figures beside ours.
func StageTable(w io.Writer, r *compress.Result) error {
	var b strings.Builder
	stageTable(&b, r)
	_, err := io.WriteString(w, b.String())
	return err
}

func stageTable(b *strings.Builder, r *compress.Result) {
	p := &page{R: r}
	p.stages()
	t := table{head: []string{"stage", "bytes", "ratio"}, left: 1}
	if p.HasPaper {
		t.head = append(t.head, "paper")
	}
	t.head = append(t.head, "kept")
	if p.HasChoice {
		t.head = append(t.head, "error, choice")
	}
	if p.HasTest {
		t.head = append(t.head, "error, test")
	}
	if p.HasPaper {
		t.head = append(t.head, "paper")
	}
	for _, s := range p.Stages {
		row := []string{s.Name, s.Bytes, s.Ratio}
		if p.HasPaper {
			row = append(row, s.PaperRatio)
		}
		row = append(row, s.Kept)
		if p.HasChoice {
			row = append(row, s.Choice)
		}
		if p.HasTest {
			row = append(row, s.Test)
		}
		if p.HasPaper {
			row = append(row, s.PaperError)
		}
		t.add(row...)
	}
	t.write(b)
}

// table sets columns: the first left ones to the left, the others to the right.
type table struct {
	head []string
	rows [][]string
	left int
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(b *strings.Builder) {
	width := make([]int, len(t.head))
	for _, r := range append([][]string{t.head}, t.rows...) {
		for i, c := range r {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	line := func(r []string) {
		var s strings.Builder
		for i, c := range r {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			switch {
			case i > 0:
				s.WriteString("  ")
			}
			if i < t.left || i == len(r)-1 && t.head[i] == "" {
				s.WriteString(c + pad)
			} else {
				s.WriteString(pad + c)
			}
		}
		b.WriteString(strings.TrimRight(s.String(), " ") + "\n")
	}
	line(t.head)
	rule := make([]string, len(width))
	for i, w := range width {
		rule[i] = strings.Repeat("─", w)
	}
	line(rule)
	for _, r := range t.rows {
		line(r)
	}
}
