package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"whit/graph"
	"whit/onnx"
	"whit/op"
	"whit/plan"
	"whit/tensor"
)

// tolerance is what data.json gives; the defaults are those of the ONNX project's
// own runner.
type tolerance struct{ RTol, ATol float64 }

// errRandom marks results that differ and may: they are drawn at random.
var errRandom = errors.New("expected values come from numpy's random generator")

// excuse says why a case that whit cannot run is skipped; empty where it has to run:
// whit computes with tensors of numbers and truth values. g is nil where the model
// could not be read.
func excuse(err error, g *graph.Graph) string {
	if !errors.Is(err, op.ErrUnsupported) && !errors.Is(err, onnx.ErrUnsupported) {
		return ""
	}
	if g == nil {
		for _, e := range []struct{ says, reason string }{
			{"element type string", "strings"}, {"tensor of strings", "strings"},
			{"of type sequence", "sequences"}, {"of type optional", "optional values"}, {"of type map", "maps"},
		} {
			if strings.Contains(err.Error(), e.says) {
				return e.reason
			}
		}
		return ""
	}
	reason := ""
	missing(g, func(n *graph.Node) {
		switch {
		case reason == "-":
		case n.Domain == "ai.onnx.ml":
			reason = "classical machine learning (ai.onnx.ml)"
		case n.Domain == "ai.onnx.preview.training":
			reason = "training optimisers (ai.onnx.preview.training)"
		case n.OpName() == "ImageDecoder":
			reason = "image codecs"
		default:
			reason = "-" // this one must run
		}
	})
	return strings.TrimPrefix(reason, "-")
}

// missing calls f for the nodes of g and its bodies whose operator whit does not have.
func missing(g *graph.Graph, f func(*graph.Node)) {
	for _, n := range g.Nodes {
		if op.Of(n) == nil {
			f(n)
		}
		for _, b := range n.Bodies() {
			missing(b, f)
		}
	}
}

func runCase(dir string, o plan.Options, scope map[string]bool) (r result) {
	r.Name = filepath.Base(dir)
	defer func() {
		if p := recover(); p != nil {
			r.Status, r.Reason = "failed", fmt.Sprint("panic: ", p)
		}
	}()
	g, err := onnx.ReadFile(filepath.Join(dir, "model.onnx"))
	if err == nil {
		used, inTypes := survey(g)
		r.Ops = sortedKeys(used)
		r.Scope = scope != nil && inTypes
		for name := range used {
			r.Scope = r.Scope && scope[name]
		}
		err = runGraph(dir, g, o)
	}
	switch {
	case err == nil:
		r.Status = "passed"
	case errors.Is(err, errRandom):
		r.Status, r.Reason = "skipped", err.Error()
	case excuse(err, g) != "" && !r.Scope:
		r.Status, r.Reason = "skipped", excuse(err, g)+": "+err.Error()
	default:
		r.Status, r.Reason = "failed", err.Error()
	}
	return r
}

// survey lists the operators of g and its bodies, and says whether all element
// types are bool, integers, float16, float32 or float64.
func survey(g *graph.Graph) (used map[string]bool, plain bool) {
	used, plain = map[string]bool{}, true
	see := func(d tensor.DType) {
		switch d {
		case tensor.Invalid, tensor.Bool, tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64, tensor.Uint8,
			tensor.Uint16, tensor.Uint32, tensor.Uint64, tensor.Float16, tensor.Float32, tensor.Float64:
		default:
			plain = false
		}
	}
	var walk func(*graph.Graph)
	walk = func(g *graph.Graph) {
		for _, v := range g.Values() {
			see(v.Decl.DType)
			see(v.Type.DType)
		}
		for _, n := range g.Nodes {
			used[n.OpName()] = true
			if n.Op == "Cast" {
				see(tensor.FromONNX(n.Int("to", 0)))
			}
			for _, a := range n.Attrs {
				if t, ok := a.(*tensor.Tensor); ok {
					see(t.DType)
				}
			}
			for _, b := range n.Bodies() {
				walk(b)
			}
		}
	}
	walk(g)
	return used, plain
}

// functions are operators of many roundings that ONNX defines as functions of others.
var functions = map[string]bool{"Attention": true, "FlexAttention": true, "LinearAttention": true, "CausalConvWithState": true}

// random reports whether a node draws numbers.
func random(g *graph.Graph) bool {
	for _, n := range g.Nodes {
		switch n.Op {
		case "Dropout":
			if n.Input(2) != nil { // it may train
				return true
			}
		case "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike":
			return true
		}
	}
	return false
}

