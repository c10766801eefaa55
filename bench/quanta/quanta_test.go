package main

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"whit/graph"
	"whit/internal/cpu"
	"whit/internal/optest"
	"whit/pass"
	"whit/plan"
	"whit/tensor"
	"whit/zoo"
)

// TestQuanta: every node on integers of quantised networks is within one quantum of the same node run as floats
// on at most a thousandth of its elements, and its integers are those of portable Go.
func TestQuanta(t *testing.T) {
	for _, c := range []struct {
		arch  string
		input []int
		nodes int // on integers, that are compared
	}{
		{"lenet5", nil, 4},
		{"squeezenet1.1", []int{3, 48, 48}, 27},
		{"shufflenet2", []int{3, 32, 32}, 58},
		{"mobilenet2", []int{3, 32, 32}, 64},
		{"resnet20", nil, 30},
	} {
		t.Run(c.arch, func(t *testing.T) {
			if testing.Short() && c.nodes > 30 {
				t.Skip("long under an emulator")
			}
			a, err := zoo.Find(c.arch)
			if err != nil {
				t.Fatal(err)
			}
			if c.input != nil {
				if a, err = a.With(zoo.Options{Input: c.input, Classes: 20}); err != nil {
					t.Fatal(err)
				}
			}
			g, err := a.Build(1)
			if err != nil {
				t.Fatal(err)
			}
			feeds := map[string]*tensor.Tensor{g.Inputs[0].Name: optest.Rand(2, tensor.Float32, append([]int{1}, a.Input...)...)}
			quantise(t, g, feeds)
			nodes, values, err := bytesOf(g, feeds, plan.Options{})
			if err != nil {
				t.Fatal(err)
			}
			qs, err := compare(nodes, values)
			if err != nil {
				t.Fatal(err)
			}
			for _, q := range qs {
				if q.Most > 1 || q.Differ*1000 > max(1000, q.Elements) {
					t.Errorf("%s (%s): %d of %d elements differ, by at most %d", q.Node, q.Op, q.Differ, q.Elements, q.Most)
				}
			}
			if len(qs) != c.nodes {
				t.Errorf("%d nodes on integers, want %d", len(qs), c.nodes)
			}
			for name, opt := range map[string]plan.Options{"portable Go": {CPU: &cpu.Features{}}, "a direct convolution": {Direct: true}} {
				ns, other, err := bytesOf(g, feeds, opt)
				if err != nil {
					t.Fatal(err)
				}
				for i, n := range nodes {
					for j, v := range n.Out {
						if !bytes.Equal(values[v].Bytes(), other[ns[i].Out[j]].Bytes()) {
							t.Errorf("%s (%s): %s has other integers", n.Name, n.OpName(), name)
						}
					}
				}
			}
		})
	}
}

