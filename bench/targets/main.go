// Command targets shows that a target of latency or of size is kept by the file that is written, and that one that cannot be
// reached is said so:
//
//	go run ./bench/targets -whit ./whit [-share 0.7] [-time 3m] [-data DIR -card imagenet] MODEL.onnx[=SHARE] ...
//	go run ./bench/targets -whit ./whit -sizes 0.2,0.1,0.05 [-time 30s] MODEL.onnx ...
//
// For every model it times the dense one, asks 'whit compress --target-latency' for a share of that on the data given or seeded noise, and
// times the file that is written against the dense model in five fresh processes each, in turn. The target is kept where the median is
// at most 1.05 times it. Where a target cannot be reached, a thousandth, the exit code must be 1 and the best that was found be
// there as NAME.unmet.whit. With -sizes it asks for --target-size instead, shares of the weights' bytes in float32: a file of the
// good name is never larger. Exit 1 where any of this does not hold.
// Nothing else should run on the machine.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"whit/compress/method"
	"whit/internal/safefile"
	"whit/onnx"
	"whit/tensor"
)

var (
	whit    = flag.String("whit", "./whit", "the program")
	share   = flag.Float64("share", 0.7, "target, as a share of the dense model's median")
	given   = flag.String("data", "", "data to compress on; default: seeded noise")
	preset  = flag.String("card", "", "card file or preset of the data")
	sizes   = flag.String("sizes", "", "shares of the dense size, with commas: targets of size instead")
	limit   = flag.String("time", "3m", "time of each search")
	images  = flag.Int("images", 120, "samples of noise")
	iters   = flag.Int("iters", 30, "inferences a process")
	threads = flag.Int("threads", 1, "workers")
)

func main() {
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	failed := false
	try := tryLatency
	if *sizes == "" {
		fmt.Printf("%-24s %9s %9s %9s %9s  %s\n", "model", "dense ms", "target", "reached", "ratio", "")
	} else {
		try = trySizes
		fmt.Printf("%-24s %11s %9s %9s %9s %9s  %s\n", "model", "dense bytes", "target", "reached", "ratio", "kept", "")
	}
	for _, m := range flag.Args() {
		at := *share
		if name, s, ok := strings.Cut(m, "="); ok {
			x, err := strconv.ParseFloat(s, 64)
			if err != nil || !(x > 0) {
				fmt.Fprintf(os.Stderr, "targets: share %q\n", s)
				os.Exit(2)
			}
			m, at = name, x
		}
		ok, err := within(m, at, try)
		if err != nil {
			fmt.Fprintln(os.Stderr, "targets:", m+":", err)
			os.Exit(1)
		}
		failed = failed || !ok
	}
	if failed {
		os.Exit(1)
	}
}

// runs is how many fresh processes time each model.
const runs = 5

// within tries a model in a folder of its own, on the data given or noise that is written there.
func within(model string, share float64, try func(model, data, dir string, share float64) (bool, error)) (ok bool, err error) {
	dir, err := os.MkdirTemp("", "whit-targets-*")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	data := *given
	if data == "" {
		data = filepath.Join(dir, "noise.npz")
		if err := noise(model, data); err != nil {
			return false, err
		}
	}
	return try(model, data, dir, share)
}

// trySizes asks for files of some shares of the model's size.
func trySizes(model, data, dir string, _ float64) (ok bool, err error) {
	g, err := onnx.ReadFile(model)
	if err != nil {
		return false, err
	}
	dense := method.DenseBytes(g)
	ok = true
	for s := range strings.SplitSeq(*sizes, ",") {
		part, err := strconv.ParseFloat(s, 64)
		if err != nil || !(part > 0) {
			return false, fmt.Errorf("share %q", s)
		}
		target := int64(part * float64(dense))
		out := filepath.Join(dir, "out"+s+".whit")
		r, err := compress(model, data, out, "size", fmt.Sprint(target))
		if err != nil {
			return false, err
		}
		file := out
		if !r.Met {
			file = filepath.Join(dir, r.Unmet)
		}
		st, err := os.Stat(file)
		if err != nil {
			return false, err
		}
		verdict, good := "never exceeded", r.Met == (st.Size() <= target)
		switch {
		case !good:
			verdict = "WRONGLY CALLED"
		case !r.Met:
			verdict = "said to be missed, the best is kept"
		}
		fmt.Printf("%-24s %11d %9d %9d %9.1f %8.2f%%  %s\n", strings.TrimSuffix(filepath.Base(model), ".onnx"), dense, target, st.Size(), float64(dense)/float64(st.Size()), 100*r.Metric.After.Value, verdict)
		ok = ok && good
	}
	return ok, nil
}

