package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"whit/internal/lean"
	"whit/internal/modelfile"
	"whit/plan"
	"whit/tensor"
)

type benchResult struct {
	Schema  int        `json:"schema"`
	Model   string     `json:"model"`
	Threads int        `json:"threads"`
	Iters   int        `json:"iters"`
	Median  float64    `json:"median"`
	Min     float64    `json:"min"`
	P95     float64    `json:"p95"`
	Max     float64    `json:"max"`
	Load    float64    `json:"load_ms"`
	First   float64    `json:"first_ms"`
	Peak    int64      `json:"peak_rss_bytes"`
	Nodes   []nodeTime `json:"nodes,omitempty"`
}

type nodeTime struct {
	plan.NodeInfo
	Ms      float64 `json:"ms"`
	Percent float64 `json:"percent"`
}

func benchCmd() *cobra.Command {
	var (
		threads, iters       int
		plain, asJSON, nodes bool
		tune                 bool
		memory               memoryFlag
		sh                   = shapes{}
	)
	c := &cobra.Command{
		Use:   "bench MODEL",
		Short: "Measure the latency of a model",
		Long: `Measure the latency of a model on seeded normal inputs, after a warm-up. Times are
in milliseconds. Symbolic batch dimensions are 1 unless --shape says otherwise.`,
		Example: "  whit bench model.whit --threads 2\n  whit bench model.onnx --nodes",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if iters < 1 {
				return usage("--iters must be at least 1")
			}
			t0 := time.Now()
			done := calm(memory.low())
			defer done()
			f, err := modelfile.Open(args[0], "")
			if err != nil {
				return err
			}
			if err := supported(f); err != nil {
				return err
			}
			types, err := binding(f.Graph, sh)
			if err != nil {
				return err
			}
			o, err := tunePlan(c.Context(), f, types, plan.Options{Threads: threads, Direct: memory.low()}, tune)
			if err != nil {
				return err
			}
			if tune { // measuring is no part of loading
				t0 = time.Now()
				if f, err = modelfile.Open(args[0], ""); err != nil {
					return err
				}
			}
			memory.release()
			p, err := plan.NewProgram(f.Graph, o)
			if err != nil {
				return err
			}
			f.Graph = nil
			memory.release()
			pl, err := p.Plan(types)
			if err != nil {
				return fmt.Errorf("%s: %w", f.Base, err)
			}
			memory.release()
			s, err := pl.NewSession()
			if err != nil {
				return err
			}
			r := benchResult{Schema: 1, Model: f.Base, Threads: p.Options().Threads, Iters: iters}
			r.Load = ms(time.Since(t0))
			for i, v := range p.Inputs() {
				fillSeeded(s.Input(v.Name), uint64(i)+1)
			}
			ctx := c.Context()
			t0 = time.Now()
			if err := s.Run(ctx); err != nil {
				return err
			}
			r.First = ms(time.Since(t0))
			memory.release()
			done()
			// Warm up for a tenth of the time that the measurement takes, at least one run.
			for range 1 + iters/10 {
				if err := s.Run(ctx); err != nil {
					return err
				}
			}
			times := make([]float64, iters)
			for i := range times {
				t := time.Now()
				if err := s.Run(ctx); err != nil {
					return err
				}
				times[i] = ms(time.Since(t))
			}
			slices.Sort(times)
			r.Median, r.Min, r.Max = median(times), times[0], times[iters-1]
			r.P95 = times[min(iters-1, iters*95/100)]
			if nodes {
				infos := pl.Nodes()
				each := make([][]float64, len(infos)) // by node, a value a run
				d := make([]time.Duration, len(infos))
				for range iters {
					clear(d)
					if err := s.RunTimed(ctx, d); err != nil {
						return err
					}
					for i, x := range d {
						each[i] = append(each[i], ms(x))
					}
				}
				total := 0.0
				for i, n := range infos {
					slices.Sort(each[i])
					r.Nodes = append(r.Nodes, nodeTime{NodeInfo: n, Ms: median(each[i])})
					total += r.Nodes[i].Ms
				}
				for i := range r.Nodes {
					r.Nodes[i].Percent = 100 * r.Nodes[i].Ms / max(total, 1e-9)
				}
			}
			r.Peak = peakRSS()
			w := c.OutOrStdout()
			switch {
			case asJSON:
				return printJSON(w, r)
			case plain:
				fmt.Fprintf(w, "%.6g\n", r.Median)
				return nil
			}
			fmt.Fprintf(w, "%s: median %.3f ms (min %.3f, p95 %.3f, max %.3f) over %d runs, %d threads\n", r.Model, r.Median, r.Min, r.P95, r.Max, iters, r.Threads)
			fmt.Fprintf(w, "load %.1f ms, first run %.1f ms, peak memory %.1f MB\n", r.Load, r.First, float64(r.Peak)/1e6)
			if nodes {
				tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				fmt.Fprintln(tw, "node\top\tkernel\toutput\tms\t%\tGFLOP/s")
				for _, n := range r.Nodes {
					fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%.4f\t%.1f\t%.1f\n", n.Node, n.Op, n.Kernel, n.Output, n.Ms, n.Percent, float64(2*n.MACs)/1e6/max(n.Ms, 1e-9))
				}
				return tw.Flush()
			}
			return nil
		},
	}
	c.Flags().IntVar(&threads, "threads", 0, "workers (0: physical cores)")
	c.Flags().IntVar(&iters, "iters", 50, "measured runs")
	c.Flags().BoolVar(&plain, "plain", false, "print the median in ms and nothing else")
	c.Flags().BoolVar(&asJSON, "json", false, "one line of JSON")
	c.Flags().BoolVar(&nodes, "nodes", false, "a table by node, with kernel names")
	c.Flags().Var(sh, "shape", "shape of an input, name=1,3,224,224 (repeatable)")
	c.Flags().Var(&memory, "memory", memoryUsage)
	c.Flags().BoolVar(&tune, "tune", false, tuneUsage)
	return c
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// median of a sorted list.
func median(x []float64) float64 {
	n := len(x)
	if n%2 == 1 {
		return x[n/2]
	}
	return (x[n/2-1] + x[n/2]) / 2
}

