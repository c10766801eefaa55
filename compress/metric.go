package compress

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"whit/compress/method"
	"whit/data"
	"whit/graph"
	"whit/tensor"
)

// chooseMetric is the metric that is wanted, checked against the data and the model, or the
// one that fits them.
func chooseMetric(ctx context.Context, want, task string, g *graph.Graph, ds data.Dataset, labelled bool, threads int) (method.Metric, error) {
	m := method.Metric(want)
	if m != "" && !slices.Contains(method.Metrics, m) {
		return "", fmt.Errorf("unknown metric %q, want one of %v", want, method.Metrics)
	}
	outs, err := method.Outputs(ctx, g, ds, threads)
	if err != nil {
		return "", err
	}
	logits := len(outs[0]) == 2 && outs[0][1] > 1
	_, targets := data.TargetsOf(ds)
	switch {
	case m.Labelled() && m != "" && !labelled:
		return "", fmt.Errorf("metric %s needs labels, and the data have none", m)
	case m == method.Top5 && logits && outs[0][1] <= 5:
		return "", fmt.Errorf("metric top5 needs more than 5 classes, and there are %d", outs[0][1])
	case m != "" && m.Decides() && !logits:
		return "", fmt.Errorf("metric %s needs decisions, and the model's output is %v, not logits [N,C]", m, outs[0])
	case m == method.PSNR && !targets:
		return "", errors.New("metric psnr needs targets: float arrays y beside x in an .npz")
	case m != "":
		return m, nil
	case task == "embed":
		return method.Cosine, nil
	case task == "detect" && slices.ContainsFunc(outs, func(s tensor.Shape) bool { return len(s) >= 2 && s[1] == 2 }):
		return method.Recall, nil
	case targets:
		return method.PSNR, nil
	case task == "restore", task == "detect", !logits:
		return method.Cosine, nil
	case labelled:
		return method.Top1, nil
	}
	return method.Agreement, nil
}

// defaultDrop is what is promised where nothing is said.
func defaultDrop(m method.Metric) float64 {
	switch m {
	case method.PSNR:
		return 0.05
	case method.Cosine:
		return 0.001
	}
	return 0.005
}

// mean is the mean of x with the interval of z standard errors.
func mean(x []float64, z float64) Interval {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	m := sum / float64(len(x))
	ss := 0.0
	for _, v := range x {
		ss += (v - m) * (v - m)
	}
	half := 0.0
	if len(x) > 1 {
		half = z * math.Sqrt(ss/float64(len(x)-1)/float64(len(x)))
	}
	return Interval{m, m - half, m + half}
}

// Metrics lists the metrics that Options.Metric may name.
func Metrics() []string {
	var s []string
	for _, m := range method.Metrics {
		s = append(s, string(m))
	}
	return s
}