func runGraph(dir string, g *graph.Graph, o plan.Options) error {
	tol := tolerance{1e-3, 1e-7}
	if b, err := os.ReadFile(filepath.Join(dir, "data.json")); err == nil {
		if err := json.Unmarshal(b, &tol); err != nil {
			return fmt.Errorf("data.json: %w", err)
		}
	}
	// Every node rounds 16-bit floats once; numpy rounds at other places where one
	// operator is written as several, and where ONNX defines one as a function of several.
	units := 1
	if len(g.Nodes) > 1 || slices.ContainsFunc(g.Nodes, func(n *graph.Node) bool { return functions[n.Op] }) {
		units = 2
	}
	p, err := plan.NewProgram(g, o)
	if err != nil {
		return err
	}
	sets, err := filepath.Glob(filepath.Join(dir, "test_data_set_*"))
	if err != nil {
		return err
	}
	if len(sets) == 0 {
		return errors.New("no test_data_set_*")
	}
	sort.Strings(sets)
	for _, set := range sets {
		ins, err := tensors(set, "input")
		if err != nil {
			return err
		}
		wants, err := tensors(set, "output")
		if err != nil {
			return err
		}
		if len(ins) != len(g.Inputs) || len(wants) != len(g.Outputs) {
			return fmt.Errorf("%s: %d inputs and %d outputs, the model has %d and %d", filepath.Base(set), len(ins), len(wants), len(g.Inputs), len(g.Outputs))
		}
		types := map[string]tensor.Type{}
		for i, v := range g.Inputs {
			types[v.Name] = ins[i].Type
		}
		pl, err := p.Plan(types)
		if err != nil {
			return err
		}
		s, err := pl.NewSession()
		if err != nil {
			return err
		}
		for i, v := range g.Inputs {
			copy(s.Input(v.Name).Bytes(), ins[i].Bytes())
		}
		if err := s.Run(context.Background()); err != nil {
			return err
		}
		for i, v := range g.Outputs {
			got := s.Output(v.Name)
			if got == nil {
				return fmt.Errorf("output %q: no value", v.Name)
			}
			if !got.Type.Equal(wants[i].Type) {
				return fmt.Errorf("output %q is %v, want %v", v.Name, got.Type, wants[i].Type)
			}
			if err := compare(got, wants[i], tol, units); err != nil {
				if random(g) {
					return errRandom
				}
				return fmt.Errorf("output %q: %w", v.Name, err)
			}
		}
	}
	return nil
}

// tensors reads PREFIX_0.pb, PREFIX_1.pb, ... of a data set.
func tensors(set, prefix string) ([]*tensor.Tensor, error) {
	var ts []*tensor.Tensor
	for i := 0; ; i++ {
		name := filepath.Join(set, fmt.Sprintf("%s_%d.pb", prefix, i))
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			return ts, nil
		}
		if err != nil {
			return nil, err
		}
		t, _, err := onnx.ReadTensor(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(name), err)
		}
		ts = append(ts, t)
	}
}

func compare(got, want *tensor.Tensor, tol tolerance, units int) error {
	d := want.DType
	n := want.Type.NumBytes()
	switch d {
	case tensor.Float16, tensor.BFloat16, tensor.Float32, tensor.Float64:
	default:
		if !bytes.Equal(got.Bytes()[:n], want.Bytes()[:n]) {
			for i := range n {
				if got.Bytes()[i] != want.Bytes()[i] {
					return fmt.Errorf("element %d differs", i*8/d.Bits())
				}
			}
		}
		return nil
	}
	a, b := tensor.New(tensor.Float64, want.Shape...), tensor.New(tensor.Float64, want.Shape...)
	tensor.Convert(a, got)
	tensor.Convert(b, want)
	x, y := tensor.Of[float64](a), tensor.Of[float64](b)
	bad, worst := 0, -1
	for i := range x {
		if x[i] == y[i] || math.IsNaN(x[i]) && math.IsNaN(y[i]) {
			continue
		}
		if diff := math.Abs(x[i] - y[i]); diff <= tol.ATol+tol.RTol*math.Abs(y[i]) && !math.IsInf(y[i], 0) {
			continue
		}
		if d.IsSmallFloat() && ulps(got, want, i) <= units {
			continue
		}
		if bad == 0 {
			worst = i
		}
		bad++
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d elements differ, the first at %d: %v, want %v", bad, len(x), worst, x[worst], y[worst])
	}
	return nil
}

// ulps is the distance of two 16-bit floats in units of the last place.
func ulps(a, b *tensor.Tensor, i int) int {
	ord := func(t *tensor.Tensor) int {
		u := int(t.Bytes()[2*i]) | int(t.Bytes()[2*i+1])<<8
		if u&0x8000 != 0 {
			return -(u & 0x7fff)
		}
		return u
	}
	return int(math.Abs(float64(ord(a) - ord(b))))
}