// quantise puts QuantizeLinear and DequantizeLinear behind every value that is not between an operator
// and its Relu or Clip: bytes with a zero point, and weights of int8 with one scale an output channel.
func quantise(t *testing.T, g *graph.Graph, feeds map[string]*tensor.Tensor) {
	t.Helper()
	types := map[string]tensor.Type{}
	for name, x := range feeds {
		types[name] = x.Type
	}
	if _, err := pass.Bind(g, types, nil); err != nil {
		t.Fatal(err)
	}
	pass.FoldBatchNorm(g)
	pass.DeadCode(g)
	uses, outputs := g.Uses(), g.Outputs
	// What values are.
	var floats []*graph.Value
	for _, n := range g.Nodes {
		floats = append(floats, n.Out...)
	}
	for i, v := range floats {
		v.Name = fmt.Sprint("v", i)
	}
	g.Outputs = floats
	got, err := evaluate(g, feeds, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	data := map[*graph.Value]*tensor.Tensor{g.Inputs[0]: feeds[g.Inputs[0].Name]}
	for i, v := range floats {
		data[v] = got[i]
	}
	q := &quantiser{Graph: g, sub: map[*graph.Value]*graph.Value{}, scale: map[*graph.Value]float32{}}
	nodes := g.Nodes
	g.Nodes = nil
	q.bytes(g.Inputs[0], data[g.Inputs[0]], nil)
	for _, n := range nodes {
		var first *graph.Value
		if len(n.In) > 0 {
			first = n.In[0]
		}
		if n.Op == "Conv" || n.Op == "Gemm" {
			q.weights(n)
		}
		for i, v := range n.In {
			if s := q.sub[v]; s != nil {
				n.In[i] = s
			}
		}
		g.Nodes = append(g.Nodes, n)
		for _, v := range n.Out {
			if u := uses[v]; len(u) == 1 && u[0].Node != nil && (u[0].Node.Op == "Relu" || u[0].Node.Op == "Clip") {
				continue
			}
			switch n.Op {
			case "MaxPool", "Reshape", "Flatten", "Transpose", "Split", "Identity":
				q.bytes(v, data[v], q.sub[first])
			default:
				q.bytes(v, data[v], nil)
			}
		}
	}
	g.Outputs = nil
	for _, v := range outputs {
		g.Outputs = append(g.Outputs, q.sub[v])
	}
	if err := g.Verify(); err != nil {
		t.Fatal(err)
	}
}

type quantiser struct {
	*graph.Graph
	sub   map[*graph.Value]*graph.Value // by the value as it was, what is read instead
	scale map[*graph.Value]float32      // of those
}

func (q *quantiser) constant(t *tensor.Tensor) *graph.Value { return q.NewConst("", t) }

// bytes lets what reads v read bytes, on the grain of like if there is one.
func (q *quantiser) bytes(v *graph.Value, data *tensor.Tensor, like *graph.Value) {
	lo, hi := float32(0), float32(1e-3)
	for _, x := range tensor.Of[float32](data) {
		lo, hi = min(lo, x), max(hi, x)
	}
	scale := (hi - lo) / 255
	ins := []*graph.Value{q.constant(tensor.Scalar(scale)), q.constant(tensor.Scalar(byte(math.Round(float64(-lo / scale)))))}
	if like != nil {
		ins, scale = like.Producer.In[1:], q.scale[like]
	}
	y := q.Add("", "QuantizeLinear", nil, v, ins[0], ins[1])
	q.sub[v] = q.Add("", "DequantizeLinear", nil, y, ins[0], ins[1])
	q.scale[q.sub[v]] = scale
}

// weights makes the weights of a Conv or a Gemm of transposed weights integers, and its bias.
func (q *quantiser) weights(n *graph.Node) {
	w := n.In[1].Tensor()
	channels := w.Shape[0]
	k := w.Len() / channels
	scales, integers := tensor.New(tensor.Float32, channels), tensor.New(tensor.Int8, w.Shape...)
	for c := range channels {
		row, most := tensor.Of[float32](w)[c*k:][:k], float32(1e-6)
		for _, x := range row {
			most = max(most, x, -x)
		}
		s := most / 127
		tensor.Of[float32](scales)[c] = s
		for i, x := range row {
			tensor.Of[int8](integers)[c*k+i] = int8(math.RoundToEven(float64(x / s)))
		}
	}
	axis := map[string]any{"axis": int64(0)}
	zero := q.constant(tensor.New(tensor.Int8, channels))
	n.In[1] = q.Add("", "DequantizeLinear", axis, q.constant(integers), q.constant(scales), zero)
	if len(n.In) < 3 || n.In[2] == nil {
		return
	}
	bias, units := tensor.New(tensor.Int32, channels), tensor.New(tensor.Float32, channels)
	for c, x := range tensor.Of[float32](n.In[2].Tensor()) {
		s := float32(q.scale[q.sub[n.In[0]]] * tensor.Of[float32](scales)[c])
		tensor.Of[float32](units)[c] = s
		tensor.Of[int32](bias)[c] = int32(math.RoundToEven(float64(x / s)))
	}
	n.In[2] = q.Add("", "DequantizeLinear", axis, q.constant(bias), q.constant(units), q.constant(tensor.New(tensor.Int32, channels)))
}
