package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"whit/compress"
	"whit/graph"
	"whit/onnx"
)

// measureRuns is how many fresh processes time each model, in turn.
const measureRuns = 5

// measurer times the model before and the written file by fresh processes of this
// program, in turn, so that both see the same noise. It returns nil where the
// program cannot be started again.
func measurer(threads int, sample []int) func(context.Context, *graph.Graph, string) (*compress.Measured, error) {
	return func(ctx context.Context, before *graph.Graph, after string) (*compress.Measured, error) {
		exe, err := os.Executable()
		if err != nil || filepath.Ext(exe) == ".test" {
			return nil, nil
		}
		// Beside the written file, where there is room, and under a name that a later run clears away.
		f, err := os.CreateTemp(filepath.Dir(after), ".before.tmp*.onnx")
		if err != nil {
			return nil, err
		}
		dense := f.Name()
		defer os.Remove(dense)
		if err := f.Close(); err != nil {
			return nil, err
		}
		if err := onnx.WriteFile(dense, before); err != nil {
			return nil, err
		}
		models := [2]string{dense, after}
		common := []string{"--threads", strconv.Itoa(threads)}
		if in := before.Inputs[0]; slices.ContainsFunc(in.Decl.Dims[min(1, len(in.Decl.Dims)):], func(d graph.Dim) bool { return d.Size < 0 }) {
			dims := []string{"1"}
			for _, d := range sample {
				dims = append(dims, strconv.Itoa(d))
			}
			common = append(common, "--shape", in.Name+"="+strings.Join(dims, ","))
		}
		// As many runs as take a second or two.
		probe, err := benchProcess(ctx, exe, dense, slices.Concat(common, []string{"--iters", "3"})...)
		if err != nil {
			return nil, err
		}
		iters := strconv.Itoa(max(5, min(200, int(1500/max(probe.Median, 1e-3)))))
		var res [2][]benchResult
		for range measureRuns {
			for i, m := range models {
				r, err := benchProcess(ctx, exe, m, slices.Concat(common, []string{"--iters", iters})...)
				if err != nil {
					return nil, err
				}
				res[i] = append(res[i], r)
			}
		}
		q := &compress.Measured{Latency: &compress.Latency{Runs: measureRuns, Batch: 1}, Memory: &compress.Memory{}}
		for i, dst := range []struct{ ms, mem *compress.Interval }{
			{&q.Latency.Before, &q.Memory.Before}, {&q.Latency.After, &q.Memory.After},
		} {
			*dst.ms = spread(res[i], func(r benchResult) float64 { return r.Median })
			*dst.mem = spread(res[i], func(r benchResult) float64 { return float64(r.Peak) })
		}
		var nodes [2]benchResult
		for i, m := range models {
			if nodes[i], err = benchProcess(ctx, exe, m, slices.Concat(common, []string{"--iters", iters, "--nodes"})...); err != nil {
				return nil, err
			}
		}
		at := map[string]int{}
		for _, n := range nodes[0].Nodes {
			at[n.Node] = len(q.Nodes)
			q.Nodes = append(q.Nodes, compress.NodeTime{Name: n.Node, Op: n.Op, Before: n.Ms})
		}
		for _, n := range nodes[1].Nodes {
			if k, ok := at[n.Node]; ok {
				q.Nodes[k].After = n.Ms
			} else {
				q.Nodes = append(q.Nodes, compress.NodeTime{Name: n.Node, Op: n.Op, After: n.Ms})
			}
		}
		return q, nil
	}
}

func benchProcess(ctx context.Context, exe, model string, args ...string) (benchResult, error) {
	var r benchResult
	out, err := exec.CommandContext(ctx, exe, append([]string{"bench", model, "--json"}, args...)...).Output()
	if err != nil {
		var e *exec.ExitError
		if errors.As(err, &e) {
			return r, fmt.Errorf("timing %s: %s", filepath.Base(model), e.Stderr)
		}
		return r, fmt.Errorf("timing %s: %w", filepath.Base(model), err)
	}
	return r, json.Unmarshal(out, &r)
}

// spread is the median over the processes, and their range.
func spread(rs []benchResult, f func(benchResult) float64) compress.Interval {
	var v []float64
	for _, r := range rs {
		v = append(v, f(r))
	}
	slices.Sort(v)
	return compress.Interval{Value: median(v), Low: v[0], High: v[len(v)-1]}
}
