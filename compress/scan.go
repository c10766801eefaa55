package compress

import (
	"context"

	"whit/card"
	"whit/compress/method"
	"whit/compress/prune"
	"whit/compress/search"
	"whit/data"
	"whit/graph"
)

// Parts cuts d as Run does, so that a model can be trained on what Run will train
// on and keeps its hands off what Run decides on. It does not open the test set.
func Parts(d Data) (train, choice data.Dataset, err error) {
	train, choice, _, err = splits(d)
	return train, choice, err
}

// ScanResult is the sensitivity of every layer.
type ScanResult struct {
	Schema int    `json:"schema"`
	Model  string `json:"model"`
	Metric string `json:"metric"`
	N      int    `json:"n"` // images of the choice split that curves are measured on
	// Error and Loss are the model's as it is, on the whole choice split: 0..1, and the mean cross-entropy.
	Error  float64 `json:"error"`
	Loss   float64 `json:"loss"`
	Curves []Curve `json:"curves"`
	// Ranks lists the layers, the most sensitive first: by the loss with half of the
	// weights, half of the nodes, the whole layer and the whole block gone.
	Ranks   map[string][]string `json:"ranks"`
	Refused []Refusal           `json:"refused"`
}

// Scan measures how sensitive the model is to each layer, on the choice split. set
// gives the parameters of the method scan: methods, fractions, granularity, images, layers. What is measured is
// kept in o.WorkDir where that is set, by the content of model and data, and found there with
// o.Resume: a scan that was interrupted goes on. The folder is left as it is.
func Scan(ctx context.Context, g *graph.Graph, c card.Card, d Data, o Options, set map[string]any) (*ScanResult, error) {
	r, err := newRun(ctx, g, c, d, o)
	if err != nil {
		return nil, err
	}
	if err := r.workDir(); err != nil {
		return nil, err
	}
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	if err := r.state.Step(ctx, method.Step{Method: "scan", Set: set}, search.Methods); err != nil {
		return nil, err
	}
	r.curves()
	st := r.state.Stages[0]
	res := &ScanResult{Schema: Schema, Model: base(o.Model), Metric: string(r.metric), N: st.Choice.N, Error: st.Choice.Error, Loss: st.Choice.Loss,
		Curves: r.res.Curves, Ranks: map[string][]string{}, Refused: r.res.Refused}
	if n, ok := set["images"].(int); ok && n > 0 {
		res.N = min(n, r.state.Choice.Len())
	}
	for _, k := range search.Granularities {
		at := 0.5
		if k == "layer" || k == "block" {
			at = 1
		}
		if rank := prune.Rank(r.state.Curves, k, at); rank != nil {
			res.Ranks[k] = rank
		}
	}
	for _, x := range r.state.Refused {
		res.Refused = append(res.Refused, Refusal{x.What, x.Why})
	}
	for i := range res.Curves {
		res.Curves[i].Chosen = 0
	}
	return res, nil
}

// CheckScan reports what is wrong with parameters of a scan.
func CheckScan(set map[string]any) error {
	_, err := method.Find(search.Methods, "scan").Args(set)
	return err
}
