// Command rate compares rate and distortion of quantised networks: bytes of the file against
// the mean Kullback-Leibler divergence of its decisions from the float model's, on the
// test images of MNIST. run.sh drives it.
//
//	rate dump MODEL.onnx WEIGHTS.npz         the float32 constants, as peer.py reads them
//	rate kl MODEL.onnx DIR                   reads DIR/points.csv (file,bytes,setting), appends the divergence of each
//	                                         file's arrays, and writes DIR/kl.csv
//	rate rdo MODEL.onnx LAMBDA...            whit's points, in the same form, to the standard output; between lambdas stand parameters
//	                                         of rdo for those that follow, NAME=VALUE, and bits=N: weights share 2^N values before
package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"whit/card"
	"whit/compress/method"
	"whit/compress/quant"
	"whit/data"
	"whit/format"
	"whit/graph"
	"whit/onnx"
	"whit/tensor"
	"whit/train"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "rate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("want dump, kl or rdo, a model and an argument")
	}
	g, err := onnx.ReadFile(args[1])
	if err != nil {
		return err
	}
	switch args[0] {
	case "dump":
		return dump(g, args[2])
	case "kl":
		return kl(ctx, g, args[2])
	case "rdo":
		return rdo(ctx, g, args[2:])
	}
	return fmt.Errorf("unknown job %q", args[0])
}

func dump(g *graph.Graph, name string) error {
	var arrays []tensor.Named
	for i, v := range floats(g) {
		// Names are as short as they can be: they stand in the other codec's stream.
		arrays = append(arrays, tensor.Named{Name: string(rune('a' + i)), T: v.Tensor()})
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := tensor.WriteNPZ(f, arrays); err != nil {
		return err
	}
	return f.Close()
}

// floats are the float32 constants of g, in its order.
func floats(g *graph.Graph) (out []*graph.Value) {
	for _, v := range g.Values() {
		if v.Kind == graph.Const && v.Type.DType == tensor.Float32 {
			out = append(out, v)
		}
	}
	return out
}

// divergence measures models against a float one.
type divergence struct {
	set   data.Dataset
	float [][]float64 // log-probabilities
}

func sets(ctx context.Context, g *graph.Graph) (data.Sets, error) {
	c, err := card.Parse([]byte(g.Meta["whit.card"]), nil)
	if err != nil {
		return data.Sets{}, err
	}
	return data.Open(ctx, "mnist", &c, []int{1, 28, 28}, data.Options{})
}

func newDivergence(ctx context.Context, g *graph.Graph, set data.Dataset) (*divergence, error) {
	d := &divergence{set: set}
	var err error
	d.float, _, err = logProbs(ctx, g, set)
	return d, err
}

func logProbs(ctx context.Context, g *graph.Graph, set data.Dataset) ([][]float64, float64, error) {
	e, err := train.Evaluate(ctx, g, set, train.EvalOptions{Logits: true})
	if err != nil {
		return nil, 0, err
	}
	out := make([][]float64, set.Len())
	for i := range out {
		z := e.Logits[i*e.Classes : (i+1)*e.Classes]
		p := make([]float64, len(z))
		top, sum := math.Inf(-1), 0.0
		for _, v := range z {
			top = max(top, float64(v))
		}
		for _, v := range z {
			sum += math.Exp(float64(v) - top)
		}
		for k, v := range z {
			p[k] = float64(v) - top - math.Log(sum)
		}
		out[i] = p
	}
	return out, e.Error, nil
}

// of is the mean divergence KL(float || g) in nats, and g's error.
func (d *divergence) of(ctx context.Context, g *graph.Graph) (kl, wrong float64, err error) {
	q, wrong, err := logProbs(ctx, g, d.set)
	if err != nil {
		return 0, 0, err
	}
	for i, p := range d.float {
		for k := range p {
			kl += math.Exp(p[k]) * (p[k] - q[i][k])
		}
	}
	return kl / float64(len(d.float)), wrong, nil
}

func kl(ctx context.Context, g *graph.Graph, dir string) error {
	s, err := sets(ctx, g)
	if err != nil {
		return err
	}
	d, err := newDivergence(ctx, g, s.Test)
	if err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(dir, "points.csv"))
	if err != nil {
		return err
	}
	defer f.Close()
	var out bytes.Buffer
	for sc := bufio.NewScanner(f); sc.Scan(); {
		p := strings.SplitN(sc.Text(), ",", 3)
		b, err := os.ReadFile(filepath.Join(dir, p[0]))
		if err != nil {
			return err
		}
		arrays, err := tensor.ReadNPZ(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return err
		}
		c, _ := g.Clone()
		vs := floats(c)
		for _, a := range arrays {
			v := vs[a.Name[0]-'a']
			v.Data, v.Weight = a.T, nil
		}
		k, wrong, err := d.of(ctx, c)
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "%s,%.6g,%.4f,%s\n", p[1], k, wrong, p[2])
	}
	return os.WriteFile(filepath.Join(dir, "kl.csv"), out.Bytes(), 0o644)
}

