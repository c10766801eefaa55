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
	Schema int     `json:"schema"`
	Model  string  `json:"model"`
	N      int     `json:"n"`     // images of the choice split
	Error  float64 `json:"error"` // of the model as it is, 0..1
	Loss   float64 `json:"loss"`
	Curves []Curve `json:"curves"`
	// Ranks lists the layers, the most sensitive first: by the loss with half of the
	// weights, half of the nodes, and the whole layer gone.
	Ranks map[string][]string `json:"ranks"`
}

// Scan measures how sensitive the model is to each layer, on the choice split. set
// gives the parameters of the method scan: fractions, granularity, images, layers.
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
	if err := r.state.Step(ctx, method.Step{Method: prune.Scan.Name, Set: set}, search.Methods); err != nil {
		return nil, err
	}
	r.curves()
	st := r.state.Stages[0]
	res := &ScanResult{Schema: Schema, Model: base(o.Model), N: st.Choice.N, Error: st.Choice.Error, Loss: st.Choice.Loss,
		Curves: r.res.Curves, Ranks: map[string][]string{}}
	for _, k := range []string{"weight", "node", "layer"} {
		at := 0.5
		if k == "layer" {
			at = 1
		}
		if rank := prune.Rank(r.state.Curves, k, at); rank != nil {
			res.Ranks[k] = rank
		}
	}
	for i := range res.Curves {
		res.Curves[i].Chosen = 0
	}
	return res, nil
}
