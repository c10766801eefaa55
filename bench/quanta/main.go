// Quanta shows how far the nodes that whit runs on integers are from what an ONNX file with QuantizeLinear and
// DequantizeLinear says literally: for every such node, DequantizeLinear, the operator in float32 and QuantizeLinear
// on the same integers, from normally distributed inputs.
//
//	go run ./bench/quanta [--nodes] [--portable] MODEL.onnx...
//
// It prints a line a model: nodes, elements, how many differ, the most of one node in parts of a thousand, and the
// most quanta that one element is off. The exit code is 1 where a node differs by more than one quantum, or on
// more than a thousandth of its elements (and more than one of them), or portable Go has other integers.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"

	"whit/internal/cpu"
	"whit/onnx"
	"whit/plan"
	"whit/tensor"
)

func main() {
	nodes := flag.Bool("nodes", false, "print a line for every node that differs")
	portable := flag.Bool("portable", false, "compare with the integers of portable Go too")
	flag.Parse()
	fmt.Printf("%-28s %6s %10s %8s %10s %8s\n", "model", "nodes", "elements", "differ", "worst ‰", "quanta")
	code := 0
	for _, path := range flag.Args() {
		ok, err := measure(path, *nodes, *portable)
		if err != nil {
			fmt.Fprintf(os.Stderr, "quanta: %s: %v\n", path, err)
		}
		if err != nil || !ok {
			code = 1
		}
	}
	os.Exit(code)
}

func measure(path string, each, portable bool) (ok bool, err error) {
	g, err := onnx.ReadFile(path)
	if err != nil {
		return false, err
	}
	feeds := map[string]*tensor.Tensor{}
	r := rand.New(rand.NewPCG(1, 2))
	for _, v := range g.Inputs {
		var shape []int
		for _, d := range v.Decl.Dims {
			shape = append(shape, max(1, d.Size))
		}
		t := tensor.New(tensor.Float32, shape...)
		for i := range tensor.Of[float32](t) {
			tensor.Of[float32](t)[i] = float32(r.NormFloat64())
		}
		feeds[v.Name] = t
	}
	ns, values, err := bytesOf(g, feeds, plan.Options{})
	if err != nil {
		return false, err
	}
	qs, err := compare(ns, values)
	if err != nil {
		return false, err
	}
	ok = true
	elements, differ, most, worst := 0, 0, 0, 0.0
	for _, q := range qs {
		elements, differ, most = elements+q.Elements, differ+q.Differ, max(most, q.Most)
		worst = max(worst, 1000*float64(q.Differ)/float64(q.Elements))
		ok = ok && q.Most <= 1 && q.Differ*1000 <= max(1000, q.Elements)
		if each && q.Differ > 0 {
			fmt.Printf("  %-30s %-30s %8d of %10d, at most %d\n", q.Node, q.Op, q.Differ, q.Elements, q.Most)
		}
	}
	fmt.Printf("%-28s %6d %10d %8d %10.3f %8d\n", path[max(0, len(path)-28):], len(qs), elements, differ, worst, most)
	if !portable {
		return ok, nil
	}
	other, integers, err := bytesOf(g, feeds, plan.Options{CPU: &cpu.Features{}})
	if err != nil {
		return false, err
	}
	for i, n := range ns {
		for j, v := range n.Out {
			if !bytes.Equal(values[v].Bytes(), integers[other[i].Out[j]].Bytes()) {
				fmt.Printf("  %s (%s): portable Go has other integers\n", n.Name, n.OpName())
				ok = false
			}
		}
	}
	return ok, nil
}