func rdo(ctx context.Context, g *graph.Graph, args []string) error {
	s, err := sets(ctx, g)
	if err != nil {
		return err
	}
	parts, err := data.Splits(s, 0x77686974)
	if err != nil {
		return err
	}
	test, err := newDivergence(ctx, g, s.Test)
	if err != nil {
		return err
	}
	choice, err := newDivergence(ctx, g, parts.Choice)
	if err != nil {
		return err
	}
	set, shared := map[string]any{}, 0.0
	for _, a := range args {
		k, v, ok := strings.Cut(a, "=")
		if k == "bits" {
			if shared, err = strconv.ParseFloat(v, 64); err != nil {
				return err
			}
			continue
		}
		if ok {
			p := quant.RDO.Param(k)
			if p == nil {
				return fmt.Errorf("no parameter %q", k)
			}
			if p.Kind == method.String {
				set[k] = v
				continue
			}
			x, err := strconv.ParseFloat(v, 64)
			if err != nil {
				return err
			}
			switch p.Kind {
			case method.Int:
				set[k] = int(x)
			case method.Bool:
				set[k] = x != 0
			default:
				set[k] = x
			}
			continue
		}
		if set["lambda"], err = strconv.ParseFloat(a, 64); err != nil {
			return err
		}
		c, _ := g.Clone()
		st := &method.State{Graph: c, Float: g, Layers: method.FindLayers(c, ""), Train: parts.Calib, Choice: method.First(parts.Choice, 100), Seed: 1}
		st.Progress = func(e method.Event) { fmt.Fprintln(os.Stderr, e.Stage, e.Message) }
		if shared > 0 {
			if err := st.Step(ctx, method.Step{Method: "codebook", Set: map[string]any{"bits": method.Uniform(shared), "train": false}}, []*method.Method{quant.Codebook}); err != nil {
				return err
			}
		}
		t0 := time.Now()
		if err := st.Step(ctx, method.Step{Method: "rdo", Set: set}, []*method.Method{quant.RDO}); err != nil {
			return err
		}
		took := time.Since(t0)
		f, err := st.Freeze()
		if err != nil {
			return err
		}
		var n counter
		if _, err := format.Write(&n, &format.File{Graph: f}, format.Options{Strip: true}); err != nil {
			return err
		}
		ck, _, err := choice.of(ctx, f)
		if err != nil {
			return err
		}
		tk, wrong, err := test.of(ctx, f)
		if err != nil {
			return err
		}
		fmt.Printf("%d,%.6g,%.4f,lambda %s choice %.5g %.1fs %v\n", n, tk, wrong, a, ck, took.Seconds(), set)
	}
	return nil
}

type counter int64

func (c *counter) Write(b []byte) (int, error) { *c += counter(len(b)); return len(b), nil }
