package compress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"whit/compress/method"
	"whit/data"
	"whit/graph"
	"whit/train"
)

// Part is what the metric does on the samples of one class or group.
type Part struct {
	Name  string `json:"name"`
	Class int    `json:"class"` // -1: a group
	N     int    `json:"n"`
	// Before, After and Drop are as in Metric, on these samples; so are Lost, Gained and Changed.
	Before  Interval `json:"before"`
	After   Interval `json:"after"`
	Drop    Interval `json:"drop"`
	Lost    int      `json:"lost"`
	Gained  int      `json:"gained"`
	Changed int      `json:"changed"`
}

// Verification is how well embeddings tell identities apart, before and after.
type Verification struct {
	Before Verified `json:"before"`
	After  Verified `json:"after"`
}

// Verified is one model's share; intervals are by the jackknife over identities.
type Verified struct {
	Same       int `json:"same"`      // pairs of one identity
	Different  int `json:"different"` // pairs of two
	Identities int `json:"identities"`
	// Rates are the shares of pairs of one identity that are accepted where FAR of those of two are.
	Rates []Accepted `json:"rates"`
	// EqualError is where as large a share is refused of the first as accepted of the second.
	EqualError Interval `json:"equal_error"`
}

// Accepted is a rate of acceptance at a rate of false acceptance.
type Accepted struct {
	FAR float64 `json:"far"`
	Interval
	Threshold float64 `json:"threshold"` // cosine from which pairs are accepted
}

// Comparison is two models on one dataset.
type Comparison struct {
	Metric Metric `json:"metric"`
	// Classes and Groups are the parts of the data, those that lose most first. Without labels, classes are what the
	// model before decides.
	Classes      []Part        `json:"classes"`
	Groups       []Part        `json:"groups"`
	Flips        []Flip        `json:"flips"`
	Verification *Verification `json:"verification,omitempty"`

	truth []int32 // what is right: labels, or decisions before
}

// Compare measures two models on all of ds, sample by sample: the metric, what it does on each class and group, and
// the decisions that differ. The model before may be after itself. labels name the classes, nil: ds's.
func Compare(ctx context.Context, before, after *graph.Graph, ds data.Dataset, metric string, labels []string, threads int) (*Comparison, error) {
	if ds.Len() == 0 {
		return nil, errors.New("there are no samples")
	}
	if labels == nil {
		labels = ds.Labels()
	}
	m := method.Metric(metric)
	if !m.Decides() {
		return compareScores(ctx, before, after, ds, m, labels, threads)
	}
	b, err := decisions(ctx, before, ds, threads, m.Top())
	if err != nil {
		return nil, err
	}
	a := b
	if after != before {
		if a, err = decisions(ctx, after, ds, threads, m.Top()); err != nil {
			return nil, err
		}
	}
	was, now := b.class, a.class
	c := &Comparison{Metric: Metric{Name: metric}, Flips: []Flip{}, truth: b.label}
	if m == method.Agreement {
		c.truth, b.right, a.right = was, agree(was, was), agree(now, was)
	}
	classes, groups := byClass(labels), byGroup(ds)
	all := &tally{}
	for i, y := range c.truth {
		if was[i] != now[i] && len(c.Flips) < maxFlips {
			f := Flip{Index: i, Label: int(y), Before: int(was[i]), After: int(now[i]), LabelName: nameOf(labels, y), BeforeName: nameOf(labels, was[i]), AfterName: nameOf(labels, now[i])}
			if m == method.Agreement {
				f.Label, f.LabelName = -1, ""
			}
			c.Flips = append(c.Flips, f)
		}
		for _, t := range []*tally{all, classes.of(i, y), groups.of(i, y)} {
			if t != nil {
				t.add(y >= 0, was[i] != now[i], b.right[i], a.right[i])
			}
		}
	}
	p := all.part("", 0)
	if p.N == 0 {
		return nil, errors.New("no sample has a label")
	}
	c.Metric = Metric{Name: metric, N: p.N, Before: p.Before, After: p.After, Drop: p.Drop, Bound: all.drop(z95u).High, Lost: p.Lost, Gained: p.Gained, Changed: p.Changed}
	c.Classes, c.Groups = classes.list(), groups.list()
	return c, nil
}

// agree says which decisions are the same.
func agree(a, b []int32) []bool {
	out := make([]bool, len(a))
	for i := range a {
		out[i] = a[i] == b[i]
	}
	return out
}

func nameOf(labels []string, c int32) string {
	if c >= 0 && int(c) < len(labels) {
		return labels[c]
	}
	return ""
}