// fillSeeded fills an input with seeded normal values (floats) or zeros.
func fillSeeded(t *tensor.Tensor, seed uint64) {
	if !t.DType.IsFloat() || t.DType.Packed() || t.DType.Bits() < 16 {
		clear(t.Bytes())
		return
	}
	x := tensor.New(tensor.Float32, t.Shape...)
	s := tensor.Of[float32](x)
	state := seed * 0x9e3779b97f4a7c15
	for i := range s {
		// The sum of twelve uniform numbers is normal enough, and the same on every CPU.
		var sum float32
		for range 12 {
			state = state*6364136223846793005 + 1442695040888963407
			sum += float32(state>>40) * (1.0 / (1 << 24))
		}
		s[i] = sum - 6
	}
	tensor.Convert(t, x)
}

// peakRSS is the process's largest resident memory in bytes; 0 where the system does not say.
func peakRSS() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err == nil {
		for line := range strings.SplitSeq(string(b), "\n") {
			var kb int64
			if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
				return kb << 10
			}
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}

// memoryFlag is how memory is weighed against speed: "full" or "low".
type memoryFlag string

const memoryUsage = "full, or low: no algorithm that holds weights in a larger form (Winograd), and slower loading"

func (m *memoryFlag) low() bool { return *m == "low" }

// release gives memory back between the steps of loading a model, if little is wanted.
func (m *memoryFlag) release() {
	if m.low() {
		lean.Release()
	}
}

func (*memoryFlag) Type() string { return "full|low" }
func (m *memoryFlag) String() string {
	if m.low() {
		return "low"
	}
	return "full"
}

func (m *memoryFlag) Set(s string) error {
	if s != "full" && s != "low" {
		return fmt.Errorf("want full or low")
	}
	*m = memoryFlag(s)
	return nil
}
