// Onnxcases runs the ONNX project's backend test cases, directories of
//
//	model.onnx, data.json (rtol, atol; may be absent), test_data_set_*/{input,output}_*.pb
//
// through whit's reader and engine:
//
//	go run ./bench/onnxcases [flags] DIR
//
// write_cases.py beside it writes such directories from the onnx package. Floats
// pass within rtol·|want| + atol (1e-3 and 1e-7 unless data.json says otherwise);
// float16 and bfloat16 also within one unit in the last place (two where several nodes, or an operator that ONNX defines as a function of several, round in between);
// everything else is exact. The last line is "N passed, N failed, N skipped". A case
// is skipped only where it is not about tensors of numbers and truth values (strings,
// sequences, optional values, image codecs, training optimisers, the domain
// ai.onnx.ml), or where the expected values come from a random generator that is
// numpy's own; whatever else is not supported is a failure. With --ops FILE the cases
// that use only the operators which the file lists, in bool, integer, float16, float32
// and float64 types, are in scope, and counted by themselves. The exit code is 1 where
// a case failed, or fewer passed than --min asks for.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"

	"whit/plan"
)

func main() {
	code, err := run(os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "onnxcases:", err)
	}
	os.Exit(code)
}

// result is one case.
type result struct {
	Name   string `json:"name"`
	Status string `json:"status"` // passed, failed, skipped
	Scope  bool   `json:"scope"`
	Reason string `json:"reason,omitempty"`
	// Ops are the operators that the model's graph uses, sorted.
	Ops []string `json:"ops,omitempty"`
}

type report struct {
	Schema  int      `json:"schema"`
	Passed  int      `json:"passed"`
	Failed  int      `json:"failed"`
	Skipped int      `json:"skipped"`
	Scope   *counts  `json:"scope,omitempty"`
	Cases   []result `json:"cases"`
}

type counts struct {
	Passed  int `json:"passed"`
	Failed  int `json:"failed"`
	Skipped int `json:"skipped"`
}

func (c *counts) add(status string) {
	switch status {
	case "passed":
		c.Passed++
	case "failed":
		c.Failed++
	default:
		c.Skipped++
	}
}

func (c counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.Passed, c.Failed, c.Skipped)
}

func run(args []string, stdout, stderr io.Writer) (int, error) {
	fl := flag.NewFlagSet("onnxcases", flag.ContinueOnError)
	fl.SetOutput(stderr)
	match := fl.String("match", "*", "run only the cases whose name matches the `glob`")
	asJSON := fl.Bool("json", false, "print every case with its status and reason as JSON; the summary line goes to stderr")
	ops := fl.String("ops", "", "`file` of the operators in scope, one a line")
	only := fl.Bool("scope-only", false, "leave out the cases that are not in scope")
	least := fl.Int("min", 0, "fail also where fewer than `n` cases pass")
	refs := fl.Bool("references", false, "run the operators' references instead of kernels")
	threads := fl.Int("threads", 1, "threads of each session")
	rewrite := fl.String("rewrite", "", "write each case into `folder`, its model read and written by whit, instead of running it")
	verbose := fl.Bool("v", false, "print skipped cases too")
	fl.Usage = func() {
		fmt.Fprintln(stderr, "usage: onnxcases [flags] DIR")
		fl.PrintDefaults()
	}
	if err := fl.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0, nil
		}
		return 2, nil
	}
	if fl.NArg() != 1 {
		fl.Usage()
		return 2, nil
	}
	var scope map[string]bool
	if *ops != "" {
		b, err := os.ReadFile(*ops)
		if err != nil {
			return 2, err
		}
		scope = map[string]bool{}
		for line := range strings.Lines(string(b)) {
			if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) != "" {
				scope[strings.TrimSpace(line)] = true
			}
		}
	}
	if _, err := filepath.Match(*match, ""); err != nil {
		return 2, fmt.Errorf("--match %q: %w", *match, err)
	}
	dirs, err := caseDirs(fl.Arg(0), *match)
	if err != nil {
		return 1, err
	}
	if len(dirs) == 0 {
		return 1, fmt.Errorf("%s: no case matches %q; bench/onnxcases/write_cases.py writes them", fl.Arg(0), *match)
	}
	if *rewrite != "" {
		return rewriteCases(*rewrite, dirs, stdout)
	}
	results := make([]result, len(dirs))
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range next {
				results[i] = runCase(dirs[i], plan.Options{Threads: *threads, References: *refs}, scope)
			}
		}()
	}
	for i := range dirs {
		next <- i
	}
	close(next)
	wg.Wait()

	var all, in counts
	kept := results[:0]
	for _, r := range results {
		if *only && !r.Scope {
			continue
		}
		kept = append(kept, r)
		all.add(r.Status)
		if r.Scope {
			in.add(r.Status)
		}
	}
	if *asJSON {
		rep := report{1, all.Passed, all.Failed, all.Skipped, nil, kept}
		if scope != nil {
			rep.Scope = &in
		}
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", " ")
		if err := enc.Encode(rep); err != nil {
			return 1, err
		}
		fmt.Fprintln(stderr, all)
	} else {
		for _, r := range kept {
			if r.Status == "failed" || *verbose && r.Status == "skipped" {
				fmt.Fprintf(stdout, "%s %s: %s\n", r.Status, r.Name, r.Reason)
			}
		}
		if scope != nil {
			fmt.Fprintf(stdout, "in scope: %v\n", in)
		}
		fmt.Fprintln(stdout, all)
	}
	if all.Passed < *least {
		return 1, fmt.Errorf("%d cases passed, want at least %d", all.Passed, *least)
	}
	if all.Failed > 0 {
		return 1, nil
	}
	return 0, nil
}

// caseDirs lists the folders under dir that hold a case, dir itself if it is one.
func caseDirs(dir, match string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(dir, "model.onnx")); err == nil {
		return []string{dir}, nil
	}
	es, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, e := range es {
		d := filepath.Join(dir, e.Name())
		if ok, _ := filepath.Match(match, e.Name()); !ok {
			continue
		}
		if _, err := os.Stat(filepath.Join(d, "model.onnx")); err == nil {
			dirs = append(dirs, d)
		}
	}
	sort.Strings(dirs)
	return dirs, nil
}

func sortedKeys(m map[string]bool) []string {
	var ks []string
	for k := range m {
		ks = append(ks, k)
	}
	slices.Sort(ks)
	return ks
}