// tryLatency asks for a share of the dense model's time, and for what cannot be.
func tryLatency(model, data, dir string, share float64) (ok bool, err error) {
	var dense []float64
	for range runs {
		ms, err := bench(model)
		if err != nil {
			return false, err
		}
		dense = append(dense, ms)
	}
	name := strings.TrimSuffix(filepath.Base(model), ".onnx")
	was := median(dense)
	ok = true
	for _, part := range []float64{share, 0.001} {
		target := part * was
		out := filepath.Join(dir, fmt.Sprintf("out%g.whit", part))
		r, err := compress(model, data, out, "latency", fmt.Sprint(target))
		if err != nil {
			return false, err
		}
		met, file := r.Met, out
		if !met {
			file = filepath.Join(dir, r.Unmet)
		}
		var a, b []float64
		for range runs {
			x, err := bench(model)
			if err != nil {
				return false, err
			}
			y, err := bench(file)
			if err != nil {
				return false, err
			}
			a, b = append(a, x), append(b, y)
		}
		now := median(b)
		verdict, good := "kept", now <= 1.05*target
		switch {
		case !met && part >= 0.01:
			verdict, good = "MISSED", false
		case !met:
			verdict, good = "said to be missed, the best is kept", true
		case !good:
			verdict = "NOT KEPT"
		case part < 0.01:
			verdict = "kept, and should not have been possible"
		}
		fmt.Printf("%-24s %9.3f %9.3f %9.3f %9.2f  %s\n", name, median(a), target, now, median(a)/now, verdict)
		ok = ok && good
	}
	return ok, nil
}

// result is what the program says of a run.
type result struct {
	Met    bool   `json:"met"`
	Unmet  string `json:"unmet"`
	Metric struct {
		After struct {
			Value float64 `json:"value"`
		} `json:"after"`
	} `json:"metric"`
}

// compress asks for a target of a kind, size or latency.
func compress(model, data, out, kind, target string) (r result, err error) {
	cmd := exec.Command(*whit, "compress", model, "--data", data, "--card", *preset, "--target-"+kind, target, "--time", *limit, "--finetune", "off", "--threads", fmt.Sprint(*threads), "-o", out, "--json")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	var e *exec.ExitError
	if err != nil && (!errors.As(err, &e) || e.ExitCode() != 1) || json.Unmarshal(stdout.Bytes(), &r) != nil {
		return r, fmt.Errorf("%v: %s", err, stderr.Bytes())
	}
	switch {
	case r.Met != (err == nil):
		return r, fmt.Errorf("met is %v, %v: %s", r.Met, err, stderr.Bytes())
	case r.Met:
		return r, nil
	case r.Unmet == "" || !strings.Contains(stderr.String(), "target "+kind):
		return r, fmt.Errorf("exit code 1 without a budget that was missed: %s", stderr.Bytes())
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(out), r.Unmet)); err != nil {
		return r, fmt.Errorf("the best that was found is not there: %w", err)
	}
	if _, err := os.Stat(out); err == nil {
		return r, errors.New("a budget was missed, and the file has the good name")
	}
	return r, nil
}

// bench is the median of a fresh process.
func bench(model string) (ms float64, err error) {
	out, err := exec.Command(*whit, "bench", model, "--threads", fmt.Sprint(*threads), "--iters", fmt.Sprint(*iters), "--plain").Output()
	if err != nil {
		return 0, fmt.Errorf("timing %s: %w", filepath.Base(model), err)
	}
	_, err = fmt.Sscan(string(out), &ms)
	return ms, err
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	return s[len(s)/2]
}

// noise writes samples of the model's input.
func noise(model, file string) error {
	g, err := onnx.ReadFile(model)
	if err != nil {
		return err
	}
	shape := tensor.Shape{*images}
	for _, d := range g.Inputs[0].Decl.Dims[1:] {
		if d.Size < 1 {
			return errors.New("an input of open size")
		}
		shape = append(shape, d.Size)
	}
	x := tensor.New(tensor.Float32, shape...)
	r := rand.New(rand.NewPCG(1, 1))
	for i, f := 0, tensor.Of[float32](x); i < len(f); i++ {
		f[i] = float32(r.NormFloat64())
	}
	return safefile.Write(file, func(w io.Writer) error { return tensor.WriteNPZ(w, []tensor.Named{{Name: "x", T: x}}) })
}
