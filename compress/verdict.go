package compress

import (
	"fmt"
	"math"
	"strings"
	"time"

	"whit/compress/method"
)

// budgets compares promises with the figures.
func (r *run) budgets() {
	res, b := r.res, r.o.Budget
	rows := []BudgetRow{}
	miss := func(name, by string) { r.missed = append(r.missed, Budgeted{name, by}) }
	if b.MaxDrop != nil {
		m := &res.Metric
		scale, unit, digits := 100.0, "points", 2
		switch r.metric {
		case method.PSNR:
			scale, unit, digits = 1, "dB", 3
		case method.Cosine:
			scale, unit, digits = 1, "of cosine", 5
		}
		row := BudgetRow{Name: "max drop", Unit: unit, Promise: scale * *b.MaxDrop, Measured: scale * m.Drop.Value, Met: m.Drop.Value <= *b.MaxDrop}
		res.Certified = m.Bound <= *b.MaxDrop
		switch {
		case !row.Met:
			by := fmt.Sprintf("%.*f %s", digits, row.Measured-row.Promise, unit)
			row.Note = "by " + by
			miss("max drop", by)
		case res.Certified:
			row.Note = "certified: with 95% confidence at most " + fmt.Sprintf("%.*f %s", digits, scale*m.Bound, unit)
		case !r.metric.Decides():
			if s := (m.Bound - m.Drop.Value) / (*b.MaxDrop - m.Drop.Value); s > 1 && s < 1e4 {
				m.NeedN = int(math.Ceil(float64(m.N)*s*s)) + 1
			}
			row.Note = "not certified"
			if m.NeedN > 0 {
				row.Note += fmt.Sprintf(": that takes about %d images", m.NeedN)
			}
		default:
			if m.NeedN = needed(m.Drop.Value, float64(m.Lost+m.Gained)/float64(m.N), *b.MaxDrop); m.NeedN > 0 {
				m.NeedN = max(m.NeedN, m.N+m.N/10+1) // the interval is a little wider than the estimate
			}
			row.Note = "not certified"
			if m.NeedN > 0 {
				row.Note += fmt.Sprintf(": that takes about %d images", m.NeedN)
			}
		}
		rows = append(rows, row)
	}
	if b.TargetSize > 0 {
		row := BudgetRow{Name: "target size", Unit: "bytes", Promise: float64(b.TargetSize), Measured: float64(res.Bytes.After), Met: res.Bytes.After <= b.TargetSize}
		if !row.Met {
			by := fmt.Sprintf("%d bytes", res.Bytes.After-b.TargetSize)
			row.Note = "by " + by
			miss("target size", by)
		}
		rows = append(rows, row)
	}
	if b.TargetLatency > 0 {
		want := float64(b.TargetLatency) / float64(time.Millisecond)
		row := BudgetRow{Name: "target latency", Unit: "ms", Promise: want}
		if res.Latency != nil {
			row.Measured = res.Latency.After.Value
			row.Met = row.Measured <= want
			row.Note = ""
			if !row.Met {
				row.Note = fmt.Sprintf("by %.3g ms", row.Measured-want)
			}
		} else {
			row.Note = "not measured"
		}
		if !row.Met {
			miss("target latency", strings.TrimPrefix(row.Note, "by "))
		}
		rows = append(rows, row)
	}
	res.Budgets = append(rows, res.Budgets...)
}

// notes says so where the images that choices are made by are much easier for the model than those that it is tested on, as they are
// where it was trained on them.
func (r *run) notes() {
	const (
		times = 1.5
		apart = 0.002
	)
	if r.o.Recipe != nil || !r.metric.Decides() || r.metric == method.Agreement {
		return
	}
	dense := r.res.Stages[0]
	c, t := dense.Choice, dense.Test
	if c.N == 0 || t.N == 0 || t.Low <= times*c.High+apart {
		return
	}
	r.res.Notes = append(r.res.Notes, fmt.Sprintf("The model errs on %.2f%% of the images that choices were made by and on %.2f%% of the test images: it was trained on the former, probably. "+
		"What it loses there says little of others: it knows them by heart, which compressing hardly touches and training anew undoes. "+
		"Images that it was not trained on are best to choose by (whit train --hold-out leaves some out).", 100*c.Value, 100*t.Value))
}

// verdict is the sentence that the report opens with.
func (r *run) verdict() {
	res := r.res
	name := res.Model
	if name == "" {
		name = "The model"
	}
	m := res.Metric
	accuracy := "accuracy"
	if r.metric == method.Top5 {
		accuracy = "top-5 accuracy"
	}
	var what string
	switch pts := 100 * m.Drop.Value; {
	case r.metric == method.Agreement:
		what = fmt.Sprintf("decides as before on %.2f%% of", 100*m.After.Value)
	case r.metric == method.PSNR && m.Drop.Value < 0:
		what = fmt.Sprintf("gains %.3f dB on", -m.Drop.Value)
	case r.metric == method.PSNR:
		what = fmt.Sprintf("loses %.3f dB on", m.Drop.Value)
	case r.metric == method.Verification:
		what = fmt.Sprintf("verifies %.2f%% of pairs, %.2f%% before, on", 100*m.After.Value, 100*m.Before.Value)
	case r.metric == method.Cosine:
		what = fmt.Sprintf("keeps a cosine of %.5f to its outputs on", m.After.Value)
	case r.metric == method.Recall:
		what = fmt.Sprintf("finds %.2f%% of what it found on", 100*m.After.Value)
	case math.Abs(pts) < 0.005:
		what = "keeps its " + accuracy + " on"
	case pts > 0:
		what = fmt.Sprintf("loses %.2f points of %s on", pts, accuracy)
	default:
		what = fmt.Sprintf("gains %.2f points of %s on", -pts, accuracy)
	}
	res.Verdict = fmt.Sprintf("%s is %.1f times smaller and %s %s test images.", name, res.Bytes.Ratio, what, thousands(m.N))
	if len(r.missed) > 0 {
		var by []string
		for _, b := range r.missed {
			by = append(by, b.Name+" by "+b.By)
		}
		res.Verdict = "A budget was missed (" + strings.Join(by, ", ") + "): " + res.Verdict
	}
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