// compareScores is Compare where nothing is decided: samples have scores.
func compareScores(ctx context.Context, before, after *graph.Graph, ds data.Dataset, m method.Metric, labels []string, threads int) (*Comparison, error) {
	ref := &method.Reference{}
	was, err := method.Score(ctx, before, before, ds, m, ref, threads)
	if err != nil {
		return nil, err
	}
	now := was
	if after != before {
		if now, err = method.Score(ctx, after, before, ds, m, ref, threads); err != nil {
			return nil, err
		}
	}
	if now.N == 0 || len(now.Score) != len(was.Score) {
		return nil, fmt.Errorf("metric %s says nothing of any of %d samples", m, ds.Len())
	}
	c := &Comparison{Metric: Metric{Name: string(m), N: now.N}, Flips: []Flip{}, Classes: []Part{}, Groups: []Part{}}
	all := &tally{}
	if m == method.Verification { // scores are of identities
		for i, v := range now.Score {
			all.score(was.Score[i], v)
		}
		p := all.part("", 0)
		// Pseudo-values say how far figures are off, not what they are.
		shift := func(x Interval, to float64) Interval {
			return Interval{to, to + x.Low - x.Value, to + x.High - x.Value}
		}
		share := func(x Interval, to float64) Interval {
			x = shift(x, to)
			return Interval{x.Value, max(0, x.Low), min(1, x.High)}
		}
		d := was.Value - now.Value
		c.Metric.N = ds.Len()
		c.Metric.Before, c.Metric.After, c.Metric.Drop = share(p.Before, was.Value), share(p.After, now.Value), shift(p.Drop, d)
		c.Metric.Bound = d + all.drop(z95u).High - p.Drop.Value
		c.Verification = &Verification{verifiedOf(was.Verified), verifiedOf(now.Verified)}
		return c, nil
	}
	y := now.Labels
	classes, groups := byClass(labels), byGroup(ds)
	for i, v := range now.Score {
		if math.IsNaN(v) {
			continue
		}
		for _, t := range []*tally{all, classes.of(i, y[i]), groups.of(i, y[i])} {
			if t != nil {
				t.score(was.Score[i], v)
			}
		}
	}
	p := all.part("", 0)
	c.Metric.Before, c.Metric.After, c.Metric.Drop, c.Metric.Bound = p.Before, p.After, p.Drop, all.drop(z95u).High
	c.Classes, c.Groups = classes.list(), groups.list()
	return c, nil
}

func verifiedOf(v *method.Verified) Verified {
	out := Verified{Same: v.Same, Different: v.Different, Identities: v.Identities, EqualError: Interval{v.EqualError, v.EqualLow, v.EqualHigh}}
	for _, r := range v.Rates {
		out.Rates = append(out.Rates, Accepted{r.FAR, Interval{r.Rate, r.Low, r.High}, r.Threshold})
	}
	return out
}

// tally counts decisions, or collects scores.
type tally struct {
	both, lost, gained, neither, changed int
	before, after, drops                 []float64
}

func (t *tally) add(labelled, changed, was, now bool) {
	if changed {
		t.changed++
	}
	switch {
	case !labelled:
	case was && now:
		t.both++
	case was:
		t.lost++
	case now:
		t.gained++
	default:
		t.neither++
	}
}

func (t *tally) score(was, now float64) {
	t.before, t.after, t.drops = append(t.before, was), append(t.after, now), append(t.drops, was-now)
}

// drop is the paired difference, with the interval of z standard errors.
func (t *tally) drop(z float64) Interval {
	if t.drops != nil {
		return mean(t.drops, z)
	}
	return paired(t.both, t.lost, t.gained, t.neither, z)
}

func (t *tally) part(name string, class int) Part {
	p := Part{Name: name, Class: class, Lost: t.lost, Gained: t.gained, Changed: t.changed}
	if t.drops != nil {
		p.N = len(t.drops)
		p.Before, p.After = mean(t.before, z95), mean(t.after, z95)
	} else {
		p.N = t.both + t.lost + t.gained + t.neither
		p.Before, p.After = rate(t.both+t.lost, p.N), rate(t.both+t.gained, p.N)
	}
	p.Drop = t.drop(z95)
	return p
}

// parts tallies samples by class or by group.
type parts struct {
	labels []string
	group  func(i int) string // nil: by class
	at     map[string]*tally
	class  map[string]int
}

func byClass(labels []string) *parts {
	return &parts{labels: labels, at: map[string]*tally{}, class: map[string]int{}}
}

func byGroup(ds data.Dataset) *parts {
	p := byClass(nil)
	p.group = func(int) string { return "" }
	if n, ok := data.NamedOf(ds); ok {
		p.group = n.Group
	}
	return p
}

// of is the tally of sample i; nil: it has no part.
func (p *parts) of(i int, y int32) *tally {
	name, class := "", -1
	if p.group != nil {
		name = p.group(i)
	} else if y >= 0 {
		if name, class = nameOf(p.labels, y), int(y); name == "" {
			name = fmt.Sprint(y)
		}
	}
	if name == "" {
		return nil
	}
	if p.at[name] == nil {
		p.at[name], p.class[name] = &tally{}, class
	}
	return p.at[name]
}

// ByPart is what a model gets right of each class and group of ds, the worst first: e is its evaluation on all of
// ds. Before and After are the same.
func ByPart(ds data.Dataset, e train.Eval, labels []string) (classes, groups []Part) {
	if labels == nil {
		labels = ds.Labels()
	}
	c, g := byClass(labels), byGroup(ds)
	for i, ok := range e.Correct {
		y := e.Labels[i]
		for _, t := range []*tally{c.of(i, y), g.of(i, y)} {
			if t != nil {
				t.add(y >= 0, false, ok, ok)
			}
		}
	}
	return c.list(), g.list()
}

// list gives the parts, those that lose most first, and of these the worst.
func (p *parts) list() []Part {
	out := []Part{}
	for name, t := range p.at {
		if x := t.part(name, p.class[name]); x.N > 0 {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b Part) int {
		return cmp.Or(cmp.Compare(b.Drop.Value, a.Drop.Value), cmp.Compare(a.After.Value, b.After.Value), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Name, b.Name))
	})
	return out
}
